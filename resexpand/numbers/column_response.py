"""Responses and gradients of coupled columns as numbers: derivatives of blocks, multiplied."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.binding import Point
from resexpand.codegen.memory import require_memory
from resexpand.codegen.schedule import chosen_names
from resexpand.codegen.values import Values
from resexpand.errors import HyperparameterError
from resexpand.network.linear import Linear
from resexpand.network.positions import inputs_of
from resexpand.numbers.batch_blocks import Change, kernels_by_block, shared_statistics
from resexpand.numbers.batch_moments import is_exchangeable
from resexpand.numbers.column_pieces import Health, Sharing
from resexpand.numbers.columns import ON_THE_HOST, gathered, with_change
from resexpand.numbers.request import Request
from resexpand.theory.column_response import OUTPUTS, ColumnResponse

Array = NDArray[np.float64]

FEWER = "give dK0=, a change of K0, and leave chi out; take fewer columns or blocks"


def evaluate_column_response(theory: ColumnResponse, asked: Request) -> Values:
    """Return the responses of all columns, ``K0`` of shape ``(..., n, n)``.

    Raises
    ------
    HyperparameterError, KernelError
        If the hyperparameters do not fit.
    UnsupportedError
        If there is no such response, or on another target.
    """
    asked.require_host("responses of coupled columns", ON_THE_HOST, "numpy")
    base, net = theory.base, theory.net
    names = _chosen(theory, asked.outputs, asked.given.get("dK0") is not None)
    point, step = with_change(base, asked.given)
    if net.positions:
        inputs_of(point.kernel, math.prod(net.positions))
    health = Health()
    sharing = shared_statistics(net, point)
    basis = _basis(theory, point, sharing) if step is None else None
    _require_room(names, point, 1 if basis is None else len(basis.rows))
    # Directions stand in front of the grid, or of the repetitions of lattice rules.
    units = basis.masks if basis is not None else np.asarray(step)[None]
    units = units.reshape(len(units), *(1,) * max(len(point.grid), 1), *units.shape[-2:])
    ended = net if net.read_out is not None else net.altered(read_out=Linear(1, 0))
    tangent = theory.kind != "covariance"
    change = Change(units, tangent, step is None)
    blocks = kernels_by_block(ended, point, sharing, health, change)
    first = 0 if sharing.many else sharing.trained or 0
    values = _of_change(blocks) if basis is None else _of_tensors(blocks, names, basis, first)
    return gathered({name: values[name] for name in names}, point, health, base.citations)


def _chosen(
    theory: ColumnResponse, outputs: str | Iterable[str] | None, directed: bool
) -> tuple[str, ...]:
    """Return the names asked for; the response between all layers only where it is asked for."""
    names = OUTPUTS[theory.kind]
    if theory.kind == "gradient" and directed:
        raise HyperparameterError(
            "dK0 of gradients",
            "they start at the outputs",
            'use evaluate(response(net, "tangent"), K0=..., dK0=...), or leave it out',
        )
    names = tuple(n for n in names if n != "chi") if directed else names
    if outputs is None:
        return tuple(n for n in names if n != "chi")
    return chosen_names(outputs, names, "the response of all columns")


def _require_room(names: tuple[str, ...], point: Point, directions: int) -> None:
    """Raise if the changes of all layers would not fit into memory."""
    size, layers = point.kernel.shape[-1], point.depth + 1
    entries = directions * size**2 * layers
    if "chi" in names:
        entries += size**4 * layers**2
    bytes_needed = 32 * math.prod(point.grid) * entries
    require_memory(f"responses of {size} columns", bytes_needed, FEWER)


@dataclass(frozen=True)
class Basis:
    """Directions in the space of symmetric matrices: disjoint sets of entries that change alike.

    Attributes
    ----------
    masks : ndarray, shape (m, n, n)
        One where a set has entries.
    rows, columns : ndarray, shape (m,)
        An entry of every set.
    """

    masks: Array
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]

    @property
    def sizes(self) -> Array:
        """Number of entries of every set."""
        return np.asarray(self.masks.sum(axis=(1, 2)))

    def matrix(self, entries: Array) -> Array:
        """Return the matrices that have these entries, shape (..., m), on the sets."""
        return np.tensordot(entries, self.masks, 1)

    def tensor(self, coordinates: Array) -> Array:
        """Return the tensor of four indices of a map of coordinates, shape (..., m, m)."""
        inner = np.moveaxis(self.matrix(coordinates / self.sizes), -3, -1)
        return np.moveaxis(self.matrix(inner), (-2, -1), (-4, -3))


def _basis(theory: ColumnResponse, point: Point, sharing: Sharing) -> Basis:
    """Return all entries; for gradients of inputs that are alike, three sets of them."""
    size = point.kernel.shape[-1]
    alike = theory.kind == "gradient" and not theory.net.positions and not point.grid
    if alike and sharing.size and is_exchangeable(point.kernel, sharing.size):
        group = np.arange(size) // sharing.size
        same, own = group[:, None] == group, np.eye(size, dtype=bool)
        listed = [mask for mask in (own, same & ~own, ~same) if mask.any()]
        firsts = [np.argwhere(mask)[0] for mask in listed]
        return Basis(np.array(listed, dtype=float), *np.array(firsts).T)
    rows, columns = np.triu_indices(size)
    masks = np.zeros((len(rows), size, size))
    places = np.arange(len(rows))
    masks[places, rows, columns] = masks[places, columns, rows] = 1.0
    return Basis(masks, rows, columns)


def _of_change(blocks: dict[str, Array]) -> dict[str, Array]:
    """Return the outputs of one change, repetitions or the grid in front of the layers."""
    chi, eta = blocks["dK"][:, 0], blocks["dC"][-1, 0]
    return {"chi_0": np.moveaxis(chi, 0, -3), "eta": eta, "K": np.moveaxis(blocks["K"], 0, -3)}


def _of_tensors(
    blocks: dict[str, Array], names: tuple[str, ...], basis: Basis, first: int
) -> dict[str, Array]:
    """Return the outputs put together from the derivatives of all blocks.

    `first` is the first column whose output counts in gradients.
    """
    sizes, rows, columns = basis.sizes, basis.rows, basis.columns
    values = {"K": np.moveaxis(blocks["K"], 0, -3)}
    steps = [np.moveaxis(d[..., rows, columns], 0, -1) for d in blocks["dK"][1:]]
    end = np.moveaxis(blocks["dC"][-1][..., rows, columns], 0, -1)
    if "gradient" in names:
        # Outputs of training are not those of an evaluation.
        seen = np.where((rows >= first) & (columns >= first), sizes, 0.0)
        moments = [seen @ end]
        for step in reversed(steps):
            moments.append(np.einsum("...i,...ij->...j", moments[-1], step))
        values["gradient"] = np.stack([basis.matrix(m / sizes) for m in moments[::-1]], axis=-3)
    identity = np.broadcast_to(np.eye(len(rows)), end.shape)
    through = [identity]
    for step in steps if "gradient" not in names else ():
        through.append(step @ through[-1])
    if "chi_0" in names:
        values["chi_0"] = np.stack([basis.tensor(t) for t in through], axis=-5)
    if "eta" in names:
        values["eta"] = basis.tensor(end @ through[-1])
    if "chi" in names:
        values["chi"] = _between_layers(steps, identity, basis)
    return values


def _between_layers(steps: list[Array], unit: Array, basis: Basis) -> Array:
    """Return the response of every layer to every one before it."""
    layers, size = len(steps) + 1, basis.masks.shape[-1]
    chi = np.zeros((*unit.shape[:-2], layers, layers, *(size,) * 4))
    for start in range(layers):
        moved = unit
        for layer in range(start, layers):
            moved = steps[layer - 1] @ moved if layer > start else moved
            chi[..., layer, start, :, :, :, :] = basis.tensor(moved)
    return chi
