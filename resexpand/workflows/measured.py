"""What `validate` compares: the first quantity that theory and samplers both know of a network.

The response to the variance of an input comes first. Norms forget that variance, so that the
response to a displacement stands in; where no single column can be followed (batches, positions,
gates, coins) it is the second moment of the stream, averaged over the columns.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from resexpand.codegen.routine import compile_routine
from resexpand.errors import UnsupportedError
from resexpand.montecarlo.observables.observable import Observable, Record
from resexpand.montecarlo.observables.registry import needed_columns, select
from resexpand.network.resnet import ResNet
from resexpand.numbers.evaluation import evaluate
from resexpand.theory.kernel import kernel
from resexpand.theory.response import response


@dataclass(frozen=True)
class Measured:
    """A quantity under the names that it has here.

    Attributes
    ----------
    kind : str
        Of the response, or ``"kernel"``.
    output : str
        Of its values after each layer.
    observable : str or Observable
        Of the samples.
    symbol, axis : str
        In tables, and of the axis of a figure.
    """

    kind: Literal["variance", "tangent", "kernel"]
    output: str
    observable: str | Observable
    symbol: str
    axis: str

    @property
    def name(self) -> str:
        """Name of the estimate."""
        return self.observable if isinstance(self.observable, str) else self.observable.name

    def derive(self, net: ResNet) -> Any:
        """Return the theory."""
        if self.kind == "kernel":
            return kernel(net, columns_of(net))
        return response(net, self.kind)

    def values(self, theory: Any, scales: Any, depth: int, K0: Any) -> npt.NDArray[np.float64]:
        """Return it after each layer, shape (scales, L + 1)."""
        if self.kind != "kernel":
            return compile_routine(theory, outputs=[self.output])(rho=scales, depth=depth, K0=K0)[
                self.output
            ]
        rows = [evaluate(theory, rho=rho, depth=depth, K0=K0, outputs=["K"])["K"] for rho in scales]
        return _second_moment(np.array(rows))


def _second_moment(K: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean of the diagonal, of kernels after every layer of many networks."""
    return K if K.ndim == 2 else np.trace(K, axis1=-2, axis2=-1) / K.shape[-1]


def _read(record: Record) -> npt.NDArray[np.float64]:
    return _second_moment(record.of_inputs(record.sites["states"]))


VARIANCE = Measured("variance", "eta_layers", "response", "eta", r"response  $\eta$")
TANGENT = Measured("tangent", "chi_0", "tangent", "T", r"response to a displacement  $T$")
MOMENT = Measured(
    "kernel",
    "second_moment",
    Observable("second_moment", _read, ("states",)),
    "K",
    r"second moment of the stream  $K$",
)


def columns_of(net: ResNet) -> Any:
    """Return what a kernel of the network is asked for: one input, a batch, or positions."""
    coupled = {op.over for branch in net.kinds for op in branch.ops}
    if net.positions or "positions" in coupled:
        return "positions"
    return "batch" if "batch" in coupled else 1


def measured_of(net: ResNet) -> Measured:
    """Return the first quantity that both know.

    Raises
    ------
    UnsupportedError
        If no theory knows even the kernel.
    """
    norms = any(op.averages for branch in net.kinds for op in branch.maps)
    usual = (TANGENT,) if norms or net.post_norm is not None else (VARIANCE, TANGENT)
    for measured in usual if columns_of(net) == 1 else ():
        with suppress(UnsupportedError):
            layout = needed_columns(select([measured.observable], 1), 1)
            layout.require(net.branch, dict.fromkeys(map(type, layout.groups), measured.name))
            # A jump, or noise that is not averaged, is refused when the equations are written.
            compile_routine(measured.derive(net), outputs=[measured.output])
            return measured
    MOMENT.derive(net)
    return MOMENT
