"""The order 1/N of residual networks, theory against samples.

The one-loop theory states how means shift and how covariance kernels fluctuate at finite width,
within and across layers. Claims, for erf_unit, tanh and relu, one and two inputs, several depths
and residual scales:

- mean: shift of the layer covariance C, extrapolated from several widths. Control: the conditioning
  term is dropped.
- fluctuations: covariances of C and of the kernel K they make, within and across layers. Control:
  noise that blocks do not share.
- empirical: covariances of G = h.h/N, and the excess kurtosis of an output. Control: G is taken for
  K, which lacks the noise of the average over neurons.
- order: what is left of the mean falls like 1/N^2. Control: the shift itself, which falls like 1/N.
- scores: the z-scores of independent runs scatter like standard normals. Control: those of the
  theory without conditioning term and shared noise.

Usage: ``python numerics/finite_width.py [--scale smoke|full] [--out FOLDER] [--store FOLDER]``.
With a store a run that was stopped goes on where it was. Exit code 0 if all claims agree, 1 if one
disagrees (or a control slips through), 2 if undecided.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from resexpand.agreement.comparison import combine, compare
from resexpand.agreement.outcome import Agreement
from resexpand.export.figures.one_loop import Sampled, terms_figure
from resexpand.export.figures.picture_files import save_figure
from resexpand.montecarlo.sample import sample
from support.claims import Claim, run_script
from support.finite_width import (
    Case,
    Coefficients,
    compare_coefficients,
    exponent,
    sample_covariances,
    sample_mean,
    scatter,
    straight_widths,
    usable_widths,
)

ACCURACY = 14
"""Standard errors of one width in a deviation to be resolved; extrapolation takes its share."""


@dataclass(frozen=True)
class Scale:
    """How much is sampled: cases, widths, networks per width."""

    activations: tuple[str, ...] = ("erf_unit", "tanh", "relu")
    inputs: tuple[int, ...] = (1, 2)
    depths: tuple[int, ...] = (5, 20, 100)
    scales: tuple[str, ...] = ("0.3", "1/sqrt(L)", "1")
    widths: tuple[int, ...] = (50, 100, 200, 400, 800)
    draws: int = 10_000
    """Networks per width for fluctuations; means take up to twelve times as many."""
    resolve: float = 0.2
    mean_resolve: float = 0.3
    order_widths: tuple[int, ...] = (8, 16, 32, 64)
    order_draws: int = 3_000_000
    order_resolve: float = 0.25

    def cases(self) -> Iterator[Case]:
        """Yield every case, the shallow ones first."""
        for depth, inputs, activation in product(self.depths, self.inputs, self.activations):
            for scale in self.scales:
                value = 1 / sqrt(depth) if scale == "1/sqrt(L)" else float(scale)
                yield Case(activation, inputs, depth, value)


SETTINGS = {
    "smoke": Scale(
        activations=("erf_unit", "relu"),
        depths=(5,),
        scales=("1/sqrt(L)",),
        widths=(48, 96, 192),
        draws=16_000,
        resolve=0.2,
        mean_resolve=0.2,
        order_draws=150_000,
        order_resolve=0.5,
    ),
    "full": Scale(),
}


@dataclass
class Findings:
    """Comparisons of every case, right and wrong, and what was left out."""

    right: dict[str, dict[str, Agreement]] = field(default_factory=dict)
    wrong: dict[str, dict[str, Agreement]] = field(default_factory=dict)
    outside: dict[str, str] = field(default_factory=dict)

    def add(self, claim: str, case: Case, right: Agreement, wrong: Agreement) -> None:
        """Keep the comparison of a case and its control."""
        self.right.setdefault(claim, {})[case.name] = right
        self.wrong.setdefault(claim, {})[case.name] = wrong


def options_of(store: Path | None, case: Case, width: int, part: str) -> dict[str, Any]:
    """Return the keywords of one run."""
    if store is None:
        return {"progress": False}
    store.mkdir(parents=True, exist_ok=True)
    name = case.name.replace(", ", "-").replace(" ", "")
    return {"progress": False, "store": store / f"{name}-N{width}-{part}.sqlite"}


def left_out(case: Case) -> str:
    """Return why a case is not examined, empty if it is."""
    closed = case.inputs == 1 or case.activation in ("erf_unit", "relu")
    if not closed and (case.depth > 20 or case.depth * case.scale**2 > 5):
        return "pairs of layers times pairs of inputs: minutes of quadrature without a closed form"
    return ""


def examine(case: Case, scale: Scale, findings: Findings, store: Path | None) -> str:
    """Sample one case and compare it; return what to report."""
    if reason := left_out(case):
        findings.outside[case.name] = reason
        return f"left out: {reason}"
    theory = Coefficients.of(case)
    widths = usable_widths(scale.widths, theory.parameter)
    if len(widths) < 2:
        findings.outside[case.name] = f"v = {theory.parameter:.3g}: the expansion does not hold"
        return f"outside validity, v = {theory.parameter:.3g}"
    # Fewer widths extrapolate worse.
    draws = round(scale.draws * (len(scale.widths) / len(widths)) ** 2)
    size = float(np.abs(theory.values["C_mean"]).max())
    most, target = 12 * draws, scale.mean_resolve * size / ACCURACY
    means = [
        {"C_mean": sample_mean(case, n, most, target=target, **options_of(store, case, n, "mean"))}
        for n in straight_widths(widths, theory.parameter)
    ]
    spreads = [
        sample_covariances(case, n, draws, **options_of(store, case, n, "spread")) for n in widths
    ]

    def judged(values: dict[str, Any], runs: list[Any]) -> Agreement:
        resolve = scale.mean_resolve if "C_mean" in values else scale.resolve
        return compare_coefficients(values, runs, theory, resolve=resolve)

    wrong = theory.reduced()
    parts = (
        ("mean", ("C_mean",), means, wrong),
        ("fluctuations", ("C_cov", "K_cov"), spreads, wrong),
        ("empirical", ("G_cov", "kurtosis"), spreads, wrong),
    )
    verdicts = []
    for claim, names, runs, other in parts:
        right = judged({name: theory.values[name] for name in names}, runs)
        findings.add(claim, case, right, judged({name: other[name] for name in names}, runs))
        verdicts.append(f"{claim} {right.verdict}")
    return f"widths {widths}: " + ", ".join(verdicts)


def order_claim(scale: Scale, store: Path | None) -> Claim:
    """Measure how what is left of means and fluctuations falls with the width."""
    right, wrong = {}, {}
    for activation, name in product(scale.activations, ("C_mean", "G_cov")):
        if (activation, name) == ("relu", "C_mean"):
            continue  # what is left of this mean is too small to be seen
        case = Case(activation, 1, 5, 1.0)
        theory, draws = Coefficients.of(case), scale.order_draws
        widths = tuple(n * max(1, round(theory.parameter / 3)) for n in scale.order_widths)
        runs: list[Any] = [
            sample_mean(case, n, draws, **options_of(store, case, n, "order-mean"))
            if name == "C_mean"
            else sample_covariances(case, n, draws, **options_of(store, case, n, "order"))[name]
            for n in widths
        ]
        # The next order bends the line by its share at a width in the middle.
        middle = sqrt(widths[0] * widths[-1])
        options = {
            "resolve": scale.order_resolve,
            "neglected": {"order": [theory.parameter / middle]},
        }
        for found, value in ((right, theory.values[name].ravel()[-1]), (wrong, 0.0)):
            measured = {"order": exponent(runs, float(value))}
            found[f"{case.name} {name}"] = compare({"order": [2.0]}, measured, **options)
    statement = "what the theory leaves falls like 1/N^2"
    return Claim("order", statement, combine(right), combine(wrong), "no theory of order 1/N")


STATEMENTS = {
    "mean": ("means shift as derived", "the conditioning term is dropped"),
    "fluctuations": (
        "C and K fluctuate as derived, within and across layers",
        "blocks share no noise",
    ),
    "empirical": (
        "G fluctuates, and outputs deviate from normal, as derived",
        "G is taken for K, and its kurtosis for that of unshared noise",
    ),
}


def scores_claim(findings: Findings, scale: Scale) -> Claim:
    """Judge whether z-scores scatter like standard normals: one of every run."""

    def judged(kept: dict[str, dict[str, Agreement]]) -> Agreement:
        scores = [
            float(agreement.z[name].ravel()[-1])
            for claim, name in (("mean", "C_mean"), ("empirical", "G_cov"))
            for agreement in kept[claim].values()
        ]
        # What could not be judged, such as a heavy tail, has no score; its claim says so.
        scores = [score for score in scores if np.isfinite(score)]
        measured = {"rms_z": scatter(scores)}
        return compare(
            {"rms_z": [1.0]}, measured, neglected=0.1, resolve=10 / sqrt(2 * len(scores))
        )

    statement = "the root mean square of one z-score per run is 1"
    right, wrong = judged(findings.right), judged(findings.wrong)
    # The scatter of a hundred scores is known to seven percent, and may be off by ten.
    return Claim("scores", statement, right, wrong, "terms are dropped", resolve=0.6)


def figures(scale: Scale, out: Path) -> None:
    """Draw mean and variance of C over depth, with and without terms, against samples."""
    case = Case("erf_unit", 1, 5 if scale is SETTINGS["smoke"] else 20, 0.3)
    theory, width = Coefficients.of(case, every_layer=True), scale.widths[-1]
    run = sample_mean(case, width, 2 * scale.draws, every_layer=True, progress=False)
    layers = np.arange(1, case.depth + 2)
    sampled = Sampled(layers, run.mean[:, 0], run.stderr[:, 0])
    curves = {
        "all terms": theory.values["C_mean"][:, 0],
        "no conditioning term": theory.reduced(every_layer=True)["C_mean"][:, 0],
    }
    name = case.activation.replace("_", " ")
    subtitle = (
        rf"{name}, $L = {case.depth}$, $\rho = {case.scale}$, $N = {width}$, $K^0 = {case.start}$"
    )
    save_figure(terms_figure(layers, curves, sampled, subtitle=subtitle), out / "mean")
    found = sample(
        case.net, "layer_covariance", width, 2 * scale.draws, K0=case.start, progress=False
    )["layer_covariance"]
    variance = width * found.variance
    spread = Sampled(layers, variance, 2 * found.stderr_uncertainty * variance)
    curves = {
        "all terms": np.diagonal(theory.noise),
        "no shared noise": np.diagonal(theory.noise_unshared()),
    }
    label = r"$N\,\mathrm{Var}\,C^l$"
    drawn = terms_figure(layers, curves, spread, subtitle=subtitle, quantity=label)
    save_figure(drawn, out / "variance")


def examined(chosen: argparse.Namespace, scale: Scale) -> tuple[list[Claim], dict[str, Any]]:
    """Examine every case; return the claims, and the verdicts of the controls by case."""
    findings, begun, cases = Findings(), time.monotonic(), list(scale.cases())
    for number, case in enumerate(cases, start=1):
        summary = examine(case, scale, findings, chosen.store)
        spent = time.monotonic() - begun
        print(f"[{number}/{len(cases)}, {spent:.0f} s] {case.name}: {summary}", flush=True)
    claims = [
        Claim(name, statement, combine(findings.right[name]), combine(findings.wrong[name]), wrong)
        for name, (statement, wrong) in STATEMENTS.items()
    ]
    claims += [order_claim(scale, chosen.store), scores_claim(findings, scale)]
    if chosen.out is not None:
        figures(scale, chosen.out)
    refuted = {
        name: {case: agreement.verdict for case, agreement in of_case.items()}
        for name, of_case in findings.wrong.items()
    }
    return claims, {"controls_by_case": refuted, "left_out": findings.outside}


main = partial(run_script, __doc__, SETTINGS, examined, store="folder that keeps samples")

if __name__ == "__main__":
    sys.exit(main())
