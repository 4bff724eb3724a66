"""A claim has a largest deviation that it must be able to see; else it is inconclusive."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import drawn

from resexpand import compare
from resexpand.agreement.comparison import Agreement, combine
from support.claims import (
    AGREES,
    DISAGREES,
    INCONCLUSIVE,
    LARGEST_UNSEEN,
    Claim,
    conclude,
)
from support.two_samples import compare_laws, judged_together

TRUTH = np.array([1.0, 1.3, 1.7])


def agreement(factor: float, neglected: float, resolve: float) -> Agreement:
    sample = {"kernel": drawn("kernel", TRUTH, 2.0)}
    return compare({"K": factor * TRUTH}, sample, neglected=neglected, resolve=resolve)


def claim(neglected: float, **options: float) -> Claim:
    """A claim that was asked to resolve next to nothing."""
    right, wrong = (agreement(factor, neglected, 100.0) for factor in (1.0, 10.0))
    return Claim("growth", "it grows", right, wrong, "a factor of ten", **options)


def test_an_agreement_that_would_have_seen_nothing_is_no_support() -> None:
    blind = claim(0.6)
    assert blind.agreement.verdict == "agrees"
    assert blind.agreement.resolution > 1.2
    assert blind.caught
    assert blind.exit_code == INCONCLUSIVE
    lines: list[str] = []
    assert conclude([blind], say=lines.append) == INCONCLUSIVE
    assert any(line.startswith("inconclusive: a deviation of 1.2") for line in lines)
    assert blind.to_dict()["exit_code"] == INCONCLUSIVE


def test_one_that_would_have_seen_it_is() -> None:
    assert claim(0.02).exit_code == AGREES
    assert claim(0.02).agreement.resolution < LARGEST_UNSEEN
    assert claim(0.02, resolve=0.01).exit_code == INCONCLUSIVE
    assert claim(0.6, resolve=1.5).exit_code == AGREES


def test_a_disagreement_needs_no_resolution() -> None:
    wrong = agreement(10.0, 0.6, 100.0)
    assert Claim("growth", "it grows", wrong, wrong, "the same").exit_code == DISAGREES


def test_what_was_not_judged_was_not_seen() -> None:
    sick = drawn("kernel", TRUTH, 2.0).but(status="Strange.", flags=("strange",))
    assert compare({"K": TRUTH}, {"kernel": sick}, neglected=0).resolution == np.inf


def test_the_coarsest_part_decides() -> None:
    both = combine({"sharp": agreement(1.0, 0.01, 9.0), "blind": agreement(1.0, 0.4, 9.0)})
    assert both.resolution == pytest.approx(agreement(1.0, 0.4, 9.0).resolution, rel=0.05)


@pytest.mark.parametrize(("draws", "verdict"), [(640, "inconclusive"), (20_000, "agrees")])
def test_two_laws_are_told_apart_or_not(draws: int, verdict: str) -> None:
    rng = np.random.default_rng(7)
    first, second = rng.normal(size=(2, draws, 1))
    found = judged_together([compare_laws("normal", first, second)], 0.0027)
    assert found.verdict == verdict
    assert (found.exit_code, found.resolution <= found.resolve) == (
        (0, True) if verdict == "agrees" else (2, False)
    )


def test_the_stated_resolution_of_two_laws_is_reached() -> None:
    """Uniform laws shifted so that their distribution functions are that far apart."""
    rng, runs, draws, hits = np.random.default_rng(8), 200, 2000, 0
    resolution = judged_together([compare_laws("u", *rng.random((2, draws, 1)))]).resolution
    for _ in range(runs):
        first, second = rng.random((2, draws, 1))
        found = compare_laws("u", first, second + resolution)[:1]
        hits += judged_together([found, found]).verdict == "disagrees"
    assert hits >= 0.9 * runs
