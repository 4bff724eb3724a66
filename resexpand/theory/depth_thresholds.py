r"""The scale at which depth begins to matter, for weights that are rough or smooth in the depth.

With ``rho = L**(-beta)`` a stream of infinite depth is its input (beta > beta*), explodes
(beta < beta*), or has a limit of its own. The covariance c(l, m) enters through the exponent H of
its sums, ``sum_{l, m <= n} c(l, m) ~ n^{2H}``:

=======================  ===================  ======================  ============================
branch                   beta*, stream        beta*, gradient         beta*, stream at fixed width
=======================  ===================  ======================  ============================
``W phi(h)``, phi        max(H, 1/4)          max(H, 1/4)             max(H, 1/2)
smooth
..., kinks, as relu      max(H, 1/4)          max(H, 1/3)             max(H, 1/2)
..., jumps, as sign      max(H, 1/3)          none                    max(H, 1/2)
``V phi(W h)``, phi not  max(H, 1/2)          max(1/2, 2 H - 1)       max(H, 1/2)
odd, as relu
``V phi(W h)``, phi odd  max(1/2, 2 H - 1)    max(1/2, 2 H - 1)
=======================  ===================  ======================  ============================

The first two columns are those of infinite width taken first. For independent blocks, H = 1/2, all
are 1/2, from exact second moments. The others come from an expansion of the covariance of the
branches of two blocks in their distance, confirmed numerically with kernels of depths up to 4000.
For ``W phi(h)`` streams of blocks in the distance k have the correlation r with
``1 - r ~ rho^2 k^{2H}``. A smooth average falls by that much, which adds ``rho^4 L``; that of a
function that jumps, phi or phi', falls as ``(1 - r)^{1/2}``, which adds ``rho^3 L``.
At fixed width the features remember the weights with a drift of order 1/N, which for H < 1/2 is a
deterministic contraction at beta = 1/2: the limits of width and depth do not commute. That is
derived for linear blocks and confirmed by samples for relu.

Source: derived here; Marion, Fermanian, Biau & Vert, arXiv:2206.06929, found the dependence on H in
experiments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sympy as sp

from resexpand.activations.activation_law import ActivationLaw, X, pointwise
from resexpand.activations.singularities import find_singularities
from resexpand.errors import UnsupportedError
from resexpand.expressions.shown import Fielded
from resexpand.network.requirements import require_network
from resexpand.network.resnet import ResNet

HALF, THIRD, QUARTER = sp.Rational(1, 2), sp.Rational(1, 3), sp.Rational(1, 4)
MEAN = 1e-8
"""Mean of an activation of a unit normal below which it counts as zero."""


@dataclass(frozen=True, repr=False)
class DepthThresholds(Fielded):
    """Critical exponents of the residual scale.

    Attributes
    ----------
    exponent : sympy.Expr
        H.
    stream : sympy.Expr
        beta* of the stream at infinite width.
    gradient : sympy.Expr or None
        That of gradients; None if they do not exist.
    at_width : sympy.Expr or None
        beta* of the stream at fixed width; None if unknown.
    status : str
        ``"derived"`` or ``"numerical"``.
    """

    exponent: sp.Expr
    stream: sp.Expr
    gradient: sp.Expr | None
    at_width: sp.Expr | None
    status: str


def depth_thresholds(net: ResNet) -> DepthThresholds:
    """Return the critical exponents of a network.

    Parameters
    ----------
    net : ResNet
        With a branch ``W phi(h)`` or ``V phi(W h)`` and no normalisation; the scale is not used.

    Returns
    -------
    DepthThresholds

    Raises
    ------
    UnsupportedError
        If the exponent of the weights or the threshold of the branch is not known.

    Examples
    --------
    >>> from resexpand import Activation, Branch, FractionalBrownian, Linear, ResNet
    >>> branch = Branch(Activation("relu"), Linear(1, 0))
    >>> depth_thresholds(ResNet(branch, scale=1, depth=9, layers=FractionalBrownian())).stream
    Max(1/4, H)
    """
    require_network(net, "the thresholds of depth")
    asked = "the critical exponent of the residual scale"
    exponent = HALF if net.layers is None else net.layers.exponent
    if exponent is None:
        raise UnsupportedError(
            f"{asked} with layers={net.layers!r}",
            "how sums of its weights grow is not known",
            "use a law, or compare_depths(net), which needs none",
        )
    kinds = "".join("W" if op.contracts else "f" for op in net.branch.ops)
    plain = not net.post and net.skip == 1 and len(net.kinds) == 1
    laws = [step.op.law for step in net.branch.steps if step.label is not None]
    if not plain or kinds not in ("W", "fW", "WfW") or len(laws) != kinds.count("f"):
        raise UnsupportedError(
            f"{asked} of {net.branch!r}", "it is not derived", "use compare_depths(net)"
        )
    if exponent == HALF:
        status = "derived" if net.layers is None else "numerical"
        back = None if any(law.jumps for law in laws) else HALF
        return DepthThresholds(exponent, HALF, back, HALF, status)
    if kinds != "WfW":
        sides = _singular(laws[0]) if laws else (False, False)
        stream, back = (sp.Max(exponent, THIRD if s else QUARTER) for s in sides)
        known = None if laws and laws[0].jumps else back
        return DepthThresholds(exponent, stream, known, sp.Max(exponent, HALF), "numerical")
    back = None if laws[0].jumps else sp.Max(HALF, 2 * exponent - 1)
    if _mean_is_zero(laws[0].expression, asked):
        stream = sp.Max(HALF, 2 * exponent - 1)
        return DepthThresholds(exponent, stream, back, None, "numerical")
    forward = sp.Max(exponent, HALF)
    return DepthThresholds(exponent, forward, back, forward, "numerical")


def _singular(law: ActivationLaw) -> tuple[bool, bool]:
    """Whether an activation, and its derivative, jump."""
    slope = pointwise(law.expression.diff(X))
    return bool(law.jumps), bool(law.jumps or find_singularities(slope)[1])


def _mean_is_zero(phi: sp.Expr, asked: str) -> bool:
    """Whether an activation is odd; refuse one that is not and yet has a vanishing mean."""
    if sp.simplify(phi + phi.xreplace({X: -X})) == 0:
        return True
    points = np.linspace(-8, 8, 321)
    values = np.array([complex(phi.xreplace({X: sp.Float(x)}).evalf()) for x in points]).real
    if abs(np.sum(values * np.exp(-(points**2) / 2))) < MEAN * np.abs(values).sum():
        raise UnsupportedError(
            f"{asked} of {phi}", "its mean vanishes, and it is not odd", "use compare_depths(net)"
        )
    return False
