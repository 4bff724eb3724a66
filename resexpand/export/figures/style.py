"""House style of the figures: one set of matplotlib settings, applied in a context.

Colours are those of Okabe and Ito (*Color Universal Design*, 2008), told apart under the common
forms of colour blindness; markers differ in shape as well. Sizes are those of a journal column:
4.3 inches wide with 8.5 pt text stays above 6.5 pt when set in 3.4 inches. Fonts are embedded as
TrueType, so that text in a PDF can be searched and edited.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Blue, vermillion, green, purple, orange, sky blue; yellow is left out: too pale on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
VERDICT_COLOURS = {"agrees": "#00664B", "disagrees": "#A32020", "inconclusive": "#7A5A00"}
INK, FAINT, BAND, BAR = "#222222", "#777777", "#EEEEEE", "#CBCBCB"
MARKERS = ("o", "s", "^", "D", "v", "P")
PALE = 0.22  # opacity of a band of one standard deviation
WIDTH, HEIGHT = 4.3, 4.4  # inches
RESOLUTION = 200  # dots per inch of the PNG

SETTINGS: dict[str, Any] = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 9.0,
    "axes.labelsize": 10.0,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.direction": "out",
    "ytick.direction": "out",
    "lines.linewidth": 1.4,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}


@contextmanager
def house_style() -> Iterator[None]:
    """Apply the house style to what is drawn or saved inside the context, and only there."""
    import matplotlib as mpl

    with mpl.rc_context(SETTINGS):
        yield


def colour(index: int) -> str:
    """Return the colour of the `index`-th curve; the palette repeats after six."""
    return PALETTE[index % len(PALETTE)]


def marker(index: int) -> str:
    """Return the marker of the `index`-th set of points; the shapes repeat after six."""
    return MARKERS[index % len(MARKERS)]
