"""Laws of weights: entries, rotations, exact moments at finite width, and one infinite width.

(1) entries have the moments of their law and are those of the counters that the documentation
states; (2) a rotation is orthogonal to rounding, in both samplers, and both have one law;
(3) exact at every width, for `h + rho W h` with rows of h^0 from N(0, K) and a^2 = rho^2 s: G^1/G^0
has mean 1 + a^2 and the variance

    (4 a^2 + 2 a^4)/N + 3 a^4 (kappa - 3)/(N (N+2))    independent symmetric weights, kurtosis kappa
    4 a^2/N                                            rotations;

(4) wide networks have the
Gaussian kernel, whatever the law. The control of each is another law.
"""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from scipy import stats

from resexpand import Activation, Branch, Linear, ResNet
from resexpand.montecarlo.random.philox import philox4x32, split_seed
from resexpand.montecarlo.random.streams import DENSE_FIRST, INPUT, stream_word
from resexpand.montecarlo.weights import entries, haar_columns, haar_householder
from resexpand.montecarlo.weights.entries import vector_of
from resexpand.montecarlo.weights.law import LAWS

U = np.uint64
u = sp.Symbol("u")
LOGISTIC = sp.log(u / (1 - u))
INDEPENDENT = {"gaussian": 3.0, "uniform": 1.8, "rademacher": 1.0, LOGISTIC: 4.2}
K, S, RHO, DRAWS = 0.7, 1.3, 0.6, 20_000
A2 = RHO**2 * S
LINEAR = ResNet(Branch(Linear(S, 0)), scale=RHO, depth=1)
# E x^2k, k = 1 ... 4; entries are symmetric.
EVEN_MOMENTS = {
    "gaussian": (1, 3, 15, 105),
    "uniform": (1, 9 / 5, 27 / 7, 9),
    "rademacher": (1, 1, 1, 1),
}


def numbers(name: str, count: int = 1_000_000) -> np.ndarray:
    out = np.zeros(count)
    vector_of(getattr(entries, name))(U(20), U(26), U(0), U(0), U(0), out, count)
    return out


def moment_scores(x: np.ndarray, even: tuple[float, ...]) -> np.ndarray:
    """Return |z| of the first four moments; deviations of constants count infinitely."""
    scores = []
    for k in range(1, 5):
        exact = 0.0 if k % 2 else even[k // 2 - 1]
        error = np.sqrt((even[k - 1] - exact**2) / x.size)
        deviation = abs(np.mean(x**k) - exact)
        certain = np.inf if deviation > 1e-12 else 0.0
        scores.append(deviation / error if error else certain)
    return np.array(scores)


@pytest.mark.parametrize("name", EVEN_MOMENTS)
def test_moments_of_entries(name: str) -> None:
    x = numbers(name)
    assert moment_scores(x, EVEN_MOMENTS[name]).max() < 4
    for other in EVEN_MOMENTS.keys() - {name}:
        assert moment_scores(x, EVEN_MOMENTS[other]).max() > 5
    for lag in (1, 2, 3, 4, 8):
        assert abs(np.mean(x[:-lag] * x[lag:])) < 4.5 / np.sqrt(x.size)
    assert LAWS[name].kurtosis == EVEN_MOMENTS[name][1]


def test_entries_are_those_of_the_words() -> None:
    words = [int(w) for k in range(64) for w in philox4x32(U(k), U(0), U(0), U(0), U(20), U(26))]
    exact = [float(np.sqrt(3) * (2 * (w + 0.5) / 2**32 - 1)) for w in words]
    np.testing.assert_allclose(numbers("uniform", 256), exact, rtol=1e-15, atol=1e-16)
    assert (numbers("rademacher", 256) == [1 if w >= 2**31 else -1 for w in words]).all()
    assert stats.kstest(numbers("uniform", 100_000) / np.sqrt(12) + 0.5, "uniform").pvalue > 1e-3


def weights_of(name: str, width: int, layer: int, draw: int, seed: int) -> np.ndarray:
    rows, word = np.zeros((width, width)), U(stream_word(layer, DENSE_FIRST))
    fill = vector_of(getattr(entries, name))
    for i in range(width):
        fill(*split_seed(seed), U(i), word, U(draw), rows[i], width)
    return np.sqrt(S / width) * rows


@pytest.mark.parametrize("name", ["gaussian", "uniform"])
def test_networks_are_those_of_the_documented_weights(name: str, draw_rows) -> None:
    width, seed = 11, 5
    rows = draw_rows(LINEAR, "kernel", width, 3, K0=K, method="dense", weights=name, seed=seed)
    for draw in range(3):
        h = np.zeros(width)
        word = U(stream_word(0, INPUT))
        vector_of(entries.gaussian)(*split_seed(seed), U(0), word, U(draw), h, width)
        h *= np.sqrt(K)
        h = h + RHO * weights_of(name, width, 1, draw, seed) @ h
        np.testing.assert_allclose(rows[draw, 1], h @ h / width, rtol=1e-12)


@pytest.mark.parametrize("name", INDEPENDENT, ids=str)
@pytest.mark.parametrize("width", [3, 12])
def test_kurtosis_at_finite_width(name, width: int, draw_rows, z_score) -> None:
    rho = 2.0  # far from zero: kurtosis enters with its fourth power
    net = ResNet(Branch(Linear(S, 0)), scale=rho, depth=1)
    rows = draw_rows(net, "kernel", width, DRAWS, K0=K, method="dense", weights=name)
    a2, ratio = rho**2 * S, rows[:, 1] / rows[:, 0]

    def variance(kurtosis: float) -> float:
        excess = 3 * a2**2 * (kurtosis - 3) / (width * (width + 2))
        return (4 * a2 + 2 * a2**2) / width + excess

    assert abs(z_score(ratio, 1 + a2)) < 4
    assert abs(z_score((ratio - 1 - a2) ** 2, variance(INDEPENDENT[name]))) < 4
    assert abs(z_score((ratio - 1 - a2) ** 2, variance(INDEPENDENT[name] + 2))) > 5


@pytest.mark.parametrize(
    "sampler", [haar_columns, haar_householder], ids=["columns", "householder"]
)
def test_rotations_are_orthogonal(sampler) -> None:
    width, length = 17, 32
    source, target = np.zeros((width, length)), np.zeros((width, length))
    source[:, :width] = np.eye(width)
    place = (U(1), U(2), 3, U(4))
    scratch = np.empty(sampler.workspace(width, length))
    sampler.linear(source, target, (width - 1,), width, (S, 0.0), place, 0, scratch)
    matrix = target[:, :width].T / np.sqrt(S)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(width), atol=1e-14)
    assert not np.allclose(matrix, np.diag(np.diag(matrix)))
    # Columns that depend on each other keep doing so: equal, opposite, zero, and their sum.
    few = np.zeros((5, length))
    x, y = np.random.default_rng(1).standard_normal((2, width))
    few[:, :width] = [x, x, np.zeros(width), y, x + y]
    image = np.zeros((5, length))
    scratch = np.empty(sampler.workspace(5, length))
    sampler.linear(few, image, (4,), width, (S, 0.0), place, 0, scratch)
    np.testing.assert_allclose(image @ image.T, S * few @ few.T, atol=1e-13)
    np.testing.assert_allclose(image[0] + image[3], image[4], atol=1e-13)


