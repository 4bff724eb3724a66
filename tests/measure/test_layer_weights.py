"""The covariance between layers of given weights: coverage of its errors, and bad input."""

from __future__ import annotations

import numpy as np
import pytest

from resexpand import FractionalBrownian, Markov, Smooth, measure_layers
from resexpand.errors import HyperparameterError

DEPTH, WIDTH = 30, 12


def weights(c: np.ndarray, seed: int) -> np.ndarray:
    values, vectors = np.linalg.eigh(c)
    root = vectors * np.sqrt(np.maximum(values, 0))
    noise = np.random.default_rng(seed).normal(size=(len(c), WIDTH, WIDTH))
    return 0.3 * np.tensordot(root, noise, 1)


@pytest.mark.parametrize("H", [0.15, 0.5, 0.85])
def test_the_exponent_and_its_error(H: float) -> None:
    c = FractionalBrownian(H).covariance(DEPTH)
    found = [measure_layers(weights(c, seed)) for seed in range(30)]
    z = np.array([(f.H - H) / f.H_error for f in found])
    assert np.abs(z.mean()) < 3.5 / np.sqrt(30)
    assert 0.6 < z.std(ddof=1) < 1.4
    # Control: an exponent that is off by 0.02 is many of these errors away.
    assert abs(z.mean() + 0.02 / found[0].H_error) > 3.5 / np.sqrt(30)
    assert all(f.fits for f in found)
    assert found[0].law == FractionalBrownian(found[0].H)


def test_errors_of_the_covariance() -> None:
    c = Markov(0.6).covariance(DEPTH)
    scores = []
    for seed in range(20):
        found = measure_layers(weights(c, seed))
        scores.append((found.covariance - c)[np.triu_indices(DEPTH, 1)].ravel())
    errors = measure_layers(weights(c, 0)).error[np.triu_indices(DEPTH, 1)]
    assert np.abs(np.std(scores, axis=0) / errors).mean() == pytest.approx(1, abs=0.1)


def test_what_is_no_fractional_noise() -> None:
    chain = measure_layers(weights(Markov(-0.7).covariance(DEPTH), 1))
    assert not chain.fits
    assert chain.law.kind == "LayerMatrix"
    assert chain.roughness == pytest.approx(1.7, abs=0.1)
    smooth = measure_layers(weights(Smooth("rbf", 0.1).covariance(DEPTH), 1))
    assert smooth.roughness < 0.03
    assert not smooth.fits
    independent = measure_layers(weights(np.eye(DEPTH), 1))
    assert independent.roughness == pytest.approx(1, abs=0.05)
    assert independent.scale == pytest.approx(0.09, rel=0.1)


@pytest.mark.parametrize(
    "wrong",
    [
        np.ones((3, 9, 9)),
        [np.ones((4, 4))] * 3 + [np.ones((5, 4))],
        np.full((5, 4, 4), np.nan),
        np.zeros((5, 4, 4)),
        np.ones((20, 2, 2)),
    ],
    ids=["few", "shapes", "nan", "zero", "narrow"],
)
def test_refusals(wrong) -> None:
    with pytest.raises(HyperparameterError):
        measure_layers(wrong)


def test_blocks_of_other_sizes_are_no_fractional_noise():
    drawn = np.random.default_rng(0).normal(size=(12, 30, 30))
    assert measure_layers(drawn).fits
    grown = measure_layers(drawn * np.linspace(1, 9, 12)[:, None, None])
    assert not grown.fits
    np.testing.assert_allclose(np.diagonal(grown.covariance)[-1], 81 / 31.73, rtol=0.1)


@pytest.mark.parametrize("wrong", [5, None, {"a": 1}, "abcd", np.eye, ["a"] * 4, [1j] * 4])
def test_what_holds_no_arrays_is_named(wrong) -> None:
    with pytest.raises(HyperparameterError, match=r"no sequence of arrays|not an array of numbers"):
        measure_layers(wrong)


def test_kinds_of_numbers_that_are_arrays() -> None:
    """Half precision and tensors that are trained are read as they are."""
    torch = pytest.importorskip("torch")
    rows = np.random.default_rng(7).standard_normal((5, 30, 30)).astype(np.float16)
    right = measure_layers(rows.astype(float)).covariance
    trained = [torch.tensor(block.astype(float), requires_grad=True) for block in rows]
    for given in (rows, list(rows), trained):
        np.testing.assert_allclose(measure_layers(given).covariance, right, rtol=1e-14)
