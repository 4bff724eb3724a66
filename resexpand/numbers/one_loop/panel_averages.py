r"""Covariances of features by quadrature, for activations without closed averages.

``Cov(phi(y_1) phi(y_2), phi(x_1) phi(x_2))`` and its derivatives with respect to the covariances of
the later pair ``y``. With ``v = L z`` for the variables in the order ``x_1, x_2, y_1, y_2`` and
standard normals ``z``, nodes of the first two normals run over the earlier pair, and the average
over the later pair given the earlier one is taken inside; what coincides or follows from others
needs no normal of its own. The last normal of four is averaged once for all into a table
(`resexpand.numbers.one_loop.smoothed`). All sums run on panels that resolve the activation
(`resexpand.numbers.one_loop.panel_nodes`).

One and the same later variable stands for ``f = phi^2``. Where `f` has kinks or jumps, its second
derivative is moved onto the weight, ``<f''> = <f(y) (z^2 - 1)>/d^2``, ``d`` the deviation of ``y``
given the earlier pair; without such a deviation there is none.

The stated error is the difference of two rules on the panels and the rounding of the sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from resexpand.activations.activation_law import ActivationLaw
from resexpand.errors import UnsupportedError
from resexpand.gaussian.panels import Resolved
from resexpand.gaussian.quadrature import Resolution, panel_rule
from resexpand.numbers.one_loop.features import features, resolved_features
from resexpand.numbers.one_loop.hermite_averages import series_covariances
from resexpand.numbers.one_loop.panel_nodes import Line, nodes_of, reaches
from resexpand.numbers.one_loop.smoothed import Smoothed, smoothed

Array = NDArray[np.float64]
Integers = NDArray[np.intp]

LARGEST = 1e24
"""Variance from which on quadrature is not tried: its averages leave double precision."""

TOGETHER = 64
"""Averages of two variables that are worked on at once."""

ROWS = 4096
"""Nodes of the earlier pair that are worked on at once."""

SINGULAR = 4e-16
"""Relative size of a variance that rounding alone leaves."""

ROUNDING = 64 * float(np.finfo(float).eps)
"""Relative rounding of a term of a sum: four features that grow as fast as their arguments."""

EMPTY = 1e-8
"""Size of features, relative to those of the other inputs, below which only rounding is left."""

MOST = 10**8
"""Nodes of one average; more of them take minutes."""

TINY = float(np.finfo(float).tiny)


def covariances(
    law: ActivationLaw, sigma: Array, same: tuple[bool, bool], *, slopes: bool
) -> tuple[Array, float]:
    """Return covariances and their derivatives with respect to S_11, S_12, S_22.

    Parameters
    ----------
    law : ActivationLaw
        The activation; smooth, if the later variables are two.
    sigma : ndarray, shape (n, 4, 4)
        Covariances of ``y_1, y_2, x_1, x_2``.
    same : (bool, bool)
        Whether ``y_1`` and ``y_2``, ``x_1`` and ``x_2`` are one and the same variable; then the
        derivative with respect to the variance stands in the place of S_12.
    slopes : bool
        Whether the derivatives are wanted.

    Returns
    -------
    values : ndarray, shape (4, n)
        NaN where a variance is beyond `LARGEST`, or the integrand does not end.
    error : float
        Bound of the largest error, relative to the standard deviations of both products; for the
        derivatives to that of the earlier product and the size of the later derivative.

    Raises
    ------
    UnsupportedError
        If an average would take more than `MOST` nodes.
    """
    values, error = np.full((4, sigma.shape[0]), np.nan), 0.0
    used = slice(0, 4 if slopes else 1)
    known = np.flatnonzero((np.diagonal(sigma, axis1=1, axis2=2) < LARGEST).all(axis=1))
    if law.is_smooth and not all(same):
        values, errors = _as_series(law, sigma, same, known)
        error = float(np.nanmax(errors[used], initial=0.0))
        known = known[np.isnan(values[0, known])]
    # A table is that of one average.
    step = TOGETHER if all(same) else 1
    rules: tuple[Resolution, ...] = ("fine", "coarse") if any(same) else ("lower", "lowest")
    for start in range(0, known.size, step):
        part = known[start : start + step]
        # Numbers beyond double precision end as an error that is not finite.
        with np.errstate(over="ignore", invalid="ignore"):
            problem = Problem.of(law, sigma[part], same)
            fine, coarse = (problem.sums(resolution) for resolution in rules)
            found = (np.abs(fine.values - coarse.values) + fine.rounding) / fine.sizes
        values[:, part] = fine.values
        error = max(error, float(np.max(np.nan_to_num(found[used], nan=np.inf), initial=0.0)))
    return values, error


def _as_series(
    law: ActivationLaw, sigma: Array, same: tuple[bool, bool], known: Integers
) -> tuple[Array, Array]:
    """Return those averages that are short series, and NaN for the others."""
    values, errors = np.full((4, sigma.shape[0]), np.nan), np.full((4, sigma.shape[0]), np.nan)
    y, x = [0] if same[0] else [0, 1], [2] if same[1] else [2, 3]
    late, early = (triangular(sigma[:, p][:, :, p]) for p in (y, x))
    for k in known:
        # A variable of variance zero is a constant: it has no direction.
        between = _whitened(_whitened(sigma[k][np.ix_(y, x)], late[k]).T, early[k]).T
        values[:, k], errors[:, k] = series_covariances(law, (late[k], early[k]), between)
    return values, errors


def _whitened(rows: Array, triangle: Array) -> Array:
    """Return ``L^-1 rows``, zero along normals without a part in the triangle."""
    found = np.zeros_like(rows)
    for j in range(len(triangle)):
        if triangle[j, j] > 0:
            found[j] = (rows[j] - triangle[j, :j] @ found[:j]) / triangle[j, j]
    return found


@dataclass(frozen=True)
class Sums:
    """Covariances and derivatives, what their errors are relative to, and their rounding."""

    values: Array
    sizes: Array
    rounding: Array


@dataclass(frozen=True)
class Problem:
    """Averages of one kind.

    Attributes
    ----------
    law : ActivationLaw
        The activation.
    triangle : ndarray, shape (n, m, m)
        ``L`` of ``v = L z``, earlier variables first.
    earlier, later : int
        Number of variables, 1 or 2.
    swapped : bool
        Whether the later variables have changed places.
    """

    law: ActivationLaw
    triangle: Array
    earlier: int
    later: int
    swapped: bool

    @classmethod
    def of(cls, law: ActivationLaw, sigma: Array, same: tuple[bool, bool]) -> Problem:
        """Return the averages of some covariances of ``y_1, y_2, x_1, x_2``."""
        x = [2] if same[1] else [2, 3]
        y = [0] if same[0] else [0, 1]
        triangle = triangular(sigma[:, [*x, *y]][:, :, [*x, *y]])
        # The later variable with more of its own comes first: the other one is in the table.
        own = (triangle[:, len(x) :, len(x) :] ** 2).sum(axis=2)
        swapped = len(y) == 2 and bool((own[:, 1] > own[:, 0]).any())
        if swapped:
            order = [*x, *y[::-1]]
            triangle = triangular(sigma[:, order][:, :, order])
        return cls(law, triangle, len(x), len(y), swapped)

    @property
    def resolved(self) -> Resolved:
        """Panels of the activation."""
        return resolved_features(self.law)

    def sums(self, resolution: Resolution) -> Sums:
        """Return the covariances at one resolution of the panels."""
        rule = panel_rule(resolution)
        which, z, weights = self._earlier_nodes(rule)
        means = np.einsum("nki,ni->kn", self.triangle[which, :, : z.shape[1]], z)
        x = features(self.law, means[: self.earlier])[0]
        product = x[0] ** 2 if self.earlier == 1 else x[0] * x[1]
        later = np.empty((5, which.size))
        table = self._table(rule)
        for part in _pieces(which.size):
            given = which[part], z[part], means[self.earlier :, part]
            later[:, part] = self._later(*given, rule, table, which.size)
        if self.swapped:
            later = later[[0, 3, 2, 1, 4]]
        total = partial(_total, which, weights, self.triangle.shape[0])
        centred = product - total(product)[which]
        mean = total(later)[:, which]
        spread = np.sqrt(np.maximum(total(centred * product), 0.0))
        rough = np.abs(centred) * np.abs(later) + np.abs(product) * np.abs(later - mean)
        sizes = np.sqrt(total(later[:4] ** 2))
        own = np.sqrt(np.maximum(total(later[4] - mean[0] ** 2), 0.0))
        natural = EMPTY * total((x**2).sum(axis=0))
        sizes = np.maximum(np.concatenate([own[None], sizes[1:4]]), natural)
        values = total(centred * (later - mean))
        return Sums(values[:4], np.maximum(spread * sizes, TINY), ROUNDING * total(rough)[:4])

    def _earlier_nodes(self, rule: tuple[Array, Array]) -> tuple[Integers, Array, Array]:
        """Return the nodes of the earlier variables: average, normals and weight of each."""
        count = self.triangle.shape[0]
        which, z, weights = np.arange(count), np.empty((count, 0)), np.ones(count)
        for _ in range(self.earlier):
            rows, new, weight = self._extended(which, z, self._reach[which], rule)
            which, z = which[rows], np.column_stack([z[rows], new])
            weights = weights[rows] * weight
        return which, z, weights

    def _extended(
        self, which: Integers, z: Array, reach: Array, rule: tuple[Array, Array]
    ) -> tuple[Integers, Array, Array]:
        """Return nodes of the next normal for rows of nodes of those before it."""
        j = z.shape[1]
        triangle = self.triangle[which]
        if not self.triangle[:, j, j].any():
            return np.arange(which.size), np.zeros(which.size), np.ones(which.size)
        left = np.sqrt(np.maximum(reach**2 - (z**2).sum(axis=1), 0.0))
        lines = [
            Line(
                np.einsum("ni,ni->n", triangle[:, k, :j], z),
                triangle[:, k, j],
                np.sqrt((triangle[:, k, j + 1 :] ** 2).sum(axis=1)),
            )
            for k in range(j, triangle.shape[1])
            if triangle[:, k, j].any()
        ]
        return nodes_of(lines, left, self.resolved, rule)

    @cached_property
    def _reach(self) -> Array:
        deviations = np.sqrt((self.triangle**2).sum(axis=2))
        return reaches(deviations, self.resolved)

    def _later(
        self,
        which: Integers,
        z: Array,
        means: Array,
        rule: tuple[Array, Array],
        table: Smoothed | None,
        total: int,
    ) -> Array:
        """Return averages of ``g g, b g, s s, g b, g^2 g^2`` given nodes of the earlier pair.

        For one variable those of ``f, -, f''/2, -, f^2``. In all there are `total` of these nodes.
        """
        count, j = which.size, z.shape[1]
        if self.later == 1 and table is not None:
            ones, nothing = np.ones(count), np.zeros(count)
            first = np.stack([ones, ones, nothing])
            return table.products(np.arange(count), means[0], ones, first, count)
        rows, own, weights = self._extended(which, z, self._reach[which], rule)
        self._require_end(total / count * rows.size)
        d = self.triangle[which, j, j][rows]
        if self.later == 1:
            values = self._of_one(means[0][rows], own, d)[[0, 2, 1, 2, 3]]
            return _total(rows, weights, count, values)
        first = features(self.law, means[0][rows] + d * own)
        v = means[1][rows] + self.triangle[0, j + 1, j] * own
        if table is not None:
            return table.products(rows, v, weights, first, count)
        (g, s, b), (other, steep, bent, square) = first, self._of_last(v, 0.0, 0.0)
        values = np.stack([g * other, b * other, s * steep, g * bent, g * g * square])
        return _total(rows, weights, count, values)

    def _require_end(self, nodes: float) -> None:
        if nodes > MOST * self.triangle.shape[0]:
            raise UnsupportedError(
                f"averages over pairs of inputs of the activation {self.law.name}",
                f"it bends so often at these variances that one takes {nodes:.2g} nodes",
                "use smaller scales or depth, one input, or an activation with closed averages",
            )

    def _table(self, rule: tuple[Array, Array]) -> Smoothed | None:
        """Return averages over the last of three or four normals, if there is one."""
        last = self.triangle[0, -1]
        if self.earlier + self.later < 3 or last[-1] == 0:
            return None
        functions = self._of_one if self.later == 1 else self._of_last
        reach = float(self._reach[0])
        end = reach * float(np.sqrt((last[:-1] ** 2).sum()))
        return smoothed(functions, float(last[-1]), (-end, end), self.resolved, rule, reach)

    def _of_last(self, mean: Array, z: Array | float, d: Array | float) -> Array:
        """Return ``g, g', g''/2, g^2``."""
        known = features(self.law, mean + d * z)
        return np.concatenate([known, known[:1] ** 2])

    def _of_one(self, mean: Array, z: Array, d: Array | float) -> Array:
        """Return ``f, f''/2, 0, f^2``; the second on average over ``z``."""
        g, s, b = features(self.law, mean + d * z)
        f = g * g
        if self.law.is_smooth:
            bent = s * s + 2 * g * b
        else:
            # What is constant has no second derivative: without it small steps keep their digits.
            at_mean = features(self.law, mean)[0] ** 2
            with np.errstate(divide="ignore", invalid="ignore"):
                weight = np.where(d > 0, (z * z - 1) / (2 * d * d), 0.0)
            bent = weight * (f - at_mean)
        return np.stack([f, bent, np.zeros_like(f), f * f])


