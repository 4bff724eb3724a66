"""The order 1/N of normalised branches: exact networks, brute force, samples.

Normalisations are taken from their expressions: one defined here gives what `RMSNorm` gives.
"""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from general_statement import Program, order_one_over_n
from heavier import left_to_slow
from scipy import special

from resexpand import (
    Activation,
    Branch,
    LayerNorm,
    Linear,
    ResNet,
    RMSNorm,
    Scale,
    evaluate,
    one_loop,
    to_latex,
)
from resexpand.errors import UnsupportedError
from resexpand.network.operation import Map, Parameter, X
from support.deviations import sample_deviations

EPS, SQUARE = sp.Symbol("eps", nonnegative=True), sp.Symbol("s", nonnegative=True)
PAIR = np.array([[0.7, 0.2], [0.2, 1.1]])
W, R, DEPTH = 1.9, 0.65**2, 3
NORMS = {"LayerNorm": LayerNorm, "RMSNorm": RMSNorm}
LIMIT = 4.5
"""Largest z-score; entries are at most a few dozen."""


class HandNorm(Map):
    """``x -> x / sqrt(mean x^2 + eps)``."""

    kind = "HandNorm"
    parameters = (Parameter(EPS, minimum=0),)
    averages = ((SQUARE, X**2),)
    expression = X / sp.sqrt(SQUARE + EPS)


def numbers(*ops, K0=1.0, depth: int = DEPTH, **given):
    net = ResNet(Branch(*ops), scale=0.65, depth=depth)
    values = evaluate(one_loop(net, inputs=1 if np.ndim(K0) == 0 else len(K0)), K0=K0, **given)
    assert values.status == "ok"
    return values


RELU = {
    "none": ((), 5 / 4),
    "RMSNorm": ((RMSNorm(),), 3 / 4),
    "LayerNorm": ((LayerNorm(),), 3 / 4 - 2 / np.pi),
}


@pytest.mark.parametrize("name", RELU)
def test_one_rectified_block(name: str) -> None:
    """N Var C^1 of relu, where the variance of the input is one."""
    norm, exact = RELU[name]
    values = numbers(*norm, Activation("relu"), Linear(W, 0))
    assert values["C_cov"][0, 0] == pytest.approx(W**2 * exact, rel=1e-13)
    assert values["C_mean"][0] == pytest.approx(0, abs=1e-13)
    others = [value for other, (_, value) in RELU.items() if other != name]
    assert not np.isclose(values["C_cov"][0, 0], W**2 * np.array(others), rtol=0.1).any()


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_normalised_linear_networks_add_constants(norm: type[Map]) -> None:
    """C = w + b at every width: rows of h^l are independent, Var G = 2 K^2 / N."""
    values = numbers(norm(), Linear(W, 0.3), K0=0.7)
    earlier = np.minimum.outer(values["K"], values["K"])
    np.testing.assert_allclose(values["G_cov"], 2 * earlier**2, rtol=1e-13)
    np.testing.assert_allclose(values["C_cov"], 0, atol=1e-13)
    np.testing.assert_allclose(values["C_mean"], 0, atol=1e-13)
    # With eps the length of the stream is felt.
    assert np.abs(numbers(norm(0.5), Linear(W, 0.3), K0=0.7)["C_cov"]).max() > 0.1


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_a_length_that_is_given(norm: type[Map]) -> None:
    """[norm, W, relu, V]: W reads a vector of length sqrt(N), blocks draw independent C."""
    values = numbers(norm(), Linear(W, 0.2), Activation("relu"), Linear(1.3, 0.1), K0=0.7)
    own = 1.3**2 * 5 / 4 * (W + 0.2) ** 2
    expected = np.arange(DEPTH + 1) * R**2 * own + 2 * values["K"] ** 2
    np.testing.assert_allclose(np.diag(values["G_cov"]), expected, rtol=1e-13)
    np.testing.assert_allclose(values["K_mean"], 0, atol=1e-13)
    plain = numbers(Linear(W, 0.2), Activation("relu"), Linear(1.3, 0.1), K0=0.7)
    assert not np.allclose(np.diag(plain["G_cov"])[1:], expected[1:], rtol=0.1)


