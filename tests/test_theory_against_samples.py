"""Theory against sampled networks: every activation, every observable over the layers, every
kind of branch.

Networks of three widths are extrapolated to infinite width and compared layer by layer. Every
comparison has a negative control: against the same samples, each observable of a theory with a
wrong weight variance must disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from heavier import left_to_slow
from uncompiled import evaluate

from resexpand import Activation, Branch, Linear, ResNet, compare, kernel, response, sample
from resexpand.activations import ACTIVATIONS
from resexpand.agreement.comparison import Agreement
from resexpand.montecarlo.statistics.estimate import Estimates

WIDTHS = (100, 200, 400)
DRAWS = 12_000
SINGLE = 0.7
PAIR = np.array([[0.7, 0.2], [0.2, 1.1]])
X = sp.Symbol("x")

EXPRESSIONS = [sp.Abs(X), X * sp.exp(-(X**2))]
ACTIVATION_CASES = [*ACTIVATIONS, *EXPRESSIONS]
WITH_ONE: list[str | sp.Expr] = ["erf", "tanh", "silu", "sign", "leaky_relu", EXPRESSIONS[0]]
"""Activations that every run draws with one input; with two it draws the others."""
WITH_TWO = [case for case in ACTIVATION_CASES if case not in WITH_ONE]
BRANCHES = {
    "linear": Branch(Linear(1.3, 0.1)),
    "two linears": Branch(Linear(1.1, 0.2), Activation("relu"), Linear(1.3, 0.1)),
    "ends in an activation": Branch(Linear(1.1, 0.2), Activation("relu")),
    "two activations": Branch(
        Linear(1.1, 0.1), Activation("erf"), Linear(1.4, 0.3), Activation("relu")
    ),
}
ENDINGS = {"plain": None, "read-out": Linear(1.7, 0.2)}
KINDS = [(name, ending) for name in BRANCHES for ending in ENDINGS]
MORE_KINDS = [  # every branch in every run, every ending with some of them
    ("linear", "read-out"),
    ("two linears", "plain"),
    ("ends in an activation", "plain"),
    ("two activations", "plain"),
]
KERNELS = {"K": "kernel", "C": "layer_covariance"}
TANGENTS = {"eta_layers": "response", "chi_0": "chi", "tangent": "tangent"}

Values = Mapping[str, np.ndarray]


def network(branch: Branch, **options: object) -> ResNet:
    return ResNet(branch, scale=0.4, depth=4, **options)


def misjudged(net: ResNet) -> ResNet:
    """Return the network with the weight variance of its first linear operation thrice as large."""
    ops = list(net.branch.ops)
    at = next(i for i, op in enumerate(ops) if isinstance(op, Linear))
    ops[at] = Linear(3 * ops[at].weight_variance, ops[at].bias_variance)
    read_out = None if net.read_out is None else [*(net.head_ops or ()), net.read_out]
    return ResNet(Branch(*ops), scale=net.scale, depth=net.depth, read_out=read_out)


def sampled(net: ResNet, names: Mapping[str, str], K0) -> list[Estimates]:
    observables = [*names.values()]
    return [
        sample(net, observables, width, DRAWS * WIDTHS[0] // width, K0=K0, seed=width)
        for width in WIDTHS
    ]


def judged(theory: Values, runs: list[Estimates], names: Mapping[str, str]) -> Agreement:
    return compare({key: theory[key] for key in names}, runs, names=names, resolve=0.08)


def of_one_input(net: ResNet, *, derivative: bool = True) -> Values:
    values = dict(evaluate(kernel(net), K0=SINGLE))
    if derivative:
        values |= evaluate(response(net), K0=SINGLE)
        values["tangent"] = evaluate(response(net, kind="tangent"), K0=SINGLE)["chi_0"]
    return values


def of_two_inputs(net: ResNet, *, derivative: bool = True) -> Values:
    values = dict(evaluate(kernel(net, inputs=2), K0=PAIR))
    return values | evaluate(response(net, kind="covariance"), K0=PAIR) if derivative else values


def assert_judged_rightly(right: Values, wrong: Values, runs: list[Estimates], names) -> None:
    found = judged(right, runs, names)
    assert found.verdict == "agrees", str(found)
    for key, name in names.items():
        control = judged(wrong, runs, {key: name})
        assert control.verdict == "disagrees", f"{key} slipped through\n{control}"


def check_one_input(net: ResNet, *, derivative: bool = True) -> None:
    names = KERNELS | (TANGENTS if derivative else {})
    right, wrong = (of_one_input(n, derivative=derivative) for n in (net, misjudged(net)))
    assert_judged_rightly(right, wrong, sampled(net, names, SINGLE), names)


def check_two_inputs(net: ResNet, *, derivative: bool = True) -> None:
    names = KERNELS | ({"chi_0": "covariance_response"} if derivative else {})
    right, wrong = (of_two_inputs(n, derivative=derivative) for n in (net, misjudged(net)))
    assert_judged_rightly(right, wrong, sampled(net, names, PAIR), names)


@pytest.mark.parametrize(
    "function", left_to_slow(ACTIVATION_CASES, [*WITH_TWO, EXPRESSIONS[0]]), ids=str
)
def test_every_activation_with_one_input(function: str | sp.Expr) -> None:
    branch = Branch(Activation(function), Linear(1.3, 0.1))
    check_one_input(network(branch), derivative=function != "sign")


@pytest.mark.parametrize("function", left_to_slow(ACTIVATION_CASES, WITH_ONE), ids=str)
def test_every_activation_with_two_inputs(function: str | sp.Expr) -> None:
    branch = Branch(Activation(function), Linear(1.3, 0.1))
    check_two_inputs(network(branch), derivative=function != "sign")


@pytest.mark.parametrize(("name", "ending"), left_to_slow(KINDS, MORE_KINDS))
def test_every_kind_of_branch(name: str, ending: str) -> None:
    branch, linear = BRANCHES[name], ENDINGS[ending]
    net = network(branch, read_out=linear and branch.followed_by(linear))
    check_one_input(net)
    check_two_inputs(net)


def test_one_scale_per_block() -> None:
    net = ResNet(Branch(Activation("erf"), Linear(1.3, 0.1)), scale=[0.2, 0.7, 0.1, 0.5])
    check_one_input(net)


def test_a_coefficient_wrong_by_a_percent_disagrees() -> None:
    net = network(Branch(Activation("erf"), Linear(1.3, 0.1)))
    right = kernel(net)
    wrong = replace(right, update=(right.update[0] * sp.Rational(101, 100),))
    runs = sampled(net, KERNELS, SINGLE)
    assert judged(evaluate(wrong, K0=SINGLE), runs, KERNELS).verdict == "disagrees"


def test_the_second_derivative_term_is_needed() -> None:
    """Without <phi phi''> the variance response is that of a tangent: samples must tell."""
    net = network(Branch(Activation("erf"), Linear(1.3, 0.1)))
    tangent = evaluate(response(net, kind="tangent"), K0=SINGLE)
    names = {"chi_0": "chi"}
    assert judged(tangent, sampled(net, names, SINGLE), names).verdict == "disagrees"


def test_a_finite_width_is_not_infinite() -> None:
    """At one small width the neglected order is too wide to agree."""
    net = network(Branch(Activation("erf"), Linear(1.3, 0.1)))
    run = sample(net, ["kernel"], 12, 20_000, K0=SINGLE, seed=3)
    assert compare(evaluate(kernel(net), K0=SINGLE), run).verdict == "inconclusive"
