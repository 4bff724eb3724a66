"""Figures that are claims: theory as lines, Monte Carlo as points, the verdict as title.

Every figure has a main panel and, on the same x axis, a panel of z-scores with a band of three
standard errors. A pale bar behind a z-score shows how far the neglected order alone may move it.
Figures are plain `matplotlib.figure.Figure` objects: no global state, no display needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from resexpand.errors import HyperparameterError
from resexpand.export.figures import panels
from resexpand.export.figures.series import Curve, Optimum, Points, Profile
from resexpand.export.figures.style import BAND, BAR, FAINT, INK, colour, house_style, marker

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from resexpand.agreement.outcome import Agreement

Array = npt.NDArray[np.float64]


def response_figure(
    curves: Sequence[Curve],
    points: Sequence[Points] = (),
    optima: Sequence[Optimum] = (),
    asymptote: float | None = None,
    agreement: Agreement | None = None,
    *,
    subtitle: str = "",
    quantity: str = r"response  $\eta$",
) -> Figure:
    r"""Draw the response against the residual scale, for several depths.

    Parameters
    ----------
    curves : sequence of Curve
        Theory, one curve per depth.
    points : sequence of Points
        Monte Carlo; each belongs to the curve of its depth and takes its colour. Samplers differ
        in marker.
    optima : sequence of Optimum
        Finite-depth optima, marked on the curves that reach them.
    asymptote : float, optional
        The constant `c` of :math:`\rho^* = c/\sqrt{L}`; its prediction is marked on every curve.
    agreement : Agreement, optional
        Gives the verdict in the title.
    subtitle : str
        The setting, in one line below the title; mathtext between dollar signs.
    quantity : str
        Label of the y axis.

    Returns
    -------
    Figure

    Raises
    ------
    HyperparameterError
        If there is no curve, a depth occurs twice, or a point or optimum has no curve.

    Notes
    -----
    The y axis is logarithmic if all values are positive and span more than a decade.
    """
    tones = _tones(curves, points, optima)
    with house_style():
        figure, main, sigma = panels.two_panels()
        panels.log_if_wide(main, [*(c.eta for c in curves), *(p.eta for p in points)])
        for curve in curves:
            main.plot(curve.rho, curve.eta, color=tones[curve.depth], zorder=2)
        markers = _markers(points)
        limit = panels.sigma_panel(sigma, _joined([p.z for p in points]))
        for series in points:
            look = {"colour": tones[series.depth], "marker": markers[series.sampler]}
            panels.errorbars(main, series.rho, series.eta, series.error, **look)
            _scores(sigma, series.rho, series, limit, **look)
        main.margins(x=0.02)
        main.set_ylabel(quantity)
        shown = _mark_optima(main, curves, optima, asymptote, tones)
        sigma.set_xlabel(r"residual scale  $\rho$")
        names = [f"$L = {curve.depth}$" for curve in curves]
        panels.name_curves(main, [curve.eta for curve in curves], names, list(tones.values()))
        keys = _response_keys(markers, *shown)
        panels.legend(figure, keys + _score_keys(points))
        panels.headline(figure, main, agreement, subtitle)
    return figure


def kernel_figure(
    profiles: Sequence[Profile],
    agreement: Agreement | None = None,
    *,
    subtitle: str = "",
    quantity: str = r"covariance kernel  $K^l$",
    ax: Axes | None = None,
) -> Figure:
    """Draw a quantity over depth: theory as line, Monte Carlo with error bars, z-scores below.

    Parameters
    ----------
    profiles : sequence of Profile
        One per curve, such as the entries of the kernel of two inputs.
    agreement, subtitle, quantity
        As for `response_figure`.
    ax : Axes, optional
        Draw the main panel there, without z-scores, legend and verdict.

    Returns
    -------
    Figure

    Raises
    ------
    HyperparameterError
        If there is no profile.
    """
    if not profiles:
        raise HyperparameterError("a figure of no profile", "nothing to draw", "pass one or more")
    looks = [{"colour": colour(k), "marker": marker(k)} for k in range(len(profiles))]
    if ax is not None:
        _profiles(ax, profiles, looks, quantity)
        panels.count_layers(ax)
        return cast("Figure", ax.figure)
    with house_style():
        figure, main, sigma = panels.two_panels()
        _profiles(main, profiles, looks, quantity)
        limit = panels.sigma_panel(sigma, _joined([p.z for p in profiles]))
        for profile, look in zip(profiles, looks, strict=True):
            _scores(sigma, profile.layer, profile, limit, **look)
        panels.count_layers(sigma)
        keys = [panels.key("theory", color=FAINT), panels.dot()]
        panels.legend(figure, keys + _score_keys(profiles))
        panels.headline(figure, main, agreement, subtitle)
    return figure


def _profiles(
    axes: Axes, profiles: Sequence[Profile], looks: Sequence[dict[str, str]], quantity: str
) -> None:
    panels.log_if_wide(axes, [side for p in profiles for side in (p.theory, p.mean)])
    for profile, look in zip(profiles, looks, strict=True):
        axes.plot(profile.layer, profile.theory, color=look["colour"], zorder=2)
        panels.errorbars(axes, profile.layer, profile.mean, profile.error, **look)
    axes.margins(x=0.02)
    axes.set_ylabel(quantity)
    if len(profiles) > 1:
        tones = [look["colour"] for look in looks]
        panels.name_curves(axes, [p.theory for p in profiles], [p.label for p in profiles], tones)


def _tones(
    curves: Sequence[Curve], points: Sequence[Points], optima: Sequence[Optimum]
) -> dict[int, str]:
    """Give each depth its colour; refuse what has no curve."""
    depths = [curve.depth for curve in curves]
    if not depths:
        raise HyperparameterError("a figure of no curve", "nothing to draw", "pass one or more")
    if len(set(depths)) < len(depths):
        raise HyperparameterError(
            f"curves of depths {depths}", "a depth occurs twice", "pass one curve per depth"
        )
    used = [series.depth for series in points] + [best.depth for best in optima]
    orphans = [depth for depth in used if depth not in depths]
    if orphans:
        raise HyperparameterError(
            f"drawing a point of depth {orphans[0]}",
            f"there are curves of depths {depths} only",
            "pass the curve of that depth as well",
        )
    return {depth: colour(index) for index, depth in enumerate(depths)}


def _markers(points: Sequence[Points]) -> dict[str, str]:
    samplers = list(dict.fromkeys(series.sampler for series in points))
    return {name: marker(k) for k, name in enumerate(samplers)}


def _joined(arrays: Sequence[Array]) -> Array:
    return np.concatenate(arrays) if arrays else np.empty(0)


def _scores(axes: Axes, x: Array, series: Any, limit: float, *, colour: str, marker: str) -> None:
    with np.errstate(divide="ignore", invalid="ignore"):
        allowance = np.where(series.neglected > 0.0, series.neglected / series.error, 0.0)
    panels.draw_scores(axes, x, series.z, allowance, limit, colour=colour, marker=marker)


def _mark_optima(
    axes: Axes,
    curves: Sequence[Curve],
    optima: Sequence[Optimum],
    asymptote: float | None,
    tones: dict[int, str],
) -> tuple[bool, bool]:
    """Mark the finite-depth optimum on each curve, and `c/sqrt(L)` on the axis below it.

    Returns whether there is one of either kind: what lies beyond its curve is not drawn.
    """
    ranges = {curve.depth: curve.rho for curve in curves}
    optima = [b for b in optima if ranges[b.depth][0] <= b.rho <= ranges[b.depth][-1]]
    for best in optima:
        axes.plot(
            best.rho, best.eta, marker="*", ms=11.0, mfc=tones[best.depth], mec=INK, mew=0.6,
            ls="none", zorder=5,
        )  # fmt: skip
    near = [] if asymptote is None else [(c, asymptote / math.sqrt(c.depth)) for c in curves]
    near = [(curve, rho) for curve, rho in near if curve.rho[0] <= rho <= curve.rho[-1]]
    for curve, rho in near:
        eta = float(np.interp(rho, curve.rho, curve.eta))
        bottom, tone = axes.get_ylim()[0], tones[curve.depth]
        axes.plot([rho, rho], [bottom, eta], color=tone, ls=(0, (2, 2)), lw=0.8, zorder=1)
        axes.plot(
            rho, bottom, marker="D", ms=5.0, mfc="white", mec=tone, mew=1.2, ls="none",
            zorder=6, clip_on=False,
        )  # fmt: skip
        axes.set_ylim(bottom=bottom)
    return bool(optima), bool(near)


def _response_keys(markers: dict[str, str], optima: bool, asymptote: bool) -> list[Any]:
    """Return the legend entries, in neutral grey since colour means depth."""
    keys = [panels.key("theory", color=FAINT)]
    keys += [panels.dot(sampler, marker=shape) for sampler, shape in markers.items()]
    if optima:
        look = {"mfc": FAINT, "mec": INK, "mew": 0.6, "marker": "*", "ms": 10.0}
        keys.append(panels.key("optimum", ls="none", **look))
    if asymptote:
        look = {"mfc": "white", "mec": FAINT, "mew": 1.1, "marker": "D", "ms": 5.0}
        keys.append(panels.key(r"$c/\sqrt{L}$", ls="none", **look))
    return keys


def _score_keys(series: Sequence[Any]) -> list[Any]:
    """Return the legend entries of the panel of z-scores."""
    from matplotlib.patches import Patch

    keys = [Patch(facecolor=BAND, label=r"$\pm 3\,\sigma$")] if series else []
    if any(np.any(item.neglected > 0.0) for item in series):
        keys.append(Patch(facecolor=BAR, label="neglected order"))
    return keys
