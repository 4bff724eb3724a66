"""Tail probabilities of the normal, Student and chi-square distributions, without SciPy.

`Q(z) = P(Z > z) = erfc(z/sqrt 2)/2` for a standard normal `Z`. A Student variable of `nu` degrees
of freedom is mapped to the normal variable of equal tail by the asymptotic series in
`1/(nu - 1/2)` of G. W. Hill, *Student's t-distribution*, Comm. ACM 13 (1970) 617, Algorithm 395;
for `nu >= 15` and tails down to 1e-12 the relative error of the probability stays below 1e-5, for
`nu >= 9` and tails down to 1e-8 below 1e-4. The series is used only there: fewer effective draws
give no verdict (`resexpand.agreement.health`).

Draws that are skewed to one side make means that are too low together with errors that are too
small, or the reverse: far out one tail of Student's statistic is many times too heavy. `cautious`
takes out what skewness may explain, with Hall's transformation
(`resexpand.montecarlo.statistics.intervals`). A sample that has not seen its tail shows too little
of its skewness: that is why the skewness is taken half as large again, and why the other side gains
nothing from it. What this does to the level and to the power of a verdict is measured in
``numerics/verdict_level.py``.
"""

from __future__ import annotations

import math
from functools import lru_cache

import mpmath
import numpy as np
import numpy.typing as npt

from resexpand.errors import HyperparameterError
from resexpand.montecarlo.statistics.intervals import straightened, unskewed

Array = npt.NDArray[np.float64]

SKEWNESS_MARGIN = 1.5
"""Factor on the skewness of a sample that speaks for the null hypothesis."""

_ERFC = np.frompyfunc(math.erfc, 1, 1)


def normal_tail(z: npt.ArrayLike) -> Array:
    """Return the upper tail `P(Z > z)` of the standard normal distribution, elementwise."""
    scaled = np.asarray(z, dtype=float) / math.sqrt(2.0)
    return np.asarray(0.5 * np.asarray(_ERFC(scaled), dtype=float))


@lru_cache(maxsize=512)
def normal_quantile(tail: float) -> float:
    """Return the `z` whose upper tail `P(Z > z)` is `tail`.

    Newton's method on `log Q`, which is concave, so that the iteration from the upper bound
    `sqrt(-2 log tail)` descends monotonically.

    Parameters
    ----------
    tail : float
        In the open interval (0, 1).

    Raises
    ------
    HyperparameterError
        If `tail` is not strictly between 0 and 1.
    """
    if not 0.0 < tail < 1.0:
        raise HyperparameterError(
            f"normal quantile at tail {tail!r}",
            "a tail probability lies strictly between 0 and 1",
            "pass a level such as 0.0027",
        )
    if tail > 0.5:
        return -normal_quantile(1.0 - tail)
    target, z = math.log(tail), math.sqrt(-2.0 * math.log(tail))
    for _ in range(60):
        q = 0.5 * math.erfc(z / math.sqrt(2.0))
        density = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
        step = (math.log(q) - target) * q / density
        z += step
        if abs(step) <= 1e-15 * max(1.0, abs(z)):
            break
    return z


def student_to_normal(t: npt.ArrayLike, dof: npt.ArrayLike) -> Array:
    """Map a Student deviate `t` to the normal deviate of the same upper tail, elementwise.

    Parameters
    ----------
    t : array_like
        Student deviates, any sign; infinities map to themselves.
    dof : array_like
        Degrees of freedom, at least 9 (below, the series loses digits); broadcast against `t`.

    Source
    ------
    Hill, Comm. ACM 13 (1970) 617, Algorithm 395, the branch for large `dof`.
    """
    t, dof = np.broadcast_arrays(np.asarray(t, dtype=float), np.asarray(dof, dtype=float))
    a = dof - 0.5
    with np.errstate(invalid="ignore", over="ignore"):
        y = a * np.log1p(t * t / dof)
        z = np.copysign((_series(y, a) + 1.0) * np.sqrt(y), t)
    return np.where(np.isinf(t), t, z)


def student_tail(t: npt.ArrayLike, dof: npt.ArrayLike) -> Array:
    """Return the Student tail `P(T > t)`, elementwise; see `student_to_normal`."""
    return normal_tail(student_to_normal(t, dof))


def student_quantile(tail: float, dof: npt.ArrayLike) -> Array:
    """Return the `t` of upper tail `tail` (at most one half), elementwise in degrees of freedom.

    Inverts `student_to_normal`: there `z = (1 + series(y)/b) sqrt(y)` with `y = a log(1 + t^2/nu)`,
    and the first factor is close to 1, so that `y = (z/(1 + series(y)/b))^2` is iterated.
    """
    z, dof = normal_quantile(tail), np.asarray(dof, dtype=float)
    a = dof - 0.5
    y = np.full(dof.shape, z * z)
    for _ in range(100):
        before, y = y, (z / (_series(y, a) + 1.0)) ** 2
        if np.all(np.abs(y - before) <= 1e-15 * y):
            break
    return np.asarray(np.sqrt(dof * np.expm1(y / a)))


def _series(y: Array, a: Array) -> Array:
    """Return Hill's series over `b`: what is beyond `sqrt(y)`, relative to it."""
    b = 48.0 * a * a
    top = ((-0.4 * y - 3.3) * y - 24.0) * y - 85.5
    return np.asarray((top / (0.8 * y * y + 100.0 + b) + y + 3.0) / b)


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
    if dof == 0:
        return 1.0
    return float(mpmath.gammainc(dof / 2.0, value / 2.0, mpmath.inf, regularized=True))
