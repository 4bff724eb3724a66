"""Networks with correlated layers: sampled, written out in NumPy, and in theory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from heavier import left_to_slow

from resexpand import (
    Activation,
    Branch,
    Dropout,
    FractionalBrownian,
    LayerMatrix,
    Linear,
    Markov,
    ResNet,
    Smooth,
    StochasticDepth,
    evaluate,
    gradient_moments,
    kernel,
    sample,
)
from resexpand.errors import StoreError, UnsupportedError
from resexpand.montecarlo.weights.layer_factor import layer_factor

DEPTH, WIDTH = 4, 12
BRANCH = Branch(Activation("relu"), Linear(1.7, 0.2))
DEEP = Branch(Linear(1.2, 0.1), Activation("erf"), Linear(1.7, 0.2))
LAWS = [
    Markov(0.6),
    Smooth("rbf", 0.3),
    FractionalBrownian(0.1),
    FractionalBrownian(0.9, "published"),
    LayerMatrix(np.diag([1.0, 2, 0.5, 1]) + 0.3),
]


def z_scores(first, second) -> np.ndarray:
    error = np.hypot(first.stderr, second.stderr)
    kept = error > 0
    return np.where(kept, (first.mean - second.mean) / np.where(kept, error, 1), 0.0)


def numpy_networks(c: np.ndarray, deep: bool, draws: int, seed: int, read_out: bool = True):
    """|h^l|^2/N, h^l.h^0/N and |dy/dh^l|^2, one row per network; written out, as by hand."""
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky(c + 1e-13 * np.eye(len(c)))
    laws = [(1.2, 0.1), (1.7, 0.2)] if deep else [(1.7, 0.2)]
    n = WIDTH
    rows = []
    for _ in range(draws):
        weights = [
            np.tensordot(root, rng.normal(size=(DEPTH, n, n)), 1) * np.sqrt(s / n) for s, _ in laws
        ]
        biases = [root @ rng.normal(size=(DEPTH, n)) * np.sqrt(t) for _, t in laws]
        h = h0 = rng.normal(size=n)
        lengths, overlaps, jacobians = [h @ h / n], [h @ h / n], []
        for block in range(DEPTH):
            if deep:
                u = weights[0][block] @ h + biases[0][block]
                x, slope = _erf(u), np.exp(-(u**2)) * 2 / np.sqrt(np.pi)
                jacobian = weights[1][block] @ (slope[:, None] * weights[0][block])
            else:
                x, slope = np.maximum(h, 0), h > 0
                jacobian = weights[0][block] * slope
            h = h + 0.5 * (weights[-1][block] @ x + biases[-1][block])
            jacobians.append(np.eye(n) + 0.5 * jacobian)
            lengths.append(h @ h / n)
            overlaps.append(h @ h0 / n)
        p = rng.normal(size=n) / np.sqrt(n)
        gradients = [p @ p]
        for jacobian in jacobians[::-1]:
            p = jacobian.T @ p
            gradients.append(p @ p)
        rows.append([lengths, overlaps, gradients[::-1]])
    return np.array(rows)


_erf = np.vectorize(__import__("math").erf)


class Mean:
    def __init__(self, rows: np.ndarray):
        self.mean, self.stderr = rows.mean(0), rows.std(0) / np.sqrt(len(rows))


NETWORKS = [*((False, law) for law in LAWS), (True, LAWS[0]), (True, LAWS[3])]
CASES = [(*case, method) for case in NETWORKS for method in ("dense", "basis")]


@pytest.mark.parametrize(("deep", "law", "method"), left_to_slow(CASES, CASES[1::4] + CASES[2::4]))
def test_the_sampler_draws_the_network_that_is_written_out(deep: bool, law, method: str) -> None:
    read_out = [Linear(1, 0)]
    net = ResNet(DEEP if deep else BRANCH, scale=0.5, depth=DEPTH, layers=law, read_out=read_out)
    names = ["kernel", "distance_squared", "gradient"]
    run = sample(net, names, WIDTH, 4000, K0=1.0, seed=5, method=method)
    rows = numpy_networks(law.covariance(DEPTH), deep, 1500, 7)
    for name, own in (("kernel", 0), ("gradient", 2)):
        assert np.abs(z_scores(run[name], Mean(rows[:, own]))).max() < 3.8, name
    # Control: independent layers are another network.
    other = ResNet(DEEP if deep else BRANCH, scale=0.5, depth=DEPTH, read_out=read_out)
    wrong = sample(other, "kernel", WIDTH, 4000, K0=1.0, seed=5, method="dense")
    assert np.abs(z_scores(wrong["kernel"], Mean(rows[:, 0]))).max() > 5


@pytest.mark.parametrize("law", [Markov(0.6), FractionalBrownian(0.1)], ids=repr)
def test_theory_is_the_limit_of_wide_networks(law) -> None:
    net = ResNet(BRANCH, scale=0.5, depth=DEPTH, layers=law)
    runs = [sample(net, ["kernel", "gradient"], n, 1500, K0=0.8, seed=n) for n in (40, 80)]
    theory = {
        "kernel": evaluate(kernel(net), K0=0.8)["K"],
        "gradient": evaluate(gradient_moments(net), K0=0.8)["gradient"],
    }
    for name, expected in theory.items():
        narrow, wide = runs[0][name], runs[1][name]
        error = np.hypot(2 * wide.stderr, narrow.stderr)
        z = (2 * wide.mean - narrow.mean - expected)[1:-1] / error[1:-1]
        assert np.abs(z).max() < 3.3, name
    free = evaluate(kernel(ResNet(BRANCH, scale=0.5, depth=DEPTH)), K0=0.8)["K"]
    narrow, wide = runs[0]["kernel"], runs[1]["kernel"]
    z = (2 * wide.mean - narrow.mean - free) / np.hypot(2 * wide.stderr, narrow.stderr)
    assert np.abs(z).max() > 5


def test_independent_layers_by_either_way() -> None:
    """With c = 1 the factor is the identity: the very same networks as without `layers`."""
    given = {"scale": 0.5, "depth": DEPTH}
    how = {"width": WIDTH, "draws": 50, "K0": 1.0, "seed": 3, "method": "dense"}
    free = sample(ResNet(BRANCH, **given), ["kernel", "gradient"], **how)
    same = sample(ResNet(BRANCH, **given, layers=Markov(0)), ["kernel", "gradient"], **how)
    for name in ("kernel", "gradient"):
        np.testing.assert_allclose(same[name].mean, free[name].mean, rtol=1e-13)


@pytest.mark.parametrize("law", [*LAWS[:3], Smooth("rbf", 0.01), Markov(1)], ids=repr)
def test_factors(law) -> None:
    c = law.covariance(60, further=1)
    factor = layer_factor(c)
    np.testing.assert_allclose(factor @ factor.T, c, atol=2e-12)


def test_smooth_laws_have_few_columns() -> None:
    ranks = [layer_factor(Smooth("rbf", 0.01).covariance(n)).shape[1] for n in (100, 300)]
    assert max(ranks) <= 34
    assert layer_factor(Markov(1).covariance(50)).shape == (50, 1)
    assert layer_factor(FractionalBrownian(0.9).covariance(50)).shape == (50, 50)


def test_the_chain_rule() -> None:
    """Gradients and tangents see the same weights: their product is constant over the layers."""
    net = ResNet(DEEP, scale=0.5, depth=DEPTH, layers=Markov(0.6))
    run = sample(net, "directional_derivative", WIDTH, 20, K0=1.0)["directional_derivative"]
    assert np.ptp(run.mean) < 1e-12 * abs(run.mean).max()


def test_stores(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    how = {"width": WIDTH, "draws": 40, "K0": 1.0, "store": path}
    for law in (Markov(0.6), LayerMatrix(Markov(0.6).covariance(DEPTH))):
        path.unlink(missing_ok=True)
        net = ResNet(BRANCH, scale=0.5, depth=DEPTH, layers=law)
        first = sample(net, "kernel", **how)["kernel"]
        again = sample(net, "kernel", **{**how, "draws": 80})["kernel"]
        whole = sample(net, "kernel", **{**how, "draws": 80, "store": None})["kernel"]
        assert again.n == 80
        np.testing.assert_array_equal(again.mean, whole.mean)
        assert not np.array_equal(first.mean, again.mean)
        other = ResNet(BRANCH, scale=0.5, depth=DEPTH, layers=Markov(0.5))
        with pytest.raises(StoreError):
            sample(other, "kernel", **how)


@pytest.mark.parametrize(
    "how",
    [
        {"method": "sparse"},
        {"weights": "rademacher"},
        {"control": "infinite-width"},
        {"target": "cuda"},
    ],
    ids=str,
)
def test_refusals(how: dict[str, str]) -> None:
    net = ResNet(BRANCH, scale=0.5, depth=DEPTH, layers=Markov(0.6))
    with pytest.raises(UnsupportedError):
        sample(net, "kernel", WIDTH, 10, K0=1.0, **how)


@pytest.mark.parametrize(
    ("masked", "law"),
    [
        (Branch(Linear(1, 0), Activation("relu"), Dropout(0.8), Linear(1, 0)), Markov(0.5)),
        pytest.param(
            Branch(Activation("relu"), Dropout(0.8), Linear(1, 0)),
            FractionalBrownian(0.7),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            Branch(Linear(1, 0), Activation("relu"), Linear(1, 0), StochasticDepth(0.7)),
            LAWS[1],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["Dropout", "Dropout in front", "StochasticDepth"],
)
def test_masks_with_correlated_layers(masked: Branch, law) -> None:
    """Dense and in function space; control: no masks. Theory refuses, and names what takes it."""
    net = ResNet(masked, scale=0.4, depth=6, layers=law)
    how = {"width": WIDTH, "draws": 4000, "K0": 1.0}
    names = ["kernel", "gradient"]
    dense = sample(net, names, method="dense", seed=21, **how)
    spaces = sample(net, names, method="function-space", seed=22, **how)
    plain = sample(net.evaluation(), names, method="function-space", seed=23, **how)
    for name in names:
        assert np.abs(z_scores(dense[name], spaces[name])).max() < 3.8, name
    assert np.abs(z_scores(dense["gradient"], plain["gradient"])).max() > 5
    for theory in (kernel, gradient_moments):
        with pytest.raises(UnsupportedError, match=r"; sample\(\) takes it"):
            theory(net)
