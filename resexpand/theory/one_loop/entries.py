r"""Quantities of several inputs: entries of Gram matrices as lower indices.

An entry is a pair of inputs, ``ab`` with ``a <= b``, or a letter ``p`` that runs over all of them:
``11, 12, ..., 1D, 22, ..., DD``, numbered from 1.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from resexpand.theory.one_loop.quantities import HEADS


class EntryQuantity(sp.Function):
    """A quantity with entries: ``EntryQuantity(name, draw, (entries), *layers)``.

    ``name`` is a symbol among `HEADS`; ``draw`` is the place of a linear operation within its
    block, 0 if there is no choice; every entry is a symbol or the number of an entry.
    """

    is_commutative = True
    is_extended_real = True
    _diff_wrt = True

    @classmethod
    def eval(cls, name: sp.Expr, draw: sp.Expr, entries: sp.Tuple, *layers: sp.Expr) -> None:
        """Never evaluates: the quantity is formal."""
        return

    @property
    def free_symbols(self) -> set[sp.Basic]:
        """Symbols of the entries and layers; the name is none."""
        inside: set[sp.Basic] = set(self.args[2].free_symbols)
        return inside.union(*(layer.free_symbols for layer in self.args[3:]))

    def _formula_latex(self, printer: Any, exp: str | None = None) -> str:
        name, draw, entries, *layers = self.args
        place = rf"({draw})\," if draw != 0 else ""
        upper = [str(printer.doprint(layer)).replace(" ", "") for layer in layers]
        lower = [str(printer.doprint(entry)) for entry in entries]
        head = HEADS[str(name)]
        if "mathrm" in head:
            first, last = (
                rf"{head[-1]}_{{{place}{lower[k]}}}^{{{upper[k]}}}" for k in (0, len(upper) - 1)
            )
            text = rf"N\,{head[:-1]}\bigl({first}, {last}\bigr)"
        else:
            # A head with an index of its own keeps it in front.
            stem, _, index = head.partition("_")
            indices = [index.strip("{}"), *lower] if index else lower
            text = rf"{stem}_{{{place}{','.join(indices)}}}^{{{','.join(upper)}}}"
            text = rf"\bigl({text}\bigr)" if exp else text
        return text + (f"^{{{exp}}}" if exp else "")

    _latex = _formula_latex

    def _sympystr(self, printer: Any) -> str:
        name, draw, entries, *layers = self.args
        inner = ", ".join(str(printer.doprint(layer)) for layer in layers)
        which = ",".join(str(printer.doprint(entry)) for entry in entries)
        return f"{name}{draw if draw != 0 else ''}_{which}[{inner}]"


def entry_quantity(
    name: str, entries: tuple[sp.Expr, ...], *layers: sp.Expr, draw: int = 0
) -> EntryQuantity:
    """Return a quantity at entries and layers.

    Raises
    ------
    KeyError
        If the name is not among `HEADS`.
    """
    if name not in HEADS:
        raise KeyError(f"{name!r} is no quantity of a layer; there are {', '.join(HEADS)}")
    made: EntryQuantity = EntryQuantity(
        sp.Symbol(name), sp.Integer(draw), sp.Tuple(*entries), *layers
    )
    return made


def entry(first: str, second: str) -> sp.Symbol:
    """Return the entry of two inputs, in alphabetical order."""
    return sp.Symbol("".join(sorted((first, second))))
