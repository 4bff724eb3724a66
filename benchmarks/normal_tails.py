"""The tails and the moments of the standard normals, from 10^9 draws.

    python benchmarks/normal_tails.py [--out FILE] [--quick]

Counts of |z| > 1 ... 6.5 are held against ``n erfc(x/sqrt(2))``, a histogram of 130 bins against
the probabilities of its bins (chi squared), and the moments 1 to 8 against theirs, all as z-scores
with the exact standard deviations of a sample of this size. The numbers are those the samplers
draw: vectors of 2^16 entries, vector index and layer running. A factor 1 + 1e-4 on the same
numbers must be noticed, which says what 10^9 draws can see.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from statistics import NormalDist

import numba
import numpy as np
from numpy.typing import NDArray

from resexpand.export.record import write_record
from resexpand.montecarlo.random.normals import LARGEST_NORMAL, fill_normals
from resexpand.montecarlo.random.philox import split_seed
from resexpand.montecarlo.random.streams import FUNCTION_SPACE_FIRST, stream_word

RESULTS = Path(__file__).with_name("results")
LENGTH = 2**16
THRESHOLDS = np.array([1, 2, 3, 4, 4.5, 5, 5.5, 6, 6.5])
EDGE, BINS = 6.5, 130
ORDERS = 8
SEED = 2024
CONTROL = 1 + 1e-4


@numba.njit(nogil=True)
def tally(
    z: NDArray[np.float64],
    counts: NDArray[np.int64],
    beyond: NDArray[np.int64],
    sums: NDArray[np.float64],
    factor: float,
) -> None:
    """Add one vector to the histogram, to the counts beyond the thresholds, and to the sums."""
    moments = np.zeros(ORDERS)
    for number in z:
        x = factor * number
        place = int((x + EDGE) * (BINS / (2 * EDGE)) + 1)
        counts[min(max(place, 0), BINS + 1)] += 1
        power = 1.0
        for k in range(ORDERS):
            power *= x
            moments[k] += power
    for k in range(ORDERS):
        sums[k] += moments[k]
    for t in range(THRESHOLDS.size):
        beyond[t] += np.sum(np.abs(z) * factor > THRESHOLDS[t])


@numba.njit(nogil=True)
def draw(
    seed: tuple[np.uint64, np.uint64],
    first: int,
    vectors: int,
    factor: float,
    counts: NDArray[np.int64],
    beyond: NDArray[np.int64],
    sums: NDArray[np.float64],
) -> None:
    """Draw vectors, as a sampler of one column does layer after layer, draw after draw."""
    z = np.empty(LENGTH)
    for v in range(first, first + vectors):
        word = stream_word(1 + v % 100, FUNCTION_SPACE_FIRST)
        fill_normals(seed[0], seed[1], np.uint64(v % 7), word, np.uint64(v // 100), z, LENGTH)
        tally(z, counts, beyond, sums, factor)


def statistics(vectors: int, factor: float) -> dict[str, object]:
    """Return every statistic of this many vectors, as z-scores."""
    counts, beyond = np.zeros(BINS + 2, np.int64), np.zeros(THRESHOLDS.size, np.int64)
    sums = np.zeros(ORDERS)
    draw(split_seed(SEED), 0, vectors, factor, counts, beyond, sums)
    n = vectors * LENGTH
    tails = {}
    for x, count in zip(THRESHOLDS, beyond, strict=True):
        p = math.erfc(x / math.sqrt(2))
        expected = n * p
        tails[f"{x:g}"] = {
            "count": int(count),
            "expected": expected,
            "z": (count - expected) / math.sqrt(expected * (1 - p)),
        }
    edges = np.linspace(-EDGE, EDGE, BINS + 1)
    # Both tails from erfc: a difference of distribution functions near 1 has no digits left.
    upper = np.array([0.5 * math.erfc(abs(x) / math.sqrt(2)) for x in edges])
    inner = np.where(edges[:-1] >= 0, upper[:-1] - upper[1:], upper[1:] - upper[:-1])
    expected = n * np.concatenate([upper[:1], inner, upper[-1:]])
    # Bins of few counts are joined from the ends inwards until ten are expected.
    joined = joined_bins(counts.astype(float), expected)
    chi2 = float(((joined[0] - joined[1]) ** 2 / joined[1]).sum())
    degrees = joined[1].size - 1
    # Wilson and Hilferty: the cube root of chi squared is normal to a few thousandths.
    spread = 2 / (9 * degrees)
    chi2_z = ((chi2 / degrees) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    moments = {}
    for k in range(1, ORDERS + 1):
        exact, square = odd_factorial(k), odd_factorial(2 * k)
        moments[str(k)] = (sums[k - 1] / n - exact) / math.sqrt((square - exact**2) / n)
    return {
        "draws": n,
        "beyond": tails,
        "chi_squared": {"value": chi2, "degrees": degrees, "z": chi2_z},
        "moments_z": moments,
    }


def joined_bins(
    counts: NDArray[np.float64], expected: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Join bins at both ends until each expects ten counts."""
    keep = np.flatnonzero(expected >= 10)
    low, high = keep[0], keep[-1]

    def join(x: NDArray[np.float64]) -> NDArray[np.float64]:
        middle = x[low : high + 1].copy()
        middle[0] += x[:low].sum()
        middle[-1] += x[high + 1 :].sum()
        return middle

    return join(counts), join(expected)


def odd_factorial(k: int) -> float:
    """Return E z^k."""
    return 0.0 if k % 2 else float(math.prod(range(1, k, 2)))


def worst(table: dict[str, object]) -> float:
    """Return the largest |z| of all statistics."""
    tails, moments = table["beyond"], table["moments_z"]
    assert isinstance(tails, dict)
    assert isinstance(moments, dict)
    chi2 = table["chi_squared"]
    assert isinstance(chi2, dict)
    scores = [t["z"] for t in tails.values()] + [*moments.values(), chi2["z"]]
    return float(max(map(abs, scores)))


def main(arguments: list[str] | None = None) -> int:
    """Draw, print and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "normal_tails.json")
    parser.add_argument("--quick", action="store_true", help="2^24 draws")
    options = parser.parse_args(arguments)
    vectors = 2**8 if options.quick else 2**14 + 2**10
    found, control = statistics(vectors, 1.0), statistics(vectors, CONTROL)
    count = THRESHOLDS.size + ORDERS + 1
    limit = NormalDist().inv_cdf(1 - 0.01 / (2 * count))
    for name, table in (("normals", found), (f"{CONTROL} x normals", control)):
        print(f"{name:20s} {table['draws']:.3e} draws   largest |z| of {count}: {worst(table):.2f}")
    passed = worst(found) < limit
    noticed = worst(control) > limit
    print(f"limit at one percent for all together {limit:.2f}: {'passed' if passed else 'FAILED'}")
    write_record(
        options.out,
        normals=found,
        control={"factor": CONTROL, **control},
        limit=limit,
        passed=passed,
        control_noticed=noticed,
        largest_normal=LARGEST_NORMAL,
    )
    return 0 if passed and (noticed or options.quick) else 1


if __name__ == "__main__":
    sys.exit(main())
