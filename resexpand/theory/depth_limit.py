r"""Infinitely deep networks with residual scale ``c / sqrt(L)``: equations in the depth time T.

Independent blocks that end in a `Linear` have a mean-zero branch whose covariance given the stream
is ``B(K)``, with ``K^l = K^{l-1} + rho^2 B(K^{l-1})``. With ``T = L rho^2 = c^2`` and
``t = l rho^2`` in [0, T]:

infinite width   dK/dt = B(K), so that ``T = int_{K0}^{K} dx / B(x)``, ``dK_T/dK0 = B(K_T)/B(K0)``,
                 ``K_L = K_T - (T / 2 L) B(K_T) ln(B(K_T) / B(K0)) + O(1/L^2)``, and a tangent grows
                 by ``exp(int_0^T M dt)``, M = sigma_w2 <phi'^2> for one `Linear`
finite width     dX = dB C^{1/2} for the streams (`resexpand.theory.depth_noise`). Where C is a
                 function of G = |h|^2/N: dG = B(G) dt + sqrt(4 G B(G) / N) dW, at every N
both             where B(K) = s K (identity, relu; no biases), for a branch that begins with a
                 `Linear`: G is a geometric Brownian motion and ``ln G_T/G_0`` Gaussian of mean
                 ``s T (1 - 2/N)`` and variance ``4 s T / N``, also for L, N -> infinity at fixed
                 L/N

The third holds for any number of activations: given the stream, features average to s G. For
``W phi(h)`` the features remember the stream and there is no closed equation in G.

Source: the abstract of Marion, Fermanian, Biau & Vert, arXiv:2206.06929, states that with
independent weights the only scale with a non-trivial limit is 1/sqrt(L), others leading to an
explosion or to the identity, and that a neural stochastic differential equation belongs to it;
Hayou, arXiv:2210.00688, has the limit of infinite depth at finite width. The expansion in 1/L and
the equations in G are derived here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import sympy as sp

from resexpand.conventions import DEPTH, K0, WIDTH, K
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.expressions.notebook import in_notebook
from resexpand.expressions.shown import Card, Shown
from resexpand.network.requirements import require_network, require_plain
from resexpand.network.resnet import ResNet
from resexpand.references import REFERENCES, Citation
from resexpand.theory.closure import Laws, close_elementary
from resexpand.theory.depth_noise import (
    CORRELATION,
    GRAMS,
    STREAM,
    Noise,
    correlation_diffusion,
    correlation_drift,
    covariation,
    noise_of,
)
from resexpand.theory.formula import Formula
from resexpand.theory.joint_limit import JointLimit, joint_limit
from resexpand.theory.kernel import kernel
from resexpand.theory.notation import Written
from resexpand.theory.recursion import Recursion
from resexpand.theory.response import response
from resexpand.theory.smooth_limit import SmoothLimit, smooth_limit

TIME = sp.Symbol("T", positive=True)
"""Depth time, c^2 = L rho^2."""

GRAM = sp.Symbol("G", positive=True)
LAST = sp.Symbol("K_T", positive=True)

OWN_NAMES = {s.name for s in (TIME, GRAM, LAST, WIDTH, DEPTH, CORRELATION, *GRAMS)}
"""Names that hyperparameters must not have."""


@dataclass(frozen=True)
class Regime:
    """What happens at residual scales of one range, as L goes to infinity.

    Attributes
    ----------
    scale : str
        Range of beta in ``rho = L**(-beta)``.
    statement : str
        One sentence.
    status : str
        ``"derived"`` here or ``"numerical"``. Those of independent blocks follow from the exact
        recursion of the second moment at every width. The abstract of Marion et al. states them;
        its theorems were not compared.
    """

    scale: str
    statement: str
    status: str


@dataclass(frozen=True, repr=False)
class DepthLimit(Shown):
    """The limit of infinite depth; iterate over its formulas, `solve_depth_limit` integrates it.

    Attributes
    ----------
    net : ResNet
        The network.
    constant : sympy.Expr
        c, of the scale ``c / sqrt(L)``.
    kernel : Formula
        ``dK/dt = B(K)``.
    solution : Formula or None
        ``K_T``, where it is closed: B of degree one in K.
    response : Formula
        ``dK_T / dK0`` as a function of K_T and K0.
    correction : Formula
        First order of ``K_L - K_T`` in 1/L.
    tangent : Formula
        Rate M at which tangents and gradients grow, ``d ln|v|^2 / dt``.
    stream : Formula
        ``dX`` of the streams at width N.
    covariance : Formula
        C of two inputs in it: a function of G, or of X, or of averages inside of the branch.
    drift, diffusion : Formula or None
        Of G = |h|^2 / N at width N, where it obeys an equation of its own: coefficients of dt, and
        of dt in ``(dG)^2``.
    covariation : Formula or None
        ``d<G_ab, G_cd> / dt`` of several inputs, whose drift is C_ab, where G closes.
    correlation_drift, correlation_diffusion : Formula or None
        Of the correlation r of two inputs, where it obeys an equation of its own.
    log_mean, log_variance : Formula or None
        Of ``ln G_T / G_0`` at width N.
    regimes : tuple of Regime
        Other scales.
    """

    net: ResNet
    constant: sp.Expr
    kernel: Formula
    solution: Formula | None
    response: Formula
    correction: Formula
    tangent: Formula
    stream: Formula
    covariance: Formula
    drift: Formula | None
    diffusion: Formula | None
    covariation: Formula | None
    correlation_drift: Formula | None
    correlation_diffusion: Formula | None
    log_mean: Formula | None
    log_variance: Formula | None
    regimes: tuple[Regime, ...]
    base: Recursion = field(repr=False)
    noise: Noise = field(repr=False)

    def __iter__(self) -> Iterator[Formula]:
        """Iterate over the formulas that there are, as printers take them."""
        listed = (getattr(self, name) for name in LETTERS)
        return (formula for formula in listed if formula is not None)

    def _repr_latex_(self) -> str:
        return in_notebook(self)

    def card(self) -> Card:
        """Return what it says about itself."""
        lines = tuple((f.name, str(f.rhs)) for f in self)
        said = tuple((r.scale, f"{r.statement} ({r.status})") for r in self.regimes)
        return Card(
            "DepthLimit: independent blocks, infinite depth",
            (("network", repr(self.net)), *lines, *said),
        )


def depth_limit(net: ResNet) -> DepthLimit | SmoothLimit | JointLimit:
    """Derive the limit of infinite depth: of independent blocks, or of smooth weights.

    Parameters
    ----------
    net : ResNet
        Blocks of one kind that end in a `Linear`; its depth a symbol L. Independent blocks have the
        scale ``c / sqrt(L)``, those of a smooth law ``c / L``, c a constant. Independent blocks of
        a scale without L have a limit together with the width, at a fixed ratio L/N.

    Returns
    -------
    DepthLimit, SmoothLimit or JointLimit
        Formulas that print, go to LaTeX and integrate.

    Raises
    ------
    HyperparameterError
        If a hyperparameter has the name of a quantity of the formulas.
    UnsupportedError
        If the network has no such limit; the message says which one it has, if any.

    Examples
    --------
    >>> import sympy as sp
    >>> from resexpand import Activation, Branch, Linear, ResNet, depth_limit
    >>> L = sp.Symbol("L", integer=True, positive=True)
    >>> net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1 / sp.sqrt(L), depth=L)
    >>> depth_limit(net).solution.rhs
    K0*exp(T)
    """
    require_network(net, "the limit of large depth")
    asked = "the limit of infinite depth"
    if net.layers is not None:
        return smooth_limit(net)
    require_plain(net, asked)
    if taken := [s.name for s in net.free_symbols if s.name in OWN_NAMES and s != net.depth]:
        raise HyperparameterError(
            f"{asked} with a hyperparameter called {taken[0]}",
            "its formulas use this name for a quantity of their own",
            f"rename it, for instance {taken[0]}_value",
        )
    constant = _constant(net, asked)
    if not net.branch.is_gaussian:
        raise UnsupportedError(
            f"{asked} at scale c/sqrt(L) of {net.branch!r}",
            "it ends in an activation, so that its mean adds up to order sqrt(L), or vanishes "
            "only for odd functions",
            "end the branch in a Linear(), or take the scale 1/L and evaluate(kernel(net))",
        )
    if constant.has(net.depth):
        return joint_limit(net)
    rho = sp.Symbol("rho_unit", positive=True)
    unit = net.altered(scale=rho, depth=sp.Integer(1))
    base = kernel(unit)
    growing = response(unit, "tangent")
    scale = next(symbol for symbol, value in base.bindings if value == rho)
    rate = sp.expand((base.flat_update[0] - K) / scale**2)
    factor = dict(zip(growing.state, growing.flat_update, strict=True))
    tangent_symbol = sp.Symbol("chi_K", real=True)
    slope = sp.expand((factor[tangent_symbol] / tangent_symbol - 1) / scale**2)
    maker = _Maker(base.laws, dict(base.bindings), base.citations)
    closed = maker.closed(rate)
    ratio = sp.Function("B")(LAST) / sp.Function("B")(K0)
    first = -TIME / (2 * DEPTH) * sp.Function("B")(LAST) * sp.log(ratio)
    linear = closed.diff(K) if sp.expand(closed - K * closed.diff(K)) == 0 else None
    if linear is None or net.branch.opening or linear.has(K):
        linear = None
    noise = noise_of(net)
    growth = rate.xreplace({K: GRAM})
    own, shared = {"stream": STREAM}, {"covariance": noise.covariance}
    if noise.closes or linear is not None:
        own |= {"drift": growth, "diffusion": 4 * GRAM * growth / WIDTH}
    if noise.closes:
        shared["covariation"] = covariation()
    if linear is not None:
        own |= {
            "log_mean": linear * TIME * (1 - 2 / WIDTH),
            "log_variance": 4 * linear * TIME / WIDTH,
        }
        if (k := noise.correlation) is not None:
            shared["correlation_drift"] = correlation_drift(linear, k)
            shared["correlation_diffusion"] = correlation_diffusion(linear, k)
    pairs = _Maker(noise.pair.laws, dict(noise.pair.bindings), noise.pair.citations)
    at_width: dict[str, Any] = dict.fromkeys(
        name for name in LETTERS if name not in AT_INFINITE_WIDTH
    )
    for of, values in ((maker, own), (pairs, shared)):
        at_width |= {name: of.formula(rhs, name, "O(1/L)") for name, rhs in values.items()}
    return DepthLimit(
        net=net,
        constant=constant,
        kernel=maker.formula(rate, "kernel"),
        solution=_solution(maker, closed),
        response=maker.formula(ratio, "response", "O(1/N) + O(1/L)"),
        correction=maker.formula(first, "correction", "O(1/N) + O(1/L^2)"),
        tangent=maker.formula(slope, "tangent"),
        **at_width,
        regimes=REGIMES,
        base=base,
        noise=noise,
    )


MEANINGS = {
    "kernel": "growth of the kernel in depth time $t$, at infinite width",
    "solution": "kernel at depth time $T$",
    "response": "response of the last layer to the input, with $B$ the growth of the kernel",
    "correction": "first order of a finite depth, with $B$ the growth of the kernel",
    "tangent": "growth of tangents and gradients in depth time",
    "stream": "streams at width $N$, with independent Brownian motions $B$",
    "covariance": "covariance of the branches of two inputs, given the streams",
    "drift": "drift of $G$ at width $N$",
    "diffusion": "square of the noise of $G$ at width $N$",
    "covariation": "noise of the entries of $G$ at width $N$, whose drift is $C$",
    "correlation_drift": "drift of the correlation of two inputs at width $N$",
    "correlation_diffusion": "square of its noise",
    "log_mean": "mean of the logarithm of $G_T/G_0$ at width $N$",
    "log_variance": "its variance",
}

LETTERS = {
    "kernel": r"\mathrm{d}K / \mathrm{d}t",
    "solution": "K_{T}",
    "response": r"\mathrm{d}K_{T} / \mathrm{d}K^{0}",
    "correction": "K^{L} - K_{T}",
    "tangent": r"\mathrm{d}\ln|v|^2 / \mathrm{d}t",
    "stream": r"\mathrm{d}X",
    "covariance": r"C_{12}",
    "drift": r"\mathrm{E}[\mathrm{d}G] / \mathrm{d}t",
    "diffusion": r"(\mathrm{d}G)^2 / \mathrm{d}t",
    "covariation": r"\mathrm{d}\langle G_{ab}, G_{cd} \rangle / \mathrm{d}t",
    "correlation_drift": r"\mathrm{E}[\mathrm{d}r] / \mathrm{d}t",
    "correlation_diffusion": r"(\mathrm{d}r)^2 / \mathrm{d}t",
    "log_mean": r"\mathrm{E}\ln(G_{T}/G_{0})",
    "log_variance": r"\mathrm{Var}\ln(G_{T}/G_{0})",
}
"""Left sides, as LaTeX."""

AT_INFINITE_WIDTH = ("kernel", "solution", "response", "correction", "tangent")
"""Formulas of infinite width; all others are those of finite width."""

REGIMES = (
    Regime("beta > 1/2", "independent blocks add nothing: K_L -> K0", "derived"),
    Regime("beta = 1/2", "the stream has the limit given here", "derived"),
    Regime("beta < 1/2", "the second moment explodes for relu and linear blocks", "derived"),
)


@dataclass(frozen=True)
class _Maker:
    """Makes formulas of expressions in the symbols of a recursion."""

    laws: Laws
    values: dict[sp.Symbol, sp.Expr]
    citations: tuple[Citation, ...]

    def closed(self, expression: sp.Expr) -> sp.Expr:
        return sp.expand(close_elementary(expression.xreplace(self.values), self.laws))

    def formula(self, rhs: sp.Expr, name: str, neglects: str = "O(1/N)") -> Formula:
        sources = ("marion2025",) if name in AT_INFINITE_WIDTH else ("marion2025", "hayou2022")
        own = (*(Citation(REFERENCES[key]) for key in sources), *self.citations)
        numbers = rhs.xreplace(self.values)
        return Formula(
            name, Written(LETTERS[name]), numbers, MEANINGS[name], neglects, own, self.laws
        )


def _constant(net: ResNet, asked: str) -> sp.Expr:
    """Return ``rho sqrt(L)``: c of the scale ``c / sqrt(L)``; L stays in it if rho has none."""
    if isinstance(net.scale, tuple) or not isinstance(net.depth, sp.Symbol):
        raise UnsupportedError(
            f"{asked} of a network of depth {net.depth}",
            "how its scale depends on the depth is not known",
            "give depth=L as a symbol and scale=c/sqrt(L)",
        )
    constant = sp.simplify(net.scale * sp.sqrt(net.depth))
    if constant.has(net.depth) and net.scale.has(net.depth):
        raise UnsupportedError(
            f"{asked} at scale {net.scale}",
            "the limit of independent blocks is trivial above, and infinite below c/sqrt(L)",
            "give scale=c/sqrt(L)",
        )
    return constant


def _solution(maker: _Maker, rate: sp.Expr) -> Formula | None:
    """Return K_T where the rate is of degree one in K."""
    if not rate.is_polynomial(K) or sp.degree(rate, K) > 1:
        return None
    slope, level = rate.coeff(K, 1), rate.coeff(K, 0)
    if slope == 0:
        value = K0 + level * TIME
    else:
        shift = sp.simplify(level / slope)
        value = (K0 + shift) * sp.exp(slope * TIME) - shift
    return maker.formula(value, "solution", "O(1/N) + O(1/L)")
