r"""The optimal residual scale as a section.

The functions of the kernel it is made of are named once, ``B`` (growth of the kernel), ``G`` (rate
of the response) and ``A`` (amplitude of the read-out), so that the condition and the constant stay
short.
"""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from resexpand.conventions import K0, K
from resexpand.export.latex.layout import Equation
from resexpand.export.latex.recursion import recursion_equations
from resexpand.export.latex.sections import Section, Text, equation, law_equations, prose
from resexpand.export.latex.tidy import closed_form, formal
from resexpand.theory.differentiation import differentiate, total_derivative
from resexpand.theory.optimal_scale import K_STAR, OptimalScale
from resexpand.theory.recursion import Output, Recursion

B, G, A = (sp.Function(name)(K) for name in "BGA")
"""Growth of the kernel, rate of the response and amplitude of the read-out, formal."""

_PERTURBED = {
    "variance": "the variance of the output to that of the input",
    "covariance": "the covariance of the outputs for two nearly orthogonal inputs",
    "tangent": "the output to a tangent vector at the input",
}


def optimum_section(optimum: OptimalScale, closed: bool) -> Section:
    """Return conditions and formulas for the optimal residual scale.

    Parameters
    ----------
    optimum : OptimalScale
        The optimum to write.
    closed : bool
        Whether averages are written in closed form, where one is known.
    """
    parts: list[Text | Equation] = [
        Text(
            rf"The response of {_PERTURBED[optimum.kind]} is $\eta^{{L}} = A(K^{{L}}) \, "
            r"\chi^{L,0}$. A block adds $\rho^{2} B(K)$ to the kernel and multiplies $\chi$ by "
            r"$1 + \rho^{2} G(K)$, where"
        ),
        *_functions(optimum, closed),
        *law_equations(optimum.source.laws),
        Text(_condition_words(optimum)),
        _condition(optimum, closed),
    ]
    if optimum.trend == "interior":
        parts += _interior(optimum)
    else:
        parts.append(Text(f"There is no interior optimum: {prose(optimum.reason)}."))
    title = f"Optimal residual scale of the {optimum.kind} response"
    return Section(title, tuple(parts), optimum.citations)


def _functions(optimum: OptimalScale, closed: bool) -> list[Equation]:
    laws = optimum.source.laws
    named = (("B", optimum.growth), ("G", optimum.rate), ("A", optimum.amplitude))
    return [
        equation(
            f"{name}(K)",
            closed_form(value, laws) if closed else formal(value),
            citations=optimum.citations,
        )
        for name, value in named
    ]


def _condition_words(optimum: OptimalScale) -> str:
    if optimum.trend == "interior":
        # Whether the condition has a solution depends on the numbers: the formulas promise none.
        return (
            "In a deep network an interior optimum, where there is one, leaves the last layer with "
            "a kernel $K^{*}$ that solves"
        )
    return (
        "In a deep network the slope of the response with respect to the kernel of the last layer "
        "has the sign of"
    )


def _condition(optimum: OptimalScale, closed: bool) -> Equation:
    condition = optimum.condition
    interior = optimum.trend == "interior"
    # Where there is no optimum, only the closed form shows why.
    show = closed_form if closed or not interior else formal
    general = "A'(K) B(K) + A(K) G(K)"
    shown = equation("" if interior else general, show(condition.lhs, condition.laws))
    if not interior:
        return replace(shown, citations=condition.citations)
    return Equation(
        "0", (general, f"= {shown.lines[0]}", *shown.lines[1:]), "", condition.citations
    )


def _interior(optimum: OptimalScale) -> list[Text | Equation]:
    """Return the solution, the constant of the scale, Simpson's rule and the finite depth."""
    growth, constant = optimum.growth, optimum.constant
    points = (K0, sp.sqrt(K0 * K_STAR), K_STAR)
    named = {growth.subs(K, point): B.subs(K, point) for point in points}
    parts: list[Text | Equation] = []
    if optimum.kernel_star is not None:
        star = optimum.kernel_star
        solved = equation("K^{*}", closed_form(star.rhs, star.laws), citations=star.citations)
        parts += [Text("whose solution is"), solved]
    integral = constant.rhs.xreplace({growth: B})
    integrated: list[Text | Equation] = []
    if optimum.closed_constant is not None:
        integrated = [Text("or, integrated,"), equation("c^{2}", optimum.closed_constant.rhs)]
    scale = Equation(
        r"\rho^{*}", (r"\frac{c}{\sqrt{L}} \left( 1 + O(1/L) \right)",), "", constant.citations
    )
    return [
        *parts,
        Text("and the residual scale that reaches it from $K^{0} < K^{*}$ is"),
        scale,
        equation("c^{2}", integral, citations=constant.citations),
        *integrated,
        Text("Simpson's rule in the logarithm of the kernel gives"),
        equation(r"c^{2} \approx", optimum.simpson.rhs.xreplace(named)),
        Text(
            r"At finite depth the optimum is a zero of $\partial_\rho \ln \eta^{L}$, which "
            "the layers carry along:"
        ),
        *recursion_equations(general_slope(optimum), closed=False),
    ]


def general_slope(optimum: OptimalScale) -> Recursion:
    """Return the recursion for ``d ln(eta) / d rho`` in terms of ``B``, ``G`` and ``A``.

    It is derived as `OptimalScale.slope` is, before the functions of the network are put in.
    """
    slope = optimum.slope
    rho = next(s for s, value in slope.bindings if value == slope.net.scale)
    log_chi, *derivatives = slope.state[1:]
    symbols = (derivatives[0], derivatives[1])
    objective = replace(
        slope,
        state=(K, log_chi),
        initial=(K0, sp.Integer(0)),
        update=(K + rho**2 * B, log_chi + sp.log(1 + rho**2 * G)),
        outputs=(),
    )
    value = total_derivative(sp.log(A) + log_chi, objective, rho, symbols)
    moving = differentiate(objective, rho, symbols)
    magnitude = log_chi + sp.log(sp.Abs(1 + rho**2 * G))
    return replace(
        moving,
        update=(moving.update[0], magnitude, *moving.update[2:]),
        outputs=(Output("slope", "final", (value,)),),
    )
