r"""Infinite depth of weights that are smooth in the depth: a differential equation, scale c/L.

With weights that are functions ``W(t)`` of the share t = l/L, of covariance c(s, t) between two
shares, the stream obeys

    dH/dt = c F_t(H),       F_t the branch with the weights W(t),

a random ordinary differential equation, and at infinite width its kernel
``K(s, t) = lim H(s).H(t) / N`` obeys

    d^2 K / ds dt = c^2 B(s, t),    K(0, t) = K(s, 0) = K0,

with B the covariance of the branches at s and t: the equation of
`resexpand.theory.layer_kernel` with c(s, t) as the covariance of two blocks. A network of L blocks
differs by order 1/L.

Weights that are increments of a smooth process have the covariance of its derivative; for the
Gaussian kernel of variance v that is ``(1 - d^2/v) exp(-d^2/2v)`` at the distance d.

Source: Marion, Fermanian, Biau & Vert, arXiv:2206.06929, state the scale and the equation of the
stream; the equation of the kernel is derived here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import sympy as sp

from resexpand.errors import UnsupportedError
from resexpand.expressions.notebook import in_notebook
from resexpand.expressions.shown import Card, Shown
from resexpand.network.resnet import ResNet
from resexpand.references import REFERENCES, Citation
from resexpand.theory.closure import Laws
from resexpand.theory.formula import Formula
from resexpand.theory.layer_kernel import FACTORS, LAYERS, LayerKernel, layer_kernel
from resexpand.theory.notation import Written

S, T = sp.symbols("s t", real=True)
KERNELS = tuple(Written(name) for name in ("K_{s,s}", "K_{s,t}", "K_{t,t}"))
COVARIANCES = tuple(Written(name) for name in ("c_{s,s}", "c_{s,t}", "c_{t,t}"))


@dataclass(frozen=True, repr=False)
class SmoothLimit(Shown):
    """The limit of infinite depth of smooth weights; `solve_smooth_limit` integrates it.

    Attributes
    ----------
    net : ResNet
        The network, of symbolic depth.
    constant : sympy.Expr
        c, of the scale ``c / L``.
    stream : Formula
        ``dH/dt``.
    covariance : Formula
        c(s, t) of the weights.
    kernel : Formula
        ``d^2 K / ds dt`` at infinite width.
    """

    net: ResNet
    constant: sp.Expr
    stream: Formula
    covariance: Formula
    kernel: Formula

    def __iter__(self) -> Iterator[Formula]:
        """Iterate over the formulas, as printers take them."""
        return iter((self.stream, self.covariance, self.kernel))

    def _repr_latex_(self) -> str:
        return in_notebook(self)

    def card(self) -> Card:
        """Return what it says about itself."""
        lines = tuple((formula.name, str(formula.rhs)) for formula in self)
        return Card(
            "SmoothLimit: smooth weights, infinite depth", (("network", repr(self.net)), *lines)
        )


def smooth_limit(net: ResNet) -> SmoothLimit:
    """Derive the limit of infinite depth of smooth weights at scale ``c / L``.

    Parameters
    ----------
    net : ResNet
        Correlated layers of a smooth law, a branch that ends in a `Linear`; its depth a symbol, its
        scale a constant over that symbol.

    Returns
    -------
    SmoothLimit
        Formulas that print, go to LaTeX and integrate.

    Raises
    ------
    UnsupportedError
        If the network has no such limit; the message says why.

    Examples
    --------
    >>> import sympy as sp
    >>> from resexpand import Activation, Branch, Linear, ResNet, Smooth, depth_limit
    >>> L = sp.Symbol("L", integer=True, positive=True)
    >>> branch = Branch(Activation("relu"), Linear(2, 0))
    >>> depth_limit(ResNet(branch, scale=1 / L, depth=L, layers=Smooth("rbf", 1))).covariance.rhs
    (1 - (s - t)**2)*exp(-(s - t)**2/2)
    """
    asked = "the limit of infinite depth of smooth weights"
    shared = None if net.layers is None else net.layers.smooth(S - T)
    if net.layers is None or shared is None:
        raise UnsupportedError(
            f"{asked} with layers={net.layers!r}",
            "they are no smooth functions of the depth",
            "use layers=Smooth(...), or evaluate(kernel(net)) at large depths",
        )
    if isinstance(net.scale, tuple) or not isinstance(net.depth, sp.Symbol):
        raise UnsupportedError(
            f"{asked} of a network of depth {net.depth}",
            "how its scale depends on the depth is not known",
            "give depth=L as a symbol and scale=c/L",
        )
    constant = sp.simplify(net.scale * net.depth)
    if constant.has(net.depth):
        raise UnsupportedError(
            f"{asked} at scale {net.scale}",
            "the limit is trivial above, and infinite below c/L",
            "give scale=c/L",
        )
    unit = layer_kernel(net.altered(scale=sp.Integer(1), depth=sp.Integer(1)))
    own = (Citation(REFERENCES["marion2025"]),)
    change = Written("F_{t}(H_{t})")
    stream = constant * change if constant.is_number else Written(r"c\, F_{t}(H_{t})")
    return SmoothLimit(
        net,
        constant,
        _formula("stream", r"\mathrm{d}H_{t} / \mathrm{d}t", stream, own),
        _formula("covariance", "c_{s,t}", shared, own),
        _formula(
            "kernel",
            r"\partial_{s} \partial_{t} K_{s,t}",
            constant**2 * _growth(unit),
            unit.citations,
            unit.laws,
        ),
    )


MEANINGS = {
    "stream": "stream at the share $t$ of the depth, $F_t$ the branch with the weights $W_t$",
    "covariance": "covariance of a weight at two shares of the depth, in units of its variance",
    "kernel": "growth of the kernel of two shares of the depth, at infinite width",
}


def _growth(unit: LayerKernel) -> sp.Expr:
    """Return the covariance of the branches at two shares of the depth."""
    given = {
        **dict(zip(LAYERS, KERNELS, strict=True)),
        **dict(zip(FACTORS, COVARIANCES, strict=True)),
    }
    return unit.flat(unit.branch).xreplace(dict(unit.bindings)).xreplace(given)


def _formula(
    name: str, left: str, rhs: sp.Expr, citations: tuple[Citation, ...], laws: Laws = ()
) -> Formula:
    neglects = "O(1/N) + O(1/L)" if name == "kernel" else "O(1/L)"
    return Formula(name, Written(left), rhs, MEANINGS[name], neglects, citations, laws)
