"""Laws of activation functions: the expression and its closed Gaussian averages.

Only three averages are ever stated, each for ``x ~ N(0, K)`` or a pair ``(x_1, x_2) ~ N(0, K)``:
``<phi(x_1) phi(x_2)>``, its value at coinciding inputs ``<phi(x)^2>``, and the mean ``<phi(x)>``.
Everything else (``<phi' phi'>``, ``<phi'' phi>``, ``d/dK`` of any order) follows from these by
Price's theorem.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import sympy as sp

X = sp.Symbol("x", real=True)
"""The argument of every activation expression."""

PairAverage = Callable[[sp.Expr, sp.Expr, sp.Expr], sp.Expr]
Average = Callable[[sp.Expr], sp.Expr]


@dataclass(frozen=True)
class ActivationLaw:
    """An activation function with its closed Gaussian averages, where they exist.

    Attributes
    ----------
    name : str
        Name under which the activation is registered, or its expression as text.
    expression : sympy.Expr
        The function, in the symbol `X`.
    pair : callable, optional
        ``pair(K11, K12, K22) = <phi(x_1) phi(x_2)>``.
    variance : callable, optional
        ``variance(K) = <phi(x)^2>``.
    mean : callable, optional
        ``mean(K) = <phi(x)>``.
    kinks : tuple of sympy.Expr
        Points where ``phi`` is continuous but not differentiable.
    jumps : tuple of sympy.Expr
        Points where ``phi`` is discontinuous.
    citations : tuple of str
        Keys of the references the closed averages rest on.
    bounded : sympy.Expr, optional
        The same function, written so that its derivatives stay numbers at large arguments, where
        those of `expression` would be quotients of two infinities.
    limited : bool
        Whether the closed averages keep their digits up to some variance alone, beyond which they
        are no numbers (`resexpand.activations.in_range`).
    by_parts : bool
        Whether derivatives of averages are taken on the normal weight where possible, as for a
        function with kinks, instead of on the function.
    """

    name: str
    expression: sp.Expr
    pair: PairAverage | None = field(default=None, compare=False)
    variance: Average | None = field(default=None, compare=False)
    mean: Average | None = field(default=None, compare=False)
    kinks: tuple[sp.Expr, ...] = ()
    jumps: tuple[sp.Expr, ...] = ()
    citations: tuple[str, ...] = field(default=())
    bounded: sp.Expr | None = None
    limited: bool = False
    by_parts: bool = False

    def without_limit(self) -> ActivationLaw:
        """Return the same function, its averages left to quadrature if the closed ones end."""
        if not self.limited:
            return self
        return replace(self, pair=None, variance=None, mean=None, limited=False)

    @property
    def is_smooth(self) -> bool:
        """Whether the function has derivatives of every order on the real line."""
        return not (self.kinks or self.jumps)

    @property
    def is_odd(self) -> bool:
        """Whether ``phi(-x) = -phi(x)``, decided symbolically."""
        return bool(sp.expand(self.expression + self.expression.subs(X, -X)) == 0)

    @cached_property
    def ends(self) -> tuple[sp.Expr, sp.Expr] | None:
        """``phi(1)`` and ``phi(-1)`` of a function that is linear on either side of zero."""
        positive = sp.Symbol("p", positive=True)
        right, left = (
            sp.expand(self.expression.subs(X, sign * positive) / positive) for sign in (1, -1)
        )
        return None if right.free_symbols or left.free_symbols else (right, left)

    def derivative(self, order: int) -> sp.Expr:
        """Return the derivative of the given order where it exists, as an expression in `X`."""
        if order == 0 or self.bounded is None:
            return of_one_fraction(pointwise(sp.diff(self.expression, X, order)))
        return sp.diff(self.bounded, X, order)


def pointwise(derivative: sp.Expr) -> sp.Expr:
    """Return a derivative without the delta functions that it has at kinks and jumps.

    Those of ``asin(sin x)``, ``acos(cos x)``, ``asin(tanh x)`` hold roots of ``1 - sin(x)^2`` and
    its like, which lose their digits where they vanish; the root itself is ``|cos x|``.
    """
    plain = derivative.replace(sp.DiracDelta, lambda *arguments: sp.S.Zero)
    if not plain.has(*_COMPLEMENTS):
        return plain
    return plain.replace(
        lambda node: isinstance(node, sp.Pow) and not node.exp.is_Integer, _root_of_complement
    )


def of_one_fraction(derivative: sp.Expr) -> sp.Expr:
    """Return a sum of quotients of powers and one absolute value as one quotient, if shorter.

    The slope of ``x/(1 + |x|)`` is ``1/(1 + |x|)^2``; as ``1/(1 + |x|) - |x|/(1 + |x|)^2`` it loses
    a digit for every power of ten of the argument. So does that of ``x/sqrt(1 + x^2)``.
    """
    sizes = derivative.atoms(sp.Abs) | {sp.Abs(sign.args[0]) for sign in derivative.atoms(sp.sign)}
    if derivative.atoms(sp.Function) - derivative.atoms(sp.Abs, sp.sign) or len(sizes) > 1:
        return derivative
    if not sizes:
        roots = any(not power.exp.is_Integer for power in derivative.atoms(sp.Pow))
        whole = _shortest_fraction(derivative) if roots else derivative
        return min(derivative, whole, key=sp.count_ops)
    (argument,) = (size.args[0] for size in sizes)
    if argument == X:
        return _of_even_or_odd(derivative)
    sides = []
    for side in (1, -1):
        signs = {sp.Abs(argument): side * argument, sp.sign(argument): sp.Integer(side)}
        sides.append(_shortest_fraction(derivative.xreplace(signs)))
    whole = sp.Piecewise((sides[0], argument > 0), (sides[1], True))
    return min(derivative, whole, key=sp.count_ops)


def _of_even_or_odd(derivative: sp.Expr) -> sp.Expr:
    size = sp.Dummy(positive=True)
    right, left = (
        _shortest_fraction(derivative.subs(X, side * size)).subs(size, sp.Abs(X))
        for side in (1, -1)
    )
    parity = {right: sp.S.One, -right: sp.sign(X)}.get(left)
    whole = derivative if parity is None else right * parity
    return min(derivative, whole, key=sp.count_ops)


def _shortest_fraction(expression: sp.Expr) -> sp.Expr:
    above, below = sp.fraction(sp.together(expression))
    return min(above, sp.expand(above), key=sp.count_ops) / below


_COMPLEMENTS = {sp.sin: sp.cos, sp.cos: sp.sin, sp.tanh: lambda u: 1 / sp.cosh(u)}
"""By function ``f`` the function ``g`` with ``f^2 + g^2 = 1``."""


def _root_of_complement(root: sp.Pow) -> sp.Expr:
    square = 1 - root.base
    if not (isinstance(square, sp.Pow) and square.exp == 2):
        return root
    inner = square.base
    other = _COMPLEMENTS.get(inner.func)
    return root if other is None else sp.Abs(other(inner.args[0])) ** (2 * root.exp)