@pytest.mark.parametrize("name", left_to_slow(NORMS, ["RMSNorm"]))
def test_points_of_a_sphere(name: str) -> None:
    """[W, norm, phi, V]: z is uniform on the sphere; E f = <f> - V''(1)/N, Var C as N grows."""
    branch = (Linear(1.1, 0.2), NORMS[name](), Activation("relu"), Linear(W, 0))
    values = numbers(*branch, K0=0.7)
    exact = W**2 * RELU[name][1]
    np.testing.assert_allclose(values["C_cov"], exact * np.eye(DEPTH + 1), atol=1e-12)
    np.testing.assert_allclose(values["C_mean"], 0, atol=1e-12)
    smooth = numbers(*branch[:2], Activation("erf"), Linear(W, 0), K0=0.7)
    # V' = (4/pi) / ((1 + 2K) sqrt(1 + 4K)) of erf, V'' = -2 V' (1/(1 + 2K) + 1/(1 + 4K)).
    slope = 4 / np.pi / (3 * np.sqrt(5))
    curvature = -2 * slope * (1 / 3 + 1 / 5)
    np.testing.assert_allclose(smooth["C_mean"], -W * curvature, rtol=1e-9)


GELU = (Activation("gelu"), lambda x: x * special.ndtr(x))
ERF = (Activation("erf"), special.erf)
PLACES = {
    "pre": lambda norm, phi: [norm, phi, ("linear", 1.9, 0.07)],
    "pre, two linear": lambda norm, phi: [norm, ("linear", 1.1, 0.2), phi, ("linear", 1.9, 0.07)],
    "inner": lambda norm, phi: [("linear", 1.1, 0.2), norm, phi, ("linear", 1.9, 0.07)],
}
FEW = (("pre", "LayerNorm", GELU), ("inner", "LayerNorm", ERF), ("pre", "RMSNorm", ERF))
MORE = [(place, norm, phi) for place in PLACES for norm in NORMS for phi in (GELU, ERF)]


