"""Tail probabilities of the Student and chi-square distributions.

The functions are those of `scipy.special`, which is loaded when the first probability is asked for.

Draws that are skewed to one side make means that are too low together with errors that are too
small, or the reverse: far out one tail of Student's statistic is many times too heavy. `cautious`
takes out what skewness may explain, with Hall's transformation
(`resexpand.montecarlo.statistics.intervals`). A sample that has not seen its tail shows too little
of its skewness: that is why the skewness is taken half as large again, and why the other side gains
nothing from it. The effect on the level and on the power of a verdict is measured in
``numerics/verdict_level.py``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from resexpand.montecarlo.statistics.intervals import straightened, unskewed

Array = npt.NDArray[np.float64]

SKEWNESS_MARGIN = 1.5
"""Factor on the skewness of a sample that speaks for the null hypothesis."""


def student_tail(t: npt.ArrayLike, dof: npt.ArrayLike) -> Array:
    """Return the Student tail `P(T > t)`, elementwise in `t` and degrees of freedom."""
    from scipy.special import stdtr

    return np.asarray(stdtr(dof, -np.asarray(t, dtype=float)))


def student_quantile(tail: float, dof: npt.ArrayLike) -> Array:
    """Return the `t` of upper tail `tail`, elementwise in degrees of freedom."""
    from scipy.special import stdtrit

    return -np.asarray(stdtrit(dof, tail))


def cautious(t: Array, side: Array, lean: Array, doubt: Array) -> Array:
    """Return the statistic that is left of `t` once skewness has explained what it may.

    Parameters
    ----------
    t : ndarray
        Student's statistic, positive in the direction of `side`.
    side : ndarray
        1 where the estimate lies above, -1 where it lies below.
    lean, doubt : ndarray
        Skewness of the estimate and its uncertainty, see `resexpand.agreement.shape`.
    """
    return np.where(t > 0.0, straightened(t, -_against(side, lean, doubt)), t)


def convincing(quantile: Array, side: Array, lean: Array, doubt: Array) -> Array:
    """Return the statistic of which `cautious` leaves a quantile: its inverse."""
    return np.asarray(unskewed(quantile, -_against(side, lean, doubt)))


def _against(side: Array, lean: Array, doubt: Array) -> Array:
    return np.asarray(SKEWNESS_MARGIN * np.maximum(0.0, -side * lean) + doubt)


def chi_square_tail(value: float, dof: int) -> float:
    """Return the chi-square tail `P(X > value)`; 1 where `dof` is 0."""
    from scipy.special import chdtrc

    return float(chdtrc(dof, value)) if dof else 1.0
