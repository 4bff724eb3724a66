r"""The order 1/N of several inputs as formulas.

Gram matrices have an entry for every pair of inputs. The averages that know the activation are
written for inputs ``a, b`` (and ``c, d`` of an earlier layer), everything that is made of them for
entries ``p, q, r, s``, which run over all pairs. The chain is that of one input
(`resexpand.theory.one_loop.formulas`), with products that are sums over entries.
"""

from __future__ import annotations

from collections.abc import Iterator

import sympy as sp

from resexpand.conventions import DEPTH
from resexpand.references import Citation
from resexpand.theory.formula import Formula
from resexpand.theory.kernel import kernel
from resexpand.theory.one_loop.derived import ANOTHER, EARLIER, LAYER, OTHER, Derived
from resexpand.theory.one_loop.entries import EntryQuantity, entry_quantity
from resexpand.theory.one_loop.entry_averages import covariance, derivatives, name_of, sources
from resexpand.theory.one_loop.process import LinearLayer, Process
from resexpand.theory.recursion import Recursion

P, Q, R, S = sp.symbols("p q r s", integer=True, positive=True)
A = sp.Symbol("a")


def entry_formulas(
    base: Recursion, process: Process, inputs: int, citations: tuple[Citation, ...]
) -> list[Formula]:
    """Derive all formulas of a network of several inputs, each after those it needs.

    Parameters
    ----------
    base : Recursion
        The kernel recursion of one input.
    process : Process
        Of the same network.
    inputs : int
        Number of inputs D, ``>= 2``.
    citations : tuple of Citation
        Where the equations stand.
    """
    chain = Chain(Derived(base, process, citations), inputs * (inputs + 1) // 2)
    return [
        *chain.mean_field(),
        *chain.propagators(),
        *(f for draw in process.draws for f in sources(chain.made, draw)),
        *chain.covariances(),
        *chain.means(),
        *chain.outputs(),
    ]


class Chain:
    """Formulas in terms of the averages.

    Parameters
    ----------
    made : Derived
        Of the network.
    count : int
        Number of entries.
    """

    def __init__(self, made: Derived, count: int) -> None:
        self.made, self.count = made, count
        self.first, self.last = made.process.draws[0], made.process.draws[-1]

    def _sum(self, term: sp.Expr, *entries: sp.Symbol) -> sp.Expr:
        return sp.Sum(term, *((index, 1, self.count) for index in entries))

    def _behind(
        self, draw: LinearLayer | None, row: sp.Symbol, column: sp.Symbol, layer: sp.Expr
    ) -> EntryQuantity | None:
        """Return the response of the rest of a block to a draw, or to the stream for None."""
        position = draw.position if draw else 0
        if position == self.last.position:
            return None
        name = "T" if position == self.last.position - 1 else "W"
        place = self.made.place(self.last) if name == "T" else position
        return entry_quantity(name, (row, column), layer, draw=place)

    def mean_field(self) -> Iterator[Formula]:
        """Yield infinite width, responses, curvatures, and responses of whole blocks."""
        found = list(self.averages())
        yield from (formula for formula in found if formula.name.startswith("covariance"))
        which = (sp.Symbol("ab"),)
        last = entry_quantity("C", which, LAYER, draw=self.made.place(self.last))
        yield self.made.formula(
            "kernel",
            entry_quantity("K", which, LAYER),
            entry_quantity("K", which, LAYER - 1) + self.made.scale(LAYER) ** 2 * last,
            "the stream adds up what the last linear operation of every block draws",
        )
        yield from (formula for formula in found if not formula.name.startswith("covariance"))
        for draw in reversed(self.made.process.draws[:-1]):
            place = draw.position - 1
            follows = self._behind(draw, P, R, LAYER)
            own = entry_quantity("T", (R, Q), LAYER, draw=draw.position)
            yield self.made.formula(
                f"block_response_{place}",
                entry_quantity("W", (P, Q), LAYER, draw=place),
                self._sum(follows * own, R),
                "response of the last linear operation of a block to an earlier one, 0 for the "
                "stream",
            )

    def averages(self) -> Iterator[Formula]:
        """Yield what knows the activation at one layer: covariances, responses, curvatures."""
        pairs = kernel(self.made.base.net, inputs=2)
        for draw in self.made.process.draws:
            yield covariance(self.made, pairs, draw)
        for draw in self.made.process.draws:
            yield from derivatives(self.made, pairs, draw)

    def propagators(self) -> Iterator[Formula]:
        """Yield the responses across blocks."""
        made = self.made
        before = entry_quantity("chi", (P, Q), LAYER - 1, OTHER)
        passed = self._behind(None, P, R, LAYER) * entry_quantity("chi", (R, Q), LAYER - 1, OTHER)
        yield made.formula(
            "stream_response",
            entry_quantity("chi", (P, Q), LAYER, OTHER),
            before + made.scale(LAYER) ** 2 * self._sum(passed, R),
            "response of the stream to the stream; where both layers are the same, one for $p = q$",
        )
        for draw in made.process.draws:
            place = made.place(draw)
            inner = self._behind(draw, R, Q, OTHER)
            chi = entry_quantity("chi", (P, R if inner is not None else Q), LAYER, OTHER)
            step = chi if inner is None else self._sum(chi * inner, R)
            yield made.formula(
                name_of("kernel_propagator", made, draw),
                entry_quantity("B", (P, Q), LAYER, OTHER, draw=place),
                made.scale(OTHER) ** 2 * step,
                "response of the kernel of the stream to a draw in block $m$ up to $l$",
            )
            own = self._behind(draw, P, Q, LAYER)
            same = sp.KroneckerDelta(P, Q) if own is None else own
            moved = self._behind(None, P, R, LAYER)
            moved *= entry_quantity("B", (R, Q), LAYER - 1, OTHER, draw=place)
            yield made.formula(
                name_of("gram_propagator", made, draw),
                entry_quantity("R", (P, Q), LAYER, OTHER, draw=place),
                sp.KroneckerDelta(LAYER, OTHER) * same + self._sum(moved, R),
                "response of the Gram matrix of the last linear operation of block $l$",
            )

    def _carried(self, name: str) -> sp.Expr:
        """Return the sum of sources between two propagators."""
        total = sp.Integer(0)
        for draw in self.made.process.draws:
            place = self.made.place(draw)
            end = ANOTHER if draw.reads_stream else EARLIER
            left = entry_quantity(name, (P, R), LAYER, EARLIER, draw=place)
            right = entry_quantity(name, (Q, S), OTHER, end, draw=place)
            source = entry_quantity("S", (R, S), EARLIER, end, draw=place)
            inside = self._sum(left * source * right, R, S)
            if draw.reads_stream:
                total += sp.Sum(inside, (EARLIER, 1, LAYER), (ANOTHER, 1, OTHER))
            else:
                total += sp.Sum(inside, (EARLIER, 1, sp.Min(LAYER, OTHER)))
        return total

    def covariances(self) -> Iterator[Formula]:
        """Yield the covariances between layers."""
        made = self.made
        for stem, name, words in (
            ("kernel_covariance", "B", "covariance of the kernel between layers"),
            ("gram_covariance", "R", "covariance of the last linear operation between blocks"),
        ):
            lhs = entry_quantity(stem, (P, Q), LAYER, OTHER)
            yield made.formula(stem, lhs, self._carried(name), words)
        for draw in made.process.draws[:-1]:
            yield self._inside(draw)
        yield made.formula(
            "single_neuron",
            entry_quantity("Omega", sp.symbols(("ab", "cd")), LAYER),
            _kernel("a", "c") * _kernel("b", "d") + _kernel("a", "d") * _kernel("b", "c"),
            "covariance of products of components of one neuron",
        )
        yield made.formula(
            "empirical_covariance",
            entry_quantity("empirical_covariance", (P, Q), LAYER, OTHER),
            entry_quantity("kernel_covariance", (P, Q), LAYER, OTHER)
            + self._felt(P, Q, LAYER, OTHER)
            + self._felt(Q, P, OTHER, LAYER)
            + entry_quantity("Omega", (P, Q), sp.Min(LAYER, OTHER)),
            "covariance of the kernel measured on the neurons",
        )

    def _felt(
        self, row: sp.Symbol, column: sp.Symbol, layer: sp.Symbol, other: sp.Symbol
    ) -> sp.Expr:
        place = self.made.place(self.first)
        moved = entry_quantity("B", (row, R), layer, EARLIER, draw=place)
        moved *= entry_quantity("T", (R, S), EARLIER, draw=place)
        moved *= entry_quantity("Omega", (S, column), sp.Min(EARLIER - 1, other))
        return sp.Sum(self._sum(moved, R, S), (EARLIER, 1, layer))

    def _inside(self, draw: LinearLayer) -> Formula:
        """Return the covariance of a Gram matrix inside a block."""
        made, place = self.made, draw.position
        responses = [entry_quantity("T", pair, LAYER, draw=place) for pair in ((P, R), (Q, S))]
        total = self._sum(responses[0] * self._spread(draw, R, S) * responses[1], R, S)
        total += entry_quantity("S", (P, Q), LAYER, LAYER, draw=place)
        for row, column in ((P, Q), (Q, P)) if draw.reads_stream else ():
            shared = entry_quantity("T", (row, R), LAYER, draw=place)
            shared *= entry_quantity("B", (R, S), LAYER - 1, EARLIER, draw=place)
            shared *= entry_quantity("S", (column, S), LAYER, EARLIER, draw=place)
            total += sp.Sum(self._sum(shared, R, S), (EARLIER, 1, LAYER - 1))
        return made.formula(
            name_of("gram_covariance", made, draw),
            entry_quantity("gram_covariance", (P, Q), LAYER, LAYER, draw=place),
            total,
            "covariance of a linear operation inside a block",
        )

    def _spread(self, draw: LinearLayer, row: sp.Symbol, column: sp.Symbol) -> EntryQuantity:
        """Return the covariance of what a draw reads."""
        if draw.reads_stream:
            return entry_quantity("kernel_covariance", (row, column), LAYER - 1, LAYER - 1)
        before = draw.position - 1
        return entry_quantity("gram_covariance", (row, column), LAYER, LAYER, draw=before)

    def means(self) -> Iterator[Formula]:
        """Yield the corrections of the means."""
        made = self.made
        for draw in made.process.draws:
            place = made.place(draw)
            bent = entry_quantity("H", (P, Q, R), LAYER, draw=place) * self._spread(draw, Q, R)
            tadpole = entry_quantity("tadpole", (P,), LAYER, draw=place)
            yield made.formula(
                name_of("tadpole", made, draw),
                tadpole,
                self._sum(bent, Q, R) / 2,
                "tadpole: what the curvature makes of the fluctuations that are read",
            )
            inherited = (
                entry_quantity("kernel_mean", (Q,), LAYER - 1)
                if draw.reads_stream
                else entry_quantity("gram_mean", (Q,), LAYER, draw=draw.position - 1)
            )
            moved = entry_quantity("T", (P, Q), LAYER, draw=place) * inherited
            total = self._sum(moved, Q) + tadpole
            if draw is self.first:
                yield self._conditioning(place)
                total += entry_quantity("conditioning", (P,), LAYER)
            yield made.formula(
                name_of("gram_mean", made, draw),
                entry_quantity("gram_mean", (P,), LAYER, draw=place),
                total,
                "correction of the mean, times N: transport, tadpole and conditioning",
            )
        added = entry_quantity("gram_mean", (P,), LAYER, draw=made.place(self.last))
        yield made.formula(
            "kernel_mean",
            entry_quantity("kernel_mean", (P,), LAYER),
            entry_quantity("kernel_mean", (P,), LAYER - 1) + made.scale(LAYER) ** 2 * added,
            "correction of the mean of the kernel, times N",
        )

    def _conditioning(self, place: int) -> Formula:
        terms = entry_quantity("P", (P, Q, R), LAYER, EARLIER, draw=place)
        terms *= entry_quantity("B", (Q, R), LAYER - 1, EARLIER, draw=place)
        return self.made.formula(
            "conditioning",
            entry_quantity("conditioning", (P,), LAYER),
            sp.Sum(self._sum(terms, Q, R), (EARLIER, 1, LAYER - 1)),
            "conditioning: neurons that raised a Gram matrix respond differently to what it moves",
        )

    def outputs(self) -> Iterator[Formula]:
        """Yield the four-point function, the kurtosis and the validity."""
        end = DEPTH + 1
        pairings = (("ab", "cd"), ("ac", "bd"), ("ad", "bc"))
        four = sum(
            (entry_quantity("gram_covariance", sp.symbols(pair), end, end) for pair in pairings),
            sp.Integer(0),
        )
        last = 0 if self.made.process.read_out else self.made.place(self.last)
        own = (sp.Symbol("aa"),)
        spread = entry_quantity("gram_covariance", 2 * own, end, end)
        yield self.made.formula(
            "four_point",
            entry_quantity("four", sp.symbols(("ab", "cd")), end),
            four,
            "connected four-point function of the outputs, times N",
        )
        yield self.made.formula(
            "kurtosis",
            entry_quantity("kappa", (A,), end),
            3 * spread / entry_quantity("C", own, end, draw=last) ** 2,
            "excess kurtosis of an output, times N",
        )
        yield self.made.formula(
            "validity",
            entry_quantity("v", (A,), LAYER),
            entry_quantity("empirical_covariance", 2 * own, LAYER, LAYER)
            / entry_quantity("K", own, LAYER) ** 2,
            "relative size of the next order, times N; the largest of all inputs counts",
        )


def _kernel(first: str, second: str) -> EntryQuantity:
    return entry_quantity("K", (sp.Symbol(first + second),), LAYER)
