r"""Linear maps in front of an activation: normalisations as data, from their own expressions.

A map whose value is linear in a neuron's own entry, given averages over the neurons, turns what a
linear operation reads, ``u``, into

    z = slope(s) u + shift(s),    s_j = (1/N) sum_i f_j(u_i; s_1 ... s_{j-1}),

with ``f_j = c_0 + c_1 u + c_2 u^2``. At finite width the averages are random like Gram matrices:
every ``s_j``, of every input, is a collective variable. At infinite width ``u ~ N(0, V)``, every
average is the number ``c_0 + c_2 V``, and the shift vanishes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NoReturn, TypeAlias

import sympy as sp

from resexpand.errors import UnsupportedError
from resexpand.network.operation import X
from resexpand.network.steps import Step

Parameters: TypeAlias = Callable[[Step], Mapping[sp.Symbol, sp.Expr]]
"""Symbols that the parameters of a step have in the formulas of a network."""


@dataclass(frozen=True)
class Affine:
    """Maps in front of an activation, as one linear map of ``u``.

    Attributes
    ----------
    averages : tuple of (sympy.Symbol, sympy.Expr)
        Averages ``s_j`` and what is averaged, a polynomial in `X` of degree 2 at most.
    value : sympy.Expr
        ``slope X + shift``, in the symbols of the averages.
    """

    averages: tuple[tuple[sp.Symbol, sp.Expr], ...]
    value: sp.Expr

    @classmethod
    def of(cls, steps: Sequence[Step], parameters: Parameters) -> Affine:
        """Compose the maps of some steps."""
        averages: list[tuple[sp.Symbol, sp.Expr]] = []
        value: sp.Expr = X
        for step in steps:
            known = dict(parameters(step))
            for symbol, function in step.op.averages:
                own = sp.Symbol(f"_{symbol.name}{len(averages)}", **symbol.assumptions0)
                averages.append((own, sp.expand(function.xreplace({**known, X: value}))))
                known[symbol] = own
            value = step.op.expression.xreplace({**known, X: value})
        return cls(tuple(averages), value)

    def at(self, variance: sp.Expr) -> dict[sp.Symbol, sp.Expr]:
        """Return the averages at infinite width."""
        found: dict[sp.Symbol, sp.Expr] = {}
        for symbol, function in self.averages:
            constant, _, square = _coefficients(function)
            found[symbol] = (constant + square * variance).xreplace(found)
        return found

    def slope(self, variance: sp.Expr) -> sp.Expr:
        """Return the slope at infinite width."""
        return self.value.diff(X).xreplace(self.at(variance))

    def entries(self, variance: sp.Expr) -> tuple[sp.Expr, ...]:
        """Return everything the order 1/N needs of the maps, in the order of `shapes`."""
        at = self.at(variance)
        return tuple(entry.xreplace(at) for entry in self._derivatives(variance))

    def _derivatives(self, variance: sp.Expr) -> Iterator[sp.Expr]:
        symbols = [symbol for symbol, _ in self.averages]
        pairs = list(product(symbols, repeat=2))
        slope, shift = self.value.diff(X), self.value.xreplace({X: sp.Integer(0)})
        coefficients = [_coefficients(function) for _, function in self.averages]
        means = [c0 + c2 * variance for c0, _, c2 in coefficients]
        yield slope
        yield from (sp.cancel(slope.diff(a) / slope) for a in symbols)
        yield from (sp.cancel(slope.diff(a, b) / slope) for a, b in pairs)
        yield from (shift.diff(a) for a in symbols)
        yield from (shift.diff(a, b) for a, b in pairs)
        for place in (1, 2):
            yield from (c[place] for c in coefficients)
            yield from (c[place].diff(a) for c in coefficients for a in symbols)
        yield from (mean.diff(a) for mean in means for a in symbols)
        yield from (mean.diff(a, b) for mean in means for a, b in pairs)


def shapes(count: int) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the entries, for a number of averages.

    ``slope``; first and second derivatives of its logarithm's kind, ``d slope / slope`` (``ratio``,
    ``ratios``), and of the ``shift``; the coefficients of ``u`` (``linear``) and ``u^2``
    (``square``) in what is averaged and their derivatives; derivatives of the mean of every average
    (``response``, ``curvature``). The last axes are the averages by which is differentiated.
    """
    one, two, three = (count,), (count, count), (count, count, count)
    return {
        "slope": (),
        "ratio": one,
        "ratios": two,
        "shift": one,
        "shifts": two,
        "linear": one,
        "linears": two,
        "square": one,
        "squares": two,
        "response": two,
        "curvature": three,
    }


def require_affine(steps: Sequence[Step], asked: str, *, averages: bool = True) -> None:
    """Raise the error of theories that know contractions, maps with a law, and linear maps.

    Raises
    ------
    UnsupportedError
        If a map is not linear given its averages, or averages more than `X` and its square.
    """
    for step in steps:
        known = step.op.is_linear and (averages or not step.op.averages)
        quadratic = all(f.is_polynomial(X) and sp.degree(f, X) <= 2 for _, f in step.op.averages)
        if not (known and quadratic):
            refuse(step, asked)


def refuse(step: Step, asked: str) -> NoReturn:
    """Raise the error about a map that has no order 1/N at its place.

    Raises
    ------
    UnsupportedError
        Always.
    """
    raise UnsupportedError(
        f"{asked} of a branch with {step.op!r}",
        f"the operation {step.op.kind} states no law for it at this place",
        "put a map that is linear given averages of x and x**2 in front of an activation or "
        "Linear(); kernel(), response() and sample() take it as it is",
    )


def _coefficients(function: sp.Expr) -> tuple[sp.Expr, sp.Expr, sp.Expr]:
    """Return the coefficients of 1, `X` and its square."""
    c0, c1, c2 = (function.coeff(X, power) for power in range(3))
    return c0, c1, c2
