"""One renderer for notebooks and `to_latex`, and names that compile in it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from resexpand import (
    Activation,
    Branch,
    Linear,
    Majorant,
    ResNet,
    exact_moments,
    gated_path_sum,
    kernel,
    one_loop,
    optimal_scale,
    order_profile,
    remainder_bound,
    residual_expansion,
    response,
    to_latex,
)
from resexpand.theory.latex_names import function_latex, name_latex
from resexpand.theory.notation import symbol_latex

RHO, DEPTH = sp.Symbol("rho"), sp.Symbol("L")
TWO = ResNet(Branch(Linear(1, 0.1), Activation("tanh"), Linear(1, 0.1)), scale=0.3, depth=4)
ONE = ResNet(Branch(Activation("erf"), Linear()), scale=RHO, depth=DEPTH)


def rows(latex: str) -> list[str]:
    """Return the equations of a notebook, or of `to_latex`, without alignment and numbering."""
    body = re.sub(r"\\(begin|end)\{(equation|aligned|split)\}|\$|\\displaystyle|&", "", latex)
    pieces = re.split(r"\\\\|\n\n|\n(?=\s*\n)|%[^\n]*\n", body)
    return [re.sub(r"\s+", "", piece) for piece in pieces if piece.strip()]


RESULTS: dict[str, Any] = {
    "order profile": order_profile(TWO, 2),
    "kernel": kernel(ONE),
    "pair": kernel(ONE, inputs=2),
    "response": response(ONE),
    "network": TWO,
    "moments": exact_moments(ResNet(Branch(Linear(1, 0)), scale=0.3, depth=3)),
    "optimum": optimal_scale(ONE),
    "formula": optimal_scale(ONE).constant,
    "order 1/N": one_loop(ONE).formulas[0],
    "bound": remainder_bound(3, majorant=Majorant.analytic(1, 1)),
}


@pytest.mark.parametrize("kind", RESULTS)
def test_a_notebook_shows_what_to_latex_writes(kind: str) -> None:
    shown = RESULTS[kind]._repr_latex_()
    assert shown.startswith(r"$\displaystyle")
    assert shown.endswith("$")
    written = re.sub(r"\s+|&", "", to_latex(RESULTS[kind], "aligned", cite=False))
    for row in rows(shown):
        assert row in written, row


def test_the_layers_and_biases_of_two_linear_operations() -> None:
    profile = order_profile(TWO, 2)._repr_latex_()
    # u_1 of this block is made of kappa_11 behind the one before.
    assert r"u_{1}^{l} &= \sigma_{w,1}^{2} \kappa_{1,1}^{l-1}" in profile
    assert r"a_{1,1} u_{1}^{l}" in profile
    assert "u_{1}^{l-1}" not in profile
    network = TWO._repr_latex_()
    assert "b_{W}^{l}" in network
    assert "b_{V}^{l}" in network
    assert "b^l" not in network.replace("b^{l}", "b^l")


@pytest.mark.parametrize(
    ("weight", "bias"), [("a", "b"), ("b", "a"), ("beta", "alpha"), ("v", "c_1")]
)
def test_a_bias_stands_behind_the_average_whatever_the_names(weight: str, bias: str) -> None:
    linear = Linear(sp.Symbol(weight), sp.Symbol(bias))
    net = ResNet(Branch(Activation("erf"), linear), scale=0.3, depth=2)
    written = to_latex(kernel(net).definitions[0][1], cite=False)
    assert re.search(r"\\rangle_\{K\} \+ " + re.escape(name_latex(bias)), written), written
    # A number still stands in front.
    assert "1 + " in to_latex(1 + sp.Symbol(weight) * kernel(net).definitions[0][1], cite=False)


@pytest.mark.parametrize("name", ["delta", "d", "dd", "chi", "decay", "d_chi", "alpha", "s"])
def test_a_variance_stands_before_the_average_whatever_its_name(name: str) -> None:
    net = ResNet(Branch(Activation("erf"), Linear(sp.Symbol(name), 0)), scale=0.3, depth=2)
    written = to_latex(kernel(net).definitions[0][1], cite=False)
    assert written.index(name_latex(name)) < written.index(r"\left\langle")
    # The responses of the theory still stand behind.
    slope = to_latex(sp.Symbol("ln_chi") * sp.Symbol(name) * (1 + sp.Symbol("K")), cite=False)
    assert slope.index(name_latex(name)) < slope.index(r"\ln \chi")


WRITTEN = {
    "alpha_1": r"\alpha_{1}",
    "rho_max": r"\rho_{max}",
    "K_{12}": "K_{12}",
    r"\lambda": r"\lambda",
    r"\rho_{max}": r"\rho_{max}",
    "ρ": r"\rho",
    "σ2": r"\mathrm{\sigma 2}",
    "a%b": r"\mathrm{a\%b}",
    "a#b": r"\mathrm{a\#b}",
    "a&b": r"\mathrm{a\&b}",
    "a$b": r"\mathrm{a\$b}",
    "a b": r"\mathrm{a\ b}",
    "a\\b": r"\mathrm{a\backslash b}",
    r"\input{x}": r"\mathrm{\backslash input\{x\}}",
    "a_": "a_{}",
    "_": r"\mathrm{\_}",
    "a^b^c": r"\mathrm{a\wedge b\wedge c}",
    "x'": r"\mathrm{x{'}}",
    "é": r"\mathrm{\acute{e}}",
    "漢": r"\mathrm{\langle U{+}6F22\rangle }",
    "\n": r"\mathrm{\langle U{+}000A\rangle }",
    "fscr": r"\mathrm{fscr}",
    "": r"\mathrm{}",
}


@pytest.mark.parametrize("name", WRITTEN)
def test_names_as_latex(name: str) -> None:
    assert name_latex(name) == WRITTEN[name]


SPECIAL = re.compile(r"(?<!\\)[%#&$~]")


@given(st.text(max_size=12))
def test_no_name_leaves_mathematics(name: str) -> None:
    for written in (name_latex(name), function_latex(name), symbol_latex(name, "l")):
        assert written.isascii()
        assert written.isprintable()
        bare = re.sub(r"\\[^a-zA-Z]", "", written)
        assert not SPECIAL.search(bare)
        depth = 0
        for character in bare:
            depth += (character == "{") - (character == "}")
            assert depth >= 0
        assert depth == 0


def test_control_a_raw_name_is_seen() -> None:
    assert SPECIAL.search("a%b")
    assert not SPECIAL.search(re.sub(r"\\[^a-zA-Z]", "", r"a\%b"))


HOSTILE = [
    *(name for name in WRITTEN if name.strip()),
    *("a{b", "a}b", "{", "}}", r"\end{document}", r"\undefined", "a--b", "a\tb", "^^41", "`x`"),
    *("ﬁ", "Å", "ß", "ñ_1", "x̂", "😀", "a" * 300, "__init__", "lambda", "x_1_2_3", "abs", "xbold"),
    *(
        "a__b__c",
        "x^2",
        "'''",
        '"',
        "a|b",
        "<a>",
        "a:b;c",
        "@",
        "!",
        "?",
        "[",
        "]",
        "(",
        "varkappa",
    ),
]


def test_a_document_with_any_names_compiles(tmp_path: Path) -> None:
    assert shutil.which("pdflatex"), "pdflatex is part of the environment"
    x = sp.Symbol("x")
    blocks = [sp.Function(name)(x) + x for name in ("a%b", "f_1", r"\g", "漢")]
    nets = [
        ResNet(Branch(Activation("erf"), Linear(sp.Symbol(name), 0)), scale=RHO, depth=2)
        for name in HOSTILE
    ]
    results = [
        nets[0],
        *(kernel(net).definitions[0][1] for net in nets if not _reserved(net)),
        sp.Add(*(sp.Symbol(name) ** 2 * sp.Function(name)(x) for name in HOSTILE)),
        residual_expansion(2, blocks[:2], sp.symbols("a%1 b#2"), variables=x),
        residual_expansion(2, 2, [sp.Symbol(r"\x"), sp.Symbol("é")]),
        residual_expansion(2, None, sp.IndexedBase("l%")),
        gated_path_sum("relu", 2, sp.symbols("a&1 b$2")),
        kernel(ResNet(ONE.branch, scale=sp.Symbol("ρ%"), depth=sp.Symbol("L#"))),
        {"a%b": x, "K": x},
    ]
    shown = [r._repr_latex_() for r in results if not isinstance(r, dict | sp.Basic)]
    document = to_latex(results, "document")
    notebook = "\n\n".join(shown)
    text = document.replace(r"\end{document}", f"{notebook}\n\\end{{document}}")
    (tmp_path / "names.tex").write_text(text, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "names.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    log = done.stdout.decode(errors="replace")
    assert done.returncode == 0, log[-1500:]
    assert "Missing character" not in log


def _reserved(net: ResNet) -> bool:
    try:
        kernel(net)
    except ValueError:
        return True
    return False
