"""Claims: a verdict counts only if the comparison could tell the wrong theory."""

from __future__ import annotations

import numpy as np
import pytest

from resexpand import Activation, Branch, Linear, ResNet, compare, evaluate, kernel, sample
from resexpand.agreement.comparison import Agreement
from support.claims import AGREES, DISAGREES, INCONCLUSIVE, Claim, conclude

NET = ResNet(Branch(Activation("identity"), Linear(1, 0)), scale=0.5, depth=2)
THEORY = np.asarray(evaluate(kernel(NET), K0=1.0, target="numpy")["K"])


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Agreement]:
    """Return one comparison for each verdict, by its name."""
    many = sample(NET, "kernel", width=16, draws=20_000, K0=1.0)
    few = sample(NET, "kernel", width=16, draws=40, K0=1.0)
    # The mean of linear blocks is exact at every width: nothing is neglected.
    found = (
        compare({"K": THEORY}, many, neglected=0.0),
        compare({"K": 1.1 * THEORY}, many, neglected=0.0),
        compare({"K": THEORY}, few, neglected=0.0),
    )
    return {agreement.verdict: agreement for agreement in found}


def claim(verdicts: dict[str, Agreement], agreement: str, control: str) -> Claim:
    return Claim(
        "growth", "the kernel grows", verdicts[agreement], verdicts[control], "ten percent"
    )


@pytest.mark.parametrize(
    ("agreement", "control", "code"),
    [
        ("agrees", "disagrees", AGREES),
        ("agrees", "inconclusive", INCONCLUSIVE),
        ("agrees", "agrees", DISAGREES),
        ("inconclusive", "disagrees", INCONCLUSIVE),
        ("inconclusive", "agrees", DISAGREES),
        ("disagrees", "disagrees", DISAGREES),
        ("disagrees", "inconclusive", DISAGREES),
    ],
)
def test_exit_code(verdicts: dict[str, Agreement], agreement: str, control: str, code: int) -> None:
    assert claim(verdicts, agreement, control).exit_code == code


@pytest.mark.parametrize(
    ("control", "word"),
    [("disagrees", "caught"), ("inconclusive", "undecided"), ("agrees", "slipped through")],
)
def test_the_report_names_what_became_of_the_control(
    verdicts: dict[str, Agreement], control: str, word: str
) -> None:
    lines: list[str] = []
    conclude([claim(verdicts, "agrees", control)], say=lines.append)
    assert lines[-1].startswith(f"control (ten percent): {word}, ")


def test_one_bad_claim_decides(verdicts: dict[str, Agreement]) -> None:
    good = claim(verdicts, "agrees", "disagrees")
    vague = claim(verdicts, "inconclusive", "disagrees")
    bad = claim(verdicts, "disagrees", "disagrees")
    codes = [
        conclude(claims, say=lambda line: None)
        for claims in ([good], [good, vague], [good, vague, bad])
    ]
    assert codes == [AGREES, INCONCLUSIVE, DISAGREES]


def test_a_record_holds_both_verdicts(verdicts: dict[str, Agreement]) -> None:
    found = claim(verdicts, "agrees", "disagrees").to_dict()
    assert found["agreement"]["verdict"] == "agrees"
    assert found["control"]["verdict"] == "disagrees"
    assert abs(found["control"]["worst_z"]) > 5
