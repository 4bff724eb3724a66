"""Which law, which sampler, and why: choices, their errors in words, and one law in two samplers.

Every refusal says what was asked, why it cannot be and what would work; what is accepted is part
of the identity of a run.
"""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, ResNet, quantile_law, sample
from resexpand.errors import DescriptionError, ResexpandError, UnsupportedError
from resexpand.montecarlo.loops.function_space import PIECE
from resexpand.montecarlo.weights.law import GAUSSIAN, LAWS, chosen_method
from resexpand.montecarlo.weights.quantile import weight_law

u, v = sp.symbols("u v")
NET = ResNet(Branch(Linear(1.3, 0)), scale=0.6, depth=1)
ARGUMENTS = {"width": 6, "draws": 40, "K0": 1.0, "workers": 1}
THIRD = sp.Piecewise((-1, u < sp.Rational(1, 6)), (1, u > sp.Rational(5, 6)), (0, True))


@pytest.mark.parametrize(
    ("expression", "variance", "kurtosis"),
    [
        (sp.log(u / (1 - u)), sp.pi**2 / 3, 4.2),
        (2 * u - 1, sp.Rational(1, 3), 1.8),
        (7 * sp.sign(u - sp.Rational(1, 2)), 49, 1.0),
        (THIRD, sp.Rational(1, 3), 3.0),
        (-sp.sign(u - sp.Rational(1, 2)) * sp.log(1 - 2 * sp.Abs(u - sp.Rational(1, 2))), 2, 6.0),
    ],
    ids=["logistic", "uniform", "signs", "sparse", "laplace"],
)
def test_moments_of_quantile_functions(expression, variance, kurtosis) -> None:
    law = quantile_law(expression, variance=float(variance))
    assert law.kurtosis == pytest.approx(kurtosis, rel=1e-8)
    with pytest.raises(DescriptionError, match="its variance is"):
        quantile_law(expression, variance=1.001 * float(variance))


@pytest.mark.parametrize(
    ("expression", "error", "words"),
    [
        (u, DescriptionError, "its mean is 0.5, and weights of a nonzero mean"),
        (u * v - v / 2, DescriptionError, "it has 2 symbols"),
        (sp.Integer(1), DescriptionError, "it has 0 symbols"),
        (0 * u + sp.sign(u) - 1 + 0 * sp.sin(u), DescriptionError, "0 symbols|variance is zero"),
        (sp.sqrt(u - 2), DescriptionError, "its value is .*real and finite"),
        (1 / (u - sp.Rational(1, 4)), DescriptionError, "mean is"),
        (sp.tan(sp.pi * (u - sp.Rational(1, 2))), UnsupportedError, "or it is infinite"),
        (u**-0.4 - (1 - u) ** -0.4, UnsupportedError, "32 random bits do not resolve"),
        ("cauchy", UnsupportedError, "use 'gaussian', 'uniform', 'rademacher', 'orthogonal'"),
        (None, UnsupportedError, "not a law of weights"),
        (3.0, UnsupportedError, "not a law of weights"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_laws_that_are_none(expression, error, words) -> None:
    with pytest.raises(error, match=words):
        weight_law(expression)


def test_auto_says_why() -> None:
    for name, method in (
        ("gaussian", "function-space"),
        ("uniform", "dense"),
        ("rademacher", "dense"),
        ("orthogonal", "function-space"),
    ):
        assert chosen_method("auto", LAWS[name]) == (method, LAWS[name].reason)
        assert chosen_method("dense", LAWS[name]) == ("dense", "as asked")
    assert weight_law(2 * u - 1).samplers == {"dense": "loops.dense"}
    found = sample(NET, "kernel", **ARGUMENTS)
    assert found["kernel"].method == "function-space"
    assert "Gaussian" in found.method_reason
    asked = sample(NET, "kernel", method="function-space", **ARGUMENTS)
    assert asked.method_reason == "as asked"
    np.testing.assert_array_equal(asked["kernel"].mean, found["kernel"].mean)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "function-space", "weights": "uniform"}, 'use method="dense"'),
        ({"method": "function-space", "weights": 2 * u - 1}, "rotating it leaves its law"),
        ({"method": "exact"}, "use 'auto' or 'function-space' or 'dense'"),
        ({"method": None}, "use 'auto'"),
        ({"weights": "orthogonal", "control": "infinite-width"}, "use Gaussian weights"),
    ],
)
def test_choices_that_cannot_be(options, words) -> None:
    with pytest.raises(UnsupportedError, match=words):
        sample(NET, "kernel", **{**ARGUMENTS, **options})


def test_law_is_part_of_the_identity(tmp_path) -> None:
    store = tmp_path / "run.sqlite"
    first = sample(NET, "kernel", **ARGUMENTS, weights="uniform", store=store)
    assert first.settings["weights"] == "uniform"
    again = sample(NET, "kernel", **ARGUMENTS, weights="uniform", store=store)
    np.testing.assert_array_equal(first["kernel"].mean, again["kernel"].mean)
    for weights in ("rademacher", "gaussian"):
        with pytest.raises(ResexpandError):
            sample(NET, "kernel", **ARGUMENTS, weights=weights, method="dense", store=store)
    assert "weights" not in sample(NET, "kernel", **ARGUMENTS).settings


def test_expression_of_a_registered_law_draws_the_same_numbers(draw_rows) -> None:
    options = {"width": 8, "draws": 5, "method": "dense"}
    registered = draw_rows(NET, "kernel", weights="uniform", **options)
    by_quantile = draw_rows(NET, "kernel", weights=5 * u - sp.Rational(5, 2), **options)
    np.testing.assert_allclose(by_quantile, registered, rtol=1e-12)


@pytest.mark.parametrize("inputs", [1, 2])
def test_adding_in_one_pass_changes_nothing(inputs: int, make) -> None:
    """`residual_ratio` reads the branch, so that it is written down before it is added."""
    net = ResNet(Branch(Activation("erf"), Linear(1.4, 0.3)), scale=0.9, depth=2)
    K0 = 0.8 if inputs == 1 else [[1.2, 0.5], [0.5, 0.9]]
    width = 2 * PIECE + 100
    fused, plain = (
        make(net, names, width, K0=K0).rows(0, 2)["kernel"]
        for names in (["kernel"], ["kernel", "residual_ratio"])
    )
    np.testing.assert_allclose(fused, plain, rtol=1e-12)
    short = make(net, ["kernel"], width - PIECE, K0=K0).rows(0, 2)["kernel"]
    assert np.abs(short / fused - 1).max() > 1e-6


def test_a_law_can_be_given_as_text() -> None:
    """Text in u, an expression in any symbol, and the law itself are one law."""
    text, v = "log(u/(1 - u))", sp.Symbol("v")
    laws = [weight_law(text), weight_law(sp.log(v / (1 - v))), quantile_law(sp.log(v / (1 - v)))]
    assert len({law.name for law in laws}) == 1
    assert "log(u/(1 - u))" in laws[0].name


def test_gaussian_is_the_default() -> None:
    assert weight_law("gaussian") is GAUSSIAN
    assert weight_law(GAUSSIAN) is GAUSSIAN
