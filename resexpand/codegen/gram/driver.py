"""Source text of the loop over all pairs of many inputs, one layer per call.

The pairs are taken in blocks of `BLOCK` x `BLOCK`: rows are first inputs, and the second inputs of
a row are the lanes of the vector units. Quantities of single inputs are read from arrays that hold
them for every layer; quantities of pairs are updated where they stand. Of a symmetric matrix the
blocks on and above the diagonal are computed, and mirrored while they are in the cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sympy as sp
from sympy.core.function import AppliedUndef

from resexpand.codegen.driver import indent
from resexpand.codegen.gram.series import Key, Series, key_of, series_of, series_texts, sum_text
from resexpand.codegen.quadrature import quadrature_functions, rule_arguments
from resexpand.codegen.schedule import Schedule
from resexpand.codegen.source import module_source, scalar_function
from resexpand.theory.gram import GramRecursion

BLOCK = 32

COLUMN, SHIFT = sp.Symbol("column"), sp.Symbol("shift")


@dataclass(frozen=True)
class GramPlan:
    """Plan of the loops over pairs.

    Attributes
    ----------
    gram : GramRecursion
        The recursion in its two parts.
    pair : Schedule
        Lowered expressions of the pair.
    series : tuple of Series
        Averages of the pair that are computed as series.
    """

    gram: GramRecursion
    pair: Schedule
    series: tuple[Series, ...]

    @property
    def is_finished(self) -> bool:
        """Whether reading the last state takes other expressions than reading those before."""
        layered = len(self.pair.layer_slots)
        return self.pair.last != self.pair.layer[:layered]

    @property
    def is_series(self) -> bool:
        """Whether every average of the pair without closed form is a series."""
        return {q.name for q in self.pair.quadratures} == {s.key[0] for s in self.series}

    @property
    def slots(self) -> tuple[str, ...]:
        """Arrays that are filled in every layer."""
        return (*self.pair.trajectory_slots, *self.pair.layer_slots)

    @property
    def finals(self) -> tuple[str, ...]:
        """Arrays that are filled behind the last block."""
        return self.pair.last_slots[len(self.pair.layer_slots) :]

    @property
    def factors(self) -> tuple[str, ...]:
        """Propagators, of which the factor of every block is returned."""
        return tuple(p.name for p in self.pair.propagations)


def planned(gram: GramRecursion, pair: Schedule) -> GramPlan:
    """Find out which averages of the pair are series."""
    groups = (pair.read, pair.layer, pair.step, pair.last, [v for _, v in pair.definitions])
    calls = {
        call
        for group in groups
        for expression in group
        for call in expression.atoms(AppliedUndef)
        if len(call.args) > 2 and call.args[0] in gram.first and call.args[2] in gram.second
    }
    return GramPlan(gram, pair, tuple(series_of(pair.quadratures, calls)))


def gram_source(plan: GramPlan) -> str:
    """Return the text of the module with the loops ``run`` and, if it differs, ``finish_run``."""
    pair = plan.pair
    functions = [*quadrature_functions(pair.quadratures)]
    helpers = {q.name: q.name for q in pair.quadratures}
    for series in plan.series:
        functions += series_texts(series)
        functions.append(sum_text(series, _rules_text(rule_arguments([series.quadrature]))))
        helpers[series.name] = series.name
    calls = {s.key: s for s in plan.series}
    inputs = _inputs(plan)

    def add(name: str, outputs: Sequence[sp.Expr]) -> None:
        text = scalar_function(
            name,
            inputs,
            [_with_series(e, calls) for e in outputs],
            helpers=helpers,
            definitions=[(s, _with_series(v, calls)) for s, v in pair.definitions],
        )
        functions.append(text)

    add("advance", (*pair.read, *pair.layer, *pair.step))
    functions.append(_loop(plan, "run", "advance", last=False))
    if plan.is_finished:
        add("finish", (*pair.read, *pair.last))
        functions.append(_loop(plan, "finish_run", "finish", last=True))
    names = ", ".join(output.name for output in pair.outputs)
    return f"# {plan.gram.pair.title} of many: {names}\n" + module_source(functions)


def _rules_text(rules: Sequence[sp.Symbol]) -> str:
    return "".join(f", {rule.name}" for rule in rules)


def _inputs(plan: GramPlan) -> tuple[sp.Symbol, ...]:
    tables = tuple(symbol for series in plan.series for symbol in series.tables[0])
    pair, gram = plan.pair, plan.gram
    own = (*pair.state, *pair.parameters, *pair.layer_parameters, *gram.first, *gram.second)
    return (*own, *((*tables, COLUMN, SHIFT) if tables else ()), *pair.rules)


def _with_series(expression: sp.Expr, calls: Mapping[Key, Series]) -> sp.Expr:
    """Write the sum of a series for the call of a quadrature."""

    def is_call(node: sp.Basic) -> bool:
        return isinstance(node, AppliedUndef) and len(node.args) > 2 and key_of(node) in calls

    def summed(call: sp.Expr) -> sp.Expr:
        series = calls[key_of(call)]
        covariance, rules = call.args[:3], call.args[3:]
        return sp.Function(series.name)(*covariance, *series.tables[0], COLUMN, SHIFT, *rules)

    return expression.replace(is_call, summed) if calls else expression


def gram_arguments(plan: GramPlan) -> list[str]:
    """Return the argument names of the loops."""
    pair, gram = plan.pair, plan.gram
    return [
        *("first_tile", "last_tile", "tiles", "layer", "block", "mirrored", "shift"),
        *(rule.name for rule in pair.rules),
        *(f"p{k}" for k in range(len(pair.parameters))),
        *(f"q{k}" for k in range(len(pair.layer_parameters))),
        *(f"first{k}" for k in range(len(gram.first))),
        *(f"second{k}" for k in range(len(gram.second))),
        *(name for series in plan.series for name in series.tables[1]),
        *(f"state{k}" for k in range(len(pair.state))),
        *(f"out_{name}" for name in (*plan.slots, *plan.factors, *plan.finals)),
    ]


def _loop(plan: GramPlan, name: str, function: str, *, last: bool) -> str:
    pair, gram = plan.pair, plan.gram
    states, seconds = len(pair.state), len(gram.second)
    written = [(f"out_{slot}", "_layer", "g, layer") for slot in plan.slots]
    written += [(f"out_{name}", "", "g") for name in (plan.finals if last else plan.factors)]
    results = len(written) + (0 if last else states)
    rows = states + seconds + results
    arguments = [f"lane[{k}, i]" for k in range(states)]
    arguments += [f"v{k}" for k in range(len(pair.parameters) + len(pair.layer_parameters))]
    arguments += [f"u{k}" for k in range(len(gram.first))]
    arguments += [f"lane[{states + k}, i]" for k in range(seconds)]
    for series in plan.series:
        left, right = series.tables[1]
        arguments += [f"{left}[g, a]", f"{right}[g]"]
    arguments += ["low2 + i", "shift"] if plan.series else []
    arguments += [rule.name for rule in pair.rules]
    names = [f"r{k}" for k in range(results)]
    at = states + seconds
    taken = "tile_take(lane[{}], {}{}, {}, low2, count)"
    loads = [taken.format(states + k, "second", k, "layer, g") for k in range(seconds)]
    carried = [taken.format(k, "state", k, "g, a") for k in range(states)]
    stores = [
        f"tile_put{levels}({array}, lane[{at + k}], {place}, a, low2, count)"
        for k, (array, levels, place) in enumerate(written)
    ]
    if not last:
        stepped = enumerate(range(at + len(written), rows))
        stores += [f"tile_put(state{k}, lane[{row}], g, a, low2, count)" for k, row in stepped]
    body = [
        "g, low1, high1 = tiles[tile, 0], tiles[tile, 1], tiles[tile, 2]",
        "low2, count = tiles[tile, 3], tiles[tile, 4] - tiles[tile, 3]",
        f"lane = np.empty(({rows}, {BLOCK}))",
        *_scalars(plan),
        *loads,
        "for a in range(low1, high1):",
        *(f"    u{k} = first{k}[layer, g, a]" for k in range(len(gram.first))),
        *indent(carried),
        "    for i in range(count):",
        f"        {', '.join(names)} = {function}({', '.join(arguments)})",
        *(f"        lane[{at + k}, i] = r{k}" for k in range(results)),
        *indent(stores),
    ]
    mirrored = [
        f"tile_mirror{levels}({array}, {place}, low1, high1, low2, count)"
        for array, levels, place in written
    ]
    if mirrored:
        body += ["if mirrored:", *indent(mirrored)]
    head = f"@driver\ndef {name}({', '.join(gram_arguments(plan))}):"
    return "\n".join([head, "    for tile in range(first_tile, last_tile):", *indent(body, 2), ""])


def _scalars(plan: GramPlan) -> list[str]:
    """Return the lines that load what is the same for all pairs of a point of the grid."""
    count = len(plan.pair.parameters)
    lines = [f"v{k} = tile_value(p{k}, g)" for k in range(count)]
    lines += [
        f"v{count + k} = tile_layer_value(q{k}, g, block)"
        for k in range(len(plan.pair.layer_parameters))
    ]
    return lines
