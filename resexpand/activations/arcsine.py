r"""The two functions of a correlation from which most closed Gaussian averages are made.

For a 2 x 2 covariance with diagonal ``a, b`` and off-diagonal ``c``,

    Area(a, b, c)     = sqrt(a b - c^2)           (square root of the determinant)
    ArcCorrelation(a, b, c) = arcsin(c / sqrt(a b)).

They are SymPy functions of their own, because their derivatives stay short,

    d Area = (b da + a db - 2 c dc) / (2 Area),
    d ArcCorrelation = (dc - c da / (2 a) - c db / (2 b)) / Area,

where SymPy's chain rule through ``asin`` would leave quotients that are 0/0 at coinciding inputs.
`reduce_area` brings what differentiation produces to a normal form without such quotients.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from resexpand.activations.rewritten import Rewritten


class Area(Rewritten):
    """``Area(a, b, c) = sqrt(a b - c^2)``."""

    nargs = 3

    @classmethod
    def eval(cls, a: sp.Expr, b: sp.Expr, c: sp.Expr) -> sp.Expr | None:
        """Evaluate the determinant where it is free of cancellation or explicit."""
        if c == 0:
            return sp.sqrt(a * b)
        if c.could_extract_minus_sign():
            return cls(a, b, -c)
        if sp.default_sort_key(b) < sp.default_sort_key(a):
            return cls(b, a, c)
        determinant = sp.expand(a * b - c**2)
        if determinant == 0 or determinant.is_number:
            return sp.sqrt(determinant)
        return None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """Return the derivative with respect to one of the three arguments."""
        a, b, c = self.args
        return {1: b / (2 * self), 2: a / (2 * self), 3: -c / self}[argindex]

    @property
    def determinant(self) -> sp.Expr:
        """``a b - c^2``, expanded."""
        a, b, c = self.args
        return sp.expand(a * b - c**2)

    def rewritten(self) -> sp.Expr:
        """Return the same in SymPy's own functions."""
        return sp.sqrt(self.determinant)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        a, b, c = self.args
        body = rf"\sqrt{{{printer.doprint(self.determinant if a == b else a * b - c**2)}}}"
        return body if exp is None else rf"{body}^{{{exp}}}"

    def _sympystr(self, printer: Any) -> str:
        return f"sqrt({printer.doprint(self.determinant)})"


class ArcCorrelation(Rewritten):
    """``ArcCorrelation(a, b, c) = arcsin(c / sqrt(a b))``."""

    nargs = 3

    @classmethod
    def eval(cls, a: sp.Expr, b: sp.Expr, c: sp.Expr) -> sp.Expr | None:
        """Evaluate at zero and at full correlation."""
        if c == 0:
            return sp.Integer(0)
        if (c.is_positive or c.is_negative) and sp.expand(a * b - c**2) == 0:
            return sp.pi / 2 if c.is_positive else -sp.pi / 2
        return None

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        """Return the derivative with respect to one of the three arguments."""
        a, b, c = self.args
        area = Area(a, b, c)
        return {1: -c / (2 * a * area), 2: -c / (2 * b * area), 3: 1 / area}[argindex]

    def rewritten(self) -> sp.Expr:
        """Return the same in SymPy's own functions."""
        a, b, c = self.args
        return sp.asin(c / a) if a == b else sp.asin(c / sp.sqrt(a * b))

    def _sympystr(self, printer: Any) -> str:
        return str(printer.doprint(self.rewritten()))


def elementary(expression: sp.Expr) -> sp.Expr:
    """Rewrite the functions of this room (those with a form ``rewritten``) in SymPy's own."""
    return expression.replace(
        lambda node: hasattr(node, "rewritten"), lambda node: node.rewritten()
    )


def of_polynomials(expression: sp.Expr) -> bool:
    """Return whether the arguments of all areas and arcsines are polynomials in their symbols."""
    nodes = expression.atoms(Area, ArcCorrelation)
    return all(arg.is_polynomial(*arg.free_symbols) for node in nodes for arg in node.args)


def reduce_area(expression: sp.Expr) -> sp.Expr:
    """Bring an expression rational in `Area` nodes to the normal form ``even + odd / Area``.

    ``(b - c^2/a) / Area`` becomes ``Area / a``: the quotient that is 0/0 at coinciding inputs is
    gone. Expressions without `Area` nodes, not rational in them, or with quotients in their
    arguments (behind a normalisation, where the normal form would have a million operations) are
    returned unchanged.
    """
    if not of_polynomials(expression):
        return expression
    areas = expression.atoms(Area)
    if len(areas) < 2:
        return _normal_form(expression, *areas) if areas else expression
    # A common denominator of many areas has exponentially many terms; a product that holds several
    # is left as it is, since none of its quotients comes from one pair of error functions alone.
    groups: dict[frozenset[sp.Basic], list[sp.Expr]] = {}
    for term in sp.Add.make_args(expression):
        groups.setdefault(frozenset(term.atoms(Area)), []).append(term)
    return sp.Add(
        *(
            _normal_form(sp.Add(*terms), *own) if len(own) == 1 else sp.Add(*terms)
            for own, terms in groups.items()
        )
    )


def _normal_form(expression: sp.Expr, area: Area) -> sp.Expr:
    root = sp.Dummy("area", positive=True)
    numerator, denominator = sp.fraction(sp.together(expression.xreplace({area: root})))
    if not (numerator.is_polynomial(root) and denominator.is_polynomial(root)):
        return expression  # an area within an exponential function, of a bell
    below = sp.Poly(denominator, root).terms()
    if len(below) > 1:
        return expression
    ((shift,), divisor), *_ = below
    even: list[sp.Expr] = []
    odd: list[sp.Expr] = []
    for (power,), coefficient in sp.Poly(numerator, root).terms():
        half, parity = divmod(power - shift, 2)
        scaled = coefficient / divisor * area.determinant ** (half + parity)
        (odd if parity else even).append(scaled)
    return sp.expand_mul(sp.Add(*even)) + _over_area(sp.Add(*odd), area)


def _over_area(coefficient: sp.Expr, area: Area) -> sp.Expr:
    """Return ``coefficient / area``, with a factor ``area^2`` of the coefficient cancelled."""
    generators = sorted(area.determinant.free_symbols, key=sp.default_sort_key)
    if not coefficient.is_rational_function(*generators):
        return coefficient / area
    numerator, denominator = sp.fraction(sp.cancel(coefficient))
    if generators:
        quotient, remainder = sp.div(numerator, area.determinant, *generators)
        if remainder == 0:
            return sp.factor(quotient / denominator) * area
    return sp.factor(numerator / denominator) / area