def triangular(covariance: Array) -> Array:
    """Return the lower triangles ``L``, ``L L^T`` a covariance of which some pivots may vanish.

    In extended precision where the platform has it: nearly parallel variables keep what they do
    not share.

    Parameters
    ----------
    covariance : ndarray, shape (n, m, m)
    """
    s = covariance.astype(np.longdouble)
    size = s.shape[1]
    triangle = np.zeros_like(s)
    for j in range(size):
        left = s[:, j:, j] - np.einsum("nki,ni->nk", triangle[:, j:, :j], triangle[:, j, :j])
        pivot = np.where(left[:, 0] > SINGULAR * s[:, j, j], left[:, 0], 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            column = left / np.sqrt(pivot)[:, None]
        triangle[:, j:, j] = np.where(pivot[:, None] > 0, column, 0)
    return triangle.astype(np.float64)


def _total(rows: Integers, weights: Array, count: int, values: Array) -> Array:
    """Return weighted sums of values by row; values may have one axis in front."""
    if values.ndim == 1:
        return np.asarray(np.bincount(rows, weights * values, minlength=count))
    return np.stack([np.bincount(rows, weights * v, minlength=count) for v in values])


def _pieces(count: int) -> Iterator[slice]:
    return (slice(start, start + ROWS) for start in range(0, count, ROWS))
