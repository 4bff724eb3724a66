"""The recursion of a pair of inputs, taken apart for many: what belongs to one input, and the rest.

Among D inputs there are D(D+1)/2 pairs, but only D variances. A recursion of a pair is therefore
split in two: a recursion of one input, run D times, and the recursion of what belongs to the pair,
which reads the quantities of its first and of its second input layer by layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import sympy as sp

from resexpand.conventions import K0, PAIR0
from resexpand.gaussian.expectation import GaussianExpectation
from resexpand.theory.recursion import Output, Recursion, needed

Symbols = tuple[sp.Symbol, ...]


@dataclass(frozen=True)
class GramRecursion:
    """A recursion of a pair of inputs in two parts.

    Attributes
    ----------
    single : Recursion
        Of one input, in the symbols of the first of the pair. Its outputs are what the pair reads,
        named after the symbols, and the diagonals of the outputs of the pair, named as they are.
    pair : Recursion
        Of the pair alone; it reads the symbols `first` and `second`.
    first, second : tuple of sympy.Symbol
        Quantities of the first input that the pair reads, and those of the second.
    """

    single: Recursion
    pair: Recursion
    first: Symbols
    second: Symbols


def split(recursion: Recursion, names: tuple[str, ...]) -> GramRecursion:
    """Take the recursion of a pair of inputs apart.

    Parameters
    ----------
    recursion : Recursion
        Of two inputs, symmetric in them.
    names : tuple of str
        Outputs that are wanted.

    Raises
    ------
    TypeError
        If the two inputs do not play the same role.
    """
    depends = _dependence(recursion)
    sides = [{s for s, of in depends.items() if of == {k}} for k in (PAIR0[0], PAIR0[2])]
    mirror = _mirror(recursion, *sides)
    apart = sides[0] | sides[1]
    pair = replace(
        _restricted(recursion, tuple(s for s in recursion.state if s not in apart)),
        definitions=tuple((s, v) for s, v in recursion.definitions if s not in apart),
        outputs=tuple(_of_pair(recursion.output(name)) for name in names),
        bindings=tuple((s, v) for s, v in recursion.bindings if s not in PAIR0),
    )
    known = {v: s for s, v in recursion.definitions if s in apart}
    pair = _rewritten(pair, known)
    averages = _averages(pair, sides[0], mirror)
    pair = _rewritten(pair, averages)
    own = {s: node for node, s in averages.items() if s in mirror}
    read = {s for e in _expressions(pair) for s in e.free_symbols}
    first = tuple(sorted((s for s in mirror if s in read or mirror[s] in read), key=str))
    state = tuple(s for s in recursion.state if s in sides[0])
    once = tuple((s, v) for s, v in recursion.definitions if depends[s] <= {PAIR0[0]})
    single = replace(
        _restricted(recursion, state),
        title=f"{recursion.title}, one of them",
        inputs=1,
        definitions=(*once, *own.items()),
        outputs=(
            *(_of_symbol(s, state) for s in first),
            *(_of_one(output) for n in names if (output := recursion.output(n)).shape),
        ),
        bindings=(*pair.bindings, (K0, K0)),
    )
    return GramRecursion(single, pair, first, tuple(mirror[s] for s in first))


def _averages(
    pair: Recursion, first: set[sp.Symbol], mirror: dict[sp.Symbol, sp.Symbol]
) -> dict[sp.Expr, sp.Symbol]:
    """Return a symbol for every average over one input that the pair reads; extend the mirror."""
    found: dict[sp.Expr, sp.Symbol] = {}
    nodes = {n for e in _expressions(pair) for n in e.atoms(GaussianExpectation)}
    exchange = dict(mirror)
    for node in sorted(nodes, key=sp.default_sort_key):
        if len(node.variables) > 1 or not first & node.covariance[0].free_symbols:
            continue
        names = [sp.Symbol(f"average{len(mirror)}_{k}", real=True) for k in (1, 2)]
        mirror[names[0]] = names[1]
        found |= {node: names[0], node.xreplace(exchange): names[1]}
    return found


def _rewritten(recursion: Recursion, values: Mapping[sp.Expr, sp.Symbol]) -> Recursion:
    """Write symbols for what they stand for, everywhere but in their own definitions."""

    def of(expressions: Iterable[sp.Expr]) -> tuple[sp.Expr, ...]:
        return tuple(e.xreplace(values) for e in expressions)

    outputs = tuple(
        replace(
            o,
            entries=of(o.entries),
            at_end=of(o.at_end),
            matrix=None if o.matrix is None else o.matrix.xreplace(values),
        )
        for o in recursion.outputs
    )
    definitions = tuple((s, v.xreplace(values)) for s, v in recursion.definitions)
    return replace(recursion, update=of(recursion.update), definitions=definitions, outputs=outputs)


def _dependence(recursion: Recursion) -> dict[sp.Symbol, set[sp.Symbol]]:
    """Return the entries of the kernel at layer 0 on which every quantity depends."""
    made_of = {s: [v] for s, v in (*recursion.constants, *recursion.definitions)}
    steps = zip(recursion.state, recursion.initial, recursion.update, strict=True)
    made_of |= {s: [initial, update] for s, initial, update in steps}
    read = {s: {f for e in parts for f in e.free_symbols} for s, parts in made_of.items()}
    depends = {s: free & set(PAIR0) for s, free in read.items()}
    while True:
        wider = {
            s: depends[s].union(*(depends[f] for f in free if f in depends))
            for s, free in read.items()
        }
        if wider == depends:
            return depends
        depends = wider


def _mirror(
    recursion: Recursion, first: set[sp.Symbol], second: set[sp.Symbol]
) -> dict[sp.Symbol, sp.Symbol]:
    """Return the quantity of the second input for every one of the first."""
    by_name = {s.name: s for s in second}
    mirror = {s: by_name[s.name.replace("_1", "_2").replace("_21", "_22")] for s in first}
    exchange = {**mirror, PAIR0[0]: PAIR0[2]}
    values = dict(recursion.definitions)
    values |= dict(zip(recursion.state, recursion.update, strict=True))
    for one, other in mirror.items():
        if values[one].xreplace(exchange) != values[other]:
            raise TypeError(f"{one} and {other} of the {recursion.title} differ in their equations")
    return mirror


def _restricted(recursion: Recursion, state: Symbols) -> Recursion:
    """Return a recursion of some of the state."""
    at = [recursion.state.index(s) for s in state]
    initial = tuple(recursion.initial[k].xreplace({PAIR0[0]: K0}) for k in at)
    return replace(
        recursion, state=state, initial=initial, update=tuple(recursion.update[k] for k in at)
    )


def _expressions(recursion: Recursion) -> list[sp.Expr]:
    read = [e for o in recursion.outputs for e in (*o.entries, *o.at_end, *(o.matrix or ()))]
    read += recursion.update
    return [*read, *(value for _, value in needed(recursion.definitions, read))]


def _of_pair(output: Output) -> Output:
    """Return the entry of an output that belongs to both inputs."""
    if not output.shape:
        return output
    return replace(output, entries=output.entries[1:2], at_end=output.at_end[1:2])


def _of_one(output: Output) -> Output:
    return replace(output, entries=output.entries[:1], at_end=output.at_end[:1])


def _of_symbol(symbol: sp.Symbol, state: Symbols) -> Output:
    if symbol in state:
        return Output(symbol.name, "trajectory", (symbol,))
    return Output(symbol.name, "layer", (symbol,), at_end=(symbol,))