@pytest.mark.parametrize("method", ["function-space", "dense"])
def test_rotation_of_a_linear_branch(method: str, draw_rows, z_score) -> None:
    width, options = 6, {"K0": K, "method": method}
    rows = draw_rows(LINEAR, "kernel", width, DRAWS, weights="orthogonal", **options)
    ratio = rows[:, 1] / rows[:, 0]
    assert abs(z_score(ratio, 1 + A2)) < 4
    assert abs(z_score((ratio - 1 - A2) ** 2, 4 * A2 / width)) < 4
    assert abs(z_score((ratio - 1 - A2) ** 2, (4 * A2 + 2 * A2**2) / width)) > 5  # Gaussian


@pytest.mark.parametrize(
    "branch",
    [
        Branch(Activation("tanh"), Linear(1.4, 0.3)),
        pytest.param(
            Branch(Linear(1.4, 0.3), Activation("relu"), Linear(0.8, 0)), marks=pytest.mark.slow
        ),
    ],
    ids=["W tanh(h)", "V relu(W h)"],
)
@pytest.mark.parametrize("width", [4, 9])
def test_rotations_of_both_samplers_have_one_law(branch, width: int, make) -> None:
    net = ResNet(branch, scale=0.8, depth=2, read_out=branch.followed_by(Linear(0.7, 0.1)))
    names, pair = ["kernel", "output_squared"], [[1.2, 0.5], [0.5, 0.9]]
    options = {"K0": pair, "weights": "orthogonal"}
    drawn = [
        make(net, names, width, method=method, seed=seed, **options).rows(0, 8000)
        for method, seed in (("dense", 11), ("function-space", 12))
    ]
    for name in names:
        first, second = (rows[name].reshape(8000, -1) for rows in drawn)
        for power in (1, 2):
            difference = (first**power).mean(axis=0) - (second**power).mean(axis=0)
            error = np.sqrt(((first**power).var(axis=0) + (second**power).var(axis=0)) / 8000)
            assert np.abs(difference / error).max() < 4.5
        assert stats.ks_2samp(first[:, -1], second[:, -1]).pvalue > 1e-4


@pytest.mark.parametrize("name", ["uniform", "rademacher", "orthogonal"])
def test_wide_networks_do_not_see_the_law(name: str, draw_rows) -> None:
    """a = 2 y(2N) - y(N) is the kernel at infinite width up to 1/N^2."""
    net = ResNet(Branch(Activation("erf"), Linear(S, 0.2)), scale=RHO, depth=3)
    kernel = [K]
    for _ in range(3):
        moment = 2 / np.pi * np.arcsin(2 * kernel[-1] / (1 + 2 * kernel[-1]))
        kernel.append(kernel[-1] + RHO**2 * (S * moment + 0.2))
    means, errors = [], []
    for width, draws in ((24, 12_000), (48, 12_000)):
        rows = draw_rows(
            net, "kernel", width, draws, K0=K, method="dense", weights=name, seed=width
        )
        means.append(rows.mean(axis=0))
        errors.append(rows.std(axis=0) / np.sqrt(draws))
    score = (2 * means[1] - means[0] - kernel) / np.hypot(2 * errors[1], errors[0])
    assert np.abs(score).max() < 4
    assert np.abs((2 * means[1] - means[0] - 1.02 * np.array(kernel)) / errors[1])[-1] > 4
