"""Claims of a paper as data: a comparison that must agree, and a control that must not.

A script in ``numerics/`` tests a few claims and concludes with an exit code: 0 if every claim
agrees and every control was caught, 1 if a claim disagrees or a control slipped through, 2 if
nothing is wrong but something, a control included, could not be decided. A comparison that would
not have seen a deviation of `LARGEST_UNSEEN` supports no claim, whatever it was asked to resolve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resexpand.agreement.outcome import Agreement
from resexpand.export.record import environment, write_record

AGREES, DISAGREES, INCONCLUSIVE = 0, 1, 2

LARGEST_UNSEEN = 0.5
"""Largest relative deviation that a comparison may overlook and still support a claim."""


@dataclass(frozen=True)
class Claim:
    """One statement, tested.

    Attributes
    ----------
    name : str
        Short name, used as a key.
    statement : str
        One sentence.
    agreement : Agreement
        The comparison of theory and samples.
    control : Agreement
        The same comparison with a deliberately wrong theory.
    wrong : str
        What is wrong in the control.
    resolve : float
        Largest deviation, in units of the agreement's `resolution`, that may stay unseen.
    """

    name: str
    statement: str
    agreement: Agreement
    control: Agreement
    wrong: str
    resolve: float = LARGEST_UNSEEN

    @property
    def sees(self) -> bool:
        """Whether the comparison would have seen a deviation that matters."""
        return self.agreement.resolution <= self.resolve

    @property
    def caught(self) -> bool:
        """Whether the comparison told the wrong theory from the samples."""
        return self.control.verdict == "disagrees"

    @property
    def exit_code(self) -> int:
        """0 if the claim agrees, would have seen what matters, and its control was caught."""
        if self.control.verdict == "agrees":
            return DISAGREES
        # A comparison that cannot refute the wrong theory does not support the right one.
        if self.agreement.exit_code == AGREES and not (self.caught and self.sees):
            return INCONCLUSIVE
        return self.agreement.exit_code

    def to_dict(self) -> dict[str, Any]:
        """Return the claim for a record, with every z-score."""
        return {
            "statement": self.statement,
            "exit_code": self.exit_code,
            "resolve": self.resolve,
            "agreement": self.agreement.to_dict(),
            "control": {
                "wrong": self.wrong,
                "verdict": self.control.verdict,
                "reason": self.control.reason,
                "worst_z": self.control.worst.z if self.control.worst else None,
            },
        }


def conclude(claims: Sequence[Claim], say: Callable[[str], None] = print) -> int:
    """Report every claim and return the exit code of all together."""
    for claim in claims:
        say(f"\n{claim.name}: {claim.statement}")
        say(str(claim.agreement))
        if claim.agreement.exit_code == AGREES and not claim.sees:
            seen = claim.agreement.resolution
            say(f"inconclusive: a deviation of {seen:.2g} would be seen, not {claim.resolve:g}")
        outcome = {"agrees": "slipped through", "disagrees": "caught"}
        found = outcome.get(claim.control.verdict, "undecided")
        say(f"control ({claim.wrong}): {found}, {claim.control.reason}")
    codes = [claim.exit_code for claim in claims]
    if DISAGREES in codes:
        return DISAGREES
    return INCONCLUSIVE if INCONCLUSIVE in codes else AGREES


def record_claims(
    folder: Path,
    claims: Sequence[Claim],
    *,
    scale: str,
    settings: Mapping[str, Any],
    exit_code: int,
    **sections: Any,
) -> Path:
    """Write ``record.json`` into a folder, which is made if need be: every claim, every z-score.

    Parameters
    ----------
    folder : Path
    claims : sequence of Claim
    scale : str
        Name of the sizes the script ran at.
    settings : mapping
        These sizes.
    exit_code : int
        What `conclude` returned.
    **sections
        Whatever else the record holds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return write_record(
        folder / "record.json",
        environment=environment(),
        scale=scale,
        settings=settings,
        claims={claim.name: claim.to_dict() for claim in claims},
        **sections,
        exit_code=exit_code,
    )
