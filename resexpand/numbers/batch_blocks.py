"""The kernel of coupled columns, carried through the operations of every block as a matrix.

A block is cut at every operation that couples columns, over a batch or over positions: what lies
between two cuts is a network of its own, without skip connection, whose kernel the pair recursion
gives. What couples positions states its map of matrices itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.codegen.binding import Point
from resexpand.codegen.routine import Routine, compile_routine
from resexpand.codegen.values import Values
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.network.batch_norm import EPS
from resexpand.network.linear import Linear
from resexpand.network.noise import Outcomes
from resexpand.network.operation import Operation, X
from resexpand.network.resnet import Branch, ResNet
from resexpand.network.values import Symbols, value_of
from resexpand.numbers.batch_moments import Psi, moments_of
from resexpand.theory.differentiation import jacobian
from resexpand.theory.kernel import kernel
from resexpand.theory.noise import images
from resexpand.theory.recursion import Output

Array = NDArray[np.float64]


@dataclass
class Health:
    """Health of the numbers of all pieces: summed error, and problems once each."""

    error: float = 0.0
    problems: list[str] = field(default_factory=list)

    def note(self, values: Values) -> None:
        """Add the relative errors of quadratures, and problems once each."""
        self.error += max(values.quadrature_error.values(), default=0.0)
        self.problems += [text for text in values.problems if text not in self.problems]


def one_by_one(asked: str) -> HyperparameterError:
    """Return the common error of a grid of kernels whose averages are taken for one value."""
    return HyperparameterError(
        asked, "averages over the batch are taken for one value", "loop over the values"
    )


def common_size(sizes: set[int]) -> int:
    """Return the one size of the batches of a network.

    Raises
    ------
    UnsupportedError
        If there are several.
    """
    if len(sizes) > 1:
        raise UnsupportedError(
            f"ghost batches of {' and '.join(map(str, sorted(sizes)))} in one network",
            "the kernel is known where all normalisations share their batches",
            "use one ghost= for all",
        )
    return next(iter(sizes))


@dataclass(frozen=True)
class Moving:
    """Second moments of columns, and their change where one is followed."""

    value: Array
    change: Array | None = None

    def scaled(self, factor: Array) -> Moving:
        """Return them times a number."""
        return Moving(factor * self.value, None if self.change is None else factor * self.change)

    def plus(self, other: Moving) -> Moving:
        """Return the sum of both."""
        if self.change is None or other.change is None:
            return Moving(self.value + other.value)
        return Moving(self.value + other.value, self.change + other.change)


def kernels_by_block(
    net: ResNet,
    point: Point,
    size: int,
    health: Health,
    change: Array | None = None,
    trained: int | None = None,
) -> dict[str, Array]:
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
    change : ndarray, shape (..., B, B), optional
        Change of the kernel at layer 0, whose effect is followed to first order.
    trained : int, optional
        Columns that have statistics, where those behind meet their averages.

    Returns
    -------
    dict
        ``"K"`` and ``"C"``, shape (L + 1, n, B, B), n the repetitions of lattice rules; or
        (L + 1, ..., B, B) over a grid. With a change also ``"dK"`` and ``"dC"``.
    """
    depth, walk = point.depth, Walk(point.symbols, size, health, trained)
    scales = net.scales(depth)
    skip = _entrywise(value_of(net.skip, walk.symbols))
    leading = point.grid or (1,)
    start = np.broadcast_to(point.kernel, (*leading, *point.kernel.shape[-2:]))
    stream = Moving(start, None if change is None else np.broadcast_to(change, start.shape))
    found, covariances = [stream], []
    for block in range(1, depth + 2):
        last = block > depth
        if last and net.read_out is not None:
            ops: tuple[Operation, ...] = (*(step.op for step in net.head), net.read_out)
        else:
            ops = (net.next_block if last else net.block(block)).ops
        covariance, out = _through(ops, stream, walk, block)
        covariances.append(covariance)
        if not last:
            scale = _entrywise(value_of(scales[block - 1], walk.symbols))
            stream = stream.scaled(skip**2).plus(out.scaled(scale**2))
            for step in net.post:
                stream = _plain((step.op,), stream, walk)
            found.append(stream)
    layers = {"K": found, "C": covariances}
    values = {name: _stacked([s.value for s in own]) for name, own in layers.items()}
    if change is None:
        return values
    moved = {n: [s.change for s in own if s.change is not None] for n, own in layers.items()}
    return values | {f"d{name}": _stacked(own) for name, own in moved.items()}


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
    """State of all blocks: values of symbols, columns of one batch, and the health so far."""

    symbols: Symbols
    size: int
    health: Health
    trained: int | None = None


