"""LaTeX: golden files that do not depend on how Python or SymPy runs, and that TeX typesets."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import latex_cases
import mpmath
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from resexpand import Activation, Branch, Linear, ResNet, kernel, optimal_scale, response, to_latex
from resexpand.activations import ACTIVATIONS
from resexpand.conventions import K0, PAIR, RHO, SIGMA_B2, SIGMA_W2, K
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.export.latex.document import Setting, as_document
from resexpand.export.latex.layout import Equation, width
from resexpand.export.latex.optimum import A, B, G, general_slope
from resexpand.export.latex.printer import FormulaPrinter
from resexpand.export.latex.sections import Section, prose
from resexpand.export.latex.tidy import closed_form, tidy
from resexpand.gaussian.expectation import GaussianExpectation
from resexpand.references import REFERENCES
from resexpand.theory.closure import close_elementary
from resexpand.theory.notation import symbol_latex

needs_tex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
text = FormulaPrinter().text


# Golden files


def test_there_is_a_golden_file_for_every_case_and_no_other():
    derived = {
        f"derivation_{script.stem}"
        for script in (Path(__file__).parents[2] / "derivations").glob("*.py")
    }
    found = {path.stem for path in latex_cases.GOLDEN.glob("*.tex")}
    assert found - derived == set(latex_cases.CASES)


@pytest.mark.parametrize("name", latex_cases.CASES)
def test_text_is_that_of_the_golden_file(name: str):
    assert latex_cases.CASES[name]() == latex_cases.golden(name)


@pytest.mark.parametrize(
    ("seed", "ground_types"), [("0", "python"), ("1", "python"), ("1", "flint")]
)
def test_text_depends_neither_on_the_hash_seed_nor_on_the_ground_types(
    seed: str, ground_types: str
):
    if ground_types == "flint" and importlib.util.find_spec("flint") is None:
        pytest.skip("python-flint is not installed")
    settings = {"PYTHONHASHSEED": seed, "SYMPY_GROUND_TYPES": ground_types}
    run = subprocess.run(
        [sys.executable, latex_cases.__file__],
        env=os.environ | settings | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    texts = json.loads(run.stdout)
    assert texts == {name: latex_cases.golden(name) for name in latex_cases.CASES}


# Typesetting


def typeset(document: str, folder: Path) -> str:
    """Compile a document and return the log of TeX."""
    (folder / "document.tex").write_text(document, encoding="utf-8")
    run = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "document.tex"],
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=120,
    )
    log = (folder / "document.log").read_text(errors="replace")
    assert run.returncode == 0, log[-2000:]
    return log


def too_wide(log: str) -> list[float]:
    """Return by how many points boxes stick out, beyond the five that nobody sees."""
    found = [float(excess) for excess in re.findall(r"Overfull \\hbox \((\S+)pt too wide", log)]
    return [excess for excess in found if excess > 5]


DOCUMENTS = [name for name in latex_cases.CASES if "documentclass" in latex_cases.golden(name)]


@needs_tex
@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_compile_in_one_run_and_fit_the_page(name: str, tmp_path: Path):
    log = typeset(latex_cases.golden(name), tmp_path)
    assert not too_wide(log)
    assert "undefined" not in log


@needs_tex
def test_every_activation_fits_the_page(tmp_path: Path):
    nets = [latex_cases.network(name) for name in ACTIVATIONS]
    results = [result for net in nets for result in (net, kernel(net, 2), response(net))]
    for closed in (False, True):
        assert not too_wide(typeset(to_latex(results, "document", closed=closed), tmp_path))


@needs_tex
def test_a_line_that_is_too_long_is_noticed(tmp_path: Path):
    long = Section("Too long", (Equation("y", (" + ".join(["x^{2}"] * 60),)),))
    assert too_wide(typeset(as_document([long], Setting(cite=False)), tmp_path))


@needs_tex
def test_references_appear_with_their_accents(tmp_path: Path):
    citations = tuple(reference.at("eq. (1) & sec. 2") for reference in REFERENCES.values())
    section = Section("References", (), citations)
    document = as_document([section], Setting())
    typeset(document, tmp_path)
    assert document.count("\\bibitem") == len(REFERENCES)


# What is written


def test_order_is_that_of_a_paper():
    c = sp.Symbol("C", positive=True)
    assert text(K + RHO**2 * c) == r"K + \rho^{2} C"
    assert text(SIGMA_W2 * K + SIGMA_B2) == r"\sigma_{w}^{2} K + \sigma_{b}^{2}"
    assert text(1 - K) == "1 - K"
    assert text(K - 1) == "K - 1"
    assert text(-K - 1) == "- 1 - K"
    assert text(K**2 / 2 + 3 + K) == r"3 + K + \frac{K^{2}}{2}"


@given(st.permutations(list(range(6))))
def test_order_does_not_depend_on_how_a_sum_is_stored(order: list[int]):
    x, y = sp.symbols("x y")
    terms = (sp.Integer(2), x, -y, RHO**2 * x, SIGMA_B2, SIGMA_W2 * sp.sqrt(x))
    shuffled = sp.Add(*(terms[i] for i in order), evaluate=False)
    factors = sp.Mul(*(terms[i] for i in order), evaluate=False)
    assert text(shuffled) == text(sp.Add(*terms))
    assert FormulaPrinter()._product(factors.args) == FormulaPrinter()._product(terms)


def test_sympy_itself_orders_differently():
    """The control: without an order of our own these would read as the machine stores them."""
    c = sp.Symbol("C", positive=True)
    assert sp.latex(K + RHO**2 * c) == r"C \rho^{2} + K"


@pytest.mark.parametrize(
    ("name", "layer", "written"),
    [
        ("sigma_w2", "", r"\sigma_{w}^{2}"),
        ("sigma_w2_1", "", r"\sigma_{w,1}^{2}"),
        ("sigma_out2", "", r"\sigma_{\mathrm{out}}^{2}"),
        ("sigma_w2_out", "", r"\sigma_{\mathrm{out}}^{2}"),
        ("sigma_b2_out", "", r"\sigma_{b,\mathrm{out}}^{2}"),
        ("K0", "", "K^{0}"),
        ("K0_12", "", "K_{12}^{0}"),
        ("K0_12", "l", "K_{12}^{0}"),
        ("K_star", "", "K^{*}"),
        ("K", "l-1", "K^{l-1}"),
        ("C_11", "l", "C_{11}^{l}"),
        ("C1_12", "l", "C_{(1),12}^{l}"),
        ("chi_K", "l", r"\chi^{l,0}"),
        ("chi_K_12", "l-1", r"\chi_{12}^{l-1,0}"),
        ("chi_m", "l", r"\chi_{m}^{l,0}"),
        ("m", "l-1", "m^{l-1}"),
        ("dK_drho", "l", r"\partial_\rho K^{l}"),
        ("alpha_1", "", r"\alpha_{1}"),
        ("mass", "", "mass"),
    ],
)
def test_names(name: str, layer: str, written: str):
    assert symbol_latex(name, layer) == written


def test_powers_of_variances_and_of_what_has_an_upper_index():
    assert text(SIGMA_W2**2) == r"\sigma_{w}^{4}"
    assert text(sp.sqrt(sp.Symbol("sigma_out2", positive=True))) == r"\sigma_{\mathrm{out}}"
    assert text(K0**2) == "(K^{0})^{2}"
    assert text(1 / SIGMA_W2) == r"\frac{1}{\sigma_{w}^{2}}"


def test_functions_of_sympy_without_a_method_of_their_own():
    x = sp.Symbol("x")
    assert r"\theta" in text(sp.Heaviside(x))
    assert text(sp.gamma(x)) != text(x)
    assert text(sp.tanh(x) ** 2) == r"\tanh^{2}(x)"
    assert text(sp.exp(-2 * K)) == "e^{- 2 K}"
    assert text(sp.log(K) / 6) == r"\frac{1}{6} \ln(K)"


def test_averages_lose_their_variable_only_where_nothing_is_lost():
    net = latex_cases.network("erf_unit")
    assert text(kernel(net).definitions[0][1].args[1]).startswith(
        r"\sigma_{w}^{2} \left\langle \phi^{2} \right\rangle"
    )
    x = sp.Symbol("x", real=True)
    explicit = GaussianExpectation(sp.tanh(x) ** 2, (x,), (K,))
    assert text(explicit) == r"\left\langle \tanh^{2}(x) \right\rangle_{K}"
    assert r"\phi(x_{1}) \phi(x_{2})" in text(kernel(net, 2).definitions[1][1])


def test_prose_escapes_what_tex_reads_otherwise():
    assert prose("100 % of a_b & {c} #1 ~ ^ \\") == (
        r"100 \% of a\_b \& \{c\} \#1 \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )
    assert prose("rho* = c / sqrt(L), up to O(1/L)") == (
        r"$\rho^{*}$ = c / $\sqrt{L}$, up to $O(1/L)$"
    )
    assert prose("as $a_b$ says") == "as $a_b$ says"


# Nothing is changed by making it readable


@pytest.mark.parametrize("activation", ["erf", "erf_unit", "relu", "leaky_relu", "sin", "identity"])
@pytest.mark.parametrize("kind", ["variance", "covariance", "tangent"])
def test_tidied_closed_forms_have_the_same_value(activation: str, kind: str):
    net = latex_cases.network(activation)
    recursion, optimum = response(net, kind), optimal_scale(net, kind)
    point = {PAIR[0]: sp.Rational(7, 10), PAIR[1]: sp.Rational(-1, 5), PAIR[2]: sp.Rational(4, 3)}
    point |= {K: sp.Rational(9, 7), RHO: sp.Rational(1, 3), SIGMA_W2: sp.Rational(6, 5)}
    point |= {SIGMA_B2: sp.Rational(1, 9)}
    expressions = [
        *(value for _, value in recursion.definitions),
        *recursion.update,
        optimum.condition.lhs,
    ]
    for expression in expressions:
        pair = [
            closed_form(expression, recursion.laws),
            close_elementary(expression, recursion.laws),
        ]
        tidied, plain = (value.subs(point).evalf(40) for value in pair)
        difference = sp.expand(tidied - plain)
        others = dict.fromkeys(difference.free_symbols, 1)
        assert abs(difference.subs(others)) < mpmath.mpf(10) ** -35


def test_tidying_turns_a_sine_around_without_changing_it():
    y = sp.Symbol("y", positive=True)
    expression = sp.sin(y - 1) / (1 + sp.sin(y - 1))
    value = tidy(expression).subs(sp.Function("sin")(1 - y), sp.sin(1 - y))
    assert sp.simplify(value - expression) == 0
    assert text(tidy(expression)) == r"- \frac{\sin(1 - y)}{1 - \sin(1 - y)}"


def test_the_slope_in_general_is_that_of_the_network():
    optimum = optimal_scale(latex_cases.network("erf_unit"))
    general, own = general_slope(optimum), optimum.slope
    named = {B: optimum.growth, G: optimum.rate, A: optimum.amplitude}
    pairs = [
        *zip(general.update, own.update, strict=True),
        (general.outputs[0].entries[0], own.outputs[0].entries[0]),
    ]
    for ours, theirs in pairs:
        functions = {f.func: sp.Lambda(K, named[f]) for f in (B, G, A)}
        put_in = ours
        for function, value in functions.items():
            put_in = put_in.replace(function, value).doit()
        assert sp.simplify(put_in - theirs) == 0


# Calls


def test_sequences_mappings_and_relations():
    x, y = sp.symbols("x y")
    assert to_latex({"y": x**2}, "aligned") == (
        "\\begin{equation}\n  \\begin{aligned}\n    y &= x^{2}\n  \\end{aligned}\n\\end{equation}\n"
    )
    assert to_latex(sp.Eq(y, x**2)) == "\\begin{equation}\n  y = x^{2}\n\\end{equation}\n"
    assert to_latex([x, sp.Eq(y, x)], "aligned").count("aligned") == 2
    assert "x < y" in to_latex(x < y)


def test_citations_can_be_left_out():
    formula = optimal_scale(latex_cases.network("erf_unit")).constant
    for style in ("equation", "aligned", "document"):
        assert "Fischer" in to_latex(formula, style)
        assert "Fischer" not in to_latex(formula, style, cite=False)


def test_the_order_neglected_is_said_in_every_style():
    recursion = kernel(latex_cases.network("relu"))
    for style in ("equation", "aligned", "document"):
        assert "O(1/N)" in to_latex(recursion, style)


def test_numbers_of_the_network_are_said():
    net = ResNet(Branch(Activation("erf"), Linear(1.2, 0.05)), scale=0.3, depth=20)
    written = to_latex(kernel(net), "document")
    for number in (r"\frac{6}{5}", r"\frac{1}{20}", r"\frac{3}{10}", "L = 20"):
        assert number in written


def test_an_average_that_is_infinite_is_refused():
    net = latex_cases.network("sign")
    with pytest.raises(UnsupportedError, match="infinite"):
        to_latex(response(net, "tangent"), closed=True)
    assert r"\phi'^{2}" in to_latex(response(net, "tangent"))


def test_bad_calls_have_one_clear_error():
    with pytest.raises(HyperparameterError, match="'equation', 'aligned', 'document'"):
        to_latex(K, "html")  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="type int"):
        to_latex(3)


def test_widths_are_those_of_tex():
    assert width("a") < width("a + b") < width("a + b + c")
    assert width(r"\frac{a}{b + c}") < width("a + b + c")
    assert width(r"\left( x \right)") == width("(x)")
    assert width("x^{2}_{3}") == width("x^{2}")


def test_notebooks_show_the_notation_of_the_field():
    net = latex_cases.network("erf_unit")
    optimum = optimal_scale(net)
    for shown in (net, kernel(net), response(net), optimum, optimum.constant):
        latex = shown._repr_latex_()
        assert latex.startswith("$\\displaystyle")
        assert latex.endswith("$")
        assert "sigma_{w2}" not in latex
    assert r"K^{l} &= " in kernel(net)._repr_latex_()
    rectified = optimal_scale(latex_cases.network("relu"))
    assert "without bound" in rectified._repr_latex_()
