"""What a part of the stream contributes: energies, projected shares, and what is left over."""

from __future__ import annotations

import numpy as np

from resexpand.measure.given_network import Array


def energies(parts: Array) -> Array:
    """Return ``|p|^2 / N`` over the last axis."""
    return np.asarray(np.einsum("...i,...i->...", parts, parts) / parts.shape[-1])


def shares(whole: Array, parts: Array) -> Array:
    """Return ``p . h / |h|^2`` for parts p, shape (parts, batch), zero where h is zero.

    Energies of parts do not sum to that of the whole, since parts overlap; these shares sum to one
    if the parts sum to h. One may be negative, where a part points against the whole.
    """
    overlaps = np.einsum("kbi,bi->kb", parts, whole)
    size = np.einsum("bi,bi->b", whole, whole)
    return np.asarray(np.divide(overlaps, size, out=np.zeros_like(overlaps), where=size > 0))


def relative_rest(whole: Array, parts: Array) -> Array:
    """Return ``|h - sum p| / |h|`` for every input, the numerator alone where h is zero."""
    rest = np.linalg.norm(whole - parts.sum(axis=0), axis=-1)
    size = np.linalg.norm(whole, axis=-1)
    return np.asarray(np.divide(rest, size, out=rest.copy(), where=size > 0))


def table(energy: Array, share: Array, what: str, rest: float | Array) -> str:
    """Return energies and shares as lines of text, averaged over the inputs."""
    lines = [
        f"{what} {k}: energy {float(np.mean(e)):.4g}, share {float(np.mean(s)):.4g}"
        for k, (e, s) in enumerate(zip(energy, share, strict=True))
    ]
    return "\n".join([*lines, f"left out: {float(np.max(rest)):.2g} of the stream"])
