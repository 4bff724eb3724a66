r"""Masks in front of a linear operation: one more factor of what is averaged.

A mask multiplies the entry of every neuron by a random number ``c``, such as ``xi / keep``. It is
part of the neuron, independent of all Gram matrices: a feature ``F_pq`` becomes ``c_p c_q F_pq``,

    averages       E c_p c_q < F_pq >,     hence responses and curvatures, entry by entry,
    sources        E c_p c_q E c_r c_s Cov(F_pq, F_rs)   between two layers,
                   E c_p c_q c_r c_s < F_pq F_rs > - E c_p c_q E c_r c_s < F_pq > < F_rs >  in one.

Masks of different inputs are independent, or one (`Noise.shared`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from math import prod
from typing import Any

import sympy as sp

from resexpand.network.operation import X
from resexpand.network.resnet import ResNet
from resexpand.network.steps import Step
from resexpand.theory.one_loop.affine import Parameters

MOST = 4
"""Powers of a mask that a covariance of features holds."""


def is_mask(step: Step) -> bool:
    """Whether a map multiplies every entry by a random number of its own, and does nothing else."""
    if step.contracts or len(step.op.noise) != 1 or step.op.averages:
        return False
    factor = sp.cancel(step.op.expression / X)
    return step.op.noise[0].over == "neurons" and not factor.has(X)


def mask_of(before: Sequence[Step]) -> Step | None:
    """Return the mask that stands directly in front of a linear operation, if one does."""
    return before[-1] if before and is_mask(before[-1]) else None


def without_masks(net: ResNet) -> ResNet:
    """Return the network without the masks that stand directly in front of linear operations."""

    def kept(steps: Sequence[Step], end: bool) -> list[Any]:
        return [
            step.op
            for step, after in zip_longest(steps, steps[1:])
            if not (is_mask(step) and (end if after is None else after.contracts))
        ]

    branches = tuple(type(branch)(*kept(branch.steps, end=False)) for branch in net.branches)
    head = None if net.head_ops is None else tuple(kept(net.head, end=True))
    return net.altered(branches=branches, head_ops=head)


def moments(mask: Step, parameters: Parameters) -> list[sp.Expr]:
    """Return ``E c^k`` for ``k = 1 ... 4``."""
    (noise,) = mask.op.noise
    at = parameters(mask)
    factor = sp.cancel(mask.op.expression / X)
    outcomes = [(factor.xreplace({noise.symbol: v}), chance) for v, chance in noise.outcomes]
    return [
        sp.Add(*(chance * value**k for value, chance in outcomes)).xreplace(at)
        for k in range(1, MOST + 1)
    ]


def together(inputs: Sequence[int], powers: Sequence[Any], *, shared: bool) -> Any:
    """Return the average of a product of masks, one of each of these inputs.

    Parameters
    ----------
    inputs : sequence of int
        The inputs, with repetitions.
    powers : sequence
        `moments`, as expressions or arrays.
    shared : bool
        Whether all inputs have one mask.
    """
    counts = [len(inputs)] if shared else Counter(inputs).values()
    return prod(powers[count - 1] for count in counts)
