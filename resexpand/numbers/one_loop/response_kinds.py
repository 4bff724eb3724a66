"""How each kind of response at finite width is read off the expansion of columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.numbers.one_loop.columns import Columns
from resexpand.numbers.one_loop.expansion import expansion
from resexpand.numbers.one_loop.points import MEMORY
from resexpand.numbers.one_loop.sources import Sources, sources
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


@dataclass(frozen=True)
class Followed:
    """An input and its tangents, followed through the network to order 1/N."""

    tables: Tables
    arrays: dict[str, Array]
    error: float

    @classmethod
    def of(
        cls,
        tables: Tables,
        columns: Columns,
        start: Array,
        begun: NDArray[np.intp] | None = None,
        factor: Array | None = None,
        known: Sources | None = None,
    ) -> Followed:
        """Return those of tangents that begin at layer 0, or at others; see `with_tangents`.

        With sources that are known already, of C alone.
        """
        layers = np.zeros(start.shape[:2], dtype=int) if begun is None else begun
        own = with_tangents(tables, columns, start, layers, factor)
        streams = known is None
        means = not columns.bent
        found = expansion(own, places=own.read_outs, means=means, streams=streams, known=known)
        return cls(own, found.arrays, found.error)

    def spread(self, name: str, p: int, q: int) -> Array:
        """Return the covariances between layers of an entry."""
        entry = entry_index(self.tables.inputs)[p, q]
        return self.arrays[name][:, :, entry, :, entry]

    def _read(self, value: Array, names: tuple[str, str], p: int, q: int, factor: Any) -> Expanded:
        shift = self.arrays[names[0]][..., entry_index(self.tables.inputs)[p, q]]
        spread = np.diagonal(self.spread(names[1], p, q), axis1=1, axis2=2)
        return Expanded(factor * value[..., p, q], factor * shift, factor**2 * spread)

    def stream(self, p: int, q: int, factor: float = 1.0) -> Expanded:
        """Return an entry of the kernels that are measured on N neurons."""
        return self._read(self.tables.stream, ("K_mean", "G_cov"), p, q, factor)

    def read_outs(self, p: int, q: int, read_out: bool, times: float = 1.0) -> Expanded:
        """Return an entry of the Gram matrix of a read-out after each layer."""
        weights = self.tables.sites[self.tables.probe].weights
        factor = times * (weights[:, -1:] if read_out else 1.0) / weights
        gram = self.tables.gram_of(self.tables.probe)
        return self._read(gram, ("C_mean", "C_cov"), p, q, factor)

    def validity(self, *responses: Expanded) -> Array:
        """Return N times the relative variance, of the kernel or of responses, the largest."""
        parts = [self.stream(0, 0).relative, *(response.relative for response in responses)]
        return np.asarray(reduce(np.maximum, parts))


def _variance(tables: Tables, read_out: bool) -> Found:
    """Return ``chi^{l,0}`` and ``eta^l``: ``2 h.v`` of the tangent ``h^0/(2 K^0)``."""
    start = np.zeros((tables.scales.shape[0], 2, 2))
    start[:, 0, 1] = start[:, 1, 0] = 0.5
    start[:, 1, 1] = 0.25 / tables.stream[:, 0, 0, 0]
    found = Followed.of(tables, Columns(2, 1), start)
    chi, eta = found.stream(0, 1, 2.0), found.read_outs(0, 1, read_out, 2.0)
    others = {"K": found.stream(0, 0).value, "chi_0_cov": 4 * found.spread("G_cov", 0, 1)}
    responses = {"chi_0": chi, "eta_layers": eta, "eta": eta.last()}
    return responses, others, found.validity(chi, eta), found.error


def _tangent(tables: Tables, read_out: bool) -> Found:
    """Return ``|v^l|^2/|v^0|^2`` of a random tangent, and what a read-out makes of it."""
    start = np.zeros((tables.scales.shape[0], 2, 2))
    start[:, 1, 1] = 1.0
    found = Followed.of(tables, Columns(2), start)
    square, eta = found.stream(1, 1), found.read_outs(1, 1, read_out)
    # The quotient by |v^0|^2, which is independent of it and has the relative variance 2/N.
    spread = found.spread("G_cov", 1, 1) - 2 * square.value[:, :, None] * square.value[:, None, :]
    ratio = replace(square, variance=np.diagonal(spread, axis1=1, axis2=2))
    responses = {"tangent": ratio, "eta_layers": eta, "eta": eta.last()}
    others = {"K": found.stream(0, 0).value, "tangent_cov": spread}
    return responses, others, found.validity(square, eta), found.error


def _by_layer(
    tables: Tables, of: Callable[[Tables, NDArray[np.intp]], tuple[Expanded, float]]
) -> tuple[Expanded, float]:
    """Return responses to every layer, ``(G, L + 1, ...)``, and their error.

    Parameters
    ----------
    tables : Tables
        Of one input.
    of : callable
        Takes tables of repeated points, and layers, each one once for every point.
    """
    points, blocks = tables.scales.shape
    step = max(1, MEMORY // (8 * (blocks * 3 * len(tables.sites)) ** 2 * points))
    parts: list[Expanded] = []
    error = 0.0
    for first in range(0, blocks, step):
        layers = np.arange(first, min(first + step, blocks))
        response, wrong = of(repeated(tables, layers.size), layers)
        error = max(error, wrong)
        parts.append(response.mapped(lambda a: a.reshape((points, -1, *a.shape[1:]))))
    names = [f.name for f in fields(Expanded)]
    return Expanded(*(np.concatenate([getattr(p, n) for p in parts], axis=1) for n in names)), error


def _gradient(tables: Tables, read_out: bool) -> Found:
    """Return ``|p^l|^2`` from tangents that begin at layer l, and the ratio of its ends.

    A tangent that begins at layer m is that of layer 0 in units of its length there: sources are
    computed once.
    """
    points = tables.scales.shape[0]
    start = np.zeros((points, 2, 2))
    start[:, 1, 1] = 1.0
    whole = with_tangents(tables, Columns(2), start, np.zeros((points, 2), dtype=int))
    shared, lengths = sources(whole), whole.stream[..., 1, 1]

    def of(many: Tables, layers: NDArray[np.intp]) -> tuple[Expanded, float]:
        begun = np.tile(layers, points)
        places = np.stack([0 * begun, begun], axis=1)
        known = _restarted(shared, lengths, layers)
        found = Followed.of(
            many, Columns(2), np.repeat(start, layers.size, axis=0), places, known=known
        )
        return found.read_outs(1, 1, read_out).last(), found.error

    gradient, error = _by_layer(tables, of)
    ratio, found = _ratio_of_ends(tables)
    responses = {"gradient": gradient, "ratio": ratio}
    return responses, {}, found.validity(gradient), max(error, found.error)


def _restarted(shared: Sources, lengths: Array, layers: NDArray[np.intp]) -> Sources:
    """Return the sources of tangents that begin at layers with length one, from that of layer 0.

    Parameters
    ----------
    shared : Sources
        Of a tangent that begins at layer 0, independent of the input.
    lengths : ndarray, shape (G, B)
        Its squared length at every layer.
    layers : ndarray of int, shape (m,)
        Where the tangents begin.
    """
    blocks = lengths.shape[1]
    # Factors of hh, hv, vv; an entry with a tangent is zero before it begins.
    units = lengths[:, layers, None] ** (-0.5 * np.arange(3))
    begun = (np.arange(blocks) >= layers[:, None])[..., None] | (np.arange(3) == 0)
    factors = units[:, :, None] * begun

    def of(array: Array, own: Array) -> Array:
        """Multiply by factors of what is in front, and of the earlier variable."""
        early = np.tile(factors, array.shape[-1] // 3)
        found = (
            array[:, None]
            * own
            * early.reshape((*early.shape[:2], *(1,) * (array.ndim - 3), blocks, -1))
        )
        return np.asarray(found.reshape((-1, *array.shape[1:])))

    late = np.tile(factors, shared.covariance.shape[2] // 3)[..., None, None]
    moved = (factors[..., :, None] / units[:, :, None, None, :])[..., None, None]
    return Sources(
        of(shared.covariance, late),
        {pair: of(array, moved) for pair, array in shared.conditioning.items()},
        shared.error,
    )


def _layers(tables: Tables, read_out: bool) -> Found:
    """Return ``chi^{l,m}``: ``2 h^l.v^l/N`` of the tangent ``h^m/(2 K^m)`` that begins at m."""

    def of(many: Tables, layers: NDArray[np.intp]) -> tuple[Expanded, float]:
        own = np.tile(layers, tables.scales.shape[0])
        factor = 0.5 / many.stream[np.arange(own.size), own, 0, 0]
        begun = np.stack([0 * own, own], axis=1)
        found = Followed.of(many, Columns(2, 1), np.zeros((own.size, 2, 2)), begun, factor)
        after = np.arange(many.last.size) >= own[:, None]
        chi = found.stream(0, 1, 2.0).mapped(lambda array: np.where(after, array, 0.0))
        return chi, found.error

    chi, error = _by_layer(tables, of)
    chi = chi.mapped(lambda array: array.swapaxes(1, 2))
    kernel = Followed.of(tables, Columns(1), np.zeros((tables.scales.shape[0], 1, 1)))
    validity = np.maximum(kernel.validity(), chi.relative.max(axis=2))
    return {"chi": chi}, {}, validity, error


def _ratio_of_ends(tables: Tables) -> tuple[Expanded, Followed]:
    """Return ``|p^0|^2/|p^L|^2`` from two tangents that begin at the first and the last layer.

    For independent normals v and v', ``E |p^0|^2 |p^L|^2 = E C_vv C_v'v' + 2 E C_vv'^2``.
    """
    points, blocks = tables.scales.shape
    start = np.repeat(np.diag([0.0, 1.0, 1.0])[None], points, axis=0)
    found = Followed.of(tables, Columns(3), start, np.tile([0, 0, blocks - 1], (points, 1)))
    first, last = (found.read_outs(k, k, True).last() for k in (1, 2))
    index, spread = entry_index(3), found.arrays["C_cov"][:, -1, :, -1]
    mixed = spread[:, index[1, 1], index[2, 2]] + 2 * spread[:, index[1, 2], index[1, 2]]
    mixed /= first.value * last.value
    ratio = first.value / last.value
    shift = first.shift / first.value - last.shift / last.value + last.relative - mixed
    variance = first.relative + last.relative - 2 * mixed
    return Expanded(ratio, ratio * shift, ratio**2 * variance), found


def _parameters(tables: Tables, read_out: bool) -> Found:
    """Return the tangent kernel: the tangent along independent copies of all parameters."""
    start = np.zeros((tables.scales.shape[0], 2, 2))
    start[:, 1, 1] = tables.stream[:, 0, 0, 0]
    found = Followed.of(tables, Columns(2, trained=True), start)
    ntk = found.read_outs(1, 1, read_out).last()
    if not read_out:
        # The next block stands in for it, whose bias it does not have.
        first = tables.sites[tables.probe]
        ntk = replace(ntk, value=ntk.value - first.biases[:, -1] / first.weights[:, -1])
    validity = np.maximum(found.validity(), ntk.relative[:, None])
    return {"ntk": ntk}, {}, validity, found.error


def _step(tables: Tables, read_out: bool) -> Found:
    """Return what one step of training changes, all parameters or those of the blocks moving.

    With two tangents ``w, w'`` along copies of the parameters, and ``x`` that of the first along
    the second, sums over parameters become averages over their copies; given all but the read-out
    the output moves along them by normals with the covariance ``C_ww'`` of its Gram matrix:

        E y (h.q) = N Cov(C_hw, G_hw),            q = sum_theta (dy/dtheta) (dh/dtheta),
        E |q|^2 = N Cov(C_ww', G_ww'),            E h.(d^2h along q) = N Cov(C_ww', G_hx).

    The output, its derivatives along w and w', and the second one are jointly normal, too, so that
    the tangent kernel changes by ``sum_ij y y_i y_j y_ij``, with the mean of three pairs of C:

        E y (sum_i y_i dTheta/dtheta_i) = 2 [2 Cov(C_hw, C_w'x) + Cov(C_hx, C_ww')].
    """
    weights = tables.sites[tables.probe].weights[:, -1]
    factor, entries = np.ones_like(weights) if read_out else 1 / weights, entry_index(4)
    others: dict[str, Array] = {}
    for suffix, begun in (("", tables.stream[:, 0, 0, 0]), ("_blocks", 0.0)):
        start = np.zeros((tables.scales.shape[0], 4, 4))
        start[:, 1, 1] = start[:, 2, 2] = begun
        found = Followed.of(tables, Columns(4, 2 if suffix else 3, trained=True, bent=True), start)
        met = factor[:, None, None, None] * found.arrays["CG_cov"][:, -1]
        for name, times, output, stream in STEPS:
            others[f"{name}{suffix}"] = times * met[:, entries[output], :, entries[stream]]
        if not suffix:
            own = factor[:, None, None] ** 2 * found.arrays["C_cov"][:, -1, :, -1]
            pairs = own[:, entries[0, 1], entries[2, 3]], own[:, entries[1, 2], entries[0, 3]]
            others["ntk_drift"] = -2 * (2 * pairs[0] + pairs[1])
    spread = np.diagonal(found.spread("G_cov", 0, 0), axis1=1, axis2=2)
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
