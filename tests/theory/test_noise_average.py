"""Masks and coins at the end of a branch: strings of outcomes against neurons drawn in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from uncompiled import evaluate

from resexpand import (
    Activation,
    Branch,
    Dropout,
    DropPath,
    LayerNorm,
    Linear,
    ResNet,
    SharedDropout,
    StochasticDepth,
    compare,
    kernel,
    noise_average,
    sample,
)
from resexpand.errors import HyperparameterError, ResexpandError, UnsupportedError

Array = NDArray[np.float64]
W, B, RHO, DEPTH, KEEP, EPS = 3.0, 0.1, 1.2, 3, 0.4, 0.2
PAIR = np.array([[1.0, 0.3], [0.3, 0.7]])
NEURONS, REPEATS = 20_000, 200


def neurons(mask: str, coin: str | None, norm: bool, seed: int = 0) -> Array:
    """Kernels of populations of neurons: normals of the covariance that their features have."""
    rng, found = np.random.default_rng(seed), np.empty((REPEATS, DEPTH + 1, 2, 2))
    for run in found:
        h = np.linalg.cholesky(PAIR) @ rng.normal(size=(2, NEURONS))
        run[0] = PAIR
        for layer in range(1, DEPTH + 1):
            x = h / np.sqrt((h**2).mean(axis=1, keepdims=True) + EPS) if norm else h
            x = np.tanh(x)
            covariance = W * x @ x.T / NEURONS + B
            g = np.linalg.cholesky(covariance) @ rng.normal(size=(2, NEURONS))
            rows = 1 if mask == "shared" else 2
            factor = (rng.random((rows, NEURONS)) < KEEP) / KEEP
            if coin is not None:
                factor = factor * (rng.random((1 if coin == "shared" else 2, 1)) < 0.6) / 0.6
            h = h + RHO * factor * g
            run[layer] = h @ h.T / NEURONS
    return found


def network(*ending: Any, norm: bool = False) -> ResNet:
    opening = (LayerNorm(EPS),) if norm else ()
    branch = Branch(*opening, Activation("tanh"), Linear(W, B), *ending)
    return ResNet(branch, scale=RHO, depth=DEPTH)


CASES: list[tuple[tuple[Any, ...], tuple[Any, ...]]] = [
    ((Dropout(KEEP),), ("own", None, False)),
    ((SharedDropout(KEEP),), ("shared", None, False)),
    ((Dropout(KEEP),), ("own", None, True)),
    ((SharedDropout(KEEP), DropPath(0.6)), ("shared", "own", False)),
    ((StochasticDepth(0.6), Dropout(KEEP)), ("own", "shared", False)),
]


@pytest.mark.parametrize(("ending", "oracle"), CASES, ids=str)
def test_against_populations_of_neurons(ending: Any, oracle: Any) -> None:
    found = noise_average(network(*ending, norm=oracle[2]), K0=PAIR)
    rows = neurons(*oracle)

    def worst(expected: Array) -> float:
        error = rows.std(axis=0) / REPEATS**0.5
        return float(np.abs((rows.mean(axis=0) - expected)[1:] / error[1:]).max())

    assert worst(found.K) < 4
    assert (found.K_var.max() > 1e-3) == (oracle[1] is not None)
    # Control: one Gaussian with these moments, as if masks and coins left one.
    wrong = [PAIR]
    same = 1 / KEEP if oracle[0] == "shared" else 1.0
    grown = np.array([[1 / KEEP, same], [same, 1 / KEEP]])
    if oracle[1] is not None:
        grown = grown * (
            1 / 0.6 if oracle[1] == "shared" else np.array([[1 / 0.6, 1], [1, 1 / 0.6]])
        )
    plain = network(norm=oracle[2]).with_scale(RHO, depth=1)
    for _ in range(DEPTH):
        step = evaluate(kernel(plain, 2), K0=wrong[-1])["C"][0]
        wrong.append(wrong[-1] + RHO**2 * grown * step)
    assert worst(np.array(wrong)) > 5


@pytest.mark.parametrize("noise", [Dropout, SharedDropout, StochasticDepth, DropPath])
def test_linear_branches_close(noise: Any) -> None:
    net = ResNet(Branch(Linear(W, B), noise([0.5, 0.9])), scale=RHO, skip=0.9, depth=2)
    found, exact = noise_average(net, K0=PAIR), evaluate(kernel(net, 2), K0=PAIR)["K"]
    np.testing.assert_allclose(found.K, exact, rtol=1e-13)
    # Of replicas nothing is shared.
    own = ResNet(Branch(Linear(W, B), noise([0.5, 0.9]).apart()), scale=RHO, skip=0.9, depth=2)
    replicas = noise_average(net, K0=PAIR, replicas=True).K
    np.testing.assert_allclose(replicas, evaluate(kernel(own, 2), K0=PAIR)["K"], rtol=1e-13)
    assert np.allclose(replicas, exact) == (noise in (Dropout, DropPath))


def test_one_input_and_masks_on_one_input() -> None:
    net = network(Dropout(KEEP))
    single, pair = noise_average(net, K0=0.8), noise_average(net, K0=[[0.8, 0.8], [0.8, 0.8]])
    np.testing.assert_allclose(single.K, pair.K[:, 0, 0], rtol=1e-12)
    assert (pair.K[1:, 0, 1] < pair.K[1:, 0, 0] - 0.1).all()
    assert (single.components, pair.components) == (4, 16)


def test_the_verdict_of_samples() -> None:
    net, other = network(Dropout(KEEP)), network(Dropout(0.5))
    runs = [sample(net, "kernel", width, 1000, K0=PAIR, seed=width) for width in (64, 128)]
    ask = {"names": {"kernel": "kernel"}, "resolve": 0.5}
    assert compare({"kernel": noise_average(net, K0=PAIR).K}, runs, **ask).verdict != "disagrees"
    wrong = {"kernel": noise_average(other, K0=PAIR).K}
    assert compare(wrong, runs, **ask).verdict == "disagrees"


def test_what_it_refuses() -> None:
    relu = Activation("relu")
    for branch in (
        Branch(Linear(1, 0), relu),
        Branch(relu, StochasticDepth(0.5), Linear(1, 0)),
        Branch(relu, Linear(1, 0), Dropout(0.5), LayerNorm()),
    ):
        with pytest.raises(UnsupportedError, match="the average over masks and coins beside"):
            noise_average(ResNet(branch, scale=1, depth=2), K0=1.0)
    for K0 in ([1, 2], "a", [[1, 2], [2, 1]], -1.0):
        with pytest.raises(ResexpandError, match="K0"):
            noise_average(network(Dropout(KEEP)), K0=K0)
    with pytest.raises(HyperparameterError, match="at most 65536"):
        noise_average(network(Dropout(KEEP)).with_scale(1, depth=20), K0=1.0)
    with pytest.raises(UnsupportedError, match=r"noise_average\(net, K0=...\)"):
        kernel(network(Dropout(KEEP)), 2)
