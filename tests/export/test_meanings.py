"""A formula that stands alone says what its symbols are."""

from __future__ import annotations

import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, ResNet, growth, one_loop, optimal_scale, to_latex
from resexpand.export.latex.meanings import meaning

RHO, DEPTH = sp.symbols("rho L", positive=True)
NET = ResNet(Branch(Activation("erf"), Linear()), scale=RHO, depth=DEPTH)


def test_a_document_defines_every_symbol_of_the_theory() -> None:
    text = to_latex(optimal_scale(NET).constant, "document")
    said = text[text.index("Here ") :].split("\n", 1)[0]
    for words in (
        r"$K^{0}$ is the kernel at layer 0",
        r"$\sigma_{b}^{2}$ is the bias variance",
        r"$\sigma_{w}^{2}$ is the weight variance times the fan-in",
        "$K^{*}$ is the kernel",
    ):
        assert words in said
    # Not those that it has not.
    assert "residual scale" not in said


def test_equations_alone_have_no_sentence_and_own_symbols_no_words() -> None:
    own = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=sp.Symbol("beta"), depth=DEPTH)
    law = growth(own).kernel
    assert "Here" not in to_latex(law)
    said = to_latex(law, "document").partition("Here ")[2]
    assert "layer 0" in said
    assert r"\beta" not in said.split(".")[0]


def test_the_order_one_over_the_width_defines_the_symbols_of_the_network() -> None:
    text = to_latex(one_loop(NET), "document")
    assert text.index(r"$\rho$ is the residual scale") < text.index("Given the Gram matrices")
    assert r"$\sigma_{w}^{2}$ is the weight variance" in text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rho", "the residual scale"),
        ("sigma_b2_2", "the bias variance of linear operation 2"),
        ("beta", ""),
        ("sigma_r2", ""),
    ],
)
def test_meanings(name: str, words: str) -> None:
    assert meaning(name) == words
