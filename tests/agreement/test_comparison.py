"""Verdicts: calibration, power, negative controls, and laws of the comparison."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import Fake, drawn

from resexpand import Activation, Branch, Linear, ResNet, compare, sample
from resexpand.agreement.comparison import Agreement, combine, two_sample
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.montecarlo.statistics.estimate import Estimate
from resexpand.montecarlo.statistics.moments import Moments

TRUTH = np.array([1.0, 1.3, 1.7, 2.2, 2.8])
V = np.array([2.0, 2.1, 2.4, 2.7, 3.0])


def shifted(sigmas: float, layer: int = 2) -> dict[str, Fake]:
    """A sample whose one layer is off by so many standard errors."""
    fake = drawn("kernel", TRUTH, V)
    mean = fake.mean.copy()
    mean[layer] += sigmas * fake.stderr[layer]
    return {"kernel": fake.but(mean=mean)}


def binomial_z(hits: int, runs: int, rate: float) -> float:
    return (hits - runs * rate) / math.sqrt(runs * rate * (1 - rate))


# --- calibration and power --------------------------------------------------------------


def rate_of_disagreement(common: float, runs: int, level: float, seed: int) -> float:
    """Share of runs that disagree with the true theory, layers correlated through one factor."""
    rng = np.random.default_rng(seed)
    base = drawn("kernel", TRUTH, V)
    hits = 0
    for _ in range(runs):
        noise = math.sqrt(common) * rng.standard_normal() + math.sqrt(
            1 - common
        ) * rng.standard_normal(TRUTH.shape)
        sample = {"kernel": base.but(mean=TRUTH + base.stderr * noise)}
        hits += compare({"K": TRUTH}, sample, neglected=0, level=level).verdict == "disagrees"
    return hits / runs


def test_false_disagreement_occurs_at_the_level() -> None:
    runs, level = 2000, 0.05
    rate = rate_of_disagreement(0.0, runs, level, seed=11)
    expected = 1 - (1 - level / TRUTH.size) ** TRUTH.size
    assert abs(binomial_z(round(rate * runs), runs, expected)) < 4


def test_correlated_layers_make_it_conservative_only() -> None:
    runs, level = 1000, 0.05
    rate = rate_of_disagreement(0.95, runs, level, seed=12)
    assert binomial_z(round(rate * runs), runs, level) < 3
    assert rate > 0  # and not blind


def test_the_level_is_kept_for_few_draws() -> None:
    """With 16 draws the normal law would disagree twice too often; the verdict stays below it."""
    rng, runs, level, n = np.random.default_rng(13), 4000, 0.01, 16
    hits = normal_hits = 0
    for _ in range(runs):
        draws = 1.0 + 0.01 * rng.standard_normal(n)
        s = draws.std(ddof=1) / math.sqrt(n)
        fake = Fake(
            "kernel", np.array([draws.mean()]), np.array([s]), np.array([draws.var(ddof=1)]), n=n
        )
        outcome = compare({"K": [1.0]}, {"kernel": fake}, neglected=0, level=level)
        hits += outcome.verdict == "disagrees"
        normal_hits += abs(outcome.z["K"][0]) > 2.5758
    assert binomial_z(hits, runs, level) < 3
    assert binomial_z(normal_hits, runs, level) > 4


def test_stated_power_is_reached() -> None:
    """A theory off by exactly the detectable deviation is rejected with probability 0.95."""
    rng, runs = np.random.default_rng(14), 600
    clean = compare({"K": TRUTH}, {"kernel": drawn("kernel", TRUTH, V)}, neglected=0)
    off = TRUTH.copy()
    off[3] *= 1 + clean.rows[3].detectable
    hits = sum(
        compare({"K": off}, {"kernel": drawn("kernel", TRUTH, V, rng)}, neglected=0).verdict
        == "disagrees"
        for _ in range(runs)
    )
    assert binomial_z(hits, runs, 0.95) > -4


# --- verdicts and negative controls -----------------------------------------------------


def test_the_true_theory_agrees() -> None:
    agreement = compare({"K": TRUTH}, shifted(1.0), neglected=0)
    assert (agreement.verdict, agreement.exit_code) == ("agrees", 0)
    assert agreement.worst.label == "K^2"
    np.testing.assert_allclose(agreement.z["K"], [0, 0, 1, 0, 0], atol=1e-9)


@pytest.mark.parametrize("sigmas", [5.0, -5.0])
def test_five_sigma_disagree(sigmas: float) -> None:
    agreement = compare({"K": TRUTH}, shifted(sigmas), neglected=0)
    assert (agreement.verdict, agreement.exit_code) == ("disagrees", 1)
    assert [row.ok for row in agreement.rows] == [True, True, False, True, True]
    assert "K^2" in agreement.reason


def test_a_wrong_coefficient_disagrees_within_the_automatic_budget() -> None:
    agreement = compare({"K": 1.05 * TRUTH}, shifted(0.0))
    assert agreement.verdict == "disagrees"


def test_a_wide_budget_is_inconclusive() -> None:
    agreement = compare({"K": TRUTH}, shifted(0.0), neglected=0.1)
    assert (agreement.verdict, agreement.exit_code) == ("inconclusive", 2)
    assert "smaller bound" in agreement.reason


@pytest.mark.parametrize("wrong", [1.03, 1.06, 1.2, 2.0])
@pytest.mark.parametrize("neglected", [0.03, 0.1, 0.5, 10.0])
def test_a_wrong_theory_never_hides_under_a_wide_budget(wrong: float, neglected: float) -> None:
    agreement = compare({"K": wrong * TRUTH}, shifted(0.0), neglected=neglected)
    assert agreement.verdict != "agrees"


def test_bias_may_pull_the_sample_towards_a_wrong_theory() -> None:
    """Theory 4.5 % off, half of it hidden by bias within the stated bound: still no agreement."""
    sample = {"kernel": drawn("kernel", 1.02 * TRUTH, V, n=10**6)}
    agreement = compare({"K": 1.045 * TRUTH}, sample, neglected=0.03, resolve=0.04)
    assert agreement.verdict != "agrees"


def test_advice_for_draws_is_right() -> None:
    few = compare({"K": TRUTH}, {"kernel": drawn("kernel", TRUTH, V, width=50, n=100)}, neglected=0)
    assert few.verdict == "inconclusive"
    needed = int(few.reason.rsplit(":", 1)[1].split()[0].replace("needed", "") or 0)
    enough = {"kernel": drawn("kernel", TRUTH, V, width=50, n=needed)}
    assert compare({"K": TRUTH}, enough, neglected=0).verdict == "agrees"


def test_advice_for_width_is_right() -> None:
    narrow = {"kernel": drawn("kernel", TRUTH, V, width=60, n=10**6)}
    agreement = compare({"K": TRUTH}, narrow)
    assert agreement.verdict == "inconclusive"
    assert "width" in agreement.reason
    width = int(agreement.reason.rsplit("width ", 1)[1].split()[0])
    wide = {"kernel": drawn("kernel", TRUTH, V, width=width, n=10**6)}
    assert compare({"K": TRUTH}, wide).verdict == "agrees"


def test_automatic_budget_covers_the_bias_of_real_networks() -> None:
    """tanh, width 40: the bias is seen without the neglected order, and covered by it."""
    layers, width, draws, rho, weight, bias = 8, 40, 20000, 0.6, 1.5, 0.1
    rng = np.random.default_rng(3)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    kernel, theory, h = 1.0, [], rng.standard_normal((draws, width))
    covariances = []
    for _ in range(layers):
        average = weights @ np.tanh(math.sqrt(kernel) * nodes) ** 2
        theory.append(weight * average + bias)
        kernel += rho**2 * theory[-1]
        covariances.append(weight * (np.tanh(h) ** 2).mean(1) + bias)
        h = h + rho * np.sqrt(covariances[-1])[:, None] * rng.standard_normal(h.shape)
    moments = Moments.of(np.array(covariances).T)
    sample = {"layer_covariance": Estimate("layer_covariance", moments, width, layers)}
    assert compare({"C": theory}, sample, neglected=0).verdict == "disagrees"
    covered = compare({"C": theory}, sample, resolve=0.02)
    assert covered.verdict == "inconclusive"
    assert "width" in covered.reason
    assert compare({"C": theory}, sample).verdict == "agrees"
    assert compare({"C": 1.05 * np.array(theory)}, sample).verdict == "disagrees"


# --- exact and unhealthy entries --------------------------------------------------------


def exact(mean: list[float]) -> dict[str, Fake]:
    zeros = np.zeros(len(mean))
    return {"kernel": Fake("kernel", np.array(mean), zeros, zeros)}


def test_entries_without_spread_are_compared_exactly() -> None:
    assert compare({"K": [1.0, 2.0]}, exact([1.0 + 1e-15, 2.0])).verdict == "agrees"
    off = compare({"K": [1.0, 2.0]}, exact([1.5, 2.0]))
    assert off.verdict == "disagrees"
    assert off.z["K"].tolist() == [math.inf, 0.0]
    assert off.p_value < 1e-6


def test_spread_by_rounding_is_not_a_deviation() -> None:
    fake = Fake("kernel", np.array([1.0 + 4e-16]), np.array([1e-17]), np.array([1e-31]), n=1000)
    assert compare({"K": [1.0]}, {"kernel": fake}).verdict == "agrees"


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_entries_that_are_not_finite_are_inconclusive(bad: float) -> None:
    fake = drawn("kernel", TRUTH, V)
    mean = fake.mean.copy()
    mean[4] = bad
    agreement = compare({"K": TRUTH}, {"kernel": fake.but(mean=mean)}, neglected=0)
    assert agreement.verdict == "inconclusive"
    assert "K^4" in agreement.reason
    assert agreement.rows[4].ok is None
    assert agreement.rows[4].note
    theory = TRUTH.copy()
    theory[1] = bad
    assert compare({"K": theory}, {"kernel": fake}).verdict == "inconclusive"


def test_overflow_in_one_layer_does_not_hide_a_deviation_in_another() -> None:
    rows = np.random.default_rng(5).normal(1.0, 0.01, size=(500, 3))
    rows[7, 2] = np.inf
    sample = {"kernel": Estimate("kernel", Moments.of(rows), 100, 2)}
    assert compare({"K": [1.0, 1.0, 1.0]}, sample, neglected=0).verdict == "inconclusive"
    assert compare({"K": [1.1, 1.0, 1.0]}, sample, neglected=0).verdict == "disagrees"


def test_a_heavy_tail_or_few_draws_are_inconclusive() -> None:
    sick = drawn("kernel", TRUTH, V).but(status="A few draws carry it.", flags=("heavy-tail",))
    outcome = compare({"K": TRUTH}, {"kernel": sick.but(flags=("strange",))}, neglected=0)
    assert outcome.verdict == "inconclusive"
    assert "carry it" in outcome.reason
    assert outcome.notes == ("kernel: strange",)
    few = drawn("kernel", TRUTH, V, n=5)
    assert "too few" in compare({"K": 2 * TRUTH}, {"kernel": few}).reason


# --- pairing ----------------------------------------------------------------------------


def test_every_theory_key_finds_its_estimate() -> None:
    eta = 1 / TRUTH
    chi = np.tril(np.ones((5, 5))) * TRUTH[:, None]
    theory = {"K": TRUTH, "C": 0.3 * TRUTH, "eta": eta[-1], "chi": chi, "rho": 0.3}
    sample = {
        "kernel": drawn("kernel", TRUTH, V),
        "layer_covariance": drawn("layer_covariance", 0.3 * TRUTH, V),
        "response": drawn("response", eta, V),
        "chi": drawn("chi", TRUTH, V),
    }
    agreement = compare(theory, sample)
    assert agreement.verdict == "agrees"
    assert set(agreement.z) == {"K", "C", "eta", "chi"}
    assert agreement.z["eta"].shape == ()
    assert next(row.label for row in agreement.rows if row.label[0] == "C") == "C^1"
    assert agreement.notes == ("no estimate for rho",)
    repeated = compare({"eta": eta[-1], "eta_layers": eta, "chi": chi, "chi_0": chi[:, 0]}, sample)
    assert list(repeated.z) == ["eta_layers", "chi"]
    assert repeated.rows[0].label == "eta^0"
    assert list(compare({"chi_0": chi[:, 0]}, sample).z) == ["chi_0"]


def test_explicit_names_and_labels() -> None:
    sample = {"kernel": drawn("kernel", TRUTH, V), "other": drawn("other", TRUTH, V)}
    agreement = compare(
        {"K": TRUTH, "mine": TRUTH}, sample, names={"mine": "other"}, labels={"mine": list("abcde")}
    )
    assert [row.label for row in agreement.rows] == list("abcde")
    for bad in ({"mine": "absent"}, {"absent": "other"}):
        with pytest.raises(HyperparameterError, match="absent"):
            compare({"mine": TRUTH}, sample, names=bad)
    with pytest.raises(HyperparameterError, match="one label per entry"):
        compare({"K": TRUTH}, sample, labels={"K": ["a"]})


def test_pairs_of_inputs_are_judged_once() -> None:
    gram = np.array([[1.0, 0.0], [0.0, 2.0]])
    truth = np.stack([gram, 1.5 * gram, 2 * gram])
    size = np.sqrt(np.einsum("lii->li", truth))
    variance = 2 * (size[:, :, None] * size[:, None, :]) ** 2 / 1000
    fake = Fake("kernel", truth, np.sqrt(variance / 1000), variance)
    agreement = compare({"K": truth}, {"kernel": fake})
    assert agreement.verdict == "agrees"
    assert len(agreement.rows) == 9
    assert agreement.rows[1].label == "K^0_12"
    assert agreement.z["K"].shape == (3, 2, 2)
    # An off-diagonal zero is resolved on the scale of the diagonal, not relative to nothing.
    assert agreement.rows[1].detectable < 0.05


def test_a_vanishing_mean_is_resolved_on_the_scale_of_one_draw() -> None:
    output = Fake("output", np.array(0.001), np.array(0.01), np.array(1.0), n=10**4)
    agreement = compare({"output": 0.0}, {"output": output}, neglected=0)
    assert agreement.verdict == "agrees"
    np.testing.assert_allclose(agreement.rows[0].detectable, 0.01 * (3.0 + 1.645), rtol=1e-2)


def test_the_output_takes_its_neglected_order_from_the_kernel() -> None:
    square = Fake("output_square", np.array(2.0), np.array(0.01), np.array(8.0))
    kernel = drawn("kernel", TRUTH, V)
    alone = compare({"output_square": 2.0}, {"output_square": square})
    beside = compare({"output_square": 2.0}, {"output_square": square, "kernel": kernel})
    assert alone.verdict == "inconclusive"
    np.testing.assert_allclose(beside.budget["output_square"].neglected, 2.0 * 3.0 / 1000)


def test_a_response_is_bounded_by_its_own_noise_or_by_the_kernel() -> None:
    noisy = {"response": drawn("response", TRUTH, 1000 * V), "kernel": drawn("kernel", TRUTH, V)}
    bound = compare({"eta_layers": TRUTH}, noisy).budget["eta_layers"].neglected
    np.testing.assert_allclose(bound, TRUTH * V * np.arange(1, 6) / 1000)
    quiet = {"response": drawn("response", TRUTH, 0.1 * V), "kernel": drawn("kernel", TRUTH, V)}
    bound = compare({"eta_layers": TRUTH}, quiet).budget["eta_layers"].neglected
    np.testing.assert_allclose(bound, TRUTH * 0.1 * V / 1000)


def test_neglected_in_every_form() -> None:
    sample = {"kernel": drawn("kernel", TRUTH, V)}

    def bound(neglected: object) -> np.ndarray:
        return compare({"K": TRUTH}, sample, neglected=neglected).budget["K"].neglected

    np.testing.assert_allclose(bound("auto"), TRUTH * V / 1000)
    np.testing.assert_allclose(bound("1/N^2"), TRUTH * (V / 1000) ** 2)
    np.testing.assert_allclose(bound(0.25), TRUTH * 0.25)
    np.testing.assert_allclose(bound(np.arange(5.0)), np.arange(5.0))
    np.testing.assert_allclose(bound({"K": 0.5}), TRUTH * 0.5)
    for bad in (-1.0, math.nan, "1/N^3", np.ones(4)):
        with pytest.raises(HyperparameterError):
            bound(bad)


@pytest.mark.parametrize(
    ("theory", "options"),
    [
        ({"nothing": TRUTH}, {}),
        ({"K": TRUTH[:3]}, {}),
        ({"K": TRUTH}, {"level": 0.0}),
        ({"K": TRUTH}, {"level": 1.5}),
        ({"K": TRUTH}, {"resolve": -1.0}),
        ({"K": TRUTH}, {"scale": 0.0}),
    ],
)
def test_what_cannot_be_compared(theory: dict[str, np.ndarray], options: dict[str, float]) -> None:
    with pytest.raises(HyperparameterError):
        compare(theory, shifted(0.0), **options)  # type: ignore[arg-type]


# --- two samples, several comparisons ---------------------------------------------------


def test_two_samples() -> None:
    rng = np.random.default_rng(21)
    a = {"kernel": drawn("kernel", TRUTH, V, rng, seeds=(1,)).but(method="dense")}
    b = {"kernel": drawn("kernel", TRUTH, V, rng, seeds=(2,), n=500)}
    agreement = two_sample(a, b)
    assert agreement.verdict == "agrees"
    assert agreement.heading == ("dense", "function-space")
    spread = np.hypot(a["kernel"].stderr, b["kernel"].stderr)
    np.testing.assert_allclose(
        agreement.z["kernel"], (b["kernel"].mean - a["kernel"].mean) / spread
    )
    off = {"kernel": b["kernel"].but(mean=b["kernel"].mean * 1.02)}
    assert two_sample(a, off).verdict == "disagrees"


def test_two_samples_must_be_comparable() -> None:
    a = {"kernel": drawn("kernel", TRUTH, V, seeds=(1,))}
    for b, message in (
        ({"kernel": a["kernel"].but(seeds=(1, 3))}, "seed"),
        ({"kernel": a["kernel"].but(seeds=(), width=7)}, "same width"),
        ({"other": a["kernel"]}, "observable"),
    ):
        with pytest.raises(HyperparameterError, match=message):
            two_sample(a, b)


def test_combination_is_family_wise() -> None:
    parts = {
        f"rho = {k}": compare({"K": TRUTH}, shifted(3.2 if k == 3 else 0.5), neglected=0)
        for k in range(20)
    }
    assert parts["rho = 3"].worst.ok is not None
    whole = combine(parts)
    assert whole.verdict == "agrees"  # 3.2 sigma is nothing among a hundred entries
    assert len(whole.rows) == 100
    assert whole.worst.label == "rho = 3 K^2"
    assert whole.z["rho = 3 K"].shape == (5,)
    parts["wrong"] = compare({"K": TRUTH}, shifted(6.0), neglected=0)
    assert combine(parts).verdict == "disagrees"
    assert combine(parts, resolve=1e-3).resolve == 1e-3
    with pytest.raises(HyperparameterError):
        combine({})


# --- how it shows itself ----------------------------------------------------------------


def test_it_has_no_truth_value() -> None:
    with pytest.raises(UnsupportedError, match="exit_code"):
        bool(compare({"K": TRUTH}, shifted(0.0)))


def test_it_prints_an_aligned_table() -> None:
    text = str(compare({"K": TRUTH}, shifted(5.0), neglected=0))
    lines = text.splitlines()
    assert "theory" in lines[0]
    assert "Monte Carlo ± error" in lines[0]
    ends = {line.index("z") for line in lines[:1]} | {
        line.index(z) + len(z) - 1 for line, z in zip(lines[2:4], ["+0.00", "+0.00"], strict=True)
    }
    assert len(ends) == 1
    assert lines[4].endswith("off")
    assert lines[-1].startswith("disagrees: 1 of 5")


def test_a_long_table_shows_what_matters() -> None:
    truth = np.linspace(1, 2, 400)
    fake = drawn("kernel", truth, 2.0)
    mean = fake.mean.copy()
    mean[217] += 8 * fake.stderr[217]
    text = str(compare({"K": truth}, {"kernel": fake.but(mean=mean)}, neglected=0))
    assert len(text.splitlines()) < 30
    assert "K^217" in text
    assert "further entries" in text


def test_html_escapes_and_json_is_strict() -> None:
    agreement = compare({"K": [1.0, 2.0]}, exact([1.5, 2.0]), labels={"K": ["<b>", "y"]})
    page = agreement._repr_html_()
    assert "&lt;b&gt;" in page
    assert "disagrees" in page
    record = json.loads(json.dumps(agreement.to_dict(), allow_nan=False))
    assert record["verdict"] == "disagrees"
    assert record["rows"][0]["z"] is None
    assert record["rows"][1]["z"] == 0.0


# --- laws -------------------------------------------------------------------------------

values = st.lists(
    st.tuples(st.floats(0.1, 10), st.floats(-6, 6), st.floats(0.1, 10)), min_size=2, max_size=8
)


def outcome(rows: list[tuple[float, float, float]], unit: float = 1.0) -> Agreement:
    truth, noise, v = (np.array(column) for column in zip(*rows, strict=True))
    fake = drawn("flat", truth * unit, v)
    return compare({"flat": truth * unit}, {"flat": fake.but(mean=fake.mean + noise * fake.stderr)})


@given(rows=values, data=st.data())
def test_order_of_the_entries_does_not_matter(
    rows: list[tuple[float, float, float]], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(rows))))
    named = {f"e{k}": drawn(f"e{k}", np.array([t]), v) for k, (t, _, v) in enumerate(rows)}
    named = {
        key: fake.but(mean=fake.mean + rows[int(key[1:])][1] * fake.stderr)
        for key, fake in named.items()
    }
    theory = {f"e{k}": [rows[k][0]] for k in range(len(rows))}
    one = compare(theory, named)
    other = compare({f"e{k}": theory[f"e{k}"] for k in order}, named)
    assert one.verdict == other.verdict
    assert one.p_value == other.p_value
    assert {r.label: r.ok for r in one.rows} == {r.label: r.ok for r in other.rows}


@given(rows=values, power=st.integers(-40, 40))
def test_units_do_not_matter(rows: list[tuple[float, float, float]], power: int) -> None:
    one, other = outcome(rows), outcome(rows, 2.0**power)
    assert one.verdict == other.verdict
    np.testing.assert_allclose(one.z["flat"], other.z["flat"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(one.p_value, other.p_value, rtol=1e-6)


@given(rows=values, wider=st.floats(1.0, 100.0))
def test_a_wider_budget_never_turns_into_agreement(
    rows: list[tuple[float, float, float]], wider: float
) -> None:
    truth, noise, v = (np.array(column) for column in zip(*rows, strict=True))
    fake = drawn("flat", truth, v)
    sample = {"flat": fake.but(mean=fake.mean + noise * fake.stderr)}
    narrow = compare({"flat": truth}, sample, neglected=0.02)
    wide = compare({"flat": truth}, sample, neglected=0.02 * wider)
    if narrow.verdict == "inconclusive":
        assert wide.verdict == "inconclusive"
    if wide.verdict == "agrees":
        assert np.all(np.abs(fake.mean / truth - 1) < 0.05)


def test_what_only_rounds_is_extrapolated_as_exact():
    """An observable that is the same in every draw, up to rounding, is not tested as a line."""
    net = ResNet(Branch(Activation("sign"), Linear(1.3, 0.1)), scale=0.4, depth=2)
    runs = [
        sample(net, ["layer_covariance"], width, 1000, K0=0.7, seed=width)
        for width in (100, 200, 400)
    ]
    assert compare({"C": np.full(3, 1.4)}, runs).verdict == "agrees"
    assert compare({"C": np.full(3, 2.1)}, runs).verdict == "disagrees"


@pytest.mark.parametrize("nothing", [[], (), {}])
def test_nothing_to_compare_with(nothing: object) -> None:
    with pytest.raises(HyperparameterError, match=r"no estimates: .* what sample\(\) returns"):
        compare({"eta": 1.0}, nothing)


def test_a_list_of_estimates_is_refused_with_a_way_out() -> None:
    fake = drawn("kernel", TRUTH, V)
    assert compare({"kernel": TRUTH}, [{"kernel": fake}]).verdict != "disagrees"
    with pytest.raises(HyperparameterError, match="a list of Fake: each entry must be a run"):
        compare({"kernel": TRUTH}, [fake])
