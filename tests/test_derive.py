"""`derive`: every network has its steps, every step is checked, and a wrong one is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mpmath
import pytest
import sympy as sp
from heavier import left_to_slow

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    Conv,
    Dropout,
    LayerNorm,
    Linear,
    Markov,
    ResNet,
    derive,
    finite_response,
    kernel,
    one_loop,
    to_latex,
)
from resexpand.conventions import DEPTH, RHO
from resexpand.errors import DescriptionError, HyperparameterError, UnsupportedError
from resexpand.theory.closure import close
from resexpand.theory.derivation import Derivation, DerivationError
from resexpand.theory.verification import compare_sides

K = sp.Symbol("K", positive=True)


def network(*ops: object, **named: object) -> ResNet:
    return ResNet(Branch(*ops), **{"scale": RHO, "depth": DEPTH, **named})  # type: ignore[arg-type]


ERF = network(Activation("erf_unit"), Linear())


@pytest.mark.parametrize(
    ("net", "checks"),
    [
        (ERF, 6),
        (network(Activation("tanh"), Linear(), skip=0.9), 6),
        (network(LayerNorm(), Activation("tanh"), Linear(1, 0.1), Activation("sin"), Linear()), 6),
        (network(Activation("x**2"), Dropout(0.9), Linear()), 6),
        (network(Linear(), Activation("x + x**3")), 3),
        (network(Activation("erf"), Linear(), scale=[0.2, 0.4, 0.3], depth=3), 6),
        (network(Activation("erf"), Linear(1, [0.1, 0.2]), depth=2, read_out=Linear(2, 0)), 6),
    ],
    ids=["closed", "unclosed", "norms", "masks", "not Gaussian", "scales", "biases"],
)
def test_a_response_is_derived_for_every_network(net: ResNet, checks: int) -> None:
    derivation = derive(net, "response")
    assert sum(len(step.verified) for step in derivation) == checks
    assert "\\documentclass" in to_latex(derivation, "document")


def test_networks_without_integrals_are_sampled() -> None:
    net = network(Activation("relu"), Linear(), Dropout(0.8), scale=0.4, depth=20)
    derivation = derive(net, "response")
    found = [verified for step in derivation for verified in step.verified]
    assert len(found) == 2
    assert all("random networks" in one.what and one.result == "it agrees" for one in found)
    shown = derivation[1][""]
    wrong = replace(shown, update=tuple(sp.Rational(6, 5) * u for u in shown.update))
    with pytest.raises(DerivationError, match="it disagrees"):
        derivation.replace(1, wrong)


def test_a_scale_may_name_the_depth() -> None:
    own = sp.Symbol("L")  # without the assumptions that a text has
    derivation = derive(network(Activation("erf_unit"), Linear(1, 0), scale="c/sqrt(L)", depth=own))
    assert sum(len(step.verified) for step in derivation) == 6
    wrong = network(Activation("erf_unit"), Linear(1, 0), scale="c/L")
    with pytest.raises(DerivationError, match="step 1"):
        derivation.replace(1, kernel(wrong))


RELU = Activation("relu")


@pytest.mark.parametrize(
    ("net", "inputs", "formula"),
    [
        (network(BatchNorm(eps=0.1, ghost=3), RELU, Linear(1, 0)), "batch", "V_B"),
        (network(Conv([-1, 0, 1]), RELU, Linear(1, 0), positions=4), "positions", "Conv"),
        (network(Dropout(0.8), RELU, Linear(1, 0), scale=0.5, depth=3), "masks", "K_12"),
        (network(RELU, Linear(1, 0)), 2, "K_12"),
        (network(RELU, Linear(1, 0), scale="c/L", layers=Markov(0.5)), 1, "B^{a,b}"),
    ],
    ids=["batch", "positions", "masks", "pair", "layers"],
)
def test_kernels_of_several_columns_and_of_correlated_layers(
    net: ResNet, inputs: Any, formula: str
) -> None:
    derivation = derive(net, "kernel", inputs=inputs)
    assert [v.result for v in derivation[1].verified] == ["it agrees"]
    assert formula in derivation.report()
    assert "\\documentclass" in to_latex(derivation, "document")
    shown = derivation[1][""]
    wrong = kernel(net.with_scale(sp.Rational(6, 5) * net.scale), inputs=inputs)
    assert type(wrong) is type(shown)
    with pytest.raises(DerivationError, match="it disagrees"):
        derivation.replace(1, wrong)
    with pytest.raises(HyperparameterError, match="for the kernel alone"):
        derive(ERF, "response", inputs=2)


@pytest.mark.parametrize("kind", ["covariance", "tangent"])
def test_other_kinds_of_response(kind: str) -> None:
    net = network(Activation("tanh"), Linear())
    derivation = derive(net, "response", kind=kind)  # type: ignore[arg-type]
    with pytest.raises(DerivationError, match="step 3"):
        derivation.replace(3, {"f": derivation[3]["f"] - 1 + sp.Rational(101, 100)})


@pytest.mark.slow
@pytest.mark.parametrize("scale", [RHO, "c/sqrt(L)"])
def test_optimal_scale_of_an_activation_without_closed_form(scale: Any) -> None:
    net = network(Activation("tanh"), Linear(1, 0), scale=scale)
    derivation = derive(net, "optimal-scale", at={"K0": sp.Rational(1, 10)})
    assert derivation[7]["K_star"] > 0.1
    assert [len(step.verified) for step in derivation] == [1, 2, 1, 2, 3, 1, 1, 1, 2]
    with pytest.raises(DerivationError, match="Newton"):
        derivation.replace(7, {"K_star": derivation[7]["K_star"] * (1 + sp.Float(1e-6))})


@pytest.mark.parametrize(
    ("activation", "start", "why"),
    [("relu", sp.Rational(3, 10), "without bound"), ("sin", 1, "falls from the start")],
)
def test_optimal_scale_that_does_not_exist_says_so(activation: str, start: Any, why: str) -> None:
    net = network(Activation(activation), Linear(), scale=0.3, depth=20)
    derivation = derive(net, "optimal-scale", at={"K0": start})
    assert why in derivation[len(derivation)].text


@pytest.mark.parametrize(
    ("number", "name", "factor"),
    [
        (3, "response", 2),
        (3, "curvature", 2),
        (5, "source", sp.Rational(99, 100)),
        (5, "conditioning_source", sp.Rational(99, 100)),
        (6, "kernel_covariance", sp.Rational(99, 100)),
        (6, "gram_covariance", sp.Rational(99, 100)),
    ],
)
def test_a_wrong_factor_in_the_order_one_over_n_is_caught(
    number: int, name: str, factor: sp.Expr, finite: Derivation
) -> None:
    with pytest.raises(DerivationError, match=f"step {number}"):
        altered(finite, number, name, factor)


@pytest.fixture(scope="module")
def finite() -> Derivation:
    return derive(ERF, "one-loop")


def test_all_formulas_of_the_order_one_over_n_have_a_step(finite: Derivation) -> None:
    shown = {name for step in finite for name, _ in step.equations}
    assert {formula.name for formula in one_loop(ERF).formulas} <= shown


def altered(derivation: Derivation, number: int, name: str, factor: sp.Expr) -> None:
    formula = derivation[number][name]
    wrong = type(formula)(**{**vars(formula), "rhs": factor * formula.rhs})
    derivation.replace(number, {name: wrong})


KINDS = ["variance", "tangent", "parameters", "gradient"]


@pytest.mark.parametrize("kind", left_to_slow(KINDS, ["tangent", "gradient"]))
def test_responses_at_finite_width(kind: str) -> None:
    derivation = derive(ERF, "finite-response", kind=kind)  # type: ignore[arg-type]
    shown = {name for step in derivation for name, _ in step.equations}
    assert {formula.name for formula in finite_response(ERF, kind).formulas} <= shown
    entry = "hv" if kind == "variance" else "vv"
    wrong = sp.Rational(101, 100)
    names = {2: "covariance_", 3: "response_hh", 5: f"source_{entry}", 8: "finite"}
    for number, stem in names.items():
        first, *rest = stem.split("_")
        name = stem if number == 8 else "_".join((first, entry, *filter(None, rest)))
        with pytest.raises(DerivationError, match=f"step {number}"):
            altered(derivation, number, name, wrong)


def test_responses_at_finite_width_without_formulas() -> None:
    with pytest.raises(UnsupportedError, match="kind 'step'"):
        derive(ERF, "finite-response", kind="step")  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="formulas"):
        derive(network(LayerNorm(), Activation("erf"), Linear()), "finite-response")


@pytest.mark.parametrize(("number", "name"), [(1, ""), (2, "C(K)"), (2, "C'(K)"), (3, "f")])
def test_a_wrong_equation_is_refused_and_the_step_stays(number: int, name: str) -> None:
    derivation = derive(ERF, "response")
    before = derivation[number]
    shown = before[name]
    wrong = (
        shown * sp.Rational(101, 100)
        if name
        else derive(network(Activation("erf"), Linear()), "kernel")[1][""]
    )
    with pytest.raises(DerivationError, match=f"step {number} of 'Response of the variance'"):
        derivation.replace(number, {name: wrong})
    assert derivation[number] is before


def test_a_step_is_replaced_by_what_is_equal_and_others_are_added() -> None:
    derivation = derive(ERF, "response")
    factor = derivation[3]["f"]
    new = derivation.replace(
        3, {"f": sp.expand(2 * factor) / 2}, text="The same, doubled and halved."
    )
    assert new.number == 3
    assert len(new.verified) == 1
    derivation.step("It is at least one.", {"g": factor - 1}, check=(True, True))
    assert [step.number for step in derivation] == [1, 2, 3, 4, 5]
    with pytest.raises(DerivationError, match="steps 1 to 5"):
        derivation[6]


def test_numbers_of_the_checks_are_chosen() -> None:
    one, two = (derive(ERF, "kernel", at={"K0": k})[1].verified[0].result for k in (1, 2))
    assert one != two
    with pytest.raises(HyperparameterError, match="sigma"):
        derive(ERF, "kernel", at={"sigma": 1})
    cases = [(-1, "a variance"), (sp.Symbol("q"), "real"), (sp.nan, "finite"), (sp.I, "real")]
    for value, why in cases:
        with pytest.raises(HyperparameterError, match=rf"K0 = .*{why}"):
            derive(ERF, "kernel", at={"K0": value})
    with pytest.raises(HyperparameterError, match="by name"):
        derive(ERF, "kernel", at=0.3)
    assert derive(ERF, "kernel", at={"K0": sp.pi / 10})[1].verified


def test_what_cannot_be_derived_is_said() -> None:
    with pytest.raises(HyperparameterError, match="unknown"):
        derive(ERF, "everything")  # type: ignore[arg-type]
    with pytest.raises(DescriptionError, match="ResNet"):
        derive("erf")  # type: ignore[arg-type]


# Averages without closed form


def unclosed(name: str, at: object) -> sp.Expr:
    recursion = derive(network(Activation(name), Linear()), "kernel")[1][""]
    average = close((recursion.definitions[0][1] - recursion.symbols.sigma_b2), recursion.laws)
    return average.subs({recursion.symbols.sigma_w2: 1, K: at})


def test_averages_without_closed_form_are_numbers() -> None:
    average = unclosed("tanh", sp.Rational(3, 10))
    with mpmath.workdps(55):
        own = mpmath.quad(
            lambda z: mpmath.npdf(z) * mpmath.tanh(mpmath.sqrt(mpmath.mpf(3) / 10) * z) ** 2,
            range(-16, 17, 2),
        )
    assert compare_sides(average, own)[:2] == (True, "45 of 50 digits")
    assert compare_sides(average * (1 + sp.Rational(1, 10**40)), own)[0] is False


@pytest.mark.slow
def test_averages_with_kinks_are_integrated_piece_by_piece() -> None:
    kinked = unclosed("x*exp(-abs(x))", 1)
    with mpmath.workdps(55):
        half = mpmath.quad(
            lambda z: 2 * mpmath.npdf(z) * (z * mpmath.exp(-z)) ** 2, [0, 1, 3, 8, 17]
        )
    assert compare_sides(kinked, half)[0] is True


def test_a_number_beside_an_expression_with_symbols_is_explained() -> None:
    average = unclosed("tanh", K)
    holds, _, why = compare_sides(average, mpmath.mpf(1))
    assert not holds
    assert "without K" in why
    derivation = Derivation("d")
    with pytest.raises(DerivationError, match="no value without K"):
        derivation.step("a step", check=(average, mpmath.mpf(1)))


@pytest.mark.parametrize("of", ["kernel", "response", "optimal-scale", "one-loop"])
def test_checks_at_a_kernel_that_is_no_variance_are_refused(of: Any) -> None:
    net = ResNet(Branch(Activation("erf_unit"), Linear(1, 0)), scale=0.3, depth=3)
    with pytest.raises(HyperparameterError, match="K0 = -1: the kernel of an input is a variance"):
        derive(net, of, at={"K0": -1})
