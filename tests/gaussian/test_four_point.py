"""Four-point averages: identities that tie them to Wick's theorem, to two-point averages, and to
quadrature."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from oracles import plane_average

from resexpand.activations import ACTIVATIONS
from resexpand.gaussian import four_point_kinked, four_point_sign
from resexpand.gaussian import two_point_closed as closed
from resexpand.gaussian.orthant_moments import orthant_moment, orthant_probability
from resexpand.numbers.one_loop.four_point import Average, four_point
from resexpand.numbers.one_loop.panel_averages import covariances

EARLY = np.array([[0.9, 0.3], [0.3, 1.2]])
LATE = EARLY + np.array([[0.2, 0.05], [0.05, 0.4]])
SIGMA = np.block([[LATE, EARLY], [EARLY, EARLY]])
CHOICES = [(0, 1, 2, 3), (0, 0, 2, 3), (0, 1, 2, 2), (0, 0, 2, 2), (1, 1, 2, 2)]


def chosen(order) -> np.ndarray:
    return SIGMA[np.ix_(order, order)][None]


def random_covariance(seed: int, size: int = 4) -> np.ndarray:
    root = np.random.default_rng(seed).standard_normal((size, size))
    return (root @ root.T)[None]


@pytest.mark.parametrize("seed", range(5))
def test_orthants_add_up_to_wick(seed: int) -> None:
    """u = max(u, 0) - max(-u, 0): products of four add up to three pairings, signs to one."""
    sigma = random_covariance(seed)
    total, whole = np.zeros(1), np.zeros(1)
    for signs in product((1, -1), repeat=4):
        flip = np.outer(signs, signs)
        total += np.prod(signs) * orthant_moment(sigma * flip, (1, 1, 1, 1))
        whole += orthant_probability(sigma * flip)
    s = sigma[0]
    pairings = s[0, 1] * s[2, 3] + s[0, 2] * s[1, 3] + s[0, 3] * s[1, 2]
    assert total[0] == pytest.approx(pairings, rel=1e-12, abs=1e-12)
    assert whole[0] == pytest.approx(1, rel=1e-13)


def test_moments_of_two_variables() -> None:
    a, b, c = 0.8, 1.3, 0.5
    sigma = np.array([[a, c], [c, b]])[None]
    for powers in ((0, 0), (1, 0), (2, 0), (1, 1), (2, 2), (3, 1)):
        expected = plane_average(
            lambda x, y, p=powers: np.where((x > 0) & (y > 0), x ** p[0] * y ** p[1], 0.0),
            (a, c, b),
        )
        assert orthant_moment(sigma, powers)[0] == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("noise", [0.5, 0.0])
def test_derivatives_of_signs(noise: float) -> None:
    sigma, step = random_covariance(3), 1e-5
    for index, (i, j) in enumerate(((0, 0), (0, 1), (1, 1))):
        moved = np.zeros((1, 4, 4))
        moved[0, i, j] = moved[0, j, i] = step
        difference = four_point_sign.covariance(sigma + moved, noise)
        difference -= four_point_sign.covariance(sigma - moved, noise)
        slope = four_point_sign.slopes(sigma, noise)[index]
        assert slope[0] == pytest.approx(difference[0] / (2 * step), rel=1e-7, abs=1e-9)


def test_derivatives_of_kinks() -> None:
    sigma, step = random_covariance(4), 1e-5
    for index, (i, j) in enumerate(((0, 0), (0, 1), (1, 1))):
        moved = np.zeros((1, 4, 4))
        moved[0, i, j] = moved[0, j, i] = step
        difference = four_point_kinked.covariance(sigma + moved, "abcd", 1.0, 0.3)
        difference -= four_point_kinked.covariance(sigma - moved, "abcd", 1.0, 0.3)
        slope = four_point_kinked.slopes(sigma, "abcd", 1.0, 0.3)[index]
        assert slope[0] == pytest.approx(difference[0] / (2 * step), rel=1e-7, abs=1e-9)


def test_coinciding_inputs_are_one_input() -> None:
    sigma = chosen((0, 0, 2, 2))
    a, b, c = map(np.float64, (LATE[0, 0], EARLY[0, 0], EARLY[0, 0]))
    found = four_point_sign.covariance(sigma, 0.5)[0]
    assert found == pytest.approx(closed.erf_covariance(a, b, c, 2.0), rel=1e-14)
    slope = sum(four_point_sign.slopes(sigma, 0.5))[0]
    assert slope == pytest.approx(closed.erf_slope(a, b, c, 2.0), rel=1e-13)
    kinked = closed.kinked_covariance(a, b, c, 0.5, 0.5)
    for labels in ("aabb", "abcd"):
        merged = four_point_kinked.covariance(sigma, labels, 1.0, 0.0)[0]
        assert merged == pytest.approx(kinked, rel=1e-12), labels
    slope = four_point_kinked.slopes(sigma, "aabb", 1.0, 0.0)[1][0]
    assert slope == pytest.approx(closed.kinked_slope(a, b, c, 0.5), rel=1e-13)


@pytest.mark.parametrize("order", CHOICES)
def test_error_functions_against_quadrature(order) -> None:
    """Two independent ways: Plackett's integral, and nodes in up to four variables."""
    sigma, same = chosen(order), (order[0] == order[1], order[2] == order[3])
    labels = tuple(str(n) for n in order)
    exact, _ = four_point(ACTIVATIONS["erf"], Average(sigma, labels, True))
    found, error = covariances(ACTIVATIONS["erf"], sigma, same, slopes=True)
    np.testing.assert_allclose(found, exact, atol=1e-13)
    assert error < 1e-9
    assert np.abs(found - 1.001 * exact).max() > 1e-6


def test_lines_are_wick() -> None:
    exact, _ = four_point(None, Average(chosen((0, 1, 2, 3)), tuple("abcd"), True))
    found, error = covariances(
        ACTIVATIONS["identity"], chosen((0, 1, 2, 3)), (False, False), slopes=True
    )
    assert abs(found[0, 0] / exact[0, 0] - 1) <= error < 1e-12


def test_signs_of_one_variable_are_constant() -> None:
    found, _ = four_point(ACTIVATIONS["sign"], Average(chosen((0, 0, 2, 3)), tuple("aacd"), True))
    assert not found.any()


@pytest.mark.parametrize("order", CHOICES[1:4])
def test_many_averages_at_once_are_those_of_each(order) -> None:
    sigma = np.concatenate([chosen(order), 1.7 * chosen(order), 0.4 * chosen(order)])
    same = (order[0] == order[1], order[2] == order[3])
    together, _ = covariances(ACTIVATIONS["erf"], sigma, same, slopes=True)
    for n in range(3):
        alone, _ = covariances(ACTIVATIONS["erf"], sigma[n : n + 1], same, slopes=True)
        np.testing.assert_allclose(together[:, n : n + 1], alone, rtol=1e-12, atol=1e-15)
