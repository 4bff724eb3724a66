r"""Which orders stay alive over depth: the share of every order, one panel per residual scaling.

The share of order ``k`` is its second moment over that of the state, ``E|T_k|^2 / (N K^L)``. Orders
of the Taylor profile overlap, so shares may exceed one; a curve above the dotted line at one is an
order larger than the state it is part of, which only cancellation with other orders undoes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from resexpand.errors import HyperparameterError
from resexpand.export.figures import panels
from resexpand.export.figures.style import FAINT, INK, PALETTE, house_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]

MOST_PANELS = 4
MOST_LABELS = 6
"""Depths that fit beside each other under one panel."""
FLOOR = 1e-6
"""Shares below this are left out of sight: the axis would be all emptiness."""


@dataclass(frozen=True, eq=False)
class Shares:
    """Contents of one panel.

    Attributes
    ----------
    scaling : str
        Residual scale as a function of depth, mathtext between dollar signs.
    depths : ndarray, shape (n,)
    shares : ndarray, shape (n, order + 1)
        Share of every order at the last layer.
    remainder : ndarray, shape (n,), optional
        The part that the orders leave out, relative to the state: drawn dashed.
    measured : ndarray, shape (n, order + 1), optional
        Monte Carlo shares, drawn as points, with `errors`.
    errors : ndarray, shape (n, order + 1), optional
        Standard errors of `measured`.
    """

    scaling: str
    depths: Array
    shares: Array
    remainder: Array | None = None
    measured: Array | None = None
    errors: Array | None = None


def profile_figure(shares: Sequence[Shares], *, subtitle: str = "") -> Figure:
    """Draw the shares of the orders against the depth.

    Parameters
    ----------
    shares : sequence of Shares
        One per panel, one to four.
    subtitle : str
        The setting, in one line above the panels; mathtext between dollar signs.

    Returns
    -------
    Figure

    Raises
    ------
    HyperparameterError
        If there is no panel, or more than four, or fewer than two depths.
    """
    if not 1 <= len(shares) <= MOST_PANELS or any(len(s.depths) < 2 for s in shares):
        raise HyperparameterError(
            f"a figure of {len(shares)} scalings and {[len(s.depths) for s in shares]} depths",
            "a panel is a curve over depths, and four panels fit beside each other",
            "give one to four scalings and two or more depths",
        )
    with house_style():
        figure = panels.canvas((1.0 + 2.4 * len(shares), 3.0))
        axes = np.atleast_1d(figure.subplots(1, len(shares), sharey=True))
        top = max(float(np.max(s.shares)) for s in shares)
        for panel, series in zip(axes, shares, strict=True):
            panel.set(xscale="log", yscale="log", ylim=(FLOOR, 3 * max(top, 1.0)))
            _draw(panel, series)
        if any(series.remainder is not None for series in shares):
            axes[0].plot([], [], color=FAINT, linestyle="--", label="left out by all of them")
            axes[0].legend(loc="best")
        axes[0].set_ylabel(r"share of order $k$")
        if subtitle:
            figure.suptitle(subtitle, fontsize=9)
    return figure


def _label_depths(axes: Axes, depths: Array) -> None:
    """Label the depths themselves where there are too few decades to be labelled."""
    from matplotlib.ticker import NullFormatter

    axes.xaxis.set_minor_formatter(NullFormatter())
    if depths.max() < 100 * depths.min():
        few = depths if len(depths) <= MOST_LABELS else depths[[0, len(depths) // 2, -1]]
        axes.set_xticks(few, [f"{depth:g}" for depth in few])


def _draw(axes: Axes, series: Shares) -> None:
    orders = series.shares.shape[1]
    tones = [INK, *PALETTE]
    visible = np.where(series.shares > 0.1 * FLOOR, series.shares, np.nan)
    for k in range(orders):
        tone = tones[k % len(tones)]
        axes.plot(series.depths, visible[:, k], color=tone)
        if series.measured is not None and series.errors is not None:
            points = (series.depths, series.measured[:, k], 2 * series.errors[:, k])
            axes.errorbar(*points, fmt="o", markersize=3, color=tone, linewidth=0.8)
    axes.axhline(1.0, color=FAINT, linewidth=0.6, linestyle=":")
    if series.remainder is not None:
        axes.plot(series.depths, series.remainder, color=FAINT, linestyle="--")
    _label_depths(axes, series.depths)
    axes.set_xlabel(r"depth  $L$")
    axes.set_title(series.scaling, fontsize=9)
    axes.margins(x=0.02)
    seen = [k for k in range(orders) if np.isfinite(visible[:, k]).any()]
    hues = [tones[k % len(tones)] for k in seen]
    panels.name_curves(axes, [visible[:, k] for k in seen], [f"$k={k}$" for k in seen], hues)
