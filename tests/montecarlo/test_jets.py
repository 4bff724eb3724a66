"""Jets in the sampler: by Cauchy's integral of plain networks, exact laws, two-scale theory.

The coefficient `T_k` of a network is `(1/2 pi i) oint h(lambda) / lambda^{k+1} d lambda`; run at
the points of a circle in NumPy, with the weights of the dense sampler, it shares nothing with the
propagation of coefficients.
"""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from scipy import special
from weight_mirror import Mirror, mirror

from resexpand import Activation, Branch, Linear, ResNet, evaluate, order_profile, sample
from resexpand.errors import UnsupportedError
from resexpand.montecarlo.loops.factor import triangular_factor
from resexpand.montecarlo.observables import profiles

ORDER, WIDTH, POINTS, RADIUS = 4, 6, 48, 0.25
W, B = Linear(1.4, 0.3), Linear(0.8, 0.0)
PHIS = {
    "erf": special.erf,
    "tanh": np.tanh,
    "sin": np.sin,
    "gelu": lambda x: x * (1 + special.erf(x / np.sqrt(2))) / 2,
    "silu": lambda x: x / (1 + np.exp(-x)),
}
BRANCHES = {
    "W phi(h)": lambda phi: Branch(phi, W),
    "V phi(W h)": lambda phi: Branch(W, phi, B),
    "phi(W h)": lambda phi: Branch(W, phi),
    "V phi(W phi(h))": lambda phi: Branch(phi, B, phi, W),
}
QUICK = [("erf", "W phi(h)"), ("erf", "V phi(W phi(h))"), ("tanh", "W phi(h)")]
MORE = [("erf", "V phi(W h)"), ("erf", "phi(W h)"), *((n, "W phi(h)") for n in list(PHIS)[2:])]
CASES = [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE)]
LONGEST = "V phi(W phi(h))"
SHAPES = [LONGEST, *(pytest.param(s, marks=pytest.mark.slow) for s in BRANCHES if s != LONGEST)]
SCALES = (0.9, 0.5, 0.7)


def taylor_terms(network: Mirror) -> np.ndarray:
    """Return T_0 ... T_k of one network by the trapezoidal rule on a circle, shape (k + 1, N)."""
    points = RADIUS * np.exp(2j * np.pi * np.arange(POINTS) / POINTS)
    values = np.array([network.run(complex(point)) for point in points])
    powers = points[None, :] ** -np.arange(ORDER + 1)[:, None]
    return (powers @ values / POINTS).real


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_coefficients_of_single_networks(name: str, shape: str, make) -> None:
    net = ResNet(BRANCHES[shape](Activation(name)), scale=SCALES)
    names = [f"order_profile({ORDER})", f"order_remainder({ORDER})"]
    rows = make(net, names, WIDTH, K0=0.8, method="dense").rows(0, 3)
    for draw in range(3):
        network = mirror(net, [PHIS[name]] * len(net.branch.activations), WIDTH, 0.8, draw)
        terms = taylor_terms(network)
        np.testing.assert_allclose(
            rows["order_profile"][draw, -1], terms @ terms.T / WIDTH, rtol=1e-9, atol=1e-11
        )
        left = network.run() - np.cumsum(terms, axis=0)
        exact = np.sum(left**2, axis=1) / WIDTH
        np.testing.assert_allclose(rows["order_remainder"][draw, -1], exact, rtol=1e-8, atol=1e-12)


def test_a_wrong_scale_is_rejected(make) -> None:
    """Negative control: coefficients of a network whose last scale is one percent larger."""
    net = ResNet(BRANCHES["W phi(h)"](Activation("erf")), scale=SCALES)
    rows = make(net, f"order_profile({ORDER})", WIDTH, K0=0.8, method="dense").rows(0, 1)
    network = mirror(net, [special.erf], WIDTH, 0.8, 0)
    wrong = taylor_terms(Mirror(network.start, (*SCALES[:-1], 0.707), network.blocks))
    found = rows["order_profile"][0, -1]
    assert not np.allclose(found, wrong @ wrong.T / WIDTH, rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_samplers_agree(shape: str, make) -> None:
    net = ResNet(BRANCHES[shape](Activation("erf")), scale=SCALES)
    names = [f"order_profile({ORDER})", f"order_remainder({ORDER})"]
    dense, fast = (
        make(net, names, 8, K0=0.8, method=method, seed=seed).rows(0, 6000)
        for method, seed in (("dense", 11), ("function-space", 12))
    )
    for name in dense:
        for power in (1, 2):
            a, b = dense[name] ** power, fast[name] ** power
            error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / len(a))
            moving = error > 1e-12
            z = (a.mean(axis=0) - b.mean(axis=0))[moving] / error[moving]
            assert np.abs(z).max() < 4.5


