"""Box-Muller normals: against 60-digit arithmetic on the same integers, and as a distribution.

Laws: (1) every normal is within a few units in the last place of the exact Box-Muller value of its
two words, also at the ends of the range; (2) vectors and rows of the dense sampler are the same
numbers, for every length; (3) moments and the Kolmogorov-Smirnov distance of 10^6 normals, and
their correlations, are those of N(0, 1); (4) a slightly wrong law is rejected by the same tests.
"""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from resexpand.montecarlo.random.normals import (
    LARGEST_NORMAL,
    cos_sin,
    fill_normals,
    minus_two_log,
    normals4,
    normals_of_words,
)
from resexpand.montecarlo.random.philox import philox4x32
from resexpand.montecarlo.weights.entries import rows_of

U = np.uint64
EDGE_WORDS = [0, 1, 2, 2**29 - 1, 2**29, 2**30, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]


def exact_minus_two_log(word: int) -> mpmath.mpf:
    return -2 * mpmath.log((mpmath.mpf(word) + 0.5) / 2**32)


def exact_cos_sin(word: int) -> tuple[mpmath.mpf, mpmath.mpf]:
    angle = 2 * mpmath.pi * (mpmath.mpf(word) + 0.5) / 2**32
    return mpmath.cos(angle), mpmath.sin(angle)


def ulps(value: float, exact: mpmath.mpf) -> float:
    return float(abs(mpmath.mpf(float(value)) - exact) / np.spacing(abs(float(exact))))


def sample_words(count: int) -> list[int]:
    random = np.random.default_rng(5).integers(0, 2**32, count)
    near_cuts = [round(2**k * 2**-0.5) + j for k in range(3, 33) for j in (-1, 0, 1)]
    return [*EDGE_WORDS, *near_cuts, *(int(w) for w in random)]


def test_logarithm() -> None:
    with mpmath.workdps(60):
        assert (
            max(ulps(minus_two_log(U(w)), exact_minus_two_log(w)) for w in sample_words(1000)) < 3
        )


def test_cosine_and_sine() -> None:
    with mpmath.workdps(60):
        worst = 0.0
        for w in sample_words(1000):
            for value, exact in zip(cos_sin(U(w)), exact_cos_sin(w), strict=True):
                worst = max(worst, ulps(value, exact))
        assert worst < 3


def test_normals_of_the_same_words() -> None:
    with mpmath.workdps(60):
        worst = 0.0
        for block in range(300):
            counter = (U(block), U(1), U(2), U(3), U(4), U(5))
            x, y, xx, yy = (int(w) for w in philox4x32(*counter))
            exact = []
            for radius_word, angle_word in ((x, y), (xx, yy)):
                radius = mpmath.sqrt(exact_minus_two_log(radius_word))
                exact += [radius * part for part in exact_cos_sin(angle_word)]
            values = normals4(*counter)
            worst = max(worst, *(ulps(v, e) for v, e in zip(values, exact, strict=True)))
        assert worst < 5


def test_tail_bound() -> None:
    assert np.sqrt(minus_two_log(U(0))) == pytest.approx(LARGEST_NORMAL, rel=1e-15)
    assert minus_two_log(U(2**32 - 1)) > 0


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 31, 32, 33, 100])
def test_fill_writes_exactly_n(n: int) -> None:
    long, short = np.zeros(128), np.full(n + 1, -99.0)
    fill_normals(U(1), U(2), U(3), U(4), U(5), long, 128)
    fill_normals(U(1), U(2), U(3), U(4), U(5), short, n)
    # the scalar tail and the vector body may round differently, by fused multiply-add
    np.testing.assert_allclose(short[:n], long[:n], rtol=1e-15, atol=1e-17)
    assert short[n] == -99.0


def test_rows_and_vectors_are_the_same_numbers() -> None:
    rows, blocks, first = 37, 5, 11
    by_vector = np.zeros((rows, 4 * blocks))
    by_block = np.zeros((blocks, 4, rows))
    fill_rows = rows_of(normals_of_words)
    for i in range(rows):
        fill_normals(U(9), U(8), U(first + i), U(7), U(6), by_vector[i], 4 * blocks)
    for k in range(blocks):
        fill_rows(U(9), U(8), U(k), first, U(7), U(6), by_block[k])
    again = by_block.transpose(2, 0, 1).reshape(rows, 4 * blocks)
    np.testing.assert_allclose(again, by_vector, rtol=1e-15, atol=1e-17)


def million() -> NDArray[np.float64]:
    out = np.zeros(1_000_000)
    fill_normals(U(20), U(26), U(0), U(0), U(0), out, out.size)
    return out


def worst_moment_score(z: NDArray[np.float64]) -> float:
    """Return the largest |z-score| of the moments 1 to 6."""
    exact = [0, 1, 0, 3, 0, 15]
    variance = [1, 2, 15, 96, 945, 10170]  # of z^k: E z^2k - (E z^k)^2
    return max(
        abs(np.mean(z**k) - exact[k - 1]) / np.sqrt(variance[k - 1] / z.size) for k in range(1, 7)
    )


def test_distribution() -> None:
    z = million()
    assert worst_moment_score(z) < 4
    assert stats.kstest(z, "norm").pvalue > 1e-3
    for lag in (1, 2, 3, 4, 8, 32):
        assert abs(np.mean(z[:-lag] * z[lag:])) < 4.5 / np.sqrt(z.size)
        assert abs(np.mean(z[:-lag] ** 2 * z[lag:] ** 2) - 1) < 4.5 * np.sqrt(8 / z.size)


def test_wrong_law_is_rejected() -> None:
    z = million()
    assert worst_moment_score(1.005 * z) > 5
    assert stats.kstest(z + 0.005, "norm").pvalue < 1e-3


def test_neighbouring_counters_are_independent() -> None:
    base, n = np.zeros(200_000), 200_000
    fill_normals(U(1), U(0), U(1), U(1), U(1), base, n)
    for c1, c2, c3 in ((2, 1, 1), (1, 2, 1), (1, 1, 2)):
        other = np.zeros(n)
        fill_normals(U(1), U(0), U(c1), U(c2), U(c3), other, n)
        assert abs(np.mean(base * other)) < 4.5 / np.sqrt(n)
