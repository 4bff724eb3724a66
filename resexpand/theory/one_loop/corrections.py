"""Covariances between layers, corrections of the means, and what is read off them."""

from __future__ import annotations

import sympy as sp

from resexpand.conventions import DEPTH
from resexpand.theory.formula import Formula
from resexpand.theory.one_loop.derived import (
    ANOTHER,
    EARLIER,
    LAYER,
    OTHER,
    Derived,
    draw_name,
)
from resexpand.theory.one_loop.process import LinearLayer
from resexpand.theory.one_loop.quantities import quantity


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


def covariances(made: Derived) -> list[Formula]:
    """Return the covariances between layers."""
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
                draw_name("gram_covariance", made, draw),
                quantity("gram_covariance", LAYER, LAYER, draw=place),
                response**2 * inherited + own + crossed,
                "variance of a linear operation inside a block",
            )
        )
    return result


def means(made: Derived) -> list[Formula]:
    """Return the corrections of the means: transport, tadpole and conditioning."""
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
                draw_name("tadpole", made, draw),
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
                draw_name("gram_mean", made, draw),
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


def _conditioning(made: Derived, draw: LinearLayer) -> Formula:
    place = made.place(draw)
    terms = quantity("P", LAYER, EARLIER, draw=place)
    terms *= quantity("B", LAYER - 1, EARLIER, draw=place)
    return made.formula(
        "conditioning",
        quantity("conditioning", LAYER),
        sp.Sum(terms, (EARLIER, 1, LAYER - 1)),
        "conditioning: neurons that raised a Gram matrix respond differently to what it moves",
    )


def outputs(made: Derived) -> list[Formula]:
    """Return what is made of the others: kurtosis of the output, validity."""
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
