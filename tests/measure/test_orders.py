"""Orders of a given network: against trees, differentiation and closed sums; bad input."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import sympy as sp
from mpmath import mp
from networks import forward, gaussian, network

from resexpand import Activation, cite, measure_orders, residual_expansion
from resexpand.errors import DescriptionError, HyperparameterError, UnsupportedError
from resexpand.measure import jet_routine, propagation
from resexpand.series import jets, recurrences

# --- against the theorem --------------------------------------------------------------------------


def test_the_sum_over_trees_is_what_is_measured():
    weights, biases, x = gaussian(3, 2, seed=1)
    scales = (0.5, 1.5, 0.75)
    state = sp.symbols("x_1 x_2", real=True)
    blocks = [
        sp.Matrix(W) * sp.Matrix([sp.tanh(v) for v in state]) + sp.Matrix(b)
        for W, b in zip(weights, biases, strict=True)
    ]
    expansion = residual_expansion(4, blocks, scales=list(scales), variables=state)
    found = measure_orders(network("tanh", scales), weights, x, 4, biases=biases)
    for k in range(1, 5):
        trees = sum(np.ravel(np.array(term.value(x), dtype=float)) for term in expansion[k])
        assert np.allclose(trees, found.terms[k], rtol=1e-12, atol=1e-14)
    distinct = [t for t in expansion[3] if len(set(t.labels)) == 3]
    assert 0 < len(distinct) < len(expansion[3])
    partial = sum(np.ravel(np.array(term.value(x), dtype=float)) for term in distinct)
    assert np.abs(partial - found.terms[3]).max() > 1e-3


def exactly(function, weights, biases, x, scales, order, linears):
    """The Taylor coefficients of the network in lambda, by differentiation in mpmath."""
    width = len(x)

    def state(factor, i):
        h = [mp.mpf(v) for v in x]
        for block, offsets, scale in zip(weights, biases, scales, strict=True):
            u = h
            for position, (matrix, offset) in enumerate(zip(block, offsets, strict=True)):
                if linears == 1 or position == 1:
                    u = [function(v) for v in u]
                u = [
                    mp.fdot(map(mp.mpf, row), u) + mp.mpf(b)
                    for row, b in zip(matrix, offset, strict=True)
                ]
            h = [a + factor * mp.mpf(scale) * v for a, v in zip(h, u, strict=True)]
        return h[i]

    with mp.workdps(60):
        columns = [mp.taylor(lambda t, i=i: state(t, i), 0, order) for i in range(width)]
    return np.array(columns, dtype=float).T


@pytest.mark.parametrize(("function", "mpf", "linears"), [("tanh", mp.tanh, 1), ("erf", mp.erf, 2)])
def test_orders_are_the_derivatives_of_the_network(function, mpf, linears):
    rng = np.random.default_rng(2)
    shapes = [(3, 3)] if linears == 1 else [(4, 3), (3, 4)]
    weights = [tuple(rng.standard_normal(shape) for shape in shapes) for _ in range(3)]
    biases = [tuple(rng.standard_normal(shape[0]) for shape in shapes) for _ in range(3)]
    x, scales = rng.standard_normal(3), [0.5, 0.25, 0.5]
    exact = exactly(mpf, weights, biases, x, scales, 6, linears)
    net = network(function, depth=3, linears=linears)
    given = weights if linears == 2 else [block[0] for block in weights]
    offsets = biases if linears == 2 else [block[0] for block in biases]
    found = measure_orders(net, given, x, 6, biases=offsets, scales=scales)
    assert np.allclose(found.terms, exact, rtol=0, atol=1e-14 * np.abs(exact).max())


@pytest.mark.parametrize("order", [jet_routine.DIRECT, jet_routine.DIRECT + 1])
def test_rows_and_tiles_of_neurons_do_the_same(order):
    """67 neurons: two full tiles and a part of one, against the recurrence in NumPy."""
    op = Activation("tanh")
    h = np.random.default_rng(6).standard_normal((order + 1, 67))
    found = np.empty_like(h)
    jet_routine.jet_routine(op, order)(h, found)
    y, s = np.zeros((order, 67)), np.zeros((order, 67))
    y[0], s[0] = np.tanh(h[1]), 1 / np.cosh(h[1]) ** 2
    for k in range(1, order):
        y[k] = sum(j * h[1 + j] * s[k - j] for j in range(1, k + 1)) / k
        s[k] = -sum(y[i] * y[k - i] for i in range(k + 1))
    assert np.allclose(found[0], np.tanh(h[0]), rtol=1e-15)
    assert np.allclose(found[1:], y, rtol=1e-11, atol=1e-13)
    assert ("lanes" in jet_routine.jet_source(op.expression, op.variable, order)) == (order > 9)


def slopes(weights, x, order, scale=1 / 16):
    """How the truncation error falls when the scales are halved: its power, for every order."""
    found = measure_orders(network("tanh", scale, len(weights)), weights, x, order)
    errors = []
    for factor in (1, 1 / 2):
        exact = forward(np.tanh, weights, x, scale=factor * scale)
        powers = factor ** np.arange(order + 1)
        sums = np.cumsum(powers[:, None] * found.terms, axis=0)
        errors.append(np.linalg.norm(exact - sums, axis=1))
    return np.log2(errors[0] / errors[1])


def test_truncation_error_falls_with_the_next_power():
    weights, _, x = gaussian(6, 8, seed=3)
    powers = slopes(weights, x, 6)
    assert np.allclose(powers, np.arange(1, 8), atol=0.12)


def test_control_a_wrong_recurrence_is_caught(monkeypatch):
    def wrong(p, u):
        return recurrences._riccati(p, u, sp.tanh(u[0]), 1 / sp.cosh(u[0]) ** 2, 0, 1)

    weights, _, x = gaussian(6, 8, seed=3)
    monkeypatch.setitem(jets.RECURRENCES, sp.tanh, wrong)
    jet_routine.jet_source.cache_clear()
    powers = slopes(weights, x, 6)
    jet_routine.jet_source.cache_clear()
    # tanh'' enters with the third order: two blocks in one and a third that bends.
    assert np.allclose(powers[:2], [1, 2], atol=0.12)
    assert (powers[2:] < 3.2).all()


# --- linear blocks --------------------------------------------------------------------------------


def test_linear_blocks_give_elementary_symmetric_sums():
    """For commuting blocks the orders are e_k of the products scale times weight, exactly."""
    factors = [2.0, -1.0, 0.5, 4.0, 3.0]
    scales = [1.0, 2.0, 0.5, 0.25, -1.0]
    weights = np.array(factors)[:, None, None]
    found = measure_orders(network("identity", scales), weights, [1.0], 7)
    products = [a * b for a, b in zip(factors, scales, strict=True)]
    sums = [sum(np.prod(c) for c in combinations(products, k)) for k in range(8)]
    assert found.terms[:, 0].tolist() == sums
    assert found.residual == 0
    assert found.radius.value == np.inf


def test_linear_blocks_that_do_not_commute():
    weights, _, x = gaussian(5, 4, seed=4)
    found = measure_orders(network("identity", 0.5, 5), weights, x, 3)
    for k in range(4):
        paths = combinations(weights, k)
        total = sum(
            np.linalg.multi_dot([*path[::-1], x[:, None]]) if k else x[:, None] for path in paths
        )
        assert np.allclose(found.terms[k], 0.5**k * total[:, 0], rtol=1e-13)


# --- results --------------------------------------------------------------------------------------


def test_results_fit_together():
    weights, biases, x = gaussian(4, 6, seed=5)
    batch = np.stack([x, -0.5 * x, np.zeros(6)], axis=1)
    net = network("tanh", 0.25, 4)
    both = measure_orders(net, weights, batch, 4, biases=biases, layers=True)
    one = measure_orders(net, list(weights), x, 4, biases=biases, layers=True)
    assert both.terms.shape == (5, 6, 3)
    assert one.terms.shape == (5, 6)
    assert np.allclose(both.terms[..., 0], one.terms, rtol=1e-13, atol=1e-16)
    assert np.array_equal(one.terms[0], x)
    assert np.allclose(one.output, forward(np.tanh, weights, x, biases, 0.25), rtol=1e-14)
    assert one.layers.shape == (5, 5)
    assert both.layers.shape == (5, 5, 3)
    assert np.array_equal(one.layers[-1], one.energies)
    assert np.array_equal(one.layers[0, 1:], np.zeros(4))
    assert np.allclose(one.energies, (one.terms**2).mean(axis=1))
    rest = one.output - one.at(1)
    assert isinstance(one.residual, float)
    assert one.residual == pytest.approx(np.linalg.norm(rest) / np.linalg.norm(one.output))
    missing = rest @ one.output / (one.output @ one.output)
    assert one.shares.sum() + missing == pytest.approx(1, abs=1e-14)
    assert np.allclose(one.at(2), sum(2**k * t for k, t in enumerate(one.terms)))
    assert "order 4: energy" in str(one)
    assert repr(one) == f"<MeasuredOrders\n{one}>"
    assert "dherin2025" in cite(one)
    without = measure_orders(net, weights, np.zeros(6), 3)
    assert without.residual == 0
    assert (without.shares == 0).all()


def test_scales_of_the_network_or_of_the_call():
    weights, _, x = gaussian(4, 3, seed=6)
    depth = sp.Symbol("L", integer=True, positive=True)
    fixed = measure_orders(network("sin", 0.5, 4), weights, x, 2).terms
    for net, scales in [
        (network("sin", sp.Symbol("rho"), 4), 0.5),
        (network("sin", 1 / sp.sqrt(depth), depth), None),
        (network("sin", [0.5] * 4), None),
        (network("sin", 7, depth), [0.5] * 4),
        (network("sin", 7, depth), 1 / sp.sqrt(4)),
        (network("sin", 7, depth), [sp.Rational(1, 2)] * 4),
    ]:
        assert np.array_equal(measure_orders(net, weights, x, 2, scales=scales).terms, fixed)


# --- bad input ------------------------------------------------------------------------------------

W, B, START = gaussian(3, 4, seed=7)
NET = network("tanh", 0.5, 3)
LATE = W.copy()
LATE[2, 1, 1] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": 0}, "order 0"),
        ({"order": True}, "order=True"),
        ({"order": 2.5}, "whole number from 1"),
        ({"order": 99}, "from 1 to"),
        ({"weights": W[:2]}, "weights for 2 blocks: the network has 3"),
        ({"weights": W[:, :, :3]}, r"block 1, Linear 1: shape \(4, 3\)"),
        ({"weights": W[0]}, r"weights for 4|weights of block 1: shape \(4,\)"),
        ({"weights": [W[0], W[1], (W[2], W[2])]}, "block 3: 2 arrays|weights of block 3: shape"),
        ({"weights": "abc"}, "no list"),
        ({"weights": [W[0], W[1], "abc"]}, "not real numbers"),
        ({"weights": W * 1j}, "not real numbers"),
        ({"weights": LATE}, "weights of block 3: an entry is infinite or NaN"),
        ({"weights": 1e200 * W}, "leaves the range of doubles"),
        ({"x": START[:3]}, "the stream has 3 neurons"),
        ({"x": START * np.nan}, "infinite or NaN"),
        ({"x": 1.0}, "neither a vector nor a matrix"),
        ({"biases": B[:2]}, "biases for 2 blocks"),
        ({"biases": B[:, :2]}, r"biases of block 1: shape \(2,\)"),
        ({"biases": B * np.inf}, "infinite or NaN"),
        ({"scales": [1.0, 2.0]}, r"scales of shape \(2,\)"),
        ({"scales": "big"}, "not real numbers"),
        ({"net": network("tanh", sp.Symbol("rho"), 3)}, "rho has no value"),
    ],
)
def test_bad_numbers_are_named(change, message):
    given = {"net": NET, "weights": W, "x": START, "order": 3} | change
    with pytest.raises(HyperparameterError, match=message):
        measure_orders(**given)


def test_functions_without_an_entry_of_their_own():
    """asinh is written with log in jets, and the network itself is a jet of order zero."""
    weights, _, x = gaussian(3, 4, seed=9)
    found = measure_orders(network(sp.asinh(sp.Symbol("x", real=True)), 0.1, 3), weights, x, 8)
    assert np.allclose(found.output, forward(np.arcsinh, weights, x, scale=0.1), rtol=1e-14)
    smaller = forward(np.arcsinh, weights, x, scale=0.1 / 8)
    assert np.allclose(found.at(1 / 8), smaller, rtol=1e-14, atol=1e-15)


def test_too_many_inputs_are_refused_before_anything_is_made(monkeypatch):
    monkeypatch.setattr(propagation, "LARGEST", 2**20)
    with pytest.raises(
        HyperparameterError, match=r"8 orders.*2000 inputs.*they would take 0\.0 GiB"
    ):
        measure_orders(NET, W, np.ones((4, 2000)), 8)
    assert measure_orders(NET, W, np.ones((4, 200)), 8).terms.shape == (9, 4, 200)


def test_other_bad_input_is_named():
    with pytest.raises(DescriptionError, match="no ResNet"):
        measure_orders("net", W, START, 2)
    for name in ("relu", "sign"):
        with pytest.raises(UnsupportedError, match="measure_paths"):
            measure_orders(network(name, 1, 3), W, START, 2)
