r"""The residual scale at which a response function of the output is largest.

A block adds ``rho^2 B(K)`` to the kernel and multiplies the response by ``1 + rho^2 G(K)``; the
read-out contributes an amplitude ``A(K^L)``. In a deep network only ``t = rho^2 L`` matters,
``dK/dt = B(K)`` and ``d ln(chi)/dt = G(K)``, so that

    d ln(eta) / dK^L = A'/A + G/B.

It vanishes at a kernel ``K*`` that does not depend on the depth, and the scale that reaches it is

    rho* = c / sqrt(L),    c^2 = int_{K^0}^{K*} dK / B(K).

A branch that normalises its input without eps has a constant B: its variance response is that of
the read-out alone, ``G = 0``. For the variance response of other branches ``G = B'`` and
``A = V'``, and the condition reads ``V'' B + sigma_w2 V'^2 = 0``. At finite depth the optimum is a
zero of the exact derivative of ``ln(eta)``, itself a recursion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import sympy as sp

from resexpand.activations.arcsine import reduce_area
from resexpand.activations.at_point import value_of
from resexpand.conventions import K0, PAIR, RHO, K
from resexpand.errors import UnsupportedError
from resexpand.expressions.notebook import in_notebook
from resexpand.expressions.shown import Card, Shown
from resexpand.gaussian.expectation import GaussianExpectation
from resexpand.network.operation import Map
from resexpand.network.requirements import (
    require_network,
    require_one_of,
    require_plain,
    require_sums,
)
from resexpand.network.resnet import ResNet
from resexpand.references import REFERENCES, Citation
from resexpand.theory.closure import close, close_elementary
from resexpand.theory.differentiation import differentiate, total_derivative
from resexpand.theory.formula import Formula
from resexpand.theory.hyperparameters import Hyperparameters
from resexpand.theory.inversion import integral_of, solve_for
from resexpand.theory.kernel import kernel, read_out_moment, stream_of
from resexpand.theory.recursion import Output, Recursion
from resexpand.theory.response import ResponseKind, coincide

K_STAR = sp.Symbol("K_star", positive=True)
"""Kernel of the last layer at the optimal residual scale."""

C_SQUARED = sp.Symbol("c", positive=True) ** 2
"""Square of the constant of ``rho* = c / sqrt(L)``."""

NEGLECTED = {"constant": "O(1/L)", "simpson": r"O(\ln^5(K^*/K^0))"}
"""Neglected: the discreteness of the layers, and the error of Simpson's rule."""

SEEN = 1e-20
"""Value of a condition, in fifty digits, that is not zero."""

Trend = Literal["interior", "increasing", "vanishing", "constant"]


