"""Exact moments at finite width against samples of the same width; wrong ones are rejected.

With the exact means known, ``(G^l - E G^l)(G^m - E G^m)`` is an unbiased draw of the covariance, so
every entry has a standard error of its own. The networks are shallow: deep narrow ones have tails
that no standard error of a square sees.
"""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, ResNet, evaluate, exact_moments

DRAWS, DEPTH, INPUT = 40_000, 2, 0.7
MOST = 4.5
NETS = {
    "linear": ResNet(Branch(Linear(1.3, 0.4)), scale=0.4, depth=DEPTH),
    "two linears": ResNet(Branch(Linear(1.1, 0.2), Linear(0.9, 0.1)), scale=0.5, depth=DEPTH),
    "relu inside": ResNet(
        Branch(Linear(1.5, 0.3), Activation("relu"), Linear(1.2, 0.2)), scale=0.4, depth=DEPTH
    ),
    "leaky inside": ResNet(
        Branch(Linear(1.5, 0), Activation("leaky_relu"), Linear(1.2, 0)), scale=0.4, depth=DEPTH
    ),
    "sign inside": ResNet(
        Branch(Linear(1.5, 0.3), Activation("sign"), Linear(1.2, 0.2)), scale=0.4, depth=DEPTH
    ),
    "step inside": ResNet(
        Branch(Linear(1.5, 0.3), Activation(sp.Heaviside(sp.Symbol("x"))), Linear(1.2, 0.2)),
        scale=0.4,
        depth=DEPTH,
    ),
    "sign": ResNet(Branch(Activation("sign"), Linear(1.3, 0.4)), scale=0.4, depth=DEPTH),
    "read-out": ResNet(Branch(Linear(1, 0)), scale=[0.2, 0.9, 0.4], read_out=Linear(0.9, 0.3)),
    "erf, one block": ResNet(Branch(Activation("erf"), Linear(1.3, 0.4)), scale=0.9, depth=1),
    "relu, one block": ResNet(Branch(Activation("relu"), Linear(1.3, 0.4)), scale=0.9, depth=1),
}
QUICK = ["linear", "relu inside", "step inside", "erf, one block"]
CASES = [
    pytest.param(name, width, marks=[] if name in QUICK else pytest.mark.slow)
    for name in NETS
    for width in (3, 8)
]


def scores(rows, exact, z_score) -> dict[str, np.ndarray]:
    """Return the z-scores of means and covariances of one run."""
    kernel, covariance = rows["kernel"], rows["layer_covariance"]
    if np.ndim(exact["C_mean"]) == 0:
        covariance = covariance[:, :1]
        exact = {**exact, **{name: np.atleast_1d(exact[name]) for name in ("C_mean", "C_var")}}
    centred = kernel - exact["G_mean"]
    around = covariance - exact["C_mean"]
    spread = exact["C_var"] > 1e-14
    return {
        "G_mean": z_score(kernel, exact["G_mean"]),
        "G_cov": z_score(centred[:, :, None] * centred[:, None, :], exact["G_cov"]),
        "C_mean": z_score(covariance[:, spread], exact["C_mean"][spread]),
        "C_var": z_score(around[:, spread] ** 2, exact["C_var"][spread]),
    }


@pytest.mark.parametrize(("name", "width"), CASES)
def test_moments_agree_with_samples(name: str, width: int, make, z_score) -> None:
    net = NETS[name]
    sampler = make(net, ["kernel", "layer_covariance"], width, K0=INPUT)
    rows = sampler.rows(0, DRAWS)
    exact = evaluate(exact_moments(net), K0=INPUT, width=width)
    found = scores(rows, exact, z_score)
    for what, z in found.items():
        assert np.abs(z).max(initial=0) < MOST, what
    # The law of a slightly wider network must not pass.
    wider = evaluate(exact_moments(net), K0=INPUT, width=width + 1)
    assert np.abs(scores(rows, wider, z_score)["G_cov"]).max() > 5


@pytest.mark.parametrize("name", ["linear", "relu inside"])
def test_excess_kurtosis_of_the_output(name: str, make, z_score) -> None:
    """y is normal given the network: E y^4 = 3 E C^2 = (3 + kurtosis) (E C)^2."""
    net, width = NETS[name], 8
    outputs = make(net, "output", width, K0=INPUT).rows(0, 5 * DRAWS)["output"]
    # Without a read-out, y reads h with unit weights: the same as a read-out of variance one.
    exact = evaluate(
        exact_moments(ResNet(net.branch, scale=net.scale, depth=DEPTH, read_out=Linear(1, 0))),
        K0=INPUT,
        width=width,
    )
    mean, kurtosis = exact["C_mean"][-1], exact["kurtosis"][-1]
    assert abs(z_score(outputs**2, mean)) < MOST
    assert abs(z_score(outputs**4, (3 + kurtosis) * mean**2)) < MOST
    assert abs(z_score(outputs**4, 3 * mean**2)) > 5
