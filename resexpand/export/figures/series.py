"""Data of a figure: arrays of one length per curve or set of points, checked when made.

`neglected` is the bound on the neglected order in the units of the quantity, `error` one standard
error, `z` the score against the theory; they can be taken from an agreement with `of`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from resexpand.errors import HyperparameterError

if TYPE_CHECKING:
    from resexpand.agreement.outcome import Agreement

Array = npt.NDArray[np.float64]


class Series:
    """Arrays of one length, checked when made."""

    def __post_init__(self) -> None:
        names = [f.name for f in fields(self) if f.type == "Array"]  # type: ignore[arg-type]
        arrays = {name: np.array(getattr(self, name), dtype=float, ndmin=1) for name in names}
        shapes = {name: array.shape for name, array in arrays.items()}
        if len(set(shapes.values())) > 1 or any(len(s) != 1 or s == (0,) for s in shapes.values()):
            raise HyperparameterError(
                f"a {type(self).__name__} of shapes {shapes}",
                "its arrays must be one-dimensional, of one length, and not empty",
                "pass one value per point",
            )
        for name, array in arrays.items():
            object.__setattr__(self, name, array)


@dataclass(frozen=True, eq=False)
class Curve(Series):
    """Theory at one depth: the response `eta` (P,) at residual scales `rho` (P,), ascending."""

    depth: int
    rho: Array
    eta: Array


@dataclass(frozen=True, eq=False)
class Points(Series):
    """Monte Carlo at one depth and by one sampler: arrays (M,).

    `error` is one standard error of `eta`; `z` the score against the theory; `neglected` the
    bound on the neglected order, in units of `eta`.
    """

    depth: int
    rho: Array
    eta: Array
    error: Array
    z: Array
    neglected: Array
    sampler: str = "Monte Carlo"

    @classmethod
    def of(
        cls,
        depth: int,
        rho: npt.ArrayLike,
        agreements: Sequence[Agreement],
        name: str = "eta",
        *,
        sampler: str = "Monte Carlo",
        at: int = -1,
    ) -> Points:
        """Take the points from one agreement per residual scale: entry `at` of `name`."""
        places = [(a, int(a.positions[name].ravel()[at])) for a in agreements]
        _, eta, error, z, neglected = _columns(places)
        return cls(depth, np.asarray(rho, dtype=float), eta, error, z, neglected, sampler)


@dataclass(frozen=True)
class Optimum:
    """The scale `rho` at which the theory of this depth has its maximum `eta`."""

    depth: int
    rho: float
    eta: float


@dataclass(frozen=True, eq=False)
class Profile(Series):
    """A quantity over the layers: arrays (M,) of layer indices, theory, mean, error and z."""

    layer: Array
    theory: Array
    mean: Array
    error: Array
    z: Array
    neglected: Array
    label: str = "$K^l$"

    @classmethod
    def of(
        cls,
        agreement: Agreement,
        name: str = "K",
        *,
        pair: tuple[int, int] | None = None,
        first: int = 0,
        label: str = "$K^l$",
    ) -> Profile:
        """Take a profile from an agreement: all layers of `name`, or of one pair of inputs.

        `first` is the index of the first layer: 0 for `K`, 1 for `C`.
        """
        index = agreement.positions[name]
        flat = index if pair is None else index[:, pair[0], pair[1]]
        return cls.at(agreement, flat, first=first, label=label)

    @classmethod
    def at(
        cls, agreement: Agreement, flat: npt.NDArray[np.intp], *, first: int, label: str
    ) -> Profile:
        """Take a profile from the entries of an agreement at these places."""
        theory, mean, error, z, neglected = _columns([(agreement, int(k)) for k in flat])
        layers = np.arange(first, first + theory.size, dtype=float)
        return cls(layers, theory, mean, error, z, neglected, label)


def _columns(places: Sequence[tuple[Agreement, int]]) -> list[Array]:
    """Return theory, estimate, error, z and neglected order of the entries at these places."""
    rows = []
    for agreement, index in places:
        e = agreement.entries
        sides = (e.theory, e.estimate, e.stderr, agreement.judgement.z, e.neglected)
        rows.append([float(side[index]) for side in sides])
    return list(np.array(rows, dtype=float).reshape(-1, 5).T)
