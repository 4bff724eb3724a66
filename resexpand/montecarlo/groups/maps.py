"""Calls of a map in the loops of the groups: its parameters, averages and noise.

A map of a neuron's own value alone is one function. One with parameters reads them from the row
`laws[j]` of its operation; one with averages takes each of them over the neurons of a column before
that column is mapped. Its derivatives are of the same form (`resexpand.network.differentials`).
Parts of an expression that are the same at all neurons, such as one over a root, are computed once
per column (`_split`): a division takes longer than all else that a normalisation does at a neuron.
Noise is made of uniform numbers, drawn into rows of scratch before a column is mapped. They depend
on the column alone, so derivatives of a column and back-propagation draw the same noise again.
Averages over a batch are taken neuron by neuron, of all columns of a batch at once (`batch_loop`).
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import Any

import sympy as sp

from resexpand.codegen.source import scalar_function
from resexpand.network.differentials import OTHER, AveragedMap
from resexpand.network.operation import Map, Noise, X

# Layout of the counters of noise (`resexpand.montecarlo.random.streams`). The numbers stand here
# because that module loads Numba, and texts of samplers are written without it.
MOST_NOISE = 4
"""Random numbers that one operation may draw at a neuron."""

NOISE_COLUMNS = 2**24
"""Columns that a noise of one operation may have."""

MEAN = '''
@reduction
def {name}({columns}, width{rest}):
    """Return an average over the neurons."""
{once}    total = 0.0
    for turn in range(lane_share(width)):
        i = lane_entry(turn)
        total += {name}_term({entries}{fixed})
    return over_lanes(total) / width
'''


BATCH = '''
@chunk
def {loop}({arguments}, width, law):
    """Map the columns of every batch, neuron by neuron."""
{reads}    size = {count}
{size}{running}    for first_of in range(0, {count}, size):
        behind = first_of + size
        for turn in range(lane_share(width)):
            i = lane_entry(turn)
{averages}            for c in range(first_of, behind):
                {new} = {value}
    barrier()
'''

RUNNING = """\
    if {flag} > 0.0:
        # Whole batches train, and the columns behind them meet the averages of their statistics.
        trained = {count} // size * size
        for turn in range(lane_share(width)):
            i = lane_entry(turn)
{started}            for first_of in range(0, trained, size):
                behind = first_of + size
{averages}                for c in range(first_of, behind):
                    {new} = {value}
{added}{taken}            for c in range(trained, {count}):
                {new} = {value}
        barrier()
        return
"""

BATCH_MEAN = """\
            s{k} = 0.0
            for c in range(first_of, behind):
                s{k} += {term}
            s{k} /= size
