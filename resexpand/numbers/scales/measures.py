"""What a choice of the residual scale leads to, computed by the theory of infinite width.

growth          K^L / K^0, of several inputs or positions the mean of the diagonals
response        eta, of the kind that was asked for
gradient_ratio  E|dy/dh^0|^2 / E|dy/dh^L|^2, first layer over last
order_0, ...    E|T_k|^2 / (N K^L) in the path sum; orders of the Taylor series overlap
tail            E|h^L - sum_{j<k} T_j|^2 / (N K^L), the orders from k on
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from resexpand.errors import UnsupportedError
from resexpand.expressions.shown import clipped
from resexpand.network.resnet import ResNet
from resexpand.numbers.evaluation import evaluate
from resexpand.numbers.scales.candidate import Choice, Setting
from resexpand.numbers.scales.shares import profile_of
from resexpand.theory.gradients import gradient_moments
from resexpand.theory.kernel import kernel
from resexpand.theory.response import response

Found = dict[str, float]

ROOM = 400
"""Characters of a reason why a number does not exist."""


class Measures:
    """Theories of one network, derived once and evaluated for every candidate and depth."""

    def __init__(self) -> None:
        self._derived: dict[tuple[str, ResNet], Any] = {}

    def of(self, setting: Setting, choice: Choice) -> tuple[Found, tuple[str, ...]]:
        """Return the numbers that the theory has, and the reasons why it has not the others."""
        net, scale = choice.described(setting)
        found: Found = {}
        reasons = []
        for measure in (self._growth, self._response, self._gradients, self._shares):
            try:
                found |= measure(net, setting, setting.keywords(net, scale))
            except UnsupportedError as error:
                reasons.append(clipped(f"{error.asked}: {error.why}", ROOM))
        return found, tuple(reasons)

    def _theory(self, name: str, net: ResNet, derive: Callable[[], Any]) -> Any:
        key = name, net
        if key not in self._derived:
            self._derived[key] = derive()
        return self._derived[key]

    def _growth(self, net: ResNet, setting: Setting, given: dict[str, Any]) -> Found:
        theory = self._theory("kernel", net, lambda: kernel(net, inputs_of(net)))
        found = evaluate(theory, outputs="K", **given)["K"]
        first, last = (_mean(found[k]) for k in (0, -1))
        return {"growth": _ratio(last, first)}

    def _response(self, net: ResNet, setting: Setting, given: dict[str, Any]) -> Found:
        kind = setting.kind
        theory = self._theory(f"response {kind}", net, lambda: response(net, kind))
        return {"response": float(evaluate(theory, outputs="eta", **given)["eta"])}

    def _gradients(self, net: ResNet, setting: Setting, given: dict[str, Any]) -> Found:
        theory = self._theory("gradients", net, lambda: gradient_moments(net))
        found = evaluate(theory, outputs="gradient", **given)["gradient"]
        return {"gradient_ratio": _ratio(_mean(found[0]), _mean(found[-1]))}

    def _shares(self, net: ResNet, setting: Setting, given: dict[str, Any]) -> Found:
        order = setting.order
        theory = self._theory(f"orders {order}", net, lambda: profile_of(net, order))
        found = evaluate(theory, outputs=["profile", "remainder", "K"], **given)
        total = float(found["K"][-1])
        shares = np.diagonal(found["profile"][-1])[:order]
        rest = float(found["remainder"][-1, order - 1])
        return {
            **{f"order_{k}": _ratio(float(share), total) for k, share in enumerate(shares)},
            "tail": _ratio(rest, total),
        }


def inputs_of(net: ResNet) -> Any:
    """Return what a kernel of the network is asked for: one input, a batch, or positions."""
    if any(op.over == "batch" for branch in net.kinds for op in branch.maps):
        return "positions" if net.positions else "batch"
    return "positions" if net.positions else 1


def _mean(kernel_of_layer: Any) -> float:
    array = np.asarray(kernel_of_layer)
    return float(array if array.ndim == 0 else np.mean(np.diagonal(array, axis1=-2, axis2=-1)))


def _ratio(over: float, under: float) -> float:
    return over / under if under else float("nan")
