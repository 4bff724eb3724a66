"""`Formula`: one exact equation, the currency of theory, code generation and export.

It is plain immutable data: printing and compiling it are functions of other modules. Averages
appear as formal Gaussian expectations; `resexpand.theory.closure.close` replaces them by closed
forms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.errors import HyperparameterError
from resexpand.expressions.notebook import in_notebook
from resexpand.expressions.numeric import value_at
from resexpand.expressions.shown import Card, Shown, listed
from resexpand.network.numbers import real_array
from resexpand.references import Citation
from resexpand.theory.by_name import Symbols, symbol_of, values_of
from resexpand.theory.closure import Laws, close_elementary


@dataclass(frozen=True, repr=False)
class Formula(Shown):
    """One exact equation with what it neglects and where it stands.

    Attributes
    ----------
    name : str
        Short name, used as a key and a label.
    lhs, rhs : sympy.Expr
        Left side (what is defined) and exact right side. For a condition, ``rhs`` is what the
        left side must equal. They are plain SymPy: ``rhs.diff("K")`` is zero, since SymPy makes a
        symbol without assumptions of the name. Write ``formula.diff("K")``, or
        ``rhs.diff(formula.symbols.K)``.
    meaning : str
        One sentence for the reader.
    neglects : str
        Order of what is neglected, for instance ``"O(1/N)"``; empty if the equation is exact.
    citations : tuple of Citation
        Where the equation stands in the literature.
    laws : tuple
        Activation behind every label of a formal `Nonlinearity`.
    """

    name: str
    lhs: sp.Expr
    rhs: sp.Expr
    meaning: str = ""
    neglects: str = ""
    citations: tuple[Citation, ...] = ()
    laws: Laws = ()

    @property
    def free_symbols(self) -> set[sp.Symbol]:
        """Symbols of the right side."""
        return {s for s in self.rhs.free_symbols if isinstance(s, sp.Symbol)}

    @property
    def symbols(self) -> Symbols:
        """Symbols of both sides, each as the attribute of its name.

        Examples
        --------
        >>> from resexpand import Activation, Branch, Linear, ResNet, optimal_scale
        >>> net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=3)
        >>> formula = optimal_scale(net).constant
        >>> formula.symbols
        <Symbols: K0, K_star, c>
        >>> formula.symbols.K_star.is_positive
        True
        """
        return Symbols(self.free_symbols | self.lhs.free_symbols, self.name)

    def closed(self) -> sp.Expr:
        """Return the right side with every average in closed form, where one is known."""
        return close_elementary(self.rhs, self.laws)

    def diff(self, *symbols: Any) -> sp.Expr:
        """Return the derivative of the right side in symbols, each given itself or by name.

        Raises
        ------
        HyperparameterError
            If one does not occur in the right side.
        """
        own = self.free_symbols
        return sp.diff(self.rhs, *(symbol_of(s, own, self.name) for s in symbols))

    def subs(self, *values: Any) -> Formula:
        """Return the formula with values in place of symbols, given themselves or by name.

        Parameters
        ----------
        *values : mapping, or sequence of pairs, or a symbol and its value
            As for SymPy's own ``subs``; all are put in at once.

        Raises
        ------
        HyperparameterError
            If a symbol does not occur, or a value is neither a number nor an expression.
        """
        own = self.free_symbols | self.lhs.free_symbols
        pairs = dict([values]) if len(values) == 2 else dict(*values)
        at = values_of(pairs, own, self.name)
        left, right = (side.subs(at, simultaneous=True) for side in (self.lhs, self.rhs))
        return replace(self, lhs=left, rhs=right)

    def evalf(self, n: int = 15, subs: Mapping[Any, Any] | None = None) -> sp.Expr:
        """Return the right side as a number, every average evaluated.

        Parameters
        ----------
        n : int
            Significant digits.
        subs : mapping, optional
            Values of its symbols, given themselves or by name.

        Raises
        ------
        HyperparameterError
            If a symbol has no value, or does not occur.
        """
        closed = self.closed()
        at = values_of(subs or {}, closed.free_symbols, self.name)
        self._require(closed, at)
        return closed.subs(at, simultaneous=True).evalf(n)

    def lambdify(self, *symbols: Any) -> Callable[..., NDArray[np.float64]]:
        """Return a function of arrays that computes the right side.

        Parameters
        ----------
        *symbols : sympy.Symbol or str
            Its arguments in this order, all symbols of the right side in closed form.

        Raises
        ------
        HyperparameterError
            If a symbol is missing, or does not occur.
        """
        closed = self.closed()
        order = [symbol_of(s, closed.free_symbols, self.name) for s in symbols]
        self._require(closed, order)

        def function(*values: Any) -> NDArray[np.float64]:
            if len(values) != len(order):
                raise HyperparameterError(
                    f"{self.name} of {len(values)} arguments",
                    f"it takes {', '.join(s.name for s in order) or 'none'}",
                    "give one value or array each",
                )
            named = zip(order, values, strict=True)
            return value_at(closed, {s: real_array(value, s.name) for s, value in named})

        return function

    def _require(self, closed: sp.Expr, given: Iterable[sp.Symbol]) -> None:
        missing = sorted(s.name for s in closed.free_symbols - set(given))
        if missing:
            raise HyperparameterError(
                f"the value of {self.name}",
                f"{', '.join(missing)} has no value",
                f"give {', '.join(missing)}",
            )

    def card(self) -> Card:
        """Return what it says about itself."""
        return Card(
            f"Formula: {self.name}",
            (
                (str(self.lhs), f"= {self.rhs}"),
                ("meaning", self.meaning),
                ("neglects", self.neglects),
                ("from", listed(self.citations)),
            ),
        )

    def __str__(self) -> str:
        return f"{self.lhs} = {self.rhs}"

    def _repr_latex_(self) -> str:
        return in_notebook(self)
