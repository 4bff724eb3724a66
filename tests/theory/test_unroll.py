"""Unrolled recursions: exact expressions, equal to what the compiled routine computes."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from heavier import left_to_slow
from uncompiled import evaluate

from resexpand import Activation, Branch, Linear, ResNet, kernel, response
from resexpand.conventions import DEPTH, K0, PAIR0, RHO, SIGMA_B2, SIGMA_W2
from resexpand.errors import HyperparameterError
from resexpand.gaussian.expectation import GaussianExpectation, Nonlinearity
from resexpand.theory.recursion import Recursion

CLOSED = ["identity", "erf", "erf_unit", "relu", "leaky_relu", "sin", "sign"]
AT = {RHO: 0.6, SIGMA_W2: 1.25, SIGMA_B2: 0.125}
GIVEN = {"rho": 0.6, "sigma_w2": 1.25, "sigma_b2": 0.125}
PAIR_AT = dict(zip(PAIR0, (0.75, 0.25, 1.5), strict=True))
START = [[0.75, 0.25], [0.25, 1.5]]


def network(name: str | sp.Expr) -> ResNet:
    return ResNet(Branch(Activation(name), Linear()), scale=RHO, depth=DEPTH)


def recursions(name: str) -> list[Recursion]:
    net = network(name)
    found = [kernel(net), kernel(net, inputs=2), response(net), response(net, "covariance")]
    return found if name == "sign" else [*found, response(net, "tangent")]


def numbers(value: object, at: dict[sp.Symbol, float]) -> np.ndarray:
    array = sp.ImmutableDenseNDimArray(value)
    return np.array([float(sp.N(e.subs(at), 25)) for e in sp.flatten(array)]).reshape(array.shape)


@pytest.mark.parametrize("name", left_to_slow(CLOSED, ["erf_unit"]))
def test_unrolling_equals_evaluating(name: str) -> None:
    compared = 0
    for recursion in recursions(name):
        pairs = recursion.inputs == 2
        at = {**AT, **(PAIR_AT if pairs else {K0: 0.75})}
        found = evaluate(recursion, K0=START if pairs else 0.75, depth=2, **GIVEN)
        for output, layers in recursion.unroll(2).items():
            exact = np.array([numbers(layer, at) for layer in layers])
            np.testing.assert_allclose(
                found[output], exact.reshape(np.shape(found[output])), rtol=1e-13, atol=1e-16
            )
            compared += 1
    assert compared == (14 if name == "sign" else 19)


@pytest.mark.parametrize("name", [*CLOSED, "tanh", "gelu", "silu"])
def test_nothing_is_rounded(name: str) -> None:
    net = ResNet(Branch(Activation(name), Linear(1.2, 0.05)), scale=0.1, depth=2)
    for recursion in (kernel(net), kernel(net, inputs=2), response(net)):
        expressions = [e for layers in recursion.unroll(2).values() for e in layers]
        flat = sp.Tuple(*(sp.ImmutableDenseNDimArray(e) for e in expressions))
        assert not flat.atoms(sp.Float)
        assert not flat.atoms(Nonlinearity)
        assert flat.atoms(sp.Rational)
        formal = sp.Tuple(*recursion.update, *(v for _, v in recursion.bindings))
        assert not formal.atoms(sp.Float)


def test_a_float_would_be_noticed() -> None:
    assert sp.ImmutableDenseNDimArray([sp.Float(0.1) * K0]).atoms(sp.Float)


def test_what_has_no_closed_form_stays_an_average() -> None:
    (first, second) = kernel(network("tanh")).unroll(1)["K"]
    assert first == K0
    (node,) = second.atoms(GaussianExpectation)
    assert node.integrand == sp.tanh(node.variables[0]) ** 2
    assert node.covariance == (K0,)


def test_the_first_layers_of_known_networks() -> None:
    assert kernel(network("relu")).unroll(2)["C"][1] == (
        SIGMA_W2 * (K0 + RHO**2 * (SIGMA_W2 * K0 / 2 + SIGMA_B2)) / 2 + SIGMA_B2
    )
    erf = kernel(network("erf")).unroll(1)["K"][1]
    typed = K0 + RHO**2 * (SIGMA_B2 + SIGMA_W2 * 2 / sp.pi * sp.asin(2 * K0 / (1 + 2 * K0)))
    assert sp.expand(erf - typed) == 0
    chi = response(network("relu")).unroll(3)["chi"]
    factor = 1 + RHO**2 * SIGMA_W2 / 2
    for row, entries in enumerate(chi):
        for column, entry in enumerate(entries):
            expected = factor ** (row - column) if column <= row else 0
            assert sp.expand(entry - expected) == 0


def test_scales_per_block_unroll_in_order() -> None:
    a, b = sp.symbols("a b")
    net = ResNet(Branch(Linear(1, 0)), scale=(a, b))
    assert [sp.factor(k) for k in kernel(net).unroll(2)["K"]] == [
        K0,
        K0 * (1 + a**2),
        sp.factor(K0 * (1 + a**2) * (1 + b**2)),
    ]
    with pytest.raises(HyperparameterError, match="unrolling to depth 3"):
        kernel(net).unroll(3)


@pytest.mark.parametrize("depth", [0, -1, 1.5, "2"])
def test_depths_that_cannot_be_unrolled(depth: object) -> None:
    with pytest.raises(HyperparameterError, match="unrolling to depth"):
        kernel(network("erf")).unroll(depth)  # type: ignore[arg-type]