def _through(
    ops: Sequence[Operation], kernels: Moving, walk: Walk, seed: int
) -> tuple[Moving, Moving]:
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
            given = walk.size, 1000 * seed + place, walk.trained
            moments = moments_of(psi, kernels.value, eps, *given)
            place += behind
            kernels = covariance = _contracted(ops[place], Moving(moments), walk.symbols)
            place += 1
    return covariance, kernels


def _contracted(op: Any, moments: Moving, symbols: Symbols) -> Moving:
    """Return the second moments behind one contraction, or one coupling of positions."""
    at = [value_of(value, symbols) for value in op.values]
    value, change = moments.value, moments.change
    if op.over == "positions":
        moved = None if change is None else op.gram_moved(value, change, at)
        return Moving(np.asarray(op.gram(value, at)), moved)
    weight, bias = map(_entrywise, at)
    return Moving(weight * value + bias, None if change is None else weight * change)


@lru_cache(maxsize=64)
def _composed(ops: tuple[Operation, ...]) -> Psi:
    """Return maps one behind the other as one function."""
    functions: Outcomes = ((X, sp.Integer(1)),)
    for op in ops:
        at = op.by_symbol
        functions = images(op, functions, at)  # type: ignore[arg-type]
    return Psi.of(functions)


def _plain(ops: tuple[Operation, ...], kernels: Moving, walk: Walk) -> Moving:
    """Return what operations that couple no columns make of Gaussian kernels."""
    if len(ops) == 1 and ops[0].contracts:
        return _contracted(ops[0], kernels, walk.symbols)
    net = _as_block(ops)
    names = {symbol.name for symbol in net.free_symbols}
    given = {s.name: v for s, v in walk.symbols.items() if s.name in names}
    values = _routine(ops)(K0=kernels.value, **given)
    walk.health.note(values)
    found = np.asarray(values["K"][..., 1, :, :])
    if kernels.change is None:
        return Moving(found)
    return Moving(found, _moved(ops, kernels.value, kernels.change, given, walk))


def _moved(
    ops: tuple[Operation, ...], value: Array, change: Array, given: dict[str, Array], walk: Walk
) -> Array:
    """Return the change behind operations that couple no columns, entry by entry.

    An entry depends on itself and on the variances of its two columns.
    """
    pair, own = _slopes(ops)
    size = value.shape[-1]
    rows, columns = np.triu_indices(size, 1)
    moved = np.empty(value.shape)
    diagonal = np.arange(size)
    shaped = {name: v[..., None] for name, v in given.items()}
    variances = value[..., diagonal, diagonal]
    slope = own(K0=variances, **shaped)
    walk.health.note(slope)
    moved[..., diagonal, diagonal] = slope["slope"][..., 0] * change[..., diagonal, diagonal]
    if size > 1:
        entries = [(rows, rows), (rows, columns), (columns, rows), (columns, columns)]
        pairs = np.stack([value[..., i, j] for i, j in entries], axis=-1)
        slopes = pair(K0=pairs.reshape(*pairs.shape[:-1], 2, 2), **shaped)
        walk.health.note(slopes)
        moved[..., rows, columns] = sum(
            slopes[name][..., 0] * change[..., i, j]
            for name, (i, j) in zip(SLOPES, (entries[0], entries[1], entries[3]), strict=True)
        )
        moved[..., columns, rows] = moved[..., rows, columns]
    return moved


SLOPES = ("slope_11", "slope_12", "slope_22")
"""Derivatives of the entry of a pair by the entries of its kernel."""


@lru_cache(maxsize=64)
def _as_block(ops: tuple[Operation, ...]) -> ResNet:
    """Return operations as the one block of a network."""
    ended = ops if ops[-1].contracts else (*ops, Linear(1, 0))
    return ResNet(Branch(*ended), scale=1, depth=1, skip=0)


@lru_cache(maxsize=64)
def _routine(ops: tuple[Operation, ...]) -> Routine:
    """Return the routine of operations as one block."""
    return compile_routine(kernel(_as_block(ops), inputs=2), "cpu", ["K"])


@lru_cache(maxsize=64)
def _slopes(ops: tuple[Operation, ...]) -> tuple[Routine, Routine]:
    """Return the routines of the derivatives of operations: of a pair, and of one column."""
    routines = []
    for inputs, row, names in ((2, 1, SLOPES), (1, 0, ("slope",))):
        base = kernel(_as_block(ops), inputs)
        slopes = jacobian(base)[row, :]
        outputs = (Output(n, "layer", (s,), (s,)) for n, s in zip(names, slopes, strict=True))
        routines.append(compile_routine(replace(base, outputs=tuple(outputs)), "cpu", names))
    return routines[0], routines[1]
