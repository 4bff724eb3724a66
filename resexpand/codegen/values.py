"""`Values`: the arrays a routine returns, with what must be known before trusting them."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.axes import Axes
from resexpand.expressions.kept import Kept
from resexpand.expressions.shown import Card, Tabled, numbers
from resexpand.network.quantities import quantity_of
from resexpand.references import Citation


class Values(Kept, Tabled, dict[str, NDArray[np.float64]]):
    """Arrays by output name, with their health.

    Attributes
    ----------
    depth : int
        Number of blocks; the largest if the depth was given as an array.
    problems : tuple of str
        One sentence per problem: overflow, quadrature that did not converge. Empty if none.
    quadrature_error : dict
        Output name to an upper bound of the error of its quadratures, relative to the number
        computed: the largest difference between two resolutions (tenfold if they share no digit),
        and their rounding; empty if every average had a closed form.
    citations : tuple of Citation
        Where the equations and the quadrature behind the numbers stand.
    target : str
        Where the numbers were computed, and, where ``target="auto"`` chose, why there.
    notes : tuple of str
        One sentence for everything about the input that was corrected within its rounding.
    width : int or None
        Neurons per layer of an exact theory of finite width, if it is one number; else None.
    axes : Axes
        Names of the axes, and the hyperparameters that were given as arrays.
    """

    def __init__(
        self,
        arrays: Mapping[str, NDArray[np.float64]],
        depth: int,
        problems: tuple[str, ...] = (),
        quadrature_error: Mapping[str, float] | None = None,
        citations: tuple[Citation, ...] = (),
        target: str = "cpu",
        notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(arrays)
        self.depth = depth
        self.problems = problems
        self.quadrature_error = dict(quadrature_error or {})
        self.citations = citations
        self.target = target
        self.notes = notes
        self.width: int | None = None
        self.axes = Axes()

    def __missing__(self, name: str) -> NDArray[np.float64]:
        """Find an array also under the word that samples use for it."""
        known = quantity_of(name).name
        if known not in self:
            raise KeyError(name)
        return self[known]

    def copy(self) -> Values:
        """Return the same arrays with the same health."""
        return copy(self)

    def dims(self, name: str) -> tuple[str, ...]:
        """Return a name per axis of an array, such as ``("rho", "layer")``."""
        return self.axes.of(name, np.ndim(self[name]))

    @property
    def depths(self) -> str:
        """The depth in words, or how many there are up to which."""
        several = {"depth", "L"} & set(self.axes.varied)
        return f"depths up to {self.depth}" if several else f"depth {self.depth}"

    def card(self) -> Card:
        """Return what they say about themselves: a problem must be seen beside the numbers."""
        state = "see below" if self.problems else "ok"
        width = f", width {self.width}" if self.width else ""
        error = max(self.quadrature_error.values(), default=0.0)
        return Card(
            f"Values: {self.depths}{width}, {self.target}, {state}",
            (
                ("error", f"at most {error:.1e} relative, of the quadrature" if error else ""),
                *((name, numbers(array)) for name, array in self.items()),
            ),
            (*(f"* {text}" for text in self.notes), *(f"! {text}" for text in self.problems)),
        )

    @property
    def status(self) -> str:
        """``ok``, or the problems as one text."""
        return "; ".join(self.problems) or "ok"


QUADRATURE_LIMIT = 1e-6
"""Relative difference of the two resolutions above which a result is flagged."""


def overflow_problem(name: str, array: NDArray[np.float64], layered: bool) -> str | None:
    """Return a sentence on the entries of an output that are not finite, None if all are."""
    # One pass without temporary arrays; a sum can only overflow if the numbers are huge.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum()):
            return None
    bad = ~np.isfinite(array)
    if not bad.any():
        return None
    what, why = "infinite", "the numbers left the range of double precision"
    if np.isnan(array).any():
        what = "not a number"
        why = "numbers left the range of double precision, or an average is singular"
    where = f"{int(bad.sum())} of {array.size} entries"
    if layered:
        first = int(np.nonzero(bad.any(axis=tuple(range(array.ndim - 1))))[0][0])
        where += f", first at index {first} of the layer axis"
    return f"{name} is {what} at {where}: {why}"


def relative_difference(
    fine: NDArray[np.float64], coarse: NDArray[np.float64], scale: NDArray[np.float64]
) -> float:
    """Return the largest difference of two arrays relative to a scale of the same shape."""
    both = np.isfinite(fine) & np.isfinite(coarse) & np.isfinite(scale)
    if not both.any():
        return 0.0
    size = np.maximum(scale[both], np.finfo(np.float64).tiny)
    return float((np.abs(fine[both] - coarse[both]) / size).max())
