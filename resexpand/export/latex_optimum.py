r"""The optimal residual scale as a section.

The functions of the kernel it is made of are named once, ``B`` (growth of the kernel), ``G`` (rate
of the response) and ``A`` (amplitude of the read-out), so that the condition and the constant stay
short.
"""

from __future__ import annotations

import sympy as sp

from resexpand.conventions import K0, K
from resexpand.export.latex_layout import Equation
from resexpand.export.latex_recursion import recursion_equations
from resexpand.export.latex_sections import Section, Text, equation, law_equations, prose
from resexpand.export.latex_tidy import closed_form
from resexpand.theory.optimal_scale import K_STAR, OptimalScale

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
        What to write.
    closed : bool
        Whether averages are written in closed form, where one is known.
    """
    parts = [
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
    parts += _interior(optimum, closed) if optimum.trend == "interior" else [_none(optimum)]
    title = f"Optimal residual scale of the {optimum.kind} response"
    return Section(title, tuple(parts), optimum.citations)


def _functions(optimum: OptimalScale, closed: bool) -> list[Equation]:
    laws = optimum.source.laws
    named = (("B", optimum.growth), ("G", optimum.rate), ("A", optimum.amplitude))
    return [
        equation(
            f"{name}(K)",
            closed_form(value, laws) if closed else value,
            citations=optimum.citations,
        )
        for name, value in named
    ]


def _condition_words(optimum: OptimalScale) -> str:
    if optimum.trend == "interior":
        return "In a deep network the kernel $K^{*}$ of the last layer at the optimum solves"
    return (
        "In a deep network the slope of the response with respect to the kernel of the last layer "
        "has the sign of"
    )


def _condition(optimum: OptimalScale, closed: bool) -> Equation:
    condition = optimum.condition
    left = condition.lhs
    # Where there is no optimum, only the closed form shows why.
    if closed or optimum.trend != "interior":
        left = closed_form(left, condition.laws)
    head = "0" if optimum.trend == "interior" else "A'(K) B(K) + A(K) G(K)"
    return equation(head, left, citations=condition.citations)


def _none(optimum: OptimalScale) -> Text:
    return Text(rf"There is no interior optimum: {prose(optimum.reason)}.")


def _interior(optimum: OptimalScale, closed: bool) -> list[Text | Equation]:
    """Return the solution, the constant of the scale, Simpson's rule and the finite depth."""
    growth, short = optimum.growth, sp.Function("B")
    constant = optimum.constant
    points = (K0, sp.sqrt(K0 * K_STAR), K_STAR)
    named = {growth.subs(K, point): short(point) for point in points}
    parts: list[Text | Equation] = []
    if optimum.kernel_star is not None:
        star = optimum.kernel_star
        solved = equation("K^{*}", closed_form(star.rhs, star.laws), citations=star.citations)
        parts += [Text("whose solution is"), solved]
    integral = constant.rhs.xreplace({growth: short(K)})
    scale = Equation(
        r"\rho^{*}", (r"\frac{c}{\sqrt{L}} \left( 1 + O(1/L) \right)",), "", constant.citations
    )
    return [
        *parts,
        Text("and the residual scale that reaches it from $K^{0} < K^{*}$ is"),
        scale,
        equation("c^{2}", integral, citations=constant.citations),
        Text("Simpson's rule in the logarithm of the kernel gives"),
        equation(r"c^{2} \approx", optimum.simpson.rhs.xreplace(named)),
        Text(
            rf"At finite depth the optimum is a zero of $\partial_\rho \ln \eta^{{L}}$, which "
            "the layers carry along:"
        ),
        *recursion_equations(optimum.slope, closed=False),
    ]
