"""Differentiated recursions are derivatives of what the recursion computes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from heavier import left_to_slow
from uncompiled import evaluate

from resexpand import Activation, Branch, Linear, ResNet, kernel
from resexpand.conventions import DEPTH, K0, PAIR, PAIR0, RHO, SIGMA_B2, SIGMA_W2
from resexpand.theory.differentiation import (
    differentiate,
    jacobian,
    total_derivative,
    vanishing_tangents,
)
from resexpand.theory.recursion import Output, Recursion

TANGENT = sp.Symbol("t", real=True)
GIVEN = {"rho": 0.6, "sigma_w2": 1.25, "sigma_b2": 0.125, "K0": 0.75}
PAIRS = [(name, s) for s in (RHO, SIGMA_W2, SIGMA_B2, K0) for name in ("erf", "relu", "tanh")]
MORE = [("tanh", SIGMA_B2), ("tanh", K0), ("tanh", RHO)]


def network(name: str = "erf") -> ResNet:
    return ResNet(Branch(Activation(name), Linear()), scale=RHO, depth=DEPTH)


def moving(base: Recursion, parameter: sp.Symbol) -> Recursion:
    found = differentiate(base, parameter, (TANGENT,))
    return replace(found, outputs=(Output("t", "trajectory", (TANGENT,)),))


@pytest.mark.parametrize(("name", "parameter"), left_to_slow(PAIRS, MORE), ids=str)
def test_against_differences(name: str, parameter: sp.Symbol) -> None:
    base = kernel(network(name))
    found = evaluate(moving(base, parameter), depth=4, **GIVEN)["t"]
    h = 1e-3
    steps = np.array([-2, -1, 1, 2]) * h
    around = {**GIVEN, parameter.name: GIVEN[parameter.name] + steps}
    values = evaluate(base, depth=4, **around)["K"]
    differences = np.array([1, -8, 8, -1]) @ values / (12 * h)
    np.testing.assert_allclose(found, differences, rtol=1e-9, atol=1e-10)


def test_a_derivative_of_a_derivative() -> None:
    base = kernel(network("relu"))
    once = differentiate(base, RHO, (TANGENT,))
    twice = differentiate(once, RHO, sp.symbols("u v", real=True))
    factor = 1 + RHO**2 * SIGMA_W2 / 2
    # K^2 of the relu network without bias is K0 factor^2.
    state = [sp.expand(s.subs(SIGMA_B2, 0)) for s in twice.states(2)[-1].values()]
    closed = K0 * factor**2
    assert state[0] == sp.expand(closed)
    assert state[1] == sp.expand(closed.diff(RHO))
    assert state[-1] == sp.expand(closed.diff(RHO, 2))


def test_the_jacobian_of_a_pair_is_the_price_matrix() -> None:
    matrix = jacobian(kernel(network(), inputs=2))
    assert matrix.shape == (3, 3)
    # A variance feels itself alone, the covariance feels all three.
    zeros = {(i, j) for i in range(3) for j in range(3) if matrix[i, j] == 0}
    assert zeros == {(0, 1), (0, 2), (2, 0), (2, 1)}


def test_tangents_that_vanish_are_dropped() -> None:
    base = kernel(network(), inputs=2)
    symbols = sp.symbols("t_11 t_12 t_22", real=True)
    assert vanishing_tangents(base, PAIR0[1], symbols) == {symbols[0], symbols[2]}
    assert vanishing_tangents(base, PAIR0[0], symbols) == {symbols[2]}
    assert vanishing_tangents(base, RHO, symbols) == set()
    assert differentiate(base, PAIR0[1], symbols).state == (*PAIR, symbols[1])


def test_total_derivative_adds_the_explicit_dependence() -> None:
    base = kernel(network())
    (k,) = base.state
    total = total_derivative(RHO * k**2, base, RHO, (TANGENT,))
    assert sp.expand(total - (k**2 + 2 * RHO * k * TANGENT)) == 0
