r"""One-call plots: theory as lines, samples as points with error bars, comparisons with z-scores.

An array is drawn against its longest axis that has coordinates, the layers or a hyperparameter; its
other axes become curves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from resexpand.agreement.outcome import Agreement
from resexpand.codegen.values import Values
from resexpand.errors import UnsupportedError
from resexpand.export.dataset import agreement_dims, estimate_dims
from resexpand.export.figures import panels
from resexpand.export.figures.agreement import kernel_figure
from resexpand.export.figures.block_profile import draw_profile
from resexpand.export.figures.scales import scales_figure
from resexpand.export.figures.series import Profile
from resexpand.export.figures.style import HEIGHT, PALE, WIDTH, colour, house_style, marker
from resexpand.measure.block_profile import BlockProfile
from resexpand.montecarlo.statistics.estimate import Estimate, Estimates
from resexpand.network.quantities import quantity_of
from resexpand.numbers.scales.comparison import ScaleComparison
from resexpand.theory.latex_names import name_latex

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[np.float64]

FIRST = ("eta", "eta_layers", "NTK", "K_width", "rho", "K")
"""Default outputs of a figure of a theory: the first of these that has an axis."""

MOST_CURVES = 6
LETTERS = {"layer": "l", "depth": "L", "width": "N"}
INDICES = {"other_input": "input", "other_order": "order", "other_layer": "layer"}


class Drawing:
    """Curves of one array: where they are drawn, and what their axes mean.

    Parameters
    ----------
    name : str
        Key of the array.
    dims : tuple of str
        A name per axis.
    coordinates : mapping of str to ndarray
        Values along an axis, where they are not counted.
    shape : tuple of int
        Of the array.
    """

    def __init__(
        self,
        name: str,
        dims: tuple[str, ...],
        coordinates: Mapping[str, Array],
        shape: tuple[int, ...],
    ) -> None:
        self.name, self.dims, self.coordinates, self.shape = name, dims, coordinates, shape
        drawable = [k for k, dim in enumerate(dims) if dim == "layer" or dim in coordinates]
        if not drawable:
            raise UnsupportedError(
                f"a plot of {name!r}",
                "it has neither layers nor a hyperparameter given as an array",
                "give a hyperparameter as an array, or plot another array of the result",
            )
        self.axis = max(drawable, key=lambda k: (shape[k], dims[k] != "layer"))

    @property
    def x(self) -> Array:
        """Where the points of every curve stand."""
        return self._values(self.axis)

    def curves(self) -> Iterator[tuple[tuple[Any, ...], str]]:
        """Yield an index into the array and a label per curve, of a symmetric matrix once."""
        others = [k for k in range(len(self.dims)) if k != self.axis]
        places = [p for p in np.ndindex(*(self.shape[k] for k in others)) if self._once(others, p)]
        if len(places) > MOST_CURVES:
            spread = np.linspace(0, len(places) - 1, MOST_CURVES).round().astype(int)
            places = [places[k] for k in spread]
        for place in places:
            index: list[Any] = [slice(None)] * len(self.dims)
            for k, at in zip(others, place, strict=True):
                index[k] = at
            yield tuple(index), self._label(others, place)

    def decorate(self, axes: Axes, symbol: str) -> None:
        """Label the axes."""
        dim = self.dims[self.axis]
        if dim == "layer":
            panels.count_layers(axes)
        else:
            axes.set_xlabel(_math(dim))
        axes.set_ylabel(symbol)
        axes.margins(x=0.02)

    def _values(self, axis: int) -> Array:
        dim, size = self.dims[axis], self.shape[axis]
        if dim in self.coordinates:
            return np.asarray(self.coordinates[dim], dtype=float)
        return np.arange(size, dtype=float) + self._first(dim)

    def _first(self, dim: str) -> int:
        known = quantity_of(self.name)
        return known.first if "layer" in dim else known.lowest

    def _once(self, others: list[int], place: tuple[int, ...]) -> bool:
        """Whether a place is not the mirror image of another one; of orders their diagonal."""
        at = dict(zip((self.dims[k] for k in others), place, strict=True))
        if "other_order" in at:
            return at["other_order"] == at["order"]
        return all(at[one] >= at.get(INDICES[one], 0) for one in at if one in INDICES)

    def _label(self, others: list[int], place: tuple[int, ...]) -> str:
        shown = []
        indices = ""
        for k, at in zip(others, place, strict=True):
            dim = self.dims[k]
            if dim in self.coordinates or dim == "layer":
                letter = LETTERS.get(dim) or name_latex(dim)
                shown.append(rf"${letter} = {self._values(k)[at]:.4g}$")
            else:
                indices += str(at + self._first(dim))
        return ", ".join([*([indices] if indices else []), *shown])


def plot(result: Any, name: str | None = None, *, ax: Axes | None = None, **options: Any) -> Any:
    """Draw one of the arrays of a result.

    Parameters
    ----------
    result : Values, Estimate, Estimates, Agreement, BlockProfile or ScaleComparison
        What to draw.
    name : str, optional
        Key of the array; by default the one that says most.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of the house style.
    **options
        ``theory`` of samples: what `evaluate` returned, drawn as lines. ``title`` of a comparison:
        whether the verdict stands above it.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    UnsupportedError
        If the result or the array cannot be drawn.
    KeyError
        If there is no such array.
    """
    for kind, draw in _DRAWN.items():
        if isinstance(result, kind):
            with house_style():
                return draw(result, name, ax, **options)
    raise UnsupportedError(
        f"a plot of {type(result).__name__}",
        "it holds no arrays",
        "pass what evaluate, sample or compare returned",
    )


def _values(values: Values, name: str | None, ax: Axes | None) -> Any:
    key = _most_telling(values) if name is None else name
    drawing = _drawing_of(values, key)
    axes = ax or panels.canvas((WIDTH, 0.68 * HEIGHT)).subplots()
    _lines(axes, drawing, np.asarray(values[key]), named=True)
    _band(axes, drawing, values, key)
    return axes.figure


def _band(axes: Axes, drawing: Drawing, values: Values, key: str) -> None:
    """Draw one standard deviation from network to network, where the theory states it."""
    deviation = values.get(key.removesuffix("_width") + "_deviation")
    if not key.endswith("_width") or deviation is None:
        return
    middle, spread = np.asarray(values[key]), np.asarray(deviation)
    for k, (index, _) in enumerate(drawing.curves()):
        low, high = middle[index] - spread[index], middle[index] + spread[index]
        axes.fill_between(drawing.x, low, high, color=colour(k), alpha=PALE, lw=0, zorder=1)


def _drawing_of(values: Values, key: str) -> Drawing:
    varied, grid = values.axes.varied, values.axes.grid
    coordinates = {n: a.reshape(-1) for n, a in varied.items() if n in grid}
    return Drawing(key, values.dims(key), coordinates, np.shape(values[key]))


def _most_telling(values: Values) -> str:
    for key in (*FIRST, *values):
        if key in values and np.ndim(values[key]):
            return str(key)
    return next(iter(values))


def _lines(axes: Axes, drawing: Drawing, array: Array, *, named: bool) -> None:
    curves = list(drawing.curves())
    panels.log_if_wide(axes, [array[index] for index, _ in curves])
    for k, (index, _) in enumerate(curves):
        axes.plot(drawing.x, array[index], color=colour(k), zorder=2)
    drawing.decorate(axes, _symbol(drawing.name))
    if named:
        _name_curves(axes, [(array[index], label) for index, label in curves])


def _name_curves(axes: Axes, curves: list[tuple[Array, str]]) -> None:
    # Of several depths the curves of the shallower networks end earlier.
    if len(curves) > 1 and all(np.isfinite(curve).any() for curve, _ in curves):
        tones = [colour(k) for k in range(len(curves))]
        panels.name_curves(axes, [c for c, _ in curves], [label for _, label in curves], tones)


def _estimate(
    estimate: Estimate, name: str | None, ax: Axes | None, theory: Values | None = None
) -> Any:
    del name
    mean, error = np.asarray(estimate.mean), np.asarray(estimate.stderr)
    drawing = Drawing(estimate.name, estimate_dims(estimate.name, estimate), {}, mean.shape)
    axes = ax or panels.canvas((WIDTH, 0.68 * HEIGHT)).subplots()
    keys = (k for k in theory or () if estimate.name in quantity_of(k).observables)
    key = next(keys, "")
    if theory is not None and key:
        _lines(axes, _drawing_of(theory, key), np.asarray(theory[key]), named=False)
    curves = list(drawing.curves())
    if not key:
        panels.log_if_wide(axes, [mean[index] for index, _ in curves])
    for k, (index, _) in enumerate(curves):
        look = {"colour": colour(k), "marker": marker(k)}
        panels.errorbars(axes, drawing.x, mean[index], error[index], **look)
    drawing.decorate(axes, _symbol(quantity_of(estimate.name).name))
    _name_curves(axes, [(mean[index], label) for index, label in curves])
    return axes.figure


def _estimates(
    estimates: Estimates, name: str | None, ax: Axes | None, theory: Values | None = None
) -> Any:
    key = next(iter(estimates)) if name is None else name
    return _estimate(estimates[key], None, ax, theory)


def _agreement(agreement: Agreement, name: str | None, ax: Axes | None, title: bool = True) -> Any:
    key = next(iter(agreement.positions)) if name is None else name
    places = agreement.positions[key]
    dims = agreement_dims(key, places.shape)
    if "layer" not in dims:
        raise UnsupportedError(
            f"a plot of the comparison of {key!r}",
            "it has no layers",
            "print(agreement) is a table",
        )
    drawing = Drawing(key, dims, {}, places.shape)
    first, symbol = quantity_of(key).first, _symbol(key)
    profiles = [
        Profile.at(agreement, places[index].reshape(-1), first=first, label=label)
        for index, label in drawing.curves()
    ]
    return kernel_figure(profiles, agreement if title else None, quantity=symbol, ax=ax)


def _symbol(key: str) -> str:
    """Return what stands at the y axis."""
    known = quantity_of(key)
    words = known.symbol.split()
    letter = name_latex(words[-1])
    index = r"^{\,l}" if known.part == "all" and "_" not in letter else ""
    return " ".join([*words[:-1], f"${letter}{index}$"])


def _math(name: str) -> str:
    return f"${LETTERS.get(name) or name_latex(name)}$"


_DRAWN: Mapping[type, Callable[..., Any]] = {
    Values: _values,
    Estimate: _estimate,
    Estimates: _estimates,
    Agreement: _agreement,
    BlockProfile: draw_profile,
    ScaleComparison: scales_figure,
}
