"""LaTeX of expansions: the sums a reader would write, all terms and no other, on one page."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import latex_cases
import pytest
import sympy as sp

from resexpand import (
    Majorant,
    gated_path_sum,
    majorant_of,
    remainder_bound,
    residual_expansion,
    to_latex,
)
from resexpand.combinatorics import Tree, trees
from resexpand.export.latex.expansion import MOST_TERMS, sum_sign
from resexpand.theory.expansion import NestedSum

needs_tex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
N = sp.Symbol("n", integer=True, positive=True)


@pytest.mark.parametrize(
    ("tree", "written"),
    [
        ("[]", r"\sum_{1 \le i \le n}"),
        ("[[]]", r"\sum_{1 \le i < j \le n}"),
        ("[[[]]]", r"\sum_{1 \le i < j < k \le n}"),
        ("[[][]]", r"\sum_{i, j < k \le n}"),
        ("[[[][]]]", r"\sum_{i, j < k < l \le n}"),
        ("[[][[]]]", r"\sum_{\substack{j < k < l \le n \\ i < l}}"),
        ("[[][][]]", r"\sum_{i, j, k < l \le n}"),
        ("[[[]][[]]]", r"\sum_{\substack{i < j < m \le n \\ k < l < m}}"),
    ],
)
def test_inequalities_stand_under_one_sign(tree: str, written: str):
    (found,) = [t for t in trees(tree.count("[")) if str(t) == tree]
    assert sum_sign(NestedSum(found, N)) == written


@pytest.mark.parametrize("order", range(1, 7))
def test_inequalities_say_all_and_only_the_order_of_the_tree(order: int):
    """Read back: every written chain ``a, b < c < d`` gives pairs; they are parent and child."""
    for tree in trees(order):
        nested = NestedSum(tree, N)
        pairs = {(i, p) for i, p in zip(nested.indices, nested.bounds, strict=True)}
        rows = re.sub(r"\\sum_|\\substack|[{}]", "", sum_sign(nested)).split(r"\\")
        found = set()
        for row in rows:
            steps = re.split(r"<|\\le", row.replace(r"1 \le ", ""))
            names = [[name.strip() for name in step.split(",")] for step in steps]
            for low, high in pairwise(names):
                assert len(high) == 1
                found |= {(name, high[0]) for name in low}
        assert found == pairs


def orders_of(text: str) -> dict[int, str]:
    """Right side of every order as written."""
    flat = re.sub(r"\\\\\s*&?\s*(\\quad)?", " ", text).replace("\n", " ")
    found = re.findall(r"T_\{(\d+)\} &= (.*?)(?= T_\{\d+\} &=|&?\\bigl\\\||\\end\{aligned\})", flat)
    return {int(order): body for order, body in found}


def test_common_scale_stands_in_front_once():
    text = to_latex(residual_expansion(3, 3, sp.Symbol("lambda")), "aligned")
    second = orders_of(text)[2]
    assert second.count(r"\lambda") == 1
    assert second.startswith(r"\lambda^{2} \, \Bigl[ f_{2}'(f_{1})")


def test_equal_scales_are_joined():
    third = orders_of(to_latex(residual_expansion(3, 3), "aligned"))[3]
    assert (
        r"\lambda_{1} \lambda_{2} \lambda_{3} \, \Bigl[ f_{3}'\bigl(f_{2}'(f_{1})\bigr) " in third
    )
    assert r"\frac{1}{2} \lambda_{1}^{2} \lambda_{2} f_{2}''(f_{1}, f_{1})" in third
    assert third.count(r"\lambda_{1} \lambda_{2} \lambda_{3}") == 1


@pytest.mark.parametrize("scales", [None, 1, sp.Symbol("lambda"), [1, 2, 3, 4]])
def test_every_term_is_written_once(scales):
    expansion = residual_expansion(4, 4, scales)
    written = orders_of(to_latex(expansion, "aligned"))
    for order in expansion:
        roots = len(re.findall(r"f_\{\d\}", written[order]))
        assert roots == order * len(expansion[order])


def test_long_orders_say_how_many_terms_they_have():
    expansion = residual_expansion(5, 6)
    text = to_latex(expansion, "aligned")
    assert expansion.size(5) > MOST_TERMS
    assert f"({expansion.size(5)}" in text


def test_concrete_blocks_are_defined():
    x = sp.Symbol("x")
    text = to_latex(residual_expansion(2, [sp.sin(x), x**2], 1), "aligned")
    assert r"f_{1}(x) &= \sin(x)" in text
    assert "f_{2}(x) &= x^{2}" in text


def test_derivative_is_no_network():
    text = to_latex(residual_expansion(3, 2).diff("lambda_1"), "document")
    assert "Derivative of a residual expansion" in text
    assert r"\le" not in text
    assert "\n  T_{2} &= \\lambda_{2} f_{2}'(f_{1})" in text


def test_remainder_is_printed_with_the_expansion():
    text = to_latex(residual_expansion(3, scales=sp.Symbol("lambda")), "aligned")
    assert r"\le \frac{5 R q^{4}}{128 (1 - q)}" in text
    assert r"q = \frac{2 M t}{R}" in text
    own = to_latex(residual_expansion(2), "aligned")
    assert r"t = \sum_{i = 1}^{n} | \lambda_{i} |" in own


def test_remainder_of_its_own_family_and_numbers():
    text = to_latex(remainder_bound(3, majorant=Majorant.entire()), "document")
    assert r"M / R^{m}" in text
    assert r"\frac{R q^{4}}{4 (1 - q)}" in text
    assert "whatever the depth" in text
    bound = remainder_bound(3, 10, 0.01, majorant_of("tanh", [[0.5]]))
    digits = f"{bound.value:.3e}".split("e")[0]
    assert digits in to_latex(bound, "document")


def test_single_terms_and_trees_of_symbolic_depth():
    term = residual_expansion(3).term(Tree([Tree(), Tree()]))
    assert to_latex(term) == (
        "\\begin{equation}\n  \\frac{1}{2} \\sum_{i, j < k \\le n} \\lambda_{i} \\lambda_{j} "
        "\\lambda_{k} f_{k}''(f_{i}, f_{j})\n\\end{equation}\n"
    )


def test_path_sums_say_what_the_gates_are():
    text = to_latex(gated_path_sum("relu", 2), "document")
    assert "actual trajectory" in text
    assert "first gate" in text
    assert r"P_{2} &= \lambda_{1} \lambda_{2} \, W_{2} D_{2} \, W_{1} D_{1} \, x" in text


def test_maps_that_do_not_commute_keep_their_order():
    written = to_latex(gated_path_sum("relu", 2).formula, cite=False)
    assert r"F = x + \lambda_{1} A(1) x + \lambda_{2} A(2) x" in written
    assert r"+ \lambda_{1} \lambda_{2} A(2) A(1) x" in written
    assert "A(j) A(i) x" in to_latex(gated_path_sum("relu").formula)
    b, a = sp.symbols("b a", commutative=False)
    assert to_latex(-b * (a + 1) / 2, cite=False).splitlines()[1] == r"  - \frac{1}{2} b (1 + a)"


@needs_tex
@pytest.mark.parametrize("scales", [None, 1])
def test_order_four_at_symbolic_depth_fits_one_page(scales, tmp_path: Path):
    document = to_latex(residual_expansion(4, scales=scales), "document")
    (tmp_path / "document.tex").write_text(document, encoding="utf-8")
    subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "document.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
        timeout=120,
    )
    log = (tmp_path / "document.log").read_text(errors="replace")
    assert "Output written on document.pdf (1 page" in log
    assert "Overfull" not in log


def test_golden_cases_cover_what_is_written_here():
    assert {"expansion", "expansions", "remainders", "path_sums"} <= set(latex_cases.CASES)
