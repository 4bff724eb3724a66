r"""Averages of every draw for the order 1/N, layer by layer: a `Recursion` beside the kernel.

With ``C_a(K_a)`` the mean-field covariance of a draw as a function of the covariance of what it
reads, Price's theorem gives

    T_a = dC_a/dK_a,    H_a = d^2 C_a/dK_a^2,

the response of a draw and the curvature that makes the tadpole; nothing is typed in per
activation. For two inputs ``K_a`` and ``C_a`` have the entries 11, 12, 22, and ``T`` and ``H`` one
more index for each. Where linear maps stand in front of the activation
(`resexpand.theory.one_loop.affine`), ``K_a`` is the covariance of what the activation acts on, and
the recursion gives their slopes and averages as well; means of single inputs enter through

    D_a = dC_a/dz = sigma_a^2 < d(phi phi)/dz >,    dD_a/dK_a.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations_with_replacement

import sympy as sp

from resexpand.gaussian.expectation import (
    GaussianExpectation,
    Nonlinearity,
    integration_variables,
    pair_moment,
    second_moment,
)
from resexpand.network.operation import X
from resexpand.theory.hyperparameters import Hyperparameters
from resexpand.theory.one_loop.affine import Affine
from resexpand.theory.one_loop.masks import MOST, moments, together
from resexpand.theory.one_loop.post_norm import switched, unnormalised
from resexpand.theory.one_loop.process import LinearLayer, Process
from resexpand.theory.recursion import Output, Recursion
from resexpand.theory.signal import PLACES

Entries = tuple[sp.Expr, ...]
Symbols = tuple[sp.Symbol, ...]


def reads_name(position: int, entry: int) -> str:
    """Name of the covariance entry that a draw reads; of the last draw for position 0."""
    return f"reads_{position}_{entry}"


def response_name(position: int, row: int, column: int) -> str:
    """Name of ``dC_row/dK_column`` of a draw."""
    return f"response_{position}_{row}_{column}"


def curvature_name(position: int, row: int, first: int, second: int) -> str:
    """Name of ``d^2 C_row/dK_first dK_second`` of a draw, the same in either order."""
    return f"curvature_{position}_{row}_{min(first, second)}_{max(first, second)}"


def drift_name(position: int, row: int, place: int) -> str:
    """Name of ``dC_row/dz`` of a draw, ``z`` the mean of one of its inputs."""
    return f"drift_{position}_{row}_{place}"


def drift_response_name(position: int, row: int, place: int, column: int) -> str:
    """Name of the derivative of that by ``K_column``."""
    return f"drift_response_{position}_{row}_{place}_{column}"


def affine_name(position: int, place: int, number: int) -> str:
    """Name of an entry of the maps in front of a draw, for one of its inputs."""
    return f"affine_{position}_{place}_{number}"


def mask_name(position: int, power: int) -> str:
    """Name of the average of a power of the mask in front of a draw."""
    return f"mask_{position}_{power}"


def weight_name(position: int) -> str:
    """Name of the weight variance of a draw."""
    return f"weight_{position}"


def bias_name(position: int) -> str:
    """Name of the bias variance of a draw."""
    return f"bias_{position}"


PRECISION = "precision"
"""Begin of the names of outputs that hold derivatives in units of what they change: their errors
are relative to that, where the derivatives themselves may vanish."""

SCALE = "scale"
"""Name of the square of the residual scale of a block."""


def layers(base: Recursion, process: Process) -> Recursion:
    """Return the kernel recursion with everything the order 1/N needs as outputs.

    Parameters
    ----------
    base : Recursion
        The kernel recursion of one or two inputs.
    process : Process
        Of the same network.
    """
    size = len(base.output("K").entries)
    names = Hyperparameters(base.net, dict(base.bindings), dict(base.layer_bindings))
    factor = Affine.of(process.behind, names.of_step).value.diff(X)
    square = (names.scale() * factor / names.skip()) ** 2
    last = base.output("C")
    outputs = [base.output("K"), last]
    for i, (entry, end) in enumerate(zip(last.entries, last.at_end, strict=True)):
        outputs.append(_layer(reads_name(0, i), entry, end))
    argument: Entries = base.state[:size]
    if process.post is not None:
        base, argument = unnormalised(base, square)
    for draw in process.draws:
        outputs += _of_draw(draw, argument, names, process)
        start = (draw.position - 1) * size
        argument = tuple(s for s, _ in base.definitions[start : start + size])
    outputs.append(Output(SCALE, "layer", (square,), at_end=(sp.Integer(0),)))
    return replace(base, title="response and curvature of every draw", outputs=tuple(outputs))


def _of_draw(
    draw: LinearLayer, argument: Entries, names: Hyperparameters, process: Process
) -> Iterator[Output]:
    suffix = f"_{draw.position}" if len(process.draws) > 1 else ""
    own = names.variances(draw.linear, suffix)
    last = own
    if process.read_out is not None and draw.position == 1:
        # The read-out stands in for the first draw of a block that would come next.
        last = names.variances(process.read_out.linear, "_out")
    for name_of, value, end in zip((weight_name, bias_name), own, last, strict=True):
        yield _layer(name_of(draw.position), value, end)
    affine = Affine.of(draw.maps, names.of_step)
    if process.post is not None and draw.reads_stream:
        affine = switched(affine)
    variances = argument[:: len(argument) - 1 or 1]
    slopes = [affine.slope(variance) for variance in variances]
    symbols = tuple(sp.Symbol(f"_k{i}", positive=True) for i in range(len(argument)))
    places = PLACES[len(argument)]
    at = {
        symbol: slopes[p] * slopes[q] * k
        for symbol, k, (p, q) in zip(symbols, argument, places, strict=True)
    }
    for i, entry in enumerate(argument):
        yield _layer(reads_name(draw.position, i), entry, entry)
    for place, variance in enumerate(variances) if draw.maps else ():
        for number, entry in enumerate(affine.entries(variance)):
            if entry != 0:
                yield _layer(affine_name(draw.position, place, number), entry, entry)
    powers = [sp.Integer(1)] * MOST if draw.mask is None else moments(draw.mask, names.of_step)
    shared = draw.mask is not None and draw.mask.op.noise[0].shared
    factors = [together(pair, powers, shared=shared) for pair in places]
    for power, moment in enumerate(powers if draw.mask else (), start=1):
        yield _layer(mask_name(draw.position, power), moment, moment)
    for row, name, entry in _derivatives(draw, symbols):
        value = factors[row] * entry
        # An average that vanishes identically is no output.
        if value != 0:
            yield _layer(name, own[0] * value.xreplace(at), last[0] * value.xreplace(at))
    if len(argument) == 1 and draw.label is not None:
        # C, K T, K^2 H: parts of one whole.
        (k,), (moment,) = symbols, _moments(draw, symbols)
        whole = own[0] * factors[0] * moment + own[1]
        parts = tuple((k**n * sp.diff(whole, k, n)).xreplace(at) for n in range(3))
        name = f"{PRECISION}_{draw.position}"
        yield Output(name, "layer", parts, at_end=parts, vector=True)


def _derivatives(draw: LinearLayer, symbols: Symbols) -> Iterator[tuple[int, str, sp.Expr]]:
    """Yield rows, names and values of derivatives of what a draw makes of covariances."""
    position = draw.position
    for row, moment in enumerate(_moments(draw, symbols)):
        for i, first in enumerate(symbols):
            yield row, response_name(position, row, i), sp.diff(moment, first)
        for i, j in combinations_with_replacement(range(len(symbols)), 2):
            bent = sp.diff(moment, symbols[i], symbols[j])
            yield row, curvature_name(position, row, i, j), bent
    for row, place, drift in _drifts(draw, symbols) if draw.averages else ():
        yield row, drift_name(position, row, place), drift
        for i, first in enumerate(symbols):
            yield row, drift_response_name(position, row, place, i), sp.diff(drift, first)


def _layer(name: str, value: sp.Expr, at_end: sp.Expr) -> Output:
    return Output(name, "layer", (value,), at_end=(at_end,))


def _moments(draw: LinearLayer, symbols: Symbols) -> Entries:
    """Return the second moments of what a draw acts on, as functions of covariances."""
    if draw.label is None:
        return symbols
    single = [second_moment(draw.label, k) for k in symbols[:: len(symbols) - 1 or 1]]
    if len(symbols) == 1:
        return tuple(single)
    return single[0], pair_moment(draw.label, symbols), single[1]


def _drifts(draw: LinearLayer, symbols: Symbols) -> Iterator[tuple[int, int, sp.Expr]]:
    """Yield row, input, and ``< d(phi phi)/dz >`` at covariances, where it does not vanish."""
    if draw.label is None or draw.law is None or draw.law.is_odd:
        return
    ends = draw.law.ends
    for row, (p, q) in enumerate(PLACES[len(symbols)]):
        for place in dict.fromkeys((p, q)):
            own, other = symbols[-1 if place else 0], symbols[-1 if p + q - place else 0]
            if ends is not None:
                # phi = even |x| + odd x, <sgn(x) y> = sqrt(2/pi) K_xy / sqrt(K_xx).
                parts = sp.sqrt(other), symbols[row] / sp.sqrt(own)
                even_odd = (ends[0] + ends[1]) * (ends[0] - ends[1]) / 4
                value = even_odd * sp.sqrt(2 / sp.pi) * sp.Add(*parts)
                yield row, place, 2 * value if p == q else value
            elif p == q:
                (x,) = integration_variables(1)
                phi, slope = (Nonlinearity(draw.label, order, x) for order in range(2))
                yield row, place, GaussianExpectation(2 * phi * slope, (x,), (own,))
            else:
                pair = integration_variables(2)
                factors = (Nonlinearity(draw.label, int(n == place), pair[n]) for n in range(2))
                yield row, place, GaussianExpectation(sp.Mul(*factors), pair, symbols)
