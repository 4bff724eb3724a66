"""The kernel of any batch, carried through the operations of every block as a matrix.

A block is cut in front of every normalisation over the batch: what lies between two cuts is a
network of its own, without skip connection, whose kernel the pair recursion gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.codegen.binding import Point
from resexpand.codegen.routine import compile_routine
from resexpand.network.batch_norm import EPS
from resexpand.network.linear import Linear
from resexpand.network.noise import Outcomes
from resexpand.network.operation import Operation, X
from resexpand.network.resnet import Branch, ResNet
from resexpand.network.values import value_of
from resexpand.numbers.batch_moments import Psi, moments_of
from resexpand.theory.mean_field import kernel
from resexpand.theory.noise import images

Array = NDArray[np.float64]


def kernels_by_block(net: ResNet, point: Point, size: int) -> dict[str, Array]:
    """Return the kernels of the stream and of the last `Linear` of every block.

    Parameters
    ----------
    net : ResNet
    point : Point
        Its numbers, and the kernel at layer 0, shape (B, B).
    size : int
        Inputs that share statistics.

    Returns
    -------
    dict
        ``"K"`` and ``"C"``, shape (L + 1, n, B, B), n the repetitions of lattice rules.
    """
    depth = point.depth
    scales = net.scales(depth)
    skip = float(value_of(net.skip, point.symbols))
    stream, found, covariances = point.kernel[None], [point.kernel[None]], []
    for block in range(1, depth + 2):
        last = block > depth
        if last and net.read_out is not None:
            ops: tuple[Operation, ...] = (*(step.op for step in net.head), net.read_out)
        else:
            ops = (net.next_block if last else net.block(block)).ops
        numbers = tuple(with_numbers(op, point) for op in ops)
        covariance, out = _through(numbers, stream, size, block)
        covariances.append(covariance)
        if not last:
            stream = skip**2 * stream + float(value_of(scales[block - 1], point.symbols)) ** 2 * out
            found.append(stream)
    return {"K": _stacked(found), "C": _stacked(covariances)}


def with_numbers(op: Operation, point: Point) -> Operation:
    """Return an operation with numbers in place of symbols."""
    numbers = (sp.Float(float(value_of(v, point.symbols)), 17) for v in op.values)
    return op.with_values(tuple(numbers)) if op.values else op


def _stacked(layers: list[Array]) -> Array:
    most = max(len(layer) for layer in layers)
    return np.stack([np.broadcast_to(layer, (most, *layer.shape[1:])) for layer in layers])


def _through(ops: Sequence[Operation], kernels: Array, size: int, seed: int) -> tuple[Array, Array]:
    """Return the covariance behind the last `Linear`, and what the branch makes of the batch."""
    covariance, place = kernels, 0
    while place < len(ops):
        rest = ops[place:]
        cut = next((k for k, op in enumerate(rest) if _is_batch(op)), len(rest))
        if cut:
            kernels = _plain(tuple(rest[:cut]), kernels)
            place += cut
        else:
            behind = next((k for k, op in enumerate(rest) if op.contracts), len(rest))
            psi = _composed(tuple(rest[1:behind]))
            eps = float(rest[0].by_symbol[EPS])
            kernels = moments_of(psi, kernels, eps, size, 1000 * seed + place)
            place += behind
            kernels = _contracted(ops[place], kernels)
            place += 1
        if any(op.contracts for op in ops[:place]):
            covariance = kernels
    return covariance, kernels


def _is_batch(op: Operation) -> bool:
    return not op.contracts and getattr(op, "over", "") == "batch"


def _contracted(op: Operation, moments: Array) -> Array:
    weight, bias = (float(value) for value in op.values)
    return np.asarray(weight * moments + bias)


@lru_cache(maxsize=64)
def _composed(ops: tuple[Operation, ...]) -> Psi:
    """Return maps one behind the other as one function."""
    functions: Outcomes = ((X, sp.Integer(1)),)
    for op in ops:
        at = op.by_symbol
        functions = images(op, functions, at)  # type: ignore[arg-type]
    return Psi.of(functions)


def _plain(ops: tuple[Operation, ...], kernels: Array) -> Array:
    """Return what operations without averages over the batch make of Gaussian kernels."""
    if len(ops) == 1 and ops[0].contracts:
        return _contracted(ops[0], kernels)
    ended = ops if ops[-1].contracts else (*ops, Linear(1, 0))
    net = ResNet(Branch(*ended), scale=1, depth=1, skip=0)
    return np.asarray(compile_routine(kernel(net, inputs=2), "cpu", ["K"])(K0=kernels)["K"][:, 1])
