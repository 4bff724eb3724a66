"""A derivation as a section: every step with its number, its equations and what was checked."""

from __future__ import annotations

from resexpand.export.latex.layout import Equation
from resexpand.export.latex.recursion import recursion_equations
from resexpand.export.latex.sections import (
    Section,
    Text,
    expression_section,
    formula_section,
    prose,
)
from resexpand.export.latex.tidy import formal
from resexpand.theory.derivation import Derivation, Shown, Step, Verified
from resexpand.theory.formula import Formula
from resexpand.theory.layer_kernel import LayerKernel
from resexpand.theory.notation import symbol_latex
from resexpand.theory.recursion import Recursion


def derivation_section(derivation: Derivation, closed: bool) -> Section:
    """Return a derivation as text and equations."""
    parts = [part for step in derivation.steps for part in _step(step, closed)]
    return Section(prose(derivation.title), tuple(parts), derivation.citations)


def _step(step: Step, closed: bool) -> list[Text | Equation]:
    parts: list[Text | Equation] = [
        Text(rf"\par\medskip\textbf{{{step.number}.}} {prose(step.text)}")
    ]
    parts += step_equations(step, closed)
    return parts + [Text(_verified(verified)) for verified in step.verified]


def step_equations(step: Step, closed: bool) -> tuple[Equation, ...]:
    """Return the equations of a step."""
    return tuple(e for name, shown in step.equations for e in _shown(name, shown, closed))


def _shown(name: str, shown: Shown, closed: bool) -> tuple[Equation, ...]:
    if isinstance(shown, Formula):
        return formula_section(shown, closed).equations[:1]
    if isinstance(shown, LayerKernel):
        return tuple(e for formula in shown for e in _shown(name, formula, closed))
    if isinstance(shown, Recursion):
        return recursion_equations(shown, closed)
    return expression_section(name and left_side(name), formal(shown)).equations


def left_side(name: str) -> str:
    """Return the name of an equation as its left side: a symbol, or LaTeX as it stands."""
    return name if "\\" in name or "^" in name or "(" in name else symbol_latex(name)


def _verified(verified: Verified) -> str:
    what = prose(verified.what) + ": " if verified.what else ""
    words = prose(f"{verified.result} ({verified.how})")
    return rf"\par{{\small\emph{{Checked:}} {what}{words}.}}"
