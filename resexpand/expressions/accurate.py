"""``exp(u) - 1`` and ``log(1 + u)`` as functions of their own, accurate where ``u`` is small.

Generated text, arrays and values of many digits take them; formulas hold SymPy's own functions.
"""

from __future__ import annotations

import mpmath
import sympy as sp


class Expm1(sp.Function):
    """``exp(x) - 1``, accurate near zero."""

    nargs = 1
    is_extended_real = True

    def _eval_evalf(self, prec: int) -> sp.Expr:
        with mpmath.workprec(prec):
            return sp.Float(mpmath.expm1(self.args[0]._to_mpmath(prec)), precision=prec)


class Log1p(sp.Function):
    """``log(1 + x)``, accurate near zero."""

    nargs = 1
    is_extended_real = True

    def _eval_evalf(self, prec: int) -> sp.Expr:
        with mpmath.workprec(prec):
            return sp.Float(mpmath.log1p(self.args[0]._to_mpmath(prec)), precision=prec)


def with_log1p(expression: sp.Expr) -> sp.Expr:
    """Return an expression with every ``log(1 + u)`` as one function.

    A sum ``1 + u`` that other parts share would be rounded before the logarithm is taken.
    """
    if not expression.has(sp.log):
        return expression
    return expression.replace(_is_log_of_one_and_more, lambda node: Log1p(node.args[0] - 1))


def _is_log_of_one_and_more(node: sp.Basic) -> bool:
    return (
        isinstance(node, sp.log)
        and isinstance(node.args[0], sp.Add)
        and sp.S.One in node.args[0].args
    )
