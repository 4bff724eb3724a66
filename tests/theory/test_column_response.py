"""Responses and gradients of coupled columns: derivatives of kernels, closed forms, samples."""

from __future__ import annotations

import numpy as np
import pytest
from heavier import left_to_slow
from oracles import exchangeable

from resexpand import (
    Activation,
    Attention,
    BatchNorm,
    Branch,
    Conv,
    Dropout,
    GlobalAvgPool,
    LayerNorm,
    Linear,
    ResNet,
    evaluate,
    gradient_moments,
    kernel,
    response,
    sample,
    to_latex,
)
from resexpand.errors import HyperparameterError, KernelError, UnsupportedError
from resexpand.numbers.batch_changes import Batch, moved_moments
from resexpand.numbers.batch_moments import Psi, repetitions
from resexpand.theory.column_response import column_response

RELU, ERF = Activation("relu"), Activation("erf")
RNG = np.random.default_rng(5)
LINE = ResNet(Branch(LayerNorm(), RELU, Conv((-1, 0, 1), 2, 0.1)), scale=0.7, depth=2, positions=3)
TOKENS = ResNet(Branch(Attention(0.5), Linear(1, 0.1)), scale=0.7, depth=2, positions=3)
BATCH = ResNet(Branch(BatchNorm(), RELU, Linear(2, 0.1)), scale=0.8, depth=2)
EPS = ResNet(Branch(BatchNorm(0.3), RELU, Linear(2, 0.1)), scale=0.8, depth=2)


def scattered(size: int) -> np.ndarray:
    root = RNG.normal(size=(size, size + 3))
    return root @ root.T / (size + 3) + 0.1


def direction(size: int) -> np.ndarray:
    found = RNG.normal(size=(size, size))
    return found + found.T


@pytest.mark.parametrize(
    ("net", "start", "inputs"),
    [
        (LINE, scattered(6), "positions"),
        (TOKENS, scattered(6), "positions"),
        (BATCH, scattered(5), "batch"),
        (BATCH, exchangeable(5), "batch"),
        (EPS, scattered(5), "batch"),
        pytest.param(EPS, exchangeable(5), "batch", marks=pytest.mark.slow),
        (EPS, exchangeable(3), "batch"),
        pytest.param(EPS, exchangeable(2), "batch", marks=pytest.mark.slow),
    ],
    ids=["conv", "attention", "batch", "alike", "eps", "alike eps", "three", "two"],
)
def test_response_is_the_derivative_of_the_kernel(
    net: ResNet, start: np.ndarray, inputs: str
) -> None:
    theory, base = response(net, inputs=inputs), kernel(net, inputs=inputs)  # type: ignore[call-overload]
    chi = evaluate(theory, K0=start, outputs=["chi", "chi_0", "eta"])
    np.testing.assert_allclose(chi["chi"][:, 0], chi["chi_0"], rtol=1e-12)
    assert np.abs(chi["chi"][0, 1]).max() == 0
    step, change = 1e-5, direction(len(start))
    sides = [evaluate(base, K0=start + s * step * change)["K"] for s in (1, -1)]
    difference = (sides[0] - sides[1]) / (2 * step)
    moved = np.einsum("labcd,cd->lab", chi["chi_0"], change)
    np.testing.assert_allclose(moved, difference, atol=1e-7)
    along = evaluate(theory, K0=start, dK0=change)
    np.testing.assert_allclose(along["chi_0"], moved, atol=1e-12)
    np.testing.assert_allclose(
        along["eta"], np.einsum("abcd,cd->ab", chi["eta"], change), atol=1e-12
    )
    np.testing.assert_allclose(evaluate(base, K0=start, dK0=change)["dK"], moved, atol=1e-12)
    later = np.einsum("abcd,cdef->abef", chi["chi"][2, 1], chi["chi"][1, 0])
    np.testing.assert_allclose(later, chi["chi"][2, 0], atol=1e-12)  # chain rule


