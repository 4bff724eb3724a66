"""`InRange`: where a closed average has digits; beyond, it is no number.

The averages of a function that grows around the origin and stops growing further out are
differences of terms that grow with the variance. The loss is known, and said by NaN.
"""

from __future__ import annotations

import sympy as sp


class InRange(sp.Function):
    """``InRange(k, limit)``: 1 up to a limit of the variance, NaN beyond."""

    nargs = 2
    is_positive = True

    def _eval_power(self, exponent: sp.Expr) -> sp.Expr | None:
        return self if exponent.is_positive else None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """Return the derivative, which is zero."""
        return sp.Integer(0)

    def rewritten(self) -> sp.Expr:
        """Return 1: formulas have no such limit."""
        return sp.Integer(1)

    def selection(self) -> sp.Expr:
        """Return what is computed."""
        k, limit = self.args
        return sp.Piecewise((1, k < limit))

    def _sympystr(self, printer: object) -> str:
        return "1"

    def _eval_evalf(self, prec: int) -> sp.Expr:
        return sp.Integer(1)
