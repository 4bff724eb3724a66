"""Figures of the regimes of depth: moments against the depth, the law of growth, and the maps."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullFormatter

from resexpand import FractionalBrownian, Smooth
from resexpand.export.figures.style import colour

VARIANCE = 0.01
LAWS = (FractionalBrownian(0.2), FractionalBrownian(0.8), Smooth("rbf", VARIANCE))


def save(path: Any) -> None:
    """Write the current figure."""
    plt.savefig(path, bbox_inches="tight")
    plt.close()


def curves(found: dict[str, tuple[float, float]], betas: Any, run: Any, path: Any) -> None:
    """Draw moments of independent blocks against the depth, and distances from the limit."""
    axes = plt.subplots(1, 3, figsize=(9, 2.8), layout="constrained")[1]
    for k, (name, at) in enumerate((("kernel", axes[0]), ("gradient", axes[1]))):
        for j, beta in enumerate(betas):
            start = f"{name}, beta = {beta},"
            points = {int(n.split("L = ")[1]): v for n, v in found.items() if n.startswith(start)}
            grid = np.geomspace(min(points), max(points), 60)
            at.plot(grid, (1 + grid ** (-2 * beta) / 2) ** grid - 1, color=colour(j))
            values = np.array([points[d] for d in points])
            at.errorbar(
                list(points),
                values[:, 0] - 1,
                values[:, 1],
                fmt="o",
                ms=3,
                color=colour(j),
                label=rf"$\beta = {beta}$",
            )
        side = r"|h_L|^2 / |h_0|^2" if k == 0 else r"|\nabla_0|^2 / |\nabla_L|^2"
        at.set(xscale="log", yscale="log", xlabel="depth L", ylabel=rf"$\mathrm{{E}}\,{side} - 1$")
    share = 1 / np.array(run.depths) - 1 / run.steps
    axes[2].errorbar(share, run.distance, run.distance_error, fmt="o", ms=3, color=colour(0))
    axes[2].plot(share, run.distance[0] * share / share[0], color=colour(1), label="slope 1")
    axes[2].set(
        xscale="log", yscale="log", xlabel="$1/L - 1/n$", ylabel=r"$\mathrm{E}\,|h_L - X|^2 / N$"
    )
    axes[2].xaxis.set_minor_formatter(NullFormatter())
    axes[2].yaxis.set_minor_formatter(NullFormatter())
    for at in axes[[0, 2]]:
        at.legend()
    save(path)


def histogram(law: tuple[Any, np.ndarray, int], path: Any) -> None:
    """Draw the law of the growth at beta = 1/2, and single weights along the depth."""
    counted, edges, n = law
    counts = np.asarray(counted.counts, dtype=float).reshape(-1)
    inner = counts[1:-1] if len(counts) == len(edges) + 1 else counts
    left, right = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")[1]
    width = np.diff(edges)
    left.stairs(inner / (counts.sum() * width), edges, fill=True, color="#BCD6E6")
    mean, variance = 0.5 - 1 / n, 2 / n
    grid = np.linspace(-0.6, 1.5, 300)
    density = np.exp(-((grid - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    left.plot(grid, density, color=colour(1))
    left.set(xlabel=r"$\ln |h_L|^2 / |h_0|^2$", ylabel="density")
    for j, layers in enumerate(LAWS):
        values, vectors = np.linalg.eigh(layers.covariance(200))
        noise = np.random.default_rng(j).normal(size=200)
        path_of = (vectors * np.sqrt(np.maximum(values, 0))) @ noise
        right.plot(
            np.arange(200) / 200, path_of - 5 * j, color=colour(j), lw=0.8, label=str(layers)
        )
    right.set(xlabel="share of the depth", ylabel="a weight, shifted", ylim=(-14, 8))
    right.legend(fontsize=6)
    save(path)


def map_figure(maps: dict[str, Any], betas: Any, exponents: Any, path: Any) -> None:
    """Draw the maps, with the critical exponents on top."""
    axes = plt.subplots(2, 2, figsize=(7.5, 5.5), sharex=True, sharey=True, layout="constrained")[1]
    H = np.linspace(exponents[0], exponents[-1], 200)
    curves_of = {"forward": np.maximum(H, 0.5), "gradient": np.maximum(0.5, 2 * H - 1)}
    for row, (law, found) in zip(axes, maps.items(), strict=True):
        for at, (name, values) in zip(row, found.items(), strict=True):
            shown = np.clip(np.nan_to_num(values, nan=3.0, posinf=3.0), -3, 3)
            mesh = at.pcolormesh(
                betas, exponents, shown, cmap="RdBu_r", vmin=-3, vmax=3, rasterized=True
            )
            at.plot(curves_of[name], H, "k", lw=1)
            at.set_title(f"{name}, {law} generator", fontsize=8)
    for at in axes[-1]:
        at.set(xlabel=r"$\beta$", xlim=(betas[0], betas[-1]))
    for at in axes[:, 0]:
        at.set(ylabel="H")
    plt.colorbar(mesh, ax=axes, label=r"$\log_{10}$ of the relative distance")
    save(path)
