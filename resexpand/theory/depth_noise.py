r"""Infinite depth at finite width: the stochastic differential equations of streams and of G.

Let X be the N x D matrix of streams and ``G = X^T X / N``. A branch that ends in a `Linear` of
fresh weights has, given X, independent centred rows, so that in depth time t

    dX = dB C^{1/2},        C_ab = E[branch_a . branch_b | X] / N,

with B of N x D independent Brownian motions. What is in front of the last `Linear` and random is
averaged over within any step. Three cases:

one `Linear`       ``C_ab = sigma_w2 phi(X_a).phi(X_b) / N + sigma_b2``, a function of X, not of G
`Linear` first,    features are independent over neurons given G, so that C(G) is the covariance of
one activation     infinite width at every N, and by the formula of Ito G obeys an equation of its
at most            own: ``dG_ab = C_ab dt + dM_ab``, ``d<M_ab, M_cd> = (G_ac C_bd + G_ad C_bc + G_bc
                   C_ad + G_bd C_ac) dt / N``
more               for one input and C proportional to G the same; else C is an average over widths
                   inside of the branch and there is no closed equation

Where in the second case the activation is homogeneous, ``C_ab = s (G_aa G_bb)^{1/2} k(r)`` with r
the correlation of two inputs, which obeys an equation of its own:

    dr = s (k - r + (r - 2 k + r^2 k) / N) dt + (2 s (1 - r^2) (1 - r k) / N)^{1/2} dW.

For linear blocks k = r, and time enters as ``s t / N`` alone: the limit N, L -> infinity at fixed
ratio. Source: derived here; Hayou, arXiv:2210.00688, for one input.
"""

from __future__ import annotations

from typing import NamedTuple

import sympy as sp

from resexpand.activations.traits import is_homogeneous
from resexpand.conventions import WIDTH
from resexpand.gaussian.expectation import GaussianExpectation
from resexpand.network.layers import Markov
from resexpand.network.resnet import ResNet
from resexpand.theory.closure import close_elementary
from resexpand.theory.layer_kernel import FACTORS, LAYERS, LayerKernel, layer_kernel
from resexpand.theory.notation import Written

GRAMS = (
    sp.Symbol("G_11", positive=True),
    sp.Symbol("G_12", real=True),
    sp.Symbol("G_22", positive=True),
)
"""Entries of G for two inputs."""

CORRELATION = sp.Symbol("r", real=True)
FEATURES = Written(r"\varphi(X_{1}) \cdot \varphi(X_{2}) / N")
INSIDE = Written(r"\mathrm{E}[y_{1} \cdot y_{2} \,|\, X] / N")

STREAM = Written(r"\mathrm{d}B\, C^{1/2}")


class Noise(NamedTuple):
    """Expressions of finite width, in the symbols of a kernel of pairs.

    pair : LayerKernel
        Its branch at ``c_lm = 1`` is C(G), where it closes.
    closes : bool
        Whether G obeys an equation of its own.
    covariance : sympy.Expr
        C_12.
    correlation, growth : sympy.Expr or None
        k(r) and s, where the activation is homogeneous: at infinite width if G does not close.
    """

    pair: LayerKernel
    closes: bool
    covariance: sp.Expr
    correlation: sp.Expr | None
    growth: sp.Expr | None


def noise_of(net: ResNet) -> Noise:
    """Return the noise of a network of independent blocks that end in a `Linear`."""
    pair = layer_kernel(net.altered(scale=sp.Integer(1), depth=sp.Integer(1), layers=Markov(0)))
    maps = [step for step in net.branch.steps if not step.contracts]
    shape: tuple[sp.Expr | None, sp.Expr | None] = (None, None)
    if len(maps) <= 1:
        given = {FACTORS[1]: sp.Integer(1), **dict(zip(LAYERS, GRAMS, strict=True))}
        rate = pair.flat(pair.branch).xreplace(given)
        homogeneous = all(is_homogeneous(step.op.law.expression) for step in maps)
        biased = any(op.values[1] != 0 for op in net.branch.ops if op.contracts)
        shape = _correlation(rate, pair) if homogeneous and not biased else shape
        if not net.branch.opening:
            return Noise(pair, True, rate, *shape)
    (last,) = (value for symbol, value in pair.definitions if symbol == pair.last[1])
    contractions = sum(step.contracts for step in net.branch.steps)
    inner = FEATURES if contractions == 1 else INSIDE
    averages = dict.fromkeys(last.atoms(GaussianExpectation), inner)
    return Noise(pair, False, last.xreplace({FACTORS[1]: sp.Integer(1), **averages}), *shape)


def _correlation(rate: sp.Expr, pair: LayerKernel) -> tuple[sp.Expr | None, sp.Expr | None]:
    """Return ``C_12 / s`` at lengths one and correlation r, and s."""
    closed = close_elementary(rate.xreplace(dict(pair.bindings)), pair.laws)
    at = [dict(zip(GRAMS, (1, r, 1), strict=True)) for r in (CORRELATION, sp.Integer(1))]
    whole, slope = (closed.subs(values, simultaneous=True) for values in at)
    if slope == 0 or whole.has(GaussianExpectation):
        return None, None
    return sp.simplify(whole / slope), slope


def covariation() -> sp.Expr:
    """Return ``d<G_ab, G_cd> / dt``."""

    def term(a: str, b: str) -> sp.Expr:
        return Written(f"G_{{{a}}}") * Written(f"C_{{{b}}}")

    return (term("ac", "bd") + term("ad", "bc") + term("bc", "ad") + term("bd", "ac")) / WIDTH


def correlation_drift(s: sp.Expr, k: sp.Expr) -> sp.Expr:
    """Return the coefficient of dt of the correlation."""
    r = CORRELATION
    return s * (k - r + (r - 2 * k + r**2 * k) / WIDTH)


def correlation_diffusion(s: sp.Expr, k: sp.Expr) -> sp.Expr:
    """Return the coefficient of dt of its square."""
    r = CORRELATION
    return 2 * s * (1 - r**2) * (1 - r * k) / WIDTH
