"""Blocks of a network as data: what to apply to symbols to obtain expressions to differentiate.

A block maps a state to a state of the same length. It may be formal (an undefined function
``f_i``), an expression or a vector of expressions in `variables`, a SymPy function or an activation
(applied to every entry), or a Python function of SymPy symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sympy as sp
from sympy.core.function import FunctionClass, UndefinedFunction

from resexpand.activations.singularities import SWITCHES
from resexpand.conventions import exact
from resexpand.errors import (
    DescriptionError,
    ExpressionError,
    HyperparameterError,
    UnsupportedError,
)
from resexpand.network.operation import Map

_KINKED = (*SWITCHES, sp.DiracDelta, sp.floor, sp.ceiling, sp.frac, sp.Mod, sp.arg)


@dataclass(frozen=True)
class Block:
    """One residual branch ``f``.

    Attributes
    ----------
    name : str
        How it is written in formulas.
    components : callable
        Takes as many real symbols as the state has entries and returns as many expressions.
    index : int
        Which of the formal blocks it is; 0 for concrete ones.
    is_pointwise : bool
        Whether it acts on every entry by itself.
    dimension : int or None
        Length of the state, if the block fixes it.
    parameters : frozenset of sympy.Symbol
        Symbols it uses beside the state, as far as they are known before it is applied.
    """

    name: str
    components: Callable[[Sequence[sp.Symbol]], list[sp.Expr]]
    index: int = 0
    is_pointwise: bool = False
    dimension: int | None = None
    parameters: frozenset[sp.Symbol] = frozenset()


def formal_block(index: int) -> Block:
    """Return an undefined block: ``f_i(x)``, in more dimensions ``f_i_a(x_1, ..., x_d)``."""
    name = f"f_{index}"

    return Block(name, partial(_formal_components, name), index)


def _formal_components(name: str, variables: Sequence[sp.Symbol]) -> list[sp.Expr]:
    if len(variables) == 1:
        return [sp.Function(name)(*variables)]
    return [sp.Function(f"{name}_{a}")(*variables) for a in range(1, len(variables) + 1)]


def check_independence(
    name: str, symbols: Iterable[sp.Symbol], variables: Iterable[sp.Symbol]
) -> None:
    """Refuse a derivative in a scale that a block depends on as well.

    Raises
    ------
    HyperparameterError
        If a symbol of the block is a variable that was differentiated in.
    """
    shared = set(symbols) & set(variables)
    if shared:
        raise HyperparameterError(
            f"the derivative in {_named(shared)}",
            f"block {name} depends on it too, not the scales alone",
            "rename one of them",
        )


def read_blocks(blocks: Iterable[Any], variables: Any, parameters: Iterable[Any]) -> list[Block]:
    """Return concrete blocks in the form that expansions hold.

    Parameters
    ----------
    blocks : iterable
        Expressions, vectors of expressions, SymPy functions, activations or Python functions.
    variables : sympy.Symbol or sequence of sympy.Symbol or None
        The entries of the state, in which expressions are written.
    parameters : iterable of sympy.Symbol
        Other symbols that expressions may use.

    Raises
    ------
    ExpressionError
        If an expression uses a symbol that is neither a variable nor a parameter.
    UnsupportedError
        If a block is not smooth: its derivatives do not exist.
    DescriptionError
        If something is no block, or the blocks have different lengths.
    """
    names = _symbols(variables, "variables")
    allowed = _symbols(parameters, "parameters") or ()
    found = [_read(block, f"f_{i}", names, allowed) for i, block in enumerate(blocks, 1)]
    lengths = {block.dimension: block.name for block in found if block.dimension is not None}
    if len(lengths) > 1:
        (first, a), (second, b), *_ = lengths.items()
        raise DescriptionError(
            f"blocks of {first} and {second} entries ({a} and {b})",
            "every block maps the state to a state of the same length",
            "give blocks of one length",
        )
    return found


def _symbols(given: Any, what: str) -> tuple[sp.Symbol, ...] | None:
    if given is None:
        return None
    symbols = (given,) if isinstance(given, sp.Symbol) else tuple(given)
    for symbol in symbols:
        if not isinstance(symbol, sp.Symbol):
            raise ExpressionError(
                f"{what} {symbol!r}", "it is not a SymPy symbol", "make one with sympy.Symbol"
            )
    if len(set(symbols)) < len(symbols):
        raise ExpressionError(f"{what} {symbols}", "one occurs twice", "name each symbol once")
    return symbols


def _read(
    block: Any, name: str, variables: tuple[sp.Symbol, ...] | None, parameters: Sequence[sp.Symbol]
) -> Block:
    if isinstance(block, Block):
        return block
    if isinstance(block, Map) and block.is_function:
        return _of_expression(block.expression, name, (block.variable,), ())
    if isinstance(block, FunctionClass | sp.Lambda):
        is_lambda = isinstance(block, sp.Lambda)
        return _of_lambda(block, name, parameters) if is_lambda else _of_function(block, name)
    if isinstance(block, sp.Basic) and not isinstance(block, sp.MatrixBase | sp.NDimArray):
        return _of_expression(_scalar(block, name), name, variables, parameters)
    if isinstance(block, sp.MatrixBase | list | tuple) or hasattr(block, "tolist"):
        return _of_vector(block, name, variables, parameters)
    if callable(block):
        return _of_callable(block, name)
    raise DescriptionError(
        f"block {name} = {block!r}",
        f"an object of type {type(block).__name__} is no block",
        "give an expression with its variables, a SymPy function, an Activation, or a Python "
        "function of SymPy symbols (parse_expression() reads text)",
    )


def _scalar(block: sp.Basic, name: str) -> sp.Expr:
    try:
        return exact(block)
    except TypeError as error:
        raise DescriptionError(
            f"block {name} = {block}", str(error), "give an expression, or a list of them"
        ) from None


def _of_function(function: Any, name: str) -> Block:
    try:
        applied = function(sp.Dummy("x", real=True))
    except (TypeError, ValueError) as error:
        raise DescriptionError(
            f"block {name} = {function}", str(error), "give a function of one argument"
        ) from None
    check_smooth(applied, name, str(function))
    shown = str(function) if isinstance(function, UndefinedFunction) else name
    return Block(shown, partial(_applied, function), is_pointwise=True)


def _applied(function: Any, variables: Sequence[sp.Symbol]) -> list[sp.Expr]:
    return [function(variable) for variable in variables]


def _of_lambda(function: sp.Lambda, name: str, parameters: Sequence[sp.Symbol]) -> Block:
    """Return the block of SymPy's function: a pointwise one, or one of a vector."""
    own = function.signature
    if not all(isinstance(symbol, sp.Symbol) for symbol in own):
        raise DescriptionError(
            f"block {name} = {function}",
            "its arguments are nested",
            "give a Lambda of symbols, such as Lambda((x, y), (y, x))",
        )
    if len(own) == 1 and not isinstance(function.expr, sp.Tuple | sp.MatrixBase):
        return _read(function.expr, name, tuple(own), parameters)
    return _of_vector(list(sp.flatten([function.expr])), name, tuple(own), parameters)


