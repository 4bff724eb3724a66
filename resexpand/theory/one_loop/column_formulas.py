r"""The order 1/N of an input and its tangent as formulas.

Columns of one network are its input ``h`` and a tangent ``v``, whose features are ``phi(h)`` and
``phi'(h) v``. Gram matrices have the entries hh, hv and vv; what knows the activation is written
for these, and everything else is the chain of several inputs
(`resexpand.theory.one_loop.entry_formulas`), whose entries run over them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement, product

import sympy as sp

from resexpand.conventions import DEPTH
from resexpand.gaussian.expectation import GaussianExpectation, Nonlinearity
from resexpand.references import Citation
from resexpand.theory.formula import Formula
from resexpand.theory.one_loop.derived import LAYER, OTHER, Derived
from resexpand.theory.one_loop.entries import EntryQuantity, entry_quantity
from resexpand.theory.one_loop.entry_averages import name_of, reads
from resexpand.theory.one_loop.entry_formulas import Chain
from resexpand.theory.one_loop.process import LinearLayer, Process
from resexpand.theory.one_loop.quantities import quantity
from resexpand.theory.recursion import Recursion

ENTRIES = ("hh", "hv", "vv")
LATE, EARLY = sp.symbols("x_h x_v", real=True), sp.symbols("y_h y_v", real=True)
"""Bound variables of the averages: of a neuron at the later layer and at the earlier one."""

MOST = {"variance": 1, "tangent": 2, "gradient": 2, "parameters": 2}
"""How many tangents an entry holds at most, by kind of response."""


def column_formulas(
    base: Recursion, process: Process, kind: str, citations: tuple[Citation, ...]
) -> list[Formula]:
    """Derive all formulas of a response at finite width, each after those it needs.

    Parameters
    ----------
    base : Recursion
        The kernel recursion of one input.
    process : Process
        Of the same network, of one kind of block.
    kind : str
        One of `MOST`.
    citations : tuple of Citation
        Where the equations stand.
    """
    chain = ColumnChain(Derived(base, process, citations), kind)
    return [
        *chain.mean_field(),
        *chain.propagators(),
        *(f for draw in process.draws for f in chain.sources(draw)),
        *chain.covariances(),
        *chain.means(),
        *chain.responses(),
    ]


@dataclass(frozen=True)
class Features:
    """Features of the columns behind a draw, by entry, in the variables of a layer."""

    draw: LinearLayer
    trained: bool

    def of(self, entry: str, variables: tuple[sp.Symbol, ...]) -> sp.Expr:
        """Return the feature of an entry."""
        x, v = variables
        phi, slope = x, sp.Integer(1)
        if self.draw.label is not None:
            phi, slope = (Nonlinearity(self.draw.label, order, x) for order in range(2))
        columns = {"h": phi, "v": slope * v}
        copies = phi**2 if self.trained and entry == "vv" else sp.Integer(0)
        return sp.Mul(*(columns[letter] for letter in entry)) + copies


class ColumnChain(Chain):
    """Formulas of an input and a tangent.

    Parameters
    ----------
    made : Derived
        Of the network.
    kind : str
        Kind of the response.
    """

    def __init__(self, made: Derived, kind: str) -> None:
        self.kind, self.trained = kind, kind == "parameters"
        self.entries = [e for e in ENTRIES if e.count("v") <= MOST[kind]]
        super().__init__(made, len(self.entries))

    def averages(self) -> Iterator[Formula]:
        """Yield infinite width, responses and curvatures."""
        made = self.made
        slots = {entry: sp.Dummy(entry, real=True) for entry in ENTRIES}
        for draw, entry in product(made.process.draws, self.entries):
            weight, bias = made.variances(draw)
            at = {k: reads(made, draw, e[0], e[1], LAYER) for e, k in slots.items()}
            mean = self._mean(draw, entry, LATE, slots)
            shifted = entry == "hh" or (self.trained and entry == "vv")
            yield made.formula(
                name_of("covariance", made, draw, entry),
                entry_quantity("C", (sp.Symbol(entry),), LAYER, draw=made.place(draw)),
                (weight * mean + (bias if shifted else 0)).xreplace(at),
                "covariance of a linear operation at infinite width, of input and tangent",
            )
            yield from self._derivatives(draw, entry, weight * mean, slots, at)

    def _derivatives(
        self,
        draw: LinearLayer,
        entry: str,
        value: sp.Expr,
        slots: dict[str, sp.Dummy],
        at: dict[sp.Dummy, EntryQuantity],
    ) -> Iterator[Formula]:
        made, place = self.made, self.made.place(draw)
        for column in self.entries:
            if (slope := _derivative(value, slots[column])) != 0:
                yield made.formula(
                    name_of("response", made, draw, entry, column),
                    entry_quantity("T", sp.symbols((entry, column)), LAYER, draw=place),
                    slope.xreplace(at),
                    "response of a linear operation, by Price's theorem; others vanish",
                )
        for one, two in combinations_with_replacement(self.entries, 2):
            if (bent := _derivative(value, slots[one], slots[two])) != 0:
                yield made.formula(
                    name_of("curvature", made, draw, entry, one, two),
                    entry_quantity("H", sp.symbols((entry, one, two)), LAYER, draw=place),
                    bent.xreplace(at),
                    "its curvature",
                )

    def sources(self, draw: LinearLayer) -> Iterator[Formula]:
        """Yield covariances of features, and of their responses with them."""
        made, place = self.made, self.made.place(draw)
        weight, _ = made.variances(draw)
        other = OTHER if draw.reads_stream else LAYER
        letters = [("h", 0), ("v", 0), ("h", 1), ("v", 1)]
        pairs = list(combinations_with_replacement(range(4), 2))
        slots = {pair: sp.Dummy("k", real=True) for pair in pairs}
        at = {
            slot: reads(made, draw, letters[i][0], letters[j][0], LAYER if j < 2 else other)
            for (i, j), slot in slots.items()
        }
        sides = [
            {e: slots[p] for e, p in zip(ENTRIES, side, strict=True)}
            for side in (((0, 0), (0, 1), (1, 1)), ((2, 2), (2, 3), (3, 3)))
        ]
        for first, second in product(self.entries, repeat=2):
            features = Features(draw, self.trained)
            whole = features.of(first, LATE) * features.of(second, EARLY)
            joint = GaussianExpectation(sp.expand(whole), (*LATE, *EARLY), tuple(slots.values()))
            late = self._mean(draw, first, LATE, sides[0])
            cumulant = joint - late * self._mean(draw, second, EARLY, sides[1])
            yield made.formula(
                name_of("source", made, draw, first, second),
                entry_quantity("S", sp.symbols((first, second)), LAYER, other, draw=place),
                weight**2 * cumulant.xreplace(at),
                "covariance of the features of two layers, $m \\le l$"
                if draw.reads_stream
                else "covariance of the features inside a block",
            )
            for column in self.entries if draw.reads_stream else ():
                if (slope := _derivative(cumulant, sides[0][column])) == 0:
                    continue
                which = sp.symbols((first, column, second))
                yield made.formula(
                    name_of("conditioning_source", made, draw, first, column, second),
                    entry_quantity("P", which, LAYER, OTHER, draw=place),
                    weight**2 * slope.xreplace(at),
                    "covariance of the response with the features of an earlier layer, $m < l$",
                )

    def _mean(
        self,
        draw: LinearLayer,
        entry: str,
        variables: tuple[sp.Symbol, ...],
        slots: dict[str, sp.Dummy],
    ) -> sp.Expr:
        """Return the average of a feature at covariances of the columns."""
        feature = sp.expand(Features(draw, self.trained).of(entry, variables))
        return GaussianExpectation(feature, variables, tuple(slots[e] for e in ENTRIES))

    def responses(self) -> Iterator[Formula]:
        """Yield the response, its shift and its variance, in terms of the entries."""
        end = DEPTH + 1
        # What reads the stream: the read-out, or the first draw of a further block in its place.
        last = 0 if self.made.process.read_out else self.made.place(self.first)
        hv, vv = sp.symbols("hv vv")
        if self.kind == "variance":
            start = "of the tangent $v^0 = h^0 / (2 K^0)$: $K_{hv}^0 = 1/2$, $K_{vv}^0 = 1/(4K^0)$"
            yield from self._named(
                2 * entry_quantity("K", (hv,), LAYER),
                2 * entry_quantity("kernel_mean", (hv,), LAYER),
                4 * entry_quantity("empirical_covariance", (hv, hv), LAYER, LAYER),
                start,
            )
        elif self.kind == "tangent":
            square = entry_quantity("K", (vv,), LAYER)
            yield from self._named(
                square,
                entry_quantity("kernel_mean", (vv,), LAYER),
                entry_quantity("empirical_covariance", (vv, vv), LAYER, LAYER) - 2 * square**2,
                "of $|v^l|^2/|v^0|^2$ with a normal $v^0$: $K_{hv}^0 = 0$, $K_{vv}^0 = 1$",
            )
        else:
            words = (
                "of $|\\partial y/\\partial h^m|^2$: the tangent is normal and begins at layer m"
                if self.kind == "gradient"
                else "of the tangent kernel: $v$ goes along independent copies of all parameters, "
                "$K_{hv}^0 = 0$, $K_{vv}^0 = K^0$"
            )
            weight, bias = sp.Integer(1), sp.Integer(0)
            if self.made.base.net.read_out is None:
                # A further block stands in for a read-out of unit weights and without biases.
                weight, own = self.made.variances(self.first)
                bias = own if self.trained else bias
                words += "; read out by unit weights"
            yield from self._named(
                (entry_quantity("C", (vv,), end, draw=last) - bias) / weight,
                entry_quantity("gram_mean", (vv,), end, draw=last) / weight,
                entry_quantity("gram_covariance", (vv, vv), end, end, draw=last) / weight**2,
                words,
            )

    def _named(
        self, value: sp.Expr, shift: sp.Expr, spread: sp.Expr, words: str
    ) -> Iterator[Formula]:
        layers = (LAYER, sp.Integer(0)) if self.kind in ("variance", "tangent") else ()
        for stem, head, rhs, what in (
            ("finite", "finite", value, "value at infinite width"),
            ("finite_shift", "finite_shift", shift, "shift of the mean, times N,"),
            ("finite_variance", "finite_variance", spread, "variance, times N,"),
        ):
            lhs = quantity(head, *(layers or (DEPTH,)))
            yield self.made.formula(stem, lhs, rhs, f"{what} {words}")


def _derivative(value: sp.Expr, *slots: sp.Dummy) -> sp.Expr:
    """Return a derivative without the averages of what vanishes."""
    moved = sp.diff(value, *slots)
    empty = [node for node in moved.atoms(GaussianExpectation) if node.integrand == 0]
    return moved.xreplace(dict.fromkeys(empty, sp.Integer(0)))
