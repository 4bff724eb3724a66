"""Depth comparable to width: ln G of homogeneous networks is normal, with what the order 1/N says.

Beyond its validity the order 1/N alone is far off there; the same samples must refute it, and the
law without the shift of the mean.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, ResNet, evaluate, exact_moments, one_loop, sample

BRANCHES = {
    "relu": Branch(Activation("relu"), Linear(2, 0)),
    "two": Branch(Linear(2, 0), Activation("relu"), Linear(1, 0)),
    "linear": Branch(Linear(1, 0)),
}
WIDTH, DEPTH, DRAWS = 100, 150, 4000


def network(name: str, depth: int = DEPTH) -> ResNet:
    return ResNet(BRANCHES[name], scale=0.5, depth=depth)


@pytest.mark.parametrize("name", BRANCHES)
def test_against_samples(name: str) -> None:
    net = network(name)
    theory = evaluate(one_loop(net), K0=1.0, width=WIDTH)
    run = sample(net, "log_kernel", WIDTH, DRAWS, K0=1.0, seed=2, progress=False)["log_kernel"]
    assert theory["relative_error"][-1] > 1  # far beyond the order 1/N itself
    assert "not valid" in theory.status
    spread, mean = float(run.variance[-1]), float(run.mean[-1])
    error = np.sqrt(2 / DRAWS) * spread
    # What is left is of order 1/N at fixed depth over width.
    allowed = 3 * theory["log_variance"][-1] / WIDTH
    assert abs(spread - theory["log_variance"][-1]) < 3 * error + allowed
    assert abs(mean - theory["log_mean"][-1]) < 3 * float(run.stderr[-1]) + allowed
    # E ln G is not ln K, nor ln of the corrected mean.
    kernel = theory["K"][-1]
    for wrong in (kernel, kernel + theory["K_mean"][-1] / WIDTH):
        assert abs(mean - np.log(wrong)) > 6 * float(run.stderr[-1]) + allowed
    if name == "relu":
        without = np.log(kernel) - theory["log_variance"][-1] / 2
        assert abs(mean - without) > 6 * float(run.stderr[-1]) + allowed


@pytest.mark.parametrize("name", ["two", "linear"])
def test_exact_moments_go_there(name: str) -> None:
    """Var G / (E G)^2 + 1 = exp(v/N) (1 + O(1/N)) at L = N, and the rest falls like 1/N."""
    rests = []
    for width in (20, 40, 80, 160):
        net = network(name, depth=width)
        exact = evaluate(exact_moments(net), K0=1.0, width=width)
        ratio = np.log1p(exact["G_var"][-1] / exact["G_mean"][-1] ** 2)
        law = evaluate(one_loop(net), K0=1.0, width=width)["log_variance"][-1]
        rests.append(ratio / law - 1)
        assert exact["G_var"][-1] / exact["G_mean"][-1] ** 2 > 1.2 * law
    # Half as much at twice the width; less where a term of order 1/N^2 still shows.
    halves = [b / a for a, b in pairwise(rests)]
    assert all(0.3 < half < 0.52 for half in halves)
    assert abs(rests[-1]) < 0.003


def test_the_limit_in_symbols() -> None:
    """V relu(W h): E Q^2/(E Q)^2 = 1 + s/N + ..., so its power N l goes to exp(l s)."""
    n, ratio = sp.symbols("N l", positive=True)
    c = sp.Rational(1, 2)
    square = 1 + (n + 2) * c / n + (n + 2) * (n + 5) * c**2 / (4 * n**2)
    limit = sp.limit(n * sp.log(square / (1 + c / 2) ** 2), n, sp.oo)
    theory = evaluate(one_loop(network("two", depth=3)), K0=1.0)
    steps = np.diff(theory["validity"])
    np.testing.assert_allclose(steps, float(limit), rtol=1e-12)
    assert sp.limit(ratio * limit, ratio, 1) == limit


@pytest.mark.parametrize(
    "branch",
    [
        Branch(Activation("erf"), Linear(1, 0)),
        Branch(Activation("relu"), Linear(1, 0.1)),
        Branch(Linear(1, 0.1), Activation("relu"), Linear(1, 0)),
    ],
)
def test_others_are_not_homogeneous(branch: Branch) -> None:
    theory = evaluate(one_loop(ResNet(branch, scale=0.5, depth=3)), K0=1.0, width=10)
    assert "log_mean" not in theory
