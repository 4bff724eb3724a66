"""Results as notebooks show them: equations as one aligned formula, derivations as a page."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

from resexpand.export.latex.derivation import step_equations
from resexpand.export.latex.document import aligned_rows
from resexpand.export.latex.sections import Section, prose
from resexpand.export.latex.to_latex import sections
from resexpand.theory.derivation import Derivation, Step
from resexpand.theory.optimal_scale import OptimalScale


def notebook_latex(result: Any) -> str:
    r"""Return the equations of a result between dollar signs.

    Parameters
    ----------
    result : Formula, Recursion, OptimalScale, RemainderBound or ResNet
        The result to show; of an optimum that does not exist the reason.
    """
    if isinstance(result, OptimalScale) and result.reason:
        return rf"$\displaystyle \text{{{prose(result.reason)}}}$"
    return _aligned(sections(result, False))


def notebook_page(result: Derivation | Step) -> str:
    """Return a derivation or one of its steps as HTML: words, formulas, and what was checked."""
    steps = result.steps if isinstance(result, Derivation) else [result]
    title = f"<p><b>{html.escape(result.title)}</b></p>" if isinstance(result, Derivation) else ""
    return f"<div>{title}{''.join(map(_step, steps))}</div>"


def _step(step: Step) -> str:
    shown = step_equations(step, False)
    formula = f"<p>{_aligned([Section('', shown)])}</p>" if shown else ""
    checks = "".join(f"<br><small>checked: {html.escape(str(v))}</small>" for v in step.verified)
    return f"<p>{step.number}. {html.escape(step.text)}</p>{formula}<p>{checks}</p>"


def _aligned(parts: Iterable[Section]) -> str:
    # One system: an activation that several sections define is said once.
    rows = aligned_rows(Section("", tuple(e for section in parts for e in section.equations)))
    if len(rows) == 1:
        return rf"$\displaystyle {rows[0].replace('&', '', 1)}$"
    body = r" \\ ".join(rows)
    return rf"$\displaystyle \begin{{aligned}} {body} \end{{aligned}}$"
