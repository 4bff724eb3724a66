"""How the loops of the groups call a map: with its parameters, and averages taken before.

A map of a neuron's own value alone is one function. One with parameters reads them from the row
`laws[j]` of its operation; one with averages takes each of them over the neurons of a column before
that column is mapped. Its derivatives are of the same form (`resexpand.network.differentials`).
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
    arguments = [X, OTHER][: len(columns)]
    texts = [f"p{k}" for k in range(len(op.parameters))]
    symbols = [*arguments, *(parameter.symbol for parameter in op.parameters)]
    entries = ", ".join(f"{column}[i]" for column in columns)
    functions, lines = [], []
    for k, (symbol, term) in enumerate(averaged.averages):
        mean = f"{name}_mean_{k}"
        rest = "".join(f", {text}" for text in texts)
        functions.append(scalar_function(f"{mean}_term", symbols, [term]))
        functions.append(
            MEAN.format(name=mean, columns=", ".join(columns), rest=rest, entries=entries)
        )
        lines.append(f"        s{k} = {mean}({', '.join(columns)}, width{rest})\n")
        symbols.append(symbol)
        texts.append(f"s{k}")
    functions.append(scalar_function(name, symbols, [averaged.value]))
    has_arguments = bool(op.arguments)
    return MapCall(
        functions=tuple(functions),
        parameters=", width, law" if has_arguments else "",
        given=f", width, laws[{j}]" if has_arguments else "",
        reads="".join(f"    p{k} = law[{k}]\n" for k in range(len(op.parameters))),
        averages="".join(lines),
        value=f"{name}({', '.join([entries, *texts])})",
    )
