r"""Products ``e^s cosh t`` and ``e^s sinh t``, from which averages of exponentials are made.

They are SymPy functions of their own, because only the product is a number where ``s`` and ``t``
are large, and because ``e^s sinh t`` keeps its digits near ``t = 0``, where a difference of two
exponentials loses them. Each is a derivative of the other.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from resexpand.activations.rewritten import Rewritten


class ExpCosh(Rewritten):
    """``ExpCosh(s, t) = exp(s) cosh(t)``."""

    nargs = 2

    @classmethod
    def eval(cls, s: sp.Expr, t: sp.Expr) -> sp.Expr | None:
        """Evaluate at ``t = 0``, and where one of the two exponentials is constant."""
        if t == 0:
            return sp.exp(s)
        return (1 + sp.exp(2 * s)) / 2 if s in (t, -t) else None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """Return the derivative with respect to one of the two arguments."""
        return self if argindex == 1 else ExpSinh(*self.args)

    def rewritten(self) -> sp.Expr:
        """Return the same in SymPy's own functions."""
        s, t = self.args
        return sp.exp(s) * sp.cosh(t)

    def _sympystr(self, printer: Any) -> str:
        return f"({printer.doprint(self.rewritten())})"


class ExpSinh(ExpCosh):
    """``ExpSinh(s, t) = exp(s) sinh(t)``."""

    @classmethod
    def eval(cls, s: sp.Expr, t: sp.Expr) -> sp.Expr | None:
        """Evaluate as `ExpCosh`, and take the sign of ``t`` outside."""
        if t == 0:
            return sp.Integer(0)
        if t.could_extract_minus_sign():
            return -cls(s, -t)
        if s in (t, -t):
            return (1 - sp.exp(2 * s)) / 2 if s == -t else (sp.exp(2 * s) - 1) / 2
        return None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """Return the derivative with respect to one of the two arguments."""
        return self if argindex == 1 else ExpCosh(*self.args)

    def rewritten(self) -> sp.Expr:
        """Return the same in SymPy's own functions."""
        s, t = self.args
        return sp.exp(s) * sp.sinh(t)