def _of_expression(
    expression: sp.Expr,
    name: str,
    variables: tuple[sp.Symbol, ...] | None,
    parameters: Sequence[sp.Symbol],
) -> Block:
    if variables is not None and len(variables) > 1:
        raise DescriptionError(
            f"block {name} = {expression} in {len(variables)} variables",
            "a block of a vector has as many entries as the vector",
            f"give a list of {len(variables)} expressions",
        )
    unknown = expression.free_symbols - set(parameters)
    if variables is None and len(unknown) > 1:
        raise ExpressionError(
            f"block {name} = {expression}",
            f"which of {_named(unknown)} is its variable is not said",
            "give variables=... and the others as parameters=...",
        )
    own = variables if variables is not None else tuple(unknown) or (sp.Dummy("x"),)
    _check_symbols(expression, name, own, parameters)
    check_smooth(expression.xreplace({own[0]: sp.Dummy("x", real=True)}), name, str(expression))

    used = expression.free_symbols - set(own)
    components = partial(_applied, sp.Lambda(own[0], expression))
    return Block(name, components, is_pointwise=True, parameters=frozenset(used))


def _of_vector(
    block: Any,
    name: str,
    variables: tuple[sp.Symbol, ...] | None,
    parameters: Sequence[sp.Symbol],
) -> Block:
    entries = _entries(block, name)
    if variables is None:
        raise ExpressionError(
            f"block {name} of {len(entries)} expressions",
            "the order of its variables is not said",
            f"give variables=..., {len(entries)} symbols",
        )
    if len(entries) != len(variables):
        raise DescriptionError(
            f"block {name} of {len(entries)} expressions in {len(variables)} variables",
            "a block maps the state to a state of the same length",
            "give as many expressions as variables",
        )
    for entry in entries:
        _check_symbols(entry, name, variables, parameters)
    reals = dict(zip(variables, _reals(len(variables)), strict=True))
    check_smooth(sp.Tuple(*entries).xreplace(reals), name, f"({', '.join(map(str, entries))})")

    used = sp.Tuple(*entries).free_symbols - set(variables)
    components = partial(_substituted, entries, variables)
    return Block(name, components, dimension=len(entries), parameters=frozenset(used))


