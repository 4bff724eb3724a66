"""The counting plot: how many terms an expansion has over the depth, and which scales tame them.

Four panels: the weighted number of terms of each order; the same at the scale ``1/n``, where it
tends to ``1/k``; below, at the scale ``1/sqrt(n)``, the sum of absolute values, which grows, and
the sum of squares, which tends to ``1/k``. See `resexpand.theory.count_growth`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import sympy as sp

from resexpand.combinatorics import weighted_count
from resexpand.combinatorics.arguments import check_count, check_order
from resexpand.errors import HyperparameterError
from resexpand.export.figures import panels
from resexpand.export.figures.style import FAINT, colour, house_style
from resexpand.theory.count_growth import power_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]

SIZE = (7.0, 4.8)  # inches
DEEPEST = 10**15
MOST_ORDERS = 6
TITLES = (
    r"number of terms  $\sim n^k/k$",
    r"scale $1/n$:  absolute values  $\to 1/k$",
    r"scale $1/\sqrt{n}$:  absolute values  $\sim n^{k/2}/k$",
    r"scale $1/\sqrt{n}$:  squares  $\to 1/k$",
)


def counting_figure(order: int = 6, depth: int = 10**6, *, points: int = 97) -> Figure:
    """Draw the size of the orders of an expansion over the depth.

    Parameters
    ----------
    order : int, optional
        Highest order, from 1 to 6.
    depth : int, optional
        Largest depth, from 10 to 10**15.
    points : int, optional
        Depths per curve, evenly spaced on a logarithmic axis.

    Returns
    -------
    Figure

    Raises
    ------
    HyperparameterError
        If the order or a number is outside its range.
    """
    highest = check_order(order)
    if highest > MOST_ORDERS:
        raise HyperparameterError(
            f"a counting plot up to order {order}",
            f"there are colours for {MOST_ORDERS} curves",
            f"give an order up to {MOST_ORDERS}",
        )
    if check_count(depth, "depth", least=10) > DEEPEST:
        raise HyperparameterError(
            f"a counting plot up to depth {depth}",
            "doubles do not hold such depths exactly",
            f"give a depth up to {DEEPEST:.0e}; counts() has no bound",
        )
    check_count(points, "points", least=2)
    depths = _depths(depth, points)
    orders = range(1, highest + 1)
    worst = {k: _values(depths, weighted_count, k) for k in orders}
    square = {k: _values(depths, _squares, k) for k in orders}
    panels_of_curves = (
        [worst[k] for k in orders],
        [worst[k] / depths**k for k in orders],
        [worst[k] / depths ** (k / 2) for k in orders],
        [square[k] / depths**k for k in orders],
    )
    with house_style():
        figure, axes = _panels()
        for place, curves in enumerate(panels_of_curves):
            _draw(axes[place], depths, curves, limits=place % 2 == 1)
            axes[place].set_title(TITLES[place], loc="left", color=FAINT)
            axes[place].set_xlim(1, depth)
            if place == 0:
                axes[place].set_ylim(bottom=1.0)  # it counts
            tones = [colour(index) for index in range(highest)]
            panels.name_curves(axes[place], curves, [f"$k = {k}$" for k in orders], tones)
    return figure


def _panels() -> tuple[Figure, Sequence[Axes]]:
    """Make the figure: growing sums on the left, those with a limit on the right."""
    figure = panels.canvas(SIZE, gap=0.04)
    left, right, below, corner = figure.subplots(2, 2, sharex=True).flat
    left.set_xscale("log")
    for axes in (left, below):
        axes.set_yscale("log")
    for axes in (right, corner):
        axes.set_ylim(0.0, 1.1)
    for axes in (below, corner):
        axes.set_xlabel(r"depth  $n$")
    return figure, (left, right, below, corner)


def _depths(largest: int, points: int) -> Array:
    """Return integer depths, evenly spaced on a logarithmic axis, from 1."""
    spaced = np.logspace(0.0, np.log10(largest), points)
    return np.unique(np.rint(spaced)).astype(np.float64)


def _values(depths: Array, count: Callable[[int, int], sp.Expr], order: int) -> Array:
    """Return a count at every depth; not a number where there is no term."""
    values = np.array([float(count(order, int(n))) for n in depths], dtype=np.float64)
    return np.where(values > 0.0, values, np.nan)


def _squares(order: int, n: int) -> sp.Expr:
    return sp.sympify(power_count(order, n, 2), strict=True)


def _draw(axes: Axes, depths: Array, curves: Sequence[Array], *, limits: bool) -> None:
    """Draw one curve per order, and the limit 1/k of each as a fine dotted line if asked."""
    for index, curve in enumerate(curves):
        if limits:
            axes.axhline(1 / (index + 1), color=colour(index), ls=":", lw=0.7, zorder=1)
        axes.plot(depths, curve, color=colour(index), zorder=2)
