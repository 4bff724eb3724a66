"""The values of a network's symbols: read, named and checked in one place for every call.

A hyperparameter that the network leaves symbolic is given by the name of its symbol, the depth also
as ``depth``. `read_values` turns keywords into arrays by symbol, and `value_of` evaluates an
expression of the network. Callers that need single numbers check for them.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.conventions import WIDTH
from resexpand.errors import ExpressionError, HyperparameterError
from resexpand.expressions.numeric import value_at
from resexpand.network.numbers import real_array
from resexpand.network.resnet import ResNet

Array = NDArray[np.float64]
Symbols = Mapping[sp.Symbol, Array]


def read_values(
    net: ResNet,
    given: Mapping[str, Any],
    needed: Iterable[sp.Expr],
    own: Iterable[sp.Symbol] = (),
    lacking: Iterable[str] = (),
) -> dict[sp.Symbol, Array]:
    """Return the given values by symbol.

    Parameters
    ----------
    net : ResNet
        The network.
    given : mapping
        Values by the name of their symbol; ``depth`` and ``width`` by these words.
    needed : iterable of sympy.Expr
        Expressions that must have a value.
    own : iterable of sympy.Symbol
        Symbols of the formulas beside those of the network.
    lacking : iterable of str
        Further arguments that the call lacks, named in the same error.

    Raises
    ------
    HyperparameterError
        If names are unknown, values are missing (all of them are named), a value is not a finite
        real number or array, or it lies outside the range of its symbol.
    """
    open_symbols = net.free_symbols | set(own)
    names = {s.name: s for s in open_symbols}
    if isinstance(net.depth, sp.Symbol):
        names["depth"] = net.depth
    if WIDTH in open_symbols:
        names["width"] = WIDTH
    values: dict[sp.Symbol, Array] = {}
    unknown = []
    for name, value in given.items():
        symbol = names.get(name) or _same_letters(name, names)
        if symbol is not None:
            if symbol in values:
                raise HyperparameterError(
                    f"{name} = {value!r}", f"{symbol.name} is given twice", "give it once"
                )
            values[symbol] = real_array(value, name)
        elif name == "depth" and net.depth.is_number:
            _check_depth(value, int(net.depth))
        else:
            unknown.append(name)
    if unknown:
        raise _unknown(unknown, names, net)
    missing = set().union(*(e.free_symbols for e in needed)) - values.keys()
    if missing:
        raise _missing([*("depth" if s == net.depth else s.name for s in missing), *lacking])
    _check_ranges(net, values)
    _check_symbols(net, values)
    return values


def value_of(expression: sp.Expr, values: Symbols) -> Array:
    """Return the value of an expression of the hyperparameters.

    Raises
    ------
    HyperparameterError
        If a symbol has no value, a function no definition, or the value is no finite real number.
    """
    missing = {s.name for s in expression.free_symbols - values.keys()}
    if missing:
        raise _missing(missing)
    try:
        value = value_at(expression, values)
    except ExpressionError as error:
        raise HyperparameterError(error.asked, error.why, error.remedy) from None
    if not np.isfinite(value).all():
        raise HyperparameterError(
            f"{expression}", "it is not finite there, or not real", "change the values"
        )
    return value


def depth_of(net: ResNet, values: Symbols) -> int:
    """Return the number of blocks.

    Raises
    ------
    HyperparameterError
        If it is not one positive integer.
    """
    value = value_of(net.depth, values)
    if value.ndim or value != np.floor(value) or value < 1:
        raise HyperparameterError(
            f"depth = {value}",
            "it is not a positive integer",
            "give one depth per call, a whole number; evaluate takes an array of them",
        )
    return int(value)


def _same_letters(name: str, names: Mapping[str, sp.Symbol]) -> sp.Symbol | None:
    """Return the symbol meant by a keyword: Python writes look-alike letters in one form."""
    same = {s for own, s in names.items() if unicodedata.normalize("NFKC", own) == name}
    return same.pop() if len(same) == 1 else None


def _check_ranges(net: ResNet, values: Symbols) -> None:
    """Refuse parameters of operations out of their range, as far as they have values."""
    for parameter, value in set(net.parameters):
        if value.free_symbols <= values.keys():
            numbers = value_of(value, values)
            breach = parameter.breach(numbers.min(initial=np.inf), numbers.max(initial=-np.inf))
            if breach:
                outside, why, range_ = breach
                raise HyperparameterError(
                    f"{value} = {outside}",
                    f"{parameter.name.replace('_', ' ')} {why}",
                    f"give one {range_}",
                )


def _check_symbols(net: ResNet, values: Symbols) -> None:
    """Refuse values that their symbols exclude; zero is the limit of what is positive."""
    for symbol, value in values.items():
        if symbol == WIDTH and ((value < 1).any() or (value != np.floor(value)).any()):
            raise HyperparameterError(
                f"width {value.min()}", "it is not a positive integer", "give the neurons per layer"
            )
        if symbol != net.depth and symbol.is_nonnegative and (value < 0).any():
            raise HyperparameterError(
                f"{symbol} = {value.min()}", "its symbol is declared non-negative", "give >= 0"
            )


def _check_depth(value: Any, depth: int) -> None:
    try:
        same = bool((real_array(value, "depth") == depth).all()) and np.ndim(value) == 0
    except HyperparameterError:
        same = False
    if not same:
        raise HyperparameterError(
            f"depth = {value}",
            f"the network was described with depth {depth}",
            "leave it out, or describe the network with a symbol as depth",
        )


def _unknown(unknown: list[str], names: Mapping[str, sp.Symbol], net: ResNet) -> Exception:
    aliases = {str(net.depth)} - {"depth"} if "depth" in names else set()
    known = sorted(names.keys() - aliases)
    near = [difflib.get_close_matches(name, [*known, "K0", "inputs"], n=1) for name in unknown]
    meant = ", ".join(match[0] for match in near if match)
    plural = "s" if len(unknown) > 1 else ""
    return HyperparameterError(
        f"hyperparameter{plural} {', '.join(map(ascii, unknown))}",
        "the network leaves no symbol of this name open"
        + (f"; did you mean {meant}?" if meant else ""),
        f"it takes {', '.join([*known, 'K0'])}",
    )


def _missing(names: Iterable[str]) -> HyperparameterError:
    listed = sorted(names)
    them, they = ("them", "them") if len(listed) > 1 else ("it", "it")
    return HyperparameterError(
        f"a value of {', '.join(listed)}",
        f"the network leaves {them} symbolic and the call does not give {they}",
        f"pass {', '.join(f'{name}=...' for name in listed)}",
    )
