"""Convolutions in both samplers: against networks in NumPy, each other, and their kernel."""

from __future__ import annotations

from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from heavier import left_to_slow
from numpy.typing import NDArray

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    Conv,
    GlobalAvgPool,
    Linear,
    ResNet,
    compare,
    evaluate,
    kernel,
    sample,
)
from resexpand.errors import KernelError, UnsupportedError
from resexpand.montecarlo.runs.settings import spec_of
from resexpand.montecarlo.runs.stored import look

Array = NDArray[np.float64]
METHODS = ("function-space", "dense")
TANH = Activation("tanh")
SHARES = {-1: 0.5, 0: 0.2, 2: 0.3}
RATE, BIAS, SCALE, DEPTH = 1.7, 0.1, 0.6, 3


def given(columns: int) -> Array:
    data = np.random.default_rng(0).normal(size=(columns, columns + 3))
    return data @ data.T / columns


def described(*, circular: bool, shares: dict[int, float] | None = None) -> ResNet:
    own = SHARES if shares is None else shares
    conv = Conv(tuple(own), RATE, BIAS, shares=tuple(own.values()), circular=circular)
    head = [TANH, GlobalAvgPool(), Linear(1.5, 0.2)]
    return ResNet(Branch(TANH, conv), scale=SCALE, depth=DEPTH, positions=4, read_out=head)


@cache
def literal(width: int, draws: int, *, circular: bool) -> tuple[Array, Array]:
    """Kernels K^0 ... K^L and squared outputs of networks with weights, written as a CNN."""
    rng = np.random.default_rng(11)
    root = np.linalg.cholesky(given(8))
    kernels = np.empty((draws, DEPTH + 1, 8, 8))
    outputs = np.empty((draws, 8))
    for n in range(draws):
        h = (rng.normal(size=(width, 8)) @ root.T).reshape(width, 2, 4)
        for layer in range(DEPTH + 1):
            flat = h.reshape(width, 8)
            kernels[n, layer] = flat.T @ flat / width
            if layer == DEPTH:
                break
            x, image = np.tanh(h), np.zeros_like(h)
            for offset, share in SHARES.items():
                near = np.roll(x, -offset, axis=2)
                if not circular:
                    near[:, :, [p for p in range(4) if not 0 <= p + offset < 4]] = 0
                weights = rng.normal(size=(width, width)) * np.sqrt(RATE * share / width)
                image += np.einsum("ij,jap->iap", weights, near)
            h = h + SCALE * (image + np.sqrt(BIAS) * rng.normal(size=(width, 1, 1)))
        pooled = np.tanh(h).mean(axis=2)
        out = np.sqrt(1.5 / width) * rng.normal(size=width) @ pooled + np.sqrt(0.2) * rng.normal()
        outputs[n] = np.repeat(out, 4)
    return kernels, outputs[:, :, None] * outputs[:, None, :]


CASES = [*product(METHODS, [True, False])]


@pytest.mark.parametrize(("method", "circular"), left_to_slow(CASES, CASES[1:3]))
def test_networks_in_numpy(method: str, circular: bool) -> None:
    """Same law at a small width, where the theory of infinite width would not do."""
    start = given(8)
    kernels, squares = literal(8, 4000, circular=circular)
    names = ["kernel", "output_squared"]
    net = described(circular=circular)
    run = sample(net, names, width=8, draws=4000, K0=start, seed=5, method=method)
    for name, rows in (("kernel", kernels), ("output_squared", squares)):
        found = run[name]
        error = np.hypot(found.stderr, rows.std(axis=0, ddof=1) / np.sqrt(len(rows)))
        z = (found.mean - rows.mean(axis=0)) / error
        assert np.abs(z).max() < 4.5, name
        assert name != "kernel" or np.sqrt((z**2).mean()) < 1.6


def test_the_verdict_and_its_control() -> None:
    start, net = given(8), described(circular=True)
    names = ["kernel", "layer_covariance"]
    run = sample(net, names, width=256, draws=600, K0=start, seed=1)
    theory = evaluate(kernel(net, inputs="positions"), K0=start)
    assert compare(theory, run).verdict == "agrees"
    wrong = described(circular=True, shares={-1: 0.3, 0: 0.2, 2: 0.5})
    other = evaluate(kernel(wrong, inputs="positions"), K0=start)
    assert compare(other, run).verdict == "disagrees"