@dataclass(frozen=True, repr=False)
class OptimalScale(Shown):
    """Conditions and formulas for the optimal residual scale of one response function.

    Attributes
    ----------
    net : ResNet
        The network.
    kind : str
        Which response of the output is maximised.
    source : Recursion
        The kernel recursion all of it was derived from.
    growth, rate, amplitude : sympy.Expr
        ``B(K)``, ``G(K)`` and ``A(K)`` of the module's introduction, formal.
    condition : Formula
        Vanishes at ``K*``: ``A' B + A G = 0``.
    constant : Formula
        ``c^2`` as an integral.
    simpson : Formula
        Simpson's rule in ``ln K`` for ``c^2``, good where ``K^0`` and ``K*`` are not far apart.
    closed_constant : Formula or None
        ``c^2`` in closed form, if the integral has one.
    kernel_star : Formula or None
        ``K*`` in closed form, if the condition can be solved.
    curves : Recursion
        Its outputs ``growth``, ``rate``, ``condition`` and ``amplitude`` are ``B``, ``G``, the
        condition and ``A`` at a kernel ``K0``.
    slope : Recursion
        Its outputs ``slope``, ``level`` and ``last`` are ``d ln(eta) / d rho``, ``ln|eta|`` and
        the kernel of the last layer at finite depth.
    trend : str
        ``interior`` if an optimum is possible, ``increasing`` if the response grows with the
        scale for every kernel, ``vanishing`` if it is zero, ``constant`` if it does not depend on
        the scale.
    citations : tuple of Citation
        Where the method stands.
    """

    net: ResNet
    kind: ResponseKind
    source: Recursion
    growth: sp.Expr
    rate: sp.Expr
    amplitude: sp.Expr
    condition: Formula
    constant: Formula
    simpson: Formula
    closed_constant: Formula | None
    kernel_star: Formula | None
    curves: Recursion
    slope: Recursion
    trend: Trend
    citations: tuple[Citation, ...]

    def card(self) -> Card:
        """Return what it says about itself."""
        star, square = self.kernel_star, self.closed_constant
        return Card(
            f"OptimalScale: largest {self.kind} response",
            (
                ("network", repr(self.net)),
                ("K*", str(star.rhs) if star else f"where {self.condition.lhs} = 0"),
                ("c^2", str((square or self.constant).rhs)),
                ("rho*", "c / sqrt(L)" if not self.reason else ""),
                ("trend", self.reason or "an optimum is possible"),
            ),
        )

    def _repr_latex_(self) -> str:
        return in_notebook(self)

    @property
    def reason(self) -> str:
        """Why there is no interior optimum; empty if one is possible."""
        return {
            "interior": "",
            "increasing": f"the {self.kind} response grows with the residual scale without bound",
            "vanishing": f"the {self.kind} response is zero at every residual scale",
            "constant": f"the {self.kind} response is the same at every residual scale",
        }[self.trend]


def optimal_scale(net: ResNet, kind: ResponseKind = "variance") -> OptimalScale:
    """Derive the residual scale that maximises a response function of the output.

    Parameters
    ----------
    net : ResNet
        The network, with one residual scale for all blocks; its value does not matter.
    kind : {"variance", "covariance", "tangent"}
        Which response: of the output variance to that of the input, of the output covariance of
        two nearly orthogonal inputs (the covariance that the layers themselves build up is
        neglected), or of a tangent vector.

    Returns
    -------
    OptimalScale
        Evaluate it to get ``K_star``, ``c`` and ``rho``, the optimum at the depth of the network.

    Raises
    ------
    HyperparameterError
        If the kind is unknown.
    UnsupportedError
        If the blocks have different scales, or the branch ends in an activation.

    References
    ----------
    Fischer, Dahmen & Helias (2023), optimal residual scaling from response functions.
    """
    require_network(net, "the optimal scale")
    require_one_of(kind, ResponseKind, "the optimal scale for")
    _check_branch(net)
    searched = _with_free_scale(net)
    base = kernel(searched, inputs=1)
    growth = _factor(base) * base.flat(base.definitions[-1][0])
    rate, amplitude = _rate_and_amplitude(searched, base, growth, kind)
    condition = amplitude.diff(K) * growth + amplitude * rate
    closed = reduce_area(close(condition, base.laws))
    citations = (Citation(REFERENCES["fischer2023"]), *base.citations[1:])
    return OptimalScale(
        net=searched,
        kind=kind,
        source=base,
        growth=growth,
        rate=rate,
        amplitude=amplitude,
        condition=_formula("condition", condition, sp.Integer(0), base),
        constant=_constant(growth, base),
        simpson=_simpson(growth, base),
        closed_constant=_closed_constant(growth, base),
        kernel_star=_kernel_star(closed, base),
        curves=_curves(base, growth, rate, condition, amplitude),
        slope=_slope(base, growth, rate, amplitude),
        trend=_trend(*(_at_numbers(e, base) for e in (closed, close(amplitude, base.laws)))),
        citations=citations,
    )