def test_one_offset_is_a_linear() -> None:
    start = exchangeable(2, 1.0, 0.3)
    conv = ResNet(Branch(RELU, Conv((0,), 2, 0.1)), scale=0.7, depth=2, positions=2)
    plain = ResNet(Branch(RELU, Linear(2, 0.1)), scale=0.7, depth=2)
    found = evaluate(response(conv, inputs="positions"), K0=start)
    pair = evaluate(response(plain, "covariance"), K0=start)
    # An entry and its mirror image move together.
    np.testing.assert_allclose(2 * found["chi_0"][:, 0, 1, 0, 1], pair["chi_0"], rtol=1e-12)
    own = evaluate(response(plain), K0=1.0)
    np.testing.assert_allclose(found["chi_0"][:, 0, 0, 0, 0], own["chi_0"], rtol=1e-12)
    np.testing.assert_allclose(found["eta"][0, 0, 0, 0], own["eta"], rtol=1e-12)
    tangent = evaluate(response(conv, "tangent", inputs="positions"), K0=start)
    expected = evaluate(response(plain, "tangent"), K0=1.0)
    np.testing.assert_allclose(tangent["chi_0"][:, 0, 0, 0, 0], expected["chi_0"], rtol=1e-12)
    gradient = evaluate(gradient_moments(conv), K0=start)["gradient"]
    one = evaluate(gradient_moments(plain), K0=1.0)["gradient"]
    np.testing.assert_allclose(gradient[:, 0, 0], one, rtol=1e-12)


def test_gradients_of_batches_by_two_routes_and_their_limits() -> None:
    start = exchangeable(6)
    closed = evaluate(gradient_moments(BATCH), K0=start)["gradient"]
    tensor = evaluate(column_response(BATCH, "gradient", "batch"), K0=start)["gradient"]
    np.testing.assert_allclose(tensor, closed, rtol=1e-13)
    for norm in (BatchNorm(1e-10), BatchNorm(0, ghost=6)):
        net = ResNet(Branch(norm, RELU, Linear(2, 0.1)), scale=0.8, depth=2)
        found = evaluate(gradient_moments(net), K0=start)["gradient"]
        np.testing.assert_allclose(found, closed, rtol=1e-7)
    ghosts = ResNet(Branch(BatchNorm(0, ghost=6), RELU, Linear(2, 0.1)), scale=0.8, depth=2)
    both = evaluate(gradient_moments(ghosts), K0=exchangeable(12))["gradient"]
    np.testing.assert_allclose(both[:, :6, :6], closed, rtol=1e-12)
    # Centring lets nothing through that batches have in common: between them stands the skip.
    np.testing.assert_allclose(both[:, 0, 7], both[-1, 0, 7], rtol=1e-12)
    cycle = ResNet(
        [BATCH.branch, Branch(*BATCH.branch.ops, Linear(1, 0))], scale=[0.8, 0.8], depth=2
    )
    found = evaluate(gradient_moments(cycle), K0=start)["gradient"]
    np.testing.assert_allclose(found, closed, rtol=1e-12)
    # B <= 3 has a mean with eps alone.
    assert np.isfinite(evaluate(gradient_moments(EPS), K0=exchangeable(2))["gradient"]).all()
    with pytest.raises(UnsupportedError, match="more than 3"):
        evaluate(gradient_moments(BATCH), K0=exchangeable(3))


# Small batches without eps have no variance for a lattice to tell its error by.
LATTICES = [
    *((*case, "relu") for case in ((7, 7, 0.0, False), (7, 7, 0.3, False), (8, 4, 0.3, True))),
    *((*case, "erf") for case in ((7, 7, 0.0, True), (8, 4, 0.3, False))),
]
MORE = [
    *((*case, "relu") for case in ((7, 7, 0.0, True), (7, 7, 0.3, True), (8, 4, 0.3, False))),
    *((7, 7, eps, tangent, "erf") for eps, tangent in ((0.0, False), (0.3, False), (0.3, True))),
    (8, 4, 0.3, True, "erf"),
]


