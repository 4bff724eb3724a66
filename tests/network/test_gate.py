"""`Gate`: kernels in closed form and to 50 digits, sampled networks, and the errors."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from uncompiled import evaluate

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    Conv,
    Gate,
    Linear,
    ResNet,
    RMSNorm,
    Smooth,
    gradient_moments,
    kernel,
    response,
    sample,
    to_latex,
)
from resexpand.errors import ResexpandError, UnsupportedError
from resexpand.network.registry import operation_of
from resexpand.workflows.operations import ASKED, operations

PAIR = np.array([[1.0, 0.3], [0.3, 2.0]])


def gated(function: str = "silu", *front: object, depth: int = 1, gain: float = 1) -> ResNet:
    """Return a network of gated branches."""
    branch = Branch(*front, Linear(2, 0), Gate(function, gain=gain), Linear(1, 0))  # type: ignore[arg-type]
    return ResNet(branch, scale=1, depth=depth)


def test_a_bilinear_gate_squares_the_covariance() -> None:
    found = evaluate(kernel(gated("identity", gain=0.5), 2), K0=PAIR)["K"][1]
    # <x x'> = C and the copy has it once more: gain^2 C^2 entry by entry, with C = 2 K.
    assert np.allclose(found, PAIR + 0.25 * (2 * PAIR) ** 2, rtol=1e-14)


def test_silu_to_fifty_digits() -> None:
    mpmath.mp.dps = 50
    density = lambda x: mpmath.exp(-(x**2) / 4) / mpmath.sqrt(4 * mpmath.pi)  # noqa: E731
    square = lambda x: (x / (1 + mpmath.exp(-x))) ** 2 * density(x)  # noqa: E731
    average = mpmath.quad(square, [-mpmath.inf, -4, 0, 4, mpmath.inf])
    found = evaluate(kernel(gated("silu", RMSNorm())), K0=1.0)["K"][1]
    assert abs(found - float(1 + 2 * average)) < 1e-14


def test_response_is_the_slope_of_the_kernel() -> None:
    net, step = gated("silu", depth=2), 1e-5
    ends = [evaluate(kernel(net), K0=1 + sign * step)["K"][-1] for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * step)
    assert evaluate(response(net), K0=1.0)["chi"][-1, 0] == pytest.approx(slope, rel=1e-8)


def test_the_response_of_a_batch_through_a_bilinear_gate() -> None:
    """The gate squares the entries W of what reaches it: their change is 2 W dW."""
    K, change = np.eye(8) + 0.2, np.diag([1.0, -0.4, *[0.1] * 6])
    plain = ResNet(Branch(BatchNorm(), Linear(2, 0)), scale=1, depth=1)
    behind = Branch(BatchNorm(), Linear(2, 0), Gate("identity"), Linear(1, 0))
    nets = (plain, ResNet(behind, scale=1, depth=1))
    linear, found = (evaluate(response(net, inputs="batch"), K0=K, dK0=change) for net in nets)
    reached = linear["K"][-1] - K
    assert np.allclose(found["K"][-1], K + reached**2, rtol=1e-12)
    want = change + 2 * reached * (linear["chi_0"][-1] - change)
    assert np.allclose(found["chi_0"][-1], want, rtol=1e-12)
    assert not np.allclose(want, linear["chi_0"][-1], rtol=1e-3)


def test_gradients_of_a_relu_gate_by_hand() -> None:
    # d(phi(x) x') = phi' x' dx + phi dx': both have the variance C / 2 times that of the tangent.
    net = ResNet(Branch(Linear(2, 0), Gate("relu"), Linear(1, 0)), scale=1, depth=1)
    # 2 <phi'^2> C + 2 <phi^2> = 2 (1/2) 2 + 2 (1) = 4 at K = 1, and the stream itself.
    assert evaluate(gradient_moments(net), K0=1.0)["gradient"][0] == pytest.approx(5.0)


@pytest.mark.parametrize("method", ["function-space", "dense"])
def test_sampled_networks(method: str) -> None:
    # Behind RMSNorm the mean of one block is exact at every width.
    net = gated("silu", RMSNorm(), gain=0.7)
    found = sample(
        net, ["kernel"], width=60, draws=4000, K0=PAIR, seed=1, method=method
    )["kernel"]  # fmt: skip
    added = found.mean[1] - found.mean[0]
    error = np.hypot(found.stderr[1], found.stderr[0])
    right = evaluate(kernel(net, 2), K0=PAIR)["K"]
    own = np.diag((added - (right[1] - right[0])) / error)
    assert np.abs(own).max() < 3
    # Control: the activation without its copy.
    ops = RMSNorm(), Linear(2, 0), Activation("0.7*x/(1 + exp(-x))"), Linear(1, 0)
    false = evaluate(kernel(ResNet(Branch(*ops), scale=1, depth=1), 2), K0=PAIR)["K"]
    assert np.abs(np.diag(added - (false[1] - false[0])) / error).min() > 10


def test_off_the_diagonal_samples_approach_theory() -> None:
    net = gated("relu", RMSNorm(), depth=2)
    right = evaluate(kernel(net, 2), K0=PAIR)["K"][2, 0, 1]
    found = [
        sample(net, ["kernel"], width=w, draws=20_000, K0=PAIR, seed=2)["kernel"] for w in (64, 128)
    ]
    means, errors = ([getattr(f, n)[2, 0, 1] for f in found] for n in ("mean", "stderr"))
    # Extrapolated to infinite width, of which the second order is small here.
    limit, error = 2 * means[1] - means[0], np.hypot(2 * errors[1], errors[0])
    assert abs(limit - right) < 3 * error


def test_two_kinds_of_blocks() -> None:
    plain = Branch(RMSNorm(), Linear(2, 0), Activation("relu"), Linear(1, 0))
    kinds = [plain, *gated("relu", RMSNorm()).kinds, *gated("identity", RMSNorm()).kinds]
    net = ResNet(kinds, scale=1, depth=3)
    # relu: 2 * 1/2, relu gate: 2 * 1, bilinear: 2 * 2.
    assert np.allclose(evaluate(kernel(net), K0=1.0)["K"], [1, 2, 4, 8])
    found = sample(net, ["kernel"], width=60, draws=3000, K0=1.0, seed=3)["kernel"]
    assert np.abs((found.mean - [1, 2, 4, 8]) / found.stderr).max() < 3


def test_it_is_written_and_read() -> None:
    for op in (Gate(), Gate("relu", gain=2), Gate("1/(1 + exp(-x))", gain=0.5)):
        assert operation_of(op.text, op.values) == op
    assert Gate("relu") != Gate("silu")
    net = gated("relu", RMSNorm())
    assert r"x'_i" in to_latex(net)
    assert r"\psi(x)" in to_latex(net)
    assert str(net.kinds[0].ops[2]) == 'Gate("relu")'


def test_dropout_is_left_out_and_the_gate_stays_in_evaluation() -> None:
    from resexpand import Dropout

    ops = RMSNorm(), Linear(2, 0), Gate("relu"), Dropout(0.5), Linear(1, 0)
    net = ResNet(Branch(*ops), scale=1, depth=2)
    assert np.allclose(evaluate(kernel(net), K0=1.0)["K"], [1, 5, 9])
    assert np.allclose(evaluate(kernel(net.evaluation()), K0=1.0)["K"], [1, 3, 5])


def test_every_theory_takes_it_or_says_so() -> None:
    table = operations(["Gate"])
    taken = [question for question in ASKED if table.takes("Gate", question)]
    assert taken == [
        *("kernel", "kernel of pairs", "kernel over positions", "kernel of a batch"),
        *("kernel of masks", "variance response", "covariance response", "tangent response"),
        *("response over positions", "response of a batch", "gradient moments"),
        *("sampled kernel", "sampled kernel, dense"),
    ]


@pytest.mark.parametrize(
    ("ops", "options"),
    [
        ((Gate(), Linear(1, 0)), {}),
        ((Linear(1, 0), Gate()), {}),
        ((Linear(1, 0), RMSNorm(), Gate(), Linear(1, 0)), {}),
        ((Conv((-1, 0, 1), 1, 0), Gate(), Linear(1, 0)), {"positions": 4}),
        ((Linear(1, 0), Gate(), Linear(1, 0)), {"layers": Smooth("rbf", 0.1)}),
    ],
)
def test_places_without_a_theory(ops: tuple[object, ...], options: dict[str, object]) -> None:
    with pytest.raises(UnsupportedError, match="copy"):
        ResNet(Branch(*ops), scale=1, depth=2, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("names", [["gradient"], ["order_profile(2)"], ["tangent_kernel"]])
def test_columns_that_cannot_follow(names: list[str]) -> None:
    with pytest.raises(ResexpandError):
        sample(gated("relu"), names, width=8, draws=2, K0=1.0, seed=0)
