"""Claims of a paper as data: a comparison that must agree, and a control that must not.

A script in ``numerics/`` tests a few claims and concludes with an exit code: 0 if every claim
agrees and every control was caught, 1 if a claim disagrees or a control slipped through, 2 if
nothing is wrong but something, a control included, could not be decided. A comparison that would
not have seen a deviation of `LARGEST_UNSEEN` supports no claim, whatever it was asked to resolve.
"""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from resexpand.agreement.outcome import Agreement
from resexpand.export.record import environment, write_record

AGREES, DISAGREES, INCONCLUSIVE = 0, 1, 2

LARGEST_UNSEEN = 0.5
"""Largest relative deviation that a comparison may overlook and still support a claim."""


class Row(NamedTuple):
    """The worst case of a finding, in units of what chance or rounding explains."""

    label: str
    z: float


class Finding(ABC):
    """Evidence of a claim that is no comparison of theory and samples."""

    worst: Any
    """Its `Row`, or another tuple with a `z`."""

    @property
    @abstractmethod
    def verdict(self) -> str:
        """``"agrees"``, ``"disagrees"`` or ``"inconclusive"``."""

    @property
    @abstractmethod
    def reason(self) -> str:
        """Why, in one sentence."""

    @property
    @abstractmethod
    def resolution(self) -> float:
        """Deviation that would have been seen."""

    @property
    @abstractmethod
    def rows(self) -> object:
        """Every number that was judged, for the record."""

    @property
    def exit_code(self) -> int:
        """0 agrees, 1 disagrees, 2 inconclusive."""
        return ("agrees", "disagrees", "inconclusive").index(self.verdict)

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome and every number."""
        return {"verdict": self.verdict, "reason": self.reason, "rows": self.rows}

    def __str__(self) -> str:
        return f"{self.verdict}: {self.reason}"


@dataclass(frozen=True)
class Claim:
    """One statement, tested.

    Attributes
    ----------
    name : str
        Short name, used as a key.
    statement : str
        One sentence.
    agreement : Agreement or Finding
        The comparison of theory and samples.
    control : Agreement or Finding
        The same comparison with a deliberately wrong theory.
    wrong : str
        What is wrong in the control.
    resolve : float
        Largest deviation, in units of the agreement's `resolution`, that may stay unseen.
    """

    name: str
    statement: str
    agreement: Agreement | Finding
    control: Agreement | Finding
    wrong: str
    resolve: float = LARGEST_UNSEEN

    @property
    def sees(self) -> bool:
        """Whether the comparison would have seen a deviation that matters."""
        return self.agreement.resolution <= self.resolve

    @property
    def caught(self) -> bool:
        """Whether the comparison rejected the wrong theory."""
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


def run_script(
    doc: str | None,
    sizes: Mapping[str, Any],
    examine: Callable[[argparse.Namespace, Any], tuple[list[Claim], Mapping[str, Any]]],
    arguments: Sequence[str] | None = None,
    **options: str,
) -> int:
    """Run a script from its command line: examine, conclude, write ``record.json``.

    Parameters
    ----------
    doc : str
        Docstring of the script.
    sizes : mapping
        How much is sampled, by name of the scale: dataclasses.
    examine : callable
        Takes the command line and the sizes; returns the claims, and what else the record holds.
        ``chosen.out`` is None or the folder for figures, which exists.
    arguments : sequence of str, optional
        Of the command line.
    **options
        Help of further options, which name a path.

    Returns
    -------
    int
        What `conclude` returns.
    """
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--scale", choices=sizes, default="smoke")
    parser.add_argument("--out", type=Path, help="folder for the record, figures and tables")
    for name, text in options.items():
        parser.add_argument(f"--{name}", type=Path, help=text)
    chosen = parser.parse_args(arguments)
    if chosen.out is not None:
        chosen.out.mkdir(parents=True, exist_ok=True)
    size = sizes[chosen.scale]
    claims, sections = examine(chosen, size)
    code = conclude(claims)
    if chosen.out is not None:
        write_record(
            chosen.out / "record.json",
            environment=environment(),
            scale=chosen.scale,
            settings=size.to_dict() if hasattr(size, "to_dict") else asdict(size),
            claims={claim.name: claim.to_dict() for claim in claims},
            **sections,
            exit_code=code,
        )
    return code
