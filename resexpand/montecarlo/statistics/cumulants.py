r"""Cumulants of a network's output, with errors, from what its read-out acts on.

Given the stream, an output `y = w . x + b` of Gaussian read-out weights is normal with variance
`C = s x.x/N + t`, the observable ``output_variance``. So over networks, exactly at every width,

    kappa_2(y) = E C,     kappa_4(y) = 3 Var C,     excess kurtosis = 3 Var C / (E C)^2,

and odd cumulants vanish. Sampling C instead of y leaves out all noise of the read-out. Standard
errors are those of the linearised estimates (delta method), from the moments of C up to order four:
with mu_k the central moments of C over n networks, V = mu_2 and m = E C,

    n Var(V) = mu_4 - V^2,
    n Var(V/m^2) = (mu_4 - V^2)/m^4 - 4 V mu_3/m^5 + 4 V^3/m^6.

Valid for Gaussian read-out weights; for other laws take ``kurtosis - 3`` of the observable
``output``, which has no error of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from resexpand.errors import UnsupportedError
from resexpand.montecarlo.observables.observable import Observable, Record
from resexpand.montecarlo.statistics.estimate import Estimate
from resexpand.montecarlo.statistics.moments import Floats

OUTPUT_VARIANCE = "output_variance"


class OutputCumulants(NamedTuple):
    """Cumulants of one output component and their standard errors, by input."""

    second: Floats
    second_stderr: Floats
    fourth: Floats
    fourth_stderr: Floats
    excess_kurtosis: Floats
    excess_kurtosis_stderr: Floats


def output_cumulants(estimate: Estimate) -> OutputCumulants:
    """Return the cumulants of the output.

    Parameters
    ----------
    estimate : Estimate
        Of the observable ``output_variance``.

    Raises
    ------
    UnsupportedError
        If it is another estimate.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet, sample
    >>> from resexpand.montecarlo.statistics.cumulants import output_cumulants
    >>> net = ResNet(Branch(Activation("erf"), Linear(1, 0)), scale=0.5, depth=3)
    >>> found = output_cumulants(sample(net, "output_variance", 32, 500, K0=1.0)["output_variance"])
    >>> bool(found.excess_kurtosis > 0)
    True
    """
    if estimate.name != OUTPUT_VARIANCE:
        raise UnsupportedError(
            f"output cumulants from {estimate.name!r}",
            "they follow from the variance of the output given the stream",
            f'sample "{OUTPUT_VARIANCE}" and pass its estimate',
        )
    sums, n = estimate.moments, max(estimate.n, 1)
    unit = np.ldexp(1.0, sums.exponent)  # all sums are in powers of this
    m, variance = sums.mean, sums.m2 / max(n - 1, 1)
    third, fourth = sums.m3 / n, sums.m4 / n
    spread = fourth - variance**2
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = variance / m**2
        square = spread / m**4 - 4 * variance * third / m**5 + 4 * variance**3 / m**6
    good = sums.finite == estimate.n
    values = (
        estimate.mean,
        estimate.stderr,
        3 * variance * unit**2,
        3 * np.sqrt(np.maximum(spread, 0) / n) * unit**2,
        3 * ratio,
        3 * np.sqrt(np.maximum(square, 0) / n),
    )
    return OutputCumulants(*(np.where(good, value, np.nan) for value in values))


def _output_variance(record: Record) -> Floats:
    weight, bias = record.read_out_law
    inputs = np.arange(record.inputs)
    squares = weight * record.sites["read_outs"][:, -1, inputs, inputs] + bias
    return np.asarray(squares[:, 0] if record.inputs == 1 else squares)


VARIANCE_OF_OUTPUT = Observable(OUTPUT_VARIANCE, _output_variance, ("read_outs",))
"""The variance of the output given the stream."""
