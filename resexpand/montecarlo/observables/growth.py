r"""How far the stream goes, what each block adds to it, and both in logarithmic scale.

For every input a, with `f^l` what block l adds to the stream (its residual scale included):

    distance           |h^l - h^0| / |h^0|                                       l = 0 ... L
    distance_squared   |h^l - h^0|^2 / |h^0|^2                                   l = 0 ... L
    residual_ratio     |f^l| / |h^{l-1}|                                         l = 1 ... L
    residual_share     |f^l| / |h^{l-1} + f^l|                                   l = 1 ... L
    log_kernel         ln G^l_aa                                                 l = 0 ... L
    log_growth         ln(|h^l| / |h^0|)                                         l = 0 ... L
    log_tangent        ln(|v^l|^2 / |v^0|^2), v^0 a random direction, one input  l = 0 ... L

Shapes (L+1,) or (L,) for one input, (L+1, D) or (L, D) for several.

Logarithms are what to ask for when a mean is carried by few networks: the stream of a deep relu
network is a product of nearly independent factors, its logarithm nearly normal, and the mean of
the product then lies far above what a typical network does. Where the activations have two slopes
that meet at 0, they and the residual ratios stay finite however far the stream outgrows float64
(`resexpand.montecarlo.groups.power_of_two`). A stream that is exactly zero has no logarithm; such
draws are reported as not finite.

Source: distances, Marion, Fermanian, Biau & Vert, arXiv:2206.06929; residual ratios, Dotzel et al.,
arXiv:2404.04900, whose ratio is `residual_share`.
"""

from __future__ import annotations

import numpy as np

from resexpand.montecarlo.groups.origin import Origin
from resexpand.montecarlo.groups.power_of_two import SITE as EXPONENTS
from resexpand.montecarlo.groups.steps import Steps
from resexpand.montecarlo.groups.tangents import Tangents
from resexpand.montecarlo.observables.observable import Floats, Observable, Record

ORIGIN, STEPS = (Origin(),), (Steps(),)
DIRECTION = (Tangents(("direction",)),)
LOG_UNIT = np.log(4.0)


def squares(record: Record) -> Floats:
    """Return `|h_a|^2 / N` of the inputs, shape (n, L+1, D)."""
    inputs = np.arange(record.inputs)
    return np.asarray(record.sites["states"][:, :, inputs, inputs])


def _squares_in_units(record: Record) -> tuple[Floats, Floats]:
    """Return `|h_a|^2 / N` in units of `4**e`, and these e, shapes (n, L+1, D) and (n, L+1, 1)."""
    states, exponents = record.in_units("states")
    inputs = np.arange(record.inputs)
    return np.asarray(states[:, :, inputs, inputs]), exponents[:, :, None]


def _log_squares(record: Record) -> Floats:
    """Return `ln(|h_a|^2 / N)`, also where the squares leave float64."""
    values, exponents = _squares_in_units(record)
    return np.asarray(np.log(values) + LOG_UNIT * exponents)


def _per_input(record: Record, rows: Floats) -> Floats:
    return rows[..., 0] if record.inputs == 1 else rows


def _distance_squared(record: Record) -> Floats:
    start = squares(record)[:, :1]
    return _per_input(record, record.sites["distances"] / start)


def _distance(record: Record) -> Floats:
    return np.sqrt(_distance_squared(record))


def _steps(record: Record) -> Floats:
    """Return `|f^l|^2 / N` in the units of the layer before."""
    scales = np.square(record.net.scales)[:, None]
    return np.asarray(scales * record.in_units("squared_steps")[0][:, :-1])


def _residual_ratio(record: Record) -> Floats:
    values, _ = _squares_in_units(record)
    return _per_input(record, np.sqrt(_steps(record) / values[:, :-1]))


def _residual_share(record: Record) -> Floats:
    values, exponents = _squares_in_units(record)
    units = np.exp2(exponents[:, :-1] - exponents[:, 1:])
    return _per_input(record, units * np.sqrt(_steps(record) / values[:, 1:]))


def _log_kernel(record: Record) -> Floats:
    return _per_input(record, _log_squares(record))


def _log_growth(record: Record) -> Floats:
    logs = _log_squares(record)
    return _per_input(record, (logs - logs[:, :1]) / 2)


def tangent_growth(record: Record) -> Floats:
    """Return |v^l|^2 / |v^0|^2 of the tangent along a random direction, shape (n, L+1)."""
    v = record.tangent("direction")
    norms = record.sites["states"][:, :, v, v]
    return np.asarray(norms / norms[:, :1])


def _log_tangent(record: Record) -> Floats:
    states, exponents = record.in_units("states")
    v = record.tangent("direction")
    logs = np.log(states[:, :, v, v]) + LOG_UNIT * exponents
    return np.asarray(logs - logs[:, :1])


GROWTH = (
    Observable("tangent", tangent_growth, ("states",), DIRECTION, 1),
    Observable("distance", _distance, ("states", "distances"), ORIGIN),
    Observable("distance_squared", _distance_squared, ("states", "distances"), ORIGIN),
    Observable("residual_ratio", _residual_ratio, ("states", "squared_steps", EXPONENTS), STEPS),
    Observable("residual_share", _residual_share, ("states", "squared_steps", EXPONENTS), STEPS),
    Observable("log_kernel", _log_kernel, ("states", EXPONENTS)),
    Observable("log_growth", _log_growth, ("states", EXPONENTS)),
    Observable("log_tangent", _log_tangent, ("states", EXPONENTS), DIRECTION, 1),
)
"""The observables of this file."""
