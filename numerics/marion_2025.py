"""Residual networks of large depth: the scale L**(-beta), and weights rough or smooth in the depth.

Marion, Fermanian, Biau & Vert (2025) scale ``h + L**(-beta) V relu(W h)`` at width 40: with
independent weights beta = 1/2 alone is neither trivial nor explosive, with weights that are smooth
in the depth it is beta = 1, and fractional Brownian weights of exponent H lie in between. Claims:

- independent: ``E |h_L|^2 / |h_0|^2 = (1 + L**(-2 beta) / 2)**L``, exactly, and the same number for
  gradients, at nine points. Control: the second moment of relu is taken for one.
- log-normal: mean and variance of ``ln |h_L|^2 / |h_0|^2`` at beta = 1/2, with the order 1/L.
  Control: infinite width.
- smooth: weights that are increments of a smooth process, against infinite width. Control: the
  covariance of the process instead of that of its increments.
- generator: the published generator of fractional weights is not exact for H > 1/2. Networks drawn
  with its law follow the kernel of its law. Control: the exact law.
- thresholds: beta* is max(H, 1/2) for the stream and max(1/2, 2 H - 1) for gradients of
  ``V relu(W h)``, and H for the stream of ``W relu(h)``. Control: stream and gradient exchanged.
- fresh thresholds: the same at settings that were written down before the estimator met them,
  ``W relu(h)`` and ``W erf(h)`` at H < 1/4 included, where beta* = 1/4.
- thresholds of jumps: where phi (stream) or phi' (gradient) of ``W phi(h)`` jumps, max(H, 1/3).
- contraction: at fixed width N and H < 1/2, ``W relu(h)`` at scale ``c / sqrt(L)`` contracts
  deterministically: ``E |h_L - h_0|^2 / |h_0|^2 -> (1 - exp(-c**2 / 2N))**2 / 2``. Control: the
  limit in which the width is infinite first, zero.
- paths: networks of ``W relu(h)`` approach the limit of infinite depth path by path, with the
  derived constant over L. Control: the rate L**(-1/2), from the shallowest network on.

The map of the distances over beta and H at infinite width is drawn for both generators.

Usage: ``python numerics/marion_2025.py [--scale smoke|full] [--out FOLDER]``. The folder keeps what
is finished, sample by sample, crossing by crossing and row by row of the map; the same command goes
on from there. Exit code 0 if all claims agree, 1 if one disagrees (or a control slips through), 2
if undecided.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp

from resexpand import (
    FractionalBrownian,
    Linear,
    Observable,
    ResNet,
    Smooth,
    compare,
    depth_limit,
    depth_paths,
    evaluate,
    kernel,
    sample,
)
from resexpand.agreement.comparison import combine
from resexpand.export.figures.style import house_style
from resexpand.numbers.depth_limit import solve_depth_limit
from support.claims import Claim, run_script
from support.depth_crossings import (
    CRITICAL,
    FRESH,
    JUMPS,
    RES1,
    RES3,
    theory_of,
    threshold,
    wrongly,
)
from support.depth_figures import curves, histogram, map_figure
from support.depth_map import L, depth_map
from support.ratios import scores

WIDTH, VARIANCE = 40, 0.01
BETAS = (1.0, 0.5, 0.25)
READ_OUT = (Linear(1, 0),)
CONSTANT, NARROW, ROUGH = 6.0, 3, 0.1
"""c^2, width and H of the contraction."""

Found = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Scale:
    """How much is sampled."""

    depths: tuple[int, ...]
    draws: int
    smooth: int
    smooth_draws: int
    widths: tuple[int, ...]
    critical: tuple[int, ...]
    contraction: tuple[int, ...]
    paths: tuple[int, ...]
    path_draws: int
    map: tuple[int, int, int]


SETTINGS = {
    "smoke": Scale(
        depths=(10, 40, 120),
        draws=4000,
        smooth=40,
        smooth_draws=2000,
        widths=(40, 80),
        critical=(25, 50, 100),
        contraction=(100, 200),
        paths=(20, 40, 80),
        path_draws=60,
        map=(60, 9, 8),
    ),
    "full": Scale(
        depths=(10, 120, 1000),
        draws=8000,
        smooth=200,
        smooth_draws=400,
        widths=(40, 80, 160),
        critical=(100, 200, 400),
        contraction=(480, 960),
        paths=(20, 100, 1000),
        path_draws=100,
        map=(1000, 70, 51),
    ),
}


def ratio_of(record: Any) -> np.ndarray:
    """Return ``ln |h_L|^2 / |h_0|^2`` of every network."""
    squares = record.of_inputs(record.sites["states"])
    return np.log(squares[:, -1] / squares[:, 0])


def drawn(folder: Path | None, name: str, *given: Any, seed: int) -> Any:
    """Sample; a store in the folder keeps the networks."""
    return sample(*given, K0=1.0, seed=seed, store=folder and folder / f"{name}.npz")


LOG = Observable("log_ratio", ratio_of, ("states",))


def independent(scale: Scale, folder: Path | None) -> tuple[Claim, Found]:
    """Sample independent blocks at nine points."""
    found: Found = {}
    right, wrong = {}, {}
    for depth, beta in product(scale.depths, BETAS):
        net = ResNet(RES3, scale=depth**-beta, depth=depth, read_out=READ_OUT)
        name = f"independent-{depth}-{beta}"
        run = drawn(folder, name, net, ["kernel", "gradient"], WIDTH, scale.draws, seed=depth)
        for name, place in (("kernel", -1), ("gradient", 0)):
            label = f"{name}, beta = {beta}, L = {depth}"
            found[label] = run[name].mean[place], run[name].stderr[place]
            right[label] = (1 + depth ** (-2 * beta) / 2) ** depth
            wrong[label] = (1 + depth ** (-2 * beta)) ** depth
    text = "second moments of stream and gradients are exact at every width"
    return Claim(
        "independent", text, scores(right, found), scores(wrong, found), "<relu^2> = 1"
    ), found


def log_normal(scale: Scale) -> Claim:
    """Sample the logarithm of the growth at beta = 1/2."""
    found: Found = {}
    right, wrong, n = {}, {}, WIDTH
    for depth in scale.depths[1:]:
        mean = 0.5 - 1 / n - (n - 2) * (n - 4) * (n + 5) / (8 * n**3 * depth)
        variance = 2 / n - (n**2 + 34 * n - 100) / (4 * n**3 * depth)
        squared = Observable("squared", partial(_squared, mean), ("states",))
        net = ResNet(RES3, scale=depth**-0.5, depth=depth)
        run = sample(net, [LOG, squared], n, scale.draws, K0=1.0, seed=depth)
        for name, label, exact, plain in (
            ("log_ratio", f"mean, L = {depth}", mean, 0.5 - 1 / (8 * depth)),
            ("squared", f"variance, L = {depth}", variance, 0.0),
        ):
            found[label] = float(run[name].mean), float(run[name].stderr)
            right[label], wrong[label] = exact, plain
    text = "the growth is log-normal, with the derived mean and variance"
    return Claim("log-normal", text, scores(right, found), scores(wrong, found), "infinite width")


def _squared(mean: float, record: Any) -> np.ndarray:
    return (ratio_of(record) - mean) ** 2


def against_theory(
    claim: tuple[str, str, str],
    widths: tuple[int, ...],
    draws: int,
    cases: dict[str, tuple[ResNet, ResNet]],
    folder: Path | None,
) -> Claim:
    """Compare wide networks with the kernel of their own description, and with that of another."""
    name, text, wrong = claim
    right, other = {}, {}
    for label, (net, control) in cases.items():
        runs = [
            drawn(folder, f"{name}-{label}-{width}", net, "kernel", width, draws, seed=width)
            for width in widths
        ]
        right[label], other[label] = (
            compare(evaluate(kernel(n), K0=1.0), runs, names={"K": "kernel"}, resolve=0.2)
            for n in (net, control)
        )
    return Claim(name, text, combine(right), combine(other), wrong)


def smooth(scale: Scale, folder: Path | None) -> Claim:
    """Sample smooth weights at two scales."""
    depth = scale.smooth
    cases = {
        f"beta = {beta}": tuple(
            ResNet(RES3, scale=depth**-beta, depth=depth, layers=Smooth("rbf", VARIANCE, of))
            for of in ("increments", "process")
        )
        for beta in (1.0, 0.75)
    }
    text = "smooth weights follow the kernel of two layers"
    claim = ("smooth", text, "the process, not its increments")
    return against_theory(claim, scale.widths, scale.smooth_draws, cases, folder)


def generator(scale: Scale, folder: Path | None) -> Claim:
    """Sample the law that the published generator draws."""
    depth = scale.smooth
    laws = [FractionalBrownian(0.9, name) for name in ("published", "exact")]
    nets = tuple(ResNet(RES3, scale=depth**-0.75, depth=depth, layers=law) for law in laws)
    text = "the published generator draws the law that is stated for it"
    claim = ("generator", text, "the exact law")
    return against_theory(claim, scale.widths, scale.draws // 2, {"H = 0.9": nets}, folder)


def thresholds(scale: Scale, name: str, settings: Any, folder: Path | None) -> tuple[Claim, Found]:
    """Extract critical exponents from kernels of several depths."""
    found: Found = {}
    right, wrong = {}, {}
    for branch, gradient, H in settings:
        kind = ("stream", "gradient")[gradient]
        label = f"{kind}, {branch!r}, H = {H}"
        store = folder and folder / "crossings.jsonl"
        found[label] = threshold(scale.critical, branch, gradient, H, store)
        right[label] = theory_of(branch, gradient, H)
        wrong[label] = wrongly(branch, gradient, H)
    text = "critical exponents are those derived at infinite width"
    agreement, control = scores(right, found), scores(wrong, found)
    return Claim(name, text, agreement, control, "stream and gradient exchanged"), found


def contraction(scale: Scale, folder: Path | None) -> Claim:
    """Extrapolate narrow networks with rough weights to infinite depth."""
    runs = []
    for depth in scale.contraction[-2:]:
        step, law = float(np.sqrt(CONSTANT / depth)), FractionalBrownian(ROUGH)
        net = ResNet(RES1, scale=step, depth=depth, layers=law)
        given = (net, "distance_squared", NARROW, scale.draws)
        run = drawn(folder, f"contraction-{depth}", *given, seed=depth)
        runs.append((run["distance_squared"].mean[-1], run["distance_squared"].stderr[-1]))
    power = 2 ** (1 - 2 * ROUGH)
    (first, wide), (last, error) = runs
    label = f"N = {NARROW}, H = {ROUGH}"
    found = {
        label: ((power * last - first) / (power - 1), np.hypot(power * error, wide) / (power - 1))
    }
    right = {label: (1 - np.exp(-CONSTANT / (2 * NARROW))) ** 2 / 2}
    text = "at fixed width rough weights contract deterministically: the limits do not commute"
    return Claim(
        "contraction",
        text,
        scores(right, found),
        scores({label: 0.0}, found),
        "infinite width first",
    )


def paths(scale: Scale) -> tuple[Claim, Any]:
    """Compare networks with their limit, path by path."""
    limit = depth_limit(ResNet(RES1, scale=1 / sp.sqrt(L), depth=L))
    exact = solve_depth_limit(limit, K0=1.0).path_error
    run = depth_paths(limit, K0=1.0, width=120, depths=scale.paths, draws=scale.path_draws, seed=1)
    names = [f"L = {depth}" for depth in run.depths]
    # The constant is that of infinite width: a part of 2/N is uncertain.
    errors = np.hypot(run.constant_error, 2 / 120 * exact)
    found: Found = dict(zip(names, zip(run.constant, errors, strict=True), strict=True))
    right = dict.fromkeys(names, exact)
    wrong = {n: exact * np.sqrt(d / run.depths[0]) for n, d in zip(names, run.depths, strict=True)}
    text = "networks approach their limit path by path, with the derived constant over L"
    return Claim("paths", text, scores(right, found), scores(wrong, found), "rate 1/2"), run


def log_law(scale: Scale) -> tuple[Any, np.ndarray, int]:
    """Sample the law of the growth at beta = 1/2: counts, their edges, and the width."""
    net = ResNet(RES3, scale=scale.depths[-1] ** -0.5, depth=scale.depths[-1])
    edges = np.linspace(-0.6, 1.5, 60)
    how = {"K0": 1.0, "seed": 2, "histograms": {"log_ratio": edges}}
    run = sample(net, LOG, WIDTH, scale.draws, **how)
    return run["log_ratio"].histogram, edges, WIDTH


def examined(chosen: argparse.Namespace, scale: Scale) -> tuple[list[Claim], dict[str, Any]]:
    """Return the claims and the tables; draw the figures."""
    out = chosen.out
    first, moments = independent(scale, out)
    found = [
        thresholds(scale, name, settings, out)
        for name, settings in (
            ("thresholds", CRITICAL),
            ("fresh thresholds", FRESH),
            ("thresholds of jumps", JUMPS),
        )
    ]
    last, run = paths(scale)
    claims = [first, log_normal(scale), smooth(scale, out), generator(scale, out)]
    claims += [*(claim for claim, _ in found), contraction(scale, out), last]
    depth, columns, rows = scale.map
    betas, hursts = np.linspace(0.2, 1.3, columns), np.linspace(0.05, 0.97, rows)
    store = out and out / "map.jsonl"
    maps = {
        law: depth_map(RES3, depth, betas, hursts, store, generator=law)
        for law in ("exact", "published")
    }
    if out is not None:
        with house_style():
            curves(moments, BETAS, run, out / "moments.png")
            histogram(log_law(scale), out / "growth.png")
            map_figure(maps, betas, hursts, out / "map.png")
    exponents = {label: value for _, values in found for label, value in values.items()}
    paths_found = {"exponent": run.exponent, "exponent_error": run.exponent_error}
    return claims, {"critical_exponents": exponents, "paths": paths_found}


main = partial(run_script, __doc__, SETTINGS, examined)

if __name__ == "__main__":
    sys.exit(main())
