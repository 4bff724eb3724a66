"""Contributions of parts of the stream: energies, projected shares, and the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from resexpand.expressions.shown import Fielded
from resexpand.measure.given_network import Array, GivenNetwork


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


@dataclass(frozen=True, eq=False, repr=False)
class Parts(Fielded):
    """The parts of a network at given inputs.

    Attributes
    ----------
    terms : array, shape (count, N) or (count, N, batch)
        The parts at the last layer, the network's scales included.
    output : array, shape (N,) or (N, batch)
        The network itself, ``h^L``.
    energies : array, shape (count,) or (count, batch)
        ``|p_k|^2 / N``.
    shares : array, same shape
        ``p_k . h^L / |h^L|^2``: they sum to one minus the share of what is left out.
    residual : float or array of shape (batch,)
        ``|h^L - sum_k p_k| / |h^L|``.
    """

    terms: Array
    output: Array
    energies: Array
    shares: Array
    residual: float | Array

    what: ClassVar[str]
    """Number that counts the parts."""

    @classmethod
    def of(cls, given: GivenNetwork, stream: Array, **more: Any) -> Self:
        """Return what a stream holds: the network itself, and behind it the parts."""
        output, terms = stream[0], stream[1:]
        return cls(
            given.as_given(terms),
            given.as_given(output),
            given.per_input(energies(terms)),
            given.per_input(shares(output, terms)),
            given.per_input(relative_rest(output, terms))[()],
            **more,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}\n{self}>"

    def __str__(self) -> str:
        lines = [
            f"{self.what} {k}: energy {float(np.mean(e)):.4g}, share {float(np.mean(s)):.4g}"
            for k, (e, s) in enumerate(zip(self.energies, self.shares, strict=True))
        ]
        rest = float(np.max(self.residual))
        return "\n".join([*lines, f"left out: {rest:.2g} of the stream"])
