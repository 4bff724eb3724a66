"""Steps of the optimal residual scale: condition, constant, and the optimum at finite depth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import mpmath
import sympy as sp

from resexpand.conventions import K0
from resexpand.numbers.evaluation import evaluate
from resexpand.theory.closure import close_elementary
from resexpand.theory.derivation import Check, Derivation
from resexpand.theory.optimal_scale import OptimalScale, optimal_scale
from resexpand.theory.response import ResponseKind
from resexpand.workflows.derive.propagation import exact_start, response_steps
from resexpand.workflows.derive.witness import DOUBLE, Witness, rounded

SHALLOW, DEEP = 10, 100
"""Blocks of the networks whose optima are compared with the limit of infinite depth."""

TINY = sp.Rational(1, 10**9)


def optimal_scale_steps(derivation: Derivation, witness: Witness, kind: ResponseKind) -> None:
    """Take the steps of the optimal scale of a response, those of the response first."""
    optimum = optimal_scale(witness.net, kind=kind)
    response_steps(derivation, witness, kind)
    derivation.cite(optimum.citations)
    witness.bind(optimum.source)
    _flow_step(derivation, optimum, witness)
    derivation.step(
        r"The output responds with $\eta = A(K^L) \chi$. Its logarithmic slope with respect to the "
        "kernel of the last layer vanishes where $A' B + A G$ does: at a kernel that depends "
        "neither on the input nor on the depth.",
        optimum.condition,
        check=_condition_checks(optimum, witness),
    )
    if optimum.trend != "interior":
        derivation.step(f"There is no interior optimum: {optimum.reason}.")
        return
    _constant_steps(derivation, optimum, witness)


def _flow_step(derivation: Derivation, optimum: OptimalScale, witness: Witness) -> None:
    laws, number, start = optimum.source.laws, exact_start(witness), witness.start

    def value(expression: sp.Expr) -> sp.Expr:
        return witness.at(close_elementary(expression, laws), K=number)

    growth, rate, amplitude = _functions(optimum, witness)
    derivation.step(
        r"In a deep network only the time $t = \rho^2 L$ matters. The kernel flows with the speed "
        r"$dK/dt = B(K)$, the logarithm of the response grows with the rate $G(K)$, and the "
        "read-out contributes the amplitude $A(K)$.",
        {"B(K)": optimum.growth, "G(K)": optimum.rate, "A(K)": optimum.amplitude},
        check={
            "speed, against an integral": lambda shown: (value(shown["B(K)"]), growth(start)),
            "rate, against integrals": lambda shown: (
                value(shown["G(K)"]),
                rounded(lambda: rate(start)),
            ),
            "amplitude, against integrals": lambda shown: (
                value(shown["A(K)"]) * _read_out(witness),
                rounded(lambda: amplitude(start)),
            ),
        },
    )


def _read_out(witness: Witness) -> sp.Expr:
    """Return the weight variance of the read-out, which the amplitude leaves out."""
    out = witness.net.read_out
    return witness.at(out.weight_variance) if out else sp.Integer(1)


def _functions(optimum: OptimalScale, witness: Witness) -> tuple[Any, Any, Any]:
    """Return speed, rate and amplitude as functions of the kernel, made of integrals."""
    out = _read_out(witness)._to_mpmath(mpmath.mp.prec)
    power = 2 if optimum.kind == "tangent" else 1

    def growth(kernel: Any) -> Any:
        return witness.branch(kernel)[0]

    def rate(kernel: Any) -> Any:
        if optimum.kind == "variance":
            return mpmath.diff(growth, kernel)
        return witness.slopes(kernel, 1, power)

    def amplitude(kernel: Any) -> Any:
        if optimum.kind == "variance":
            return mpmath.diff(witness.moment, kernel)
        return out * witness.seen(kernel, power)

    return growth, rate, amplitude


def _condition_checks(optimum: OptimalScale, witness: Witness) -> Mapping[str, Check]:
    """Return the check of the condition: its two terms from integrals."""
    growth, rate, amplitude = _functions(optimum, witness)
    start = witness.start

    def check(shown: Mapping[str, Any]) -> tuple[Any, Any]:
        left = close_elementary(shown[""].lhs, optimum.source.laws)
        own = rounded(
            lambda: mpmath.diff(amplitude, start) * growth(start) + amplitude(start) * rate(start)
        )
        return witness.at(left, K=exact_start(witness)) * _read_out(witness), own

    return {"against integrals and their differences": check}


def _constant_steps(derivation: Derivation, optimum: OptimalScale, witness: Witness) -> None:
    own = optimum.net.with_scale(1).free_symbols | {K0}  # not those of the scale that is sought
    numbers: dict[str, Any] = {s.name: float(v) for s, v in witness.values.items() if s in own}
    net = optimum.net
    optima = {
        depth: evaluate(optimal_scale(net.with_scale(net.scale, depth), optimum.kind), **numbers)
        for depth in (SHALLOW, DEEP)
    }
    star, constant = (float(optima[SHALLOW][name]) for name in ("K_star", "c"))
    scales = {depth: float(values["rho"]) for depth, values in optima.items()}
    if not (constant > 0 and all(map(math.isfinite, (star, constant, *scales.values())))):
        derivation.step(f"At the numbers of the checks: {optima[SHALLOW].status}.")
        return
    growth, rate, amplitude = _functions(optimum, witness)
    derivation.step(
        "At the numbers of the checks this kernel is",
        {"K_star": sp.Float(star, 12)},
        check={
            "a step of Newton, on integrals alone, leaves nine digits": lambda shown: (
                bool(abs(_newton(growth, amplitude, rate, shown["K_star"])) < TINY * star),
                True,
            )
        },
    )
    derivation.step(
        r"The time that the kernel needs to reach $K^*$ fixes the scale: $t = c^2$, hence "
        r"$\rho^* = c / \sqrt{L}$.",
        optimum.constant,
        check={
            "$c$ at these numbers, against an integral over integrals": lambda: (
                constant,
                _root_of_time(growth, witness.start, star),
            )
        },
    )
    if optimum.closed_constant is not None:
        derivation.step("This integral is known.", optimum.closed_constant)
    excess = [scale * depth**0.5 / constant - 1 for depth, scale in scales.items()]
    derivation.step(
        r"At finite depth the optimum is a zero of the exact derivative of $\ln \eta$. It differs "
        r"from $c / \sqrt{L}$ by a relative amount of order $1/L$. At these numbers:",
        {f"\\rho^{{*}}_{{L={depth}}}": sp.Float(scale, 6) for depth, scale in scales.items()},
        check={
            "ten times as deep, a tenth of the excess": (
                excess[0] / excess[1],
                sp.Interval(7, 14),
            ),
            f"$L = {SHALLOW}$: the loop over integrals falls to both sides": lambda: (
                _is_peak(growth, amplitude, rate, witness.start, scales[SHALLOW]),
                True,
            ),
        },
    )


def _newton(growth: Any, amplitude: Any, rate: Any, star: sp.Float) -> Any:
    """Return the step of Newton from a kernel to the zero of the condition made of integrals."""
    with mpmath.workdps(DOUBLE):

        def condition(kernel: Any) -> Any:
            ratio = mpmath.diff(amplitude, kernel) / amplitude(kernel)
            return ratio * growth(kernel) + rate(kernel)

        at = star._to_mpmath(mpmath.mp.prec)
        near = at * (1 + mpmath.mpf(10) ** -6)
        below, above = condition(at), condition(near)
        return -below * (near - at) / (above - below)


def _root_of_time(growth: Any, start: Any, star: float) -> Any:
    with mpmath.workdps(DOUBLE):
        return mpmath.sqrt(mpmath.quad(lambda k: 1 / growth(k), [start, mpmath.mpf(star)]))


def _is_peak(growth: Any, amplitude: Any, rate: Any, start: Any, scale: float) -> bool:
    """Whether the response, by the loop over integrals, is largest at a scale."""
    with mpmath.workdps(DOUBLE):

        def level(rho: Any) -> Any:
            kernel, total = start, mpmath.mpf(0)
            for _ in range(SHALLOW):
                total += mpmath.log(1 + rho**2 * rate(kernel))
                kernel += rho**2 * growth(kernel)
            return total + mpmath.log(amplitude(kernel))

        here = level(mpmath.mpf(scale))
        return all(level(scale * mpmath.mpf(factor)) < here for factor in ("0.999", "1.001"))
