"""Two-sample tests against SciPy, uniform p-values under the null, and power."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from resexpand.errors import HyperparameterError
from support.two_samples import (
    Comparison,
    LawAgreement,
    compare_laws,
    energy,
    judged_together,
    kolmogorov_smirnov,
)

RANDOM = np.random.default_rng(1)


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.2])
def test_kolmogorov_smirnov_is_that_of_scipy(shift: float) -> None:
    x, y = RANDOM.normal(size=1500), RANDOM.normal(shift, size=1100)
    statistic, p = kolmogorov_smirnov(x, y)
    exact = stats.ks_2samp(x, y)
    assert statistic == pytest.approx(exact.statistic, abs=1e-12)
    # SciPy's p-value is exact here; the correction is good to a few percent.
    assert p == pytest.approx(exact.pvalue, rel=0.12, abs=2e-4)


def test_energy_is_that_of_scipy() -> None:
    """One component, one block: the V-statistic of the ranks, up to its diagonal."""
    x, y = RANDOM.normal(size=(400, 1)), RANDOM.normal(1.0, size=(400, 1))
    found = np.mean([energy(x[k::4], y[k::4], block=25)[0] for k in range(4)])
    pooled = stats.rankdata(np.concatenate([x, y])) / 800
    exact = stats.energy_distance(pooled[:400], pooled[400:]) ** 2
    assert found == pytest.approx(exact, rel=0.1)


@pytest.mark.parametrize("test", ["Kolmogorov-Smirnov", "energy"])
def test_p_values_are_uniform_if_the_laws_are_equal(test: str) -> None:
    """400 pairs of samples of a heavy-tailed law with correlated components."""
    values = []
    for _ in range(400):
        x, y = (
            np.exp(2 * RANDOM.normal(size=(1280, 1)) + RANDOM.normal(size=(1280, 2))) for _ in "xy"
        )
        values += [c.p for c in compare_laws("x", x, y) if c.test == test]
    assert stats.kstest(values, "uniform").pvalue > 1e-3
    assert min(values) > 1e-5


def test_power() -> None:
    x = RANDOM.normal(size=(6400, 2))
    shifted = RANDOM.normal(size=(6400, 2)) + 0.1
    assert judged_together([compare_laws("shift", x, shifted)]).verdict == "disagrees"
    # The margins agree; only both components together tell the correlation.
    tied = RANDOM.normal(size=(6400, 1)) * np.ones(2)
    found = {c.test: c.p for c in compare_laws("tied", x, tied)}
    assert found["energy"] < 1e-6
    assert found["Kolmogorov-Smirnov"] > 1e-3


def test_rounding_errors_do_not_split_atoms() -> None:
    x = np.where(RANDOM.random((3200, 1)) < 0.5, 1.0, RANDOM.normal(size=(3200, 1)))
    y = np.where(RANDOM.random((3200, 1)) < 0.5, 1.0 + 1e-14, RANDOM.normal(size=(3200, 1)))
    assert judged_together([compare_laws("atoms", x, y)]).verdict == "agrees"
    apart = np.where(y == 1.0 + 1e-14, 1.0 + 1e-6, y)
    assert judged_together([compare_laws("atoms", x, apart)]).verdict == "disagrees"


def test_infinite_draws_are_an_atom() -> None:
    x, y, more = (
        np.where(RANDOM.random((3200, 2)) < share, -np.inf, RANDOM.normal(size=(3200, 2)))
        for share in (0.2, 0.2, 0.3)
    )
    assert judged_together([compare_laws("atoms", x, y)]).verdict == "agrees"
    assert judged_together([compare_laws("atoms", x, more)]).verdict == "disagrees"


def test_constants_agree() -> None:
    ones = np.ones((700, 2))
    assert [c.p for c in compare_laws("constant", ones, ones)] == [1.0, 1.0]


def test_holm() -> None:
    def found(*values: float) -> LawAgreement:
        return LawAgreement(tuple(Comparison(str(p), "test", 0.0, p) for p in values), level=0.03)

    assert found(0.011, 0.5, 0.6).verdict == "agrees"
    assert [c.p for c in found(0.02, 0.009, 0.014).rejected] == [0.009, 0.014, 0.02]
    assert [c.p for c in found(0.02, 0.009, 0.5).rejected] == [0.009]
    assert found(0.009, 0.5).exit_code == 1
    assert found(0.2, 0.5).worst.p == 0.2
    assert "of 2" in str(found(0.2, 0.5))
    assert found(0.0455, 1.0).worst.z == pytest.approx(2.0, abs=1e-3)


def test_refusals() -> None:
    x = RANDOM.normal(size=(700, 2))
    for y in (x[:100], x[:, :1], np.full((700, 2), np.nan)):
        with pytest.raises(HyperparameterError):
            compare_laws("x", x, y)
