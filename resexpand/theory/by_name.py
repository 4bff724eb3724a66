"""Symbols of a formula by name: SymPy takes ``Symbol("K")`` for another symbol than a positive K.

The symbols of the theory carry assumptions (a kernel is positive), so that a symbol made anew, or a
name as text, is none of them for SymPy: derivatives in it vanish and substitutions do nothing. Here
a symbol is what its name says, and a name that does not occur is an error.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import sympy as sp

from resexpand.conventions import exact
from resexpand.errors import HyperparameterError


class Symbols(Mapping[str, sp.Symbol]):
    """Symbols by name, as attributes: ``recursion.symbols.K``.

    Also a mapping, for names that are no identifiers. Where two symbols share a name, neither has
    it here.
    """

    def __init__(self, symbols: Iterable[sp.Symbol], where: str) -> None:
        self._known, self._where = sorted(set(symbols), key=sp.default_sort_key), where

    def __getitem__(self, name: str) -> sp.Symbol:
        try:
            return symbol_of(name, self._known, self._where)
        except HyperparameterError as error:
            raise KeyError(str(error)) from None

    def __getattr__(self, name: str) -> sp.Symbol:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return symbol_of(name, self._known, self._where)
        except HyperparameterError as error:
            raise AttributeError(str(error)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(symbol.name for symbol in self._known))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __dir__(self) -> list[str]:
        return [*self]

    def __repr__(self) -> str:
        return f"<Symbols: {', '.join(self)}>"


def symbol_of(wanted: Any, symbols: Iterable[sp.Symbol], where: str) -> sp.Symbol:
    """Return the symbol that is meant: itself, one of its name, or a name as text.

    Raises
    ------
    HyperparameterError
        If no symbol, or more than one, has this name; the message lists those that exist.
    """
    known = sorted(set(symbols), key=sp.default_sort_key)
    if wanted in known:
        return wanted
    name = wanted.name if isinstance(wanted, sp.Symbol) else wanted
    same = [symbol for symbol in known if symbol.name == name]
    if len(same) == 1:
        return same[0]
    names = [symbol.name for symbol in known]
    near = difflib.get_close_matches(str(name), names, n=1)
    raise HyperparameterError(
        f"the symbol {wanted!r} in {where}",
        "several symbols have this name" if same else "it does not occur there",
        (f"did you mean {near[0]}? " if near else "") + f"use one of {', '.join(names) or 'none'}",
    )


def values_of(
    values: Mapping[Any, Any], symbols: Iterable[sp.Symbol], where: str
) -> dict[sp.Symbol, sp.Expr]:
    """Return values by symbol; numbers become exact.

    Raises
    ------
    HyperparameterError
        If a name does not occur, or a value is neither a number nor an expression.
    """
    known, found = set(symbols), {}
    for wanted, value in values.items():
        symbol = symbol_of(wanted, known, where)
        if symbol in found:
            raise HyperparameterError(f"two values of {symbol}", "it takes one", "give one")
        try:
            found[symbol] = exact(value)
        except TypeError as error:
            raise HyperparameterError(
                f"{symbol} = {value!r}", str(error), "give a number or a SymPy expression"
            ) from None
    return found
