"""The radius of convergence: against networks whose singularities are known, and what is said."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sympy as sp
from networks import gaussian, network

from resexpand import Activation, Branch, Linear, measure_orders
from resexpand.measure.radius import ConvergenceWarning, is_entire, radius_of

X = sp.Symbol("x", real=True)


def two_blocks(seed, width):
    """A network whose first block feeds poles of tanh in the second, and their distance."""
    weights, _, x = gaussian(2, width, seed)
    poles = (np.pi / 2 * 1j - x) / (weights[0] @ np.tanh(x))
    return weights, x, float(np.abs(poles).min())


@pytest.mark.parametrize("width", [1, 4, 30])
def test_the_nearest_pole_of_two_blocks_is_found(width):
    errors = []
    for seed in range(12):
        weights, x, radius = two_blocks(seed, width)
        found = measure_orders(network("tanh", radius / 4, 2), weights, x, 12).radius
        if found.value is not None:
            errors.append((found.value - 4) / found.uncertainty)
            assert abs(found.value - 4) < 1.5
    assert len(errors) >= 8
    assert np.mean(np.abs(errors) < 2) >= 0.75


def test_many_orders_leave_less_doubt():
    weights, x, radius = two_blocks(5, 30)
    net = network("tanh", 0.1, 2)
    found = [measure_orders(net, weights, x, k).radius for k in (8, 12, 24)]
    assert all(r.value is not None for r in found)
    assert found[2].value == pytest.approx(10 * radius, rel=0.02)
    assert found[2].uncertainty < found[0].uncertainty


def test_a_network_beyond_its_radius_warns():
    weights, x, radius = two_blocks(5, 30)
    with pytest.warns(ConvergenceWarning, match="beyond the radius of convergence"):
        beyond = measure_orders(network("tanh", 3 * radius, 2), weights, x, 12)
    assert "diverges" in beyond.status
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        within = measure_orders(network("tanh", 0.2 * radius, 2), weights, x, 12)
    assert within.status.startswith("converges: radius of convergence")
    # What the warning says is true: more orders make it worse outside, better inside.
    with pytest.warns(ConvergenceWarning):
        more = measure_orders(network("tanh", 3 * radius, 2), weights, x, 24)
    assert more.residual > 10 * beyond.residual
    assert (
        measure_orders(network("tanh", 0.2 * radius, 2), weights, x, 24).residual < within.residual
    )


def test_entire_activations_converge_everywhere():
    weights, _, x = gaussian(3, 4, seed=1)
    found = measure_orders(network("erf", 2, 3), weights, x, 12)
    assert found.radius.value == np.inf
    assert found.status.startswith("converges at every scale")


@pytest.mark.parametrize(
    ("function", "entire"),
    [
        ("erf", True),
        ("gelu", True),
        ("sin", True),
        ("identity", True),
        (X * sp.exp(-(X**2)) + sp.atan(2) * X, True),
        ("tanh", False),
        ("silu", False),
        (sp.sqrt(1 + X**2), False),
        (1 / (1 + X**2), False),
        (sp.atan(X), False),
    ],
    ids=str,
)
def test_entire_functions_are_known_by_their_form(function, entire):
    assert is_entire(Activation(function).expression) == entire


def test_what_cannot_be_resolved_is_said():
    branch = Branch(Activation("tanh"), Linear())
    rng = np.random.default_rng(1)
    for terms in (rng.standard_normal((6, 3)), np.zeros((9, 3)), np.ones((9, 1)) * 2.0):
        found = radius_of(branch, terms)
        assert found.value is None
        assert str(found) == "not resolved"
    weights, _, x = gaussian(2, 3, seed=2)
    few = measure_orders(network("tanh", 0.1, 2), weights, x, 3)
    assert few.radius.value is None
    assert "not resolved" in few.status


@pytest.mark.parametrize("theta", [0.3, 1.0, np.pi / 2, 2.5])
def test_one_pair_of_poles_at_any_angle(theta):
    k = np.arange(13)[:, None]
    phases = np.linspace(0, 3, 5)[None, :]
    terms = 0.8**-k * np.cos(theta * k + phases)
    found = radius_of(Branch(Activation("tanh"), Linear()), terms)
    assert found.value == pytest.approx(0.8, rel=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::resexpand.measure.radius.ConvergenceWarning")
@pytest.mark.parametrize("function", ["tanh", "silu"])
def test_the_uncertainty_covers_what_high_orders_find(function):
    """The estimate at order 8 holds over random networks of any depth."""
    rng = np.random.default_rng(8)
    scores = []
    for seed in range(80):
        depth, width = int(rng.choice([2, 3, 5, 10, 20, 50])), int(rng.choice([4, 20, 100]))
        weights, _, x = gaussian(depth, width, seed, float(rng.choice([0.5, 1, 2])))
        net = network(function, float(rng.choice([1 / depth, depth**-0.5])), depth)
        terms = measure_orders(net, weights, x, 40).terms
        low, high = radius_of(net.branch, terms[:9]), radius_of(net.branch, terms)
        if low.value is not None and high.value is not None:
            scores.append((low.value - high.value) / low.uncertainty)
    assert len(scores) >= 40
    assert np.mean(np.abs(scores) < 2) >= 0.9
    assert np.mean(np.abs(scores) < 1) >= 0.6
