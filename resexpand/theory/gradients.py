r"""Second moments of gradients, from the last layer back to the first, at infinite width.

Let ``p^l = dy/dh^l`` be the gradient of one output component and ``P^l = |p^l|^2``. A gradient that
is independent of the weights it meets shrinks or grows on its way back by the mean squared singular
value of the Jacobian of a block, the same number that a tangent independent of the stream meets on
its way forward: the factor ``t`` of the tangent response. With the read-out at the last layer,

    P^l = eta / chi^{l,0},      P^l / P^L = t^{l+1} ... t^L,

``eta`` being the output response of tangents. For a branch W phi(norm(h)) + b these factors are
``1 + rho^2 sigma_w2 <phi'^2> / (K^{l-1} + eps)``; behind a block that is normalised as a whole,
``(1 + rho^2 sigma_w2 <phi'^2>) / (K + eps)`` of the stream K in front of the norm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from resexpand.expressions.shown import Card, Tabled
from resexpand.network.batch_norm import is_plain
from resexpand.network.requirements import require_network
from resexpand.network.resnet import ResNet
from resexpand.theory.batch import BatchRecursion
from resexpand.theory.batch_gradients import with_gradients
from resexpand.theory.column_response import ColumnResponse, column_response, couples_columns
from resexpand.theory.kernel import kernel
from resexpand.theory.layer_kernel import LayerKernel, layer_kernel
from resexpand.theory.recursion import Recursion
from resexpand.theory.response import response


@dataclass(frozen=True, repr=False)
class GradientMoments(Tabled):
    """Second moments of the gradients of one output, evaluated by `resexpand.evaluate`.

    Attributes
    ----------
    tangent : Recursion
        The tangent response, whose factors they are made of.
    """

    tangent: Recursion

    def card(self) -> Card:
        """Return what it says about itself."""
        facts = [("network", repr(self.tangent.net)), ("outputs", "K, gradient (layers 0 .. L)")]
        facts += [("neglects", self.tangent.neglects), ("next", "evaluate(..., K0=...)")]
        return Card("GradientMoments: second moments of gradients", tuple(facts))


def gradient_moments(
    net: ResNet, inputs: Literal["batch", "positions"] | None = None
) -> GradientMoments | BatchRecursion | ColumnResponse | LayerKernel:
    """Derive the second moments of gradients at every layer.

    Parameters
    ----------
    net : ResNet
        The network; any hyperparameter may be symbolic.
    inputs : {"batch", "positions"}, optional
        Which columns count, as for `kernel`; by default those that an operation couples, else one.

    Returns
    -------
    GradientMoments, BatchRecursion or ColumnResponse
        `evaluate` gives ``gradient``, ``|dy/dh^l|^2`` at layers ``0 .. L`` as the observable of
        this name (unit weights if the network has no read-out), and the kernel ``K``. Exact at
        infinite width. Where n columns couple, over a batch or over positions, ``gradient`` is
        that of the sum of all outputs, shape (L + 1, n, n); of one batch without eps it is a
        recursion (`resexpand.theory.batch_gradients`), else put together of the responses of
        blocks (`resexpand.theory.column_response`).

    Raises
    ------
    UnsupportedError
        When it is evaluated: if an activation jumps, or a batch is too small.

    References
    ----------
    Schoenholz et al. (2017), section 4, for the independence of gradients and stream.

    Examples
    --------
    >>> from resexpand import Activation, Branch, LayerNorm, Linear, ResNet
    >>> from resexpand import evaluate, gradient_moments
    >>> net = ResNet(Branch(LayerNorm(), Activation("relu"), Linear(2, 0)), scale=1, depth=2)
    >>> evaluate(gradient_moments(net), K0=1.0)["gradient"].round(12)
    array([0.5       , 0.25      , 0.16666667])
    """
    require_network(net, "the gradients")
    if inputs is not None or couples_columns(net):
        return _of_columns(net, inputs or ("positions" if net.positions else "batch"))
    if net.layers is not None:
        return layer_kernel(net, "gradient")
    return GradientMoments(response(net, "tangent"))


def _of_columns(
    net: ResNet, inputs: Literal["batch", "positions"]
) -> BatchRecursion | ColumnResponse:
    """Return gradients of coupled columns: a recursion where one batch has no eps."""
    if inputs == "batch":
        base = kernel(net, inputs="batch")
        if len(net.kinds) == 1 and all(is_plain(stage.op) for stage in base.stages):
            return with_gradients(base)
    return column_response(net, "gradient", inputs)
