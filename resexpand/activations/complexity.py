r"""How much an expression may hold so that its analysis ends in seconds.

Averages, responses and corrections at finite width take derivatives of an activation, and expand
products of them. How large these become is bounded beforehand, from the leaves up, without making
them: for ``f(g)`` the sizes ``s_0, s_1, s_2`` of value, first and second derivative obey

    s_1 = s(f') + s_1(g),    s_2 = s(f'') + s(f') + 2 s_1(g) + s_2(g),

and so on for sums and products (Leibniz). A power of a sum of T terms has ``binom(T + n - 1, n)``
of them once it is expanded. The bounds count operations and know no clock: what is refused is so
on every machine.
"""

from __future__ import annotations

import sys
from itertools import combinations
from math import comb, prod
from typing import NamedTuple

import sympy as sp

from resexpand.activations.activation_law import X
from resexpand.errors import ExpressionError

MAX_LEVELS = 4
"""Functions inside functions."""
MAX_SIZE = 2000
"""Nodes of the second derivative, written out."""
MAX_TERMS = 150
"""Terms of the expanded expression."""
MAX_DEGREE = 128
"""Degree of a polynomial in it."""

MAX_BITS = 1100
"""Binary digits of a whole number in it: doubles have no more before and behind the point."""

BEYOND = 10**9
"""No measure is followed further."""

SELECTING = (sp.Add, sp.Max, sp.Min, sp.Piecewise)
"""Nodes whose derivative is made of the derivatives of their parts."""


class Measures(NamedTuple):
    """Sizes that are bounded, for one part of an expression."""

    sizes: tuple[int, int, int]
    terms: int
    degree: int
    levels: int


def check_complexity(expression: sp.Expr) -> None:
    """Refuse an expression in `X` whose analysis would take more than some seconds.

    Raises
    ------
    ExpressionError
        If a bound is exceeded; the message says which.
    """
    try:
        found = _measured(expression, {})
    except RecursionError:
        found = Measures((BEYOND, BEYOND, BEYOND), 1, 0, BEYOND)
    if any(_is_beyond_doubles(number) for number in expression.atoms(sp.Number)):
        raise ExpressionError(
            "an activation with a number beyond double precision",
            "it could not be computed with",
            "use numbers up to 1.8e308",
        )
    for value, most, what in (
        (found.levels, MAX_LEVELS, f"it nests functions more than {MAX_LEVELS} deep"),
        (found.sizes[2], MAX_SIZE, f"its second derivative may have more than {MAX_SIZE} nodes"),
        (found.terms, MAX_TERMS, f"it may have more than {MAX_TERMS} terms when expanded"),
        (found.degree, MAX_DEGREE, f"a polynomial in it has a degree above {MAX_DEGREE}"),
    ):
        if value > most:
            text = str(expression)
            raise ExpressionError(
                f"activation {text if len(text) <= 60 else text[:57] + '...'}",
                f"{what}, so that its averages could not be derived in seconds",
                "write it with fewer functions inside functions, or as a branch of several "
                "activations",
            )


def _is_beyond_doubles(number: sp.Number) -> bool:
    if isinstance(number, sp.Rational) and number.is_finite:
        return bool(max(abs(number.p), number.q).bit_length() > MAX_BITS)
    return bool(number.is_finite and abs(number) > sys.float_info.max)


def _measured(node: sp.Basic, known: dict[sp.Basic, Measures]) -> Measures:
    if node not in known:
        parts = [_measured(part, known) for part in node.args]
        found = _measures(node, parts)
        first, second, third = (min(size, BEYOND) for size in found.sizes)
        known[node] = Measures(
            (first, second, third),
            min(found.terms, BEYOND),
            min(found.degree, BEYOND),
            found.levels,
        )
    return known[node]


def _measures(node: sp.Basic, parts: list[Measures]) -> Measures:
    size = 1 + sum(part.sizes[0] for part in parts)
    levels = max((part.levels for part in parts), default=0)
    if node == X:
        return Measures((1, 1, 0), 1, 1, 0)
    if not node.has(X):
        return Measures((size, 0, 0), 1, 0, 0)
    degree = max(part.degree for part in parts)
    if isinstance(node, SELECTING):
        once, twice = (1 + sum(part.sizes[n] for part in parts) for n in (1, 2))
        if isinstance(node, (sp.Max, sp.Min)):  # every argument is compared with all others
            twice += len(parts) ** 2 * size // 2
        levels += not isinstance(node, sp.Add)
        return Measures((size, once, twice), sum(part.terms for part in parts), degree, levels)
    if isinstance(node, sp.Mul):
        sizes = _sizes_of_product(size, [part.sizes for part in parts])
        terms = min(prod(part.terms for part in parts), BEYOND)
        return Measures(sizes, terms, sum(part.degree for part in parts), levels)
    _, first, second = (sum(part.sizes[n] for part in parts) for n in range(3))
    sizes = (size, size + 3 + first, 3 * (size + 3) + 2 * first + second)
    if isinstance(node, sp.Pow) and node.exp.is_Integer and node.exp > 0:
        power, terms = int(node.exp), parts[0].terms
        return Measures(sizes, comb(terms + min(power, 999) - 1, power), degree * power, levels)
    return Measures(sizes, 1, degree, levels + isinstance(node, sp.Function))


def _sizes_of_product(size: int, parts: list[tuple[int, int, int]]) -> tuple[int, int, int]:
    """Return the sizes for a product, by Leibniz' rule."""
    moving = [part for part in parts if part[1]]
    rest = [size - part[0] for part in moving]
    first = sum(r + part[1] for r, part in zip(rest, moving, strict=True))
    second = sum(r + part[2] for r, part in zip(rest, moving, strict=True))
    second += sum(size + a[1] + b[1] - a[0] - b[0] for a, b in combinations(moving, 2))
    return size, first, second
