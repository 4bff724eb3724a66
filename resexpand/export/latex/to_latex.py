r"""`to_latex`: any result of the theory as LaTeX.

Three styles typeset the same equations: ``equation`` gives each an environment of its own,
``aligned`` makes one system of every result, ``document`` is a file that pdflatex compiles, with
words between the equations and a bibliography. The text depends on the result alone: not on the
hash seed, not on the arithmetic library behind SymPy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import sympy as sp

from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.export.latex.derivation import derivation_section, left_side, step_equations
from resexpand.export.latex.document import Setting, as_aligned, as_document, as_equations
from resexpand.export.latex.expansion import (
    expansion_section,
    paths_section,
    remainder_section,
    term_section,
)
from resexpand.export.latex.layout import WIDTHS, lines_of
from resexpand.export.latex.meanings import defined
from resexpand.export.latex.one_loop import finite_response_section, one_loop_section
from resexpand.export.latex.optimum import optimum_section
from resexpand.export.latex.paper import in_own_notation
from resexpand.export.latex.recursion import recursion_section
from resexpand.export.latex.sections import (
    Section,
    expression_section,
    formula_section,
    network_section,
)
from resexpand.network.resnet import ResNet
from resexpand.theory.column_response import ColumnResponse
from resexpand.theory.depth_limit import DepthLimit
from resexpand.theory.derivation import Derivation, Step
from resexpand.theory.expansion import Expansion, Term
from resexpand.theory.finite_response import FiniteResponse
from resexpand.theory.formula import Formula
from resexpand.theory.gated_paths import GatedPathSum
from resexpand.theory.gradients import GradientMoments
from resexpand.theory.growth import Growth
from resexpand.theory.joint_limit import JointLimit
from resexpand.theory.layer_kernel import LayerKernel
from resexpand.theory.one_loop import OneLoop
from resexpand.theory.optimal_scale import OptimalScale
from resexpand.theory.recursion import Recursion
from resexpand.theory.remainder import RemainderBound
from resexpand.theory.smooth_limit import SmoothLimit

NARROWEST = 12
"""Font sizes below which a line holds no formula."""

Style = Literal["equation", "aligned", "document"]

_STYLES: dict[str, Callable[[Sequence[Section], Setting], str]] = {
    "equation": as_equations,
    "aligned": as_aligned,
    "document": as_document,
}


def to_latex(
    result: Any,
    style: Style = "equation",
    *,
    closed: bool = False,
    cite: bool | Literal["comment", "keys"] = "comment",
    width: Literal["page", "text", "column"] | float = "page",
    notation: Mapping[Any, str] | None = None,
    labels: str | None = None,
) -> str:
    r"""Write a result as LaTeX.

    Parameters
    ----------
    result : Formula, Recursion, OptimalScale, Expansion, ResNet, sympy.Basic, or several
        A result of `kernel`, `response`, `optimal_scale`, `one_loop` or `finite_response`, one of
        their formulas, an expansion, remainder bound or path sum, a derivation, a network, an
        expression or equation; a sequence of these; or a mapping of left sides to expressions.
    style : {"equation", "aligned", "document"}
        Single equations, one aligned system per result, or a standalone document.
    closed : bool, optional
        Write Gaussian averages in closed form where one is known, instead of ``<phi^2>``.
    cite : bool, "comment" or "keys", optional
        Say where each equation stands: with True or ``"keys"`` by ``\cite`` and the BibTeX keys
        that `resexpand.cite` prints, with ``"comment"`` as a comment above it, in documents as a
        reference; False says nothing.
    width : {"page", "text", "column"} or float, optional
        Lines are broken for a page of these documents, for a text of 5.5 inches (NeurIPS), for a
        column of a page that has two (revtex4-2, article), or for a number of font sizes.
    notation : mapping of str to str, optional
        LaTeX of symbols, by name: ``{"rho": r"\beta", "K": "Q"}``. A variance is replaced as a
        whole, with its powers.
    labels : str, optional
        Give every equation a label that begins so: ``"eq:"`` makes ``\label{eq:kernel-1}``.

    Returns
    -------
    str
        LaTeX that needs `amsmath`; terms stand in the order of `resexpand.export.latex.order`.

    Raises
    ------
    HyperparameterError
        If the style, the width or how to cite is unknown, a notation or what labels begin with is
        no LaTeX, or the notation has a name of no symbol.
    UnsupportedError
        If the result is nothing that has equations, or an average in closed form is infinite.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet, kernel, to_latex
    >>> net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=3)
    >>> print(to_latex(kernel(net).definitions[0][1], cite=False))
    \begin{equation}
      \sigma_{w}^{2} \left\langle \phi^{2} \right\rangle_{K} + \sigma_{b}^{2}
    \end{equation}
    <BLANKLINE>
    """
    if style not in get_args(Style):
        raise HyperparameterError(
            f"LaTeX in the style {style!r}", "it is unknown", f"use one of {get_args(Style)}"
        )
    if cite not in (True, False, "comment", "keys"):
        raise HyperparameterError(
            f"cite={cite!r}", "it is unknown", "use True for \\cite, 'comment', or False"
        )
    if labels is not None and not re.fullmatch(r"[A-Za-z0-9:._/+-]*", labels):
        raise HyperparameterError(
            f"labels that begin with {labels!r}",
            "TeX takes some of its characters for commands",
            "use letters, digits and : . _ / + -",
        )
    with lines_of(_room(width)):
        written = in_own_notation(_merged(sections(result, closed)), notation or {})
        return _STYLES[style](written, Setting(bool(cite), cite in (True, "keys"), labels))


def _room(width: Any) -> float:
    room = WIDTHS.get(width) if isinstance(width, str) else width
    if isinstance(room, bool) or not isinstance(room, int | float) or not room >= NARROWEST:
        raise HyperparameterError(
            f"LaTeX of the width {width!r}",
            "it is neither known nor a number of font sizes with room for a formula",
            f"use one of {tuple(WIDTHS)}, or a number from {NARROWEST}",
        )
    return float(room)


def sections(result: Any, closed: bool) -> list[Section]:
    """Return what a result says, section by section."""
    writers: tuple[tuple[type, Callable[[Any, bool], Section]], ...] = (
        (Formula, lambda formula, closed: defined(formula_section(formula, closed), formula)),
        (Recursion, recursion_section),
        (GradientMoments, lambda moments, closed: recursion_section(moments.tangent, closed)),
        (OptimalScale, optimum_section),
        (OneLoop, one_loop_section),
        (FiniteResponse, finite_response_section),
        (Derivation, derivation_section),
        (Step, lambda step, closed: Section("", step_equations(step, closed))),
        (Expansion, expansion_section),
        (Term, term_section),
        (RemainderBound, remainder_section),
        (GatedPathSum, paths_section),
        (ResNet, lambda net, _: network_section(net)),
        (sp.Basic, lambda expression, _: expression_section("", expression)),
    )
    for kind, write in writers:
        if isinstance(result, kind):
            return [write(result, closed)]
    if isinstance(result, Mapping):
        return [_entry(name, value, closed) for name, value in result.items()]
    if isinstance(
        result, list | tuple | Growth | DepthLimit | SmoothLimit | JointLimit | LayerKernel
    ):
        return [section for item in result for section in sections(item, closed)]
    if isinstance(result, ColumnResponse):
        raise UnsupportedError(
            f"LaTeX of the {result.kind} response of all columns",
            "its equations are put together as matrices of numbers, and not as formulas",
            "use to_latex(result.base), the kernel that it differentiates, and evaluate(result)",
        )
    raise UnsupportedError(
        f"LaTeX of an object of type {type(result).__name__}",
        "it holds no equations this package knows",
        "pass what kernel(), response() or optimal_scale() returns, or a SymPy expression",
    )


def _entry(name: Any, value: Any, closed: bool) -> Section:
    """Return one entry of a mapping, its name as the left side."""
    if isinstance(value, sp.Basic):
        return expression_section(left_side(str(name)), value)
    (section,) = sections(value, closed)
    return section


def _merged(sections: Iterable[Section]) -> Iterable[Section]:
    """Join plain expressions that follow each other: they make one system."""
    held: Section | None = None
    for section in sections:
        if section.title or section.citations:
            if held:
                yield held
                held = None
            yield section
        else:
            held = Section("", (*held.parts, *section.parts) if held else section.parts)
    if held:
        yield held
