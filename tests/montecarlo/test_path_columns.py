"""Gated path sums in the sampler: by enumeration of all paths, by exact laws, dense against fast.

With gates held fixed, `h^L` is a sum over all subsets of blocks that a path from the input passes,
and over all paths that begin at the bias or the intercept of some block, which counts as passed.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import sympy as sp
from weight_mirror import Mirror, mirror

from resexpand import Activation, Branch, Linear, ResNet, evaluate, order_profile, sample
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.montecarlo.observables.profiles import path_profile

X = sp.Symbol("x", real=True)
W, B = Linear(1.4, 0.3), Linear(0.8, 0.0)
CLIPPED = sp.Max(sp.Min(X, 1), -sp.Rational(1, 2)) + sp.Rational(1, 5)
PHIS = {
    "relu": (Activation("relu"), lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0)),
    "leaky_relu": (
        Activation("leaky_relu"),
        lambda x: np.where(x > 0, x, 0.01 * x),
        lambda x: np.where(x > 0, 1, 0.01),
    ),
    "clipped": (
        Activation(CLIPPED),
        lambda x: np.clip(x, -0.5, 1) + 0.2,
        lambda x: 1.0 * ((x > -0.5) & (x < 1)),
    ),
    "sign": (Activation("sign"), np.sign, np.zeros_like),
}
BRANCHES = {
    "W phi(h)": lambda phi: Branch(phi, W),
    "V phi(W h)": lambda phi: Branch(W, phi, B),
    "phi(W h)": lambda phi: Branch(W, phi),
    "V phi(W phi(h))": lambda phi: Branch(phi, B, phi, W),
}
SCALES = (0.9, 0.5, 0.7, 0.8)
WIDTH = 6


def affine_blocks(network: Mirror, slope) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (matrix, vector) of each block with its gates held at the actual trajectory."""
    h, blocks = network.start, []
    for scale, block in zip(network.scales, network.blocks, strict=True):
        x, matrix, vector = h, np.eye(WIDTH), np.zeros(WIDTH)
        for step in block:
            if callable(step):
                gate = slope(x)
                intercept = step(x) - gate * x
                x, matrix = step(x), gate[:, None] * matrix
                vector = gate * vector + intercept
            else:
                x, matrix = step[0] @ x + step[1], step[0] @ matrix
                vector = step[0] @ vector + step[1]
        blocks.append((scale * matrix, scale * vector))
        h = h + scale * x
    return blocks


def path_sums(network: Mirror, slope) -> np.ndarray:
    """Return the sum over paths of each length by enumerating them, shape (L + 1, N)."""
    blocks = affine_blocks(network, slope)
    depth = len(blocks)
    sums = np.zeros((depth + 1, WIDTH))
    for length in range(depth + 1):
        for passed in combinations(range(depth), length):
            from_input = network.start
            from_block = blocks[passed[0]][1] if passed else np.zeros(WIDTH)
            for place, block in enumerate(passed):
                from_input = blocks[block][0] @ from_input
                from_block = blocks[block][0] @ from_block if place else from_block
            sums[length] += from_input + from_block
    return sums