def test_linear_blocks_are_binomial_at_every_width(make, z_score) -> None:
    """E[T_j . T_k]/N = delta_jk binomial(l, k) (rho^2 s)^k K0, and all orders are the network."""
    net = ResNet(Branch(Linear(1.3, 0.0)), scale=0.6, depth=4)
    rows = make(net, ["order_profile(4)", "order_remainder(4)"], 6, K0=0.7).rows(0, 20_000)
    energy = np.array(
        [[sp.binomial(layer, k) for k in range(5)] for layer in range(5)], dtype=float
    )
    exact = (energy * 0.7 * (0.36 * 1.3) ** np.arange(5))[:, :, None] * np.eye(5)
    profile = rows["order_profile"]
    moving = profile.std(axis=0) > 0
    np.testing.assert_array_equal(profile.mean(axis=0)[~moving], exact[~moving])
    assert np.abs(z_score(profile[:, moving], exact[moving])).max() < 4.5
    assert np.abs(z_score(profile[:, moving], 1.05 * exact[moving])).max() > 5
    assert rows["order_remainder"][:, :, -1].max() < 1e-24


@pytest.mark.parametrize("shape", ["W phi(h)", pytest.param("V phi(W h)", marks=pytest.mark.slow)])
def test_two_scale_theory(shape: str, make, z_score) -> None:
    """At width 1000 the correction of order 1/N is below the standard error of 300 networks."""
    net = ResNet(BRANCHES[shape](Activation("erf")), scale=0.4, depth=5)
    rows = make(net, "order_profile(4)", 1000, K0=0.8).rows(0, 300)["order_profile"]
    exact = evaluate(order_profile(net, 4), K0=0.8)["profile"]
    moving = rows.std(axis=0) > 0
    np.testing.assert_array_equal(rows.mean(axis=0)[~moving], exact[~moving])
    assert np.abs(z_score(rows[:, moving], exact[moving])).max() < 4.8
    assert np.abs(z_score(rows[:, moving], 1.02 * exact[moving])).max() > 5


def test_zero_columns_draw_no_normals() -> None:
    """A pivot that is zero draws nothing: at layer 1, h and J_0 are one column, the others zero."""
    columns = np.zeros((4, 32))
    columns[0, :20] = columns[1, :20] = np.random.default_rng(1).normal(size=20)
    triangle = np.empty((4, 4))
    length = np.linalg.norm(columns[0])
    triangular_factor(columns, 20, triangle)
    exact = np.zeros((4, 4))
    exact[0, :2] = length
    np.testing.assert_allclose(triangle, exact, rtol=1e-14)
    assert (np.diag(triangle)[1:] == 0).all()


def test_jets_leave_the_network_alone(make) -> None:
    """The normals of the first column are those of a plain network."""
    net = ResNet(BRANCHES["W phi(h)"](Activation("erf")), scale=SCALES)
    plain, beside = (
        make(net, names, 20, K0=0.8).rows(0, 4)["kernel"]
        for names in ("kernel", ["kernel", "order_profile(4)"])
    )
    np.testing.assert_allclose(plain, beside, rtol=1e-12)


def test_orders_share_one_set_of_columns() -> None:
    net = ResNet(BRANCHES["W phi(h)"](Activation("erf")), scale=SCALES)
    both = sample(net, [profiles.order_profile(2), profiles.order_remainder(4)], 12, 40, K0=1.0)
    assert both["order_profile"].mean.shape == (4, 3, 3)
    assert both["order_remainder"].mean.shape == (4, 5)
    falling = both["order_remainder"].mean[-1]
    assert falling[4] < falling[0]


def test_refusals() -> None:
    net = ResNet(Branch(Activation("relu"), W), scale=SCALES)
    with pytest.raises(UnsupportedError, match=r"relu is not smooth at 0.*path_profile\(k\)"):
        sample(net, "order_profile(2)", 12, 40, K0=1.0)
