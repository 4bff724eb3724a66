"""Extrapolation to infinite width: against a polynomial fit, coverage, health, and the budget."""

from __future__ import annotations

import math

import numpy as np
import pytest
from synthetic import Fake, drawn

from resexpand import compare
from resexpand.agreement.extrapolation import extrapolate
from resexpand.errors import HyperparameterError

WIDTHS = (100, 200, 400)
A, B = np.array([1.0, 2.0, 0.5]), np.array([3.0, -4.0, 0.0])
V = np.array([2.0, 3.0, 4.0])


def at_width(
    width: int, rng: np.random.Generator | None, curvature: float = 0.0, n: int = 4000
) -> Fake:
    truth = A + B / width + curvature * A / width**2
    return drawn("kernel", truth, V, rng, width=width, n=n, seeds=(width,))


def test_against_a_weighted_polynomial_fit() -> None:
    rng = np.random.default_rng(1)
    samples = [at_width(width, rng) for width in WIDTHS]
    line = extrapolate(samples[::-1])
    for k in range(3):
        x = 1 / np.array(WIDTHS)
        y, s = (np.array([getattr(e, side)[k] for e in samples]) for side in ("mean", "stderr"))
        (slope, intercept), cov = np.polyfit(x, y, 1, w=1 / s, cov="unscaled")
        np.testing.assert_allclose(line.intercept[k], intercept, rtol=1e-10)
        np.testing.assert_allclose(line.slope[k], slope, rtol=1e-8)
        np.testing.assert_allclose(line.intercept_stderr[k], math.sqrt(cov[1, 1]), rtol=1e-9)
        np.testing.assert_allclose(line.slope_stderr[k], math.sqrt(cov[0, 0]), rtol=1e-9)
        residual = (y - intercept - slope * x) / s
        np.testing.assert_allclose(line.chi2[k], residual @ residual, rtol=1e-6)
    assert (line.dof, line.widths, line.n) == (1, WIDTHS, 4000)


def test_intercept_has_the_right_coverage_and_chi2_the_right_law() -> None:
    rng, runs = np.random.default_rng(2), 1500
    pulls, tails = [], []
    for _ in range(runs):
        line = extrapolate([at_width(width, rng) for width in WIDTHS])
        pulls.append((line.intercept - A) / line.intercept_stderr)
        tails.append(line.fit_tail)
    z = np.array(pulls).ravel()
    assert abs(z.mean()) < 4 / math.sqrt(z.size)
    assert abs(z.var() - 1) < 4 * math.sqrt(2 / z.size)
    assert abs(np.mean(tails) - 0.5) < 4 / math.sqrt(12 * z.size)


def test_curvature_enters_the_intercept_as_stated() -> None:
    line = extrapolate([at_width(width, None, curvature=500.0) for width in WIDTHS])
    straight = extrapolate([at_width(width, None) for width in WIDTHS])
    # The weights depend on the means through the errors; to leading order they are the same.
    np.testing.assert_allclose(
        np.abs(line.intercept - A), 500.0 * A * straight.curvature, rtol=0.05
    )


def test_extrapolation_removes_the_bias_of_order_one_over_width() -> None:
    runs = [{"kernel": at_width(width, None, n=10**6)} for width in WIDTHS]
    assert compare({"K": A}, runs[0], neglected=0).verdict == "disagrees"
    agreement = compare({"K": A}, runs)
    assert agreement.verdict == "agrees"
    assert compare({"K": A * [1.0, 1.05, 1.0]}, runs).verdict == "disagrees"
    v = np.maximum(np.fmax.accumulate(V * (1 + np.abs(B) / 100)), np.abs(B) / A)
    assert np.all(agreement.budget["K"].neglected <= 2 * A * v**2 / 100 / 200)
    assert np.all(agreement.budget["K"].neglected > 0)


def test_a_bent_line_is_not_judged() -> None:
    runs = [{"kernel": at_width(width, None, curvature=9000.0, n=10**6)} for width in WIDTHS]
    agreement = compare({"K": A}, runs)
    assert agreement.verdict != "agrees"
    assert any("not linear in 1/N" in row.note for row in agreement.rows)


def test_entries_without_spread_extrapolate_exactly() -> None:
    zeros = np.zeros(2)

    def flat(width: int, last: float) -> dict[str, Fake]:
        mean = np.array([1.0, last])
        return {"kernel": Fake("kernel", mean, zeros, zeros, width=width, seeds=(width,))}

    good = [flat(width, 2.0 + 8.0 / width) for width in WIDTHS]
    line = extrapolate([run["kernel"] for run in good])
    np.testing.assert_allclose(line.intercept, [1.0, 2.0], rtol=1e-14)
    np.testing.assert_array_equal(line.intercept_stderr, 0.0)
    assert compare({"K": [1.0, 2.0]}, good).verdict == "agrees"
    bent = [flat(width, 2.0 + 8.0 / width**2) for width in WIDTHS]
    assert compare({"K": [1.0, 2.0]}, bent).verdict == "inconclusive"


def test_spread_at_some_widths_only_is_not_judged() -> None:
    samples = [at_width(width, None) for width in WIDTHS]
    samples[0] = samples[0].but(stderr=np.array([0.0, 0.01, 0.01]))
    agreement = compare({"K": A}, [{"kernel": e} for e in samples])
    assert agreement.rows[0].ok is None
    assert agreement.verdict == "inconclusive"


def test_health_is_carried() -> None:
    samples = [at_width(width, None) for width in WIDTHS]
    samples[1] = samples[1].but(status="Rough.", flags=("few-draws",))
    line = extrapolate(samples)
    assert line.status == "width 200: Rough."
    assert line.flags == ("few-draws",)
    outcome = compare({"K": A}, [{"kernel": e} for e in samples])
    assert outcome.verdict == "inconclusive"


def test_one_run_in_a_list_is_that_run() -> None:
    run = {"kernel": at_width(1000, None)}
    one, other = compare({"K": A}, [run]), compare({"K": A}, run)
    assert str(one) == str(other)


def test_advice_names_widths() -> None:
    runs = [{"kernel": at_width(width, None, n=10**7)} for width in (8, 16, 32)]
    agreement = compare({"K": A}, runs)
    assert agreement.verdict == "inconclusive"
    assert "widths up to" in agreement.reason


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 200}, "distinct widths"),
        ({"seeds": (200,)}, "seed"),
        ({"mean": np.ones(2)}, "shapes differ"),
    ],
)
def test_what_cannot_be_extrapolated(changes: dict[str, object], message: str) -> None:
    samples = [at_width(100, None).but(**changes), at_width(200, None)]
    with pytest.raises(HyperparameterError, match=message):
        extrapolate(samples)
    with pytest.raises(HyperparameterError):
        extrapolate(samples[:1])
