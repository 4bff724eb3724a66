r"""`RemainderBound`: what the expansion neglects after an order, at most.

Exact for the majorant at ``n`` layers: the orders of ``S_n`` are polynomials in ``n``, and ``S_n``
itself follows layer by layer. In closed form, from the flow of the enveloping family at
``t = |lambda_1| + ... + |lambda_n|``, with ``q`` as in `resexpand.theory.remainder.majorant`,

    entire      sum_{j > k} R q^j/j     <= R q^(k+1) / ((k+1)(1 - q))
    analytic    sum_{j > k} R a_j q^j   <= R a_(k+1) q^(k+1) / (1 - q)

because the ``a_j`` do not increase.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sympy as sp

from resexpand.combinatorics.arguments import check_order
from resexpand.errors import HyperparameterError
from resexpand.expressions.notebook import in_notebook
from resexpand.references import REFERENCES, Citation
from resexpand.theory.formula import Formula
from resexpand.theory.remainder.layers import (
    at_depth,
    fractions,
    orders_of_layers,
    orders_per_depth,
    unit_weights,
)
from resexpand.theory.remainder.majorant import Majorant
from resexpand.theory.remainder.numeric import converges, remainder_of_layers, rounded_up

LOAD = sp.Symbol("q", positive=True)
"""Argument of the flow."""

MOST_LAYERS = 20_000
"""Deeper networks are bounded by the flow, which the layers approach like 1/n."""


@dataclass(frozen=True)
class RemainderBound:
    """Bound of the norm of ``F(x) - x - T_1 - ... - T_k``, the orders of the scales after ``k``.

    Attributes
    ----------
    order : int
        Last order kept, ``k``.
    depth : int or sympy.Expr
        Number of blocks ``n``.
    scales : tuple of sympy.Expr, sympy.Expr or sympy.IndexedBase
        One scale per block, or their common one.
    majorant : Majorant
        Bounds on the derivatives of the blocks at ``x``.
    """

    order: int
    depth: Any
    scales: Any
    majorant: Majorant

    @property
    def time(self) -> sp.Expr:
        """``t``, the sum of the absolute values of all scales."""
        if isinstance(self.scales, sp.IndexedBase):
            i = sp.Symbol("i", integer=True, positive=True)
            return sp.Sum(abs(self.scales[i]), (i, 1, self.depth))
        if isinstance(self.scales, tuple):
            return sp.Add(*map(abs, self.scales))
        return self.depth * abs(self.scales)

    @property
    def load(self) -> Formula:
        """``q``: the series is bounded in closed form where it is below 1."""
        return Formula(
            "load",
            LOAD,
            self.majorant.load(self.time),
            "load of the network: the sum of the scales in units of the blocks",
        )

    @property
    def condition(self) -> sp.Basic:
        """``q < 1``, sufficient for convergence at every depth; decided where all are numbers."""
        return sp.StrictLessThan(self.load.rhs, 1)

    def tail(self, load: sp.Expr = LOAD) -> sp.Expr:
        """Return the simple closed bound as a function of the load."""
        envelope, k = self.majorant.envelope(), self.order
        first = envelope.family.coefficient(k + 1)
        return envelope.R * first * load ** (k + 1) / (1 - load)

    def flow_tail(self, load: sp.Expr = LOAD) -> sp.Expr:
        """Return all orders of the flow after ``k`` as a function of the load."""
        envelope = self.majorant.envelope()
        kept = (envelope.family.coefficient(j) * load**j for j in range(1, self.order + 1))
        return envelope.R * (envelope.family.flow(load) - sp.Add(*kept))

    def _formula(self, name: str, tail: Callable[[sp.Expr], sp.Expr], meaning: str) -> Formula:
        # Beyond q = 1 the formulas have values, negative or complex, that bound nothing.
        value = sp.oo if self.condition == sp.false else tail(self.load.rhs)
        title, said = f"{name} after order {self.order}", f"{meaning} {self.order}"
        return Formula(title, self.symbol, value, said, citations=_CITATIONS)

    @property
    def symbol(self) -> sp.Symbol:
        """Name of the bound."""
        return sp.Symbol(f"rhat_{self.order}", nonnegative=True)

    @property
    def closed(self) -> Formula:
        """The simple closed bound, valid for ``q < 1``; infinite at numbers beyond."""
        meaning = "bound of the norm of what is neglected after order"
        return self._formula("remainder", self.tail, meaning)

    @property
    def sharp(self) -> Formula:
        """All orders of the flow after ``k``: smaller than `closed`, valid where that is."""
        return self._formula("flow", self.flow_tail, "orders of the flow after")

    def order_bound(self, order: int) -> sp.Expr:
        """Return the bound of the norm of one order with its scales, exact for the majorant.

        A polynomial in the depth where that is a symbol; for the entire family it is the weighted
        number of labelled trees times ``M^j |lambda|^j / R^(j-1)``.

        Raises
        ------
        HyperparameterError
            If the order is below 1, or the scales of a symbolic depth differ.
        """
        j = check_order(order)
        if isinstance(self.scales, sp.IndexedBase):
            raise HyperparameterError(
                f"the bound of order {j} for scales {self.scales}[i] at symbolic depth",
                "it is a nested sum over layers",
                "use flow_order_bound(), or give the number of blocks or a common scale",
            )
        big, radius = self.majorant.M, self.majorant.R
        weights = unit_weights(self.majorant, j)
        if isinstance(self.scales, tuple):
            steps = [abs(scale) * big / radius for scale in self.scales]
            return radius * orders_of_layers(weights, steps)[j]
        values = orders_per_depth(fractions(weights))[j]
        count = sp.sympify(at_depth(values, self.depth), strict=True)
        bound = radius * count * (abs(self.scales) * big / radius) ** j
        return sp.expand(bound) if self.majorant.bounds else bound

    def flow_order_bound(self, order: int) -> sp.Expr:
        """Return the bound of one order from the flow: ``R a_j q^j``."""
        envelope = self.majorant.envelope()
        j = check_order(order)
        return envelope.R * envelope.family.coefficient(j) * self.load.rhs**j

    @property
    def is_number(self) -> bool:
        """Whether depth, scales and majorant are numbers, so that `value` is one."""
        if not isinstance(self.depth, int) or not self.majorant.is_number:
            return False
        listed = self.scales if isinstance(self.scales, tuple) else (self.scales,)
        return all(scale.is_number for scale in listed)

    @cached_property
    def value(self) -> float:
        """The bound as a number, rounded up; infinite where none is found.

        Up to `MOST_LAYERS` blocks from the layers themselves, beyond from the flow.

        Raises
        ------
        HyperparameterError
            If a symbol is left.
        """
        if not self.is_number:
            raise HyperparameterError(
                f"the number of the bound after order {self.order}",
                "depth, scales or majorant are symbols",
                "give numbers, or use the formulas closed and sharp",
            )
        if self.depth <= MOST_LAYERS:
            return remainder_of_layers(self.majorant, self.order, self._listed)
        return float(sp.oo) if self.sharp.rhs == sp.oo else rounded_up(self.sharp.rhs)

    @property
    def _listed(self) -> tuple[sp.Expr, ...]:
        """Scales of all blocks."""
        listed = self.scales if isinstance(self.scales, tuple) else (self.scales,) * self.depth
        return tuple(map(abs, listed))

    @property
    def converges(self) -> bool | None:
        """Whether the series is known to converge at these numbers; None if it is not known."""
        if self.majorant.family.radius is None and isinstance(self.depth, int):
            return True
        if self.condition == sp.true:
            return True
        if not self.is_number or self.depth > MOST_LAYERS:
            return None
        return True if converges(self.majorant, self._listed) else None

    @property
    def statement(self) -> str:
        """Where the series converges, and what that rests on, in words."""
        family = (
            "At a finite number of blocks of this kind it converges for all scales, since a "
            "composition of entire functions is entire"
            if self.majorant.family.radius is None
            else "At n blocks it converges as long as the majorant of the first n - 1 of them "
            "stays below R, which is a little further"
        )
        return (
            "The series in the scales converges absolutely for q < 1, whatever the depth. "
            f"{family}. These conditions are sufficient: the series of concrete blocks may "
            "converge beyond them. The bounds on the derivatives are needed at the input alone; "
            "the blocks must be analytic where the majorant reaches."
        )

    @property
    def formulas(self) -> tuple[Formula, ...]:
        """The load and the closed bound."""
        return self.load, self.closed

    def __str__(self) -> str:
        head = f"after order {self.order}: at most "
        if self.is_number and self.value == sp.oo:
            load = float(self.load.rhs)
            return f"after order {self.order}: no bound is found, q = {load:.6g} is not below 1"
        if self.is_number:
            return head + f"{self.value:.6g}"
        load = self.majorant.load(sp.Symbol("t"))
        return f"{head}{self.tail()} for q = {load} < 1, t = {self._time_text()}"

    def _time_text(self) -> str:
        scales = self.scales
        if isinstance(scales, sp.IndexedBase):
            return f"|{scales}_1| + ... + |{scales}_{self.depth}|"
        if isinstance(scales, tuple) and self.time.free_symbols:
            return " + ".join(f"|{scale}|" for scale in scales)
        return str(self.time)

    def __repr__(self) -> str:
        return f"<RemainderBound {self}>"

    def _repr_latex_(self) -> str:
        return in_notebook(self)


_CITATIONS = (Citation(REFERENCES["dherin2025"]),)
