"""Theory against sampled networks: every activation, every observable, every kind of branch.

Networks of three widths are extrapolated to infinite width and compared layer by layer. Every
comparison has a negative control: the same samples against a theory with one wrong coefficient must
disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    compare,
    evaluate,
    kernel,
    response,
    sample,
)
from resexpand.activations import ACTIVATIONS
from resexpand.agreement.comparison import Agreement
from resexpand.theory.recursion import Recursion

WIDTHS = (100, 200, 400)
DRAWS = 12_000
SINGLE = 0.7
PAIR = np.array([[0.7, 0.2], [0.2, 1.1]])
X = sp.Symbol("x")

ACTIVATION_CASES = [*ACTIVATIONS, sp.Abs(X), X * sp.exp(-(X**2))]
BRANCHES = {
    "linear": Branch(Linear(1.3, 0.1)),
    "two linears": Branch(Linear(1.1, 0.2), Activation("relu"), Linear(1.3, 0.1)),
    "ends in an activation": Branch(Linear(1.1, 0.2), Activation("relu")),
    "two activations": Branch(
        Linear(1.1, 0.1), Activation("erf"), Linear(1.4, 0.3), Activation("relu")
    ),
}


def network(branch: Branch, **options: object) -> ResNet:
    return ResNet(branch, scale=0.4, depth=4, **options)


def judged(net: ResNet, theory: Mapping[str, np.ndarray], names: dict[str, str], K0) -> Agreement:
    observables = [*names.values()]
    runs = [
        sample(net, observables, width, DRAWS * WIDTHS[0] // width, K0=K0, seed=width)
        for width in WIDTHS
    ]
    return compare({key: theory[key] for key in names}, runs, names=names, resolve=0.08)


def single(net: ResNet, theory: Recursion | None = None, *, derivative: bool = True) -> Agreement:
    names = {"K": "kernel", "C": "layer_covariance"}
    values = dict(evaluate(theory or kernel(net), K0=SINGLE))
    if derivative:
        values |= evaluate(response(net), K0=SINGLE)
        names |= {"eta_layers": "response", "chi_0": "chi"}
    return judged(net, values, names, SINGLE)


def pair(net: ResNet, *, derivative: bool = True) -> Agreement:
    names = {"K": "kernel", "C": "layer_covariance"}
    values = dict(evaluate(kernel(net, inputs=2), K0=PAIR))
    if derivative:
        values |= evaluate(response(net, kind="covariance"), K0=PAIR)
        names |= {"chi_0": "covariance_response"}
    return judged(net, values, names, PAIR)


@pytest.mark.parametrize("function", ACTIVATION_CASES, ids=str)
def test_every_activation_with_one_input(function: str | sp.Expr) -> None:
    branch = Branch(Activation(function), Linear(1.3, 0.1))
    found = single(network(branch), derivative=function != "sign")
    assert found.verdict == "agrees", str(found)


@pytest.mark.parametrize("function", ACTIVATION_CASES, ids=str)
def test_every_activation_with_two_inputs(function: str | sp.Expr) -> None:
    branch = Branch(Activation(function), Linear(1.3, 0.1))
    found = pair(network(branch), derivative=function != "sign")
    assert found.verdict == "agrees", str(found)


@pytest.mark.parametrize("read_out", [None, Linear(1.7, 0.2)], ids=["plain", "read-out"])
@pytest.mark.parametrize("name", BRANCHES)
def test_every_kind_of_branch(name: str, read_out: Linear | None) -> None:
    net = network(BRANCHES[name], read_out=read_out)
    for found in (single(net), pair(net)):
        assert found.verdict == "agrees", str(found)


def test_one_scale_per_block() -> None:
    net = ResNet(Branch(Activation("erf"), Linear(1.3, 0.1)), scale=[0.2, 0.7, 0.1, 0.5])
    assert single(net).verdict == "agrees"


@pytest.mark.parametrize("kind", ["tangent"])
def test_tangents(kind: str) -> None:
    net = network(Branch(Activation("tanh"), Linear(1.3, 0.1)))
    theory = evaluate(response(net, kind=kind), K0=SINGLE)
    found = judged(net, theory, {"chi_0": "tangent"}, SINGLE)
    assert found.verdict == "agrees", str(found)


def test_control_a_wrong_coefficient_disagrees() -> None:
    net = network(Branch(Activation("erf"), Linear(1.3, 0.1)))
    right = kernel(net)
    wrong = replace(right, update=(right.update[0] * sp.Rational(101, 100),))
    assert single(net, wrong).verdict == "disagrees"


def test_control_the_second_derivative_term_is_needed() -> None:
    """Without <phi phi''> the variance response is that of a tangent: samples must tell."""
    net = network(Branch(Activation("erf"), Linear(1.3, 0.1)))
    tangent = evaluate(response(net, kind="tangent"), K0=SINGLE)
    assert judged(net, tangent, {"chi_0": "chi"}, SINGLE).verdict == "disagrees"


def test_control_a_finite_width_is_not_infinite() -> None:
    """At one small width the neglected order is too wide to agree."""
    net = network(Branch(Activation("erf"), Linear(1.3, 0.1)))
    run = sample(net, ["kernel"], 12, 20_000, K0=SINGLE, seed=3)
    assert compare(evaluate(kernel(net), K0=SINGLE), run).verdict == "inconclusive"
