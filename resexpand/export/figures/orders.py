r"""Figures of the orders of a residual expansion: of one network, and over the depth.

`orders_figure` shows how large each part of a measured network is: above, the energy
``|T_k|^2/N`` on a logarithmic axis, beside the energy that theory expects of it at infinite width
if given; below, the share ``T_k . h/|h|^2`` of the output, which sums to one with what is left out.
Path sums ``P_k`` are drawn alike. `neglect_figure` shows over the depth what the orders up to some
k leave of the change ``h^L - h^0``, one curve per network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from resexpand.errors import HyperparameterError
from resexpand.export.figures import panels
from resexpand.export.figures.style import BAR, FAINT, INK, colour, house_style
from resexpand.measure.orders import MeasuredOrders
from resexpand.measure.paths import MeasuredPaths

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]
SIZE = (4.3, 3.4)  # inches
DASHES = ("-", (0, (4, 2)))
FLOOR = 1e-12
"""Energies below this part of the largest are left out, and all that follow."""


def orders_figure(
    found: MeasuredOrders | MeasuredPaths,
    expected: npt.ArrayLike | None = None,
    *,
    subtitle: str = "",
) -> Figure:
    """Draw the energies and the shares of a measured network.

    Parameters
    ----------
    found : MeasuredOrders or MeasuredPaths
        Of one input or several; several are drawn as one dot each.
    expected : array_like, shape (order + 1,), optional
        Energies at infinite width, such as the diagonal of an `order_profile`.
    subtitle : str, optional
        Grey line above the figure.

    Returns
    -------
    Figure

    Raises
    ------
    HyperparameterError
        If `expected` does not have one energy per order.
    """
    letter, what = ("T", "order") if isinstance(found, MeasuredOrders) else ("P", "path length")
    energies, shares = (v.reshape(len(v), -1) for v in (found.energies, found.shares))
    wanted = None if expected is None else _expected(expected, len(energies), what)
    count = _last_seen(energies) + 1
    energies, shares, k = energies[:count], shares[:count], np.arange(float(count))
    wanted = None if wanted is None else wanted[:count]
    with house_style():
        figure, main, sigma = panels.two_panels()
        _energies(main, k, energies, wanted)
        main.set_ylabel(rf"energy  $|{letter}_k|^2 / N$")
        sigma.bar(k, shares.mean(axis=1), width=0.6, color=BAR)
        for column in shares.T:
            sigma.plot(k, column, ".", color=colour(0), ms=3.5)
        sigma.axhline(0.0, color=INK, lw=0.6)
        sigma.set(ylabel="share", xlabel=rf"{what}  $k$")
        sigma.set_xticks(k if len(k) <= 13 else k[:: -(-len(k) // 12)])
        panels.headline(figure, main, None, subtitle)
    return figure


def _expected(values: npt.ArrayLike, count: int, what: str) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (count,) or not np.isfinite(array).all():
        raise HyperparameterError(
            f"expected energies of shape {array.shape}",
            f"{count} parts were measured",
            f"give one finite energy per {what}",
        )
    return array


def _last_seen(energies: Array) -> int:
    """Return the last part that is not too small to be seen."""
    largest = energies.max(axis=1)
    return int(np.flatnonzero(largest > FLOOR * largest.max())[-1])


def _energies(axes: Axes, k: Array, energies: Array, expected: Array | None) -> None:
    """Draw one dot per input and a bar for theory."""
    for column in energies.T:
        axes.plot(k, column, "o", color=colour(0), ms=4.0, mew=0.0, alpha=0.8, zorder=3)
    if expected is not None:
        axes.plot(
            k, expected, "_", color=colour(1), ms=16, mew=1.6, zorder=2,
            label="infinite width",
        )  # fmt: skip
        axes.legend(loc="upper right")
    everything = energies if expected is None else np.append(energies, expected)
    seen = everything[everything > FLOOR * everything.max()]
    axes.set(yscale="log", ylim=(seen.min() / 3, seen.max() * 3), xlim=(-0.6, len(k) - 0.4))


@dataclass(frozen=True, eq=False)
class Neglect:
    """The part of the change that the orders up to ``order`` leave, over the depth.

    Attributes
    ----------
    depths : array
        Depths, ascending.
    share : array
        ``E|h - sum_{j<=k} T_j|^2 / E|h - h^0|^2``.
    family : int
        Which colour.
    dashed : bool
        How the curve is drawn.
    """

    depths: Array
    share: Array
    family: int
    dashed: bool = False


def neglect_figure(
    curves: Mapping[str, Neglect],
    points: Sequence[tuple[float, float, float]] = (),
    *,
    ylabel: str,
    subtitle: str = "",
) -> Figure:
    """Draw what low orders leave out, over the depth.

    Parameters
    ----------
    curves : mapping of str to Neglect
        One curve per name, which is written at its end.
    points : sequence of (depth, share, error), optional
        Monte Carlo.
    ylabel : str
        Label of the vertical axis.
    subtitle : str, optional
        Grey line above the figure.

    Returns
    -------
    Figure

    Raises
    ------
    HyperparameterError
        If there is no curve.
    """
    if not curves:
        raise HyperparameterError("a figure without curves", "nothing to draw", "give one")
    with house_style():
        figure = panels.canvas(SIZE)
        axes = figure.subplots()
        for curve in curves.values():
            axes.plot(
                curve.depths, curve.share, color=colour(curve.family), ls=DASHES[curve.dashed]
            )
        for depth, share, error in points:
            axes.errorbar(
                depth, share, yerr=error, fmt="o", ms=3.0, mfc="white", color=INK, lw=0.8, zorder=4
            )
        axes.set(xscale="log", yscale="log", xlabel=r"depth  $n$", ylabel=ylabel)
        hues = [colour(curve.family) for curve in curves.values()]
        panels.name_curves(axes, [c.share for c in curves.values()], list(curves), hues)
        axes.set_title(subtitle, loc="left", color=FAINT, fontsize=8.5)
    return figure
