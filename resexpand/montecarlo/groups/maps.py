"""Calls of a map in the loops of the groups: its parameters, averages and noise.

A map of a neuron's own value alone is one function. One with parameters reads them from the row
`laws[j]` of its operation; one with averages takes each of them over the neurons of a column before
that column is mapped. Its derivatives are of the same form (`resexpand.network.differentials`).
Noise is made of uniform numbers, drawn into rows of scratch before a column is mapped. They depend
on the column alone, so derivatives of a column and back-propagation draw the same noise again.
Averages over a batch are taken neuron by neuron, of all columns of a batch at once (`batch_loop`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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
    total = 0.0
    for turn in range(lane_share(width)):
        i = lane_entry(turn)
        total += {name}_term({entries}{rest})
    return over_lanes(total) / width
'''


BATCH = '''
@chunk
def {loop}({arguments}, width, law):
    """Map the columns of every batch, neuron by neuron."""
{reads}    size = {count}
{size}    for first_of in range(0, {count}, size):
        behind = first_of + size
        for turn in range(lane_share(width)):
            i = lane_entry(turn)
{averages}            for c in range(first_of, behind):
                {new} = {value}
    barrier()
'''

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
        Lines that take the averages of a column.
    value : str
        Expression of one neuron.
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
    noise: tuple[tuple[sp.Symbol, sp.Expr], ...] = ()
    uniforms: tuple[sp.Symbol, ...] = ()
    fills: tuple[str, ...] = ()

    def drawn(self, column: str, indent: int = 8) -> str:
        """Return the lines that draw the noise of a column, given as text."""
        return "".join(f"{'':{indent}}{fill.format(column=column)}\n" for fill in self.fills)


def map_call(name: str, j: int, op: Map, averaged: AveragedMap, *columns: str) -> MapCall:
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
    """
    uniforms, noise = _noise(op)
    rows = [f"u{k}" for k in range(len(op.noise))]
    functions, rests = _scalars(name, op, averaged, len(columns))
    columns = (*columns, *rows)
    entries = ", ".join(f"{column}[i]" for column in columns)
    lines = []
    for k, rest in enumerate(rests[:-1]):
        mean = f"{name}_mean_{k}"
        functions.append(
            MEAN.format(name=mean, columns=", ".join(columns), rest=rest, entries=entries)
        )
        lines.append(f"        s{k} = {mean}({', '.join(columns)}, width{rest})\n")
    has_arguments = bool(op.arguments)
    drawing = ("(key0, key1, layer, draw)", "noise") if op.noise else ()
    return MapCall(
        functions=tuple(functions),
        parameters=(", width, law" if has_arguments else "") + (", place, noise" * bool(op.noise)),
        given=(f", width, laws[{j}]" if has_arguments else "") + "".join(f", {d}" for d in drawing),
        reads=_reads(op) + "".join(f"    {row} = noise[{k}]\n" for k, row in enumerate(rows)),
        averages="".join(lines),
        value=f"{name}({entries}{rests[-1]})",
        noise=tuple(noise),
        uniforms=tuple(uniforms),
        fills=tuple(_fill(each, j, k) for k, each in enumerate(op.noise)),
    )


def _fill(noise: Noise, j: int, k: int) -> str:
    """Return the call that draws a noise of operation j; ``{column}`` stands for its column."""
    one = noise.over == "block"
    vector = (MOST_NOISE * j + k) * NOISE_COLUMNS
    column = "0" if noise.shared else "{column}"
    return f"write_uniform{'' if one else 's'}(place, {vector}, {column}, noise[{k}])"


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
    functions, rests = _scalars(name, op, averaged, len(read))
    means = (
        BATCH_MEAN.format(k=k, term=f"{name}_mean_{k}_term({given}{rest})")
        for k, rest in enumerate(rests[:-1])
    )
    place = next((k for k, p in enumerate(op.parameters) if p.symbol == op.group), None)
    size = "" if place is None else f"    if p{place} > 0.0:\n        size = int(p{place})\n"
    if op.over == "positions":
        size = f"    size = np.int64({math.prod(op.positions)})\n"
    return [
        *functions,
        BATCH.format(
            loop=loop,
            arguments=arguments,
            reads=_reads(op),
            count=count,
            size=size,
            averages="".join(means),
            new=new,
            value=f"{name}({given}{rests[-1]})",
        ),
    ]


def _noise(op: Map) -> tuple[list[sp.Symbol], list[tuple[sp.Symbol, sp.Expr]]]:
    """Return a uniform number for every noise of a map, and the noise as a function of it."""
    uniforms = [sp.Symbol(f"uniform_{k}", positive=True) for k in range(len(op.noise))]
    pairs = zip(op.noise, uniforms, strict=True)
    return uniforms, [(each.symbol, each.quantile(u)) for each, u in pairs]


def _reads(op: Map) -> str:
    """Return the lines that read the parameters of a map."""
    return "".join(f"    p{k} = law[{k}]\n" for k in range(len(op.parameters)))


def _scalars(
    name: str, op: Map, averaged: AveragedMap, columns: int
) -> tuple[list[str], list[str]]:
    """Return the functions of one neuron: the terms of the averages, and the value.

    The second list holds their arguments behind the entries of the columns.
    """
    texts = [f"p{k}" for k in range(len(op.parameters))]
    uniforms, noise = _noise(op)
    symbols = [*[X, OTHER][:columns], *uniforms, *(p.symbol for p in op.parameters)]
    functions, rests = [], []
    for k, (symbol, term) in enumerate(averaged.averages):
        functions.append(
            scalar_function(f"{name}_mean_{k}_term", symbols, [term], definitions=noise)
        )
        rests.append("".join(f", {text}" for text in texts))
        symbols.append(symbol)
        texts.append(f"s{k}")
    functions.append(scalar_function(name, symbols, [averaged.value], definitions=noise))
    return functions, [*rests, "".join(f", {text}" for text in texts)]
