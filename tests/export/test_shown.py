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
    Majorant,
    Markov,
    ResNet,
    Smooth,
    compare,
    compare_scales,
    compile_routine,
    depth_limit,
    depth_paths,
    depth_thresholds,
    derive,
    evaluate,
    finite_response,
    gated_path_sum,
    gradient_moments,
    growth,
    kernel,
    measure_layers,
    measure_orders,
    measure_paths,
    one_loop,
    optimal_scale,
    order_profile,
    predict,
    remainder_bound,
    residual_expansion,
    response,
    sample,
    sweep,
    two_loop,
)
from resexpand.codegen.values import Values
from resexpand.expressions.shown import ENDS, MOST, ROWS, WIDTH, Card, numbers
from resexpand.theory.derivation import Derivation
from resexpand.workflows.doctor.page import LIBRARIES, Examination, Finding, TargetHealth

NET = ResNet(Branch(Activation("erf"), Linear()), scale=sp.Symbol("rho"), depth=sp.Symbol("L"))
FIXED = {"rho": 0.3, "sigma_w2": 1, "sigma_b2": 0, "depth": 4, "K0": 1.0}
x = sp.Symbol("x", positive=True)
L = sp.Symbol("L", integer=True, positive=True)
LINES = 14


def results() -> dict[str, tuple[Any, list[str]]]:
    """Return every kind of result with words that must be seen."""
    run = sample(NET, ["kernel"], width=8, draws=40, seed=1, **FIXED)
    grid = {**FIXED, "rho": np.linspace(0, 1, 50)}
    derivation = Derivation("A logarithm")
    derivation.step("It is $F$.", {"F": sp.log(x)}, check=(sp.log(x).diff(x), 1 / x))
    optimum = optimal_scale(NET)
    relu = Branch(Activation("relu"), Linear(2, 0))
    described = ResNet(relu, scale=0.3, depth=3, read_in=Linear(1, 0))
    free = ResNet(relu, scale=sp.Symbol("rho"), depth=L)
    limit = depth_limit(ResNet(relu, scale=1 / sp.sqrt(L), depth=L))
    smooth = depth_limit(ResNet(relu, scale=1 / L, depth=L, layers=Smooth("rbf", 1)))
    data = np.random.default_rng(0).normal(size=(6, 5))
    weights = np.random.default_rng(1).normal(size=(6, 20, 20))
    measured = ResNet(Branch(Activation("tanh"), Linear(1, 0)), scale=0.3, depth=3)
    wide = evaluate(response(NET), width=100, **FIXED)
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
        "derivation": (derivation, ["A logarithm, 1 step, 1 check passed", "It is F."]),
        "step": (derivation.steps[0], ["F = log(x)", "[ok]"]),
        "derived": (derive(NET, "response"), ["4 steps", "Price"]),
        "derived step": (derive(NET, "response")[1], ["are independent", "next K"]),
        "values of many names": (wide, ["width 100", "more: ", "eta_deviation"]),
        "sweep": (sweep(free, theory=kernel(free), rho=[0.1, 0.2], K0=1, depth=2), ["2 points"]),
        "scales": (compare_scales(free, [4, 8]), ["9 of 12", "scales at 8", "advice", "fixup"]),
        "layer kernel": (
            kernel(ResNet(relu, scale=0.3, depth=3, layers=Markov(sp.Rational(1, 2)))),
            ["two layers", "C_lm", "r=1/2"],
        ),
        "depth limit": (limit, ["infinite depth", "K0*exp(T)", "beta > 1/2"]),
        "smooth limit": (smooth, ["infinite depth", "smooth weights", "covariance"]),
        "thresholds": (depth_thresholds(free), ["exponent  1/2", "derived"]),
        "growth": (growth(free), ["laws over the layers", "K0*(rho**2 + 1)**l"]),
        "gradients": (gradient_moments(free), ["gradients", "layers 0 .. L", "O(1/N)"]),
        "finite response": (finite_response(NET), ["order 1/N", "O(1/N^2)"]),
        "two loop": (two_loop(NET), ["order 1/N^2", "O(1/N^3)"]),
        "prediction": (
            predict(described, data[:4], np.arange(4.0), data[4:]),
            ["Prediction", "mean", "ridge"],
        ),
        "orders": (measure_orders(measured, [np.eye(4)] * 3, np.ones(4), 2), ["order 1", "share"]),
        "paths": (measure_paths(described, [np.eye(4)] * 3, np.ones(4)), ["length 3", "left out"]),
        "layers": (measure_layers(weights), ["shape (6, 6)", "roughness"]),
        "depth paths": (
            depth_paths(limit, K0=1.0, width=8, depths=[4, 8], draws=40),
            ["depths          4, 8", "exponent"],
        ),
        "bound": (remainder_bound(3, majorant=Majorant.analytic(1, 1)), ["after order 3"]),
        "gated paths": (gated_path_sum("relu", 3), ["depth=3"]),
        "health": (health(), ["cpu works", "cuda does not work here: driver"]),
    }


def health() -> Examination:
    """Return the page of a machine without a GPU."""
    findings = (Finding("driver", "failed", "there is <none>", "install one"),)
    machine = {"resexpand": "0", "python": "3", "system": "s", "machine": "m", "processors": 1}
    libraries = {"libraries": dict.fromkeys(LIBRARIES, "1")}
    targets = TargetHealth("cpu", True, ()), TargetHealth("cuda", False, findings)
    return Examination("auto", machine | libraries, *targets)


RESULTS = results()


@pytest.mark.parametrize("kind", RESULTS)
def test_a_result_says_what_it_is_on_one_screen(kind: str) -> None:
    result, words = RESULTS[kind]
    text = repr(result)
    assert len(text.splitlines()) <= LINES
    assert all(len(line) <= WIDTH or line[0] in "<!" for line in text.splitlines())
    for word in words:
        assert word in text, word
    # What a notebook would show: formulas, or a page that is whole.
    pages = [getattr(result, name) for name in dir(result) if name.startswith("_repr_")]
    assert pages, "a notebook shows no more than a terminal"
    for page in pages:
        shown = page()
        for tag in ("table", "div", "pre"):
            assert shown.count(f"<{tag}") == shown.count(f"</{tag}>")
        assert "<none>" not in shown
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
    assert len(lines) <= 1 + (MOST + 1) + 2 * (ROWS - 1)
    assert max(map(len, lines)) <= WIDTH
    assert lines[ROWS].endswith("...")
    assert f"{MOST + 1} more: f{MOST - 1}, f{MOST}" in "\n".join(lines)


def test_problems_stand_below_the_numbers() -> None:
    values = Values({"K": np.ones(2)}, 1, ("K is wrong",), notes=("K0 was clipped",))
    assert repr(values).endswith("\n* K0 was clipped\n! K is wrong")
    assert "see below" in repr(values)
    assert "K is wrong" in values._repr_html_()
