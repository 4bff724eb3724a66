"""The kernel of coupled columns, carried through every block as a matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.binding import Point
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.network.batch_norm import EPS, GHOST, is_running, require_batch, training_inputs
from resexpand.network.operation import Map, Operation
from resexpand.network.resnet import ResNet
from resexpand.network.values import value_of
from resexpand.numbers.batch_moments import is_exchangeable
from resexpand.numbers.column_pieces import Health, Sharing, Walk, entrywise, plain, through
from resexpand.numbers.moving import Moving, beside

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """A change at layer 0, or several on the first axis, whose effect is followed to first order.

    Attributes
    ----------
    value : ndarray, shape (..., n, n)
        Further axes of it broadcast to the grid.
    tangent : bool
        Whether it is a Gram matrix of tangents, not a change of the kernel.
    restart : bool
        Whether every block meets it anew, instead of what became of it.
    """

    value: Array
    tangent: bool = False
    restart: bool = False


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


def shared_statistics(net: ResNet, point: Point) -> Sharing:
    """Return which columns share the statistics of normalisations.

    Raises
    ------
    HyperparameterError, UnsupportedError
        If normalisations differ in this, or eps spans a grid.
    KernelError
        If a batch has no variance to normalise by.
    """
    maps = [op for branch in net.kinds for op in (*branch.maps, *(net.head_ops or ()))]
    norms = [op for op in maps if isinstance(op, Map) and op.over == "batch"]
    if not norms:
        return Sharing()
    common_size({int(op.by_symbol[GHOST]) for op in norms})
    count = point.kernel.shape[-1]
    for op in norms:
        eps = value_of(op.by_symbol[EPS], point.symbols)
        if eps.ndim:
            raise one_by_one(f"eps of shape {eps.shape}")
        flags = float(op.by_symbol[GHOST]), float(is_running(op))
        require_batch(op, (float(eps), *flags), point.kernel)
    size, trained = int(norms[0].by_symbol[GHOST]) or count, training_inputs(norms[0], count)
    if not is_running(norms[0]):
        return Sharing(size)
    if trained < count:
        return Sharing(size, trained)
    if net.positions or not is_exchangeable(point.kernel, count):
        raise UnsupportedError(
            "running statistics of these columns",
            "those of many batches are known for exchangeable inputs",
            "give K0 with one variance and one covariance, or ghost= and K0 of m*ghost + t inputs: "
            "m batches, and 0 < t < ghost inputs of an evaluation",
        )
    return Sharing(size, 2 * size, many=True)


LATTICE = "averages over the batch by a lattice rule: relative error of {name} {error:.1g}"


def mean_of_repetitions(name: str, repeated: Array) -> tuple[Array, float, list[str]]:
    """Return the mean over the repetitions of lattice rules, on the first axis, and its error."""
    mean: Array = repeated.mean(axis=0)
    if len(repeated) == 1:
        return mean, 0.0, []
    scale = np.abs(mean).max(axis=(-2, -1), keepdims=True)
    spread = repeated.std(axis=0, ddof=1) / np.sqrt(len(repeated))
    error = 3 * float((spread / np.maximum(scale, 1e-300)).max())
    return mean, error, [LATTICE.format(name=name, error=error)]


def kernels_by_block(
    net: ResNet, point: Point, sharing: Sharing, health: Health, change: Change | None = None
) -> dict[str, Array]:
    """Return the kernels of the stream and of the last `Linear` of every block.

    Parameters
    ----------
    net : ResNet
    point : Point
        Its numbers, and the kernel at layer 0, shape (..., n, n): one where a batch is normalised,
        and any number of these over positions.
    sharing : Sharing
        Where many batches train, the kernel is that of the inputs of the evaluation.
    health : Health
        Takes note of quadratures and problems.
    change : Change, optional

    Returns
    -------
    dict
        ``"K"`` and ``"C"``, shape (L + 1, m, n, n), m the repetitions of lattice rules; or
        (L + 1, ..., n, n) over a grid. With a change also ``"dK"`` and ``"dC"``, several changes on
        the axis behind the layers.
    """
    if sharing.size and point.grid:
        raise one_by_one(f"a grid of shape {point.grid} of kernels of a normalised batch")
    tangent = change is not None and change.tangent
    depth, walk = point.depth, Walk(point.symbols, sharing, health, tangent)
    count = point.kernel.shape[-1]
    seen = slice(2 * sharing.size if sharing.many else 0, None)
    scales = net.scales(depth)
    skip = entrywise(value_of(net.skip, walk.symbols))
    leading = point.grid or (1,)
    start = np.broadcast_to(point.kernel, (*leading, count, count))
    stream = Moving(start, None if change is None else _fitted(change.value, start))
    if sharing.many:
        stream = _with_training(stream, sharing)
    streams, covariances = [stream], []
    for block in range(1, depth + 2):
        last = block > depth
        if last and net.read_out is not None:
            ops: tuple[Operation, ...] = (*(step.op for step in net.head), net.read_out)
        else:
            ops = (net.next_block if last else net.block(block)).ops
        covariance, out = through(ops, stream, walk, block)
        covariances.append(covariance)
        if not last:
            scale = entrywise(value_of(scales[block - 1], walk.symbols))
            stream = stream.scaled(skip**2).plus(out.scaled(scale**2))
            for step in net.post:
                stream = plain((step.op,), stream, walk)
            streams.append(stream)
            if change is not None and change.restart:
                stream = Moving(stream.value, streams[0].change)
    layers = {"K": streams, "C": covariances}
    layers = {name: [s.part(seen, seen) for s in own] for name, own in layers.items()}
    values = {name: _stacked([s.value for s in own]) for name, own in layers.items()}
    if change is None:
        return values
    moved = {n: [s.change for s in own if s.change is not None] for n, own in layers.items()}
    return values | {f"d{name}": _stacked(own) for name, own in moved.items()}


def _with_training(stream: Moving, sharing: Sharing) -> Moving:
    """Return two batches that stand for many, alike to the inputs of the evaluation behind them."""
    cut, size = sharing.trained or 0, sharing.size
    pair, own = stream.value[..., :1, 1:2], stream.value[..., :1, :1]
    leading = stream.value.shape[:-2]
    train = np.broadcast_to(pair, (*leading, cut, cut)) + (own - pair) * np.eye(cut)
    across = np.broadcast_to(pair, (*leading, cut, size))
    if stream.change is None:
        return beside(Moving(train), stream, Moving(across))
    front = stream.change.shape[:-2]
    still = np.zeros((*front, cut, cut)), np.zeros((*front, cut, size))
    return beside(Moving(train, still[0]), stream, Moving(across, still[1]))


def _fitted(change: Array, start: Array) -> Array:
    """Return a change over the grid of a kernel; axes in front of it stay."""
    return np.broadcast_to(change, np.broadcast_shapes(change.shape, start.shape))


def _stacked(layers: list[Array]) -> Array:
    shape = np.broadcast_shapes(*(layer.shape for layer in layers))
    return np.stack([np.broadcast_to(layer, shape) for layer in layers])
