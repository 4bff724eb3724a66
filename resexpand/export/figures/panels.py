"""Parts that figures share: two panels on one axis, the verdict as title, the panel of z-scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from resexpand.export.figures.picture_files import in_notebook
from resexpand.export.figures.style import BAND, BAR, FAINT, HEIGHT, INK, VERDICT_COLOURS, WIDTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from resexpand.agreement.outcome import Agreement

Array = npt.NDArray[np.float64]

SIGMA_BAND = 3.0
SIGMA_MOST = 8.0  # z-scores beyond are drawn as arrows at the edge
PHRASES = {"agrees": " agree", "disagrees": " disagree", "inconclusive": ": inconclusive"}


def canvas(size: tuple[float, float], gap: float = 0.02) -> Figure:
    """Make an empty figure of a size in inches whose panels stand a share of it apart."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(h_pad=0.03, w_pad=0.03, hspace=gap, wspace=gap)
    figure = Figure(figsize=size, layout=layout)
    return in_notebook(figure)


def two_panels() -> tuple[Figure, Axes, Axes]:
    """Make a figure with a main panel and a lower one for z-scores on the same x axis."""
    figure = canvas((WIDTH, HEIGHT))
    main, sigma = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1.0))
    return figure, main, sigma


def headline(figure: Figure, axes: Axes, agreement: Agreement | None, subtitle: str) -> None:
    """Write the verdict as title, in its colour, and the setting below it in grey."""
    from matplotlib import rcParams

    size = rcParams["font.size"]
    lines = [(subtitle, {"fontsize": size - 0.5, "color": FAINT})] if subtitle else []
    if agreement is not None:
        bold = {"fontsize": size + 1.0, "fontweight": "bold"}
        tone = VERDICT_COLOURS[agreement.verdict]
        lines.append((verdict_line(agreement), {**bold, "color": tone}))
    top = 6.0
    for text, look in lines:
        axes.annotate(
            text, (0.0, 1.0), (0.0, top), "axes fraction", "offset points",
            ha="left", va="bottom", **look,
        )  # fmt: skip
        top += (size + 4.0) * (1 + text.count("\n"))
    figure.align_ylabels()


def verdict_line(agreement: Agreement) -> str:
    """Return the verdict in one line: the sentence, the count, the largest z-score."""
    scores = [abs(row.z) for row in agreement.rows if not math.isnan(row.z)]
    largest = max(scores, default=math.nan)
    off = sum(row.ok is False for row in agreement.rows)
    count = f"{off} of {len(agreement.rows)} off" if off else f"{len(agreement.rows)} entries"
    size = "∞" if math.isinf(largest) else f"{largest:.1f}"
    sides = " and ".join(agreement.heading)
    sentence = sides[0].upper() + sides[1:] + PHRASES[agreement.verdict]
    return f"{sentence}  ({count}, |z| ≤ {size})"


def sigma_panel(axes: Axes, scores: Array) -> float:
    """Prepare the panel of z-scores: band, zero line, limits wide enough for all `scores`.

    Returns the largest |z| that fits; scores beyond it are drawn as arrows at the edge.
    """
    finite = np.abs(scores[np.isfinite(scores)])
    largest = float(finite.max(initial=0.0))
    limit = min(SIGMA_MOST, max(4.4, 1.15 * largest))
    axes.axhspan(-SIGMA_BAND, SIGMA_BAND, color=BAND, lw=0, zorder=0)
    axes.axhline(0.0, color=INK, lw=0.6, zorder=1)
    axes.set(ylim=(-limit, limit), ylabel=r"$z$  $(\sigma)$")
    axes.set_yticks([-SIGMA_BAND, 0.0, SIGMA_BAND], ["−3", "0", "3"])
    return limit


def errorbars(
    axes: Axes, x: Array, y: Array, error: Array, *, colour: str, marker: str = "o"
) -> None:
    """Draw points with their standard errors."""
    axes.errorbar(
        x, y, yerr=error, color=colour, ls="none", marker=marker, ms=4.2, mec="white", mew=0.5,
        ecolor=colour, elinewidth=0.9, capsize=0.0, zorder=4,
    )  # fmt: skip


def count_layers(axes: Axes) -> None:
    """Let an x axis count layers."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(r"layer  $l$")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def key(label: str, **look: Any) -> Any:
    """Return an entry of the legend: a line or a marker."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=label, **look)


