"""What a probe raises when something is not there, and what a probe returns when it is."""

from __future__ import annotations

from typing import Any, TypeAlias

Found: TypeAlias = tuple[str, dict[str, Any]]
"""What is there in words, and in numbers for programs."""


class Missing(Exception):
    """What was looked for is not there, or does not do what it must.

    Parameters
    ----------
    why : str
        The fact.
    remedy : str
        What would change it.
    """

    def __init__(self, why: str, remedy: str = "") -> None:
        super().__init__(why)
        self.why, self.remedy = why, remedy
