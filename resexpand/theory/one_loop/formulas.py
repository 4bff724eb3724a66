r"""The order 1/N as formulas, derived from the process of single neurons.

One expansion gives everything. The Gram matrices are averages over neurons that are independent
given the Gram matrices before, so that a fluctuation ``dC_a`` is the fluctuation of its own average
plus what it inherits through ``dC_a/dK_a``. Averages, their derivatives and their joint cumulants
are Gaussian expectations of the features with the covariance ``M C M^T`` of the process; Price's
theorem differentiates them. For several inputs every ``K``, ``C`` is a vector of entries, and
products of propagators and sources are sums over entries.
"""

from __future__ import annotations

import sympy as sp

from resexpand.conventions import K
from resexpand.references import Citation
from resexpand.theory.formula import Formula
from resexpand.theory.one_loop.corrections import covariances, means, outputs
from resexpand.theory.one_loop.derived import (
    EARLIER,
    LAYER,
    OTHER,
    Derived,
    behind,
    draw_name,
    one_point,
    two_point,
)
from resexpand.theory.one_loop.process import Process
from resexpand.theory.one_loop.quantities import quantity
from resexpand.theory.recursion import Recursion


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
        *covariances(made),
        *means(made),
        *outputs(made),
    ]


def _mean_field(made: Derived) -> list[Formula]:
    result = [
        made.formula(
            draw_name("covariance", made, draw),
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
                draw_name("response", made, draw),
                quantity("T", LAYER, draw=place),
                first,
                "response of a linear operation to the variance it reads, by Price's theorem",
            ),
            made.formula(
                draw_name("curvature", made, draw),
                quantity("H", LAYER, draw=place),
                second,
                "its curvature",
            ),
        ]
    return result


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
                draw_name("kernel_propagator", made, draw),
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
                draw_name("gram_propagator", made, draw),
                quantity("R", LAYER, OTHER, draw=place),
                own + passed,
                f"response of the Gram matrix {words} of block $l$",
            )
        )
    return result


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
            draw_name("source", made, first),
            quantity("S", LAYER, OTHER, draw=place),
            weight**2 * cumulant.xreplace(at),
            "covariance of the features at two layers, $m \\le l$: the skip connection makes it",
        ),
        made.formula(
            draw_name("conditioning_source", made, first),
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
                draw_name("source", made, draw),
                quantity("S", LAYER, LAYER, draw=made.place(draw)),
                own**2 * spread,
                "variance of the features inside a block; no other block shares them",
            )
        )
    return result
