"""Histograms and stopping through `sample`: the same for any workers, in stores and when merged."""

from __future__ import annotations

import numpy as np
import pytest

from resexpand import Activation, Branch, Linear, ResNet, sample
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.montecarlo.runs import plan
from resexpand.montecarlo.runs.stored import look, resume
from resexpand.montecarlo.statistics.moments import Moments
from resexpand.montecarlo.statistics.stopping import (
    LEAST_DRAWS,
    Until,
    checked_until,
    relative_error,
)

NET = ResNet(Branch(Activation("erf"), Linear(1.2, 0.1)), scale=0.5, depth=3)
EDGES = np.linspace(0.0, 4.0, 201)
ASKED = {"observables": "kernel", "width": 16, "draws": 40_000, "K0": 1.0, "seed": 3}


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "CHUNK_SECONDS", 0.0004)


def run(**options):
    return sample(NET, **{**ASKED, **options})


def test_a_run_stops_at_the_same_draw_for_any_workers(tmp_path) -> None:
    one, many = (run(until=0.004, workers=w) for w in (1, 3))
    assert one["kernel"].moments.to_bytes() == many["kernel"].moments.to_bytes()
    assert one.settings["draws"] == one["kernel"].n == many["kernel"].n < 40_000
    assert one.settings["until"] == 0.004
    worst = relative_error(one["kernel"].moments).max()
    assert worst <= 0.004
    # It stopped at the first chunk where that held: one chunk less does not do.
    chunk = plan.Work(16, 3, 1, 2, dense=False).chunk
    assert one["kernel"].n % chunk == 0
    assert relative_error(run(draws=one["kernel"].n - chunk)["kernel"].moments).max() > 0.004
    # With a store, also when resumed, and when chunks beyond the stop are in it already.
    store = tmp_path / "run.sqlite"
    run(draws=1000, store=store)
    resumed = run(until=0.004, store=store)
    assert resumed["kernel"].moments.to_bytes() == one["kernel"].moments.to_bytes()
    run(draws=2 * one["kernel"].n, store=store)
    again = run(until=0.004, store=store)
    assert again["kernel"].moments.to_bytes() == one["kernel"].moments.to_bytes()


def test_a_target_is_kept_in_the_store(tmp_path) -> None:
    """A resumed run goes on to the target, not to the limit of draws."""
    whole, store = run(until=0.004), tmp_path / "run.sqlite"

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        # One worker: two chunks at most have arrived, far fewer than the target takes.
        run(until=0.004, store=store, workers=1, progress=interrupt)
    found = look(store)
    assert (found.header.until, found.complete) == (0.004, False)
    assert found.done < whole["kernel"].n / 4
    resumed = resume(store)
    assert resumed["kernel"].moments.to_bytes() == whole["kernel"].moments.to_bytes()
    assert resumed.settings["draws"] == whole["kernel"].n
    found = look(store)
    assert found.complete
    assert found.missing > 0
    assert "until errors are 0.004" in found.words[0]
    # Chunks beyond the stop do not enter, and another target or a plain call takes its place.
    run(draws=2 * whole["kernel"].n, store=store)
    assert look(store).header.until is None
    found = resume(store, until=0.004)
    assert found["kernel"].moments.to_bytes() == whole["kernel"].moments.to_bytes()
    stored = look(store).estimates
    assert stored["kernel"].moments.to_bytes() == whole["kernel"].moments.to_bytes()
    assert resume(store, until=0.003)["kernel"].n > whole["kernel"].n
    with pytest.raises(HyperparameterError, match="relative error between 0 and 1"):
        resume(store, until=4.0)


def test_a_part_of_a_run_has_no_target(tmp_path) -> None:
    run(store=tmp_path / "part.sqlite", shard=(0, 2))
    with pytest.raises(UnsupportedError, match="does not know what the others have drawn"):
        resume(tmp_path / "part.sqlite", until=0.1)


def test_a_run_that_does_not_reach_its_error_ends_at_its_limit() -> None:
    assert run(until=1e-6, draws=5000)["kernel"].n == 5000
    # The mean of an output is zero: no relative error is ever reached.
    assert run(until=0.5, draws=3000, observables=["kernel", "output"])["kernel"].n == 3000


