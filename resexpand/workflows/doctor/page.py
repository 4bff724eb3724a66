"""The page of the doctor: findings, the health of each target, and what to install.

Nothing but the standard library is loaded here: the page has to stand when everything else is
broken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

LIBRARIES = ("numpy", "numba", "llvmlite", "sympy", "mpmath", "matplotlib")
MARKS = {"ok": "ok", "failed": "NO", "not tried": "-"}


@dataclass(frozen=True)
class Finding:
    """Result of one probe.

    Attributes
    ----------
    name : str
        Name of the probe.
    state : str
        ``"ok"``, ``"failed"`` or ``"not tried"``.
    text : str
        The equipment, or why it is missing.
    remedy : str
        Remedy of a failure; empty otherwise.
    facts : mapping
        The same in numbers, for programs.
    """

    name: str
    state: str
    text: str
    remedy: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


class Page:
    """Shows in a notebook the text that `print` shows."""

    def _repr_html_(self) -> str:
        return f'<pre style="font-family: monospace">{escape(str(self))}</pre>'


@dataclass(frozen=True, repr=False)
class TargetHealth(Page):
    """Whether a target works on this machine.

    Attributes
    ----------
    name : str
        ``"cpu"`` or ``"cuda"``.
    works : bool
        Whether a routine and a sampler ran on it and gave what they must.
    findings : tuple of Finding
        In the order in which one rests on the other.
    """

    name: str
    works: bool
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> str:
        """Whether it works, and if not, the first reason."""
        if self.works:
            return "works"
        broken = next((f for f in self.findings if f.state == "failed"), None)
        return f"does not work here: {broken.name}" if broken else "does not work here"

    @property
    def remedies(self) -> tuple[str, ...]:
        """Remedies, most fundamental first."""
        return tuple(dict.fromkeys(f.remedy for f in self.findings if f.remedy))

    def __repr__(self) -> str:
        return f"<{self.name} {self.verdict}>"

    def __str__(self) -> str:
        rows = [f"{self.name} {self.verdict}"]
        rows += [f"  {MARKS[f.state]:<3} {f.name:<17} {f.text}" for f in self.findings]
        rows += [f"  to make it work: {remedy}" for remedy in self.remedies]
        return "\n".join(rows)


@dataclass(frozen=True, repr=False)
class Examination(Page):
    """The page that `doctor` fills in; ``print`` shows it.

    Attributes
    ----------
    asked : str
        The target asked for.
    machine : mapping
        Versions, system and processors.
    cpu, cuda : TargetHealth
        Findings of each target.
    """

    asked: str
    machine: Mapping[str, Any]
    cpu: TargetHealth
    cuda: TargetHealth

    @property
    def works(self) -> bool:
        """Whether what was asked for works.

        With ``"auto"``: the CPU, and the GPU as well if there is one.
        """
        if self.asked == "auto":
            present = any(f.name == "devices" and f.state == "ok" for f in self.cuda.findings)
            return self.cpu.works and (self.cuda.works or not present)
        return (self.cpu if self.asked == "cpu" else self.cuda).works

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON."""
        targets = {
            t.name: {
                "works": t.works,
                "verdict": t.verdict,
                "remedies": list(t.remedies),
                "findings": {f.name: asdict(f) for f in t.findings},
            }
            for t in (self.cpu, self.cuda)
        }
        return {
            "asked": self.asked,
            "works": self.works,
            "machine": dict(self.machine),
            "targets": targets,
        }

    def __repr__(self) -> str:
        told = f"{self.cpu.name} {self.cpu.verdict}, {self.cuda.name} {self.cuda.verdict}"
        return f"<Examination: {told}; print shows the findings>"

    def __str__(self) -> str:
        m = self.machine
        libraries = ", ".join(f"{n} {m['libraries'][n] or 'missing'}" for n in LIBRARIES)
        return "\n".join(
            [
                f"resexpand {m['resexpand']}, Python {m['python']}, {m['system']} {m['machine']}, "
                f"{m['processors']} processor{'s' * (m['processors'] != 1)}",
                libraries,
                "",
                str(self.cpu),
                "",
                str(self.cuda),
            ]
        )
