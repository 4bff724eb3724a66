"""`Formula`: one exact equation, the currency of theory, code generation and export.

It is plain immutable data: printing and compiling it are functions of other modules. Averages
appear as formal Gaussian expectations; `resexpand.theory.closure.close` replaces them by closed
forms.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from resexpand.expressions.notebook import in_notebook
from resexpand.references import Citation
from resexpand.theory.closure import Laws, close_elementary


@dataclass(frozen=True)
class Formula:
    """One exact equation with what it neglects and where it stands.

    Attributes
    ----------
    name : str
        Short name, used as a key and a label.
    lhs, rhs : sympy.Expr
        Left side (what is defined) and exact right side. For a condition, ``rhs`` is what the
        left side must equal.
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

    def closed(self) -> sp.Expr:
        """Return the right side with every average in closed form, where one is known."""
        return close_elementary(self.rhs, self.laws)

    def __str__(self) -> str:
        return f"{self.lhs} = {self.rhs}"

    def _repr_latex_(self) -> str:
        return in_notebook(self)
