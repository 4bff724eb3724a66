"""Laws of the covariance between layers: against their definitions, refusals, round trips."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import mpmath
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
    Smooth,
    evaluate,
    kernel,
)
from resexpand.errors import DescriptionError, HyperparameterError, UnsupportedError
from resexpand.network.layer_registry import LAYER_LAWS, law_of_record, law_of_text

BRANCH = Branch(Activation("relu"), Linear(1, 0))
LAWS = [
    *(FractionalBrownian(0.05), FractionalBrownian(0.8), FractionalBrownian(0.97)),
    FractionalBrownian(0.9, generator="published"),
    *(Smooth("rbf", 0.01), Smooth("rbf", 0.3, of="process"), Smooth("cosine", 0.2)),
    *(Markov(0.5), Markov(-0.7), Markov(1)),
]


def increments(process, steps: int) -> np.ndarray:
    """Covariance of the increments of a process with this covariance function, in 50 digits."""
    with mpmath.workdps(50):
        grid = [mpmath.mpf(k) / steps for k in range(steps + 1)]
        c = [
            [
                process(s1, t1) - process(s0, t1) - process(s1, t0) + process(s0, t0)
                for t0, t1 in pairwise(grid)
            ]
            for s0, s1 in pairwise(grid)
        ]
        return np.array([[float(x / c[0][0]) for x in row] for row in c])


@pytest.mark.parametrize("index", [0.1, 0.5, 0.9])
def test_fractional_brownian_increments(index: float) -> None:
    def process(s, t):
        power = 2 * mpmath.mpf(index)
        return (s**power + t**power - abs(s - t) ** power) / 2

    found = FractionalBrownian(index).covariance(7)
    np.testing.assert_allclose(found, increments(process, 7), atol=2e-14)


@pytest.mark.parametrize("variance", [0.01, 1e-4, 0.5])
def test_smooth_increments_keep_their_digits(variance: float) -> None:
    def process(s, t):
        return mpmath.exp(-((s - t) ** 2) / (2 * mpmath.mpf(variance)))

    found = Smooth("rbf", variance).covariance(12)
    np.testing.assert_allclose(found, increments(process, 12), atol=4e-16)


def test_control_the_obvious_formula_loses_digits() -> None:
    steps, variance = 1000, 0.01
    lags = np.arange(steps + 1) / steps
    k = np.exp(-(lags**2) / (2 * variance))
    naive = (2 * k[1:-1] - k[2:] - k[:-2]) / (2 - 2 * k[1])
    exact = Smooth("rbf", variance).lags(steps, steps)[1:]
    assert np.abs(naive - exact).max() > 1e-12
    hat = (1 - lags[1:-1] ** 2 / variance) * np.exp(-(lags[1:-1] ** 2) / (2 * variance))
    assert np.abs(exact - hat).max() < 1e-4


def test_the_published_generator() -> None:
    """Variances and neighbours measured on networks drawn by the code of the paper."""
    measured = {0.8: (1.0503, 0.4654), 0.9: (1.2260, 0.5151), 0.97: (1.853, 0.2296)}
    for index, (variance, neighbour) in measured.items():
        found = FractionalBrownian(index, generator="published").lags(1000, 2)
        assert found == pytest.approx([variance, neighbour], abs=5e-4)
    exact = FractionalBrownian(0.8).lags(1000, 2)
    assert abs(exact[1] - 0.4654) > 0.05
    half = FractionalBrownian(0.5, generator="published").lags(50, 51)
    np.testing.assert_allclose(half, FractionalBrownian(0.5).lags(50, 51), atol=1e-14)


def test_a_published_draw_has_this_covariance() -> None:
    """The generator itself: circulant embedding with the wrong Nyquist amplitude."""
    depth, index, draws = 8, 0.8, 40_000
    k = np.arange(depth)
    row = (abs(k + 1) ** 1.6 + abs(k - 1.0) ** 1.6) / 2 - k**1.6
    spectrum = np.fft.fft([*row, 0, *row[:0:-1]]).real
    spectrum[depth] = spectrum[0]
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(draws, 2 * depth)) + 1j * rng.normal(size=(draws, 2 * depth))
    paths = np.fft.fft(np.sqrt(spectrum / (2 * depth)) * noise)[:, :depth].real
    products = paths[:, :1] * paths
    z = (products.mean(0) - FractionalBrownian(index, "published").lags(depth, depth)) / (
        products.std(0) / math.sqrt(draws)
    )
    wrong = (products.mean(0) - row) / (products.std(0) / math.sqrt(draws))
    assert np.abs(z).max() < 3.3
    assert np.abs(wrong).max() > 5


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_every_law_is_a_covariance(law) -> None:
    c = law.covariance(40, further=1)
    assert c.shape == (41, 41)
    assert (c == c.T).all()
    assert np.linalg.eigvalsh(c)[0] > -1e-12
    assert law.is_normalised == np.allclose(np.diagonal(c), 1, rtol=0, atol=1e-15)


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_records_and_equality(law) -> None:
    again = law_of_record(json.loads(json.dumps(law.record)))
    np.testing.assert_array_equal(again.covariance(9), law.covariance(9))
    assert law == type(law)(*law.values)
    assert hash(law) == hash(type(law)(*law.values))


def test_matrices() -> None:
    c = Markov(0.3).covariance(4)
    law = LayerMatrix(c)
    assert law == LayerMatrix(c.tolist())
    assert law != LayerMatrix(Markov(0.4).covariance(4))
    assert hash(law) == hash(LayerMatrix(c))
    assert law_of_record(json.loads(json.dumps(law.record))) == law
    assert law.covariance(4, further=1)[4].tolist() == [0, 0, 0, 0, 1]
    with pytest.raises(ValueError, match="read-only"):
        law.entries[0, 0] = 2
    net = ResNet(BRANCH, scale=1, depth=4, layers=c)
    assert net.layers == law
    assert "layers=LayerMatrix(4 x 4)" in repr(net)


def test_texts() -> None:
    assert law_of_text("FractionalBrownian(0.8)") == FractionalBrownian(0.8)
    assert law_of_text(" FractionalBrownian(0.8, published) ") == FractionalBrownian(
        0.8, "published"
    )
    assert law_of_text("Smooth(rbf, 0.01)") == Smooth("rbf", 0.01)
    assert law_of_text("Markov(1/2)") == Markov(0.5)
    for text in ("Markov(a)", "Markov(1;2)", "Other(1)", "", "LayerMatrix(3)", "Smooth(sinc, 1)"):
        with pytest.raises(DescriptionError):
            law_of_text(text)


BAD = {
    "H = 1": (lambda: FractionalBrownian(1), "H = 1: it must be below 1"),
    "H = 0": (lambda: FractionalBrownian(0), "it must be above 0"),
    "H not finite": (lambda: FractionalBrownian(math.nan), "not a finite real number"),
    "generator": (lambda: FractionalBrownian(0.3, "fast"), "use one of 'exact', 'published'"),
    "r": (lambda: Markov(1.1), "must not be above 1"),
    "v": (lambda: Smooth("rbf", 0), "must be above 0"),
    "kernel": (lambda: Smooth("sinc", 1), "use one of 'rbf', 'cosine'"),
    "list": (lambda: Markov([0.1, 0.2]), "one law for all blocks"),
    "indefinite": (lambda: LayerMatrix([[1, 2], [2, 1]]), "not positive semi-definite"),
    "asymmetric": (lambda: LayerMatrix([[1, 0.1], [0.2, 1]]), "not symmetric"),
    "not square": (lambda: LayerMatrix([[1, 0.1]]), "not square"),
    "text": (lambda: LayerMatrix("c"), "not real numbers"),
    "nan": (lambda: LayerMatrix([[math.nan]]), "not finite"),
    "size": (
        lambda: ResNet(BRANCH, scale=1, depth=3, layers=np.eye(2)),
        "give a 3 x 3 matrix",
    ),
    "no law": (lambda: ResNet(BRANCH, scale=1, depth=3, layers="fbm"), "it is no law"),
    "operation": (lambda: ResNet(BRANCH, scale=1, depth=3, layers=Linear()), "it is no law"),
    "class": (lambda: ResNet(BRANCH, scale=1, depth=3, layers=Markov), "it is no law"),
    "in a branch": (lambda: Branch(Markov(0.5)), "it is not an operation"),
    "kinds": (
        lambda: ResNet([BRANCH, Branch(Linear(1, 0))], scale=1, depth=2, layers=Markov(0.5)),
        "weights of different kinds have no covariance",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case: str) -> None:
    ask, message = BAD[case]
    with pytest.raises((DescriptionError, UnsupportedError), match=message):
        ask()


def test_symbols_of_laws() -> None:
    net = ResNet(BRANCH, scale=1, depth=3, layers=FractionalBrownian())
    assert sp.Symbol("H", positive=True) in net.free_symbols
    with pytest.raises(HyperparameterError, match="H must be below 1"):
        evaluate(kernel(net), K0=1.0, H=1.5)
    with pytest.raises(HyperparameterError, match="pass H="):
        evaluate(kernel(net), K0=1.0)
    symbolic = ResNet(BRANCH, scale=1, depth=sp.Symbol("L"), layers=np.eye(3))
    with pytest.raises(DescriptionError, match="4 x 4"):
        evaluate(kernel(symbolic), K0=1.0, depth=4)


def test_equal_networks_and_copies() -> None:
    net = ResNet(BRANCH, scale=1, depth=3, layers=Markov(0.5))
    assert net == ResNet(BRANCH, scale=1, depth=3, layers=Markov(0.5))
    assert net != ResNet(BRANCH, scale=1, depth=3)
    assert ResNet(BRANCH, scale=1, depth=3, layers="independent") == ResNet(
        BRANCH, scale=1, depth=3
    )
    assert net.with_scale(2).layers == Markov(0.5)
    assert net.evaluation().layers == Markov(0.5)


def test_registry() -> None:
    assert set(LAYER_LAWS) == {"FractionalBrownian", "Smooth", "Markov", "LayerMatrix"}
