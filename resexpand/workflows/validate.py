"""`validate`: derive the response function, sample networks, judge, and write everything down.

The output response of networks of several depths is derived at infinite width and compared, over a
range of residual scales, with networks sampled at several finite widths and extrapolated to
infinite width. Dense networks, whose every weight is drawn, witness the function-space sampler.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.agreement.comparison import combine, compare, two_sample
from resexpand.agreement.outcome import Agreement
from resexpand.codegen.values import Values
from resexpand.errors import UnsupportedError
from resexpand.montecarlo.sample import sample
from resexpand.montecarlo.statistics.estimate import Estimates
from resexpand.numbers.evaluation import evaluate
from resexpand.theory.kernel import kernel
from resexpand.theory.optimal_scale import OptimalScale, optimal_scale
from resexpand.theory.recursion import Recursion
from resexpand.workflows.settings import Settings

Array = NDArray[np.float64]
Say = Callable[[str], None]

UNKNOWN = (
    "the optimal scale is that of the variance response, derived for blocks that add to the stream"
)
NO_OPTIMUM = {name: np.array(np.nan) for name in ("K_star", "c", "rho")}

CURVE_POINTS, FEW = 241, 25
"""Residual scales at which theory lines are drawn; few where a kernel has many columns."""

FAR = 3.0
"""Largest scale of these lines, in units of the largest that is sampled."""


@dataclass(frozen=True)
class Theory:
    """Theory that is derived and computed before anything is sampled.

    Attributes
    ----------
    response : Recursion
        The quantity that is compared, with symbolic hyperparameters.
    optimum : OptimalScale or None
        Its optimal residual scale, if it is derived.
    scales : ndarray
        Scales of the theory lines.
    lines : ndarray
        Its values, shape (scales, L + 1): after each layer of the deepest network.
    best : Values
        ``K_star``, ``c`` and ``rho`` for every depth of the settings.
    """

    response: Recursion
    optimum: OptimalScale | None
    scales: Array
    lines: Array
    best: list[Values]


@dataclass(frozen=True)
class Validation:
    """Everything a run found.

    Attributes
    ----------
    settings : Settings
        The settings.
    theory : Theory
        Formulas and numbers at infinite width.
    responses : dict of float to Agreement
        For every sampled scale the comparison of the response after each of the depths.
    samplers : dict of float to Agreement
        For some scales the comparison of dense and function-space networks.
    kernels : Agreement or None
        Comparison of the kernel of the data, if data were given.
    agreement : Agreement
        One verdict over all of it.
    files : tuple of Path
        The files written.
    """

    settings: Settings
    theory: Theory
    responses: dict[float, Agreement]
    samplers: dict[float, Agreement]
    kernels: Agreement | None
    agreement: Agreement
    files: tuple[Path, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 agrees, 1 disagrees, 2 inconclusive."""
        return self.agreement.exit_code


def validate(
    settings: Settings | None = None, *, theory: Theory | None = None, say: Say = print
) -> Validation:
    """Run a validation.

    Parameters
    ----------
    settings : Settings, optional
        Settings; by default the unit-slope error function at three depths.
    theory : Theory, optional
        Theory to compare, by default `derive` of the settings. A deliberately wrong theory is a
        negative control: the verdict must not be *agrees*.
    say : callable
        Receives every line of the report.

    Returns
    -------
    Validation
        Not yet written to disk; see `resexpand.workflows.results.write`.

    Raises
    ------
    HyperparameterError, UnsupportedError
        If the settings describe something that cannot be derived or sampled.
    """
    settings = settings or Settings()
    theory = theory or derive(settings)
    _announce(settings, theory, say)
    runs = sample_responses(settings, say)
    responses = {
        scale: judge_responses(settings, theory, scale, run) for scale, run in runs.items()
    }
    samplers = witness(settings, say)
    kernels = judge_kernels(settings, say)
    parts = {f"rho = {scale:g}": a for scale, a in responses.items()}
    parts |= {f"dense, rho = {scale:g}": a for scale, a in samplers.items()}
    parts |= {} if kernels is None else {"kernel of the data": kernels}
    return Validation(settings, theory, responses, samplers, kernels, combine(parts))


def derive(settings: Settings) -> Theory:
    """Derive the response and its optimum, and evaluate both on the grid of the settings."""
    net, measured = settings.network(), settings.measured
    recursion, optimum, why = measured.derive(net), None, UNKNOWN
    if measured.kind == "variance":
        try:
            optimum = optimal_scale(net)
        except UnsupportedError as error:
            why = str(error)
    best = [
        Values(dict(NO_OPTIMUM), depth, (why,))
        if optimum is None
        else evaluate(optimum, K0=settings.start, depth=depth)
        for depth in settings.depths
    ]
    # The lines reach an optimum that is not far beyond what is sampled.
    optima = [r for one in best if (r := float(one["rho"])) <= FAR * max(settings.scales)]
    count = FEW if measured.kind == "kernel" else CURVE_POINTS
    scales = np.linspace(0, 1.02 * max([*settings.scales, *optima]), count)
    lines = measured.values(recursion, scales, settings.depth, settings.start)
    return Theory(recursion, optimum, scales, lines, best)


