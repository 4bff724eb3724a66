"""How the loops of the groups call a map: with its parameters, and averages taken before.

A map of a neuron's own value alone is one function. One with parameters reads them from the row
`laws[j]` of its operation; one with averages takes each of them over the neurons of a column before
that column is mapped. Its derivatives are of the same form (`resexpand.network.differentials`).
Averages over a batch are taken neuron by neuron, of all columns of a batch at once (`batch_loop`).
"""

from __future__ import annotations

from dataclasses import dataclass

from resexpand.codegen.source import scalar_function
from resexpand.network.differentials import OTHER, AveragedMap
from resexpand.network.operation import Map, X

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


BATCH = '''
@chunk
def {loop}({arguments}, width, law):
    """Map the columns of every batch, neuron by neuron."""
{reads}    size = {count}
{size}    for first_of in range(0, {count}, size):
        behind = first_of + size
        for turn in range(turns(width)):
            i = entry(turn)
{averages}            for c in range(first_of, behind):
                {new} = {value}
    meet()
'''

BATCH_MEAN = """\
            s{k} = 0.0
            for c in range(first_of, behind):
                s{k} += {term}
            s{k} /= size
"""


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
    """

    functions: tuple[str, ...]
    parameters: str
    given: str
    reads: str
    averages: str
    value: str


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
    entries = ", ".join(f"{column}[i]" for column in columns)
    functions, rests = _scalars(name, op, averaged, len(columns))
    lines = []
    for k, rest in enumerate(rests[:-1]):
        mean = f"{name}_mean_{k}"
        functions.append(
            MEAN.format(name=mean, columns=", ".join(columns), rest=rest, entries=entries)
        )
        lines.append(f"        s{k} = {mean}({', '.join(columns)}, width{rest})\n")
    has_arguments = bool(op.arguments)
    return MapCall(
        functions=tuple(functions),
        parameters=", width, law" if has_arguments else "",
        given=f", width, laws[{j}]" if has_arguments else "",
        reads=_reads(op),
        averages="".join(lines),
        value=f"{name}({entries}{rests[-1]})",
    )


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
        Entry ``i`` of column ``c``: what is written, `X`, and `OTHER` if there is one.
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


def _reads(op: Map) -> str:
    """Return the lines that read the parameters of a map."""
    return "".join(f"    p{k} = law[{k}]\n" for k in range(len(op.parameters)))


def _scalars(
    name: str, op: Map, averaged: AveragedMap, columns: int
) -> tuple[list[str], list[str]]:
    """Return the functions of one neuron: the terms of the averages, and what is computed.

    With them, what each takes behind the entries of the columns.
    """
    texts = [f"p{k}" for k in range(len(op.parameters))]
    symbols = [*[X, OTHER][:columns], *(parameter.symbol for parameter in op.parameters)]
    functions, rests = [], []
    for k, (symbol, term) in enumerate(averaged.averages):
        functions.append(scalar_function(f"{name}_mean_{k}_term", symbols, [term]))
        rests.append("".join(f", {text}" for text in texts))
        symbols.append(symbol)
        texts.append(f"s{k}")
    functions.append(scalar_function(name, symbols, [averaged.value]))
    return functions, [*rests, "".join(f", {text}" for text in texts)]
