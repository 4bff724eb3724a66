"""Tail probabilities against mpmath: other algorithms for the same definitions."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from resexpand.agreement.tails import (
    chi_square_tail,
    student_quantile,
    student_tail,
)
from resexpand.montecarlo.statistics.intervals import student


def exact_student(t: float, dof: float) -> float:
    """P(T > t) as an incomplete beta function."""
    x = mpmath.mpf(dof) / (dof + mpmath.mpf(t) ** 2)
    half = mpmath.betainc(mpmath.mpf(dof) / 2, 0.5, 0, x, regularized=True) / 2
    return float(half if t >= 0 else 1 - half)


@pytest.mark.parametrize("dof", [1.0, 9.5, 15.0, 63.0, 999.0, 1e6])
def test_student_tail(dof: float) -> None:
    for t in (-4.0, -1.0, 0.0, 0.5, 3.0, 12.0):
        assert float(student_tail(t, dof)) == pytest.approx(exact_student(t, dof), rel=1e-9)
    for tail in (1e-8, 1e-4, 0.05, 0.3):
        t = float(student_quantile(tail, dof))
        assert exact_student(t, dof) == pytest.approx(tail, rel=1e-7)
    assert student(0.9, int(dof)) == pytest.approx(float(student_quantile(0.05, int(dof))))


def test_student_is_told_from_normal() -> None:
    assert float(student_tail(4.0, 15.0)) > 10 * float(mpmath.ncdf(-4))


def test_student_handles_infinity() -> None:
    np.testing.assert_array_equal(student_tail([np.inf, -np.inf], 20.0), [0.0, 1.0])


@pytest.mark.parametrize("dof", [1, 2, 5])
def test_chi_square_tail(dof: int) -> None:
    for value in (0.0, 0.3, 4.0, 40.0):
        exact = float(mpmath.gammainc(dof / 2, value / 2, mpmath.inf, regularized=True))
        assert chi_square_tail(value, dof) == pytest.approx(exact, rel=1e-12)
    assert chi_square_tail(3.0, 0) == 1.0
