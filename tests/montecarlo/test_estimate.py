"""Estimates: merging equals pooling, standard errors are honest, bad samples raise flags.

Laws: (1) moments merged in any partition equal those of the pooled draws; (2) bytes round-trip
exactly; (3) mean and variance are NumPy's; (4) scaling by a power of two changes no digit; (5) each
way in which a sample can fail raises its flag, and healthy samples raise none.
"""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.montecarlo.statistics.estimate import Estimate, Estimates
from resexpand.montecarlo.statistics.moments import Moments


def estimate(rows: np.ndarray, seed: int = 0, name: str = "kernel") -> Estimate:
    return Estimate(name, Moments.of(rows), width=10, depth=2, seeds=(seed,))


def central_sums(x: np.ndarray) -> list[np.ndarray]:
    return [np.sum((x - x.mean(axis=0)) ** k, axis=0) for k in (2, 3, 4)]


@given(
    cuts=st.lists(st.integers(1, 199), max_size=5, unique=True),
    offset=st.sampled_from([0.0, 1e6, -3.0]),
    seed=st.integers(0, 2**32),
)
def test_merging_equals_pooling(cuts: list[int], offset: float, seed: int) -> None:
    x = np.random.default_rng(seed).lognormal(size=(200, 3)) + offset
    parts = [Moments.of(part) for part in np.split(x, sorted(cuts))]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    unit = np.ldexp(1.0, merged.exponent)
    np.testing.assert_allclose(merged.mean * unit, x.mean(axis=0), rtol=1e-13)
    values = (merged.m2, merged.m3, merged.m4)
    for k, (value, exact) in enumerate(zip(values, central_sums(x), strict=True), start=2):
        scale = np.sum(np.abs(x - x.mean(axis=0)) ** k, axis=0)
        error = np.abs(value * unit**k - exact)
        assert np.all(error <= 1e-12 * scale + 1e-14 * np.abs(offset) * scale)
    assert merged.draws == 200


def test_bytes_round_trip() -> None:
    x = np.random.default_rng(1).normal(size=(50, 2, 3))
    x[3, 1, 1] = np.inf
    moments = Moments.of(x)
    again = Moments.from_bytes(moments.to_bytes(), (2, 3))
    assert again.to_bytes() == moments.to_bytes()
    np.testing.assert_array_equal(again.m4, moments.m4)
    with pytest.raises(ValueError, match="do not hold"):
        Moments.from_bytes(moments.to_bytes()[:-8], (2, 3))


