"""Source text of the quadrature functions that generated routines call.

A smooth average is one loop (one input) or two nested loops (two inputs) over the nodes of the
trapezoidal rule, in a variable that resolves the bend of an activation at every variance. An
average with kinks is a sum over panels between the singular points, whose place in the standard
normal variable depends on the covariance. Nodes and weights are arguments, so that one compiled
routine serves both resolutions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import sympy as sp

from resexpand.codegen.rewrite import Quadrature
from resexpand.codegen.source import argument_names, constant, scalar_function
from resexpand.gaussian.quadrature import CUTOFF

NODES, WEIGHTS = sp.Symbol("nodes"), sp.Symbol("weights")
PANEL_NODES, PANEL_WEIGHTS = sp.Symbol("panel_nodes"), sp.Symbol("panel_weights")


def rule_arguments(quadratures: Sequence[Quadrature]) -> tuple[sp.Symbol, ...]:
    """Return the rule arrays that a set of quadratures needs as arguments."""
    arguments: list[sp.Symbol] = []
    if any(q.is_smooth for q in quadratures):
        arguments += [NODES, WEIGHTS]
    if any(not q.is_smooth for q in quadratures):
        arguments += [PANEL_NODES, PANEL_WEIGHTS]
    return tuple(arguments)


def with_rules(expression: sp.Expr, quadratures: Sequence[Quadrature]) -> sp.Expr:
    """Append the rule arrays to every quadrature call of an expression."""
    rules = {q.name: rule_arguments([q]) for q in quadratures}

    def extended(call: sp.Expr) -> sp.Expr:
        return call.func(*call.args, *rules[call.func.__name__])

    def is_call(node: sp.Basic) -> bool:
        return isinstance(node, sp.core.function.AppliedUndef) and node.func.__name__ in rules

    return expression.replace(is_call, extended)


def quadrature_functions(quadratures: Sequence[Quadrature], *, shared: bool = False) -> list[str]:
    """Return the texts of all functions the quadratures consist of, callees first.

    Parameters
    ----------
    quadratures : sequence of Quadrature
        What is averaged.
    shared : bool
        Whether several threads share the nodes of the outer sum: each begins at its own, and
        what they find is added before anything is returned.
    """
    functions = []
    if any(not q.is_smooth for q in quadratures):
        functions.append(_PLACE)
    if any(q.is_smooth for q in quadratures):
        functions.append(_INVERSE_SINH)
    for quadrature in quadratures:
        integrand = f"{quadrature.name}_integrand"
        inputs = (*quadrature.variables, *quadrature.covariance, *quadrature.parameters)
        functions.append(scalar_function(integrand, inputs, [quadrature.integrand]))
        rest = ", ".join(argument_names((*quadrature.covariance, *quadrature.parameters)))
        write = _smooth if quadrature.is_smooth else _panelled
        texts = write(quadrature, integrand, rest)
        if shared:
            texts[-1] = _among_threads(texts[-1])
        functions += [f"@reduction\n{text}" for text in texts]
    return functions


def _among_threads(text: str) -> str:
    """Let threads share the nodes of a sum, in all of its loops, and add what they found."""
    loop = r"\1for share_turn in range(share_turns(\2.size)):\n\1    i = share_entry(share_turn)"
    loops = re.sub(r"( *)for i in range\((\w+)\.size\):", loop, text)
    return loops.replace("return total", "return share_sum(total)")


def _smooth(quadrature: Quadrature, integrand: str, rest: str) -> list[str]:
    head = f"def {quadrature.name}({rest}, nodes, weights):"
    if len(quadrature.variables) == 1:
        value = f"{integrand}(fn_sqrt(k0) * z, {rest})"
        return ["\n".join([head, *_line("z", "fn_sqrt(k0)", "0.0", value), ""])]
    row = f"{quadrature.name}_row(z, a, b, c, {rest}, nodes, weights)"
    value = f"{integrand}(a * z, b * z + c * y, {rest})"
    return [
        "\n".join([f"def {row}:", *_line("y", "c", "b * z", value), ""]),
        "\n".join([head, _TRIANGLE, *_line("z", "max(a, abs(b))", "0.0", row), ""]),
    ]


_INVERSE_SINH = """@scalar
def inverse_sinh(v):
    root = fn_log(abs(v) + fn_sqrt(v * v + 1.0))
    return root if v >= 0.0 else -root
