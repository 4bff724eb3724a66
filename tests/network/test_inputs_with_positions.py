"""Data with positions: tokens of texts, pixels of images, as arrays of their own shape."""

from __future__ import annotations

import numpy as np
import pytest
from uncompiled import evaluate

from resexpand import Activation, Branch, Conv, Linear, ResNet, kernel, sample
from resexpand.errors import HyperparameterError

TEXTS = np.random.default_rng(1).normal(size=(2, 3, 5))
IMAGES = np.random.default_rng(2).normal(size=(2, 2, 3, 4))


def network(positions: int | tuple[int, int]) -> ResNet:
    offsets = (-1, 0, 1) if isinstance(positions, int) else ((0, 0), (0, 1))
    branch = Branch(Activation("erf"), Conv(offsets, weight_variance=1.2, bias_variance=0.1))
    return ResNet(branch, scale=0.7, depth=2, positions=positions, read_in=Linear(0.9, 0.2))


@pytest.mark.parametrize(("data", "positions"), [(TEXTS, 3), (IMAGES, (2, 3))])
def test_every_position_is_a_column(data: np.ndarray, positions: int | tuple[int, int]) -> None:
    net = network(positions)
    rows = data.reshape(-1, data.shape[-1])
    start = 0.9 * rows @ rows.T / rows.shape[1] + 0.2
    own = evaluate(kernel(net, "positions"), inputs=data)["K"]
    np.testing.assert_allclose(own[0], start, rtol=1e-12)
    np.testing.assert_array_equal(own, evaluate(kernel(net, "positions"), inputs=rows)["K"])
    flat = data.reshape(2, -1, data.shape[-1])
    np.testing.assert_array_equal(own, evaluate(kernel(net, "positions"), inputs=flat)["K"])
    run = sample(net, "kernel", 32, 400, inputs=data, seed=1)["kernel"]
    assert run.mean.shape == own.shape
    assert np.abs((run.mean[0] - start) / run.stderr[0]).max() < 4.5
    assert np.abs((run.mean[0] - start.T[::-1]) / run.stderr[0]).max() > 4.5


def test_other_shapes_are_refused() -> None:
    with pytest.raises(HyperparameterError, match="D x 3 x d_in"):
        evaluate(kernel(network(3), "positions"), inputs=TEXTS.swapaxes(1, 2))
    with pytest.raises(HyperparameterError, match="D x 2 x 3 x d_in"):
        sample(network((2, 3)), "kernel", 16, 10, inputs=IMAGES.swapaxes(1, 2))
    plain = ResNet(Branch(Activation("erf"), Linear(1, 0)), scale=1, depth=1, read_in=Linear(1, 0))
    with pytest.raises(HyperparameterError, match="give D x d_in"):
        evaluate(kernel(plain, 2), inputs=TEXTS)