def by_both(place: str, norm: str, phi) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the order 1/N of C by the package and by brute force."""
    ops = PLACES[place](("norm", 0.2, norm == "LayerNorm"), phi[1])
    found = order_one_over_n(Program(ops, 0.65, 2, 0.7))
    own = {("norm", 0.2, norm == "LayerNorm"): NORMS[norm](0.2), phi[1]: phi[0]}
    branch = [own[op] if op in own else Linear(*op[1:]) for op in ops]
    values = numbers(*branch, K0=0.7, depth=2)
    draws = sum(isinstance(op, Linear) for op in branch)
    last = np.flatnonzero(found["kinds"] == "C")[draws - 1 :: draws]
    brute = {
        "C_cov": found["covariance"][np.ix_(last, last)],
        "C_mean": found["mean"][last],
        "C_mean_conditioning": found["conditioning"][last],
    }
    return values, brute


@pytest.mark.parametrize(
    ("place", "norm", "phi"),
    [case if case in FEW else pytest.param(*case, marks=pytest.mark.slow) for case in MORE],
)
def test_the_general_statement(place: str, norm: str, phi) -> None:
    values, brute = by_both(place, norm, phi)
    np.testing.assert_allclose(values["C_cov"], brute["C_cov"], atol=1e-8)
    for name in ("C_mean", "C_mean_conditioning"):
        # Finite differences of second order.
        np.testing.assert_allclose(values[name], brute[name], atol=5e-5)
    missed = np.abs(values["C_mean"] - values["C_mean_conditioning"] - brute["C_mean"])
    assert missed.max() > 0.05


def test_the_mean_that_is_taken_out_counts() -> None:
    """At infinite width both normalisations are the same, at order 1/N they are not."""
    first, second = (
        numbers(norm(0.2), Activation("gelu"), Linear(1.9, 0.07), K0=0.7) for norm in NORMS.values()
    )
    np.testing.assert_allclose(first["K"], second["K"], rtol=1e-13)
    for name in ("C_cov", "C_mean"):
        assert np.abs(first[name] - second[name])[1:].max() > 0.05


def test_they_are_taken_from_their_expressions() -> None:
    mine, known = (
        numbers(norm(0.2), Activation("relu"), Linear(1.2, 0.1), K0=0.7)
        for norm in (HandNorm, RMSNorm)
    )
    for name in known:
        np.testing.assert_allclose(mine[name], known[name], rtol=1e-14)


def test_factors_are_variances() -> None:
    plain = numbers(Activation("relu"), Linear(1.2 * 0.25 * 0.81, 0.1 * 0.25), K0=0.7)
    scaled = numbers(Scale(0.9), Activation("relu"), Linear(1.2, 0.1), Scale(0.5), K0=0.7)
    for name in ("K_mean", "K_cov", "G_cov", "kurtosis"):
        np.testing.assert_allclose(scaled[name], plain[name], rtol=1e-13)
    twice = numbers(LayerNorm(), Scale(0.9), Activation("relu"), Linear(1.2, 0.1), K0=0.7)
    gain = numbers(LayerNorm(gain=0.9), Activation("relu"), Linear(1.2, 0.1), K0=0.7)
    np.testing.assert_allclose(twice["C_mean"], gain["C_mean"], rtol=1e-13)


def test_each_of_two_inputs_is_one_input() -> None:
    ops = (LayerNorm(0.2), Activation("relu"), Linear(1.9, 0.07))
    pair = numbers(*ops, K0=PAIR, weight_kurtosis=1.8)
    for i in range(2):
        alone = numbers(*ops, K0=PAIR[i, i], weight_kurtosis=1.8)
        for name in ("C_mean", "K_mean", "C_mean_tadpole", "C_mean_weights"):
            np.testing.assert_allclose(pair[name][:, i, i], alone[name], rtol=1e-11, atol=1e-14)
        for name in ("C_cov", "G_cov"):
            np.testing.assert_allclose(pair[name][:, i, i, :, i, i], alone[name], rtol=1e-11)
    equal = numbers(*ops, K0=np.full((2, 2), 0.7))
    np.testing.assert_allclose(equal["C_mean"][:, 0, 1], numbers(*ops, K0=0.7)["C_mean"])


SAMPLED = {
    "pre": (LayerNorm(0.2), Activation("relu"), Linear(1.9, 0.07)),
    "pre, two linear": (LayerNorm(0.2), Linear(1.1, 0.2), Activation("relu"), Linear(1.9, 0.07)),
    "inner": (Linear(1.1, 0.2), LayerNorm(0.2), Activation("gelu"), Linear(1.9, 0.07)),
    "RMSNorm": (RMSNorm(0.2), Activation("gelu"), Linear(1.9, 0.07)),
}


@pytest.mark.parametrize(
    ("name", "widths", "draws"),
    [
        ("pre", (100, 200), 4_000),
        *(pytest.param(name, (200, 400), 20_000, marks=pytest.mark.slow) for name in SAMPLED),
    ],
)
def test_pairs_against_samples(name: str, widths: tuple[int, int], draws: int) -> None:
    net = ResNet(Branch(*SAMPLED[name]), scale=0.9, depth=DEPTH)
    first, second = np.triu_indices(2)
    runs = [
        sample_deviations(net, width, draws, K0=PAIR, seed=width, progress=False)
        for width in widths
    ]

    def score(name: str, expected: np.ndarray) -> float:
        """Return the largest z-score of a coefficient, next orders removed."""
        small, large = (run[name] for run in runs)
        mean, error = 2 * large.mean - small.mean, np.hypot(2 * large.stderr, small.stderr)
        return float(np.abs((mean - expected.reshape(mean.shape)) / error).max())

    def entries(values: np.ndarray, layers: slice) -> np.ndarray:
        whole = values[layers, :, :, layers][:, first, second][..., first, second]
        return whole.reshape(3 * DEPTH, -1)

    values = evaluate(one_loop(net, inputs=2), K0=PAIR)
    assert score("C_mean", values["C_mean"][:-1, first, second]) < LIMIT
    assert score("C_cov", entries(values["C_cov"], slice(-1))) < LIMIT
    assert score("G_cov", entries(values["G_cov"], slice(1, None))) < LIMIT
    # Without the normalisation, or without the mean that it takes out, nothing fits.
    ops = [RMSNorm(0.2) if isinstance(op, LayerNorm) else op for op in SAMPLED[name]]
    ops = [op for op in ops if name != "RMSNorm" or not isinstance(op, RMSNorm)]
    wrong = evaluate(one_loop(ResNet(Branch(*ops), scale=0.9, depth=DEPTH), inputs=2), K0=PAIR)
    if name != "pre, two linear":
        assert score("C_cov", entries(wrong["C_cov"], slice(-1))) > 10


REFUSED = {
    "behind an activation": (
        Branch(Linear(1, 0.1), Activation("relu"), LayerNorm(), Linear(1, 0)),
        "LayerNorm states no law for it",
    ),
    "behind the last draw": (
        Branch(Activation("erf"), Linear(1, 0.1), RMSNorm()),
        "RMSNorm states no law for it",
    ),
    "kinks elsewhere": (
        Branch(RMSNorm(), Activation(sp.Max(-1, sp.Min(1, X))), Linear(1, 0)),
        "at its kinks and jumps",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_known(name: str) -> None:
    branch, message = REFUSED[name]
    with pytest.raises(UnsupportedError, match=message):
        evaluate(one_loop(ResNet(branch, scale=1, depth=1)), K0=1.0)


def test_formulas_are_of_gram_matrices_alone() -> None:
    theory = one_loop(ResNet(Branch(RMSNorm(), Linear(1, 0)), scale=1, depth=2))
    for ask in (lambda: theory.formulas, lambda: theory.weight_formulas, lambda: to_latex(theory)):
        with pytest.raises(UnsupportedError, match="evaluate"):
            ask()