"""


def _line(variable: str, scale: str, shift: str, value: str) -> list[str]:
    """Return the loop of the trapezoidal rule over one standard normal variable ``z``.

    Where ``shift + scale z`` runs far beyond the range in which activations bend, the rule is taken
    in ``u``, ``shift + scale z = sinh(u)``, which keeps the nodes near zero as dense as they must
    be; the weights then hold the density at ``z`` and the slope ``dz/du``.
    """
    density = _DENSITY.format(z=variable)
    lines = [
        f"scale = {scale}",
        "total = 0.0",
        f"if scale <= {LINEAR_RANGE}:",
        "    for i in range(nodes.size):",
        f"        {variable} = nodes[i]",
        f"        total += weights[i] * {value}",
        "else:",
        f"    low = inverse_sinh({shift} - {CUTOFF} * scale)",
        f"    step = (inverse_sinh({shift} + {CUTOFF} * scale) - low) / real(nodes.size - 1)",
        "    for i in range(nodes.size):",
        "        grown = fn_exp(low + step * real(i))",
        "        shrunk = 1.0 / grown",
        f"        {variable} = (0.5 * (grown - shrunk) - {shift}) / scale",
        "        slope = 0.5 * (grown + shrunk) / scale",
        f"        total += step * slope * {density} * {value}",
        "return total",
    ]
    return ["    " + line for line in lines]


# Up to this standard deviation the poles of tanh and its like lie far enough from the real line
# for the plain rule to be at machine precision in both resolutions.
LINEAR_RANGE = 2.0


# Cholesky factor of the covariance; a vanishing variance leaves the other input alone.
_TRIANGLE = """    a = fn_sqrt(k0)
    b = k1 / a if a > 0.0 else 0.0
    c = fn_sqrt(max(k2 - b * b, 0.0))"""

_DENSITY = "0.3989422804014327 * fn_exp(-0.5 * {z} * {z})"


def _panelled(quadrature: Quadrature, integrand: str, rest: str) -> list[str]:
    head = f"def {quadrature.name}({rest}, panel_nodes, panel_weights):"
    if len(quadrature.variables) == 1:
        points = [f"place({constant(p)}, 0.0, fn_sqrt(k0))" for p in quadrature.breaks[0]]
        value = f"{integrand}(fn_sqrt(k0) * z, {rest})"
        return ["\n".join([head, *_panels("z", points, value), ""])]
    first, second = quadrature.breaks
    inner = [f"place({constant(p)}, b * z, c)" for p in second]
    outer = [f"place({constant(p)}, 0.0, a)" for p in first]
    outer += [f"place({constant(p)}, 0.0, b)" for p in second]
    row = f"{quadrature.name}_row(z, a, b, c, {rest}, panel_nodes, panel_weights)"
    value = f"{integrand}(a * z, b * z + c * y, {rest})"
    return [
        "\n".join([f"def {row}:", *_panels("y", inner, value), ""]),
        "\n".join([head, _TRIANGLE, *_panels("z", outer, row), ""]),
    ]


# A break of the integrand in the standard normal variable, kept inside the range; where the
# variable does not move (scale 0) the break lies at an end.
_PLACE = f"""@scalar
def place(point, shift, scale):
    far = {CUTOFF} if point >= shift else -{CUTOFF}
    inside = (point - shift) / scale if scale != 0.0 else far
    return min(max(inside, -{CUTOFF}), {CUTOFF})
"""


def _panels(variable: str, points: Sequence[str], value: str) -> list[str]:
    """Return the loop that sums over the panels between sorted break points."""
    names = [f"t{i}" for i in range(len(points))]
    lines = [f"{name} = {point}" for name, point in zip(names, points, strict=True)]
    for i in range(len(names)):
        for j in range(i + 1, len(names)):
            pair = f"{names[i]}, {names[j]}"
            lines.append(f"{pair} = min({pair}), max({pair})")
    lines += ["total = 0.0"]
    edges = [str(-CUTOFF), *names, str(CUTOFF)]
    for left, right in pairwise(edges):
        density = _DENSITY.format(z=variable)
        lines += [
            f"start = {left}",
            f"length = {right} - start",
            "for i in range(panel_nodes.size):",
            f"    {variable} = start + length * panel_nodes[i]",
            f"    total += length * panel_weights[i] * {density} * {value}",
        ]
    lines.append("return total")
    return ["    " + line for line in lines]