def test_the_rule_looks_at_controlled_draws() -> None:
    plain, controlled = (run(until=0.002, control=c) for c in (None, "infinite-width"))
    assert controlled["kernel"].n < plain["kernel"].n


def test_the_rule_alone() -> None:
    random = np.random.default_rng(4)
    rule = Until(0.1, ("x",))
    good = random.normal(1.0, 1.0, size=(LEAST_DRAWS, 2))
    assert rule({"x": Moments.of(good)})
    assert not rule({"x": Moments.of(good[:-1])})
    assert not Until(0.01, ("x",))({"x": Moments.of(good)})
    bad = good.copy()
    bad[0, 0] = np.inf
    assert not rule({"x": Moments.of(bad)})
    heavy = random.lognormal(sigma=3.0, size=(LEAST_DRAWS, 1))
    assert not Until(0.99, ("x",))({"x": Moments.of(heavy)})
    assert rule({"x": Moments.of(np.full((LEAST_DRAWS, 2), 3.0))})
    assert rule({"x": Moments.of(good), "y": Moments.of(bad)})


def test_refused_errors() -> None:
    assert checked_until("0.1%", ["kernel"]).relative_error == 0.001
    assert checked_until("0.001", ["kernel"]).relative_error == 0.001
    for wrong in (0, 1, -0.1, "0.1%%", "150%", "1%x", "half", True, np.nan, [0.1]):
        with pytest.raises(HyperparameterError, match=r"until=0\.001"):
            checked_until(wrong, ["kernel"])
    with pytest.raises(UnsupportedError, match="shard"):
        run(until=0.01, shard=(0, 2))


def test_histograms_are_those_of_the_draws(draw_rows, tmp_path) -> None:
    asked = {"histograms": {"kernel": EDGES}, "draws": 3000}
    store = tmp_path / "run.sqlite"
    found = run(**asked, workers=3, store=store)
    rows = draw_rows(NET, "kernel", 16, 3000, seed=3)
    for layer in range(4):
        inner, _ = np.histogram(rows[:, layer], EDGES)
        np.testing.assert_array_equal(found["kernel"].histogram.counts[layer, 1:-1], inner)
    value, low, high = found["kernel"].histogram.quantile(0.5)
    exact = np.median(rows, axis=0)
    assert (low <= exact).all()
    assert (exact <= high).all()
    assert (np.abs(value - exact) <= 0.021).all()
    # Asked beside them, the moments are the same, and so is the run from its store.
    assert found["kernel"].moments.to_bytes() == run(draws=3000)["kernel"].moments.to_bytes()
    again = run(**asked, store=store)["kernel"].histogram
    np.testing.assert_array_equal(again.counts, found["kernel"].histogram.counts)
    assert run(draws=3000)["kernel"].histogram is None


def test_histograms_merge() -> None:
    asked = {"histograms": {"kernel": EDGES}, "draws": 500}
    first, second = (run(**{**asked, "seed": seed}) for seed in (1, 2))
    both = first.merge(second)["kernel"].histogram
    assert both.sums.draws == 1000
    assert (both.counts.sum(axis=-1) == 1000).all()


def test_refused_histograms() -> None:
    for wrong in ({"chi": EDGES}, {"kernel": EDGES[::-1]}, "kernel", {"kernel": "0..4"}):
        with pytest.raises(HyperparameterError, match="linspace"):
            run(histograms=wrong)


def test_outputs_do_not_depend_on_what_else_is_asked(make) -> None:
    """A branch that is read once more must not write over what the read-out acts on."""
    phi = Activation("erf")
    net = ResNet(Branch(phi, Linear(0.9, 0.1), phi, Linear(1.4, 0.3)), scale=0.7, depth=2)
    alone = make(net, "output", 12).rows(0, 5)["output"]
    beside = make(net, ["output", "layer_covariance"], 12).rows(0, 5)["output"]
    np.testing.assert_array_equal(alone, beside)
