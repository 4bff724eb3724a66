"""Source text of the quadrature functions that generated routines call.

An average is a sum over Gauss-Legendre panels in standard normal variables, of one or two nested
integrals. Panels end at the edges of the integrand (`resexpand.codegen.resolution`), and are short
enough to resolve the density. For two inputs, ``x = a z``, ``y = b z + c w``, the inner sum uses
the edges of ``y``. The outer sum uses those of ``x``, and those of ``y`` smoothed by the inner
average over the width ``c``: one panel covers a few ``c``, and panels around a singular point grow
from that width by a constant factor. Sums end where the integrand times the density is negligible.
`resexpand.codegen.panels` finds the ends.

Nodes, weights and edges are arguments, so that one compiled routine serves both resolutions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import sympy as sp

from resexpand.codegen.rewrite import Quadrature
from resexpand.codegen.source import argument_names, constant, scalar_function

RULES = tuple(
    sp.Symbol(name) for name in ("nodes", "weights", "edges", "points", "places", "sizes")
)
"""Arguments of every quadrature: rule, edges and singular points of the integrands, and logarithms
of their sizes at some places."""

DENSITY = "0.3989422804014327 * fn_exp(-0.5 * {z} * {z})"


def rule_arguments(quadratures: Sequence[Quadrature]) -> tuple[sp.Symbol, ...]:
    """Return the rule arrays that a set of quadratures needs as arguments."""
    return RULES if quadratures else ()


def with_rules(expression: sp.Expr, quadratures: Sequence[Quadrature]) -> sp.Expr:
    """Append the rule arrays to every quadrature call of an expression."""
    names = {q.name for q in quadratures}

    def is_call(node: sp.Basic) -> bool:
        return isinstance(node, sp.core.function.AppliedUndef) and node.func.__name__ in names

    return expression.replace(is_call, lambda call: call.func(*call.args, *RULES))


def quadrature_functions(quadratures: Sequence[Quadrature], *, shared: bool = False) -> list[str]:
    """Return the texts of all functions the quadratures consist of, callees first.

    Parameters
    ----------
    quadratures : sequence of Quadrature
        Averages to compute.
    shared : bool
        Whether several threads share the nodes of the outer sum: each takes its own nodes, and
        their sums are added before the function returns.
    """
    functions: list[str] = []
    for quadrature in quadratures:
        inputs = (*quadrature.variables, *quadrature.covariance, *quadrature.parameters)
        name = f"{quadrature.name}_integrand"
        functions.append(scalar_function(name, inputs, [quadrature.integrand]))
        is_pair = len(quadrature.variables) == 2
        texts = _pair(quadrature, shared) if is_pair else _single(quadrature)
        if shared:
            texts[-1] = _among_threads(texts[-1])
        functions += texts
    return functions


def _among_threads(text: str) -> str:
    """Let threads share the nodes of a sum in all of its loops, and add their sums."""
    loop = r"\1for share_turn in range(share_turns(\2.size)):\n\1    i = share_entry(share_turn)"
    loops = re.sub(r"( *)for i in range\((\w+)\.size\):", loop, text)
    return loops.replace("return total", "return share_sum(total)")


def _single(quadrature: Quadrature) -> list[str]:
    name = quadrature.name
    rest = ", ".join(argument_names((*quadrature.covariance, *quadrature.parameters)))
    lines = [
        "scale = fn_sqrt(k0)",
        "reach = panel_reach_of(scale, scale, places, sizes)",
        "excess = 0.0",
        *_infinite(quadrature),
        *_sum(
            "z",
            "panel_line_stop(start, reach, 0.0, scale, edges)",
            f"{name}_integrand(scale * z, {rest})",
        ),
    ]
    return [_function(f"@average\ndef {name}({rest}, {_RULE_NAMES}):", lines)]


def _pair(quadrature: Quadrature, shared: bool) -> list[str]:
    name = quadrature.name
    rest = ", ".join(argument_names((*quadrature.covariance, *quadrature.parameters)))
    row_head = f"{name}_row(z, a, b, c, reach, {rest}, nodes, weights, edges)"
    row = ["excess = 0.0"]
    row += _sum(
        "y",
        "panel_line_stop(start, reach, b * z, c, edges)",
        f"{name}_integrand(a * z, b * z + c * y, {rest})",
    )
    lines = [
        *_TRIANGLE,
        "reach = panel_reach_of(a, fn_sqrt(k2), places, sizes)",
        "excess = 0.0",
        *_infinite(quadrature),
        *_sum("z", "panel_smoothed_stop(start, reach, a, b, c, edges, points)", row_head),
    ]
    # An early return is left out where threads share a sum: all must reach the addition.
    if quadrature.diagonal is not None and not shared:
        parameters = "".join(f", {p}" for p in argument_names(quadrature.parameters))
        same = f"{quadrature.diagonal}(k0{parameters}, {_RULE_NAMES})"
        lines = ["if k0 == k1 and k1 == k2:", f"    return {same}", *lines]
    head = f"@average\ndef {name}({rest}, {_RULE_NAMES}):"
    return [_function(f"@reduction\ndef {row_head}:", row), _function(head, lines)]


_RULE_NAMES = ", ".join(rule.name for rule in RULES)

_TRIANGLE = [
    "a = fn_sqrt(k0)",
    "b = k1 / a if a > 0.0 else 0.0",
    "c = fn_sqrt(panel_residual_variance(k0, k1, k2, b))",
]


def _sum(variable: str, stop: str, value: str) -> list[str]:
    """Return the loop over the panels of one standard normal variable."""
    return [
        "total = 0.0 * reach + excess",
        "start = -reach",
        "while start < reach:",
        f"    stop = {stop}",
        "    length = stop - start",
        "    for i in range(nodes.size):",
        f"        {variable} = start + length * nodes[i]",
        f"        total += length * weights[i] * {DENSITY.format(z=variable)} * {value}",
        "    start = stop",
        "return total",
    ]


def _function(head: str, lines: Sequence[str]) -> str:
    return "\n".join([head, *(f"    {line}" for line in lines), ""])


def _infinite(quadrature: Quadrature) -> list[str]:
    """Return the lines that detect covariances at which the average is infinite.

    They set the range to zero and do not return: threads that share a sum must all reach its end.
    """
    if not any(quadrature.rates):
        return []
    doubled = [constant(2 * rate) for rate in quadrature.rates if rate != sp.oo]
    if len(doubled) < len(quadrature.rates):
        condition = "k0 > 0.0"
    elif len(doubled) == 1:
        condition = f"{doubled[0]} * k0 >= 1.0"
    else:
        p, q = doubled
        room = f"(1.0 - {p} * k0) * (1.0 - {q} * k2) - {p} * {q} * k1 * k1"
        condition = f"{p} * k0 >= 1.0 or {room} <= 0.0"
    return [f"if {condition}:", "    reach = 0.0", "    excess = math.inf"]
