"""`Request`: what a call of `evaluate` asks of a theory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from resexpand.codegen.routine import Target
from resexpand.errors import UnsupportedError


@dataclass(frozen=True)
class Request:
    """Where to compute, which outputs, and at which hyperparameters.

    Attributes
    ----------
    target : str
        As for `resexpand.evaluate`.
    outputs : str or iterable of str, optional
        Names of what to compute.
    given : dict
        Hyperparameters by name.
    """

    target: Target = "cpu"
    outputs: str | Iterable[str] | None = None
    given: dict[str, Any] = field(default_factory=dict)

    def require_host(self, asked: str, why: str, also: str = "") -> None:
        """Refuse targets other than the CPU, and one more that does as well.

        Raises
        ------
        UnsupportedError
            On another target.
        """
        if self.target not in ("cpu", "auto", also):
            raise UnsupportedError(f"{asked} on target {self.target!r}", why, "use target='cpu'")
