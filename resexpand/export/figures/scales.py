"""Candidates for the residual scale, one line each, and what they lead to: a panel per quantity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resexpand.export.figures import panels
from resexpand.export.figures.style import FAINT, colour, marker

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from resexpand.numbers.scales.comparison import ScaleComparison

LABELS = {
    "scale": "residual scale",
    "growth": r"kernel growth  $K^L/K^0$",
    "response": r"response  $\eta$",
    "gradient_ratio": r"gradient  $P^0/P^L$",
    "tail": "share of high orders",
}
LOWEST = 1e-8
"""Smallest number shown; what is below, zero too, stands at the left edge."""

WIDE = 30.0
"""Ratio of the largest to the smallest number from which an axis is logarithmic."""


def scales_figure(scales: ScaleComparison, name: str | None = None, ax: Axes | None = None) -> Any:
    """Draw the candidates that apply.

    Parameters
    ----------
    scales : ScaleComparison
        The comparison.
    name : str, optional
        One of its arrays; all columns of its table by default.
    ax : matplotlib.axes.Axes, optional
        Where to draw, ``"scale"`` unless a name is given.

    Returns
    -------
    matplotlib.figure.Figure
    """
    shown = [k for k in range(len(scales.names)) if scales.applies(k)]
    height = 0.9 + 0.24 * len(shown)
    if ax is not None or name is not None:
        key = name or "scale"
        axes = ax or panels.canvas((4.3, height)).subplots()
        _panel(axes, scales, key, shown)
        axes.set_yticks(range(len(shown)), [scales.titles[k] for k in shown])
        return axes.figure
    drawn = [key for key in LABELS if np.isfinite(scales[key][shown]).any()]
    figure = panels.canvas((1.7 + 1.75 * len(drawn), height))
    columns = np.atleast_1d(figure.subplots(1, len(drawn), sharey=True))
    for axes, key in zip(columns, drawn, strict=True):
        _panel(axes, scales, key, shown)
    columns[0].set_yticks(range(len(shown)), [scales.titles[k] for k in shown])
    if len(scales.depths) > 1:
        keys = [
            panels.key(f"depth {depth}", ls="none", marker=marker(j), color=colour(j))
            for j, depth in enumerate(scales.depths)
        ]
        panels.legend(figure, keys)
    return figure


def _panel(axes: Axes, scales: ScaleComparison, key: str, shown: list[int]) -> None:
    values = np.abs(scales[key][shown])
    known = values[np.isfinite(values) & (values > LOWEST)]
    wide = known.size > 0 and known.max() > WIDE * known.min()
    if wide:
        axes.set_xscale("log")
        values = np.where(values < LOWEST, known.min() / 3, values)
    for j in range(len(scales.depths)):
        # Depths stand a little below each other, so that equal numbers do not hide.
        shift = 0.22 * (j - (len(scales.depths) - 1) / 2) / max(1, len(scales.depths) - 1)
        axes.plot(
            values[:, j], np.arange(len(shown)) + shift, ls="none", ms=4.0, mec="white", mew=0.4,
            marker=marker(j), color=colour(j), zorder=3,
        )  # fmt: skip
    for k in range(len(shown)):
        axes.axhline(k, color=FAINT, lw=0.3, zorder=0)
    if key in ("growth", "gradient_ratio"):
        axes.axvline(1.0, color=FAINT, lw=0.6, ls=":", zorder=1)
    axes.set(ylim=(len(shown) - 0.5, -0.5), xlabel=LABELS.get(key, key.replace("_", " ")))
