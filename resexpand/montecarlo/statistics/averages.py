"""Gaussian averages of an activation with their derivatives, as numbers.

For `(u_a, u_b) ~ N(0, K)` and every pair of inputs,

    average   V_ab = <phi(u_a) phi(u_b)>
    own       dV_ab / dK_aa   (a != b; zero on the diagonal)
    cross     dV_ab / dK_ab

in closed form where one is known, by quadrature elsewhere. They are compiled as a recursion that
stands still, once per activation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.routine import Routine, compile_routine
from resexpand.errors import UnsupportedError
from resexpand.gaussian.expectation import GaussianExpectation, pair_moment, second_moment
from resexpand.network.linear import Linear
from resexpand.network.operation import Map
from resexpand.network.resnet import Branch, ResNet
from resexpand.theory.kernel import activation_labels, kernel
from resexpand.theory.recursion import Output

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Averages:
    """Averages at one kernel; arrays of shape (D, D)."""

    average: Floats
    own: Floats
    cross: Floats

    def moved(self, change: Floats) -> Floats:
        """Return the change of the average to first order in changes of K, shape (..., D, D)."""
        diagonal = np.diagonal(change, axis1=-2, axis2=-1)
        own = self.own * diagonal[..., :, None]
        return np.asarray(self.cross * change + own + np.swapaxes(own, -1, -2))


def averages(op: Map, covariance: Floats) -> Averages:
    """Return the averages of an activation at a kernel of D inputs, which may be singular.

    Raises
    ------
    UnsupportedError
        If a derivative does not exist there: a jump at coinciding inputs.
    """
    one = len(covariance) == 1
    routine = _routine(op, 1 if one else 2)
    values = routine(K0=covariance[0, 0] if one else covariance)
    average, cross, first, second = (
        np.reshape(np.asarray(values[name])[0], covariance.shape) if name in values else None
        for name in ("average", "cross", "first", "second")
    )
    own = np.zeros_like(covariance)
    if first is not None and second is not None:
        # first and second state d/dK_aa and d/dK_bb of the entry a < b, at (a, b) and at (b, a).
        own = np.triu(first, 1) + np.tril(second, -1)
    # An input whose variance is zero does not move, whatever the derivative.
    still = np.diagonal(covariance) == 0
    own[still] = 0.0
    found = Averages(np.asarray(average), own, np.asarray(cross))
    if not all(np.isfinite(a).all() for a in (found.average, found.own, found.cross)):
        raise UnsupportedError(
            f"the response of {op.name} at a kernel of coinciding inputs",
            "a derivative of its averages is infinite there",
            "use inputs that differ, or sample without control",
        )
    return found


@lru_cache(maxsize=64)
def _routine(op: Map, inputs: int) -> Routine:
    """Return the routine whose trajectory outputs are the averages at its initial kernel."""
    net = ResNet(Branch(op, Linear(1, 0)), scale=1, depth=1)
    base = kernel(net, inputs=inputs)
    (label,) = activation_labels(net).values()
    state = base.state
    first, last = state[0], state[-1]
    entries: tuple[GaussianExpectation, ...] = (second_moment(label, first),)
    taken = {"cross": 0}
    if inputs == 2:
        pair = pair_moment(label, state)
        entries = (second_moment(label, first), pair, second_moment(label, last))
        taken = {"first": 0, "cross": 1, "second": 2}
    outputs = [Output("average", "trajectory", entries)]
    for name, k in taken.items():
        slopes = [e.diff(s) for e, s in zip(entries, state, strict=True)]
        slopes[len(entries) // 2] = entries[len(entries) // 2].diff(state[k])
        outputs.append(Output(name, "trajectory", tuple(slopes)))
    return compile_routine(replace(base, update=state, definitions=(), outputs=tuple(outputs)))
