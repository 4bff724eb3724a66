"""Distances, residual ratios and logarithms: against NumPy networks and exact laws.

The networks of the dense sampler are rebuilt from their counters and run by NumPy.
"""

from __future__ import annotations

import numpy as np
import pytest
from weight_mirror import mirror

from resexpand import Activation, Branch, Linear, ResNet

NAMES = [
    *("distance", "distance_squared", "residual_ratio", "residual_share"),
    *("log_kernel", "log_growth", "tangent", "log_tangent"),
]
NET = ResNet(Branch(Activation("erf"), Linear(1.4, 0.3)), scale=[0.9, 0.5, 0.7])
RES3 = ResNet(Branch(Linear(1, 0), Activation("relu"), Linear(1, 0)), scale=0.5, depth=4)


def by_numpy(states: np.ndarray) -> dict[str, np.ndarray]:
    """Return the observables from the states h^0 ... h^L, shape (L+1, N)."""
    norms, step = np.linalg.norm(states, axis=1), np.linalg.norm(np.diff(states, axis=0), axis=1)
    away = np.linalg.norm(states - states[0], axis=1) / norms[0]
    return {
        "distance": away,
        "distance_squared": away**2,
        "residual_ratio": step / norms[:-1],
        "residual_share": step / norms[1:],
        "log_kernel": np.log(norms**2 / states.shape[1]),
        "log_growth": np.log(norms / norms[0]),
    }


def test_single_networks(make) -> None:
    from math import erf

    width, drawn = 11, make(NET, NAMES, 11, K0=0.8, method="dense", seed=1).rows(0, 3)
    for draw in range(3):
        network = mirror(NET, [np.vectorize(erf)], width, 0.8, draw)
        states = np.array([network.run(depth=depth) for depth in range(4)])
        for name, exact in by_numpy(states).items():
            np.testing.assert_allclose(drawn[name][draw], exact, rtol=1e-10, atol=1e-12)


def test_several_inputs_are_each_on_their_own(make) -> None:
    pair = np.array([[0.8, 0.3], [0.3, 0.6]])
    names = NAMES[:-2]
    both = make(NET, names, 11, K0=pair, method="dense").rows(0, 3)
    one = make(NET, names, 11, K0=0.8, method="dense").rows(0, 3)
    for name in names:
        assert both[name].shape == (3, 3 if name.startswith("residual") else 4, 2)
        np.testing.assert_allclose(both[name][..., 0], one[name], rtol=1e-12, atol=1e-14)


def test_logarithms_are_logarithms(make) -> None:
    rows = make(NET, [*NAMES, "kernel"], 11).rows(0, 4)
    np.testing.assert_allclose(rows["log_kernel"], np.log(rows["kernel"]), rtol=1e-14)
    np.testing.assert_allclose(rows["log_tangent"], np.log(rows["tangent"]), rtol=1e-14)


def test_a_small_distance_is_not_lost_in_rounding(make) -> None:
    """At scale 1e-9 the distance is 1e-9 to full accuracy; from Gram matrices it would be noise."""
    net = ResNet(Branch(Activation("erf"), Linear(1.4, 0.3)), scale=1e-9, depth=1)
    rows = make(net, ["distance", "residual_ratio", "kernel"], 16).rows(0, 5)
    np.testing.assert_allclose(rows["distance"][:, 1], rows["residual_ratio"][:, 0], rtol=1e-6)
    assert (rows["distance"][:, 1] > 1e-10).all()


def test_exact_mean_distance_of_relu_branches(make, z_score) -> None:
    """E |h^L - h^0|^2 / |h^0|^2 = (1 + alpha^2/2)^L - 1 at every width (arXiv:2206.06929)."""
    rows = make(RES3, "distance_squared", 10).rows(0, 20_000)["distance_squared"]
    exact = 1.125 ** np.arange(5) - 1
    assert np.abs(z_score(rows[:, 1:], exact[1:])).max() < 4
    assert np.abs(z_score(rows[:, 1:], exact[1:] * 1.1)).max() > 4


@pytest.mark.parametrize("name", ["distance", "log_tangent"])
def test_forward_samples_do_not_change_beside_them(name, make) -> None:
    alone = make(NET, "kernel", 11).rows(0, 4)["kernel"]
    beside = make(NET, ["kernel", name], 11).rows(0, 4)["kernel"]
    np.testing.assert_allclose(alone, beside, rtol=1e-12)
