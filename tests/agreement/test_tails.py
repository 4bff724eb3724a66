"""Tail probabilities against SciPy: an independent implementation of the same definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from resexpand.agreement.tails import (
    chi_square_tail,
    normal_quantile,
    normal_tail,
    student_quantile,
    student_tail,
    student_to_normal,
)
from resexpand.errors import HyperparameterError


def test_normal_tail_and_quantile_invert_each_other() -> None:
    z = np.linspace(-5, 30, 71)
    # d log Q/d log z grows like z^2: rounding of z alone allows that many eps.
    error = np.abs(normal_tail(z) / stats.norm.sf(z) - 1)
    assert np.all(error <= 4 * np.finfo(float).eps * (1 + z**2))
    for tail in (1e-300, 1e-12, 0.00135, 0.4, 0.5, 0.9):
        assert normal_quantile(tail) == pytest.approx(stats.norm.isf(tail), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("dof", [15.0, 19.5, 63.0, 999.0, 1e6])
def test_student_tail_within_the_stated_error(dof: float) -> None:
    t = np.linspace(-4, 12, 65)
    exact = stats.t.sf(t, dof)
    seen = exact > 1e-12
    np.testing.assert_allclose(student_tail(t, dof)[seen], exact[seen], rtol=1e-5)
    assert student_quantile(1e-4, dof) == pytest.approx(stats.t.isf(1e-4, dof), rel=1e-8)


def test_student_is_told_from_normal() -> None:
    assert float(student_tail(4.0, 15.0)) > 10 * float(normal_tail(4.0))


def test_student_handles_zero_and_infinity() -> None:
    np.testing.assert_array_equal(
        student_to_normal([0.0, np.inf, -np.inf], 20.0), [0.0, np.inf, -np.inf]
    )


@pytest.mark.parametrize("dof", [1, 2, 5])
def test_chi_square_tail(dof: int) -> None:
    for value in (0.0, 0.3, 4.0, 40.0):
        assert chi_square_tail(value, dof) == pytest.approx(stats.chi2.sf(value, dof), rel=1e-12)
    assert chi_square_tail(3.0, 0) == 1.0


@pytest.mark.parametrize("tail", [0.0, 1.0, -0.1, float("nan")])
def test_quantile_refuses_what_is_no_probability(tail: float) -> None:
    with pytest.raises(HyperparameterError, match="strictly between"):
        normal_quantile(tail)
