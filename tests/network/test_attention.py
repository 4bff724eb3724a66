"""Attention: its limits against sums written out here, literal networks, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp
from numpy.typing import NDArray
from uncompiled import evaluate

from resexpand import (
    Activation,
    Attention,
    Branch,
    LayerNorm,
    Linear,
    ResNet,
    compare,
    kernel,
    one_loop,
    optimal_scale,
    post_ln,
    pre_ln,
    sample,
    to_latex,
)
from resexpand.cli import main
from resexpand.errors import DescriptionError, UnsupportedError
from resexpand.network.registry import operation_of

Array = NDArray[np.float64]
TOKENS = 3
LIMITS = [
    {},
    {"causal": True},
    {"softmax": False},
    {"softmax": False, "causal": True},
    {"tied": False},
    {"tied": False, "causal": True},
    {"logits": "1/sqrt(d)", "softmax": False, "heads": sp.oo},
    {"logits": "1/sqrt(d)", "softmax": False, "causal": True},
]
UNTIED = {"tied": False, "heads": 2, "logits": "1/sqrt(d)"}


def given(columns: int) -> Array:
    data = np.random.default_rng(0).normal(size=(columns, columns + 3))
    return data @ data.T / columns


def weights(gram: Array, s: float, setting: dict[str, Any]) -> Array:
    """Attention of one input, token by token."""
    out = np.zeros_like(gram)
    for t in range(len(gram)):
        seen = range(t + 1) if setting.get("causal") else range(len(gram))
        logits = {u: s * gram[t, u] * setting.get("tied", True) for u in seen}
        total = sum(np.exp(v) for v in logits.values())
        for u, v in logits.items():
            out[t, u] = np.exp(v) / total if setting.get("softmax", True) else v
    return out


def behind(gram: Array, s: float, setting: dict[str, Any]) -> Array:
    """Second moments behind the attention of two inputs."""
    if "logits" in setting:
        out = np.empty_like(gram)
        for i, j in np.ndindex(*gram.shape):
            a, b = i // TOKENS * TOKENS, j // TOKENS * TOKENS
            first, last = (i + 1, j + 1) if setting.get("causal") else (a + TOKENS, b + TOKENS)
            out[i, j] = s**2 * gram[i, j] * (gram[a:first, b:last] ** 2).sum()
        return out
    both = [weights(gram[a : a + TOKENS, a : a + TOKENS], s, setting) for a in (0, TOKENS)]
    mix = np.block([[both[0], np.zeros((3, 3))], [np.zeros((3, 3)), both[1]]])
    return mix @ gram @ mix.T


@pytest.mark.parametrize("setting", LIMITS, ids=str)
def test_the_limits(setting: dict[str, Any]) -> None:
    op = Attention(0.8, **setting)
    net = ResNet(Branch(op, Linear(1.3, 0.1)), scale=0.5, depth=2, positions=TOKENS)
    start = given(2 * TOKENS)
    expected = [start]
    for _ in range(2):
        expected.append(expected[-1] + 0.25 * (1.3 * behind(expected[-1], 0.8, setting) + 0.1))
    found = evaluate(kernel(net, inputs="positions"), K0=start)["K"]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    # Control: another scale of the logits, where they matter.
    off = [start, start + 0.25 * (1.3 * behind(start, 0.9, setting) + 0.1)]
    apart = np.abs(found[1] - off[1]).max()
    assert (apart > 1e-4) == (setting.get("tied", True) or "logits" in setting)


@pytest.mark.parametrize("setting", LIMITS, ids=str)
def test_the_derivative(setting: dict[str, Any]) -> None:
    op = Attention(0.8, **setting).placed((TOKENS,))
    start, at, h = given(2 * TOKENS), [np.array(0.8)], 1e-5
    step = np.random.default_rng(1).normal(size=start.shape)
    step += step.T
    slope = (op.gram(start + h * step, at) - op.gram(start - h * step, at)) / (2 * h)
    np.testing.assert_allclose(op.gram_moved(start, step, at), slope, rtol=1e-6, atol=1e-7)


def test_grids() -> None:
    s = sp.Symbol("s", positive=True)
    net = ResNet(Branch(Attention(s), Linear(1, 0)), scale=0.5, depth=2, positions=TOKENS)
    theory = kernel(net, inputs="positions")
    grid = evaluate(theory, K0=given(3), s=np.array([0.5, 1.5]))["K"]
    assert grid.shape == (2, 3, 3, 3)
    np.testing.assert_allclose(grid[1], evaluate(theory, K0=given(3), s=1.5)["K"], rtol=1e-14)


@pytest.mark.parametrize("heads", [2000])
def test_linear_attention_with_many_literal_heads(heads: int) -> None:
    """One input: f = sum_h W_O^h W_V^h x A_h^T / sqrt(H), logits q.k/sqrt(d), drawn in NumPy."""
    rng = np.random.default_rng(2)
    start, width, s = given(TOKENS), 40, 0.8
    root = np.linalg.cholesky(start)
    found = np.zeros((heads, TOKENS, TOKENS))
    x = root @ np.linalg.qr(rng.normal(size=(width, TOKENS)))[0].T * np.sqrt(width)
    for h in range(heads):
        q, k = (x @ rng.normal(size=(width, width)) * np.sqrt(s / width) for _ in range(2))
        mixed = q @ k.T / np.sqrt(width) @ x
        found[h] = mixed @ mixed.T / width
    z = (found.mean(axis=0) - behind(start, s, {"logits": ""})) / (found.std(axis=0) / heads**0.5)
    assert np.abs(z).max() < 4


def literal(width: int, draws: int, start: Array, setting: dict[str, Any]) -> Array:
    """Kernels of networks of two kinds of blocks in NumPy, head by head."""
    rng, size = np.random.default_rng(4), len(start)
    root, out = np.linalg.cholesky(start), np.empty((draws, 3, size, size))
    seen = np.tri(TOKENS) if setting.get("causal") else np.ones((TOKENS, TOKENS))
    each = width // setting.get("heads", 1)
    power = 0.5 if "logits" in setting else 1.0

    def matrix(variance: float) -> Array:
        return rng.normal(size=(width, width)) * np.sqrt(variance / width)

    for n in range(draws):
        h = rng.normal(size=(width, size)) @ root.T
        out[n, 0] = h.T @ h / width
        queries = keys = matrix(1.5) @ h
        if not setting.get("tied", True):
            keys = matrix(1.5) @ h
        y = np.empty_like(h)
        for a in range(0, size, TOKENS):
            for k in range(0, width, each):
                head, own = slice(k, k + each), slice(a, a + TOKENS)
                logits = queries[head, own].T @ keys[head, own] / each**power
                powers = np.exp(logits) * seen
                y[head, own] = h[head, own] @ (powers / powers.sum(axis=1, keepdims=True)).T
        h = h + 0.7 * (matrix(1.2) @ y + np.sqrt(0.1) * rng.normal(size=(width, 1)))
        out[n, 1] = h.T @ h / width
        h = h + 0.7 * matrix(2.0) @ np.tanh(h)
        out[n, 2] = h.T @ h / width
    return out


@pytest.mark.parametrize(
    ("method", "setting"),
    [("function-space", {"causal": True}), ("dense", UNTIED), ("function-space", UNTIED)],
    ids=str,
)
def test_networks_in_numpy(method: str, setting: dict[str, Any]) -> None:
    start = given(2 * TOKENS)
    behind = Branch(Activation("tanh"), Linear(2, 0))

    def network(s: float) -> ResNet:
        first = Branch(Attention(s, **setting), Linear(1.2, 0.1))
        return ResNet([first, behind], scale=0.7, depth=2, positions=TOKENS)

    rows = literal(8, 4000, start, setting)

    def scores(s: float) -> Array:
        options = {"width": 8, "draws": 4000, "K0": start, "seed": 5, "method": method}
        run = sample(network(s), "kernel", **options)["kernel"]
        return (run.mean - rows.mean(axis=0)) / np.hypot(run.stderr, rows.std(axis=0) / 4000**0.5)

    assert np.abs(scores(1.5)).max() < 4.5
    assert np.abs(scores(0.0)).max() > 8  # control: uniform attention


def test_the_verdict_of_linear_attention() -> None:
    """Logits 1/sqrt(d) of infinitely many heads are sampled as one head per neuron."""
    net, other = (
        ResNet(
            Branch(Attention(s, logits="1/sqrt(d)", softmax=False), Linear(1.2, 0.1)),
            scale=0.5,
            depth=2,
            positions=TOKENS,
        )
        for s in (0.6, 0.9)
    )
    start = given(2 * TOKENS)
    runs = [sample(net, "kernel", width, 3000, K0=start, seed=width) for width in (64, 128)]
    resolved = {"names": {"K": "kernel"}, "resolve": 0.5}
    theory = evaluate(kernel(net, "positions"), K0=start)
    assert compare(theory, runs, **resolved).verdict != "disagrees"
    wrong = evaluate(kernel(other, "positions"), K0=start)
    assert compare(wrong, runs, **resolved).verdict == "disagrees"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["function-space", "dense"])
def test_the_chain_rule(method: str) -> None:
    branch = Branch(
        Attention(1.5, causal=True), Linear(1, 0), Activation("tanh"),
        Attention(0.5, softmax=False), Linear(1, 0.1), Attention(0.4, **UNTIED), Linear(1, 0),
    )  # fmt: skip
    net = ResNet(branch, scale=0.7, depth=2, positions=TOKENS)
    name = "directional_derivative"
    run = sample(net, name, width=20, draws=2, K0=given(6), seed=3, method=method)[name]
    np.testing.assert_allclose(run.mean, run.mean[0], rtol=1e-11)


@pytest.mark.slow
def test_the_verdict_of_a_transformer() -> None:
    net = pre_ln(4, attention=Attention(1.5), scale=0.7, positions=TOKENS)
    start = given(2 * TOKENS)
    run = sample(net, "kernel", width=512, draws=300, K0=start, seed=1)
    assert compare(evaluate(kernel(net, "positions"), K0=start), run).verdict == "agrees"
    wrong = pre_ln(4, attention=Attention(0), scale=0.7, positions=TOKENS)
    assert compare(evaluate(kernel(wrong, "positions"), K0=start), run).verdict == "disagrees"


def test_ready_made_transformers() -> None:
    pre = pre_ln(4, attention=Attention(1), value_variance=(1, 2), positions=TOKENS)
    assert [op.kind for op in pre.block(1).ops] == ["LayerNorm", "Attention", "Linear", "Linear"]
    assert [op.kind for op in pre.block(2).ops][:2] == ["LayerNorm", "Linear"]
    assert pre.block(1).ops[3] == Linear(2, 0)
    post = post_ln(4, attention=Attention(1), positions=TOKENS)
    assert post.block(3).ops[0] == Attention(1).placed((TOKENS,))
    kernels = evaluate(kernel(post, inputs="positions"), K0=given(3))["K"]
    np.testing.assert_allclose(np.diagonal(kernels[1:], axis1=1, axis2=2), 1, rtol=1e-12)
    # Rank collapse: tokens of one input align where their weights are uniform.
    flat = pre_ln(40, attention=Attention(0), positions=TOKENS, norm=LayerNorm())
    last = evaluate(kernel(flat, inputs="positions"), K0=np.eye(TOKENS))["K"][-1]
    assert 0.8 < last[0, 1] / last[0, 0] < 1


def test_stores_text_and_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    for setting in (*LIMITS, UNTIED, {"heads": 4, "causal": True}):
        placed = Attention(0.5, **setting).placed((4,))
        assert operation_of(placed.text, (0.5, 0.0)) == placed
    command = ["--branch", "Attention[causal](1); Linear(1, 0)", "--positions", "2"]
    assert main(["kernel", *command, "--K0", "1,0;0,1", "--rho", "1", "--depth", "1"]) == 0
    assert "Attention(K_11)" in capsys.readouterr().out
    net = ResNet(Branch(Attention(1), Linear(1, 0)), scale=1, depth=1, positions=2)
    text = to_latex(net, cite=False)
    assert r"\operatorname{softmax}_{s}\left( (W_{K} x_{t}) \cdot (W_{K} x_{s}) / d \right)" in text


@pytest.mark.parametrize(
    "setting",
    [
        {"logits": "1/sqrt(d)"},
        {"logits": "1/sqrt(d)", "softmax": False, "tied": True},
        {"logits": "1/sqrt(d)", "softmax": False, "heads": 8},
        {"tied": False, "softmax": False},
    ],
    ids=str,
)
def test_what_has_no_limit(setting: dict[str, Any]) -> None:
    net = ResNet(Branch(Attention(1, **setting), Linear(1, 0)), scale=1, depth=1, positions=2)
    with pytest.raises(UnsupportedError, match=r"the theory of Attention.*sample\(\) takes it"):
        kernel(net, inputs="positions")


@pytest.mark.parametrize(
    "setting",
    [
        {"logits": "d"},
        {"tied": 2},
        {"softmax": "no"},
        {"heads": 0},
        {"heads": 1.5},
        {"causal": None},
        {"heads": sp.oo},
        {"heads": True},
    ],
    ids=str,
)
def test_bad_descriptions(setting: dict[str, Any]) -> None:
    with pytest.raises(DescriptionError):
        Attention(1, **setting)


def test_what_it_refuses() -> None:
    with pytest.raises(DescriptionError, match="positions"):
        ResNet(Branch(Attention(1), Linear(1, 0)), scale=1, depth=1)
    with pytest.raises(DescriptionError):
        Attention(-1)
    net = ResNet(Branch(Attention(1), Linear(1, 0)), scale=1, depth=2, positions=2)
    for ask in (kernel, one_loop, optimal_scale, lambda n: kernel(n, 2)):
        with pytest.raises(UnsupportedError, match="couples the positions"):
            ask(net)
    with pytest.raises(UnsupportedError):
        ResNet(Branch(Linear(1, 0)), scale=1, depth=1, positions=2, post_norm=Attention(1))
    three = ResNet(Branch(Attention(1, heads=3), Linear(1, 0)), scale=1, depth=2, positions=2)
    with pytest.raises(DescriptionError, match="3 heads of 8 neurons"):
        sample(three, "kernel", width=8, draws=2, K0=np.eye(2))
    with pytest.raises(UnsupportedError, match="Attention"):
        sample(net, "ntk", width=8, draws=2, K0=np.eye(2))
