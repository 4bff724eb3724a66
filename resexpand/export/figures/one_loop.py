r"""Figures of a finite width: what fluctuates, and which terms of the theory it takes.

`fluctuation_figure` shows the kernel over depth at one width: infinite width, the mean with its
correction, and a band of one standard deviation from network to network. `terms_figure` shows the
coefficient of ``1/N`` over depth against samples: the theory, and the theory without some of its
terms, each with its z-scores below. Where the expansion does not hold, lines are dotted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from resexpand.errors import HyperparameterError
from resexpand.export.figures import panels
from resexpand.export.figures.series import Series
from resexpand.export.figures.style import FAINT, INK, PALE, colour, house_style, marker

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]
DASHES = ("-", (0, (5, 2)), (0, (1, 1.4)), (0, (4, 1.5, 1, 1.5)))


@dataclass(frozen=True, eq=False)
class Fluctuation(Series):
    """A kernel over depth at one width: arrays (M,).

    Attributes
    ----------
    layer : ndarray
        Layers, ascending.
    limit, mean, deviation : ndarray
        Value at infinite width; mean and standard deviation at this width.
    valid : ndarray
        1 where the expansion holds, 0 where it does not.
    width : int
        Neurons per layer.
    """

    layer: Array
    limit: Array
    mean: Array
    deviation: Array
    valid: Array
    width: int


@dataclass(frozen=True, eq=False)
class Sampled(Series):
    """Monte Carlo over depth: arrays (M,) of layer, mean, and its standard error."""

    layer: Array
    mean: Array
    error: Array


def fluctuation_figure(
    profiles: Sequence[Fluctuation],
    samples: Mapping[int, Sampled] | None = None,
    *,
    subtitle: str = "",
    quantity: str = r"kernel  $G^l$",
) -> Figure:
    r"""Draw a kernel over depth with its fluctuations, at one or more widths.

    Parameters
    ----------
    profiles : sequence of Fluctuation
        One per width; they share the value at infinite width.
    samples : mapping of int to Sampled, optional
        Monte Carlo by width; points with error bars.
    subtitle, quantity : str
        The setting in one line, and the label of the y axis.

    Returns
    -------
    Figure
        Above, the kernel; below, how far its mean lies from infinite width, relatively.

    Raises
    ------
    HyperparameterError
        If there is no profile, or samples of a width without one.
    """
    samples = samples or {}
    widths = [profile.width for profile in profiles]
    if not profiles or any(width not in widths for width in samples):
        raise HyperparameterError(
            f"a figure of the widths {widths} with samples of {sorted(samples)}",
            "there is no profile for some of it",
            "pass one Fluctuation per width",
        )
    with house_style():
        figure, main, below = panels.two_panels()
        limit = profiles[0]
        main.plot(limit.layer, limit.limit, color=INK, lw=0.9, ls=(0, (4, 2)), zorder=2)
        below.axhline(0.0, color=INK, lw=0.9, ls=(0, (4, 2)), zorder=1)
        for index, profile in enumerate(profiles):
            _band(main, profile, index)
            seen = profile.limit > 0
            shift = np.where(seen, profile.mean / np.where(seen, profile.limit, 1.0) - 1.0, 0.0)
            _line(below, profile, shift, index)
            if profile.width in samples:
                _points(main, below, profile, samples[profile.width], index)
        panels.log_if_wide(main, [p.limit for p in profiles])
        _finish(figure, main, below, quantity, subtitle)
        below.set_ylabel("relative shift")
        panels.legend(figure, _fluctuation_keys(profiles, bool(samples)), columns=3)
    return figure


def terms_figure(
    layer: npt.ArrayLike,
    theories: Mapping[str, npt.ArrayLike],
    samples: Sampled,
    *,
    subtitle: str = "",
    quantity: str = r"$N\,(\mathrm{E}\,C^l - C^l_\infty)$",
) -> Figure:
    """Draw a coefficient of ``1/N`` over depth: samples, and theories with and without terms.

    Parameters
    ----------
    layer : array_like, shape (M,)
        Layers of the theories.
    theories : mapping of str to array_like, shape (M,)
        Name to values; the first is drawn solid.
    samples : Sampled
        At some of the layers.
    subtitle, quantity : str
        The setting in one line, and the label of the y axis.

    Returns
    -------
    Figure
        Below the curves the z-score of every theory at every sampled layer.

    Raises
    ------
    HyperparameterError
        If there is no theory, or shapes differ, or a sampled layer is not among the layers.
    """
    layers = np.asarray(layer, dtype=float)
    curves = {name: np.asarray(values, dtype=float) for name, values in theories.items()}
    wrong = [name for name, values in curves.items() if values.shape != layers.shape]
    if not curves or wrong or not np.isin(samples.layer, layers).all():
        raise HyperparameterError(
            f"a figure of the theories {list(theories)}",
            f"{wrong[0]!r} has another shape" if wrong else "a sampled layer has no theory",
            "pass one value per layer",
        )
    with house_style():
        figure, main, sigma = panels.two_panels()
        at = np.searchsorted(layers, samples.layer)
        scores = {name: _scores(samples, values[at]) for name, values in curves.items()}
        bound = panels.sigma_panel(sigma, np.concatenate(list(scores.values())))
        for index, (name, values) in enumerate(curves.items()):
            tone, dash = colour(index), DASHES[index % len(DASHES)]
            main.plot(layers, values, color=tone, ls=dash, zorder=2)
            panels.draw_scores(
                sigma, samples.layer, scores[name], np.zeros_like(samples.layer), bound,
                colour=tone, marker=marker(index),
            )  # fmt: skip
        panels.errorbars(main, samples.layer, samples.mean, samples.error, colour=INK)
        _finish(figure, main, sigma, quantity, subtitle)
        keys = [
            panels.key(name, color=colour(k), ls=DASHES[k % len(DASHES)])
            for k, name in enumerate(curves)
        ]
        panels.legend(figure, [*keys, panels.dot(color=INK)], columns=3)
    return figure


def _scores(samples: Sampled, theory: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = (samples.mean - theory) / samples.error
    return np.asarray(np.where(samples.mean == theory, 0.0, scores))


def _band(axes: Axes, profile: Fluctuation, index: int) -> None:
    """Draw the mean and a band of one standard deviation where the expansion holds."""
    low, high = profile.mean - profile.deviation, profile.mean + profile.deviation
    axes.fill_between(
        profile.layer, low, high, where=profile.valid > 0, color=colour(index), alpha=PALE, lw=0.0,
        zorder=1,
    )  # fmt: skip
    _line(axes, profile, profile.mean, index)


def _line(axes: Axes, profile: Fluctuation, values: Array, index: int) -> None:
    """Draw a line, solid only where the expansion holds."""
    tone = colour(index)
    axes.plot(profile.layer, np.where(profile.valid > 0, values, np.nan), color=tone, zorder=3)
    axes.plot(profile.layer, values, color=tone, ls=(0, (1, 1.6)), lw=1.0, zorder=2.5)


def _points(main: Axes, below: Axes, profile: Fluctuation, sampled: Sampled, index: int) -> None:
    limit = np.interp(sampled.layer, profile.layer, profile.limit)
    panels.errorbars(main, sampled.layer, sampled.mean, sampled.error, colour=colour(index))
    scale = np.where(limit > 0, limit, 1.0)
    shift, error = (sampled.mean - limit) / scale, sampled.error / scale
    panels.errorbars(below, sampled.layer, shift, error, colour=colour(index))


def _finish(figure: Figure, main: Axes, below: Axes, quantity: str, subtitle: str) -> None:
    main.margins(x=0.02)
    main.set_ylabel(quantity)
    panels.count_layers(below)
    panels.headline(figure, main, None, subtitle)


def _fluctuation_keys(profiles: Sequence[Fluctuation], sampled: bool) -> list[Any]:
    from matplotlib.patches import Patch

    keys = [panels.key(r"$N = \infty$", color=INK, lw=0.9, ls=(0, (4, 2)))]
    keys += [panels.key(f"$N = {p.width}$", color=colour(k)) for k, p in enumerate(profiles)]
    keys.append(Patch(facecolor=FAINT, alpha=PALE, label=r"$\pm$ one standard deviation"))
    if any((p.valid <= 0).any() for p in profiles):
        keys.append(panels.key("expansion fails", color=FAINT, ls=(0, (1, 1.6)), lw=1.0))
    if sampled:
        keys.append(panels.dot())
    return keys