def _check_branch(net: ResNet) -> None:
    if isinstance(net.scale, tuple):
        raise UnsupportedError(
            "an optimal scale of blocks with different scales",
            "there is no single number to optimise",
            "describe the network with one scale",
        )
    # Averages over the neurons enter growth and rate; only noise and batches do not.
    maps = (*(step for step in net.branch.steps if not step.contracts), *net.head)
    if not all(step.label is not None or _is_certain(step.op) for step in maps):
        require_plain(net, "the optimal scale")
    require_sums(net, "the optimal scale")
    if not net.branch.is_gaussian:
        raise UnsupportedError(
            "the optimal scale of a branch that ends in an activation",
            "its mean makes the kernel depend on more than one number",
            "end the branch with a Linear()",
        )


def _is_certain(op: Map) -> bool:
    """Return whether an operation is linear given averages over the neurons, without noise."""
    return op.is_linear and op.over == "neurons" and not op.noise


def _with_free_scale(net: ResNet) -> ResNet:
    """Return the network with a symbol for the scale, which is what is looked for."""
    if isinstance(net.scale, sp.Symbol):
        return net
    return net.with_scale(RHO)


def _factor(base: Recursion) -> sp.Expr:
    """Return the factor that operations behind the last `Linear` put on its covariance."""
    rho = next(symbol for symbol, value in base.bindings if value == base.net.scale)
    return sp.cancel((base.update[0] - K) / (rho**2 * base.definitions[-1][0]))


def _rate_and_amplitude(
    net: ResNet, base: Recursion, growth: sp.Expr, kind: ResponseKind
) -> tuple[sp.Expr, sp.Expr]:
    """Return ``G(K)`` and ``A(K)`` by differentiating kernel and read-out."""
    hyper = Hyperparameters(net, dict(base.bindings))
    if kind == "variance":
        return growth.diff(K), read_out_moment(net, hyper, stream_of(base))[0].diff(K)
    pair = kernel(net, inputs=2)
    growth = _factor(base) * pair.flat(sp.Symbol("C_12", real=True)).diff(PAIR[1])
    moment = read_out_moment(net, hyper, stream_of(pair))[1].diff(PAIR[1])
    if kind == "tangent":
        return coincide(growth), coincide(moment)
    orthogonal = {PAIR[0]: K, PAIR[1]: sp.Integer(0), PAIR[2]: K}
    return (
        growth.subs(orthogonal, simultaneous=True),
        moment.subs(orthogonal, simultaneous=True),
    )


def _formula(name: str, lhs: sp.Expr, rhs: sp.Expr, base: Recursion, meaning: str = "") -> Formula:
    neglects = NEGLECTED.get(name, "")
    return Formula(name, lhs, rhs, meaning, neglects, base.citations, base.laws)


def _constant(growth: sp.Expr, base: Recursion) -> Formula:
    integral = sp.Integral(1 / growth, (K, K0, K_STAR))
    return _formula("constant", C_SQUARED, integral, base, "rho* = c / sqrt(L)")


def _simpson(growth: sp.Expr, base: Recursion) -> Formula:
    points = (K0, sp.sqrt(K0 * K_STAR), K_STAR)
    low, middle, high = (point / growth.subs(K, point) for point in points)
    rhs = sp.log(K_STAR / K0) / 6 * (low + 4 * middle + high)
    return _formula("simpson", C_SQUARED, rhs, base, "Simpson's rule in the logarithm of K")


def _closed_constant(growth: sp.Expr, base: Recursion) -> Formula | None:
    closed = close_elementary(growth, base.laws)
    if closed.has(GaussianExpectation):
        return None
    integral = integral_of(1 / closed, K, K0, K_STAR)
    return None if integral is None else _formula("constant", C_SQUARED, integral, base)


def _kernel_star(closed: sp.Expr, base: Recursion) -> Formula | None:
    solution = solve_for(closed, K)
    if solution is None:
        return None
    return _formula("kernel_star", K_STAR, solution, base, "kernel of the last layer at rho*")


