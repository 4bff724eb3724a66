"""The comparison of the order 1/N with samples: its parts, one by one."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest

from resexpand import Activation, Branch, Linear, ResNet, evaluate, kernel, response
from support.deviations import upper
from support.finite_width import (
    LARGEST_PARAMETER,
    STRAIGHT_PARAMETER,
    Case,
    Coefficient,
    Coefficients,
    compare_coefficients,
    exponent,
    sample_covariances,
    sample_mean,
    scatter,
    straight_widths,
    usable_widths,
)
from support.reduced_theory import reply, sums, unshared

CASE = Case("erf", 1, 4, 0.5)
PAIR = Case("relu", 2, 3, 0.5)


def test_reply_is_the_response_of_the_kernel() -> None:
    """dC^l = T^l chi^{l-1,m} r dC^m for m < l, and the noise itself for m = l."""
    net = CASE.net
    found = reply(net, CASE.start)
    values = evaluate(response(net), K0=CASE.start)
    chi = values["chi"]
    slopes = [(chi[k, k - 1] - 1) / 0.25 for k in range(1, 5)]
    for row in range(1, 4):
        for column in range(row):
            expected = slopes[row] * 0.25 * chi[row, column + 1]
            assert found[row, column] == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(np.diagonal(found), 1.0)
    assert np.all(np.triu(found, 1) == 0)


def test_reply_of_a_pair_is_a_derivative() -> None:
    """Noise in block 1 moves the kernel, which moves C^2: against a small change of K0."""
    net = ResNet(Branch(Activation("erf"), Linear(1.2, 0.1)), scale=0.7, depth=2)
    start = np.array([[0.8, 0.3], [0.3, 0.5]])
    found = reply(net, start)
    middle = evaluate(kernel(net, inputs=2), K0=start)["K"][1]
    step = 1e-6
    change = np.array([[0.0, step], [step, 0.0]]) * 0.49

    def covariance(at: np.ndarray) -> np.ndarray:
        return upper(evaluate(kernel(net, inputs=2), K0=at)["C"][None])[0, 0]

    slope = (covariance(middle + change) - covariance(middle - change)) / (2 * step)
    np.testing.assert_allclose(found[3:6, 1], slope, rtol=1e-7, atol=1e-9)


def test_unshared_noise_of_a_linear_network() -> None:
    """S^{lm} = 2 s^2 K_min^2; what is left of it is the diagonal."""
    net = ResNet(Branch(Activation("identity"), Linear(1.2, 0)), scale=0.5, depth=3)
    kernels = 0.8 * 1.3 ** np.arange(4)
    source = 2 * 1.2**2 * np.minimum.outer(kernels, kernels) ** 2
    replied = reply(net, np.array(0.8))
    full = replied @ source @ replied.T
    alone = replied @ np.diag(np.diagonal(source)) @ replied.T
    np.testing.assert_allclose(unshared(full, replied, 1), alone, rtol=1e-12)
    np.testing.assert_allclose(unshared(full, replied, 4), full, rtol=1e-12)


def test_sums_add_up_blocks() -> None:
    matrix = sums(np.array([0.1, 0.2]), 2)
    np.testing.assert_allclose(matrix @ [1, 2, 10, 20], [0.1, 0.2, 2.1, 4.2])


@pytest.mark.parametrize("case", [CASE], ids=lambda case: case.name)
def test_coefficients_have_the_shapes_of_samples(case: Case) -> None:
    theory, wrong = Coefficients.of(case), Coefficients.of(case).reduced()
    runs = {
        **sample_covariances(case, 32, 50, progress=False),
        "C_mean": sample_mean(case, 32, 50, progress=False),
    }
    for name, values in theory.values.items():
        assert values.shape == runs[name].mean.shape == wrong[name].shape
        assert not np.allclose(values, wrong[name], rtol=0.05)
    every = Coefficients.of(case, every_layer=True).values["C_mean"]
    assert every.shape == (case.depth + 1, 1)


def test_a_target_saves_draws() -> None:
    rough = sample_mean(CASE, 32, 2000, target=1.0, progress=False)
    fine = sample_mean(CASE, 32, 2000, target=1e-9, progress=False)
    assert rough.n == 200
    assert fine.n == 2000
    target = rough.stderr.max() * sqrt(200 / 1500)
    between = sample_mean(CASE, 32, 5000, target=target, progress=False)
    assert 1000 < between.n < 3000
    assert between.stderr.max() < 1.1 * target


def test_agreement_and_its_control() -> None:
    theory = Coefficients.of(CASE)
    runs = [{"C_mean": sample_mean(CASE, n, 8000, progress=False)} for n in (40, 80, 160)]
    right = {"C_mean": theory.values["C_mean"]}
    wrong = {"C_mean": theory.reduced()["C_mean"]}
    assert compare_coefficients(right, runs, theory, resolve=0.3).verdict == "agrees"
    assert compare_coefficients(wrong, runs, theory, resolve=0.3).verdict == "disagrees"


def test_widths_within_the_expansion() -> None:
    assert usable_widths((10, 20, 40), 20 * LARGEST_PARAMETER) == (20, 40)
    assert usable_widths((10, 20, 40), 1e9) == ()
    assert straight_widths((10, 20, 40, 80), 20 * STRAIGHT_PARAMETER) == (20, 40, 80)
    assert straight_widths((10, 20, 40, 80), 10 * STRAIGHT_PARAMETER) == (10, 20, 40)
    assert straight_widths((10, 20, 40, 80), 1e9) == (20, 40, 80)


def at_width(width: int, mean: float, error: float = 0.01) -> Coefficient:
    one = np.ones((2, 1))
    return Coefficient("x", mean * one, error * one, one, 100, width, 0 * one, (width,))


def test_exponent() -> None:
    widths = (10, 20, 40)
    second = exponent([at_width(n, 1.5 + 3 / n) for n in widths], 1.5)
    assert second.mean == pytest.approx([2.0])
    first = exponent([at_width(n, 1.5 + 0 / n) for n in widths], 0.0)
    assert first.mean == pytest.approx([1.0])
    noisy = exponent([at_width(n, 1.5 + 3 / n, 0.1) for n in widths], 1.5)
    assert noisy.stderr == pytest.approx(10 * second.stderr)


def test_scatter() -> None:
    scores = np.random.default_rng(0).standard_normal(400)
    found = scatter(list(scores))
    assert abs(found.mean[0] - 1) < 3 * found.stderr[0]
    assert scatter(list(3 * scores)).mean[0] == pytest.approx(3 * found.mean[0])


def test_seeds_differ_by_case_width_and_part() -> None:
    cases = [CASE, replace(CASE, depth=5), PAIR]
    seeds = {case.seed(width, part) for case in cases for width in (1, 2) for part in (1, 2)}
    assert len(seeds) == 12
