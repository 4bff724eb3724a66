r"""The Gaussian averages of the order 1/N: everything that knows the activation.

The stream at layer ``l`` is that at an earlier one ``m`` and independent draws, so that columns of
different layers share ``K^{m-1}``. Price's theorem differentiates the averages.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations_with_replacement

import sympy as sp

from resexpand.gaussian.expectation import GaussianExpectation
from resexpand.theory.formula import Formula
from resexpand.theory.one_loop.derived import LAYER, OTHER, Derived, Slots
from resexpand.theory.one_loop.process import LinearLayer
from resexpand.theory.one_loop.quantities import LayerQuantity


def _slots(made: Derived, draw: LinearLayer) -> tuple[Slots, dict[sp.Dummy, LayerQuantity]]:
    """Return symbols of the covariances of all components of a neuron, and what they are."""
    columns, other = made.columns, OTHER if draw.reads_stream else LAYER
    letters, late = columns.late + columns.early, len(columns.late)
    slots = {
        pair: sp.Dummy("k", real=True)
        for pair in combinations_with_replacement(range(len(letters)), 2)
    }
    at = {
        slot: made.reads(draw, letters[i] + letters[j], LAYER if j < late else other)
        for (i, j), slot in slots.items()
    }
    return slots, at


def _slot(made: Derived, slots: Slots, entry: str) -> sp.Dummy:
    """Return the symbol of an entry at the later layer."""
    first, second = (made.columns.late.index(letter) for letter in entry)
    return slots[first, second]


def fourth_moment(made: Derived, draw: LinearLayer) -> sp.Expr:
    """Return the average of the square of a feature of one input."""
    slots, at = _slots(made, draw)
    return made.columns.average(made.columns.feature(draw, "aa", 0) ** 2, slots).xreplace(at)


def covariances(made: Derived, draw: LinearLayer) -> Iterator[Formula]:
    """Yield the covariances of a draw."""
    columns, (weight, bias), (slots, at) = made.columns, made.variances(draw), _slots(made, draw)
    for entry in columns.means:
        mean = columns.average(columns.feature(draw, entry, 0), slots)
        # Biases do not enter a tangent, unless it moves them.
        shift = bias if "v" not in entry or (columns.trained and entry == "vv") else 0
        yield made.formula(
            made.name("covariance", draw, *([entry] if columns.means[1:] else [])),
            made.at("C", entry, LAYER, draw=made.place(draw)),
            (weight * mean + shift).xreplace(at),
            "covariance of a linear operation at infinite width",
        )


def derivatives(made: Derived, draw: LinearLayer) -> Iterator[Formula]:
    """Yield the responses of a draw and its curvatures; others vanish."""
    columns, place, (slots, at) = made.columns, made.place(draw), _slots(made, draw)
    weight, _ = made.variances(draw)
    for count, stem, head, words in (
        (1, "response", "T", "response of a linear operation to what it reads, by Price's theorem"),
        (2, "curvature", "H", "its curvature"),
    ):
        for row in columns.rows:
            mean = weight * columns.average(columns.feature(draw, row, 0), slots)
            for by in combinations_with_replacement(columns.entries, count):
                found = derivative(mean, *(_slot(made, slots, entry) for entry in by))
                if found != 0 or columns.count == 1:
                    yield made.formula(
                        made.name(stem, draw, row, *by),
                        made.at(head, " ".join((row, *by)), LAYER, draw=place),
                        found.xreplace(at),
                        words,
                    )


def sources(made: Derived, draw: LinearLayer) -> Iterator[Formula]:
    """Yield the covariances of the features of a draw, and those of its responses with them."""
    columns, place, (slots, at) = made.columns, made.place(draw), _slots(made, draw)
    weight, _ = made.variances(draw)
    other = OTHER if draw.reads_stream else LAYER
    # One input of one layer is one variable.
    side = int(draw.reads_stream or columns.count > 1)
    words = "covariance of the features inside a block; no other block shares them"
    if draw.reads_stream:
        words = "covariance of the features at two layers, $m \\le l$: the skip connection makes it"
    for first, second in columns.sources:
        late, early = columns.feature(draw, first, 0), columns.feature(draw, second, side)
        parts = columns.average(late, slots), columns.average(early, slots)
        cumulant = columns.average(late * early, slots) - parts[0] * parts[1]
        cumulant = cumulant if cumulant.has(GaussianExpectation) else sp.expand(cumulant)
        both = (first, second) if columns.sources[1:] else ()
        yield made.formula(
            made.name("source", draw, *both),
            made.at("S", f"{first} {second}", LAYER, other, draw=place),
            weight**2 * cumulant.xreplace(at),
            words,
        )
        for column in columns.entries if draw.reads_stream else ():
            slope = derivative(cumulant, _slot(made, slots, column))
            if slope != 0 or columns.count == 1:
                yield made.formula(
                    made.name("conditioning_source", draw, first, column, *both[1:]),
                    made.at("P", f"{first} {column} {second}", LAYER, OTHER, draw=place),
                    weight**2 * slope.xreplace(at),
                    "covariance of the response with the features of an earlier layer, $m < l$",
                )


def derivative(value: sp.Expr, *slots: sp.Dummy) -> sp.Expr:
    """Return a derivative without the averages of what vanishes."""
    moved = sp.diff(value, *slots)
    empty = [node for node in moved.atoms(GaussianExpectation) if node.integrand == 0]
    return moved.xreplace(dict.fromkeys(empty, sp.Integer(0)))