LONGEST = "V phi(W phi(h))"
MORE = [
    *(("relu", shape) for shape in BRANCHES if shape != LONGEST),
    ("leaky_relu", "W phi(h)"),
    ("clipped", LONGEST),
    ("sign", "W phi(h)"),
]
CASES = [
    ("relu", LONGEST),
    ("clipped", "W phi(h)"),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE),
]
SHAPES = [LONGEST, *(pytest.param(s, marks=pytest.mark.slow) for s in BRANCHES if s != LONGEST)]


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_every_path_is_summed(name: str, shape: str, draw_rows) -> None:
    phi, function, slope = PHIS[name]
    net = ResNet(BRANCHES[shape](phi), scale=SCALES)
    rows = draw_rows(net, "path_profile(4)", WIDTH, 3, K0=0.8, method="dense")
    for draw in range(3):
        functions = [function] * len(net.branch.activations)
        sums = path_sums(mirror(net, functions, WIDTH, 0.8, draw), slope)
        np.testing.assert_allclose(rows[draw, -1], sums @ sums.T / WIDTH, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("method", ["function-space", "dense"])
@pytest.mark.parametrize("shape", SHAPES)
def test_all_lengths_together_are_the_network(shape: str, method: str, make) -> None:
    net = ResNet(BRANCHES[shape](Activation("relu")), scale=SCALES)
    names = ["path_profile(6)", "path_remainder(6)", "kernel"]
    rows = make(net, names, 20, K0=0.8, method=method).rows(0, 50)
    profile, rest = rows["path_profile"], rows["path_remainder"]
    np.testing.assert_allclose(profile.sum(axis=(2, 3)), rows["kernel"], rtol=1e-12)
    assert rest[:, -1, 4:].max() < 1e-26
    assert (rest[:, -1, 3] > 1e-6).all()
    assert (profile[:, -1, 5:] == 0).all()


def test_linear_blocks_are_binomial_at_every_width(draw_rows, z_score) -> None:
    """E[P_j . P_k]/N = delta_jk binomial(l, k) (rho^2 s)^k K0."""
    rows = draw_rows(
        ResNet(Branch(Linear(1.3, 0.0)), scale=0.6, depth=4), "path_profile(3)", 5, 20_000, K0=0.7
    )
    energy = np.array(
        [[sp.binomial(layer, k) for k in range(4)] for layer in range(5)], dtype=float
    )
    energy *= 0.7 * (0.36 * 1.3) ** np.arange(4)
    exact = energy[:, :, None] * np.eye(4)
    moving = rows.std(axis=0) > 0
    np.testing.assert_array_equal(rows.mean(axis=0)[~moving], exact[~moving])
    assert np.abs(z_score(rows[:, moving], exact[moving])).max() < 4.5
    assert np.abs(z_score(rows[:, moving], 1.05 * exact[moving])).max() > 5


@pytest.mark.parametrize("shape", SHAPES)
def test_samplers_agree(shape: str, make) -> None:
    net = ResNet(BRANCHES[shape](Activation("relu")), scale=SCALES)
    draws = [
        make(net, "path_profile(3)", 8, K0=0.8, method=method, seed=seed).rows(0, 6000)
        for method, seed in (("dense", 11), ("function-space", 12))
    ]
    for power in (1, 2):
        a, b = (rows["path_profile"] ** power for rows in draws)
        error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / len(a))
        moving = error > 1e-12
        z = (a.mean(axis=0) - b.mean(axis=0))[moving] / error[moving]
        assert np.abs(z).max() < 4.5


def test_gated_theory(draw_rows, z_score) -> None:
    """At width 1000 the correction of order 1/N is below the standard error of 300 networks."""
    net = ResNet(Branch(Activation("relu"), W), scale=0.4, depth=4)
    rows = draw_rows(net, "path_profile(4)", 1000, 300, K0=0.8)
    exact = evaluate(order_profile(net, 4, basis="paths"), K0=0.8)["profile"]
    moving = rows.std(axis=0) > 0
    np.testing.assert_array_equal(rows.mean(axis=0)[~moving], exact[~moving])
    assert np.abs(z_score(rows[:, moving], exact[moving])).max() < 4.8
    assert np.abs(z_score(rows[:, moving], 1.02 * exact[moving])).max() > 5


def test_one_answer_for_every_asked_length() -> None:
    net = ResNet(BRANCHES[LONGEST](Activation("relu")), scale=SCALES)
    short, long = (sample(net, path_profile(k), 12, 40, K0=1.0) for k in (2, 4))
    np.testing.assert_allclose(
        short["path_profile"].mean, long["path_profile"].mean[:, :3, :3], rtol=1e-12
    )
    assert short.settings["observables"] == ["path_profile(2)"]


def test_refusals() -> None:
    smooth = ResNet(Branch(Activation("erf"), W), scale=SCALES)
    with pytest.raises(UnsupportedError, match=r"erf is not piecewise linear.*order_profile"):
        sample(smooth, "path_profile(2)", 12, 40, K0=1.0)
    net = ResNet(Branch(Activation("relu"), W), scale=SCALES)
    with pytest.raises(UnsupportedError, match=r"path_profile\(2\) of 2 inputs"):
        sample(net, "path_profile(2)", 12, 40, K0=np.eye(2))
    with pytest.raises(HyperparameterError, match="width=2: not a whole number from 3"):
        sample(net, "path_profile(2)", 2, 40, K0=1.0)
    with pytest.raises(HyperparameterError, match=r'write it as "path_profile\(4\)"'):
        sample(net, "path_profile", 12, 40, K0=1.0)
    for text in ("path_profile(0)", "path_profile(65)"):
        with pytest.raises(HyperparameterError, match="whole number from 1 to 64"):
            sample(net, text, 12, 40, K0=1.0)
    with pytest.raises(HyperparameterError, match="found under 'path_profile'"):
        sample(net, ["path_profile(2)", path_profile(3)], 12, 40, K0=1.0)
