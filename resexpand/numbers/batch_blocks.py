"""The kernel of coupled columns, carried through the operations of every block as a matrix.

A block is cut at every operation that couples columns, over a batch or over positions: what lies
between two cuts is a network of its own, without skip connection, whose kernel the pair recursion
gives. What couples positions states its map of matrices itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.codegen.binding import Point
from resexpand.codegen.routine import Routine, compile_routine
from resexpand.codegen.values import Values
from resexpand.network.batch_norm import EPS
from resexpand.network.linear import Linear
from resexpand.network.noise import Outcomes
from resexpand.network.operation import Operation, X
from resexpand.network.resnet import Branch, ResNet
from resexpand.network.values import Symbols, value_of
from resexpand.numbers.batch_moments import Psi, moments_of
from resexpand.theory.mean_field import kernel
from resexpand.theory.noise import images

Array = NDArray[np.float64]


@dataclass
class Health:
    """What the pieces of a network say about their numbers."""

    error: float = 0.0
    problems: list[str] = field(default_factory=list)

    def note(self, values: Values) -> None:
        """Add the relative errors of quadratures, and problems once each."""
        self.error += max(values.quadrature_error.values(), default=0.0)
        self.problems += [text for text in values.problems if text not in self.problems]


def kernels_by_block(net: ResNet, point: Point, size: int, health: Health) -> dict[str, Array]:
    """Return the kernels of the stream and of the last `Linear` of every block.

    Parameters
    ----------
    net : ResNet
    point : Point
        Its numbers, and the kernel at layer 0, shape (..., B, B): one where a batch is normalised,
        and any number of these over positions.
    size : int
        Columns that share statistics.
    health : Health
        Takes note of quadratures and problems.

    Returns
    -------
    dict
        ``"K"`` and ``"C"``, shape (L + 1, n, B, B), n the repetitions of lattice rules; or
        (L + 1, ..., B, B) over a grid.
    """
    depth, symbols = point.depth, point.symbols
    scales = net.scales(depth)
    skip = _entrywise(value_of(net.skip, symbols))
    leading = point.grid or (1,)
    stream = np.broadcast_to(point.kernel, (*leading, *point.kernel.shape[-2:]))
    found, covariances = [stream], []
    for block in range(1, depth + 2):
        last = block > depth
        if last and net.read_out is not None:
            ops: tuple[Operation, ...] = (*(step.op for step in net.head), net.read_out)
        else:
            ops = (net.next_block if last else net.block(block)).ops
        covariance, out = _through(ops, stream, Walk(symbols, size, health), block)
        covariances.append(covariance)
        if not last:
            scale = _entrywise(value_of(scales[block - 1], symbols))
            stream = skip**2 * stream + scale**2 * out
            for step in net.post:
                stream = _plain((step.op,), stream, Walk(symbols, size, health))
            found.append(stream)
    return {"K": _stacked(found), "C": _stacked(covariances)}


def with_numbers(op: Operation, symbols: Symbols) -> Operation:
    """Return an operation with numbers in place of symbols."""
    numbers = (sp.Float(float(value_of(v, symbols)), 17) for v in op.values)
    return op.with_values(tuple(numbers)) if op.values else op


def _entrywise(value: Array) -> Array:
    """Return numbers over a grid so that they multiply matrices over it."""
    return value[..., None, None]


def _stacked(layers: list[Array]) -> Array:
    shape = np.broadcast_shapes(*(layer.shape for layer in layers))
    return np.stack([np.broadcast_to(layer, shape) for layer in layers])


@dataclass(frozen=True)
class Walk:
    """What all blocks share: values of symbols, columns of one batch, and the health so far."""

    symbols: Symbols
    size: int
    health: Health


def _through(
    ops: Sequence[Operation], kernels: Array, walk: Walk, seed: int
) -> tuple[Array, Array]:
    """Return the covariance behind the last contraction, and what the branch makes of columns."""
    covariance, place = kernels, 0
    while place < len(ops):
        rest = ops[place:]
        cut = next((k for k, op in enumerate(rest) if op.over != "neurons"), len(rest))
        if cut:
            last = max((k for k, op in enumerate(rest[:cut], 1) if op.contracts), default=0)
            for piece in filter(None, (rest[:last], rest[last:cut])):
                kernels = _plain(tuple(piece), kernels, walk)
                covariance = kernels if piece[-1].contracts else covariance
            place += cut
        elif rest[0].over == "positions":
            kernels = _contracted(rest[0], kernels, walk.symbols)
            covariance = kernels if rest[0].contracts else covariance
            place += 1
        else:
            behind = next((k for k, op in enumerate(rest) if op.contracts), len(rest))
            numbers = tuple(with_numbers(op, walk.symbols) for op in rest[:behind])
            psi = _composed(numbers[1:])
            eps = float(numbers[0].by_symbol[EPS])
            kernels = moments_of(psi, kernels, eps, walk.size, 1000 * seed + place)
            place += behind
            kernels = covariance = _contracted(ops[place], kernels, walk.symbols)
            place += 1
    return covariance, kernels


def _contracted(op: Any, moments: Array, symbols: Symbols) -> Array:
    """Return the second moments behind one contraction, or one coupling of positions."""
    at = [value_of(value, symbols) for value in op.values]
    if op.over == "positions":
        return np.asarray(op.gram(moments, at))
    weight, bias = at
    return np.asarray(_entrywise(weight) * moments + _entrywise(bias))


@lru_cache(maxsize=64)
def _composed(ops: tuple[Operation, ...]) -> Psi:
    """Return maps one behind the other as one function."""
    functions: Outcomes = ((X, sp.Integer(1)),)
    for op in ops:
        at = op.by_symbol
        functions = images(op, functions, at)  # type: ignore[arg-type]
    return Psi.of(functions)


def _plain(ops: tuple[Operation, ...], kernels: Array, walk: Walk) -> Array:
    """Return what operations that couple no columns make of Gaussian kernels."""
    if len(ops) == 1 and ops[0].contracts:
        return _contracted(ops[0], kernels, walk.symbols)
    routine, names = _routine(ops)
    given = {s.name: v for s, v in walk.symbols.items() if s.name in names}
    values = routine(K0=kernels, **given)
    walk.health.note(values)
    return np.asarray(values["K"][..., 1, :, :])


@lru_cache(maxsize=64)
def _routine(ops: tuple[Operation, ...]) -> tuple[Routine, frozenset[str]]:
    """Return the routine of operations as one block, and the names it needs."""
    ended = ops if ops[-1].contracts else (*ops, Linear(1, 0))
    net = ResNet(Branch(*ended), scale=1, depth=1, skip=0)
    names = frozenset(symbol.name for symbol in net.free_symbols)
    return compile_routine(kernel(net, inputs=2), "cpu", ["K"]), names
