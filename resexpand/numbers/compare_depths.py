"""Which regime of depth is a network in? Its kernel at several depths, beside the theory.

Where ``rho = L**(-beta)`` the logarithm of the growth goes like a power of the depth, ``ln(K_L/K_0)
~ L^{2 (beta* - beta)}``. The exponent is read off the kernels of infinite width, without any theory
of the threshold, and compared with it where there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.network.numbers import real_array, whole_number
from resexpand.network.requirements import require_network
from resexpand.network.resnet import ResNet
from resexpand.network.values import read_values, value_of
from resexpand.numbers.evaluation import evaluate
from resexpand.theory.depth_thresholds import DepthThresholds, depth_thresholds
from resexpand.theory.kernel import kernel

Array = NDArray[np.float64]

DEPTHS = (50, 100, 200, 400)

FLAT = 0.02
"""Exponent of the growth that counts as zero, at least."""

REGIMES = ("identity", "limit", "explosion")


@dataclass(frozen=True)
class DepthComparison:
    """How a network changes with its depth, at infinite width.

    Attributes
    ----------
    depths : tuple of int
    growth : ndarray, shape (n,)
        ``K_L / K_0`` at every depth.
    exponent, error : float
        Power of L with which ``ln(K_L / K_0)`` grows at the largest depths, and how far it will
        move yet if its changes go on to shrink as they do.
    regime : str
        ``"identity"``: deep networks do nothing; ``"limit"``; ``"explosion"``; ``"undecided"`` if
        the exponent is still moving across zero.
    beta : float
        Of the residual scale, ``L**(-beta)``, between the two largest depths.
    thresholds : DepthThresholds or None
        Theory, where there is one, with the hyperparameters put in.
    expected : float
        The exponent by that theory, ``2 (beta* - beta)``; ``(beta* - beta) / beta*`` where beta* is
        1/p, the p-th power of the scale adding up over L blocks. NaN without theory.
    """

    depths: tuple[int, ...]
    growth: Array
    exponent: float
    error: float
    regime: str
    beta: float
    thresholds: DepthThresholds | None
    expected: float


def compare_depths(
    net: ResNet, *, K0: float = 1.0, depths: Sequence[int] = DEPTHS, **hyperparameters: Any
) -> DepthComparison:
    """Say which regime of infinite depth a network is in, at infinite width.

    Parameters
    ----------
    net : ResNet
        Depth and scale are those of a family of networks: the depth a symbol, on which the scale
        may depend.
    K0 : float
        Kernel at layer 0.
    depths : sequence of int
        At least three, increasing.
    **hyperparameters
        One number per symbol of the network but the depth, by name.

    Returns
    -------
    DepthComparison

    Raises
    ------
    HyperparameterError
        If depths or numbers are missing.
    UnsupportedError
        If the depth is a number, or the network has no kernel.

    Examples
    --------
    >>> import sympy as sp
    >>> from resexpand import Activation, Branch, Linear, ResNet, compare_depths
    >>> L = sp.Symbol("L", integer=True, positive=True)
    >>> net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1 / L, depth=L)
    >>> compare_depths(net).regime
    'identity'
    """
    require_network(net, "comparing depths")
    if not isinstance(net.depth, sp.Symbol) or isinstance(net.scale, tuple):
        raise UnsupportedError(
            f"a comparison of depths of a network of depth {net.depth}",
            "how its scale depends on the depth is not known",
            "give depth=L as a symbol and the scale as an expression in it",
        )
    listed = tuple(whole_number(depth, "depth", 2, 2**31) for depth in depths)
    if len(listed) < 3 or (np.diff(listed) <= 0).any():
        raise HyperparameterError(
            f"depths {list(depths)}", "an exponent needs three or more that increase", "give them"
        )
    start = float(real_array(K0, "K0"))
    if not start > 0:
        raise HyperparameterError(f"K0={K0}", "growth is relative to it", "give K0 > 0")
    theory = kernel(net)
    kernels = [
        evaluate(theory, K0=start, depth=depth, outputs="K", **hyperparameters)["K"]
        for depth in listed
    ]
    growth = np.array([values[..., -1] / start for values in kernels])
    if growth.ndim != 1:
        raise HyperparameterError(
            "several values of a hyperparameter", "one network is compared", "give one number each"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.diff(np.log(np.log(growth))) / np.diff(np.log(listed))
    finite = slopes[np.isfinite(slopes)]
    scales = _scales(net, listed, hyperparameters)
    beta = -float(np.log(scales[-1] / scales[-2]) / np.log(listed[-1] / listed[-2]))
    thresholds = _thresholds(net, hyperparameters)
    expected = np.nan if thresholds is None else _expected(thresholds, beta)
    if len(finite) < 2:
        exponent = error = np.nan
        still = REGIMES[0] if abs(growth[-1] - 1) < NEARLY_ONE else "undecided"
        regime = REGIMES[2] if np.isposinf(growth[-1]) else still
    else:
        exponent, error = float(finite[-1]), _still_to_come(np.diff(finite))
        regime = _regime(exponent, error)
    measured = exponent, error, regime
    return DepthComparison(listed, growth, *measured, beta, thresholds, float(expected))


NEARLY_ONE = 1e-6
"""Distance from one within which a growth without an exponent is that of the identity."""


def _expected(thresholds: DepthThresholds, beta: float) -> float:
    critical = float(thresholds.stream)
    power = 1 / critical if float(thresholds.exponent) < critical < 1 / 2 else 2.0
    return power * (critical - beta)


SLOWEST = 0.8
"""Largest ratio of two changes that is believed; at this one what is to come is four changes."""


def _still_to_come(changes: Array) -> float:
    """Return the sum of a geometric series behind the last change, at least that change."""
    last = abs(float(changes[-1]))
    if len(changes) < 2 or not changes[-2]:
        return 2 * last
    ratio = min(last / abs(float(changes[-2])), SLOWEST)
    return last * max(1.0, ratio / (1 - ratio))


def _regime(exponent: float, error: float) -> str:
    """Return the regime of an exponent that will change by its error."""
    if abs(exponent) <= FLAT and error <= FLAT:
        return REGIMES[1]
    if abs(exponent) <= 1.5 * error:
        return "undecided"
    return REGIMES[2] if exponent > 0 else REGIMES[0]


def _scales(net: ResNet, depths: tuple[int, ...], given: dict[str, Any]) -> list[float]:
    scales = []
    for depth in depths:
        scale = sp.sympify(net.scale, strict=True).subs(net.depth, depth)
        whole = net.altered(depth=sp.Integer(depth), scale=scale)
        values = read_values(whole, given, whole.free_symbols)
        scales.append(float(value_of(scale, values)))
    return scales


def _thresholds(net: ResNet, given: dict[str, Any]) -> DepthThresholds | None:
    """Return the theory with numbers, if there is one."""
    law = net.layers
    whole = net.altered(depth=sp.Integer(1), scale=sp.Integer(1))
    values = read_values(net.altered(depth=sp.Integer(1)), given, net.free_symbols - {net.depth})
    if law is not None:
        numbers = law.at([float(value_of(v, values)) for v in law.values])
        whole = whole.altered(layers=numbers)
    try:
        return depth_thresholds(whole)
    except UnsupportedError:
        return None
