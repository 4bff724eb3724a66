"""Source text of scalar functions and of the modules that hold them.

`scalar_function` writes a Python function of doubles for SymPy expressions; `module_source` puts
functions together under a header that binds the names they use to a compilation target:

======================  ===========================================================
name in the text        meaning
======================  ===========================================================
``@scalar``             compiled, inlined where it is called
``@chunk``              compiled, called (a piece of a long expression)
``@reduction``          compiled, called; its sums may be taken in any order
``@average``            the same for a quadrature
``@driver``             compiled loop over arrays, kept on disk
``fn_<name>``           function of `resexpand.codegen.functions`
``tile_<name>``         loop of `resexpand.codegen.tiles`
``panel_<name>``        function of `resexpand.codegen.panels`
``real``                turns a whole number into a number of the target's precision
``nan``                 not a number, of the target's precision
``share_<part>``        on a GPU: the threads of one point share a loop (``turns``, ``entry``)
                        and add their sums (``sum``)
``math``                the standard module
``np``                  NumPy
``cuda``                the package ``numba.cuda``
======================  ===========================================================

The text depends on the expressions and the order of the inputs alone: not on the hash seed, and not
on the target, which only the header names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from graphlib import TopologicalSorter

import sympy as sp
from sympy.core.function import AppliedUndef

from resexpand.codegen.functions import unsupported
from resexpand.codegen.literals import constant, identifiers
from resexpand.codegen.lowering import Lowering, Statement
from resexpand.expressions.accurate import with_log1p
from resexpand.theory.recursion import Definitions, needed

__all__ = [
    "OPERATION_CAP",
    "argument_names",
    "constant",
    "module_source",
    "operation_count",
    "scalar_function",
]

OPERATION_CAP = 400
"""Largest number of operations in one generated function."""

# Beyond this the search for common factors takes longer than what it saves.
CSE_LIMIT = 2000
# SymPy searches by recursion; deeper expressions would exhaust the stack.
CSE_LEVELS = 100

BINDINGS = (
    *("scalar", "chunk", "reduction", "average", "driver", "real", "nan"),
    *("share_turns", "share_entry", "share_sum"),
)
"""Names of a target that a module may use."""

HOMES = {"numpy": "on_arrays"}
"""Modules of the targets that `resexpand.codegen.targets` does not hold: it needs Numba."""

Outputs = Sequence[sp.Expr] | Mapping[str, sp.Expr]


def scalar_function(
    name: str,
    inputs: Sequence[sp.Symbol],
    outputs: Outputs,
    *,
    helpers: Mapping[str, str] | None = None,
    definitions: Definitions = (),
    operation_cap: int = OPERATION_CAP,
    role: str = "scalar",
) -> str:
    """Return the text of a function that computes expressions of its arguments.

    Parameters
    ----------
    name : str
        Name of the function.
    inputs : sequence of sympy.Symbol
        Its arguments, in order; `argument_names` returns their names in the text.
    outputs : sequence or mapping of sympy.Expr
        Results: one value, or a tuple in the order given.
    helpers : mapping, optional
        Names of undefined SymPy functions in the expressions, and the generated functions to call.
    definitions : sequence of (sympy.Symbol, sympy.Expr)
        Symbols that stand for expressions, each after those it is made of. They become assignments
        instead of being substituted, so a straight-line program keeps its length; definitions
        that no output needs are left out.
    operation_cap : int
        A longer function is cut into functions ``<name>_part<i>`` of at most this many operations.
    role : str
        Decorator of the function: inlined where it is called, or ``"chunk"``.

    Returns
    -------
    str
        One or more decorated functions; the last is the one asked for.

    Raises
    ------
    UnsupportedError
        If an expression contains a function without generated code, or a symbol that is no input.
    """
    expressions = _expressions(outputs)
    names = identifiers(inputs, taken={name, *(helpers or {}).values()})
    lowering, results = _lowered(
        expressions, names, helpers or {}, needed(definitions, expressions)
    )
    arguments = [names[symbol] for symbol in inputs]
    statements = lowering.statements
    parts: list[str] = []
    if sum(s.operations for s in statements) > operation_cap:
        parts, statements = _cut(name, arguments, statements, results, operation_cap)
    return "\n\n".join([*parts, _function(role, name, arguments, statements, results)])


def argument_names(inputs: Sequence[sp.Symbol]) -> tuple[str, ...]:
    """Return the names that `scalar_function` gives to its arguments.

    A name is changed further only where it equals that of the function or of a helper.
    """
    names = identifiers(inputs)
    return tuple(names[symbol] for symbol in inputs)


def operation_count(outputs: Outputs, definitions: Definitions = ()) -> int:
    """Return the number of operations and function calls in the code of some expressions."""
    expressions = _expressions(outputs)
    used = needed(definitions, expressions)
    everything = [*(value for _, value in used), *expressions]
    symbols = {s for e in everything for s in e.free_symbols} - {symbol for symbol, _ in used}
    names = identifiers(sorted(symbols, key=sp.default_sort_key))
    undefined = {f.func.__name__ for e in everything for f in e.atoms(AppliedUndef)}
    lowering, _ = _lowered(expressions, names, {f: f for f in undefined}, used)
    return sum(statement.operations for statement in lowering.statements)


def module_source(functions: Iterable[str], target: str = "cpu") -> str:
    """Return the text of a module that holds functions, callees before callers.

    Parameters
    ----------
    functions : iterable of str
        Texts of `scalar_function`, or written by hand with the names of the table above; a text
        that occurs twice is written once.
    target : str
        Name of a target: ``cpu``, ``cuda``, ``plain`` or ``numpy``.
    """
    body = "\n\n".join(dict.fromkeys(text.strip("\n") + "\n" for text in functions))
    lines = ['"""Generated by resexpand from symbolic expressions."""', ""]
    lines += [f"import {module}" for module in ("math",) if f"{module}." in body]
    lines += ["import numpy as np"] if re.search(r"\bnp\.", body) else []
    lines += ["from numba import cuda"] if re.search(r"\bcuda\.", body) else []
    lines += [f"from resexpand.codegen.{HOMES.get(target, 'targets')} import {target} as _t", ""]
    for binding in BINDINGS:
        if re.search(rf"\b{binding}\b", body):
            lines.append(f"{binding} = _t.{binding}")
    for prefix, source in (("fn", "function"), ("tile", "tile"), ("panel", "panel")):
        for name in sorted(set(re.findall(rf"\b{prefix}_(\w+)\(", body))):
            lines.append(f'{prefix}_{name} = _t.{source}("{name}")')
    return "\n".join([*lines, "", "", body])


def _expressions(outputs: Outputs) -> list[sp.Expr]:
    values = outputs.values() if isinstance(outputs, Mapping) else outputs
    expressions = [sp.Integer(value) if isinstance(value, int) else value for value in values]
    if not expressions:
        raise unsupported(sp.Tuple(), "a function must return at least one value")
    for expression in expressions:
        if not isinstance(expression, sp.Expr):
            raise unsupported(expression, f"{type(expression).__name__} is no scalar expression")
    return expressions


def _lowered(
    expressions: list[sp.Expr],
    names: Mapping[sp.Symbol, str],
    helpers: Mapping[str, str],
    definitions: Definitions,
) -> tuple[Lowering, list[str]]:
    """Return the lowering with all its statements, and the text of each result."""
    lowering = Lowering(names, helpers)
    values = [with_log1p(v) for v in (*(value for _, value in definitions), *expressions)]
    shared: list[tuple[sp.Symbol, sp.Expr]] = []
    if _is_short(values):
        shared, values = _common_factors(values)
    own = zip((symbol for symbol, _ in definitions), values, strict=False)
    for symbol, value in _callees_first([*shared, *own]):
        lowering.define(symbol, value)
    expressions = values[len(definitions) :]
    lowering.add(expressions)
    return lowering, [lowering.named(expression) for expression in expressions]


def _callees_first(
    assignments: list[tuple[sp.Symbol, sp.Expr]],
) -> Iterable[tuple[sp.Symbol, sp.Expr]]:
    """Sort assignments so that each follows those it reads: shared factors read definitions."""
    values = dict(assignments)
    reads = {symbol: value.free_symbols & values.keys() for symbol, value in assignments}
    order = TopologicalSorter(
        {symbol: sorted(parts, key=sp.default_sort_key) for symbol, parts in reads.items()}
    )
    return [(symbol, values[symbol]) for symbol in order.static_order()]


def _is_short(expressions: Sequence[sp.Expr]) -> bool:
    """Whether distinct nodes and levels are few enough to search for common factors."""
    seen: set[sp.Basic] = set()
    level: set[sp.Basic] = set(expressions)
    for _ in range(CSE_LEVELS):
        seen |= level
        if not level or len(seen) > CSE_LIMIT:
            break
        level = {part for node in level for part in node.args}
    return not level and len(seen) <= CSE_LIMIT


def _common_factors(
    expressions: list[sp.Expr],
) -> tuple[list[tuple[sp.Symbol, sp.Expr]], list[sp.Expr]]:
    """Find partial sums and products that occur more than once."""
    taken = {symbol.name for e in expressions for symbol in e.free_symbols}
    fresh = (s for s in sp.numbered_symbols("_shared") if s.name not in taken)
    shared, reduced = sp.cse(expressions, symbols=fresh, order="canonical")
    # A shared constant such as 2/pi goes back, to be rounded once and with all its factors.
    numbers: dict[sp.Basic, sp.Basic] = {}
    variable: list[tuple[sp.Symbol, sp.Expr]] = []
    for symbol, shorthand in shared:
        value = shorthand.xreplace(numbers)
        if value.free_symbols or value.atoms(AppliedUndef):
            variable.append((symbol, value))
        else:
            numbers[symbol] = value
    return variable, [expression.xreplace(numbers) for expression in reduced]


def _function(
    role: str,
    name: str,
    arguments: Sequence[str],
    statements: Sequence[Statement],
    results: Sequence[str],
) -> str:
    lines = [f"@{role}", f"def {name}({', '.join(arguments)}):"]
    lines += [f"    {statement.name} = {statement.text}" for statement in statements]
    value = results[0] if len(results) == 1 else f"({', '.join(results)})"
    return "\n".join([*lines, f"    return {value}", ""])


def _cut(
    name: str,
    arguments: Sequence[str],
    statements: Sequence[Statement],
    results: Sequence[str],
    operation_cap: int,
) -> tuple[list[str], list[Statement]]:
    """Return the texts of the parts, and the statements that call them in turn.

    Arguments of a part are the values that it reads, of the arguments and of earlier parts; its
    results are the values that later parts or the results read.
    """
    pieces = _pieces(statements, operation_cap)
    reads = [frozenset().union(*(s.reads for s in piece)) for piece in pieces]
    place = {v: i for i, v in enumerate([*arguments, *(s.name for s in statements)])}
    wanted_later: set[str] = set(results)
    texts: list[str] = []
    calls: list[Statement] = []
    for index in reversed(range(len(pieces))):
        piece, own = pieces[index], {s.name for s in pieces[index]}
        takes = sorted((reads[index] - own) & place.keys(), key=place.__getitem__)
        gives = [s.name for s in piece if s.name in wanted_later]
        wanted_later = (wanted_later - own) | set(takes)
        if gives:
            part = f"{name}_part{index}"
            texts.append(_function("chunk", part, takes, piece, gives))
            calls.append(Statement(", ".join(gives), f"{part}({', '.join(takes)})", 1))
    return texts[::-1], calls[::-1]


def _pieces(statements: Sequence[Statement], operation_cap: int) -> list[list[Statement]]:
    """Cut a list of statements into runs of at most so many operations."""
    pieces: list[list[Statement]] = [[]]
    count = 0
    for statement in statements:
        if pieces[-1] and count + statement.operations > operation_cap:
            pieces.append([])
            count = 0
        pieces[-1].append(statement)
        count += statement.operations
    return pieces