"""


@dataclass(frozen=True)
class MapCall:
    """Texts for the loop of a group; empty where the map does not need them.

    Attributes
    ----------
    functions : tuple of str
        Functions that the loop calls.
    parameters, given : str
        Further parameters of the loop, and the arguments of its call for them.
    reads : str
        Lines that read the parameters of the map.
    averages : str
        Lines that take the averages of a column, and what is the same at all of its neurons.
    value : str
        Expression of one neuron.
    arguments : tuple of str
        Names of what it takes beside the entries of the columns.
    noise : tuple of (sympy.Symbol, sympy.Expr)
        Every noise as a function of a uniform number.
    uniforms : tuple of sympy.Symbol
        These numbers.
    fills : tuple of str
        Calls that draw them; ``{column}`` stands for their column.
    """

    functions: tuple[str, ...]
    parameters: str
    given: str
    reads: str
    averages: str
    value: str
    arguments: tuple[str, ...] = ()
    noise: tuple[tuple[sp.Symbol, sp.Expr], ...] = ()
    uniforms: tuple[sp.Symbol, ...] = ()
    fills: tuple[str, ...] = ()

    def drawn(self, column: str, indent: int = 8) -> str:
        """Return the lines that draw the noise of a column, given as text."""
        return "".join(f"{'':{indent}}{fill.format(column=column)}\n" for fill in self.fills)


def map_call(
    name: str, j: int, op: Map, averaged: AveragedMap, *columns: str, tag: str = ""
) -> MapCall:
    """Return the texts by which a loop calls a map or one of its derivatives.

    Parameters
    ----------
    name : str
        Of the generated function.
    j : int
        Position of the operation.
    op : Map
        The operation.
    averaged : AveragedMap
        The map itself, or a derivative of it.
    *columns : str
        Names in the loop of the column of `X`, and of `OTHER` if there is one.
    tag : str
        Put in front of the numbers of its variables, where a loop calls several maps.
    """
    uniforms, noise = noise_of(op)
    rows = [f"u{tag}{k}" for k in range(len(op.noise))]
    functions: list[str] = []
    scalars = _scalars(name, op, averaged, len(columns), tag, split=True)
    columns = (*columns, *rows)
    entries = ", ".join(f"{column}[i]" for column in columns)
    lines = []
    for k, term in enumerate(scalars[:-1]):
        mean = f"{name}_mean_{k}"
        text = MEAN.format(
            name=mean,
            columns=", ".join(columns),
            rest=term.rest,
            entries=entries,
            once=term.once(indent=4),
            fixed=term.fixed,
        )
        functions += [*term.functions, text]
        lines.append(f"        s{tag}{k} = {mean}({', '.join(columns)}, width{term.rest})\n")
    lines.append(scalars[-1].once(indent=8))
    functions += scalars[-1].functions
    has_arguments = bool(op.arguments or op.noise)
    drawing = ("(key0, key1, layer, draw)", "noise") if op.noise else ()
    return MapCall(
        functions=tuple(functions),
        parameters=(", width, law" if has_arguments else "") + (", place, noise" * bool(op.noise)),
        given=(f", width, laws[{j}]" if has_arguments else "") + "".join(f", {d}" for d in drawing),
        reads=_reads(op, tag) + "".join(f"    {row} = noise[{k}]\n" for k, row in enumerate(rows)),
        averages="".join(lines),
        value=f"{name}({entries}{scalars[-1].fixed})",
        arguments=tuple(scalars[-1].fixed.split(", ")[1:]),
        noise=tuple(noise),
        uniforms=tuple(uniforms),
        fills=tuple(_fill(op, each, j, k) for k, each in enumerate(op.noise)),
    )


def noise_vector(j: int, k: int) -> int:
    """Return the index of noise k of operation j, less that of its column."""
    return (MOST_NOISE * j + k) * NOISE_COLUMNS


def _fill(op: Map, noise: Noise, j: int, k: int) -> str:
    """Return the call that draws a noise of operation j; ``{column}`` stands for its column."""
    one, vector = noise.over == "block", noise_vector(j, k)
    column = "0" if noise.shared else "{column}"
    if one and not noise.shared and op.positions:
        column += f" // {math.prod(op.positions)}"
    sort, many = ("", "") if one else ("s", "width, ")
    return f"write_uniform{sort}(place, {vector}, {column}, {many}noise, {k})"


def batch_loop(
    loop: str, arguments: str, count: str, name: str, averaged: AveragedMap, op: Map, *entries: str
) -> list[str]:
    """Return the texts of a loop over the columns of batches, and of what it calls.

    Parameters
    ----------
    loop, arguments : str
        Name of the loop, and its arguments in front of the width.
    count : str
        Number of inputs, in terms of the arguments.
    name : str
        Of the generated functions.
    averaged : AveragedMap
        The map itself, or a derivative of it.
    op : Map
        The operation.
    *entries : str
        Entry ``i`` of column ``c`` of the result, of `X`, and of `OTHER` if there is one.
    """
    new, *read = entries
    given = ", ".join(read)
    *terms, value = _scalars(name, op, averaged, len(read))
    means = (
        BATCH_MEAN.format(k=k, term=f"{term.name}({given}{term.rest})")
        for k, term in enumerate(terms)
    )
    place = next((k for k, p in enumerate(op.parameters) if p.symbol == op.group), None)
    size = "" if place is None else f"    if p{place} > 0.0:\n        size = int(p{place})\n"
    if op.over == "positions":
        size = f"    size = np.int64({math.prod(op.positions)})\n"
    sums = "".join(means)
    mapped = {"count": count, "new": new, "value": f"{name}({given}{value.rest})"}
    flags = [k for k, p in enumerate(op.parameters) if p.symbol == op.running]
    # Of derivatives there are none: statistics of training are constants of an evaluation.
    runs = _running(op, sums, f"p{flags[0]}", mapped) if flags and len(read) == 1 else ""
    return [
        *(text for scalar in (*terms, value) for text in scalar.functions),
        BATCH.format(
            loop=loop,
            arguments=arguments,
            reads=_reads(op),
            size=size,
            running=runs,
            averages=sums,
            **mapped,
        ),
    ]


def _running(op: Map, averages: str, flag: str, mapped: dict[str, str]) -> str:
    """Return the lines of statistics that are averages over training batches."""
    steps = {"started": "", "added": "", "taken": ""}
    for k, (symbol, _) in enumerate(op.averages):
        # As PyTorch collects it, the variance of a batch is the unbiased one.
        unbiased = " * size / (size - 1)" if symbol in op.unbiased else ""
        steps["started"] += f"{'':12}r{k} = 0.0\n"
        steps["added"] += f"{'':16}r{k} += s{k}{unbiased}\n"
        steps["taken"] += f"{'':12}s{k} = r{k} * size / trained\n"
    return RUNNING.format(flag=flag, averages=textwrap.indent(averages, "    "), **steps, **mapped)


def noise_of(op: Map) -> tuple[list[sp.Symbol], list[tuple[sp.Symbol, sp.Expr]]]:
    """Return a uniform number for every noise of a map, and the noise as a function of it."""
    uniforms = [sp.Symbol(f"uniform_{k}", positive=True) for k in range(len(op.noise))]
    pairs = zip(op.noise, uniforms, strict=True)
    return uniforms, [(each.symbol, each.quantile(u)) for each, u in pairs]


def _reads(op: Map, tag: str = "") -> str:
    """Return the lines that read the parameters of a map."""
    return "".join(f"    p{tag}{k} = law[{k}]\n" for k in range(len(op.parameters)))


@dataclass(frozen=True)
class _Scalar:
    """A function of one neuron: a term of an average, or the value.

    Attributes
    ----------
    name : str
        Name of the function.
    functions : tuple of str
        Its text, behind that of the function of what is the same at all neurons.
    rest : str
        Parameters and averages, as arguments.
    parts : tuple of str
        Names of what is the same at all neurons.
    """

    name: str
    functions: tuple[str, ...]
    rest: str
    parts: tuple[str, ...]

    @property
    def fixed(self) -> str:
        """Arguments behind the entries of the columns."""
        return self.rest + "".join(f", {part}" for part in self.parts)

    def once(self, indent: int) -> str:
        """Return the line that computes what is the same at all neurons."""
        if not self.parts:
            return ""
        given = self.rest.removeprefix(", ")
        return f"{'':{indent}}{', '.join(self.parts)} = {self.name}_once({given})\n"


def _scalars(
    name: str, op: Map, averaged: AveragedMap, columns: int, tag: str = "", split: bool = False
) -> list[_Scalar]:
    """Return the functions of one neuron: the terms of the averages, and the value."""
    texts = [f"p{tag}{k}" for k in range(len(op.parameters))]
    uniforms, noise = noise_of(op)
    own = [*[X, OTHER][:columns], *uniforms]
    varying = {*own, *(each.symbol for each in op.noise)}
    common = [p.symbol for p in op.parameters]
    found = []
    terms = [(f"{name}_mean_{k}_term", *pair) for k, pair in enumerate(averaged.averages)]
    for number, (called, symbol, term) in enumerate([*terms, (name, None, averaged.value)]):
        parts: dict[sp.Expr, sp.Symbol] = {}
        new = _split(term, varying, f"{called}_part", parts) if split else term
        functions = [scalar_function(f"{called}_once", common, list(parts))] if parts else []
        given = [*own, *common, *parts.values()]
        functions.append(scalar_function(called, given, [new], definitions=noise))
        rest = "".join(f", {text}" for text in texts)
        found.append(_Scalar(called, tuple(functions), rest, tuple(map(str, parts.values()))))
        if symbol is not None:
            common.append(symbol)
            texts.append(f"s{tag}{number}")
    return found


def _split(
    term: sp.Basic, varying: set[sp.Symbol], stem: str, parts: dict[sp.Expr, sp.Symbol]
) -> Any:
    """Return an expression in which symbols stand for the parts that do not vary."""
    if term.is_Atom or not term.free_symbols:
        return term
    if isinstance(term, sp.Expr) and not term.free_symbols & varying:
        return parts.setdefault(term, sp.Symbol(f"{stem}_{len(parts)}", real=True))
    if isinstance(term, sp.Add | sp.Mul):
        still = [part for part in term.args if not part.free_symbols & varying]
        moving = [part for part in term.args if part.free_symbols & varying]
        pieces = [term.func(*still), *moving] if still else moving
    else:
        pieces = list(term.args)
    return term.func(*(_split(piece, varying, stem, parts) for piece in pieces))
