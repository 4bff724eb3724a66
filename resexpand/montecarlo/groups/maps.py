"""How the loops of the groups call a map: with its parameters, and averages taken before.

A map of a neuron's own value alone is one function. One with parameters reads them from the row
`laws[j]` of its operation; one with averages takes each of them over the neurons of a column before
that column is mapped. Its derivatives are of the same form (`resexpand.network.differentials`).
Noise is made of uniform numbers, drawn into rows of scratch before a column is mapped. They are a
function of the column that a loop is about, so derivatives of a column and the way back draw those
of the column again.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from resexpand.codegen.source import scalar_function
from resexpand.montecarlo.random.streams import MOST_NOISE, NOISE_COLUMNS
from resexpand.network.differentials import OTHER, AveragedMap
from resexpand.network.operation import Map, Noise, X

MEAN = '''
@reduction
def {name}({columns}, width{rest}):
    """Return an average over the neurons."""
    total = 0.0
    for turn in range(turns(width)):
        i = entry(turn)
        total += {name}_term({entries}{rest})
    return over_lanes(total) / width
'''


@dataclass(frozen=True)
class MapCall:
    """Texts that go into the loop of a group, empty where the map has no use for them.

    Attributes
    ----------
    functions : tuple of str
        What the loop calls.
    parameters, given : str
        Further parameters of the loop, and what its call gives for them.
    reads : str
        Lines that read the parameters of the map.
    averages : str
        Lines that take the averages of a column.
    value : str
        What a neuron computes.
    noise : tuple of (sympy.Symbol, sympy.Expr)
        Every noise as a function of a uniform number.
    uniforms : tuple of sympy.Symbol
        These numbers.
    fills : tuple of str
        Calls that draw them, with a place for the column that they belong to.
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
    uniforms = [sp.Symbol(f"uniform_{k}", positive=True) for k in range(len(op.noise))]
    rows = [f"u{k}" for k in range(len(op.noise))]
    pairs = zip(op.noise, uniforms, strict=True)
    noise = [(each.symbol, each.quantile(u)) for each, u in pairs]
    arguments = [*[X, OTHER][: len(columns)], *uniforms]
    columns = (*columns, *rows)
    texts = [f"p{k}" for k in range(len(op.parameters))]
    symbols = [*arguments, *(parameter.symbol for parameter in op.parameters)]
    entries = ", ".join(f"{column}[i]" for column in columns)
    functions, lines = [], []
    for k, (symbol, term) in enumerate(averaged.averages):
        mean = f"{name}_mean_{k}"
        rest = "".join(f", {text}" for text in texts)
        text = scalar_function(f"{mean}_term", symbols, [term], definitions=noise)
        functions.append(text)
        functions.append(
            MEAN.format(name=mean, columns=", ".join(columns), rest=rest, entries=entries)
        )
        lines.append(f"        s{k} = {mean}({', '.join(columns)}, width{rest})\n")
        symbols.append(symbol)
        texts.append(f"s{k}")
    functions.append(scalar_function(name, symbols, [averaged.value], definitions=noise))
    has_arguments = bool(op.arguments)
    reads = [f"p{k} = law[{k}]" for k in range(len(op.parameters))]
    reads += [f"{row} = noise[{k}]" for k, row in enumerate(rows)]
    drawing = ("(key0, key1, layer, draw)", "noise") if op.noise else ()
    return MapCall(
        functions=tuple(functions),
        parameters=(", width, law" if has_arguments else "") + (", place, noise" * bool(op.noise)),
        given=(f", width, laws[{j}]" if has_arguments else "") + "".join(f", {d}" for d in drawing),
        reads="".join(f"    {line}\n" for line in reads),
        averages="".join(lines),
        value=f"{name}({', '.join([entries, *texts])})",
        noise=tuple(noise),
        uniforms=tuple(uniforms),
        fills=tuple(_fill(each, j, k) for k, each in enumerate(op.noise)),
    )


def _fill(noise: Noise, j: int, k: int) -> str:
    """Return the call that draws a noise of operation j, with a place for the column."""
    one = noise.over == "block"
    vector = (MOST_NOISE * j + k) * NOISE_COLUMNS
    column = "0" if noise.shared else "{column}"
    return f"write_uniform{'' if one else 's'}(place, {vector}, {column}, noise[{k}])"
