r"""Covariances of features as series in canonical correlations, for smooth activations.

Two sets of Gaussian variables are linear images of standard normals ``w`` and ``w'`` of which only
``w_i`` and ``w'_i`` are correlated, by the singular values ``s_i`` of the whitened covariance
between the sets. With the coefficients

    A_ab = < F(y) he_a(w_1) he_b(w_2) >,    B_ab = < G(x) he_a(w'_1) he_b(w'_2) >

in normalised Hermite polynomials, by Mehler's formula for every ``i``,

    Cov(F(y), G(x)) = sum_{(a, b) != 0} s_1^a s_2^b A_ab B_ab:

two averages over two variables instead of one over four. By the inequality of Cauchy and Schwarz
what lies beyond ``N`` terms in each index is at most ``s_1^N sqrt(T_A T_B)``, where ``T_A = <F^2> -
sum A_ab^2`` is known as soon as the coefficients are; the trapezoidal rule takes both, and its
error falls exponentially. The stated error is this bound, the difference of two rules and the
rounding. What does not end within the terms of `LEVELS`, is too narrow for the grid or reaches
beyond it is left to sums over panels (`resexpand.numbers.one_loop.panel_averages`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from resexpand.activations.activation_law import ActivationLaw
from resexpand.codegen.products import block_product
from resexpand.gaussian.hermite import hermite_functions
from resexpand.numbers.one_loop.features import features, resolved_features

Array = NDArray[np.float64]

LEVELS = ((48, (0.17, 0.22)), (112, (0.17, 0.22)), (176, (0.12, 0.155)))
"""Terms in each index, tried in turn, and the steps of two rules, in standard deviations."""

REACH = 12.5
"""Half-width of the grid in standard deviations."""

NARROWEST = 3.0
"""Shortest panel, in steps, of a function that the grid may resolve."""

FINER, RESOLVED = 8, 1e-10
"""Divisions of a step at which functions of one variable are compared, and relative difference of
their averages up to which the step resolves them."""

OUTSIDE = 30.0
"""Norm of what lies beyond the grid, relative to its largest value at the end."""

ENDED, KNOWN = 1e-13, 1e-10
"""Errors, relative to the standard deviations, at which the sum ends, and above which panels take
over."""

ROUNDING = 64 * float(np.finfo(float).eps)
"""Relative rounding of products of features and of their sums."""

EMPTY = 1e-8
"""As in `resexpand.numbers.one_loop.panel_averages`."""

TINY = float(np.finfo(float).tiny)


def series_covariances(
    law: ActivationLaw, whitened: tuple[Array, Array], between: Array
) -> tuple[Array, Array]:
    """Return the covariance of a later and an earlier product and its three derivatives.

    Parameters
    ----------
    law : ActivationLaw
        A smooth activation.
    whitened : (ndarray, ndarray)
        Lower triangles ``L_y`` (m, m) and ``L_x`` (k, k) of the covariances of either set; one
        variable stands for its square.
    between : ndarray, shape (m, k)
        Covariance of ``L_y^-1 y`` and ``L_x^-1 x``.

    Returns
    -------
    values, errors : ndarray, shape (4,)
        Derivatives with respect to S_11, S_12, S_22, or in the second place to the one variance;
        errors relative to the standard deviation of the earlier product and the size of each.
        Both are NaN where the series is not used.
    """
    left, s, right = np.linalg.svd(between)
    maps = whitened[0] @ left, whitened[1] @ right.T
    s = np.minimum(s, 1.0)
    unknown = np.full(4, np.nan), np.full(4, np.nan)
    best = unknown
    with np.errstate(over="ignore", invalid="ignore"):
        for terms, steps in LEVELS:
            if not all(_fits(law, m, steps[0]) for m in maps):
                continue
            (values, sizes, bound), (others, _, _) = (
                _sums(law, maps, s, terms, step) for step in steps
            )
            errors = (np.abs(values - others) + bound) / sizes
            if (errors <= KNOWN).all():
                best = values, errors
            if (errors <= ENDED).all():
                break
    return best


def _fits(law: ActivationLaw, variables: Array, step: float) -> bool:
    """Whether the grid resolves the activation on the scale of every variable."""
    edges = resolved_features(law).edges
    for deviation in np.sqrt((variables**2).sum(axis=1)):
        inside = edges[np.abs(edges) <= REACH * deviation]
        if inside.size > 1 and np.diff(inside).min() < NARROWEST * step * deviation:
            return False
        # A feature between the nodes of both rules is seen by a finer one.
        fine = np.arange(-REACH, REACH, step / FINER)
        values = features(law, deviation * fine)
        values = np.concatenate([values**2, values[:1] ** 4]) * np.exp(-(fine**2) / 2)
        sums = [values[:, k::FINER].sum(axis=1) for k in range(0, FINER, 2)]
        if not (np.ptp(sums, axis=0) <= RESOLVED * np.mean(sums, axis=0)).all():
            return False
    return True


def _sums(
    law: ActivationLaw, maps: tuple[Array, Array], s: Array, terms: int, step: float
) -> tuple[Array, Array, Array]:
    """Return values, what errors are relative to, and bounds of tail and rounding."""
    late = _moments(law, maps[0], s.size, terms, step, derivatives=True)
    early = _moments(law, maps[1], s.size, terms, step, derivatives=False)
    powers = s[0] ** np.arange(terms)
    if s.size == 2:
        powers = powers[:, None] * s[1] ** np.arange(terms)
    powers.flat[0] = 0.0
    values = np.einsum("kn,n->k", late.coefficients, powers.ravel() * early.coefficients[0])
    spread, whole = early.deviation[0], early.rms[0]
    own = np.concatenate([late.deviation[:1], late.rms[1:]])
    natural = EMPTY * late.natural
    tail = s[0] ** terms * late.tail * early.tail[0]
    rounding = ROUNDING * (late.rms * spread + own * whole)
    missed = late.missed * spread + own * early.missed[0]
    return values, np.maximum(spread * np.maximum(own, natural), TINY), tail + rounding + missed


@dataclass(frozen=True)
class _Moments:
    """Coefficients of functions, ``(k, terms)`` or ``(k, terms^2)``, and sizes, ``(k,)``."""

    coefficients: Array
    rms: Array
    deviation: Array
    tail: Array
    missed: Array
    natural: float


def _moments(
    law: ActivationLaw, m: Array, rank: int, terms: int, step: float, *, derivatives: bool
) -> _Moments:
    nodes, roots, basis = _grid(step, terms)
    count = nodes.size
    middle = count // 2
    # What is even under a change of all signs is averaged over one half.
    half = m.shape[0] == 2 and law.is_odd
    first = slice(middle, None) if half else slice(None)
    scale = np.where(np.arange(count) == middle, 1.0, 2.0)[first] if half else np.ones(count)
    axes = [nodes[first], nodes][: m.shape[0]]
    grid = np.meshgrid(*axes, indexing="ij")
    known = [features(law, sum(a * w for a, w in zip(row, grid, strict=True))) for row in m]
    values = _products(known, derivatives=derivatives)
    ends = roots[first], roots
    weighted = values * ends[0].reshape((-1,) + (1,) * (m.shape[0] - 1))
    weighted = weighted * ends[1] if m.shape[0] == 2 else weighted
    density = scale[:, None] * np.ones(count) if m.shape[0] == 2 else scale
    squares = (weighted**2 * density).reshape((len(values), -1)).sum(axis=1)
    natural = float(sum((k[0] ** 2 * _weights(ends, m.shape[0]) * density).sum() for k in known))
    own, kept_whole = basis[:, first] * scale, squares
    if m.shape[0] == 1:
        coefficients = weighted @ own.T
    elif rank == 1:
        # What depends on the other normal is correlated with nothing.
        weighted_one = weighted @ basis[0]
        kept_whole = (weighted_one**2 * scale).sum(axis=1)
        coefficients = weighted_one @ own.T
        coefficients[:, 1::2] *= not half
    else:
        coefficients = np.stack([block_product(block_product(own, v), basis.T) for v in weighted])
        if half:
            coefficients[:, np.add.outer(np.arange(terms), np.arange(terms)) % 2 == 1] = 0.0
        coefficients = coefficients.reshape((len(values), -1))
    kept = np.einsum("kn,kn->k", coefficients[:, 1:], coefficients[:, 1:])
    left = kept_whole - coefficients[:, 0] ** 2 - kept
    # Aliases make it negative: they are as large as it is.
    left = np.maximum(np.abs(left), 4 * np.finfo(float).eps * squares)
    deviation = np.sqrt(kept + left + squares - kept_whole)
    missed = OUTSIDE * _at_the_ends(weighted, half=half)
    return _Moments(coefficients, np.sqrt(squares), deviation, np.sqrt(left), missed, natural)


def _products(known: list[Array], *, derivatives: bool) -> Array:
    """Return ``F`` and, where they are wanted, ``F_11, F_12, F_22``, halved where repeated."""
    if len(known) == 1:
        g, slope, bend = known[0]
        rows = [g * g, slope * slope + 2 * g * bend]
        rows = [rows[0], 0 * rows[0], rows[1], 0 * rows[0]]
    else:
        (g, slope, bend), (other, steep, bent) = known
        rows = [g * other]
        rows += [bend * other, slope * steep, g * bent] if derivatives else []
    return np.stack(rows if derivatives else rows[:1])


def _weights(ends: tuple[Array, Array], count: int) -> Array:
    return ends[0] ** 2 if count == 1 else np.multiply.outer(ends[0] ** 2, ends[1] ** 2)


def _at_the_ends(weighted: Array, *, half: bool) -> Array:
    """Return the largest values at the ends of the grid, shape ``(k,)``."""
    sides = [weighted[:, -1], *([] if half else [weighted[:, 0]])]
    sides += [weighted[..., 0], weighted[..., -1]] if weighted.ndim == 3 else []
    flat = [np.abs(side).reshape((len(weighted), -1)).max(axis=1) for side in sides]
    return np.asarray(np.max(flat, axis=0))


@cache
def _grid(step: float, terms: int) -> tuple[Array, Array, Array]:
    """Return nodes, roots of weight times density there, and Hermite polynomials times those."""
    count = int(np.ceil(REACH / step))
    nodes: Array = np.arange(-count, count + 1, dtype=np.float64) * step
    basis = np.stack(list(hermite_functions(nodes, terms))) * np.sqrt(step)
    return nodes, basis[0].copy(), basis
