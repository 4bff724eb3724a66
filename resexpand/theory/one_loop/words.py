"""The formulas of the order 1/N in groups, and what each group says, for documents."""

from __future__ import annotations

GROUPS = (
    (
        ("covariance", "kernel"),
        "Given the Gram matrices of all linear operations, neurons are independent, and what each "
        "linear operation draws is Gaussian: this is exact at every width. At infinite width the "
        "Gram matrices do not fluctuate.",
    ),
    (
        ("response", "curvature"),
        "A Gram matrix that deviates moves what follows. By Price's theorem its slope $T$ and "
        "curvature $H$ are averages of derivatives.",
    ),
    (
        ("stream_response", "block_response", "kernel_propagator", "gram_propagator"),
        "The chain rule carries a deviation through the blocks.",
    ),
    (
        ("source", "conditioning_source"),
        "An average over $N$ neurons fluctuates, and since all layers add to one stream, averages "
        "of different layers fluctuate together.",
    ),
    (
        ("kernel_covariance", "gram_covariance", "single_neuron", "empirical_covariance"),
        "Carried on by the responses, these sources make the covariances between layers.",
    ),
    (
        ("tadpole", "conditioning", "gram_mean", "kernel_mean"),
        "The means are corrected by what is inherited, by the curvature on fluctuations (tadpole), "
        "and because a neuron that raised an earlier Gram matrix responds differently to what that "
        "one moves (conditioning).",
    ),
    (
        ("four_point", "kurtosis", "validity"),
        "The output is Gaussian given its Gram matrix, so that its excess kurtosis is a variance. "
        "The expansion holds as long as the last quantity is small against $N$.",
    ),
    (
        ("finite", "finite_shift", "finite_variance"),
        "The response is an entry of these Gram matrices, in every network; its mean and its "
        "variance follow.",
    ),
)
"""Beginnings of the names of formulas that belong together, and what they say."""


def group(name: str) -> int:
    """Return which group a formula belongs to: that of the longest name it begins with."""
    found = [
        (len(stem), number)
        for number, (stems, _) in enumerate(GROUPS)
        for stem in stems
        if name == stem or name.startswith(f"{stem}_")
    ]
    return max(found)[1]
