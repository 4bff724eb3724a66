"""Results show themselves in a few lines that say what they are, on a screen and in a notebook."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    compare,
    compile_routine,
    evaluate,
    kernel,
    one_loop,
    optimal_scale,
    order_profile,
    residual_expansion,
    response,
    sample,
)
from resexpand.codegen.values import Values
from resexpand.expressions.shown import ENDS, MOST, ROWS, WIDTH, Card, numbers
from resexpand.theory.derivation import Derivation

NET = ResNet(Branch(Activation("erf"), Linear()), scale=sp.Symbol("rho"), depth=sp.Symbol("L"))
FIXED = {"rho": 0.3, "sigma_w2": 1, "sigma_b2": 0, "depth": 4, "K0": 1.0}
x = sp.Symbol("x", positive=True)


def results() -> dict[str, tuple[Any, list[str]]]:
    """Return every kind of result with words that must be seen."""
    run = sample(NET, ["kernel"], width=8, draws=40, seed=1, **FIXED)
    grid = {**FIXED, "rho": np.linspace(0, 1, 50)}
    derivation = Derivation("A logarithm")
    derivation.step("It is $F$.", {"F": sp.log(x)}, check=(sp.log(x).diff(x), 1 / x))
    optimum = optimal_scale(NET)
    return {
        "recursion": (kernel(NET), ["covariance kernel", "K (trajectory)", "sigma_w2", "O(1/N)"]),
        "profile": (order_profile(NET, 2), ["order profile", "next kappa_1_1"]),
        "formula": (optimum.constant, ["constant", "c**2", "Integral(", "O(1/L)"]),
        "optimum": (optimum, ["largest variance response", "c / sqrt(L)", "possible"]),
        "one loop": (one_loop(NET), ["order 1/N, 1 input", "1 of every block", "O(1/N^2)"]),
        "expansion": (residual_expansion(3), ["order=3"]),
        "routine": (compile_routine(response(NET)), ["variance response", "rho=", "per point"]),
        "values": (evaluate(response(NET), **grid), ["depth 4", "ok", "shape (50, 5, 5): 1, 0, 0"]),
        "estimates": (run, ["width 8", "draws 40", "kernel", "stderr up to"]),
        "estimate": (run["kernel"], ["40 draws", "width 8", "mean", "stderr"]),
        "agreement": (compare(evaluate(kernel(NET), **FIXED), run), ["5 entries", "p = ", "z = "]),
        "derivation": (derivation, ["A logarithm, 1 steps, 1 checks hold", "It is F."]),
        "step": (derivation.steps[0], ["F = log(x)", "[ok]"]),
    }


RESULTS = results()


@pytest.mark.parametrize("kind", RESULTS)
def test_a_result_says_what_it_is_on_one_screen(kind: str) -> None:
    result, words = RESULTS[kind]
    text = repr(result)
    assert len(text.splitlines()) <= 24
    assert all(len(line) <= WIDTH or line[0] in "<!" for line in text.splitlines())
    for word in words:
        assert word in text, word
    # What a notebook would show: formulas, or a page that is whole.
    pages = [getattr(result, name) for name in dir(result) if name.startswith("_repr_")]
    assert pages, "a notebook shows no more than a terminal"
    for page in pages:
        shown = page()
        assert shown.count("<table>") == shown.count("</table>")
        assert shown.count("$") % 2 == 0


def test_a_page_holds_what_the_text_says_and_no_markup_of_others() -> None:
    card = Card("a <b> & c", (("K<1>", "1 < 2"), ("nothing", "")), ("! x < y",))
    assert "<b> & c" not in card.page
    assert "K&lt;1&gt;" in card.page
    assert "1 &lt; 2" in card.page
    assert "nothing" not in card.page + str(card)
    assert str(card) == "<a <b> & c>\n  K<1>  1 < 2\n! x < y"


def test_a_derivation_shows_its_formulas_in_a_notebook() -> None:
    page = RESULTS["derivation"][0]._repr_html_()
    assert r"$\displaystyle F = \ln(x)$" in page
    assert "checked: the two sides are identical" in page
    assert RESULTS["step"][0]._repr_html_() in page.replace("<p><b>A logarithm</b></p>", "")


def test_source_is_shown_as_code() -> None:
    routine = RESULTS["routine"][0]
    assert routine.source not in repr(routine)
    assert f"<pre>{routine.source.splitlines()[0]}" in routine._repr_html_()


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.array(2.5), "2.5"),
        (np.arange(2 * ENDS), "0, 1, 2, 3, 4, 5"),
        (np.arange(2 * ENDS + 1), "shape (7,): 0, 1, 2, ..., 4, 5, 6"),
        (np.eye(2), "shape (2, 2): 1, 0, 0, 1"),
        (np.array([]), ""),
        (np.array([np.nan, -np.inf, 1 / 3]), "nan, -inf, 0.333333"),
    ],
    ids=["number", "short", "long", "matrix", "none", "not finite"],
)
def test_numbers_show_their_ends(array: np.ndarray, text: str) -> None:
    assert numbers(array) == text


def test_long_texts_and_many_facts_end() -> None:
    card = Card("many", (("long", "word " * 1000), *((f"f{k}", "1") for k in range(2 * MOST))))
    lines = str(card).splitlines()
    assert len(lines) == 1 + (MOST + 1) + ROWS - 1
    assert max(map(len, lines)) <= WIDTH
    assert lines[ROWS].endswith("...")
    assert f"{MOST + 1} more" in lines[-1]


def test_problems_stand_below_the_numbers() -> None:
    values = Values({"K": np.ones(2)}, 1, ("K is wrong",), notes=("K0 was clipped",))
    assert repr(values).endswith("\n* K0 was clipped\n! K is wrong")
    assert "see below" in repr(values)
    assert "K is wrong" in values._repr_html_()