def _curves(
    base: Recursion, growth: sp.Expr, rate: sp.Expr, condition: sp.Expr, amplitude: sp.Expr
) -> Recursion:
    """Return a recursion that stands still and reads the curves off its kernel."""
    net = base.net
    still = net.with_scale(1, depth=1)
    read = {"growth": growth, "rate": rate, "condition": condition, "amplitude": amplitude}
    outputs = tuple(Output(name, "final", (value,)) for name, value in read.items())
    return Recursion(
        title="kernel growth and condition of the optimal scale",
        net=still,
        inputs=1,
        state=(K,),
        initial=(K0,),
        update=(K,),
        outputs=outputs,
        bindings=tuple((s, v) for s, v in base.bindings if s != net.scale),
        laws=base.laws,
        citations=base.citations,
    )


def _slope(base: Recursion, growth: sp.Expr, rate: sp.Expr, amplitude: sp.Expr) -> Recursion:
    """Return the recursion for ``d ln(eta) / d rho`` at finite depth."""
    rho = next(symbol for symbol, value in base.bindings if value == base.net.scale)
    log_chi = sp.Symbol("ln_chi", real=True)
    objective = Recursion(
        title="logarithmic output response",
        net=base.net,
        inputs=1,
        state=(K, log_chi),
        initial=(K0, sp.Integer(0)),
        update=(K + rho**2 * growth, log_chi + sp.log(1 + rho**2 * rate)),
        bindings=base.bindings,
        laws=base.laws,
        citations=base.citations,
    )
    symbols = (sp.Symbol("dK_drho", real=True), sp.Symbol("dln_chi_drho", real=True))
    logarithm = sp.log(amplitude) + log_chi
    slope = total_derivative(logarithm, objective, rho, symbols)
    moving = differentiate(objective, rho, symbols)
    # A factor below zero turns the sign of the response, whose magnitude is what is compared.
    magnitude = log_chi + sp.log(sp.Abs(1 + rho**2 * rate))
    outputs = (
        Output("slope", "final", (slope,), meaning="d ln(eta) / d rho"),
        Output("level", "final", (log_chi + sp.log(sp.Abs(amplitude)),), meaning="ln|eta|"),
        Output("last", "final", (K,), meaning="K^L"),
    )
    update = (moving.update[0], magnitude, *moving.update[2:])
    return replace(moving, update=update, outputs=outputs)


def _at_numbers(expression: sp.Expr, base: Recursion) -> sp.Expr:
    """Return an expression with the numbers that the network has: at eps = 0 a response may vanish.

    Its floating-point value would be rounding error instead of zero.
    """
    given = {s: v for s, v in base.bindings if v.is_number and s.name != str(base.net.scale)}
    return expression.xreplace(given)


def _varies(condition: sp.Expr) -> bool:
    """Return whether a condition is seen to differ between two kernels, and to vanish at neither.

    Seen at two points in many digits, as expanding a long condition takes minutes. False says
    nothing.
    """
    if condition.has(GaussianExpectation):
        return False
    symbols = sorted(condition.free_symbols - {K}, key=lambda symbol: symbol.name)
    point = {s: sp.Rational(2 * k + 3, 2 * k + 8) for k, s in enumerate(symbols)}
    first, second = (
        value_of(condition, {**point, K: sp.Rational(*kernel)}) for kernel in ((5, 7), (13, 11))
    )
    if not (first.is_Float and second.is_Float):
        return False
    return bool(min(abs(first), abs(second), abs(first - second)) > SEEN)


def _trend(closed: sp.Expr, amplitude: sp.Expr) -> Trend:
    if _varies(closed):
        return "interior"
    simplified = sp.expand(closed)
    if not simplified.has(GaussianExpectation):
        simplified = sp.cancel(simplified)
    if simplified == 0:
        return "vanishing" if sp.expand(amplitude) == 0 else "constant"
    if not simplified.has(K) and simplified.is_positive:
        return "increasing"
    return "interior"