def _announce(settings: Settings, theory: Theory, say: Say) -> None:
    formal = settings.measured.derive(settings.symbolic_network())
    say(f"network    {settings.network()}")
    for symbol, value in formal.definitions:
        say(f"           {symbol}^l = {value}")
    say(f"           K^l = {formal.update[0]}")
    if settings.measured.kind == "kernel":
        say("compared   the mean of K^l over the columns: no response is derived, or sampled")
    else:
        say(f"response   chi^(l,0) = {formal.update[-1]}")
        say(f"           eta = {formal.output('eta').entries[0]}")
    if theory.optimum is not None:
        say(f"optimum    0 = {theory.optimum.condition.lhs}")
    best = theory.best[-1]
    if np.isfinite(best["K_star"]):
        say(f"           K* = {best['K_star']:.6g}, rho* = c/sqrt(L) with c = {best['c']:.6g}")
    else:
        say(f"           none: {best.status}")


def _sampled(
    settings: Settings, scale: float, width: int, draws: int, store: str, part: int = 0, **how: Any
) -> Estimates:
    """Sample networks of one scale and width; the response by default, from its kernel."""
    given = {"observables": ["kernel", settings.measured.observable], "K0": settings.start} | how
    return sample(
        settings.network(scale, settings.depth),
        width=width,
        draws=draws,
        seed=settings.seed_at(width, scale, part=part),
        workers=settings.workers,
        store=settings.store_at(store),
        **given,
    )


def _at_widths(settings: Settings, scale: float, store: str, **how: Any) -> list[Estimates]:
    """Sample networks of one scale at all widths, each into a store of its own."""
    return [
        _sampled(settings, scale, w, settings.draws_at(w), f"{store}-{scale:g}-{w}", **how)
        for w in settings.widths
    ]


def sample_responses(settings: Settings, say: Say) -> dict[float, list[Estimates]]:
    """Sample the response after every layer, at every scale and width."""
    runs: dict[float, list[Estimates]] = {}
    for scale in settings.scales:
        runs[scale] = _at_widths(settings, scale, "response")
        say(f"sampled    rho = {scale:<5g} at widths {', '.join(map(str, settings.widths))}")
    return runs


def judge_responses(
    settings: Settings, theory: Theory, scale: float, runs: list[Estimates]
) -> Agreement:
    """Compare the response at one scale, after each of the depths."""
    depths, measured = list(settings.depths), settings.measured
    name = measured.output
    values = measured.values(theory.response, [scale], settings.depth, settings.start)[0]
    return compare(
        {name: values},
        runs,
        names={name: measured.name},
        resolve=settings.resolve,
        labels={name: measured.symbol},
        scale={name: np.full_like(values, np.nanmax(np.abs(theory.lines[:, depths])))},
    )


def witness(settings: Settings, say: Say) -> dict[float, Agreement]:
    """Compare dense with function-space networks of one width, at the ends and the middle."""
    count, width, draws = len(settings.scales), settings.dense_width, settings.dense_draws
    verdicts = {}
    for scale in dict.fromkeys(settings.scales[i] for i in (0, count // 2, count - 1)):
        pair = [
            _sampled(settings, scale, width, draws, f"{m}-{scale:g}", part, method=m)
            for part, m in enumerate(("dense", "function-space"), start=1)
        ]
        largest = {name: _largest(pair[0][name].mean) for name in pair[0]}
        verdicts[scale] = two_sample(*pair, resolve=settings.resolve, scale=largest)
        say(f"sampled    rho = {scale:<5g} with every weight drawn, width {width}")
    return verdicts


def judge_kernels(settings: Settings, say: Say) -> Agreement | None:
    """Compare the kernel of all inputs over the layers, if there is more than one."""
    start = settings.input_kernel()
    if len(start) == 1:
        return None
    scale = settings.scales[len(settings.scales) // 2]
    net = settings.network(scale, settings.depth)
    theory = evaluate(kernel(net, inputs=settings.columns), K0=start, outputs=["K"])
    runs = _at_widths(settings, scale, "kernel", observables=["kernel"], K0=start, part=3)
    say(f"sampled    kernel of {len(start)} columns at rho = {scale:g}")
    return compare({"K": theory["K"]}, runs, resolve=settings.resolve, scale=_largest(theory["K"]))


def _largest(array: Array) -> Any:
    return float(np.abs(array).max())
