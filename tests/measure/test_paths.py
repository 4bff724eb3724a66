"""Gated path sums: against every path by itself, with biases, kinks and inner layers."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import sympy as sp
from networks import forward, gaussian, network

from resexpand import measure_orders, measure_paths
from resexpand.errors import HyperparameterError, UnsupportedError

X = sp.Symbol("x", real=True)


def test_every_path_by_itself():
    weights, _, x = gaussian(5, 6, seed=1)
    scales = np.array([0.5, 2.0, 1.0, -0.5, 3.0])
    h, gates = x, []
    for scale, matrix in zip(scales, weights, strict=True):
        gates.append(scale * matrix @ np.diag((h > 0).astype(float)))
        h = h + scale * matrix @ np.maximum(h, 0)
    found = measure_paths(network("relu", list(scales)), weights, x)
    assert found.complete
    for k in range(6):
        total = np.zeros(6)
        for path in combinations(gates, k):
            value = x
            for step in path:
                value = step @ value
            total += value
        assert np.allclose(found.terms[k], total, rtol=1e-12, atol=1e-13)
    assert np.allclose(found.output, h, rtol=1e-13)
    wrong = measure_paths(network("relu", list(scales)), weights, -x)
    assert not np.allclose(wrong.terms[2], -found.terms[2])


@pytest.mark.parametrize(
    "function",
    ["relu", "leaky_relu", "identity", sp.Max(-1, sp.Min(1, X)), sp.Abs(X - 1) + X / 3],
    ids=str,
)
@pytest.mark.parametrize("linears", [1, 2])
def test_the_sum_over_lengths_is_the_network(function, linears):
    rng = np.random.default_rng(2)
    shapes = [(5, 5)] if linears == 1 else [(7, 5), (5, 7)]
    blocks = [tuple(rng.standard_normal(shape) for shape in shapes) for _ in range(12)]
    biases = [tuple(rng.standard_normal(shape[0]) for shape in shapes) for _ in range(12)]
    if linears == 1:
        blocks, biases = [block[0] for block in blocks], [block[0] for block in biases]
    net = network(function, 0.3, 12, linears)
    x = rng.standard_normal((5, 3))
    found = measure_paths(net, blocks, x, biases=biases)
    assert found.residual.max() < 1e-14
    assert np.allclose(found.shares.sum(axis=0), 1, rtol=0, atol=1e-14)
    assert np.allclose(found.energies, (found.terms**2).mean(axis=1))
    if linears == 1:
        variable = net.branch.activations[0].variable
        phi = sp.lambdify(variable, net.branch.activations[0].expression, "numpy")
        one = forward(np.vectorize(phi), blocks, x[:, 1], biases, 0.3)
        assert np.allclose(found.output[:, 1], one, rtol=1e-12)


def test_linear_paths_are_the_orders():
    weights, biases, x = gaussian(6, 4, seed=3)
    net = network("identity", 0.5, 6)
    paths = measure_paths(net, weights, x, biases=biases)
    orders = measure_orders(net, weights, x, 6, biases=biases)
    assert np.allclose(paths.terms, orders.terms, rtol=1e-14, atol=1e-16)


def test_short_paths_only():
    weights, _, x = gaussian(9, 5, seed=4)
    net = network("relu", 0.5, 9)
    every, short = measure_paths(net, weights, x), measure_paths(net, weights, x, longest=3)
    assert short.longest == 3
    assert not short.complete
    assert np.allclose(short.terms, every.terms[:4], rtol=1e-14)
    rest = np.linalg.norm(every.terms[4:].sum(axis=0)) / np.linalg.norm(every.output)
    assert short.residual == pytest.approx(rest, rel=1e-10)
    assert measure_paths(net, weights, x, longest=99).longest == 9


def test_bad_input():
    weights, _, x = gaussian(3, 4, seed=5)
    for function in ("tanh", "sign"):
        with pytest.raises(UnsupportedError, match="gated path sum"):
            measure_paths(network(function, 1, 3), weights, x)
    for longest in (0, True, 1.5, "all"):
        with pytest.raises(HyperparameterError, match="longest"):
            measure_paths(network("relu", 1, 3), weights, x, longest=longest)
    wide = np.broadcast_to(np.zeros(1), (2000, 1, 1))
    with pytest.raises(HyperparameterError, match="GiB"):
        measure_paths(network("relu", 1, 2000), wide, np.ones((1, 500_000)))
