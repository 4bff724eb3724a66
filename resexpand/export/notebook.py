"""Results as notebooks show them: the equations of a section as one aligned formula."""

from __future__ import annotations

from typing import Any

from resexpand.export.latex.document import aligned_rows
from resexpand.export.latex.sections import prose
from resexpand.export.latex.to_latex import sections
from resexpand.theory.optimal_scale import OptimalScale


def notebook_latex(result: Any) -> str:
    r"""Return the equations of a result between dollar signs.

    Parameters
    ----------
    result : Formula, Recursion, OptimalScale, RemainderBound or ResNet
        What to show; of an optimum that does not exist the reason.
    """
    if isinstance(result, OptimalScale) and result.reason:
        return rf"$\displaystyle \text{{{prose(result.reason)}}}$"
    rows = [row for section in sections(result, False) for row in aligned_rows(section)]
    if len(rows) == 1:
        return rf"$\displaystyle {rows[0].replace('&', '', 1)}$"
    body = r" \\ ".join(rows)
    return rf"$\displaystyle \begin{{aligned}} {body} \end{{aligned}}$"