def dot(label: str = "Monte Carlo", color: str = FAINT, marker: str = "o") -> Any:
    """Return the entry of the legend for points."""
    return key(label, color=color, ls="none", marker=marker, ms=4.2)


def legend(figure: Figure, keys: Sequence[Any], columns: int = 5) -> None:
    """Draw the legend below the figure; one row of up to so many entries, else of four."""
    figure.legend(
        handles=list(keys), loc="outside lower center",
        ncols=len(keys) if len(keys) <= columns else min(columns, 4),
        handlelength=1.6, handletextpad=0.5, columnspacing=1.4, borderaxespad=0.2,
    )  # fmt: skip


def draw_scores(
    axes: Axes, x: Array, scores: Array, allowance: Array, limit: float, *, colour: str, marker: str
) -> None:
    """Draw z-scores; behind each a pale bar as high as its neglected order allows."""
    wide = np.clip(np.nan_to_num(allowance, posinf=limit), 0.0, limit)
    # Opaque: bars of several curves at one place must not add up to a darker one.
    axes.vlines(x, -wide, wide, color=BAR, lw=4.0, zorder=0.5, capstyle="butt")
    inside = np.abs(scores) <= limit
    axes.plot(
        x[inside], scores[inside], ls="none", marker=marker, ms=3.6, mfc=colour,
        mec="white", mew=0.4, zorder=3,
    )  # fmt: skip
    for sign, arrow in ((1.0, "^"), (-1.0, "v")):
        beyond = sign * scores > limit
        axes.plot(
            x[beyond], np.full(int(beyond.sum()), sign * 0.88 * limit), ls="none", marker=arrow,
            ms=5.0, mfc=colour, mec=INK, mew=0.5, zorder=3,
        )  # fmt: skip


def log_if_wide(axes: Axes, arrays: Sequence[Array]) -> None:
    """Use a logarithmic y axis where all values are positive and span more than a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    values = np.concatenate([array[np.isfinite(array)] for array in arrays])
    if not values.size or values.min() <= 0.0 or values.max() <= 10.0 * values.min():
        return
    axes.set_yscale("log")
    if values.max() > 1000.0 * values.min():
        return
    # Over a few decades plain numbers read better than powers of ten.
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def last_finite(curve: Array) -> float:
    """Return the last number of a curve, NaN if it has none."""
    finite = curve[np.isfinite(curve)]
    return float(finite[-1]) if finite.size else math.nan


def name_curves(
    axes: Axes, curves: Sequence[Array], texts: Sequence[str], colours: Sequence[str]
) -> None:
    """Name curves beside their last numbers."""
    label_ends(axes, [last_finite(curve) for curve in curves], texts, colours)


def label_ends(
    axes: Axes, heights: Sequence[float], texts: Sequence[str], colours: Sequence[str]
) -> None:
    """Name the curves beside their right ends, moved apart where they would touch."""
    to_axes = axes.transData + axes.transAxes.inverted()
    left = axes.get_xlim()[0]
    spots = np.array([to_axes.transform((left, height))[1] for height in heights])
    # A curve that leaves the axis, or has no number, keeps its label at the edge.
    spots = np.clip(np.nan_to_num(spots), 0.0, 1.0)
    for index, spot in enumerate(spread_apart(spots, 0.065)):
        axes.annotate(
            texts[index], (1.0, float(spot)), (3.0, 0.0), "axes fraction", "offset points",
            ha="left", va="center", color=colours[index], annotation_clip=False,
        )  # fmt: skip


def spread_apart(spots: Array, gap: float) -> Array:
    """Move positions apart to at least `gap`, keeping their order and the centre of each group."""
    order = np.argsort(spots, kind="stable")
    placed = [(float(spots[i]), [float(spots[i])]) for i in order]  # (centre, members)
    merged = True
    while merged:
        merged = False
        for k in range(len(placed) - 1):
            (a, one), (b, two) = placed[k], placed[k + 1]
            if b - a < gap * (len(one) + len(two)) / 2 - 1e-12:
                members = one + two
                placed[k : k + 2] = [(sum(members) / len(members), members)]
                merged = True
                break
    out = np.empty_like(spots)
    filled = [c + gap * (m - (len(ms) - 1) / 2) for c, ms in placed for m in range(len(ms))]
    out[order] = filled
    return out