@pytest.mark.parametrize(
    ("count", "size", "eps", "tangent", "law"), left_to_slow([*LATTICES, *MORE], MORE)
)
def test_sphere_against_lattice(count: int, size: int, eps: float, tangent: bool, law: str) -> None:
    psi, start = Psi(Activation(law)), exchangeable(count, 1.7, 0.4)
    changes = np.array([direction(count) for _ in range(2)])[:, None]
    batch = Batch(eps, size, 3, count, tangent)
    exact = moved_moments(psi, start[None], changes, batch)[:, 0]
    repeated, _ = repetitions(start[None], 3)
    sampled = moved_moments(psi, repeated, changes, batch)
    if law == "relu" and count == size and not tangent:
        np.testing.assert_allclose(sampled[:, 0], exact, atol=1e-12)  # the integral over s
        return
    error = sampled.std(axis=1, ddof=1) / np.sqrt(sampled.shape[1])
    z = (sampled.mean(axis=1) - exact) / error
    assert np.sqrt((z**2).mean()) < 2  # eight repetitions: a t law of variance 1.4
    other = Batch(eps + 0.2, size, 3, count, tangent)
    wrong = moved_moments(psi, start[None], changes, other)[:, 0]
    control = (sampled.mean(axis=1) - wrong) / error
    assert np.sqrt((control**2).mean()) > 5


@pytest.mark.parametrize(
    ("net", "count"),
    [
        pytest.param(LINE, 3, marks=pytest.mark.slow),
        (TOKENS, 3),
        (EPS, 4),
        (ResNet(Branch(BatchNorm(0.2, ghost=3), ERF, Linear(2, 0)), scale=0.6, depth=2), 6),
        (
            ResNet(
                Branch(RELU, Dropout(0.7), Conv((0, 1), 2, 0.1, circular=False)),
                scale=0.6,
                depth=2,
                positions=3,
                read_out=[RELU, GlobalAvgPool(), Linear(1, 0)],
            ),
            3,
        ),
    ],
    ids=["conv", "attention", "batch", "ghosts", "masks and pooling"],
)
def test_gradients_against_samples(net: ResNet, count: int) -> None:
    start = exchangeable(count, 1.0, 0.4)
    expected = evaluate(gradient_moments(net), K0=start)["gradient"]
    found = sample(net, "gradient", width=200, draws=600, K0=start, seed=11)["gradient"]
    z = (found.mean - expected) / found.stderr
    assert np.abs(z).max() < 4
    control = (found.mean - expected[::-1]) / found.stderr
    assert np.abs(control).max() > 6


def test_masks_beside_statistics_of_finite_batches() -> None:
    """One block at infinite width, its averages drawn from the Gaussians directly."""

    def network(*keep: float) -> ResNet:
        first, second = map(Dropout, keep)
        norm = BatchNorm(0.1, ghost=4, mode="running")
        ops = (norm, first, ERF, Linear(2, 0), RELU, second, Linear(1, 0))
        return ResNet(Branch(*ops), scale=1, depth=1, skip=0)

    start, draws = scattered(6), 200_000
    u = RNG.multivariate_normal(np.zeros(6), start, draws)
    mean, variance = u[:, :4].mean(1, keepdims=True), u[:, :4].var(1, keepdims=True)
    trained = (u[:, :4] - mean) / np.sqrt(variance + 0.1)
    trained *= (RNG.random((draws, 4)) < 0.6) / 0.6
    test = (u[:, 4:] - mean) / np.sqrt(variance * 4 / 3 + 0.1)
    y = Psi(ERF)(np.hstack([trained, test]))
    g = RNG.multivariate_normal(np.zeros(6), 2 * y.T @ y / draws, draws)
    out = np.maximum(g, 0)
    out[:, :4] *= (RNG.random((draws, 4)) < 0.7) / 0.7
    products = out[:, :, None] * out[:, None, :]
    error = products.std(0) / np.sqrt(draws)
    found, others = (
        evaluate(kernel(network(*keep), "batch"), K0=start)["K"][1] for keep in ((0.6, 0.7), (1, 1))
    )
    # The first average was drawn, too: its error is about as large again.
    assert np.abs((products.mean(0) - found) / error).max() < 6
    assert np.abs((products.mean(0) - others) / error).max() > 30


