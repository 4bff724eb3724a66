"""What the operations of a branch make of second moments of coupled columns, as a matrix.

A branch is cut at every operation that couples columns, over a batch or over positions: what lies
between two cuts is a network of its own, without skip connection, whose kernel the pair recursion
gives. What couples positions states its map of matrices itself. Changes to first order travel
along: of the kernel, or Gram matrices of tangents that are independent of the stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.codegen.routine import Routine, compile_routine
from resexpand.codegen.values import Values
from resexpand.network.batch_norm import EPS
from resexpand.network.linear import Linear
from resexpand.network.noise import Outcomes
from resexpand.network.operation import Operation, X
from resexpand.network.resnet import Branch, ResNet
from resexpand.network.steps import without_noise
from resexpand.network.values import Symbols, value_of
from resexpand.numbers.batch_changes import Batch, moved_moments
from resexpand.numbers.batch_moments import Psi, exchangeable_averages, moments_of
from resexpand.numbers.many_batches import normalised_tests, with_training
from resexpand.numbers.moving import Moving, beside
from resexpand.theory.differentiation import jacobian
from resexpand.theory.kernel import kernel, mean_kernel
from resexpand.theory.noise import Columns, images
from resexpand.theory.recursion import Output
from resexpand.theory.response import response

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


@dataclass(frozen=True)
class Sharing:
    """Which columns share statistics of normalisations over the batch.

    Attributes
    ----------
    size : int
        Columns of one batch, 0 without normalisations.
    trained : int or None
        Columns that have statistics of their own, where those behind meet their averages.
    many : bool
        Whether the first two batches stand for infinitely many alike.
    """

    size: int = 0
    trained: int | None = None
    many: bool = False


@dataclass(frozen=True)
class Walk:
    """State of all blocks: values of symbols, who shares statistics, and the health so far.

    `tangent`: whether changes are Gram matrices of tangents.
    """

    symbols: Symbols
    sharing: Sharing
    health: Health
    tangent: bool = False


def with_numbers(op: Operation, symbols: Symbols) -> Operation:
    """Return an operation with numbers in place of symbols."""
    numbers = (sp.Float(float(value_of(v, symbols)), 17) for v in op.values)
    return op.with_values(tuple(numbers)) if op.values else op


def entrywise(value: Array) -> Array:
    """Return numbers over a grid so that they multiply matrices over it."""
    return value[..., None, None]


def through(
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
                kernels = plain(tuple(piece), kernels, walk)
                covariance = kernels if piece[-1].contracts else covariance
            place += cut
        elif rest[0].over == "positions":
            kernels = _contracted(rest[0], kernels, walk)
            covariance = kernels if rest[0].contracts else covariance
            place += 1
        else:
            behind = next((k for k, op in enumerate(rest) if op.contracts), len(rest))
            numbers = tuple(with_numbers(op, walk.symbols) for op in rest[:behind])
            kernels = _normalised(numbers, kernels, 1000 * seed + place, walk)
            place += behind
            # A gate needs the contraction in front of it: both are one plain piece.
            if not any(getattr(op, "gates", None) for op in ops[place + 1 : place + 2]):
                kernels = covariance = _contracted(ops[place], kernels, walk)
                place += 1
    return covariance, kernels


def _normalised(ops: tuple[Operation, ...], kernels: Moving, seed: int, walk: Walk) -> Moving:
    """Return the second moments behind a normalisation over the batch and the maps that follow."""
    psi, eps = _composed(ops[1:]), float(ops[0].by_symbol[EPS])
    if walk.sharing.many:
        alone = replace(walk, sharing=Sharing(walk.sharing.size))
        return _by_many(ops, psi, eps, kernels, alone)
    value, change = kernels.value, kernels.change
    size, trained = walk.sharing.size, walk.sharing.trained
    moments = moments_of(psi, value, eps, size, seed, trained)
    if change is None:
        return Moving(moments)
    batch = Batch(eps, size, seed, trained or value.shape[-1], walk.tangent)
    return Moving(moments, moved_moments(psi, value, change, batch))


def _by_many(
    ops: tuple[Operation, ...], psi: Psi, eps: float, kernels: Moving, walk: Walk
) -> Moving:
    """Return the moments of two of many batches, and of inputs that meet their statistics."""
    size, cut = walk.sharing.size, 2 * walk.sharing.size
    train = kernels.part(slice(cut), slice(cut))
    still = None if train.change is None else np.zeros_like(train.change)
    moments = Moving(moments_of(psi, train.value, eps, size, 0), still)
    inner = normalised_tests(kernels, size, eps)
    clean = without_noise(ops[1:])
    test = plain(clean, inner, walk) if clean else inner
    spread = float(train.value[0, 0, 0] - train.value[0, 0, 1])
    mean = exchangeable_averages(psi, spread, eps, size).mean
    return beside(moments, test, with_training(psi, inner, mean, cut, walk.tangent))


def _contracted(op: Any, moments: Moving, walk: Walk) -> Moving:
    """Return the second moments behind one contraction, or one coupling of positions."""
    at = [value_of(value, walk.symbols) for value in op.values]
    value, change = moments.value, moments.change
    if op.over == "positions":
        move = _of_tangents if walk.tangent else type(op).gram_moved
        moved = None if change is None else move(op, value, change, at)
        return Moving(np.asarray(op.gram(value, at)), moved)
    weight, bias = map(entrywise, at)
    return Moving(weight * value + bias, None if change is None else weight * change)


def _of_tangents(op: Any, value: Array, change: Array, at: Sequence[Array]) -> Array:
    """Return what a coupling of positions makes of the Gram matrix of tangents.

    It is the response of the block between two copies of all inputs, where these are equal.
    """
    size = value.shape[-1]
    twice = np.tile(value, (1,) * (value.ndim - 2) + (2, 2))
    between = np.zeros((*change.shape[:-2], 2 * size, 2 * size))
    between[..., :size, size:], between[..., size:, :size] = change, change.swapaxes(-1, -2)
    moved: Array = op.gram_moved(twice, between, at)
    return moved[..., :size, size:]


@lru_cache(maxsize=64)
def _composed(ops: tuple[Operation, ...]) -> Psi:
    """Return maps one behind the other as one function."""
    functions: Outcomes = ((X, sp.Integer(1)),)
    clean: Outcomes = functions
    for op in ops:
        at = op.by_symbol
        functions = images(op, functions, at)  # type: ignore[arg-type]
        if without_noise((op,)):
            clean = images(op, clean, at)  # type: ignore[arg-type]
    return Psi.of(functions, clean[0][0])


def plain(ops: tuple[Operation, ...], kernels: Moving, walk: Walk) -> Moving:
    """Return what operations that couple no columns make of Gaussian kernels."""
    if len(ops) == 1 and ops[0].contracts:
        return _contracted(ops[0], kernels, walk)
    if walk.sharing.trained is not None and len(clean := without_noise(ops)) < len(ops):
        return _with_evaluation(ops, clean, kernels, walk)
    given = _named(ops, walk)
    values = _routine(ops)(K0=kernels.value, **given)
    walk.health.note(values)
    value = np.asarray(values["K"][..., 1, :, :])
    if kernels.change is None:
        return Moving(value)
    return Moving(value, _moved(ops, kernels, given, walk))


def _named(ops: tuple[Operation, ...], walk: Walk) -> dict[str, Array]:
    """Return the values of the symbols of operations by name."""
    names = {symbol.name for symbol in _as_block(ops).free_symbols}
    return {s.name: v for s, v in walk.symbols.items() if s.name in names}


def _with_evaluation(
    ops: tuple[Operation, ...], clean: tuple[Operation, ...], kernels: Moving, walk: Walk
) -> Moving:
    """Return what operations make of columns that meet masks, and of those behind that do not."""
    cut, size = walk.sharing.trained or 0, kernels.value.shape[-1]
    alike = replace(walk, sharing=Sharing())
    train = plain(ops, kernels.part(slice(cut), slice(cut)), alike)
    test = kernels.part(slice(cut, None), slice(cut, None))
    test = plain(clean, test, alike) if clean else test
    rows, columns = (grid.ravel() for grid in np.mgrid[:cut, cut:size])
    entries = _entries(ops, kernels, (rows, columns), _named(ops, walk), walk, "test")
    across = [
        None if one is None else one.reshape(*one.shape[:-1], cut, size - cut)
        for one in (entries.value, entries.change)
    ]
    return beside(train, test, Moving(*across))  # type: ignore[arg-type]


def _entries(
    ops: tuple[Operation, ...],
    kernels: Moving,
    places: tuple[Any, Any],
    given: dict[str, Array],
    walk: Walk,
    columns: Columns = "inputs",
) -> Moving:
    """Return entries off the diagonal behind operations, and their change.

    An entry depends on itself and on the variances of its two columns.
    """
    i, j = places
    entries = [(i, i), (i, j), (j, i), (j, j)]
    pairs = np.stack([kernels.value[..., a, b] for a, b in entries], axis=-1)
    shaped = {name: v[..., None] for name, v in given.items()}
    routine = _slopes(ops, columns)[0]
    values = routine(K0=pairs.reshape(*pairs.shape[:-1], 2, 2), **shaped)
    walk.health.note(values)
    value = np.asarray(values["entry"][..., 0])
    if kernels.change is None:
        return Moving(value)
    by = zip(SLOPES, (entries[0], entries[1], entries[3]), strict=True)
    # A tangent that is independent of the stream leaves the variances as they are.
    kept = [(n, at) for n, at in by if n == SLOPES[1] or not walk.tangent]
    moved = [values[n][..., 0] * kernels.change[..., a, b] for n, (a, b) in kept]
    return Moving(value, np.asarray(sum(moved)))


def _moved(
    ops: tuple[Operation, ...], kernels: Moving, given: dict[str, Array], walk: Walk
) -> Array:
    """Return the change behind operations that couple no columns, entry by entry."""
    value, change = kernels.value, np.asarray(kernels.change)
    size = value.shape[-1]
    rows, columns = np.triu_indices(size, 1)
    diagonal = np.arange(size)
    shaped = {name: v[..., None] for name, v in given.items()}
    own = _own_tangent(ops) if walk.tangent else _slopes(ops)[1]
    slope = own(K0=value[..., diagonal, diagonal], **shaped)
    walk.health.note(slope)
    factor = slope["chi_0"][..., 1] if walk.tangent else slope["slope"][..., 0]
    moved = np.empty(np.broadcast_shapes(change.shape, value.shape))
    moved[..., diagonal, diagonal] = factor * change[..., diagonal, diagonal]
    if size > 1:
        apart = _entries(ops, kernels, (rows, columns), given, walk).change
        moved[..., rows, columns] = moved[..., columns, rows] = apart
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
def _slopes(ops: tuple[Operation, ...], kept: Columns = "inputs") -> tuple[Routine, Routine]:
    """Return the routines of the derivatives of operations: of a pair, and of one column."""
    block, routines = _as_block(ops), []
    for inputs, row, names in ((2, 1, SLOPES), (1, 0, ("slope",))):
        base = mean_kernel(block, kept if inputs == 2 else "inputs", inputs)
        slopes = dict(zip(names, jacobian(base)[row, :], strict=True))
        slopes |= {"entry": base.flat_update[row]}
        outputs = tuple(Output(n, "layer", (s,), (s,)) for n, s in slopes.items())
        routines.append(compile_routine(replace(base, outputs=outputs), "cpu", tuple(slopes)))
    return routines[0], routines[1]


@lru_cache(maxsize=64)
def _own_tangent(ops: tuple[Operation, ...]) -> Routine:
    """Return the routine of the growth of a tangent at one column."""
    return compile_routine(response(_as_block(ops), "tangent"), "cpu", ["chi_0"])
