r"""How second moments of normalised batches change, to first order.

Of ``M = E psi(x) psi(x)^T``, ``x = BN(u)``, ``u ~ N(0, S)``, two changes are known: the response
``dM`` to a change dS of the kernel, and what the Jacobian ``J = d psi(x)/du`` makes of tangents
that are independent of the batch, ``T' = E J T J^T`` (G, S_G: `resexpand.numbers.batch_moments`):

- exchangeable S, every psi: averages over a sphere (`resexpand.numbers.sphere_changes`);
- any S, psi linear on either side of zero: the derivative of the integral over s, with
  ``N = (1 + 2 s S_G/B)^(-1)`` and ``C = S_G N``,

      dM = int ds e^(-s eps) det(N)^(1/2) [ dV(C; N dS_G N) - (s/B) tr(N dS_G) V(C) ];

- any other S and psi, tangents of them, and inputs that meet statistics of others: lattice rules
  over R^B, where ``du = dS S_G^+ u / 2`` moves the batch as a change of its kernel does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from resexpand.errors import KernelError, UnsupportedError
from resexpand.numbers.batch_moments import (
    POINTS,
    Psi,
    image,
    inverse_square,
    is_exchangeable,
    lattice,
    normalised,
    pair_moments,
    repetitions,
    slopes_of_sides,
    spectrum,
)
from resexpand.numbers.sphere_changes import changed_on_sphere

Array = NDArray[np.float64]

SPAN = 1e-9
"""Relative part of a change outside of the span of the batch that counts as rounding."""


@dataclass(frozen=True)
class Batch:
    """A normalised batch, and the question to it.

    Attributes
    ----------
    eps : float
    size : int
        Inputs that share statistics.
    seed : int
        Of lattice rules, as of `resexpand.numbers.batch_moments.moments_of`.
    trained : int
        Inputs that have statistics of their own, in front of those of an evaluation.
    tangent : bool
        Whether changes are Gram matrices of tangents, and not changes of the kernel.
    """

    eps: float
    size: int
    seed: int
    trained: int
    tangent: bool


def moved_moments(psi: Psi, kernels: Array, changes: Array, batch: Batch) -> Array:
    """Return what changes become behind a normalised batch.

    Parameters
    ----------
    psi : Psi
    kernels : ndarray, shape (n, B, B)
        One kernel, or one for each repetition of lattice rules.
    changes : ndarray, shape (..., n or 1, B, B)
        Symmetric.
    batch : Batch

    Returns
    -------
    ndarray, shape (..., n', B, B)

    Raises
    ------
    UnsupportedError
        If psi jumps, so that it has no Jacobian, or the moments are infinite.
    KernelError
        If inputs are linearly dependent, and the change leads out of their span.
    """
    count = kernels.shape[-1]
    alike = batch.trained == count and len(kernels) == 1 and is_exchangeable(kernels[0], batch.size)
    _require_finite(psi, kernels, batch, alike)
    flat = changes.reshape(-1, *changes.shape[-3:])

    def moved(one: Psi) -> Array:
        given = replace(one, draws=(), clean=psi.clean)
        return _moved(given, kernels, flat, batch, alike)

    moments = moved(Psi(psi.law))
    if psi.draws:
        own = np.arange(batch.trained)
        drawn = [chance * moved(Psi(one))[..., own, own] for one, chance in psi.draws]
        moments[..., own, own] = sum(drawn)
    return moments.reshape(*changes.shape[:-3], *moments.shape[1:])


def _require_finite(psi: Psi, kernels: Array, batch: Batch, alike: bool) -> None:
    laws = (psi.law, *(one for one, _ in psi.draws))
    if (batch.tangent or not alike) and any(law.jumps for law in laws):
        raise UnsupportedError(
            f"gradients and responses through {psi.law!r} behind a batch",
            "it jumps, and has no derivative there",
            "use a continuous activation",
        )
    count = kernels.shape[-1]
    exact = psi.is_homogeneous and batch.size == count == batch.trained
    if batch.eps > 0 or (not batch.tangent and (alike or exact)):
        return
    firsts = range(0, batch.trained, batch.size)
    blocks = [kernels[0][f : f + batch.size, f : f + batch.size] for f in firsts]
    rank = batch.size - 1 if alike else min(int((spectrum(b)[0] > 0).sum()) for b in blocks)
    # Rules on a lattice need a variance, too.
    least = 3 if alike or not batch.tangent else 5
    if rank >= least:
        return
    infinite = "mean" if rank < (3 if batch.tangent else 2) else "variance to tell its error by"
    of = "inverse square of the length" if batch.tangent else "inverse length"
    raise UnsupportedError(
        f"the mean of {'squared gradients' if batch.tangent else 'responses'} of a batch of "
        f"{batch.size}, {rank + 1} of them independent",
        f"it is infinite or not known: the {of} of a centred batch has no {infinite}",
        f"give a batch of more than {least} inputs that are independent, or eps > 0; or sample "
        "log_gradient",
    )


def _moved(psi: Psi, kernels: Array, changes: Array, batch: Batch, alike: bool) -> Array:
    """Return the changes, shape (m, n, B, B), of one function; of the mean if masks draw it."""
    count = kernels.shape[-1]
    if alike:
        given = kernels[0], batch.size, batch.eps, batch.tangent
        return np.stack([changed_on_sphere(psi, c, *given) for c in changes.swapaxes(0, 1)], axis=1)
    if psi.is_homogeneous and batch.size == count == batch.trained and not batch.tangent:
        wide = np.broadcast_to(changes, (len(changes), len(kernels), count, count)).swapaxes(0, 1)
        pairs = zip(kernels, wide, strict=True)
        return np.stack([_homogeneous(psi, k, c, batch.eps) for k, c in pairs], axis=1)
    repeated, shifts = repetitions(kernels, batch.seed)
    wide = np.broadcast_to(changes, (len(changes), len(repeated), count, count)).swapaxes(0, 1)
    each = zip(repeated, wide, shifts, strict=True)
    return np.stack([_by_lattice(psi, k, c, batch, shift) for k, c, shift in each], axis=1)


def _homogeneous(psi: Psi, kernel: Array, changes: Array, eps: float) -> Array:
    """Return the derivative of the integral over s along changes, shape (m, B, B)."""
    size = len(kernel)
    values, vectors = spectrum(kernel)
    steps = vectors.T @ _centred(changes, size, size) @ vectors
    _require_span(steps, values)
    s, grown, weights = inverse_square(values, eps)
    shrunk = np.einsum("ik,sk,jk->sij", vectors, values / grown, vectors)
    traces = np.einsum("mkk,sk->ms", steps, 1 / grown) * s / size
    changed = -np.einsum("s,ms,sij->mij", weights, traces, pair_moments(psi, shrunk))
    even, odd = slopes_of_sides(psi)
    own = np.maximum(np.diagonal(shrunk, axis1=1, axis2=2), 0)
    scale = np.sqrt(own[:, :, None] * own[:, None, :])
    ratio = np.divide(shrunk, scale, out=np.zeros_like(scale), where=scale > 0).clip(-1, 1)
    ratio[:, np.arange(size), np.arange(size)] = 1.0
    # Derivatives of <|x| |y|>: by the covariance, and by the logarithm of either variance.
    sides = np.where(own > 0, 1 / np.where(own > 0, own, 1), 0)
    root = scale * np.sqrt(1 - ratio**2) / np.pi
    for place, step in enumerate(steps):
        inner = step / (grown[:, :, None] * grown[:, None, :])
        moved = np.einsum("ik,skl,jl->sij", vectors, inner, vectors, optimize=True)
        logs = np.diagonal(moved, axis1=1, axis2=2) * sides
        folded = np.arcsin(ratio) * 2 / np.pi * moved + root * (logs[:, :, None] + logs[:, None, :])
        changed[place] += np.tensordot(weights, odd**2 * moved + even**2 * folded, 1)
    return np.asarray(changed)


def _centred(changes: Array, size: int, trained: int) -> Array:
    """Return changes without what normalisations do not see: common parts of their batches."""
    count = changes.shape[-1]
    groups = np.arange(count) // size if trained == count else np.zeros(count)
    same = groups[:, None] == groups
    centring = np.eye(count) - same / same.sum(axis=1)
    return np.asarray(centring @ changes @ centring)


def _require_span(steps: Array, values: Array) -> None:
    """Raise if changes, in the basis of a kernel, have a part where its eigenvalues vanish."""
    # Centring leaves one empty direction, in which a change has nothing but rounding.
    empty = values <= 0
    outside = np.abs(steps[:, empty]).max(initial=0.0)
    if outside > SPAN * max(np.abs(steps).max(initial=0.0), 1e-300):
        raise KernelError(
            "the response of a batch whose inputs are linearly dependent",
            "the change of its kernel leads out of their span, where the kernel has no derivative",
            "give more neurons than inputs at layer 0 (a K0 of full rank), or dK0 within the span",
        )


def _by_lattice(psi: Psi, kernel: Array, changes: Array, batch: Batch, shift: Array) -> Array:
    """Return the changes by the Jacobian at a lattice of points."""
    count = len(kernel)
    x = lattice(kernel, shift)
    normed, scale = normalised(x, batch.eps, batch.size, batch.trained)
    jacobians = _jacobians(normed, scale, batch)
    jacobians *= image(psi, normed, batch.trained, slope=True)[:, :, None]
    if batch.tangent:
        flat = jacobians.reshape(POINTS, -1)
        four = (flat.T @ flat / POINTS).reshape((count,) * 4)
        return np.asarray(np.einsum("ipjq,mpq->mij", four, changes, optimize=True))
    values, vectors = np.linalg.eigh(_centred(kernel[None], batch.size, batch.trained)[0])
    values = np.where(values > 1e-12 * values[-1], values, 0.0)
    steps = _centred(changes, batch.size, batch.trained)
    _require_span(vectors.T @ steps @ vectors, values)
    inverse = vectors @ np.diag(np.divide(1, values, out=np.zeros(count), where=values > 0))
    paths = steps @ inverse @ vectors.T / 2
    y = image(psi, normed, batch.trained)
    products = (x[:, :, None] * y[:, None, :]).reshape(POINTS, -1)
    four = (jacobians.reshape(POINTS, -1).T @ products / POINTS).reshape((count,) * 4)
    half = np.einsum("ipqj,mpq->mij", four, paths, optimize=True)
    return np.asarray(half + half.swapaxes(-1, -2))


def _jacobians(normed: Array, scale: Array, batch: Batch) -> Array:
    """Return the derivatives of normalised entries, shape (POINTS, B, B)."""
    points, count = normed.shape
    trained, size = batch.trained, batch.size
    groups = np.arange(trained) // size
    same = groups[:, None] == groups
    jacobians = np.zeros((points, count, count))
    own = normed[:, :trained]
    jacobians[:, :trained, :trained] = (np.eye(trained) - same / size) / scale[:, :trained, None]
    outer = own[:, :, None] * own[:, None, :] * same / size
    jacobians[:, :trained, :trained] -= outer / scale[:, :trained, None]
    if trained < count:
        test, divisor = normed[:, trained:, None], scale[:, trained:, None]
        # The variance that a test meets is the mean of the unbiased ones of all batches.
        moved = own * scale[:, :trained] / ((size - 1) * (trained // size))
        jacobians[:, trained:, trained:] = np.eye(count - trained) / divisor
        if batch.tangent:
            # Statistics are constants of an evaluation.
            return jacobians
        jacobians[:, trained:, :trained] = -1 / trained / divisor
        jacobians[:, trained:, :trained] -= test * moved[:, None, :] / divisor**2
    return jacobians
