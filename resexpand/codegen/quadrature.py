"""Source text of the quadrature functions that generated routines call.

An average is a sum over Gauss-Legendre panels in standard normal variables, of one or two nested
integrals. Panels end at the edges of the integrand (`resexpand.codegen.resolution`) and are never
longer than `LONGEST`, which resolves the density. For two inputs, ``x = a z``, ``y = b z + c w``,
the inner sum uses the edges of ``y``. The outer sum uses those of ``x``, and those of ``y``
smoothed by the inner average over the width ``c``: one panel covers a few ``c``, and panels around
a singular point grow from that width by a constant factor. Sums end where the integrand times the
density is negligible.

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

LONGEST = 3.5
"""Longest panel, in standard deviations."""

SMOOTHED = 3.0
"""Width of a panel that resolves a function smoothed over one unit."""

NEAREST, FARTHEST = 9.0, 38.0
"""Between these the range of integration ends; the normal density beyond is no double."""

NEGLIGIBLE, LOST = -39.0, -32.0
"""Logarithm of integrand times density, relative to its largest value, at which the range may end,
and above which it must not end at `FARTHEST`."""

HUGE = 1e30

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
    functions = [_STOPS, _SMOOTHED_STOP, _REACH, _RESIDUAL] if quadratures else []
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


_STOPS = f"""@chunk
def first_beyond(at, edges):
    low = 0
    high = edges.size - 1
    while low < high:
        middle = (low + high) // 2
        if edges[middle] > at:
            high = middle
        else:
            low = middle + 1
    return low


@chunk
def line_stop(start, reach, shift, scale, edges):
    stop = reach
    if scale > 0.0:
        at = shift + scale * start
        close = 1e-15 * (abs(shift) + scale * abs(start))
        stop = min(reach, (edges[first_beyond(at + close, edges)] - shift) / scale)
    return panel_end(start, stop, reach)


@chunk
def panel_end(start, stop, reach):
    end = stop if stop > start else reach
    pieces = int((end - start) / {LONGEST}) + 1
    # An edge is met to its last digit: those around it may be far closer than one rounding.
    return end if pieces == 1 else start + (end - start) / real(pieces)
"""

# Edges and points are symmetric around zero, so that a negative slope b needs no other list.
_SMOOTHED_STOP = f"""@chunk
def smoothed_stop(start, reach, a, b, c, edges, points):
    stop = line_stop(start, reach, 0.0, a, edges)
    slope = abs(b)
    if slope == 0.0:
        return stop
    at = slope * start
    width = {SMOOTHED} * c
    close = 1e-15 * abs(at)
    first = first_beyond(at + close, edges)
    last = first_beyond(at + max(width, close), edges)
    end = edges[max(first, last - 1)]
    if c > 0.0:
        after = first_beyond(at + close, points)
        ahead = points[after] - at
        if ahead > 1.5 * width:
            end = min(end, at + min(ahead - width, ahead * {2 / 3}))
        if after > 0:
            end = min(end, at + max(width, 2.0 * (at - points[after - 1])))
    # Beyond the last edges the function looks like a jump or a kink at zero.
    if edges.size > 2 and width > edges[edges.size - 2]:
        if -at > 1.5 * width:
            end = min(end, at + min(-at - width, -at * {2 / 3}))
        elif at >= -close:
            end = min(end, at + max(width, 2.0 * at))
    if end > at:
        stop = min(stop, end / slope)
    return panel_end(start, stop, reach)
"""

# Two standard normal variables at a distance r from the origin reach r times the two deviations.
_REACH = f"""@chunk
def reach_of(first, second, places, sizes):
    best = {-HUGE}
    ring = 0.0
    r = 0.0
    while r < {FARTHEST} and (r <= {NEAREST} or ring > best + {NEGLIGIBLE}):
        size = sizes[first_beyond(first * r, places)] + sizes[first_beyond(second * r, places)]
        ring = 0.5 * (size - r * r)
        best = max(best, ring)
        r += 1.0
    return r if r < {FARTHEST} or ring <= best + {LOST} else nan
"""


# Of the Cholesky factor. If one variance vanishes, only the other input is integrated. For equal
# variances, k0 - k1 is formed first, which keeps the digits of nearly parallel inputs; a residual
# at the level of rounding counts as zero. A function of its own: in a sum the compiler may change
# the order of factors, and the product of two kernels leaves double precision at 1e154.
_RESIDUAL = """@chunk
def residual_variance(k0, k1, k2, b):
    if k0 == k2 and k0 > 0.0:
        left = (k0 - k1) * ((k0 + k1) / k0)
        return left if left > 0.0 else 0.0
    left = k2 - b * b
    return left if left > 4e-16 * k2 else 0.0
"""


def _single(quadrature: Quadrature) -> list[str]:
    name = quadrature.name
    rest = ", ".join(argument_names((*quadrature.covariance, *quadrature.parameters)))
    lines = [
        "scale = fn_sqrt(k0)",
        "reach = reach_of(scale, scale, places, sizes)",
        "excess = 0.0",
        *_infinite(quadrature),
        *_sum(
            "z",
            "line_stop(start, reach, 0.0, scale, edges)",
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
        "line_stop(start, reach, b * z, c, edges)",
        f"{name}_integrand(a * z, b * z + c * y, {rest})",
    )
    lines = [
        *_TRIANGLE,
        "reach = reach_of(a, fn_sqrt(k2), places, sizes)",
        "excess = 0.0",
        *_infinite(quadrature),
        *_sum("z", "smoothed_stop(start, reach, a, b, c, edges, points)", row_head),
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
    "c = fn_sqrt(residual_variance(k0, k1, k2, b))",
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
