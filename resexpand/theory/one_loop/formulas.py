r"""The order 1/N as formulas, derived from the process of single neurons.

One expansion gives everything. The Gram matrices are averages over neurons that are independent
given the Gram matrices before, so that a fluctuation ``dC_a`` is the fluctuation of its own average
plus what it inherits through ``dC_a/dK_a``. Averages, their derivatives and their joint cumulants
are Gaussian expectations of the features with the covariance ``M C M^T`` of the process; Price's
theorem differentiates them. For several inputs every ``K``, ``C`` is a vector of entries, and
products of propagators and sources are sums over entries.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from resexpand.conventions import DEPTH, K
from resexpand.gaussian.expectation import (
    GaussianExpectation,
    Nonlinearity,
    integration_variables,
)
from resexpand.references import Citation
from resexpand.theory.formula import Formula
from resexpand.theory.hyperparameters import Hyperparameters
from resexpand.theory.one_loop.process import Draw, Process
from resexpand.theory.one_loop.quantities import quantity
from resexpand.theory.recursion import Recursion

LAYER, OTHER, EARLIER, ANOTHER = sp.symbols("l m k j", integer=True, positive=True)
"""Layers: of a quantity, of the other one, and those that are summed over."""


@dataclass(frozen=True)
class Derived:
    """What the formulas of one network are made of.

    Attributes
    ----------
    base : Recursion
        The kernel recursion of one input.
    process : Process
        The draws.
    citations : tuple of Citation
        Where the equations stand.
    """

    base: Recursion
    process: Process
    citations: tuple[Citation, ...]

    @property
    def several(self) -> bool:
        """Whether a block holds several draws."""
        return len(self.process.draws) > 1

    def place(self, draw: Draw) -> int:
        """Return the index under which a draw is written, 0 if there is but one."""
        return draw.position if self.several else 0

    def scale(self, layer: sp.Expr) -> sp.Expr:
        """Return the residual scale of a block."""
        names = Hyperparameters(self.base.net, dict(self.base.bindings))
        return quantity("rho", layer) if self.base.layer_bindings else names.scale()

    def variances(self, draw: Draw) -> tuple[sp.Expr, sp.Expr]:
        """Return weight and bias variance of a draw."""
        names = Hyperparameters(self.base.net, dict(self.base.bindings))
        return names.variances(draw.linear, f"_{draw.position}" if self.several else "")

    def reads(self, draw: Draw, layer: sp.Expr) -> sp.Expr:
        """Return the variance of what a draw of a block reads."""
        if draw.reads_stream:
            return quantity("K", layer - 1)
        return quantity("C", layer, draw=draw.position - 1)

    def covariance(self, draw: Draw) -> sp.Expr:
        """Return the mean-field covariance of a draw as a function of the symbol K."""
        _, value = self.base.definitions[draw.position - 1]
        argument = K if draw.reads_stream else self.base.definitions[draw.position - 2][0]
        return value.xreplace({argument: K})

    def at(self, draw: Draw, expression: sp.Expr, layer: sp.Expr) -> sp.Expr:
        """Return a function of the symbol K at the variance that a draw reads."""
        return expression.xreplace({K: self.reads(draw, layer)})

    def formula(
        self, name: str, lhs: sp.Expr, rhs: sp.Expr, meaning: str, *, exact: bool = False
    ) -> Formula:
        """Return a formula of this network."""
        neglects = "" if exact else "O(1/N)"
        return Formula(name, lhs, rhs, meaning, neglects, self.citations, self.base.laws)


def formulas(base: Recursion, process: Process, citations: tuple[Citation, ...]) -> list[Formula]:
    """Derive all formulas of a network, in the order in which each needs the ones before.

    Parameters
    ----------
    base : Recursion
        The kernel recursion of one input.
    process : Process
        Of the same network.
    citations : tuple of Citation
        Where the equations stand.
    """
    made = Derived(base, process, citations)
    return [
        *_mean_field(made),
        *_responses(made),
        *_propagators(made),
        *_sources(made),
        *_covariances(made),
        *_means(made),
        *_outputs(made),
    ]


def _name(stem: str, made: Derived, draw: Draw) -> str:
    return f"{stem}_{draw.position}" if made.several else stem


def _mean_field(made: Derived) -> list[Formula]:
    result = [
        made.formula(
            _name("covariance", made, draw),
            quantity("C", LAYER, draw=made.place(draw)),
            made.at(draw, made.covariance(draw), LAYER),
            "covariance of a linear operation at infinite width",
        )
        for draw in made.process.draws
    ]
    last = made.process.draws[-1]
    stream = made.formula(
        "kernel",
        quantity("K", LAYER),
        quantity("K", LAYER - 1)
        + made.scale(LAYER) ** 2 * quantity("C", LAYER, draw=made.place(last)),
        "the stream adds up what the last linear operation of every block draws",
    )
    return [*result, stream]


def _responses(made: Derived) -> list[Formula]:
    result = []
    for draw in made.process.draws:
        first = made.at(draw, sp.diff(made.covariance(draw), K), LAYER)
        second = made.at(draw, sp.diff(made.covariance(draw), K, 2), LAYER)
        place = made.place(draw)
        result += [
            made.formula(
                _name("response", made, draw),
                quantity("T", LAYER, draw=place),
                first,
                "response of a linear operation to the variance it reads, by Price's theorem",
            ),
            made.formula(
                _name("curvature", made, draw),
                quantity("H", LAYER, draw=place),
                second,
                "its curvature",
            ),
        ]
    return result


def behind(made: Derived, draw: Draw | None, layer: sp.Expr) -> sp.Expr:
    """Return the response of the rest of a block to a draw of it; to the stream for None."""
    position = draw.position if draw else 0
    later = [d for d in made.process.draws if d.position > position]
    return sp.Mul(*(quantity("T", layer, draw=made.place(d)) for d in later))


def _propagators(made: Derived) -> list[Formula]:
    whole = behind(made, None, EARLIER)
    factor = 1 + made.scale(EARLIER) ** 2 * whole
    result = [
        made.formula(
            "stream_response",
            quantity("chi", LAYER, OTHER),
            sp.Product(factor, (EARLIER, OTHER + 1, LAYER)),
            "response of the stream to the stream: one where both layers are the same",
        )
    ]
    last = made.process.draws[-1]
    for draw in made.process.draws:
        place = made.place(draw)
        step = made.scale(OTHER) ** 2 * quantity("chi", LAYER, OTHER) * behind(made, draw, OTHER)
        result.append(
            made.formula(
                _name("kernel_propagator", made, draw),
                quantity("B", LAYER, OTHER, draw=place),
                step,
                "response of the kernel of the stream to a draw in block $m$ up to $l$",
            )
        )
        own = sp.KroneckerDelta(LAYER, OTHER) * behind(made, draw, LAYER)
        passed = behind(made, None, LAYER) * quantity("B", LAYER - 1, OTHER, draw=place)
        words = "of the last linear operation" if draw is not last else "of a linear operation"
        result.append(
            made.formula(
                _name("gram_propagator", made, draw),
                quantity("R", LAYER, OTHER, draw=place),
                own + passed,
                f"response of the Gram matrix {words} of block $l$",
            )
        )
    return result


def _feature(draw: Draw, variable: sp.Symbol) -> sp.Expr:
    """Return the square of what a draw acts on, as a function of the variable it reads."""
    return Nonlinearity(draw.label, 0, variable) ** 2


def two_point(draw: Draw, late: sp.Expr, early: sp.Expr, joint: sp.Expr) -> sp.Expr:
    """Return the average of the features of a draw at two layers."""
    if draw.label is None:
        return late * early + 2 * joint**2
    x1, x2 = integration_variables(2)
    product = _feature(draw, x1) * _feature(draw, x2)
    return GaussianExpectation(product, (x1, x2), (late, joint, early))


def one_point(draw: Draw, variance: sp.Expr, power: int = 1) -> sp.Expr:
    """Return the average of a power of the features of a draw."""
    if draw.label is None:
        return sp.factorial2(2 * power - 1) * variance**power
    (x,) = integration_variables(1)
    return GaussianExpectation(_feature(draw, x) ** power, (x,), (variance,))


def _sources(made: Derived) -> list[Formula]:
    first = made.process.draws[0]
    weight, _ = made.variances(first)
    late, early = sp.Dummy("late", positive=True), sp.Dummy("early", positive=True)
    joint = sp.Dummy("joint", real=True)
    # The stream at layer l is that at layer m < l and independent draws: M C M^T is K^m.
    at = {late: made.reads(first, LAYER), early: made.reads(first, OTHER)}
    at[joint] = at[early]
    cumulant = two_point(first, late, early, joint) - one_point(first, late) * one_point(
        first, early
    )
    place = made.place(first)
    result = [
        made.formula(
            _name("source", made, first),
            quantity("S", LAYER, OTHER, draw=place),
            weight**2 * cumulant.xreplace(at),
            "covariance of the features at two layers, $m \\le l$: the skip connection makes it",
        ),
        made.formula(
            _name("conditioning_source", made, first),
            quantity("P", LAYER, OTHER, draw=place),
            weight**2 * cumulant.diff(late).xreplace(at),
            "covariance of the response at a layer with the features at an earlier one, $m < l$",
        ),
    ]
    for draw in made.process.draws[1:]:
        own, variance = made.variances(draw)[0], made.reads(draw, LAYER)
        spread = one_point(draw, variance, 2) - one_point(draw, variance) ** 2
        result.append(
            made.formula(
                _name("source", made, draw),
                quantity("S", LAYER, LAYER, draw=made.place(draw)),
                own**2 * spread,
                "variance of the features inside a block; no other block shares them",
            )
        )
    return result


def _summed(made: Derived, left: str, right: str, rows: tuple[sp.Expr, sp.Expr]) -> sp.Expr:
    """Return the sum of sources between two propagators."""
    total = sp.Integer(0)
    ends = tuple(zip((left, right), rows, strict=True))
    for draw in made.process.draws:
        place = made.place(draw)
        first, last = (quantity(n, r, EARLIER, draw=place) for n, r in ends)
        if draw.reads_stream:
            other = quantity(right, rows[1], ANOTHER, draw=place)
            source = quantity("S", EARLIER, ANOTHER, draw=place)
            limits = ((EARLIER, 1, rows[0]), (ANOTHER, 1, rows[1]))
            total += sp.Sum(first * source * other, *limits)
        else:
            source = quantity("S", EARLIER, EARLIER, draw=place)
            total += sp.Sum(first * source * last, (EARLIER, 1, sp.Min(*rows)))
    return total


def _covariances(made: Derived) -> list[Formula]:
    rows = (LAYER, OTHER)
    first = made.process.draws[0]
    felt = sp.Sum(
        quantity("B", LAYER, EARLIER, draw=made.place(first))
        * quantity("T", EARLIER, draw=made.place(first))
        * quantity("K", sp.Min(EARLIER - 1, OTHER)) ** 2,
        (EARLIER, 1, LAYER),
    )
    back = felt.subs({LAYER: OTHER, OTHER: LAYER}, simultaneous=True)
    return [
        made.formula(
            "kernel_covariance",
            quantity("kernel_covariance", *rows),
            _summed(made, "B", "B", rows),
            "covariance of the kernel between layers",
        ),
        made.formula(
            "gram_covariance",
            quantity("gram_covariance", *rows),
            _summed(made, "R", "R", rows),
            "covariance of the last linear operation between blocks",
        ),
        *_inside(made),
        made.formula(
            "empirical_covariance",
            quantity("empirical_covariance", *rows),
            quantity("kernel_covariance", *rows)
            + 2 * felt
            + 2 * back
            + 2 * quantity("K", sp.Min(*rows)) ** 2,
            "covariance of the kernel measured on the neurons",
        ),
    ]


def _inside(made: Derived) -> list[Formula]:
    """Return the variances of all Gram matrices of a block but the last."""
    result = []
    for draw in made.process.draws[:-1]:
        place = draw.position
        response = quantity("T", LAYER, draw=place)
        if draw.reads_stream:
            shared = quantity("B", LAYER - 1, EARLIER, draw=place)
            shared *= quantity("S", LAYER, EARLIER, draw=place)
            inherited = quantity("kernel_covariance", LAYER - 1, LAYER - 1)
            crossed = 2 * response * sp.Sum(shared, (EARLIER, 1, LAYER - 1))
        else:
            inherited = quantity("gram_covariance", LAYER, LAYER, draw=place - 1)
            crossed = sp.Integer(0)
        own = quantity("S", LAYER, LAYER, draw=place)
        result.append(
            made.formula(
                _name("gram_covariance", made, draw),
                quantity("gram_covariance", LAYER, LAYER, draw=place),
                response**2 * inherited + own + crossed,
                "variance of a linear operation inside a block",
            )
        )
    return result


def _means(made: Derived) -> list[Formula]:
    result = []
    first = made.process.draws[0]
    for draw in made.process.draws:
        place = made.place(draw)
        if draw.reads_stream:
            spread = quantity("kernel_covariance", LAYER - 1, LAYER - 1)
            inherited = quantity("kernel_mean", LAYER - 1)
        else:
            spread = quantity("gram_covariance", LAYER, LAYER, draw=draw.position - 1)
            inherited = quantity("gram_mean", LAYER, draw=draw.position - 1)
        result.append(
            made.formula(
                _name("tadpole", made, draw),
                quantity("tadpole", LAYER, draw=place),
                quantity("H", LAYER, draw=place) * spread / 2,
                "tadpole: what the curvature makes of the fluctuations that are read",
            )
        )
        total = quantity("T", LAYER, draw=place) * inherited
        total += quantity("tadpole", LAYER, draw=place)
        if draw is first:
            result.append(_conditioning(made, draw))
            total += quantity("conditioning", LAYER)
        result.append(
            made.formula(
                _name("gram_mean", made, draw),
                quantity("gram_mean", LAYER, draw=place),
                total,
                "correction of the mean, times N: transport, tadpole and conditioning",
            )
        )
    last = made.process.draws[-1]
    added = made.scale(LAYER) ** 2 * quantity("gram_mean", LAYER, draw=made.place(last))
    return [
        *result,
        made.formula(
            "kernel_mean",
            quantity("kernel_mean", LAYER),
            quantity("kernel_mean", LAYER - 1) + added,
            "correction of the mean of the kernel, times N",
        ),
    ]


def _conditioning(made: Derived, draw: Draw) -> Formula:
    place = made.place(draw)
    terms = quantity("P", LAYER, EARLIER, draw=place)
    terms *= quantity("B", LAYER - 1, EARLIER, draw=place)
    return made.formula(
        "conditioning",
        quantity("conditioning", LAYER),
        sp.Sum(terms, (EARLIER, 1, LAYER - 1)),
        "conditioning: neurons that raised a Gram matrix respond differently to what it moves",
    )


def _outputs(made: Derived) -> list[Formula]:
    end = DEPTH + 1
    last = 0 if made.process.read_out else made.place(made.process.draws[-1])
    kurtosis = 3 * quantity("gram_covariance", end, end) / quantity("C", end, draw=last) ** 2
    validity = quantity("empirical_covariance", LAYER, LAYER) / quantity("K", LAYER) ** 2
    return [
        made.formula(
            "kurtosis",
            quantity("kappa", end),
            kurtosis,
            "excess kurtosis of the output, times N: given its Gram matrix it is Gaussian",
        ),
        made.formula(
            "validity",
            quantity("v", LAYER),
            validity,
            "relative size of the next order, times N",
        ),
    ]
