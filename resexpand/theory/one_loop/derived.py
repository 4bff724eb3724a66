"""Ingredients of the formulas of the order 1/N of one network."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import sympy as sp

from resexpand.gaussian.expectation import (
    GaussianExpectation,
    Nonlinearity,
    integration_variables,
)
from resexpand.references import Citation
from resexpand.theory.formula import Formula
from resexpand.theory.hyperparameters import Hyperparameters
from resexpand.theory.one_loop.process import LinearLayer, Process
from resexpand.theory.one_loop.quantities import LayerQuantity, quantity
from resexpand.theory.recursion import Recursion

LAYER, OTHER, EARLIER, ANOTHER = sp.symbols("l m k j", integer=True, positive=True)
"""Layers: of a quantity, of the other one, and those that are summed over."""

Slots = dict[tuple[int, int], sp.Dummy]
"""Covariances of the components of a neuron at two layers, by numbers of the variables."""


@dataclass(frozen=True)
class Columns:
    """The columns of a network whose Gram matrices formulas are about, and their features.

    Attributes
    ----------
    late, early : str
        Columns at the later layer and at the earlier one, a letter each; ``v`` is the tangent of
        ``h``, with the feature ``phi'(h) v``, and every other letter an input.
    variables : tuple of sympy.Symbol
        Components of one neuron: at the later layer, then at the earlier one.
    entries : tuple of str
        Entries by which is differentiated.
    means, rows : tuple of str
        Entries whose covariances, and whose derivatives, are written.
    sources : tuple of (str, str)
        Entries at the later layer and at the earlier one whose covariance is written.
    count : int
        Number of entries of a Gram matrix.
    trained : bool
        Whether ``v`` moves all parameters, too: its Gram entry holds that of ``h`` as well.
    """

    late: str
    early: str
    variables: tuple[sp.Symbol, ...]
    entries: tuple[str, ...]
    means: tuple[str, ...]
    rows: tuple[str, ...]
    sources: tuple[tuple[str, str], ...]
    count: int
    trained: bool = False

    def feature(self, draw: LinearLayer, entry: str, side: int) -> sp.Expr:
        """Return the feature of an entry behind a draw; side 0 is the later layer."""
        letters, places = (self.early, slice(len(self.late), None)) if side else (self.late, None)
        at = dict(zip(letters, self.variables[places or slice(len(self.late))], strict=True))

        def phi(order: int, x: sp.Symbol) -> sp.Expr:
            return Nonlinearity(draw.label, order, x) if draw.label else sp.diff(x, x, order)

        columns = {"v": phi(1, at["h"]) * at["v"]} if "v" in at else {}
        factors = [columns[c] if c in columns else phi(0, at[c]) for c in entry]
        copies = phi(0, at["h"]) ** 2 if self.trained and entry == "vv" else sp.Integer(0)
        return sp.Mul(*factors) + copies

    def average(self, function: sp.Expr, slots: Slots) -> sp.Expr:
        """Return the average of a function of the components; of a polynomial, by pairings."""
        function = sp.expand(function)
        used = [n for n, x in enumerate(self.variables) if function.has(x)]
        inside = [self.variables[n] for n in used]
        if not function.has(Nonlinearity):
            terms = sp.Poly(function, *inside).terms() if inside else [((), function)]
            return sp.Add(*(c * _pairings(_legs(used, powers), slots) for powers, c in terms))
        # One variable needs no name of a column.
        own = integration_variables(1) if len(used) == 1 and "v" not in self.late else inside
        renamed = function.xreplace(dict(zip(inside, own, strict=True)))
        pairs = combinations_with_replacement(used, 2)
        return GaussianExpectation(renamed, own, [slots[pair] for pair in pairs])


def _legs(used: list[int], powers: tuple[int, ...]) -> list[int]:
    return [n for n, power in zip(used, powers, strict=True) for _ in range(power)]


def _pairings(legs: list[int], slots: Slots) -> sp.Expr:
    """Return the average of a product of components (Isserlis)."""
    if not legs:
        return sp.Integer(1)
    first, *rest = legs
    parts = (
        slots[first, n] * _pairings(rest[:k] + rest[k + 1 :], slots) for k, n in enumerate(rest)
    )
    return sp.Add(*parts)


ONE = Columns("a", "a", integration_variables(2), ("aa",), ("aa",), ("aa",), (("aa", "aa"),), 1)
"""One input: its quantities have no entries."""


def several(inputs: int) -> Columns:
    """Return the columns of a number of inputs: ``a, b`` at the later layer, ``c, d`` earlier."""
    variables = sp.symbols("x_a x_b x_c x_d", real=True)
    count = inputs * (inputs + 1) // 2
    return Columns(
        "ab", "cd", variables, ("aa", "ab", "bb"), ("ab",), ("aa", "ab"), (("ab", "cd"),), count
    )


@dataclass(frozen=True)
class Derived:
    """Ingredients of the formulas of one network.

    Attributes
    ----------
    base : Recursion
        The kernel recursion of one input.
    process : Process
        The draws.
    columns : Columns
        What the Gram matrices are of.
    citations : tuple of Citation
        Where the equations stand.
    """

    base: Recursion
    process: Process
    columns: Columns
    citations: tuple[Citation, ...]

    @property
    def several(self) -> bool:
        """Whether a block holds several draws."""
        return len(self.process.draws) > 1

    def place(self, draw: LinearLayer) -> int:
        """Return the index under which a draw is written, 0 if there is but one."""
        return draw.position if self.several else 0

    def name(self, stem: str, draw: LinearLayer, *entries: str) -> str:
        """Return the name of a formula about one draw and some entries."""
        place = (str(draw.position),) if self.several else ()
        return "_".join((stem, *place, *(entries if self.columns.count > 1 else ())))

    def at(
        self, name: str, entries: str | tuple[sp.Symbol, ...], *layers: sp.Expr, draw: int = 0
    ) -> LayerQuantity:
        """Return a quantity at entries, names apart by spaces or symbols; one input has none."""
        which = map(sp.Symbol, entries.split()) if isinstance(entries, str) else entries
        return quantity(name, *layers, entries=which if self.columns.count > 1 else (), draw=draw)

    def scale(self, layer: sp.Expr) -> sp.Expr:
        """Return the residual scale of a block."""
        names = Hyperparameters(self.base.net, dict(self.base.bindings))
        return quantity("rho", layer) if self.base.layer_bindings else names.scale()

    def variances(self, draw: LinearLayer) -> tuple[sp.Expr, sp.Expr]:
        """Return weight and bias variance of a draw."""
        names = Hyperparameters(self.base.net, dict(self.base.bindings))
        return names.variances(draw.linear, f"_{draw.position}" if self.several else "")

    def reads(self, draw: LinearLayer, entry: str, layer: sp.Expr) -> LayerQuantity:
        """Return the covariance of what a draw of a block reads."""
        entry = "".join(sorted(entry))
        if draw.reads_stream:
            return self.at("K", entry, layer - 1)
        return self.at("C", entry, layer, draw=draw.position - 1)

    def formula(self, name: str, lhs: sp.Expr, rhs: sp.Expr, meaning: str) -> Formula:
        """Return a formula of this network."""
        return Formula(name, lhs, rhs, meaning, "O(1/N)", self.citations, self.base.laws)
