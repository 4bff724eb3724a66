"""Several inputs of networks with correlated layers, and their tangent kernel."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from resexpand import (
    Activation,
    Branch,
    FractionalBrownian,
    LayerMatrix,
    Linear,
    Markov,
    ResNet,
    compile_routine,
    evaluate,
    kernel,
    predict,
    sample,
    tangent_kernel,
    to_latex,
)
from resexpand.errors import HostMemoryError, HyperparameterError, UnsupportedError

K0 = np.array([[1.0, 0.4, -0.2], [0.4, 0.8, 0.1], [-0.2, 0.1, 1.3]])
PAIR = K0[:2, :2]
RES1 = Branch(Activation("relu"), Linear(2, 0.1))
RES3 = Branch(Linear(1.2, 0.05), Activation("erf"), Linear(2, 0.1))
SCALES = [0.3, 0.5, 0.2, 0.4]
READ_OUT = (Activation("erf"), Linear(1.3, 0.2))


def network(branch=RES1, layers=None, read_out=None) -> ResNet:
    return ResNet(branch, scale=SCALES, depth=4, layers=layers, read_out=read_out)


@pytest.mark.parametrize(
    ("branch", "read_out"),
    [
        (RES3, READ_OUT),
        pytest.param(RES1, READ_OUT, marks=pytest.mark.slow),
        pytest.param(RES1, None, marks=pytest.mark.slow),
        pytest.param(RES3, None, marks=pytest.mark.slow),
    ],
    ids=["res-3-read-out", "res-1-read-out", "res-1-none", "res-3-none"],
)
def test_independent_layers_are_the_known_theory(branch: Branch, read_out) -> None:
    free = network(branch, None, read_out)
    zero = network(branch, Markov(0), read_out)
    known, found = (evaluate(kernel(net, inputs=2), K0=K0) for net in (free, zero))
    for name in ("K", "C"):
        np.testing.assert_allclose(found[name], known[name], rtol=1e-13)
    assert found["K_layers"].shape == (5, 5, 3, 3)
    known, found = (evaluate(tangent_kernel(net, inputs=2), K0=K0) for net in (free, zero))
    for name in ("NTK", "NNGP", "K"):
        np.testing.assert_allclose(found[name], known[name], rtol=1e-13)
    single = [evaluate(tangent_kernel(net), K0=0.7)["NTK"] for net in (free, zero)]
    assert single[0] == pytest.approx(single[1], rel=1e-13)


def test_equal_inputs_are_one_input() -> None:
    law = FractionalBrownian(0.8, "published")
    for branch in (RES1, RES3):
        one = evaluate(kernel(network(branch, law)), K0=0.7)
        both = evaluate(kernel(network(branch, law), inputs=2), K0=np.full((2, 2), 0.7))
        for name in ("K", "K_layers", "C"):
            np.testing.assert_allclose(both[name][..., 0, 0], one[name], rtol=1e-12)
            # Near equal inputs relu and arcsine lose half of their digits.
            np.testing.assert_allclose(both[name][..., 0, 1], one[name], rtol=1e-7)


def test_against_the_double_sum() -> None:
    """The definition, written out for linear blocks, whose kernel is bilinear."""
    c = np.diag([1.0, 2, 0.5, 1]) + 0.3
    net = network(Branch(Linear(1.5, 0.2)), LayerMatrix(c))
    found = evaluate(kernel(net, inputs=2), K0=PAIR)["K_layers"]
    expected = np.empty_like(found)
    for l in range(5):  # noqa: E741
        for m in range(5):
            total = PAIR.copy()
            for a in range(1, l + 1):
                for b in range(1, m + 1):
                    grown = 1.5 * expected[a - 1, b - 1] + 0.2
                    total = total + SCALES[a - 1] * SCALES[b - 1] * c[a - 1, b - 1] * grown
            expected[l, m] = total
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_the_tangent_kernel_of_linear_blocks() -> None:
    """NTK of ``h_L = (1 + rho_L W_L) ... h_0``: derivatives along every block, by differences."""
    net = network(Branch(Linear(1.5, 0)), Markov(0.6))
    found = evaluate(tangent_kernel(net), K0=0.7)["NTK"]
    c, rho = Markov(0.6).covariance(4), np.array(SCALES)
    # P of one layer: paths over the blocks above, weights shared along c.
    back = np.ones((5, 5))
    for l in range(3, -1, -1):  # noqa: E741
        for m in range(3, -1, -1):
            back[l, m] = 1 + sum(
                rho[a] * rho[b] * 1.5 * c[a, b] * back[a + 1, b + 1]
                for a in range(l, 4)
                for b in range(m, 4)
            )
        for m in range(3, -1, -1):
            back[m, l] = back[l, m]
    K = evaluate(kernel(net), K0=0.7)["K"]
    blocks = sum(rho[k] ** 2 * back[k + 1, k + 1] * 1.5 * K[k] for k in range(4))
    # The read-out of unit weights adds the kernel of the last layer.
    free = evaluate(tangent_kernel(network(Branch(Linear(1.5, 0)))), K0=0.7)["NTK"]
    assert found == pytest.approx(back[0, 0] * 0.7 + blocks + K[-1], rel=1e-12)
    assert abs(found / free - 1) > 0.05


@pytest.mark.parametrize(
    "branch",
    [pytest.param(RES1, id="res-1"), pytest.param(RES3, id="res-3", marks=pytest.mark.slow)],
)
def test_wide_networks(branch: Branch) -> None:
    net = network(branch, Markov(0.95), READ_OUT)
    theory = {
        "ntk": evaluate(tangent_kernel(net, inputs=2), K0=PAIR)["NTK"],
        "kernel": evaluate(kernel(net, inputs=2), K0=PAIR)["K"],
    }
    free = evaluate(tangent_kernel(network(branch, None, READ_OUT), inputs=2), K0=PAIR)["NTK"]
    runs = [sample(net, list(theory), n, 1200, K0=PAIR, seed=n) for n in (40, 80)]
    for name, expected in theory.items():
        narrow, wide = runs[0][name], runs[1][name]
        error = np.hypot(2 * wide.stderr, narrow.stderr)
        z = (2 * wide.mean - narrow.mean - expected) / error
        assert np.abs(z).max() < 3.5, name
        if name == "ntk":
            assert np.abs((2 * wide.mean - narrow.mean - free) / error).max() > 5


def test_two_sets_of_inputs_and_predictions() -> None:
    """Blocks of the kernel of all inputs; sets of equal size are no square kernel."""
    net = ResNet(
        RES1, scale=0.3, depth=3, layers=Markov(0.5), read_in=Linear(1, 0.1), read_out=Linear(1, 0)
    )
    rng = np.random.default_rng(0)
    first, second, y = rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), np.array([1.0, 0.5, -1])
    for theory, name in ((kernel(net, inputs=2), "K"), (tangent_kernel(net, inputs=2), "NTK")):
        whole = evaluate(theory, inputs=np.vstack([first, second]))[name]
        part = evaluate(theory, inputs=first, others=second)[name]
        np.testing.assert_allclose(part, whole[..., :3, 3:], rtol=1e-13)
    found = predict(net, first, y, second, kind="ntk").mean
    np.testing.assert_allclose(found, whole[3:, :3] @ np.linalg.solve(whole[:3, :3], y), rtol=1e-10)
    with pytest.raises(HyperparameterError):
        evaluate(kernel(net, inputs=2), inputs=first, others=second[:, :2])


def test_grids_memory_and_latex() -> None:
    r = sp.Symbol("r", real=True)
    net = network(RES1, Markov(r))
    found = evaluate(kernel(net, inputs=2), K0=PAIR, r=[0.2, 0.7])
    assert found["K"].shape == (2, 5, 2, 2)
    one = evaluate(kernel(net, inputs=2), K0=PAIR, r=0.7)
    np.testing.assert_array_equal(found["K"][1], one["K"])
    assert "P^{l,m}" in to_latex(tangent_kernel(net))
    deep = ResNet(RES1, scale=0.01, depth=1_000_000, layers=Markov(0.5))
    with pytest.raises(HostMemoryError, match="at depth 1000000"):
        evaluate(kernel(deep, inputs=2), K0=PAIR)
    with pytest.raises(UnsupportedError):
        compile_routine(kernel(net, inputs=2))
