r"""The order 1/N as formulas, derived from the process of single neurons.

One expansion gives everything. The Gram matrices are averages over neurons that are independent
given the Gram matrices before, so that a fluctuation ``dC_a`` is the fluctuation of its own average
plus what it inherits through ``dC_a/dK_a``. Averages, their derivatives and their joint cumulants
are Gaussian expectations of the features with the covariance ``M C M^T`` of the process
(`resexpand.theory.one_loop.averages`). For several columns every ``K``, ``C`` is a vector of
entries ``p, q, r, s``, and products of propagators and sources are sums over entries; one input has
one entry, and its quantities none.

An operation that couples columns, such as a normalisation over a batch, would enter as one more
collective variable of a block: with a feature in `Columns`, and with its row in the responses.
"""

from __future__ import annotations

from collections.abc import Iterator

import sympy as sp

from resexpand.conventions import DEPTH
from resexpand.theory.formula import Formula
from resexpand.theory.one_loop.averages import covariances, derivatives, sources
from resexpand.theory.one_loop.derived import ANOTHER, EARLIER, LAYER, OTHER, Derived
from resexpand.theory.one_loop.process import LinearLayer

P, Q, R, S = sp.symbols("p q r s", integer=True, positive=True)
"""Entries."""


class Chain:
    """Formulas in terms of the averages.

    Parameters
    ----------
    made : Derived
        Of the network.
    """

    def __init__(self, made: Derived) -> None:
        self.made, self.at, self.alone = made, made.at, made.columns.count == 1
        self.draws = made.process.draws
        self.first, self.last = self.draws[0], self.draws[-1]

    def formulas(self) -> list[Formula]:
        """Derive all formulas, each after those it needs, but for what is made of them."""
        return [
            *self._mean_field(),
            *self._propagators(),
            *(formula for draw in self.draws for formula in sources(self.made, draw)),
            *self._covariances(),
            *self._means(),
        ]

    def _sum(self, term: sp.Expr, *entries: sp.Symbol) -> sp.Expr:
        limits = [(index, 1, self.made.columns.count) for index in entries]
        return term if self.alone else sp.Sum(term, *limits)

    def _behind(
        self, draw: LinearLayer | None, row: sp.Symbol, column: sp.Symbol, layer: sp.Expr
    ) -> sp.Expr:
        """Return the response of the rest of a block to a draw, or to the stream for None."""
        later = self.draws[draw.position if draw else 0 :]
        if self.alone:
            return sp.Mul(*(self.at("T", (), layer, draw=self.made.place(d)) for d in later))
        if not later:
            return sp.KroneckerDelta(row, column)
        head, place = (
            ("W", later[0].position - 1) if later[1:] else ("T", self.made.place(later[0]))
        )
        return self.at(head, (row, column), layer, draw=place)

    def _mean_field(self) -> Iterator[Formula]:
        """Yield infinite width, responses, curvatures, and responses of whole blocks."""
        made, place = self.made, self.made.place(self.last)
        for draw in self.draws:
            yield from covariances(made, draw)
        which = "ab" if made.columns.means[0] == "ab" else (P,)
        yield made.formula(
            "kernel",
            self.at("K", which, LAYER),
            self.at("K", which, LAYER - 1)
            + made.scale(LAYER) ** 2 * self.at("C", which, LAYER, draw=place),
            "the stream adds up what the last linear operation of every block draws",
        )
        for draw in self.draws:
            yield from derivatives(made, draw)
        for draw in reversed(() if self.alone else self.draws[:-1]):
            place = draw.position - 1
            own = self.at("T", (R, Q), LAYER, draw=draw.position)
            yield made.formula(
                f"block_response_{place}",
                self.at("W", (P, Q), LAYER, draw=place),
                self._sum(self._behind(draw, P, R, LAYER) * own, R),
                "response of the last linear operation of a block to an earlier one, 0 for the "
                "stream",
            )

    def _propagators(self) -> Iterator[Formula]:
        """Yield the responses across blocks."""
        made = self.made
        if self.alone:
            factor = 1 + made.scale(EARLIER) ** 2 * self._behind(None, P, P, EARLIER)
            whole: sp.Expr = sp.Product(factor, (EARLIER, OTHER + 1, LAYER))
        else:
            passed = self._behind(None, P, R, LAYER) * self.at("chi", (R, Q), LAYER - 1, OTHER)
            whole = self.at("chi", (P, Q), LAYER - 1, OTHER)
            whole += made.scale(LAYER) ** 2 * self._sum(passed, R)
        yield made.formula(
            "stream_response",
            self.at("chi", (P, Q), LAYER, OTHER),
            whole,
            "response of the stream to the stream; where both layers are the same, one for "
            "the entry itself",
        )
        for draw in self.draws:
            place = made.place(draw)
            step = self.at("chi", (P, Q), LAYER, OTHER)
            if draw is not self.last:
                inner = self._behind(draw, R, Q, OTHER)
                step = self._sum(self.at("chi", (P, R), LAYER, OTHER) * inner, R)
            yield made.formula(
                made.name("kernel_propagator", draw),
                self.at("B", (P, Q), LAYER, OTHER, draw=place),
                made.scale(OTHER) ** 2 * step,
                "response of the kernel of the stream to a draw in block $m$ up to $l$",
            )
            moved = self._behind(None, P, R, LAYER)
            moved *= self.at("B", (R, Q), LAYER - 1, OTHER, draw=place)
            yield made.formula(
                made.name("gram_propagator", draw),
                self.at("R", (P, Q), LAYER, OTHER, draw=place),
                sp.KroneckerDelta(LAYER, OTHER) * self._behind(draw, P, Q, LAYER)
                + self._sum(moved, R),
                "response of the Gram matrix of the last linear operation of block $l$",
            )

    def _carried(self, head: str) -> sp.Expr:
        """Return the sum of sources between two propagators."""
        total = sp.Integer(0)
        for draw in self.draws:
            place = self.made.place(draw)
            end = ANOTHER if draw.reads_stream else EARLIER
            left = self.at(head, (P, R), LAYER, EARLIER, draw=place)
            right = self.at(head, (Q, S), OTHER, end, draw=place)
            source = self.at("S", (R, S), EARLIER, end, draw=place)
            inside = self._sum(left * source * right, R, S)
            limits = [(EARLIER, 1, LAYER), (ANOTHER, 1, OTHER)]
            if not draw.reads_stream:
                limits = [(EARLIER, 1, sp.Min(LAYER, OTHER))]
            total += sp.Sum(inside, *limits)
        return total

    def _covariances(self) -> Iterator[Formula]:
        """Yield the covariances between layers."""
        made, at = self.made, self.at
        for stem, head, words in (
            ("kernel_covariance", "B", "covariance of the kernel between layers"),
            ("gram_covariance", "R", "covariance of the last linear operation between blocks"),
        ):
            yield made.formula(stem, at(stem, (P, Q), LAYER, OTHER), self._carried(head), words)
        for draw in self.draws[:-1]:
            yield self._inside(draw)
        if not self.alone:
            first, second = (
                at("K", f"a{c}", LAYER) * at("K", f"b{d}", LAYER) for c, d in ("cd", "dc")
            )
            yield made.formula(
                "single_neuron",
                at("Omega", "ab cd", LAYER),
                first + second,
                "covariance of products of components of one neuron",
            )
        yield made.formula(
            "empirical_covariance",
            at("empirical_covariance", (P, Q), LAYER, OTHER),
            at("kernel_covariance", (P, Q), LAYER, OTHER)
            + self._felt(P, Q, LAYER, OTHER)
            + self._felt(Q, P, OTHER, LAYER)
            + self._neuron(P, Q, sp.Min(LAYER, OTHER)),
            "covariance of the kernel measured on the neurons",
        )

    def _neuron(self, row: sp.Symbol, column: sp.Symbol, layer: sp.Expr) -> sp.Expr:
        """Return the covariance of products of components of one neuron."""
        if self.alone:
            return 2 * self.at("K", (), layer) ** 2
        return self.at("Omega", (row, column), layer)

    def _felt(
        self, row: sp.Symbol, column: sp.Symbol, layer: sp.Symbol, other: sp.Symbol
    ) -> sp.Expr:
        place = self.made.place(self.first)
        moved = self.at("B", (row, R), layer, EARLIER, draw=place)
        moved *= self.at("T", (R, S), EARLIER, draw=place)
        factor, moved = (moved * self._neuron(S, column, sp.Min(EARLIER - 1, other))).as_coeff_Mul()
        return factor * sp.Sum(self._sum(moved, R, S), (EARLIER, 1, layer))

    def _inside(self, draw: LinearLayer) -> Formula:
        """Return the covariance of a Gram matrix inside a block."""
        place = draw.position
        first, last = (self.at("T", pair, LAYER, draw=place) for pair in ((P, R), (Q, S)))
        total = self._sum(first * self._spread(draw, R, S) * last, R, S)
        total += self.at("S", (P, Q), LAYER, LAYER, draw=place)
        for row, column in ((P, Q), (Q, P)) if draw.reads_stream else ():
            shared = self.at("T", (row, R), LAYER, draw=place)
            shared *= self.at("B", (R, S), LAYER - 1, EARLIER, draw=place)
            shared *= self.at("S", (column, S), LAYER, EARLIER, draw=place)
            total += sp.Sum(self._sum(shared, R, S), (EARLIER, 1, LAYER - 1))
        return self.made.formula(
            self.made.name("gram_covariance", draw),
            self.at("gram_covariance", (P, Q), LAYER, LAYER, draw=place),
            total,
            "covariance of a linear operation inside a block",
        )

    def _spread(self, draw: LinearLayer, row: sp.Symbol, column: sp.Symbol) -> sp.Expr:
        """Return the covariance of what a draw reads."""
        if draw.reads_stream:
            return self.at("kernel_covariance", (row, column), LAYER - 1, LAYER - 1)
        before = draw.position - 1
        return self.at("gram_covariance", (row, column), LAYER, LAYER, draw=before)

    def _means(self) -> Iterator[Formula]:
        """Yield the corrections of the means: transport, tadpole and conditioning."""
        made, at = self.made, self.at
        for draw in self.draws:
            place = made.place(draw)
            bent = at("H", (P, Q, R), LAYER, draw=place) * self._spread(draw, Q, R)
            tadpole = at("tadpole", (P,), LAYER, draw=place)
            yield made.formula(
                made.name("tadpole", draw),
                tadpole,
                self._sum(bent, Q, R) / 2,
                "tadpole: what the curvature makes of the fluctuations that are read",
            )
            inherited = at("gram_mean", (Q,), LAYER, draw=draw.position - 1)
            if draw.reads_stream:
                inherited = at("kernel_mean", (Q,), LAYER - 1)
            total = self._sum(at("T", (P, Q), LAYER, draw=place) * inherited, Q) + tadpole
            if draw is self.first:
                terms = at("P", (P, Q, R), LAYER, EARLIER, draw=place)
                terms *= at("B", (Q, R), LAYER - 1, EARLIER, draw=place)
                conditioning = at("conditioning", (P,), LAYER)
                total += conditioning
                yield made.formula(
                    "conditioning",
                    conditioning,
                    sp.Sum(self._sum(terms, Q, R), (EARLIER, 1, LAYER - 1)),
                    "conditioning: neurons that raised a Gram matrix respond differently to what "
                    "it moves",
                )
            yield made.formula(
                made.name("gram_mean", draw),
                at("gram_mean", (P,), LAYER, draw=place),
                total,
                "correction of the mean, times N: transport, tadpole and conditioning",
            )
        added = at("gram_mean", (P,), LAYER, draw=made.place(self.last))
        yield made.formula(
            "kernel_mean",
            at("kernel_mean", (P,), LAYER),
            at("kernel_mean", (P,), LAYER - 1) + made.scale(LAYER) ** 2 * added,
            "correction of the mean of the kernel, times N",
        )

    def outputs(self) -> Iterator[Formula]:
        """Yield the four-point function of several inputs, the kurtosis and the validity."""
        made, at, end = self.made, self.at, DEPTH + 1
        last = 0 if made.process.read_out else made.place(self.last)
        if not self.alone:
            pairings = ("ab cd", "ac bd", "ad bc")
            four = sp.Add(*(at("gram_covariance", pair, end, end) for pair in pairings))
            words = "connected four-point function of the outputs, times N"
            yield made.formula("four_point", at("four", "ab cd", end), four, words)
        spread, own = at("gram_covariance", "aa aa", end, end), at("C", "aa", end, draw=last)
        yield made.formula(
            "kurtosis",
            at("kappa", "a", end),
            3 * spread / own**2,
            "excess kurtosis of an output, times N: given its Gram matrix it is Gaussian",
        )
        spread = at("empirical_covariance", "aa aa", LAYER, LAYER)
        yield made.formula(
            "validity",
            at("v", "a", LAYER),
            spread / at("K", "aa", LAYER) ** 2,
            "relative size of the next order, times N; the largest of all inputs counts",
        )
