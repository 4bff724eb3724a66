"""Figure of a profile: what every residual block contributes, with its spread over tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from resexpand.errors import HyperparameterError
from resexpand.export.figures import panels
from resexpand.export.figures.style import FAINT, HEIGHT, INK, WIDTH, colour
from resexpand.measure.block_profile import EDGES, BlockProfile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS = {
    "ratio": r"residual ratio  $|f|\,/\,|x+f|$",
    "relative": r"$|f|\,/\,|x|$",
    "cosine": r"$\cos(x, f)$",
    "similarity": r"$\cos(x, x+f)$",
    "growth": r"$|x+f|\,/\,|x|$",
}
PALE, DARK = 0.14, 0.3


def draw_profile(
    profile: BlockProfile,
    name: str | None,
    ax: Axes | None,
    *,
    theory: Any = None,
    label: str = "",
) -> Any:
    """Draw the median of a quantity over the blocks, with bands of quantiles.

    The dark band holds half of the tokens, the pale one nine in ten; blocks of a kind share a
    marker.

    Parameters
    ----------
    profile : BlockProfile
        What was measured.
    name : str or None
        The quantity; the ratio by default.
    ax : matplotlib.axes.Axes or None
        Where to draw.
    theory : array_like, shape (blocks,), optional
        A line beside it; for the ratio the prediction of the profile by default.
    label : str
        Of the line of medians.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    KeyError
        If there is no such quantity.
    """
    key = "ratio" if name is None else name
    if key not in EDGES:
        raise KeyError(key)
    if theory is None and key == "ratio":
        theory = profile.prediction
    axes = ax or panels.canvas((WIDTH, 0.68 * HEIGHT)).subplots()
    x = np.arange(1, len(profile) + 1)
    low, first, middle, third, high = profile.quantile([0.05, 0.25, 0.5, 0.75, 0.95], key)
    tone = colour(0)
    axes.fill_between(x, low, high, color=tone, alpha=PALE, lw=0, zorder=1)
    axes.fill_between(x, first, third, color=tone, alpha=DARK, lw=0, zorder=1)
    axes.plot(x, middle, color=tone, lw=1.0, zorder=2, label=label or "median of tokens")
    for k, kind in enumerate(dict.fromkeys(profile.kinds)):
        own = np.array([own == kind for own in profile.kinds])
        axes.plot(
            x[own], middle[own], ls="none", marker="osD^"[k % 4], ms=3.6, color=tone, mec="white",
            mew=0.4, zorder=3, label=kind,
        )  # fmt: skip
    if theory is not None:
        line = np.asarray(theory, dtype=float)
        if line.shape != x.shape:
            raise HyperparameterError(
                f"a line of shape {line.shape}", f"the profile has {len(x)} blocks", "one per block"
            )
        axes.plot(x, line, color=INK, lw=1.2, ls=(0, (4, 2)), zorder=4, label="at initialisation")
    panels.count_layers(axes)
    axes.set(xlabel="block", ylabel=LABELS[key], xlim=(0.5, len(x) + 0.5))
    if key in ("ratio", "relative"):
        axes.set_ylim(bottom=0)
    axes.legend(loc="best", labelcolor=FAINT)
    return axes.figure
