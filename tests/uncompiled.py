"""`evaluate` on arrays, for tests of formulas: the text that would be compiled, without a compiler.

Compiling a recursion takes seconds, evaluating it on arrays milliseconds. That both give the same
numbers is shown in `codegen/test_on_arrays.py`; what is compiled is tested in `codegen`, `numbers`
and `agreement`.
"""

from __future__ import annotations

from typing import Any

import resexpand
from resexpand.theory.finite_response import FiniteResponse
from resexpand.theory.one_loop import OneLoop
from resexpand.theory.two_loop import TwoLoop


def evaluate(theory: Any, **given: Any) -> Any:
    """Evaluate a theory on arrays; the order 1/N, for which there is no other way, compiled."""
    compiled = "width" in given or isinstance(theory, OneLoop | FiniteResponse | TwoLoop)
    given.setdefault("target", "cpu" if compiled else "numpy")
    return resexpand.evaluate(theory, **given)
