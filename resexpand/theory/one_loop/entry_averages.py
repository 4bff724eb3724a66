r"""The Gaussian averages of the order 1/N for several inputs: everything that knows the activation.

Inputs ``a, b`` of the layer ``l`` and ``c, d`` of an earlier one ``m``. The stream at ``l`` is that
at ``m`` and independent draws, so that inputs of different layers share ``K^{m-1}``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement

import sympy as sp

from resexpand.conventions import PAIR
from resexpand.gaussian.expectation import GaussianExpectation, Nonlinearity
from resexpand.theory.formula import Formula
from resexpand.theory.one_loop.derived import LAYER, OTHER, Derived
from resexpand.theory.one_loop.entries import EntryQuantity, entry, entry_quantity
from resexpand.theory.one_loop.process import LinearLayer
from resexpand.theory.recursion import Recursion

LATER, EARLY = ("a", "b"), ("c", "d")
VARIABLES = sp.symbols("x_a x_b x_c x_d", real=True)
"""Bound variables of the averages, one for every input."""

TWO = tuple(combinations_with_replacement("ab", 2))
"""Entries of two different inputs: aa, ab, bb."""


def name_of(stem: str, made: Derived, draw: LinearLayer, *entries: str) -> str:
    """Return the name of a formula about one draw and some entries."""
    place = (str(draw.position),) if made.several else ()
    return "_".join((stem, *place, *entries))


def reads(
    made: Derived, draw: LinearLayer, first: str, second: str, layer: sp.Expr
) -> EntryQuantity:
    """Return the covariance of what a draw of a block reads."""
    which = (entry(first, second),)
    if draw.reads_stream:
        return entry_quantity("K", which, layer - 1)
    return entry_quantity("C", which, layer, draw=draw.position - 1)


@dataclass(frozen=True)
class Pair:
    """The Gram matrix of a draw for two inputs, as a function of what it reads.

    Attributes
    ----------
    arguments : tuple of sympy.Symbol
        Covariances aa, ab, bb that it reads.
    rows : tuple of sympy.Expr
        Its entries, in these.
    at : dict
        Values of the arguments at a layer.
    """

    arguments: tuple[sp.Symbol, ...]
    rows: tuple[sp.Expr, ...]
    at: dict[sp.Symbol, EntryQuantity]

    @classmethod
    def of(cls, made: Derived, pairs: Recursion, draw: LinearLayer) -> Pair:
        """Return that of a draw, from the kernel recursion of two inputs."""
        start = 3 * (draw.position - 1)
        inside = tuple(symbol for symbol, _ in pairs.definitions[start - 3 : start])
        arguments = PAIR if draw.reads_stream else inside
        rows = tuple(_named(value) for _, value in pairs.definitions[start : start + 3])
        at = {k: reads(made, draw, *pair, LAYER) for k, pair in zip(arguments, TWO, strict=True)}
        return cls(tuple(arguments), rows, at)


def covariance(made: Derived, pairs: Recursion, draw: LinearLayer) -> Formula:
    """Return the covariance of a draw."""
    pair = Pair.of(made, pairs, draw)
    return made.formula(
        name_of("covariance", made, draw),
        entry_quantity("C", (sp.Symbol("ab"),), LAYER, draw=made.place(draw)),
        pair.rows[1].xreplace(pair.at),
        "covariance of a linear operation at infinite width, of one or two inputs",
    )


def derivatives(made: Derived, pairs: Recursion, draw: LinearLayer) -> Iterator[Formula]:
    """Yield the responses of a draw and its curvatures."""
    pair, place = Pair.of(made, pairs, draw), made.place(draw)
    columns = list(zip(pair.arguments, ("".join(two) for two in TWO), strict=True))
    for row, value in (("aa", pair.rows[0]), ("ab", pair.rows[1])):
        for by, column in columns:
            if (slope := sp.diff(value, by)) != 0:
                yield made.formula(
                    name_of("response", made, draw, row, column),
                    entry_quantity("T", sp.symbols((row, column)), LAYER, draw=place),
                    slope.xreplace(pair.at),
                    "response of a linear operation, by Price's theorem; others vanish",
                )
    for row, value in (("aa", pair.rows[0]), ("ab", pair.rows[1])):
        for (one, first), (two, second) in combinations_with_replacement(columns, 2):
            if (bent := sp.diff(value, one, two)) != 0:
                yield made.formula(
                    name_of("curvature", made, draw, row, first, second),
                    entry_quantity("H", sp.symbols((row, first, second)), LAYER, draw=place),
                    bent.xreplace(pair.at),
                    "its curvature",
                )


def _named(value: sp.Expr) -> sp.Expr:
    """Return an expression whose averages over pairs are over the variables of inputs a and b."""
    averages = {
        node: GaussianExpectation(
            node.base.xreplace(dict(zip(node.variables, VARIABLES, strict=False))),
            VARIABLES[:2],
            node.covariance,
            node.orders,
        )
        for node in value.atoms(GaussianExpectation)
        if len(node.variables) == 2
    }
    return value.xreplace(averages)


def sources(made: Derived, draw: LinearLayer) -> Iterator[Formula]:
    """Yield the covariance of the features of a draw, and that of its responses with them."""
    weight, _ = made.variances(draw)
    place = made.place(draw)
    other = OTHER if draw.reads_stream else LAYER
    names = (*LATER, *EARLY)
    triangle = list(combinations_with_replacement(range(4), 2))
    slots = {pair: sp.Dummy("k", real=True) for pair in triangle}
    at = {
        slot: reads(made, draw, names[i], names[j], LAYER if j < 2 else other)
        for (i, j), slot in slots.items()
    }
    which = sp.symbols(("ab", "cd"))
    cumulant = _cumulant(draw, slots)
    yield made.formula(
        name_of("source", made, draw),
        entry_quantity("S", which, LAYER, other, draw=place),
        weight**2 * cumulant.xreplace(at),
        "covariance of the features of two layers, $m \\le l$: the skip connection makes it"
        if draw.reads_stream
        else "covariance of the features inside a block; no other block shares them",
    )
    if not draw.reads_stream:
        return
    for column, pair in (("aa", (0, 0)), ("ab", (0, 1)), ("bb", (1, 1))):
        slope = cumulant.diff(slots[pair])
        if slope != 0:
            yield made.formula(
                name_of("conditioning_source", made, draw, "ab", column),
                entry_quantity("P", sp.symbols(("ab", column, "cd")), LAYER, OTHER, draw=place),
                weight**2 * slope.xreplace(at),
                "covariance of the response with the features of an earlier layer, $m < l$; for "
                "$a = b$ the three add up to one",
            )


def _cumulant(draw: LinearLayer, slots: dict[tuple[int, int], sp.Dummy]) -> sp.Expr:
    """Return ``<F_ab F_cd> - <F_ab> <F_cd>`` of four variables with given covariances."""
    if draw.label is None:
        return slots[0, 2] * slots[1, 3] + slots[0, 3] * slots[1, 2]
    features = [Nonlinearity(draw.label, 0, x) for x in VARIABLES]
    whole = GaussianExpectation(sp.Mul(*features), VARIABLES, tuple(slots.values()))
    later, early = (
        GaussianExpectation(
            features[i] * features[i + 1],
            VARIABLES[i : i + 2],
            (slots[i, i], slots[i, i + 1], slots[i + 1, i + 1]),
        )
        for i in (0, 2)
    )
    return whole - later * early