def _substituted(
    entries: Sequence[sp.Expr], variables: Sequence[sp.Symbol], symbols: Sequence[sp.Symbol]
) -> list[sp.Expr]:
    values = dict(zip(variables, symbols, strict=True))
    return [entry.xreplace(values) for entry in entries]


def _of_callable(function: Callable[..., Any], name: str) -> Block:
    def components(symbols: Sequence[sp.Symbol]) -> list[sp.Expr]:
        argument = symbols[0] if len(symbols) == 1 else sp.Matrix(symbols)
        try:
            value = function(argument)
        except (TypeError, AttributeError, ValueError) as error:
            raise DescriptionError(
                f"block {name} applied to {'a symbol' if len(symbols) == 1 else 'a Matrix'}",
                f"it raised {type(error).__name__}: {error}",
                "write it with SymPy functions: it is applied to symbols and then differentiated",
            ) from error
        entries = _entries(value, name)
        if len(entries) != len(symbols):
            raise DescriptionError(
                f"block {name} applied to a state of {len(symbols)} entries",
                f"it returned {len(entries)}",
                "a block maps the state to a state of the same length",
            )
        check_smooth(sp.Tuple(*entries), name, name)
        return entries

    return Block(name, components)


def _entries(value: Any, name: str) -> list[sp.Expr]:
    """Return the entries of a vector, or of a scalar as a vector of one."""
    if hasattr(value, "tolist") and not isinstance(value, sp.Basic | sp.MatrixBase):
        value = value.tolist()
    if isinstance(value, sp.MatrixBase):
        if 1 not in value.shape:
            raise DescriptionError(
                f"block {name} of shape {value.shape}", "it is no vector", "give one column"
            )
        value = list(value)
    flat = list(value) if isinstance(value, list | tuple) else [value]
    if all(isinstance(entry, list | tuple) and len(entry) == 1 for entry in flat):
        flat = [entry[0] for entry in flat]
    try:
        return [exact(entry) for entry in flat]
    except (TypeError, ValueError) as error:
        raise DescriptionError(
            f"block {name}", str(error), "its entries are SymPy expressions or numbers"
        ) from None


def _check_symbols(
    expression: sp.Expr,
    name: str,
    variables: Sequence[sp.Symbol],
    parameters: Sequence[sp.Symbol],
) -> None:
    unknown = expression.free_symbols - set(variables) - set(parameters)
    if unknown:
        raise ExpressionError(
            f"block {name} = {expression}",
            f"it uses {_named(unknown)}, neither a variable nor a parameter",
            f"write it in {_named(variables)}, or name the others in parameters=...",
        )
    if expression.has(sp.nan, sp.zoo, sp.oo, -sp.oo):
        raise ExpressionError(
            f"block {name} = {expression}", "it is not finite", "give a finite expression"
        )


def check_smooth(expression: sp.Basic, name: str, shown: str) -> None:
    """Refuse a block that has kinks or jumps.

    Raises
    ------
    UnsupportedError
        If the expression switches between pieces; the error names the sum that holds instead.
    """
    kinked = sorted({type(node).__name__ for node in expression.atoms(*_KINKED)})
    if kinked:
        raise UnsupportedError(
            f"Taylor terms of the block {name} = {shown}",
            f"it is not smooth ({', '.join(kinked)}): where its pieces meet it has no derivatives "
            "of every order, and the series ends to hold at the first gate that flips",
            "use gated_path_sum(), which is exact for every scale, for piecewise-linear blocks",
        )


def _reals(count: int) -> tuple[sp.Dummy, ...]:
    return tuple(sp.Dummy(f"x_{a}", real=True) for a in range(1, count + 1))


def _named(symbols: Iterable[sp.Symbol]) -> str:
    return ", ".join(sorted(map(str, symbols)))
