"""Cases of a parametrised test that are left to ``-m slow``: others show the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def left_to_slow(cases: Iterable[Any], heavy: Callable[..., bool] | Iterable[Any]) -> list[Any]:
    """Mark some cases of a list: those in `heavy`, or those for which it is true."""
    chosen = heavy if callable(heavy) else set(heavy).__contains__
    marked = []
    for case in cases:
        values = case if isinstance(case, tuple) else (case,)
        marks = [pytest.mark.slow] if chosen(case) else []
        marked.append(pytest.param(*values, marks=marks))
    return marked
