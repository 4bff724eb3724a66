"""Constant factors behind an activation: they enlarge the variance of the weights that follow.

Factors in front of an activation change its function, and are maps of the draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resexpand.network.branch import is_many
from resexpand.network.operation import Operation, X
from resexpand.network.resnet import ResNet
from resexpand.network.steps import Step
from resexpand.theory.one_loop.masks import is_mask


def folded(net: ResNet) -> ResNet:
    """Return the network whose linear operations take up the factors between activation and them.

    Networks whose read-out would take one up, but is not there, stay as they are.
    """
    branches = tuple(type(b)(*_folded(b.steps)) for b in net.branches)
    if net.read_out is None:
        stays = branches == net.branches or net.head_ops is not None or len(net.shapes.steps) > 1
        return net if stays else net.altered(branches=branches)
    *head, read_out = _folded((*net.head, Step(-1, net.read_out, 0, "_out", None)))
    if branches == net.branches and read_out == net.read_out:
        return net
    return net.altered(branches=branches, head_ops=tuple(head), read_out=read_out)


def _folded(steps: Sequence[Step]) -> list[Any]:
    """Return the operations of some steps without these factors."""
    done: list[Any] = []
    waiting: list[Operation] = []
    follows = False
    for step in steps:
        if step.contracts:
            op = step.op
            for factor in waiting:
                op = _times(op, factor.values[0])
            done.append(op)
            waiting, follows = [], False
        elif follows and _is_factor(step.op):
            waiting.append(step.op)
        else:
            # Masks commute with factors; nothing else may stand between.
            if waiting and not is_mask(step):
                done, waiting = [*done, *waiting], []
            follows = step.label is not None or (follows and is_mask(step))
            done.append(step.op)
    return [*done, *waiting]


def _is_factor(op: Any) -> bool:
    """Whether a map multiplies by its only parameter, and does nothing else."""
    return len(op.parameters) == 1 and bool(op.expression == op.parameters[0].symbol * X)


def _times(op: Operation, factor: Any) -> Operation:
    """Return a contraction of a larger weight variance; either may have one value per block."""
    weight, *rest = op.values
    if not (is_many(weight) or is_many(factor)):
        return op.with_values((factor**2 * weight, *rest))
    blocks = len(weight if is_many(weight) else factor)
    weights, factors = (v if is_many(v) else (v,) * blocks for v in (weight, factor))
    return op.with_values((tuple(c**2 * w for w, c in zip(weights, factors, strict=True)), *rest))
