"""How each kind of response at finite width is read off the expansion of columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.numbers.one_loop.columns import Columns
from resexpand.numbers.one_loop.expansion import Expansion, expansion
from resexpand.numbers.one_loop.points import MEMORY
from resexpand.numbers.one_loop.tables import Site, Tables, entry_index
from resexpand.numbers.one_loop.tangents import with_tangents

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Expanded:
    """A response to order 1/N: value at infinite width, shift of the mean, variance."""

    value: Array
    shift: Array
    variance: Array

    @property
    def relative(self) -> Array:
        """Variance in units of the square; 0 of what is zero."""
        square = self.value**2
        return np.divide(self.variance, square, out=np.zeros_like(square), where=square != 0)

    def mapped(self, change: Callable[[Array], Array]) -> Expanded:
        """Return it with all arrays changed alike."""
        return Expanded(*(change(getattr(self, field.name)) for field in fields(self)))

    def last(self) -> Expanded:
        """Return what stands at the last layer."""
        return self.mapped(lambda array: array[:, -1])


Found = tuple[dict[str, Expanded], dict[str, Array], Array, float]
"""Responses, other arrays, the validity ``(G, L + 1)``, and the relative error of averages."""


def _started(tables: Tables, columns: Columns, start: Array) -> Tables:
    """Return tables whose tangents all begin at layer 0."""
    return with_tangents(tables, columns, start, np.zeros(start.shape[:2], dtype=int))


def _of_stream(found: Expansion, tables: Tables, entry: int, pair: tuple[int, int]) -> Expanded:
    """Return an entry of the kernels that are measured on N neurons."""
    value = tables.stream[..., pair[0], pair[1]]
    spread = np.diagonal(found.arrays["G_cov"][:, :, entry, :, entry], axis1=1, axis2=2)
    return Expanded(value, found.arrays["K_mean"][..., entry], spread)


def _of_read_outs(
    found: Expansion, tables: Tables, columns: Columns, pair: tuple[int, int], read_out: bool
) -> Expanded:
    """Return an entry of the Gram matrix of a read-out after each layer."""
    entry = entry_index(columns.count)[pair]
    weights = tables.sites[tables.probe].weights
    factor = (weights[:, -1:] if read_out else 1.0) / weights
    value = tables.gram_of(tables.probe)[..., pair[0], pair[1]]
    spread = np.diagonal(found.arrays["C_cov"][:, :, entry, :, entry], axis1=1, axis2=2)
    return Expanded(factor * value, factor * found.arrays["C_mean"][..., entry], factor**2 * spread)


def _scaled(response: Expanded, factor: float) -> Expanded:
    return Expanded(factor * response.value, factor * response.shift, factor**2 * response.variance)


def _variance(tables: Tables, read_out: bool) -> Found:
    """Return ``chi^{l,0}`` and ``eta^l``: ``2 h.v`` of the tangent ``h^0/(2 K^0)``."""
    columns, start = Columns(2, 1), np.zeros((tables.scales.shape[0], 2, 2))
    start[:, 0, 1] = start[:, 1, 0] = 0.5
    start[:, 1, 1] = 0.25 / tables.stream[:, 0, 0, 0]
    own = _started(tables, columns, start)
    found = expansion(own, places=own.read_outs)
    kernel = _of_stream(found, own, 0, (0, 0))
    chi = _scaled(_of_stream(found, own, 1, (0, 1)), 2.0)
    eta = _scaled(_of_read_outs(found, own, columns, (0, 1), read_out), 2.0)
    validity = np.maximum(kernel.relative, np.maximum(chi.relative, eta.relative))
    others = {"K": kernel.value, "chi_0_cov": 4 * found.arrays["G_cov"][:, :, 1, :, 1]}
    return {"chi_0": chi, "eta_layers": eta, "eta": eta.last()}, others, validity, found.error


def _tangent(tables: Tables, read_out: bool) -> Found:
    """Return ``|v^l|^2/|v^0|^2`` of a random tangent, and what a read-out makes of it."""
    columns, start = Columns(2), np.zeros((tables.scales.shape[0], 2, 2))
    start[:, 1, 1] = 1.0
    own = _started(tables, columns, start)
    found = expansion(own, places=own.read_outs)
    kernel, square = _of_stream(found, own, 0, (0, 0)), _of_stream(found, own, 2, (1, 1))
    spread = found.arrays["G_cov"][:, :, 2, :, 2]
    # The quotient by |v^0|^2, which is independent of it and has the relative variance 2/N.
    spread = spread - 2 * square.value[:, :, None] * square.value[:, None, :]
    ratio = replace(square, variance=np.diagonal(spread, axis1=1, axis2=2))
    eta = _of_read_outs(found, own, columns, (1, 1), read_out)
    validity = np.maximum(kernel.relative, np.maximum(square.relative, eta.relative))
    responses = {"tangent": ratio, "eta_layers": eta, "eta": eta.last()}
    return responses, {"K": kernel.value, "tangent_cov": spread}, validity, found.error


def _by_layer(
    tables: Tables, of: Callable[[Tables, NDArray[np.intp]], tuple[Expanded, Tables, Expansion]]
) -> tuple[Expanded, Array, float]:
    """Return responses to every layer, ``(G, L + 1, ...)``, the validity of the kernel, the error.

    Parameters
    ----------
    tables : Tables
        Of one input.
    of : callable
        Takes tables of repeated points, and the layer at which the tangent of each begins.
    """
    points, blocks = tables.scales.shape
    step = max(1, MEMORY // (8 * (blocks * 3 * len(tables.sites)) ** 2 * points))
    parts: list[Expanded] = []
    error, validity = 0.0, np.zeros((points, blocks))
    for first in range(0, blocks, step):
        layers = np.arange(first, min(first + step, blocks))
        response, own, found = of(repeated(tables, layers.size), np.tile(layers, points))
        error = max(error, found.error)
        parts.append(response.mapped(lambda a: a.reshape((points, -1, *a.shape[1:]))))
        validity = _of_stream(found, own, 0, (0, 0)).relative[:: layers.size]
    names = [f.name for f in fields(Expanded)]
    whole = Expanded(*(np.concatenate([getattr(p, n) for p in parts], axis=1) for n in names))
    return whole, validity, error


def _gradient(tables: Tables, read_out: bool) -> Found:
    """Return ``|p^l|^2`` from tangents that begin at layer l, and the ratio of its ends."""
    columns = Columns(2)

    def of(many: Tables, layers: NDArray[np.intp]) -> tuple[Expanded, Tables, Expansion]:
        start = np.zeros((layers.size, 2, 2))
        start[:, 1, 1] = 1.0
        own = with_tangents(many, columns, start, np.stack([0 * layers, layers], axis=1))
        found = expansion(own, places=own.read_outs)
        return _of_read_outs(found, own, columns, (1, 1), read_out).last(), own, found

    gradient, validity, error = _by_layer(tables, of)
    ratio, wrong = _ratio_of_ends(tables)
    validity = np.maximum(validity, gradient.relative)
    return {"gradient": gradient, "ratio": ratio}, {}, validity, max(error, wrong)


def _layers(tables: Tables, read_out: bool) -> Found:
    """Return ``chi^{l,m}``: ``2 h^l.v^l/N`` of the tangent ``h^m/(2 K^m)`` that begins at m."""
    columns = Columns(2, 1)

    def of(many: Tables, layers: NDArray[np.intp]) -> tuple[Expanded, Tables, Expansion]:
        factor = 0.5 / many.stream[np.arange(layers.size), layers, 0, 0]
        begun = np.stack([0 * layers, layers], axis=1)
        own = with_tangents(many, columns, np.zeros((layers.size, 2, 2)), begun, factor)
        found = expansion(own, places=own.read_outs)
        after = np.arange(many.last.size) >= layers[:, None]
        chi = _scaled(_of_stream(found, own, 1, (0, 1)), 2.0)
        return chi.mapped(lambda array: np.where(after, array, 0.0)), own, found

    chi, validity, error = _by_layer(tables, of)
    chi = chi.mapped(lambda array: array.swapaxes(1, 2))
    return {"chi": chi}, {}, np.maximum(validity, chi.relative.max(axis=2)), error


def _ratio_of_ends(tables: Tables) -> tuple[Expanded, float]:
    """Return ``|p^0|^2/|p^L|^2`` from two tangents that begin at the first and the last layer.

    For independent normals v and v', ``E |p^0|^2 |p^L|^2 = E C_vv C_v'v' + 2 E C_vv'^2``.
    """
    points, blocks = tables.scales.shape
    columns, index = Columns(3), entry_index(3)
    start = np.repeat(np.diag([0.0, 1.0, 1.0])[None], points, axis=0)
    begun = np.tile([0, 0, blocks - 1], (points, 1))
    own = with_tangents(tables, columns, start, begun)
    found = expansion(own, places=own.read_outs)
    entries = [index[1, 1], index[2, 2]]
    value = own.gram_of(own.probe)[:, -1, [1, 2], [1, 2]]
    shift = found.arrays["C_mean"][:, -1, entries] / value
    spread = found.arrays["C_cov"][:, -1, :, -1]
    variance = spread[:, entries, entries] / value**2
    mixed = spread[:, entries[0], entries[1]] + 2 * spread[:, index[1, 2], index[1, 2]]
    mixed /= value[:, 0] * value[:, 1]
    ratio = value[:, 0] / value[:, 1]
    mean = ratio * (shift[:, 0] - shift[:, 1] + variance[:, 1] - mixed)
    return Expanded(ratio, mean, ratio**2 * (variance.sum(axis=1) - 2 * mixed)), found.error


def _parameters(tables: Tables, read_out: bool) -> Found:
    """Return the tangent kernel: the tangent along independent copies of all parameters."""
    columns = Columns(2, trained=True)
    start = np.zeros((tables.scales.shape[0], 2, 2))
    start[:, 1, 1] = tables.stream[:, 0, 0, 0]
    own = _started(tables, columns, start)
    found = expansion(own, places=own.read_outs)
    kernel = _of_stream(found, own, 0, (0, 0))
    ntk = _of_read_outs(found, own, columns, (1, 1), read_out).last()
    if not read_out:
        # The next block stands in for it, whose bias it does not have.
        first = tables.sites[tables.probe]
        ntk = replace(ntk, value=ntk.value - first.biases[:, -1] / first.weights[:, -1])
    validity = np.maximum(kernel.relative, ntk.relative[:, None])
    return {"ntk": ntk}, {}, validity, found.error


def _step(tables: Tables, read_out: bool) -> Found:
    """Return what one step of training changes, all parameters or those of the blocks moving.

    With two tangents ``w, w'`` along copies of the parameters, and ``x`` that of the first along
    the second, sums over parameters become averages over their copies; given all but the read-out
    the output moves along them by normals with the covariance ``C_ww'`` of its Gram matrix:

        E y (h.q) = N Cov(C_hw, G_hw),            q = sum_theta (dy/dtheta) (dh/dtheta),
        E |q|^2 = N Cov(C_ww', G_ww'),            E h.(d^2h along q) = N Cov(C_ww', G_hx).
    """
    columns = Columns(4, trained=True, bent=True)
    weights = tables.sites[tables.probe].weights[:, -1]
    factor = np.ones_like(weights) if read_out else 1 / weights
    others: dict[str, Array] = {}
    for suffix, begun in (("", tables.stream[:, 0, 0, 0]), ("_blocks", 0.0)):
        start = np.zeros((tables.scales.shape[0], 4, 4))
        start[:, 1, 1] = start[:, 2, 2] = begun
        own = _started(tables, columns, start)
        found = expansion(own, places=own.read_outs, means=False)
        met = factor[:, None, None, None] * found.arrays["CG_cov"][:, -1]
        for name, times, output, stream in STEPS:
            entries = entry_index(columns.count)
            others[f"{name}{suffix}"] = times * met[:, entries[output], :, entries[stream]]
    spread = np.diagonal(found.arrays["G_cov"][:, :, 0, :, 0], axis1=1, axis2=2)
    return {}, others, spread / tables.stream[..., 0, 0] ** 2, found.error


STEPS = (
    ("drift", -2, (0, 1), (0, 1)),
    ("moved", 1, (1, 2), (1, 2)),
    ("bent", 1, (1, 2), (0, 3)),
)
"""Parts of a step: name, factor, and the entries of the output and of the stream that meet."""

KINDS: Mapping[str, Callable[[Tables, bool], Found]] = {
    "variance": _variance,
    "layers": _layers,
    "tangent": _tangent,
    "gradient": _gradient,
    "parameters": _parameters,
    "step": _step,
}
"""How each kind of response is computed."""


def repeated(tables: Tables, count: int) -> Tables:
    """Return tables with every point several times in a row."""

    def of(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return np.repeat(value, count, axis=0)
        if isinstance(value, dict):
            return {name: of(array) for name, array in value.items()}
        if isinstance(value, tuple):
            return tuple(of(part) for part in value)
        if isinstance(value, Site):
            return replace(value, **{f.name: of(getattr(value, f.name)) for f in fields(value)})
        return value

    whole = {name: of(getattr(tables, name)) for name in ("sites", "gram", "scales")}
    return replace(tables, **whole)
