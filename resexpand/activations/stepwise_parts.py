"""Reading an expression as polynomials behind steps and error functions."""

from __future__ import annotations

from collections.abc import Sequence

import sympy as sp

from resexpand.activations.activation_law import X
from resexpand.activations.stepwise import Part, Polynomial, Step
from resexpand.activations.traits import between, resolved

MOST_PARTS = 9
"""Parts beyond which the closed form is longer than a quadrature is slow."""

MOST_DEGREE = 8
"""Largest degree of a polynomial."""

Signals = dict[Step | None, sp.Expr]
"""Polynomials in `X` by the smooth step in front of them."""


def parts_of(expression: sp.Expr, breaks: Sequence[sp.Expr]) -> tuple[Part, ...] | None:
    """Return the parts of an activation, None if it is not of this class.

    Parameters
    ----------
    expression : sympy.Expr
        Function of `X`.
    breaks : sequence of sympy.Expr
        Points at which it may switch, sorted.
    """
    exact = sp.nsimplify(expression, rational=True)
    breaks = [_exact(b) for b in breaks]
    if any(b.has(sp.Float) for b in breaks):
        return None
    pieces: list[Signals] = []
    for point in between(breaks):
        piece = _signals(resolved(exact, point))
        if piece is None or (pieces and _smooth(piece) != _smooth(pieces[0])):
            return None
        pieces.append(piece)
    signals = {**_outward([piece[None] for piece in pieces], breaks), **_smooth(pieces[0])}
    parts = tuple((_coefficients(p), step) for step, p in signals.items() if p != 0)
    is_short = len(parts) <= MOST_PARTS and all(
        len(polynomial) - 1 <= _most_degree(step) for polynomial, step in parts
    )
    return parts if is_short else None


LARGEST_DENOMINATOR, CLOSE = 10**9, sp.Rational(1, 10**24)


def _exact(point: sp.Expr) -> sp.Expr:
    """Return a point that was found numerically as the fraction it is, if it is one.

    A kink whose place is rounded is a small jump, and the slopes at equal inputs are infinite.
    """
    if not point.has(sp.Float):
        return point
    number = sp.Rational(point.evalf(30))
    fraction = number.limit_denominator(LARGEST_DENOMINATOR)
    return fraction if abs(fraction - number) < CLOSE else point


def _most_degree(step: Step | None) -> int:
    """Return the degree up to which the moments behind a step stay short."""
    return 1 if step is not None and step.noise != 0 and step.threshold != 0 else MOST_DEGREE


def _signals(piece: sp.Expr) -> Signals | None:
    """Return a smooth piece as polynomials in front of error functions, None if it is not one."""
    piece = piece.replace(sp.erfc, lambda argument: 1 - sp.erf(argument))
    names = {node: sp.Dummy() for node in sorted(piece.atoms(sp.erf), key=sp.default_sort_key)}
    expression = piece.xreplace(names)
    if not expression.is_polynomial(X, *names.values()):
        return None
    total: Signals = {None: sp.Integer(0)}
    for (degree, *powers), number in sp.Poly(expression, X, *names.values()).terms():
        coefficient = number * X**degree
        if sum(powers) > 1:
            return None
        if not any(powers):
            total[None] += coefficient
            continue
        argument = list(names)[powers.index(1)].args[0]
        step = _smooth_step(argument)
        if step is None:
            return None
        # An error function runs from -1 to 1 or back; its step points away from the origin.
        side = step.sign * sp.sign(argument.diff(X))
        total[None] -= side * coefficient
        total[step] = total.get(step, sp.Integer(0)) + 2 * side * coefficient
    return {step: sp.expand(value) for step, value in total.items()}


def _smooth_step(argument: sp.Expr) -> Step | None:
    """Return the step that ``erf(argument)`` is, turned away from the origin."""
    if not argument.is_polynomial(X) or sp.degree(argument, X) != 1:
        return None
    slope, shift = sp.Poly(argument, X).all_coeffs()
    threshold = -shift / slope
    if not threshold.is_extended_real or slope.is_positive is None:
        return None
    sign = -1 if threshold.is_negative else 1
    return Step(sign, abs(threshold), 1 / (2 * slope**2))


def _smooth(signals: Signals) -> Signals:
    return {step: value for step, value in signals.items() if step is not None}


def _outward(pieces: Sequence[sp.Expr], breaks: Sequence[sp.Expr]) -> Signals:
    """Return polynomial pieces as the one at the origin and changes at steps away from it."""
    home = sum(1 for b in breaks if not b.is_positive)
    signals: Signals = {None: sp.expand(pieces[home])}
    for k, b in enumerate(breaks):
        away, near = (k + 1, k) if k >= home else (k, k + 1)
        change = sp.expand(pieces[away] - pieces[near])
        sign = 1 if k >= home else -1
        signals[Step(sign, sign * b, sp.Integer(0))] = change
    return signals


def _coefficients(polynomial: sp.Expr) -> Polynomial:
    return tuple(reversed(sp.Poly(polynomial, X).all_coeffs()))
