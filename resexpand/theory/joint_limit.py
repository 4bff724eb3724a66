r"""Width and depth to infinity at a fixed ratio, with a residual scale rho that does not shrink.

Let a branch have m layers of fresh Gaussian weights and at most one activation, homogeneous, so
that the covariance of its values is ``s (G_aa G_bb)^{1/2} k(r)``, r the correlation of two inputs.
A block moves G by its average and by fluctuations of order ``N^{-1/2}``: twice the product of the
stream and the branch, and the square of the branch, whose m layers of weights fluctuate one by one.
With ``g = rho^2 s / (1 + rho^2 s)``, the share of the branch in the variance, and t = l/N,

    dr      = (N g (k(r) - r) - Q r (1 - r^2) / 2) dt + Q^{1/2} (1 - r^2) dB
    d ln G  = (N ln(1 + rho^2 s) - Q) dt + (2 Q)^{1/2} dB,         Q = g (2 - 2 g + m g)

up to ``O(N^{-1/2})``. A limit needs ``N (k(r) - r)`` to stay finite: linear branches (k = r), and
activations shaped with the width, such as slopes ``1 + c_+ / sqrt(N)`` and ``1 + c_- / sqrt(N)`` on
the two sides, where it tends to ``(c_+ - c_-)^2 (sqrt(1 - r^2) - r arccos r) / 2 pi``. Features
that are the stream itself to ``O(N^{-1/2})`` have no memory that counts, so that the activation may
come first. With rho^2 = c^2/L these are the equations of `resexpand.theory.depth_noise`, whose
limit of infinite depth comes first, to the first order in rho^2.

Source: Li, Nica & Roy, arXiv:2206.02768, for m = 1; other m are derived here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sympy as sp

from resexpand.conventions import WIDTH
from resexpand.errors import UnsupportedError
from resexpand.expressions.notebook import in_notebook
from resexpand.expressions.shown import Card, Shown
from resexpand.network.resnet import ResNet
from resexpand.theory.depth_noise import CORRELATION, noise_of
from resexpand.theory.formula import Formula
from resexpand.theory.notation import Written

EQUATIONS = {
    "correlation_drift": (r"\mathrm{E}[\mathrm{d}r] / \mathrm{d}t", "drift of the correlation"),
    "correlation_diffusion": (r"(\mathrm{d}r)^2 / \mathrm{d}t", "square of its noise"),
    "log_drift": (r"\mathrm{E}[\mathrm{d}\ln G] / \mathrm{d}t", r"drift of $\ln G$"),
    "log_diffusion": (r"(\mathrm{d}\ln G)^2 / \mathrm{d}t", "square of its noise"),
}
"""Left sides, as LaTeX, and meanings."""


@dataclass(frozen=True, repr=False)
class JointLimit(Shown):
    """Equations of a network as deep as wide in the time t = l/N; iterate over its formulas.

    Attributes
    ----------
    net : ResNet
        The network, of symbolic depth and constant scale.
    correlation_drift, correlation_diffusion : Formula
        Of the correlation r of two inputs. The drift keeps the width in ``N (k(r) - r)``.
    log_drift, log_diffusion : Formula
        Of ``ln G``, G = |h|^2/N.
    """

    net: ResNet
    correlation_drift: Formula
    correlation_diffusion: Formula
    log_drift: Formula
    log_diffusion: Formula

    def __iter__(self) -> Iterator[Formula]:
        """Iterate over the formulas, as printers take them."""
        return (getattr(self, name) for name in EQUATIONS)

    def _repr_latex_(self) -> str:
        return in_notebook(self)

    def card(self) -> Card:
        """Return what it says about itself."""
        lines = tuple((formula.name, str(formula.rhs)) for formula in self)
        title = "JointLimit: width and depth infinite at a fixed ratio"
        return Card(title, (("network", repr(self.net)), *lines))


def joint_limit(net: ResNet) -> JointLimit:
    """Derive the limit of width and depth at a fixed ratio, see `resexpand.depth_limit`."""
    noise, rho = noise_of(net), net.scale
    if noise.correlation is None or isinstance(rho, tuple):
        raise UnsupportedError(
            f"the limit of infinite depth of {net.branch!r} at scale {rho}",
            "scales above c/sqrt(L) have a limit together with the width alone, known for one "
            "homogeneous activation at most, and no biases",
            "give scale=c/sqrt(L), or sample() at several widths with one ratio of depth to width",
        )
    k, s, r = noise.correlation, noise.growth, CORRELATION
    share = sp.simplify(rho**2 * s / (1 + rho**2 * s))
    count = sum(op.contracts for op in net.branch.ops)
    spread = sp.simplify(share * (2 + (count - 2) * share))
    values = {
        "correlation_drift": WIDTH * share * (k - r) - spread * r * (1 - r**2) / 2,
        "correlation_diffusion": spread * (1 - r**2) ** 2,
        "log_drift": WIDTH * sp.log(1 + rho**2 * s) - spread,
        "log_diffusion": 2 * spread,
    }
    formulas = (
        Formula(name, Written(left), values[name], said, "O(1/sqrt(N))")
        for name, (left, said) in EQUATIONS.items()
    )
    return JointLimit(net, *formulas)
