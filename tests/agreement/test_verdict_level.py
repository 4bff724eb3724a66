"""A verdict keeps its level on skewed, heavy-tailed, rare and few draws, and still decides.

A thousand runs of seventeen laws each are counted in ``numerics/verdict_level.py``; here are a few
hundred of each kind, and the rules behind them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from synthetic import Fake

from resexpand import compare
from resexpand.agreement.comparison import Agreement, two_sample
from resexpand.agreement.extrapolation import extrapolate
from resexpand.agreement.health import FEWEST_EFFECTIVE
from resexpand.agreement.shape import shape_of, shape_of_sum
from resexpand.agreement.tails import cautious, convincing
from resexpand.montecarlo.statistics.estimate import Estimate
from resexpand.montecarlo.statistics.intervals import straightened, unskewed
from resexpand.montecarlo.statistics.moments import Moments

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
LAWS: dict[str, tuple[Draw, float, int]] = {
    "exponential": (lambda rng, size: rng.standard_exponential(size), 1.0, 40),
    "minus exponential": (lambda rng, size: -rng.standard_exponential(size), -1.0, 40),
    "log-normal": (lambda rng, size: np.exp(rng.standard_normal(size)), math.exp(0.5), 60),
    "rare": (lambda rng, size: (rng.random(size) < 0.02).astype(float), 0.02, 100),
}


def estimate(rows: np.ndarray, width: int = 8, seed: int = 0) -> Estimate:
    return Estimate("kernel", Moments.of(rows), width, 2, seeds=(seed,))


def judged(rows: np.ndarray, truth: float, **options: float) -> Agreement:
    theory = np.full(rows.shape[1:], truth)
    return compare({"K": theory}, {"kernel": estimate(rows)}, neglected=0, **options)


# --- level and power --------------------------------------------------------------------


@pytest.mark.parametrize("name", LAWS)
def test_a_right_theory_is_rarely_rejected(name: str) -> None:
    draw, mean, n = LAWS[name]
    rng, runs, hits, student = np.random.default_rng(17), 400, 0, 0
    for rows in draw(rng, (runs, n, 3)):
        hits += judged(rows, mean).verdict == "disagrees"
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.abs(rows.mean(0) - mean) / rows.std(0, ddof=1) * math.sqrt(n)
        student += bool(np.any(2 * stats.t.sf(t, n - 1) < 0.0027 / 3))
    # Seven of 400 have probability 1e-4 at the level; the plain statistic is far beyond.
    assert hits < 7
    assert student > 7


def test_what_is_well_behaved_is_decided() -> None:
    rng, runs = np.random.default_rng(18), 150
    found: dict[float, Counter[str]] = {shift: Counter() for shift in (0.0, 5.0, 8.0, -20.0)}
    for rows in 1 + 0.1 * rng.standard_normal((runs, 400, 1)):
        for shift, counts in found.items():
            counts[judged(rows, 1 + shift * 0.1 / math.sqrt(400)).verdict] += 1
    assert found[0.0]["agrees"] >= runs - 3
    assert found[5.0]["disagrees"] > 0.9 * runs
    assert found[8.0]["disagrees"] == found[-20.0]["disagrees"] == runs


def test_a_flagged_sample_may_contradict_and_never_supports() -> None:
    """Fifty draws of an exponential law: half of the samples are flagged."""
    rng, found = np.random.default_rng(19), Counter()
    for rows in rng.standard_exponential((200, 50, 1)):
        if "heavy-tail" in estimate(rows).flags:
            assert judged(rows, 1.0, resolve=100.0).verdict != "agrees"
            found[judged(rows, 1.0 + 20 / math.sqrt(50)).verdict] += 1
    assert found.total() > 50
    assert found["disagrees"] > 0.6 * found.total()


def test_neighbours_of_a_heavy_tail_are_not_judged_as_if_it_were_not_there() -> None:
    rng = np.random.default_rng(20)
    tail = np.exp(3 * rng.standard_normal(400))
    neighbour = np.exp(0.8 * rng.standard_normal(400))
    calm = 1 + 0.1 * rng.standard_normal(400)
    alone = judged(neighbour[:, None], float(neighbour.mean()))
    assert alone.rows[0].ok is True
    rows = np.stack([calm, neighbour, tail], axis=1)
    assert estimate(rows).effective_draws[2] < FEWEST_EFFECTIVE
    theory = rows.mean(axis=0)
    together = compare({"K": theory}, {"kernel": estimate(rows)}, neglected=0)
    assert [row.ok for row in together.rows] == [True, None, None]
    assert together.verdict == "inconclusive"
    # The layer that is far from the tail is still judged.
    assert compare({"K": theory + 0.1}, {"kernel": estimate(rows)}, neglected=0).verdict == (
        "disagrees"
    )


# --- draws that are all the same --------------------------------------------------------


def test_a_rare_event_never_seen_decides_nothing() -> None:
    rate = float(stats.norm.sf(5.0))
    for bias in (0.0, 0.1):
        rows = np.full((4000, 2), bias)
        found = judged(rows, bias + rate)
        assert found.verdict == "inconclusive"
        assert "all 4000 draws are the same" in found.reason
        assert np.all(np.isnan(found.z["K"]))
    # A constant that is right agrees, one that no rare event of its size explains does not.
    assert judged(np.full((4000, 2), 1.4), 1.4).verdict == "agrees"
    assert judged(np.full((4000, 2), 1.4), 1.4 * (1 + 1e-9)).verdict == "inconclusive"
    assert judged(np.full((4000, 2), 1.4), 2.1).verdict == "disagrees"
    assert judged(np.full((20, 2), 1.4), 2.1).verdict == "inconclusive"


def test_constants_in_two_samples() -> None:
    a, b = ({"kernel": estimate(np.full((1000, 1), v), seed=s)} for v, s in ((1.0, 1), (1.0001, 2)))
    assert two_sample(a, b).verdict == "inconclusive"
    far = {"kernel": estimate(np.full((1000, 1), 2.0), seed=3)}
    assert two_sample(a, far).verdict == "disagrees"


# --- the mechanism ----------------------------------------------------------------------


def test_intervals_and_verdicts_use_one_transformation() -> None:
    lean = np.linspace(-0.4, 0.4, 9)
    for quantile in (-4.0, -0.5, 2.0, 3.5):
        np.testing.assert_allclose(
            straightened(unskewed(quantile, lean), lean), quantile, rtol=1e-9
        )


def test_caution_only_takes_away() -> None:
    t, doubt = np.linspace(0.5, 3, 11), np.full(11, 0.02)
    for lean in (-0.2, 0.0, 0.2):
        for side in (-1.0, 1.0):
            arrays = np.array(side), np.full(11, lean), doubt
            left = cautious(t, *arrays)
            assert np.all(left <= t)
            np.testing.assert_allclose(convincing(left, *arrays), t, rtol=1e-9)
    # Skewed to the right, a mean that is too low is what such draws do; one too high is not.
    low, high = (
        cautious(np.array(4.0), np.array(s), np.array(0.2), np.array(0.0)) for s in (-1, 1)
    )
    assert low < 0.75 * high
    assert high == 4.0


def test_the_shape_of_a_sum() -> None:
    """Skewness and degrees of freedom of a difference of means, by many runs and by Welch."""
    rng, runs = np.random.default_rng(21), 200_000
    a, b = (rng.standard_exponential((runs, n)).mean(axis=1) for n in (20, 40))
    errors = [np.array(1 / math.sqrt(n)) for n in (20, 40)]
    parts = [
        Fake("x", np.zeros(()), error, np.ones(()), n=n)
        for n, error in zip((20, 40), errors, strict=True)
    ]
    shapes = [shape_of(part) for part in parts]
    exact = [
        type(shape)(np.asarray(2 / math.sqrt(n)), shape.doubt, shape.freedom)
        for n, shape in zip((20, 40), shapes, strict=True)
    ]
    found = shape_of_sum([errors[0], -errors[1]], exact)
    assert float(found.lean) == pytest.approx(float(stats.skew(a - b)), abs=0.03)
    welch = (1 / 20 + 1 / 40) ** 2 / (1 / 20**2 / 19 + 1 / 40**2 / 39)
    assert float(found.freedom) == pytest.approx(welch)


def test_extrapolated_skewness() -> None:
    rng = np.random.default_rng(22)
    runs = [
        estimate(1 + rng.standard_exponential((100, 2)) / n, width=n, seed=n) for n in (50, 100)
    ]
    line = extrapolate(runs)
    # The widest network weighs most: the intercept leans as it does, less what the other takes.
    assert np.all(line.shape.lean > 0)
    assert np.all(line.shape.freedom < 200)
    assert np.all(line.shape.freedom > 10)
