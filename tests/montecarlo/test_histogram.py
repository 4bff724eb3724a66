"""Counts between fixed edges: exact merges, exact bytes, quantiles whose intervals cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from resexpand.errors import HyperparameterError
from resexpand.montecarlo.statistics.histogram import Counts, Histogram, checked_histograms
from resexpand.montecarlo.statistics.intervals import binomial_ranks

EDGES = np.linspace(-2.0, 2.0, 81)


def draws(n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 2, 3))


def test_counts_are_those_of_numpy() -> None:
    x = draws(1000)
    found = Counts.of(x, EDGES)
    assert found.shape == (2, 3, 82)
    assert found.counts.dtype == np.int64
    for place in np.ndindex(2, 3):
        column = x[(slice(None), *place)]
        inner, _ = np.histogram(column, EDGES)
        assert found.counts[place][0] == (column < -2).sum()
        assert found.counts[place][-1] == (column >= 2).sum()
        np.testing.assert_array_equal(found.counts[place][1:-1], inner)


def test_a_draw_on_an_edge_is_in_the_bin_above() -> None:
    x = np.array([0.0, 1.0, 2.0, -np.inf, np.inf, np.nan])[:, None]
    found = Counts.of(x, np.array([0.0, 1.0, 2.0]))
    assert found.counts.tolist() == [[1, 1, 1, 2]]
    assert found.draws == 6


def test_merging_does_not_depend_on_the_order() -> None:
    x = draws(999)
    whole = Counts.of(x, EDGES)
    parts = [Counts.of(part, EDGES) for part in np.array_split(x, 7)]
    for order in (range(7), reversed(range(7)), (3, 1, 4, 0, 6, 5, 2)):
        total = None
        for k in order:
            total = parts[k] if total is None else total.merge(parts[k])
        assert total is not None
        assert total.to_bytes() == whole.to_bytes()


def test_bytes_and_back() -> None:
    counts = Counts.of(draws(50), EDGES)
    again = Counts.from_bytes(counts.to_bytes(), counts.shape)
    assert again.draws == 50
    np.testing.assert_array_equal(again.counts, counts.counts)
    with pytest.raises(ValueError, match="do not hold"):
        Counts.from_bytes(counts.to_bytes()[:-1], counts.shape)


@pytest.mark.parametrize("n", [1, 5, 40, 1000])
@pytest.mark.parametrize("q", [0.02, 0.5, 0.9])
def test_ranks_are_those_of_the_binomial_law(n: int, q: float) -> None:
    first, last = binomial_ranks(n, q, 0.95)
    law = stats.binom(n, q)
    assert law.cdf(last - 1) - law.cdf(first - 1) >= 0.95 - 1e-12
    # The narrowest such ranks: one step further in, a tail exceeds 2.5 percent.
    assert law.cdf(first) > 0.025
    assert law.sf(last - 2) > 0.025


def test_ranks_of_many_draws_join_those_of_few() -> None:
    exact, normal = binomial_ranks(10**6, 0.3, 0.95), binomial_ranks(10**6 + 1, 0.3, 0.95)
    assert np.abs(np.subtract(exact, normal)).max() <= 2


def test_quantiles_cover() -> None:
    """Of 400 samples with 200 draws, 95 percent intervals hold the exact quantile in 95 or more."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(200, 400))
    law = Histogram(EDGES, Counts.of(x, EDGES))
    for q in (0.1, 0.5, 0.8):
        value, low, high = law.quantile(q)
        exact = stats.norm.ppf(q)
        covered = ((low <= exact) & (exact <= high)).mean()
        assert covered > 0.93
        assert (low <= value).all()
        assert (value <= high).all()
        ranked = np.quantile(x, q, axis=0, method="inverted_cdf")
        assert np.abs(value - ranked).max() <= 0.05 + 1e-12  # the width of a bin
        # A control: the interval of the next decile does not hold this one.
        _, low, high = law.quantile(q + 0.1)
        assert ((low <= exact) & (exact <= high)).mean() < 0.5


def test_quantiles_outside_the_edges_are_infinite() -> None:
    law = Histogram(np.array([0.0, 1.0]), Counts.of(draws(100) * 0 - 1.0, np.array([0.0, 1.0])))
    value, low, high = law.quantile(0.5)
    assert (value == -np.inf).all()
    assert (low == -np.inf).all()
    assert (high == 0.0).all()
    few = Histogram(EDGES, Counts.of(draws(3), EDGES)).quantile(0.5)
    assert np.isinf(few.low).all()
    assert np.isinf(few.high).all()


def test_a_nan_makes_no_number() -> None:
    x = draws(100)
    x[3, 0, 0] = np.nan
    law = Histogram(EDGES, Counts.of(x, EDGES))
    assert np.isnan(law.quantile(0.5).value).tolist() == [[True, False, False], [False] * 3]
    assert law.outside[0, 0] > 0


def test_density_and_distribution() -> None:
    x = draws(20_000)
    law = Histogram(EDGES, Counts.of(x, EDGES))
    centre = (EDGES[1:] + EDGES[:-1]) / 2
    z = (law.density - stats.norm.pdf(centre)) / law.density_stderr
    assert np.abs(z).max() < 5
    assert np.abs(law.distribution - stats.norm.cdf(EDGES)).max() < 4.5 / np.sqrt(20_000)
    assert "80 bins" in repr(law)


def test_refused_edges() -> None:
    wrong = [
        "text",
        {"chi": [0, 1]},
        {"kernel": [1.0]},
        {"kernel": [0.0, 0.0]},
        {"kernel": [0.0, np.nan]},
        {"kernel": "0, 1"},
        {"kernel": [[0.0, 1.0]]},
        {"kernel": None},
    ]
    for law in wrong:
        with pytest.raises(HyperparameterError, match="linspace"):
            checked_histograms(law, ["kernel"])
    law = Histogram(EDGES, Counts.of(draws(10), EDGES))
    for q in (0.0, 1.0, -1, "half"):
        with pytest.raises(HyperparameterError):
            law.quantile(q)  # type: ignore[arg-type]
    with pytest.raises(HyperparameterError, match="edges differ"):
        law.merge(Histogram(EDGES + 1, law.sums))
