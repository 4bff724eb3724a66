r"""Responses and gradients of networks whose columns couple: over the positions or over a batch.

The kernel of all columns obeys ``K^l = F^l(K^{l-1})``, a map of matrices, and its derivative is a
tensor with two indices of either layer,

    chi^{l,m}_{ab,cd} = dK^l_ab / dK^m_cd = [F^l]' ... [F^{m+1}]',

symmetric in c and d, so that ``dK^l = sum_cd chi_{ab,cd} dK^m_cd``. A tangent vector v at every
column, independent of the stream, has the Gram matrix ``T_ab = v_a.v_b/N``, and

    T^l_ab = sum_cd chi_{ab,cd} T^m_cd

with the derivative of the kernel between two copies of all inputs, where these are equal: the
factor of an activation is ``<phi'_a phi'_b>``, a convolution shifts T as it shifts K, attention
keeps its weights (through its logits a tangent has an effect of order ``1/N``), and BatchNorm acts
as the mean square of its Jacobian. The gradient of the sum of all outputs meets the transposed
maps: ``P^l_cd = sum_ab eta^{l}_{ab,cd}``, eta the response of the read-out.

Source: Schoenholz et al. (2017), section 4, for the independence of gradients and stream; Xiao et
al. (2018) for convolutions, Yang et al. (2019) for batches; derived here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

from resexpand.errors import HyperparameterError
from resexpand.expressions.shown import Card, Tabled
from resexpand.network.positions import coupling
from resexpand.network.resnet import ResNet
from resexpand.theory.batch import BatchRecursion
from resexpand.theory.columns import ColumnRecursion
from resexpand.theory.kernel import kernel

ColumnKind = Literal["covariance", "tangent", "gradient"]

OUTPUTS: dict[str, tuple[str, ...]] = {
    "covariance": ("chi", "chi_0", "eta", "K"),
    "tangent": ("chi", "chi_0", "eta", "K"),
    "gradient": ("gradient", "K"),
}


@dataclass(frozen=True, repr=False)
class ColumnResponse(Tabled):
    """Responses of all columns of a network, evaluated by `resexpand.evaluate`.

    Attributes
    ----------
    base : ColumnRecursion or BatchRecursion
        The kernel of the columns.
    kind : str
        ``"covariance"``: of the kernel; ``"tangent"``: of tangents; ``"gradient"``: gradients.
    """

    base: ColumnRecursion | BatchRecursion
    kind: ColumnKind

    inputs: ClassVar[int] = 2
    layer_axes: ClassVar[Mapping[str, int]] = MappingProxyType(
        {"chi": 2, "chi_0": 1, "eta": 0, "K": 1, "gradient": 1}
    )

    @property
    def net(self) -> ResNet:
        """The network."""
        return self.base.net

    def card(self) -> Card:
        """Return what it says about itself."""
        facts = [("network", repr(self.net)), ("outputs", ", ".join(OUTPUTS[self.kind]))]
        facts += [("neglects", self.base.neglects), ("next", "evaluate(..., K0=..., dK0=...)")]
        what = "gradients" if self.kind == "gradient" else f"{self.kind} response"
        return Card(f"ColumnResponse: {what} of all columns", tuple(facts))


def couples_columns(net: ResNet) -> bool:
    """Whether an operation of a network couples columns, over positions or over a batch."""
    maps = [op for branch in net.kinds for op in branch.maps] + list(net.head_ops or ())
    return coupling(net) is not None or any(op.over == "batch" for op in maps)


def column_response(net: ResNet, kind: ColumnKind, inputs: str) -> ColumnResponse:
    """Derive a response of all columns of a network; see `resexpand.response`.

    Raises
    ------
    HyperparameterError
        If `inputs` says of no columns.
    UnsupportedError
        If there is no kernel of these columns.
    """
    if inputs not in ("batch", "positions"):
        raise HyperparameterError(
            f"responses for inputs={inputs!r}",
            "pairs of inputs suffice where columns do not couple",
            'use "batch" or "positions", or leave it out',
        )
    return ColumnResponse(kernel(net, inputs=inputs), kind)  # type: ignore[call-overload]
