"""Covariances between layers by name, and a matrix of one's own: reading and checking."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import sympy as sp

from resexpand.errors import DescriptionError, HyperparameterError, ResexpandError
from resexpand.network.layers import Array, FractionalBrownian, LayerLaw, Markov, Smooth
from resexpand.network.numbers import real_array
from resexpand.network.operation import Operation

PSD_TOLERANCE = 1e-10
"""Most negative eigenvalue of c, in units of the largest, that counts as rounding."""

ASYMMETRY = 1e-10
"""Largest asymmetry of c, in units of its largest entry, that counts as rounding."""


class LayerMatrix(LayerLaw):
    """Covariances between layers of your own.

    A block behind the last, from which ``C^{L+1}`` is read, is independent.

    Parameters
    ----------
    entries : array_like, shape (L, L)
        The matrix c, symmetric and positive semi-definite. Its diagonal multiplies the variances.

    Raises
    ------
    DescriptionError
        If it is not such a matrix.
    """

    kind = "LayerMatrix"

    def __init__(self, entries: object):
        super().__init__()
        self.__dict__["entries"] = checked_matrix(entries)
        self.__dict__["values"] = ()
        self.__dict__["_key"] = self.entries.tobytes()

    entries: Array
    _key: bytes

    @property
    def is_normalised(self) -> bool:
        """Whether c(l, l) = 1."""
        return bool((np.diagonal(self.entries) == 1).all())

    def covariance(self, depth: int, further: int = 0) -> Array:
        """Return the matrix, and ones on the diagonal behind it."""
        self.check_depth(sp.Integer(depth))
        found = np.eye(depth + further)
        found[:depth, :depth] = self.entries
        return found

    def at(self, numbers: Sequence[Any]) -> Self:
        """Return the law itself."""
        return self

    def check_depth(self, depth: sp.Expr) -> None:
        """Raise if there are not as many rows as blocks."""
        if depth.is_number and depth != len(self.entries):
            raise DescriptionError(
                f"layers={self!r} at depth {depth}",
                "it has not one row per block",
                f"give a {depth} x {depth} matrix",
            )

    @property
    def record(self) -> list[Any]:
        """Kind and entries as JSON values."""
        return [self.kind, self.entries.tolist()]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LayerMatrix) and self._key == other._key

    def __hash__(self) -> int:
        return hash((self.kind, self._key))

    def __repr__(self) -> str:
        size = len(self.entries)
        return f"{self.kind}({size} x {size})"


LAYER_LAWS: dict[str, type[LayerLaw]] = {
    law.kind: law for law in (FractionalBrownian, Smooth, Markov, LayerMatrix)
}
"""Every law by name: the one place to add another."""


def layer_law(value: object) -> LayerLaw | None:
    """Return the law that the argument ``layers=`` means; None for independent layers.

    Raises
    ------
    DescriptionError
        If it is neither a law nor a matrix.
    """
    if value is None or (isinstance(value, str) and value == "independent"):
        return None
    if isinstance(value, LayerLaw):
        return value
    if isinstance(value, str | Operation | type):
        raise DescriptionError(
            f"layers={value!r}", "it is no law", f"use one of {', '.join(LAYER_LAWS)}, or a matrix"
        )
    return LayerMatrix(value)


def checked_matrix(value: object) -> Array:
    """Return a covariance between layers as an array, symmetric and without write access.

    Raises
    ------
    DescriptionError
        If it is no finite, symmetric, positive semi-definite matrix.
    """
    asked = "a covariance between layers"
    try:
        found = real_array(value, "layers")
    except HyperparameterError as error:
        raise DescriptionError(error.asked, error.why, error.remedy) from None
    if found.ndim != 2 or len(found) != found.shape[-1] or not found.size:
        raise DescriptionError(f"{asked} of shape {found.shape}", "it is not square", "give (L, L)")
    largest = float(np.abs(found).max())
    if float(np.abs(found - found.T).max()) > ASYMMETRY * largest:
        raise DescriptionError(asked, "it is not symmetric", "give (c + c.T) / 2")
    symmetric: Array = np.ascontiguousarray((found + found.T) / 2)
    eigenvalues = np.linalg.eigvalsh(symmetric)
    if eigenvalues[0] < -PSD_TOLERANCE * max(eigenvalues[-1], 0.0) or eigenvalues[0] == -np.inf:
        raise DescriptionError(
            asked,
            f"it is not positive semi-definite (smallest eigenvalue {eigenvalues[0]:.3g})",
            "a covariance always is: check |c(l, m)| <= sqrt(c(l, l) c(m, m))",
        )
    symmetric.setflags(write=False)
    return symmetric


def law_of_record(record: Sequence[Any]) -> LayerLaw:
    """Return the law of a kind and parameters from JSON."""
    kind, *given = record
    return LAYER_LAWS[kind](*given)


def law_of_text(text: str) -> LayerLaw:
    """Return the law of a text such as ``FractionalBrownian(0.8)`` or ``Smooth(rbf, 0.01)``.

    Raises
    ------
    DescriptionError
        If it is none.
    """
    found = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\))?\s*", text, re.DOTALL)
    kinds = [kind for kind in LAYER_LAWS if kind != LayerMatrix.kind]
    if found is None or found[1] not in kinds:
        raise DescriptionError(
            f"layers {text[:60]!a}", "there is no such law", f"use one of {', '.join(kinds)}"
        )
    parts = [part.strip() for part in (found[2] or "").split(",") if part.strip()]
    law = LAYER_LAWS[found[1]]
    words = {word: number for p in law.parameters for word, number in p.words}
    try:
        return law(*(words[part] if part in words else sp.Rational(part) for part in parts))
    except (TypeError, ValueError) as error:
        if isinstance(error, ResexpandError):
            raise
        raise DescriptionError(
            f"layers {text[:60]!a}", "its parameters are no numbers", "write Markov(0.5)"
        ) from None
