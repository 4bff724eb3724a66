r"""`to_latex`: any result of the theory as LaTeX.

Three styles typeset the same equations: ``equation`` gives each an environment of its own,
``aligned`` makes one system of every result, ``document`` is a file that pdflatex compiles, with
words between the equations and a bibliography. The text depends on the result alone: not on the
hash seed, not on the arithmetic library behind SymPy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import sympy as sp

from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.export.latex.derivation import derivation_section, left_side
from resexpand.export.latex.document import as_aligned, as_document, as_equations
from resexpand.export.latex.expansion import (
    expansion_section,
    paths_section,
    remainder_section,
    term_section,
)
from resexpand.export.latex.one_loop import one_loop_section
from resexpand.export.latex.optimum import optimum_section
from resexpand.export.latex.recursion import recursion_section
from resexpand.export.latex.sections import (
    Section,
    expression_section,
    formula_section,
    network_section,
)
from resexpand.network.resnet import ResNet
from resexpand.theory.depth_limit import DepthLimit
from resexpand.theory.derivation import Derivation
from resexpand.theory.expansion import Expansion, Term
from resexpand.theory.formula import Formula
from resexpand.theory.gated_paths import GatedPathSum
from resexpand.theory.gradients import GradientMoments
from resexpand.theory.growth import Growth
from resexpand.theory.layer_kernel import LayerKernel
from resexpand.theory.one_loop import OneLoop
from resexpand.theory.optimal_scale import OptimalScale
from resexpand.theory.recursion import Recursion
from resexpand.theory.remainder import RemainderBound
from resexpand.theory.smooth_limit import SmoothLimit

Style = Literal["equation", "aligned", "document"]

_STYLES: dict[str, Callable[[Sequence[Section], bool], str]] = {
    "equation": as_equations,
    "aligned": as_aligned,
    "document": as_document,
}


def to_latex(
    result: Any, style: Style = "equation", *, closed: bool = False, cite: bool = True
) -> str:
    r"""Write a result as LaTeX.

    Parameters
    ----------
    result : Formula, Recursion, OptimalScale, Expansion, ResNet, sympy.Basic, or several
        A result of `kernel`, `response`, `optimal_scale` or `one_loop`, one of
        their formulas, an expansion, remainder bound or path sum, a derivation, a network, an
        expression or equation; a sequence of these; or a mapping of left sides to expressions.
    style : {"equation", "aligned", "document"}
        Single equations, one aligned system per result, or a standalone document.
    closed : bool, optional
        Write Gaussian averages in closed form where one is known, instead of ``<phi^2>``.
    cite : bool, optional
        Say where each equation stands: as a comment above it, in documents as a reference.

    Returns
    -------
    str
        LaTeX that needs `amsmath`; terms stand in the order of `resexpand.export.latex.order`.

    Raises
    ------
    HyperparameterError
        If the style is unknown.
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
    return _STYLES[style](list(_merged(sections(result, closed))), cite)


def sections(result: Any, closed: bool) -> list[Section]:
    """Return what a result says, section by section."""
    writers: tuple[tuple[type, Callable[[Any, bool], Section]], ...] = (
        (Formula, formula_section),
        (Recursion, recursion_section),
        (GradientMoments, lambda moments, closed: recursion_section(moments.tangent, closed)),
        (OptimalScale, optimum_section),
        (OneLoop, one_loop_section),
        (Derivation, derivation_section),
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
    if isinstance(result, list | tuple | Growth | DepthLimit | SmoothLimit | LayerKernel):
        return [section for item in result for section in sections(item, closed)]
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
