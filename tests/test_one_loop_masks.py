"""The order 1/N of networks with masks: exact networks, networks without, samples, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from resexpand import (
    Activation,
    Branch,
    Dropout,
    LayerNorm,
    Linear,
    ResNet,
    SharedDropout,
    StochasticDepth,
    evaluate,
    finite_response,
    one_loop,
    sample,
)
from resexpand.errors import UnsupportedError

PAIR = np.array([[0.7, 0.2], [0.2, 1.1]])
RELU, OUT = Activation("relu"), Linear(1.2, 0.07)
KEEP, W = 0.7, 1.2
LIMIT = 4.5
"""Largest z-score of a few dozen entries."""


def numbers(*ops: Any, K0: Any = 0.7, **more: Any) -> Any:
    net = ResNet(Branch(*ops), scale=0.7, depth=3, **more)
    values = evaluate(one_loop(net, inputs=1 if np.ndim(K0) == 0 else len(K0)), K0=K0)
    assert values.status == "ok"
    return values


def test_the_first_block_is_exact() -> None:
    """N Var C^1 = w^2 (<f^2>/p^3 - <f>^2/p^2) with f = relu^2, at every width."""
    K = 0.7
    values = numbers(RELU, Dropout(KEEP), OUT, K0=K)
    exact = W**2 * (1.5 * K**2 / KEEP**3 - (K / 2) ** 2 / KEEP**2)
    assert values["C_cov"][0, 0] == pytest.approx(exact, rel=1e-12)
    assert values["C_mean"][0] == pytest.approx(0, abs=1e-13)
    same_kernel = numbers(RELU, Linear(W / KEEP, 0.07), K0=K)
    np.testing.assert_allclose(values["K"], same_kernel["K"], rtol=1e-13)
    assert same_kernel["C_cov"][0, 0] < 0.8 * exact


@pytest.mark.parametrize("mask", [Dropout, SharedDropout])
def test_pairs_of_the_first_block(mask: type[Dropout]) -> None:
    """Masks of four linear features: one, or of each input its own."""
    values = numbers(Activation("identity"), mask(KEEP), Linear(W, 0), K0=PAIR)
    a, b, c = PAIR[0, 0], PAIR[0, 1], PAIR[1, 1]
    shared = mask is SharedDropout
    both = KEEP ** (-3 if shared else -2), KEEP ** (-2 if shared else 0)
    exact = W**2 * (both[0] * (a * c + 2 * b**2) - both[1] * b**2)
    assert values["C_cov"][0, 0, 1, 0, 0, 1] == pytest.approx(exact, rel=1e-12)
    # The mean of a linear network is that of infinite width at every width.
    np.testing.assert_allclose(values["K_mean"], 0, atol=1e-13)


def test_masks_that_keep_all_are_none() -> None:
    ops = (LayerNorm(0.2), RELU)
    kept, plain = (numbers(*ops, *mask, OUT, K0=0.7) for mask in ((Dropout(1),), ()))
    for name in ("C_mean", "C_cov", "G_cov", "K_mean"):
        np.testing.assert_allclose(kept[name], plain[name], rtol=1e-12, atol=1e-14)


def test_equal_inputs_have_masks_of_their_own() -> None:
    equal = np.full((2, 2), 0.7)
    own, one = (
        numbers(Activation("erf"), mask(KEEP), OUT, K0=equal)["C_cov"]
        for mask in (Dropout, SharedDropout)
    )
    np.testing.assert_allclose(one[:, 0, 1, :, 0, 1], one[:, 0, 0, :, 0, 0], rtol=1e-12)
    assert own[1, 0, 1, 1, 0, 1] < 0.8 * own[1, 0, 0, 1, 0, 0]


SAMPLED: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "pre-LN": ((LayerNorm(0.2), RELU, Dropout(KEEP), OUT), {}),
    "own": ((RELU, Dropout(KEEP), OUT), {}),
    "shared": ((RELU, SharedDropout(KEEP), OUT), {}),
    "inner": ((Linear(1, 0.1), Activation("erf"), Dropout(KEEP), OUT), {}),
    "post-LN": ((RELU, Dropout(KEEP), OUT), {"post_norm": LayerNorm()}),
}


@pytest.mark.parametrize(
    "name", [n if n == "pre-LN" else pytest.param(n, marks=pytest.mark.slow) for n in SAMPLED]
)
def test_pairs_against_samples(name: str) -> None:
    ops, more = SAMPLED[name]
    net = ResNet(Branch(*ops), scale=0.7, depth=3, **more)
    values, draws = numbers(*ops, K0=PAIR, **more), 40_000
    small, large = (
        sample(net, "layer_covariance", width, draws, K0=PAIR, seed=width)["layer_covariance"]
        for width in (50, 100)
    )
    each = np.arange(4)[:, None, None], *np.indices((2, 2))
    shift = 200 * (large.mean - values["C"]) - 50 * (small.mean - values["C"])
    error = np.hypot(200 * large.stderr, 50 * small.stderr)
    spread = 200 * large.variance - 50 * small.variance
    uncertain = np.hypot(200 * large.variance, 50 * small.variance) * np.sqrt(4 / draws)
    assert np.abs((shift - values["C_mean"]) / error).max() < LIMIT
    assert np.abs((spread - values["C_cov"][(*each, *each)]) / uncertain).max() < LIMIT
    # Weights that are larger instead have the same diagonal kernels, and fluctuate less.
    bare = [op for op in ops if not isinstance(op, Dropout)]
    wrong = numbers(*bare[:-1], Linear(W / KEEP, 0.07), K0=PAIR, **more)["C_cov"]
    assert np.abs((spread - wrong[(*each, *each)]) / uncertain).max() > 3 * LIMIT


REFUSED = {
    "in front of the activation": (Branch(Dropout(KEEP), Activation("erf"), OUT), "noise"),
    "coins": (Branch(Activation("erf"), OUT, StochasticDepth(0.8)), "noise"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known(name: str) -> None:
    branch, message = REFUSED[name]
    with pytest.raises(UnsupportedError, match=message):
        one_loop(ResNet(branch, scale=1, depth=2))


def test_what_asks_for_more() -> None:
    net = ResNet(Branch(RELU, Dropout(KEEP), OUT), scale=1, depth=2)
    with pytest.raises(UnsupportedError, match="fourth cumulants"):
        evaluate(one_loop(net), K0=1.0, weight_kurtosis=1.8)
    with pytest.raises(UnsupportedError, match="noise"):
        finite_response(net)
    with pytest.raises(UnsupportedError, match="evaluate"):
        _ = one_loop(net).formulas