@pytest.mark.slow
def test_one_offset_draws_the_networks_of_linear() -> None:
    start = given(4)
    nets = [
        ResNet(Branch(TANH, Linear(RATE, BIAS)), scale=SCALE, depth=2),
        ResNet(Branch(TANH, Conv((0,), RATE, BIAS)), scale=SCALE, depth=2, positions=2),
    ]
    for method in METHODS:
        plain, same = (
            sample(net, ["kernel", "gradient"], width=10, draws=3, K0=start, seed=2, method=method)
            for net in nets
        )
        # What weights do beyond the columns they met is drawn anew in function space.
        for name in ("kernel", "gradient")[: 1 + (method == "dense")]:
            np.testing.assert_allclose(same[name].mean, plain[name].mean, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    ("method", "offsets"),
    [
        ("function-space", ((0, 1), (1, -1), (0, 0))),
        ("function-space", ((1, 0),)),
        pytest.param("dense", ((1, 0),), marks=pytest.mark.slow),
    ],
)
def test_the_chain_rule(method: str, offsets: tuple[tuple[int, int], ...]) -> None:
    """Tangents forward and gradients backward multiply to one number in all layers."""
    conv = Conv(offsets, RATE, BIAS, circular=False)
    branch = Branch(Linear(1, 0.1), BatchNorm(eps=0.1), conv, TANH, GlobalAvgPool(), Linear(1, 0))
    net = ResNet(branch, scale=SCALE, depth=2, positions=(2, 2), skip=0.9)
    name = "directional_derivative"
    run = sample(net, name, width=20, draws=2, K0=given(8), seed=3, method=method)[name]
    np.testing.assert_allclose(run.mean, run.mean[0], rtol=1e-11)
    assert abs(run.mean[0]) > 1e-3


@pytest.mark.slow
def test_gradients_of_the_two_samplers() -> None:
    start, net = given(8), described(circular=False)
    runs = [
        sample(net, "gradient", width=12, draws=3000, K0=start, seed=9, method=method)["gradient"]
        for method in METHODS
    ]
    z = (runs[0].mean - runs[1].mean) / np.hypot(runs[0].stderr, runs[1].stderr)
    assert np.abs(z).max() < 4.5


def test_stores_keep_convolutions(tmp_path: Path) -> None:
    start, net, store = given(8), described(circular=False), tmp_path / "run.sqlite"
    first = sample(net, "kernel", width=8, draws=8, K0=start, store=store)["kernel"]
    again = sample(net, "kernel", width=8, draws=8, K0=start, store=store)["kernel"]
    np.testing.assert_array_equal(first.mean, again.mean)
    spec = spec_of(look(store).plan.settings, "the run")
    assert spec.kinds == net.kinds
    assert spec.head == net.head_ops


def test_what_sampling_refuses() -> None:
    net = described(circular=True)
    with pytest.raises(KernelError, match="multiple of 4"):
        sample(net, "kernel", width=8, draws=2, K0=np.eye(6))
    for asked in ("ntk", "distance"):
        with pytest.raises(UnsupportedError, match="Conv"):
            sample(net, asked, width=8, draws=2, K0=np.eye(4))
    with pytest.raises(UnsupportedError, match="rotation"):
        sample(net, "kernel", width=8, draws=2, K0=np.eye(4), weights="orthogonal")
    with pytest.raises(UnsupportedError, match="positions"):
        sample(net, "kernel", width=8, draws=2, K0=np.eye(4), control="infinite-width")
    one = ResNet(Branch(TANH, Conv((0, 1), 1, 0)), scale=1, depth=1, positions=1)
    for asked in ("chi", "order_profile(2)", "path_profile(1)"):
        with pytest.raises(UnsupportedError, match="Conv"):
            sample(one, asked, width=8, draws=2, K0=1.0)