def test_evaluation_meets_many_batches() -> None:
    start = exchangeable(8)

    def network(eps: float, **given: object) -> ResNet:
        norm = BatchNorm(eps, mode="running", **given)
        return ResNet(Branch(norm, RELU, Dropout(0.8), Linear(2, 0.1)), scale=1, depth=2)

    exact = evaluate(kernel(network(0), "batch"), K0=start)["K"]
    near = evaluate(kernel(network(1e-12), "batch"), K0=start)["K"]
    np.testing.assert_allclose(near, exact, atol=1e-10)
    smooth = ResNet(Branch(BatchNorm(0.2, mode="running"), ERF, Linear(2, 0)), scale=1, depth=2)
    limit = evaluate(kernel(smooth, "batch"), K0=start)["K"][:, :2, :2]
    few = BatchNorm(0.2, ghost=8, mode="running")
    finite = ResNet(Branch(few, ERF, Linear(2, 0)), scale=1, depth=2)
    apart = []
    for batches in (1, 2):
        values = evaluate(kernel(finite, "batch"), K0=exchangeable(8 * batches + 2))["K"]
        apart.append(np.abs(values[1:, -2:, -2:] - limit[1:]).max())
    assert apart[0] / apart[1] == pytest.approx(2, rel=0.1)  # as the inverse number of batches
    # A test input is an affine function of its own: the response is that of one input.
    chi = evaluate(response(smooth, "tangent", inputs="batch"), K0=start)["chi_0"]
    slope = chi[1, 0, 0, 0, 0] - 1
    z, weights = np.polynomial.hermite_e.hermegauss(60)
    q = 1 / (1 + 0.2)
    expected = 2 * weights @ (4 / np.pi * np.exp(-2 * q * z**2)) / weights.sum() / 1.2
    assert slope == pytest.approx(expected, rel=1e-10)
    gradient = evaluate(gradient_moments(smooth), K0=start)["gradient"]
    assert gradient[1, 0, 0] / gradient[0, 0, 0] != pytest.approx(1, rel=0.1)


def test_latex_is_that_of_the_kernel() -> None:
    for net, inputs in ((LINE, "positions"), (BATCH, "batch")):
        theory = response(net, inputs=inputs)  # type: ignore[call-overload]
        assert "\\begin{equation}" in to_latex(theory.base)
        with pytest.raises(UnsupportedError, match=r"use to_latex\(result\.base\)"):
            to_latex(theory)


def test_what_is_refused() -> None:
    plain = ResNet(Branch(RELU, Linear(2, 0)), scale=1, depth=1)
    with pytest.raises(HyperparameterError, match="pairs of inputs suffice"):
        response(plain, inputs="pairs")  # type: ignore[call-overload]
    with pytest.raises(UnsupportedError, match="without positions"):
        response(plain, inputs="positions")
    with pytest.raises(UnsupportedError, match="couples"):
        response(LINE)
    with pytest.raises(HyperparameterError, match="dK0"):
        evaluate(response(LINE, inputs="positions"), K0=np.eye(3), dK0=np.eye(2))
    with pytest.raises(HyperparameterError, match="start at the outputs"):
        evaluate(gradient_moments(LINE), K0=np.eye(3), dK0=np.eye(3))
    with pytest.raises(UnsupportedError, match="cuda"):
        evaluate(response(LINE, inputs="positions"), K0=np.eye(3), target="cuda")
    root = RNG.normal(size=(5, 3))
    with pytest.raises(KernelError, match="linearly dependent"):
        evaluate(response(BATCH, inputs="batch"), K0=root @ root.T)
    for norm, start in ((BatchNorm(), scattered(4)), (BatchNorm(0, ghost=2), scattered(4))):
        net = ResNet(Branch(norm, ERF, Linear(2, 0)), scale=1, depth=1)
        with pytest.raises(UnsupportedError, match="independent"):
            evaluate(response(net, "tangent", inputs="batch"), K0=start)
    jumps = ResNet(Branch(BatchNorm(0.1), Activation("sign"), Linear(2, 0)), scale=1, depth=1)
    with pytest.raises(UnsupportedError, match="jumps"):
        evaluate(gradient_moments(jumps), K0=exchangeable(4))
