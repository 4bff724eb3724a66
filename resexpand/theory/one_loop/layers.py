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
from dataclasses import dataclass, replace
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
from resexpand.theory.kernel import Chain, stream_of
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
    stream: Entries = base.state[:size]
    if process.post is not None:
        base, stream = unnormalised(base, square)
    ends = _of_next_block(base, process, names)
    for draw in process.draws:
        start = (draw.number - 2) * size
        inside = tuple(s for s, _ in base.definitions[start : start + size])
        argument = stream if draw.reads_stream else inside
        outputs += _of_draw(draw, argument, ends.get(draw.number), names, process)
    outputs.append(Output(SCALE, "layer", (square,), at_end=(sp.Integer(0),)))
    return replace(
        base,
        title="response and curvature of every draw",
        outputs=tuple(outputs),
        bindings=tuple(names.bindings.items()),
        layer_bindings=tuple(names.layer_bindings.items()),
    )


def _of_next_block(
    base: Recursion, process: Process, names: Hyperparameters
) -> dict[int, tuple[LinearLayer, Entries]]:
    """Return draws of block ``L + 1`` and what they read, where it has parameters of its own."""
    if not process.next:
        return {}
    stream, chain = stream_of(base), Chain(base.net, names)
    chain.through_branch(stream, base.net.next_steps, "0")
    size, at = len(stream.moments), dict[sp.Symbol, sp.Expr]()
    for symbol, value in chain.definitions:
        at[symbol] = value.xreplace(at)
    flat = tuple(at.values())
    found = {}
    for draw in process.next:
        start = (draw.position - 2) * size
        inside = flat[start : start + size]
        found[draw.number] = draw, stream.moments if draw.reads_stream else inside
    return found


def _of_draw(
    draw: LinearLayer,
    argument: Entries,
    end: tuple[LinearLayer, Entries] | None,
    names: Hyperparameters,
    process: Process,
) -> Iterator[Output]:
    """Yield what the order 1/N needs of a draw; `end` is that of the next block, if it differs."""
    own = names.variances(draw.linear, draw.suffix)
    last = own if end is None else names.variances(end[0].linear, end[0].suffix)
    read_out = process.read_out
    if read_out is not None and process.probe is None and draw.position == 1:
        # The read-out stands in for the first draw of a block that would come next.
        last = names.variances(read_out.linear, "_out")
    inside = _values(draw, argument, own, names, process)
    at_end = _values(*(end or (draw, argument)), last, names, process)
    for name, value in inside.items():
        yield _layer(name, value, at_end[name])
    if len(argument) == 1 and draw.label is not None:
        # C, K T, K^2 H: parts of one whole.
        parts = _parts(draw, argument, own, names, process)
        at = _parts(*(end or (draw, argument)), own if end is None else last, names, process)
        yield Output(f"{PRECISION}_{draw.number}", "layer", parts, at_end=at, vector=True)


@dataclass(frozen=True)
class _Read:
    """What a draw makes of covariances ``symbols``, which are `at` those of a layer."""

    symbols: Symbols
    at: dict[sp.Symbol, sp.Expr]
    affine: Affine
    powers: list[sp.Expr]
    factors: list[sp.Expr]


def _read(draw: LinearLayer, argument: Entries, names: Hyperparameters, process: Process) -> _Read:
    affine = Affine.of(draw.maps, names.of_step)
    if process.post is not None and draw.reads_stream:
        affine = switched(affine)
    slopes = [affine.slope(variance) for variance in _variances(argument)]
    symbols = tuple(sp.Symbol(f"_k{i}", positive=True) for i in range(len(argument)))
    places = PLACES[len(argument)]
    at = {
        symbol: slopes[p] * slopes[q] * k
        for symbol, k, (p, q) in zip(symbols, argument, places, strict=True)
    }
    powers = [sp.Integer(1)] * MOST if draw.mask is None else moments(draw.mask, names.of_step)
    shared = draw.mask is not None and draw.mask.op.noise[0].shared
    factors = [together(pair, powers, shared=shared) for pair in places]
    return _Read(symbols, at, affine, powers, factors)


def _variances(argument: Entries) -> Entries:
    return argument[:: len(argument) - 1 or 1]


def _values(
    draw: LinearLayer,
    argument: Entries,
    variances: tuple[sp.Expr, sp.Expr],
    names: Hyperparameters,
    process: Process,
) -> dict[str, sp.Expr]:
    """Return everything that the order 1/N needs of a draw at a layer, by name."""
    number, read = draw.number, _read(draw, argument, names, process)
    found = dict(zip((weight_name(number), bias_name(number)), variances, strict=True))
    found |= {reads_name(number, i): entry for i, entry in enumerate(argument)}
    for place, variance in enumerate(_variances(argument)) if draw.maps else ():
        entries = enumerate(read.affine.entries(variance))
        found |= {affine_name(number, place, k): entry for k, entry in entries if entry != 0}
    for power, moment in enumerate(read.powers if draw.mask else (), start=1):
        found[mask_name(number, power)] = moment
    for row, name, entry in _derivatives(draw, read.symbols):
        value = read.factors[row] * entry
        # An average that vanishes identically is no output.
        if value != 0:
            found[name] = variances[0] * value.xreplace(read.at)
    return found


def _parts(
    draw: LinearLayer,
    argument: Entries,
    variances: tuple[sp.Expr, sp.Expr],
    names: Hyperparameters,
    process: Process,
) -> Entries:
    """Return ``C, K T, K^2 H`` of a draw that reads one covariance."""
    read = _read(draw, argument, names, process)
    (k,), (moment,) = read.symbols, _moments(draw, read.symbols)
    whole = variances[0] * read.factors[0] * moment + variances[1]
    return tuple((k**n * sp.diff(whole, k, n)).xreplace(read.at) for n in range(3))


def _derivatives(draw: LinearLayer, symbols: Symbols) -> Iterator[tuple[int, str, sp.Expr]]:
    """Yield rows, names and values of derivatives of what a draw makes of covariances."""
    position = draw.number
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
