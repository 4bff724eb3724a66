"""Networks with running statistics: m training batches, and inputs of an evaluation behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    Dropout,
    Linear,
    ResNet,
    compare,
    evaluate,
    kernel,
    sample,
)
from resexpand.agreement.comparison import two_sample
from resexpand.errors import UnsupportedError
from resexpand.network.operation import Operation

SIZE, BATCHES, TESTS = 3, 2, 2
COUNT = SIZE * BATCHES + TESTS
ROWS = np.random.default_rng(1).normal(size=(COUNT, 9))
K0 = ROWS @ ROWS.T / 9
EPS, W, B, RHO = 0.1, 1.5, 0.1, 0.9


def network(*between: Operation, phi: str = "relu", eps: float = EPS, **norm: Any) -> ResNet:
    branch = Branch(BatchNorm(eps, **norm), Activation(phi), *between, Linear(W, B))
    return ResNet(branch, scale=RHO, depth=2)


def by_hand(x: np.ndarray, *, unbiased: bool) -> np.ndarray:
    """Normalise rows of neurons as PyTorch does: in training, and then in evaluation."""
    groups = x[:, : SIZE * BATCHES].reshape(len(x), BATCHES, SIZE)
    mean, variance = groups.mean(axis=2), groups.var(axis=2)
    trained = (groups - mean[..., None]) / np.sqrt(variance + EPS)[..., None]
    running = groups.var(axis=2, ddof=int(unbiased)).mean(axis=1, keepdims=True)
    left = x[:, SIZE * BATCHES :] - mean.mean(axis=1, keepdims=True)
    return np.hstack([trained.reshape(len(x), -1), left / np.sqrt(running + EPS)])


def test_one_block_by_hand() -> None:
    """The lattice rule against plain Monte Carlo over many neurons."""
    net = network(ghost=SIZE).evaluation()
    values = evaluate(kernel(net, "batch"), K0=K0)
    assert values.status == "ok"
    x = np.random.default_rng(2).normal(size=(400_000, COUNT)) @ np.linalg.cholesky(K0).T

    def score(*, unbiased: bool) -> float:
        y = np.maximum(by_hand(x, unbiased=unbiased), 0)
        found = y.T @ y / len(y)
        error = np.sqrt(((y**2).T @ (y**2) / len(y) - found**2) / len(y))
        expected = (values["C"][0] - B) / W
        return float(np.abs((found - expected) / np.hypot(error, 2e-4)).max())

    assert score(unbiased=True) < 4.5
    assert score(unbiased=False) > 10


def test_samples_agree_with_each_other_and_the_theory() -> None:
    net = network(ghost=SIZE).evaluation()
    values = evaluate(kernel(net, "batch"), K0=K0, outputs="K")
    narrow, wide = (sample(net, "kernel", n, 6000, K0=K0, seed=n) for n in (32, 64))
    dense = sample(net, "kernel", 32, 6000, K0=K0, seed=5, method="dense")
    assert two_sample(narrow, dense, resolve=0.2).verdict == "agrees"
    assert compare(values, [narrow, wide], resolve=0.2).verdict == "agrees"
    # Inputs of the evaluation that were a batch of their own would be another network.
    own = network(ghost=2)
    other = sample(own, "kernel", 32, 6000, K0=K0, seed=6)
    assert two_sample(narrow, other, resolve=0.2).verdict == "disagrees"


def test_training_columns_are_those_of_training() -> None:
    """The training part knows nothing of the evaluation; with its weights it is the same run."""
    trained = K0[: SIZE * BATCHES, : SIZE * BATCHES]
    alone = evaluate(kernel(network(ghost=SIZE), "batch"), K0=trained, outputs="K")["K"]
    both = evaluate(kernel(network(ghost=SIZE).evaluation(), "batch"), K0=K0, outputs="K")["K"]
    part = both[:, : SIZE * BATCHES, : SIZE * BATCHES]
    np.testing.assert_allclose(part, alone, atol=2e-3)
    assert np.abs(both[2, -1, -1] - alone[2, 0, 0]) > 0.05


def test_many_batches_are_the_limit() -> None:
    """Of exchangeable inputs the length is chi-squared: E x^2 = (1 + 1/(m B)) n/(n - 2)."""
    size = SIZE + 1
    many = evaluate(kernel(network(eps=0, mode="running"), "batch"), K0=exchangeable(size))["K"]
    for batches in (3, 6):
        net = network(eps=0, ghost=size, mode="running")
        start = exchangeable(size * batches + 1)
        values = evaluate(kernel(net, "batch"), K0=start, outputs="K")
        freedom = batches * (size - 1)
        square = (1 + 1 / (batches * size)) * freedom / (freedom - 2)
        added = values["K"][1, -1, -1] - 1
        assert added == pytest.approx(RHO**2 * (W * square / 2 + B), rel=5e-3)
        assert added > 1.05 * (many[1, 0, 0] - 1)
    assert many[1, 0, 0] - 1 == pytest.approx(RHO**2 * (W / 2 + B), rel=1e-12)


def exchangeable(count: int) -> np.ndarray:
    return 0.5 * np.eye(count) + 0.5


def test_evaluation_keeps_what_training_meets() -> None:
    net = network(Dropout(0.7))
    assert net.evaluation() == network(Dropout(0.7), mode="running")
    assert net.evaluation().evaluation() == net.evaluation()


REFUSED = {
    "nobody left": ({"ghost": SIZE}, "kernel", K0[:6, :6], "no input is left"),
    "no ghost": ({}, "kernel", K0, "no input is left"),
    "derivatives": ({"ghost": SIZE}, "gradient", K0, "constants of an evaluation"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    norm, asked, start, message = REFUSED[name]
    with pytest.raises(UnsupportedError, match=message):
        sample(network(**norm).evaluation(), asked, 16, 10, K0=start)


def test_masks_beside_running_statistics() -> None:
    net = network(Dropout(0.7), ghost=SIZE).evaluation()
    with pytest.raises(UnsupportedError, match="meet no noise"):
        sample(net, "kernel", 16, 10, K0=K0)
    with pytest.raises(UnsupportedError, match="m batches"):
        evaluate(kernel(network().evaluation(), "batch"), K0=K0)
