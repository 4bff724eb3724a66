"""The way back through rotations: chain rule to rounding, equal laws of both samplers, controls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from heavier import left_to_slow
from scipy import stats

from resexpand import Activation, Branch, Linear, ResNet
from resexpand.codegen.store import load
from resexpand.montecarlo import engine
from resexpand.montecarlo.groups.group import ColumnGroup
from resexpand.montecarlo.source.sampler import sampler_source
from resexpand.montecarlo.weights.law import ORTHOGONAL

W, V = Linear(1.4, 0.3), Linear(0.8, 0.1)
PAIR = [[1.2, 0.5], [0.5, 0.9]]
NAMES = ["gradient", "ntk", "kernel"]


def network(*ops) -> ResNet:
    branch = Branch(*ops)
    return ResNet(branch, scale=[0.9, 0.5, 0.7], read_out=branch.followed_by(Linear(0.7, 0.2)))


TANH = network(Activation("tanh"), W)
RELU = network(V, Activation("relu"), W)


def forgetful(sampler: engine.Sampler, net: ResNet) -> engine.Sampler:
    """Return a sampler that draws a fresh rotation on the way back."""
    text = sampler_source(net.branch, "function-space", sampler.layout, ORTHOGONAL)
    assert "transposed(source, g" in text
    wrong = text.replace("transposed(source, g", "transposed(0.0 * source, g")
    return replace(sampler, text=load(wrong))


@pytest.mark.parametrize(
    ("net", "method"),
    [
        (RELU, "function-space"),
        pytest.param(TANH, "function-space", marks=pytest.mark.slow),
        pytest.param(RELU, "dense", marks=pytest.mark.slow),
        pytest.param(TANH, "dense", marks=pytest.mark.slow),
    ],
)
def test_chain_rule(net: ResNet, method: str, make) -> None:
    """Also at widths 2 and 3, where two columns and a gradient fill the whole space."""
    for width in (2, 3, 33):
        sampler = make(
            net, "directional_derivative", width, K0=0.8, method=method, weights="orthogonal"
        )
        slopes = sampler.rows(0, 200)["directional_derivative"]
        assert slopes.std() > 0.1
        assert np.abs(slopes - slopes[:, :1]).max() < 1e-12 * np.abs(slopes).max()


def test_a_fresh_rotation_breaks_the_chain_rule(make) -> None:
    sampler = make(RELU, "directional_derivative", 33, K0=0.8, weights="orthogonal")
    wrong = forgetful(sampler, RELU).rows(0, 200)["directional_derivative"]
    assert np.isfinite(wrong).all()
    assert np.abs(wrong[:, 0] - wrong[:, -1]).max() > 0.1


@pytest.mark.parametrize("width", left_to_slow([3, 6], [6]))
def test_both_samplers_have_one_law(width: int, make) -> None:
    """Kolmogorov-Smirnov tests of every entry for two inputs; another variance is rejected."""

    def draw(method: str, variance: float = 1.4) -> dict[str, np.ndarray]:
        options = {"K0": PAIR, "method": method, "seed": len(method), "weights": "orthogonal"}
        net = network(V, Activation("relu"), Linear(variance, 0.3))
        rows = make(net, NAMES, width, **options).rows(0, 6000)
        back = rows["gradient"][:, 0]
        # Beside the entries, products with the way forward: the joint law matters.
        joint = back * rows["kernel"][:, -1]
        return {"gradient": back, "ntk": rows["ntk"], "joint": joint}

    def least(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> float:
        pairs = [(first[n][:, a, b], second[n][:, a, b]) for n in first for a, b in AT]
        return min(stats.ks_2samp(*pair).pvalue for pair in pairs)

    dense = draw("dense")
    assert least(draw("function-space"), dense) > 1e-3 / 9
    assert least(draw("function-space", variance=1.7), dense) < 1e-6


AT = [(0, 0), (0, 1), (1, 1)]


@pytest.mark.parametrize(
    "method", ["function-space", pytest.param("dense", marks=pytest.mark.slow)]
)
def test_a_rotation_keeps_lengths(method: str, make) -> None:
    """y = w . h^1, h^1 = h^0 + rho O h^0: |p^0|^2 is that of (1 + rho O^T) w, mean 1 + rho^2."""
    net = ResNet(Branch(Linear(1, 0)), scale=0.8, depth=1)
    rows = make(net, "gradient", 16, method=method, weights="orthogonal").rows(0, 20_000)
    slopes = rows["gradient"]
    np.testing.assert_allclose(slopes[:, 1], 1.0, rtol=1e-12)
    error = slopes[:, 0].std() / np.sqrt(len(slopes))
    assert abs(slopes[:, 0].mean() - 1.64) < 4 * error
    # |(1 + rho O^T) w|^2 lies between (1 - rho)^2 and (1 + rho)^2: Gaussian weights do not.
    assert slopes[:, 0].min() > 0.04
    assert slopes[:, 0].max() < 3.24


def test_a_law_without_a_transpose_is_refused(make) -> None:
    from resexpand.errors import UnsupportedError
    from resexpand.montecarlo.groups.gradients import Gradients

    group: ColumnGroup = Gradients()
    with pytest.raises(UnsupportedError, match="their transpose is not implemented"):
        group.sampler("weights.unknown")
