"""`Rewritten`: a function of closed averages that can be written in SymPy's own functions."""

from __future__ import annotations

from typing import Any

import sympy as sp


class Rewritten(sp.Function):
    """A real function that is printed and evaluated as SymPy's own functions are."""

    is_extended_real = True

    def rewritten(self) -> sp.Expr:
        """Return the same in SymPy's own functions, or itself where there are none."""
        return self

    def written(self, text: Any) -> str:
        """Return the LaTeX of the function, given the printer of its arguments."""
        return str(text(self.rewritten()))

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        body = self.written(printer.doprint)
        return body if exp is None else rf"\left({body}\right)^{{{exp}}}"

    def _eval_evalf(self, prec: int) -> sp.Expr:
        return self.rewritten()._eval_evalf(prec)
