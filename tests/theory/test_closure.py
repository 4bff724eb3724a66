"""Closing formulas: chains of activations, independent inputs, nested switches."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import sympy as sp
from uncompiled import evaluate

from resexpand import Activation, Branch, Linear, ResNet, kernel, response
from resexpand.activations import activation_law
from resexpand.gaussian.expectation import GaussianExpectation, Nonlinearity, pair_moment
from resexpand.theory.closure import close

X = sp.Symbol("x")
PHI = sp.Symbol("phi")
A, B = sp.symbols("A B", positive=True)


def test_independent_inputs_factorise() -> None:
    """<phi'(x_1) phi'(x_2)> at K_12 = 0 is a product of two averages over one variable."""
    laws = ((PHI, activation_law("tanh")),)
    slopes = pair_moment(PHI, (A, sp.Integer(0), B))
    raised = GaussianExpectation(slopes.base, slopes.variables, slopes.covariance, (0, 1, 0))
    closed = close(raised, laws)
    nodes = closed.atoms(GaussianExpectation)
    assert {len(node.variables) for node in nodes} == {1}
    assert closed.is_Mul
    assert len(nodes) == 2


def single_average(node: GaussianExpectation) -> mpmath.mpf:
    function = sp.lambdify(node.variables[0], node.integrand, "mpmath")
    scale = mpmath.sqrt(int(node.covariance[0]))
    panels = np.linspace(-9, 9, 19).tolist()
    return mpmath.quad(lambda z: mpmath.npdf(z) * function(scale * z), panels)


def test_factorised_response_continues_the_correlated_one() -> None:
    """The product at K_12 = 0 is the limit of the double integral at small correlation."""
    net = ResNet(Branch(Activation("tanh"), Linear(1.3, 0)), scale=0.5, depth=1)
    theory = response(net, kind="covariance")
    small = [evaluate(theory, K0=[[1, c], [c, 2]])["chi_0"][1] for c in (0.02, 0.01)]
    laws = ((PHI, activation_law("tanh")),)
    node = pair_moment(PHI, (sp.Integer(1), sp.Integer(0), sp.Integer(2)))
    raised = GaussianExpectation(node.base, node.variables, node.covariance, (0, 1, 0))
    averages = close(raised, laws)
    values = {single: single_average(single) for single in averages.atoms(GaussianExpectation)}
    limit = 1 + 0.25 * 1.3 * float(averages.xreplace(values))
    # Even in the correlation, so halving it must quarter the distance from the limit.
    far, near = (abs(value - limit) for value in small)
    assert far / near == pytest.approx(4, rel=0.02)


def test_averages_nest_in_a_chain_of_activations() -> None:
    branch = Branch(
        Linear(1.1, 0.1), Activation("erf"), Linear(1.4, 0.3), Activation("relu"), Linear(1, 0)
    )
    covariance = evaluate(kernel(ResNet(branch, scale=1, depth=1)), K0=0.7)["C"][0]
    first = 1.1 * 0.7 + 0.1
    second = 1.4 * 2 / np.pi * np.arcsin(2 * first / (1 + 2 * first)) + 0.3
    np.testing.assert_allclose(covariance, second / 2, rtol=1e-14)


@pytest.mark.parametrize(
    ("expression", "kinks", "jumps"),
    [
        (sp.Max(-1, sp.Min(1, X)), (-1, 1), ()),
        (sp.Abs(sp.Abs(X) - 1), (-1, 0, 1), ()),
        (X * sp.sign(sp.Abs(X) - 1), (), (-1, 1)),
        (sp.Piecewise((0, X < 0), (sp.Min(X, 6), True)), (0, 6), ()),
    ],
    ids=str,
)
def test_switches_inside_switches(
    expression: sp.Expr, kinks: tuple[int, ...], jumps: tuple[int, ...]
) -> None:
    law = activation_law(expression)
    assert law.kinks == kinks
    assert law.jumps == jumps


def test_hard_tanh_against_its_exact_second_moment() -> None:
    net = ResNet(Branch(Activation(sp.Max(-1, sp.Min(1, X))), Linear(1, 0)), scale=1, depth=1)
    found = evaluate(kernel(net), K0=1.0)
    inside = mpmath.erf(1 / mpmath.sqrt(2)) - 2 * mpmath.npdf(1)
    outside = mpmath.erfc(1 / mpmath.sqrt(2))
    np.testing.assert_allclose(found["C"][0], float(inside + outside), rtol=1e-13)
    assert found.status == "ok"


def test_formal_functions_are_gone_after_closing() -> None:
    laws = ((PHI, activation_law("gelu")),)
    closed = close(pair_moment(PHI, (A, sp.Symbol("c"), B)), laws)
    assert not closed.has(Nonlinearity)