def test_mean_variance_and_error() -> None:
    x = np.random.default_rng(2).normal(3.0, 2.0, size=(1000, 4))
    e = estimate(x)
    np.testing.assert_allclose(e.mean, x.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(e.variance, x.var(axis=0, ddof=1), rtol=1e-13)
    np.testing.assert_allclose(e.stderr, x.std(axis=0, ddof=1) / np.sqrt(1000), rtol=1e-13)
    assert (e.n, e.status, e.flags) == (1000, "ok", ())


def test_powers_of_two_change_no_digit() -> None:
    x = np.random.default_rng(3).normal(1.0, 1.0, size=(100, 2))
    big = np.ldexp(x, 400)
    assert np.array_equal(estimate(big).mean, np.ldexp(estimate(x).mean, 400))
    assert np.array_equal(estimate(big).stderr, np.ldexp(estimate(x).stderr, 400))
    np.testing.assert_array_equal(estimate(big).kurtosis, estimate(x).kurtosis)


def test_standard_errors_cover() -> None:
    """The true mean lies within one standard error in 68 percent of the samples."""
    x = np.random.default_rng(4).exponential(size=(400, 2000))
    e = estimate(x)
    z = (e.mean - 1.0) / e.stderr
    covered = np.mean(np.abs(z) < 1)
    assert abs(covered - 0.6827) < 4 * np.sqrt(0.68 * 0.32 / 2000)
    assert np.mean(np.abs((e.mean - 1.2) / e.stderr) < 1) < 0.1  # the control: a wrong mean


def test_overflow_is_reported_by_component() -> None:
    x = np.random.default_rng(5).normal(size=(100, 3))
    x[7, 1], x[9, 1], x[9, 2] = np.inf, np.nan, -np.inf
    e = estimate(x).merge(estimate(np.ones((50, 3)), seed=1))
    assert "overflow" in e.flags
    assert "2 of 150 draws overflowed" in e.status
    np.testing.assert_array_equal(e.overflowed, [0, 2, 1])
    np.testing.assert_array_equal(np.isnan(e.mean), [False, True, True])
    assert np.isfinite(e.stderr[0])


def test_a_chunk_without_finite_draws_merges() -> None:
    bad, good = np.full((10, 1), np.inf), np.full((10, 1), 3.0)
    for pair in ((bad, good), (good, bad)):
        e = estimate(pair[0]).merge(estimate(pair[1], seed=1))
        assert e.overflowed[0] == 10
        assert np.ldexp(e.moments.mean, e.moments.exponent)[0] == 3.0


def test_variance_beyond_the_range() -> None:
    x = np.random.default_rng(6).lognormal(size=(500, 1)) * 1e200
    e = estimate(x)
    assert e.flags == ("overflow",)
    assert "standard error hold" in e.status
    assert np.isfinite(e.stderr).all()


def test_heavy_tail() -> None:
    random = np.random.default_rng(7)
    assert "heavy-tail" in estimate(random.lognormal(sigma=4.0, size=(10_000, 1))).flags
    assert "heavy-tail" in estimate(random.standard_cauchy(size=(10_000, 1))).flags
    assert estimate(random.chisquare(1, size=(1000, 1))).flags == ()


def test_few_draws() -> None:
    assert estimate(np.random.default_rng(8).normal(size=(10, 1))).flags == ("few-draws",)


def test_constant_observable() -> None:
    e = estimate(np.full((100, 2), 0.25))
    np.testing.assert_array_equal(e.stderr, 0.0)
    assert e.status == "ok"


def test_refused_merges() -> None:
    x = np.ones((40, 2))
    with pytest.raises(UnsupportedError, match="another seed"):
        estimate(x).merge(estimate(x))
    with pytest.raises(UnsupportedError, match="one observable"):
        estimate(x).merge(estimate(x, seed=1, name="chi"))


def test_estimates_are_a_mapping() -> None:
    x = np.random.default_rng(9).normal(size=(40, 2))
    first = Estimates({"kernel": estimate(x)}, {"draws": 40})
    second = Estimates({"kernel": estimate(x, seed=1)}, {"draws": 40})
    both = first.merge(second)
    assert list(both) == ["kernel"]
    assert both["kernel"].n == both.settings["draws"] == 80
    assert both["kernel"].seeds == (0, 1)
    assert both.flags == {}
    assert repr(both).startswith("<Estimates: draws 80>\n  kernel  ")
    assert "<Estimate kernel: 80 draws" in repr(both["kernel"])


def test_estimates_travel_to_another_process() -> None:
    x = np.random.default_rng(9).normal(size=(40, 2))
    sent = Estimates({"kernel": estimate(x)}, {"draws": 40})
    for found in (pickle.loads(pickle.dumps(sent)), copy.deepcopy(sent)):  # noqa: S301
        np.testing.assert_array_equal(found["kernel"].mean, sent["kernel"].mean)
        np.testing.assert_array_equal(found["kernel"].stderr, sent["kernel"].stderr)
        assert found.settings == {"draws": 40}
        with pytest.raises(TypeError):
            found.settings["draws"] = 1


def test_effective_draws() -> None:
    random = np.random.default_rng(11)
    normal = estimate(random.normal(size=(10_000, 1))).effective_draws[0]
    assert 0.85 < normal / 10_000 <= 1
    # For the square of a normal kappa = 15: a seventh.
    assert 0.5 < estimate(random.chisquare(1, size=(50_000, 1))).effective_draws[0] * 7 / 50_000 < 2
    assert estimate(random.standard_cauchy(size=(10_000, 1))).effective_draws[0] < 20


def test_a_heavy_tail_names_the_logarithm() -> None:
    heavy = np.random.default_rng(7).lognormal(sigma=4.0, size=(10_000, 1))
    assert 'ask for "log_kernel"' in estimate(heavy, name="kernel").status
    assert "effective number of draws" in estimate(heavy, name="kernel").status
    assert "ask for" not in estimate(heavy, name="something else").status


def test_intervals() -> None:
    random = np.random.default_rng(12)
    runs = [estimate(random.normal(1.0, 2.0, size=(12, 50))) for _ in range(40)]
    covered = np.mean([(low <= 1) & (high >= 1) for low, high in (e.interval() for e in runs)])
    assert abs(covered - 0.95) < 0.02
    narrow = np.mean([np.abs(e.mean - 1) < 1.96 * e.stderr for e in runs])
    assert narrow < covered  # the normal quantile is too small for twelve draws
    for wrong in (0, 1, 1.5, "95%"):
        with pytest.raises(HyperparameterError, match=r"0\.95"):
            runs[0].interval(wrong)


def test_intervals_of_skewed_draws_cover_better_than_symmetric_ones() -> None:
    random = np.random.default_rng(13)
    skewed = estimate(random.lognormal(sigma=1.0, size=(60, 4000)))
    exact = np.exp(0.5)
    low, high = skewed.interval()
    half = 2.0 * skewed.stderr
    covered = np.mean((low <= exact) & (exact <= high))
    symmetric = np.mean(np.abs(skewed.mean - exact) <= half)
    assert symmetric < 0.92
    assert covered > symmetric + 0.02
    # Without skewness it is Student's interval.
    even = estimate(np.concatenate([x := random.normal(size=(20, 3)), -x]))
    low, high = even.interval()
    np.testing.assert_allclose(high, -low, rtol=1e-6)
    np.testing.assert_allclose(high / even.stderr, 2.0227, rtol=1e-4)
