r"""Response functions: how a perturbation of the input kernel travels through the layers.

Three responses are derived by differentiating the kernel recursion with Price's theorem:

- ``variance``: ``chi^{l,m} = dK^l/dK^m`` for one input; for ``W phi(h) + b`` each factor is
  ``1 + rho^2 sigma_w2 <phi'^2 + phi phi''>``.
- ``covariance``: ``chi^{l,m} = dK_12^l/dK_12^m`` for two inputs, factors
  ``1 + rho^2 sigma_w2 <phi'(x_1) phi'(x_2)>``.
- ``tangent``: the same at coinciding inputs, which is the growth of the squared norm of a tangent
  vector v independent of the input, ``h.v / N = 0`` at all layers; factors
  ``1 + rho^2 sigma_w2 <phi'^2>``, behind a normalisation ``.. <phi'^2> / (K + eps)``.

The output response is ``eta = d(sigma_out2 <phi phi>_{K^L}) / dK^0``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, cast, overload

import sympy as sp

from resexpand.conventions import PAIR, K
from resexpand.gaussian.expectation import merged
from resexpand.network.requirements import require_network, require_one_of
from resexpand.network.resnet import ResNet
from resexpand.references import REFERENCES, Citation
from resexpand.theory.coins import require_constant
from resexpand.theory.column_response import ColumnResponse, column_response
from resexpand.theory.differentiation import (
    differentiate,
    jacobian,
    total_derivative,
    vanishing_tangents,
)
from resexpand.theory.hyperparameters import Hyperparameters
from resexpand.theory.kernel import (
    conditional_kernel,
    kernel,
    mean_symbols,
    read_out_moment,
    stream_of,
)
from resexpand.theory.layer_kernel import layer_kernel
from resexpand.theory.noise import averaged
from resexpand.theory.recursion import Output, Recursion

ResponseKind = Literal["variance", "covariance", "tangent"]
Columns = Literal["batch", "positions"]


@dataclass(frozen=True, repr=False)
class Response(Recursion):
    """A response function at infinite width, which knows of what kind it is.

    Attributes
    ----------
    kind : str
        ``"variance"``, ``"covariance"`` or ``"tangent"``.
    """

    kind: ResponseKind = "variance"


@overload
def response(net: ResNet, kind: ResponseKind = ..., inputs: None = ...) -> Response: ...
@overload
def response(net: ResNet, kind: ResponseKind = ..., *, inputs: Columns) -> ColumnResponse: ...
def response(
    net: ResNet,
    kind: ResponseKind = "variance",
    inputs: Columns | None = None,
) -> Response | ColumnResponse:
    """Derive a response function.

    Parameters
    ----------
    net : ResNet
        The network; any hyperparameter may be symbolic.
    kind : {"variance", "covariance", "tangent"}
        Which perturbation: of the variance of one input, of the covariance of two inputs, or a
        tangent vector at one input.
    inputs : {"batch", "positions"}, optional
        As for `kernel`, where columns couple: of all inputs of a batch, or at all positions. There
        the variances and covariances of all columns respond together.

    Returns
    -------
    Response or ColumnResponse
        A `Recursion`. Outputs ``chi`` (entries ``[l, m]``, zero for ``m > l``), ``chi_0`` (its
        column ``m = 0``), ``eta`` (output response at depth L, unit read-out variance if the
        network has no read-out), ``eta_layers`` (a read-out attached after each of the layers ``0
        .. L``), and the kernel ``K``. Exact at infinite width; with ``width=`` evaluation adds mean
        and standard deviation to order 1/N (`resexpand.finite_response`). With ``layers=`` a
        `resexpand.theory.layer_kernel.LayerKernel`, without ``chi``: what a later layer does
        depends on the whole history. With ``inputs=`` a
        `resexpand.theory.column_response.ColumnResponse`: of n columns ``eta`` is a tensor of shape
        ``(n, n, n, n)``, ``chi_0`` ``(L + 1, n, n, n, n)`` and ``chi``, if asked for, ``(L + 1, L +
        1, n, n, n, n)``; with ``dK0=``, a change at layer 0, ``eta`` and ``chi_0`` are what becomes
        of it, shapes ``(n, n)`` and ``(L + 1, n, n)``.

    Raises
    ------
    HyperparameterError
        If the kind is unknown.
    UnsupportedError
        When it is evaluated or unrolled: if the response does not exist (a tangent through a jump).

    References
    ----------
    Fischer, Dahmen & Helias (2023) for the response functions; Price (1958) for the derivatives.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet, response
    >>> net = ResNet(Branch(Activation("relu"), Linear()), scale=1, depth=2)
    >>> response(net).unroll(2)["eta"]
    [(sigma_w2/2 + 1)**2/2]
    """
    require_network(net, "the response")
    require_one_of(kind, ResponseKind, "the response of kind")
    if inputs is not None:
        return column_response(net, "tangent" if kind == "tangent" else "covariance", inputs)
    if net.layers is not None:
        if kind == "covariance":
            return cast(Response, layer_kernel(net, "pair", inputs=2))
        whole: Any = layer_kernel(net, kind)
        return cast(Response, whole)
    found = {"variance": _variance, "covariance": _covariance, "tangent": _tangent}[kind](net)
    return Response(**{f.name: getattr(found, f.name) for f in fields(found)}, kind=kind)


def _variance(net: ResNet) -> Recursion:
    return _responding(kernel(net, inputs=1), component=0, title="variance response")


def _covariance(net: ResNet) -> Recursion:
    return _responding(kernel(net, inputs=2), component=1, title="covariance response")


def _responding(base: Recursion, component: int, title: str) -> Recursion:
    """Differentiate a kernel recursion with respect to one of its entries at layer 0."""
    hyper = Hyperparameters(base.net, dict(base.bindings))
    amplitude = _read_out_amplitude(base.net, hyper)
    entry = base.initial[component]
    symbols = tuple(sp.Symbol(f"chi_{s.name}", real=True) for s in base.state)
    moment = read_out_moment(base.net, hyper, stream_of(base))
    still = dict.fromkeys(vanishing_tangents(base, entry, symbols), sp.Integer(0))
    moved = total_derivative(moment[component], base, entry, symbols)
    eta = amplitude * moved.xreplace(still)
    moving = differentiate(base, entry, symbols)
    named = replace(moving, title=title, bindings=tuple(hyper.bindings.items()))
    chi = _propagator(*_factors(base, component))
    return _with_outputs(named, base.output("K"), chi, symbols[component], eta)


def _tangent(net: ResNet) -> Recursion:
    """Derive the covariance response at coinciding inputs, on the kernel of one input."""
    # A tangent meets the masks of its input.
    base, (pair, coins) = kernel(net, inputs=1), conditional_kernel(net, "same")
    factor = coincide(averaged(pair.flat_update[1], coins).diff(PAIR[1]))
    if coins:
        require_constant(factor, base)
    hyper = Hyperparameters(net, dict(base.bindings))
    moment = read_out_moment(net, hyper, stream_of(pair, "same"))[1]
    growth = sp.Symbol("chi_K", real=True)
    eta = _read_out_amplitude(net, hyper) * coincide(moment.diff(PAIR[1])) * growth
    moving = replace(
        base,
        title="tangent response",
        state=(*base.state, growth),
        initial=(*base.initial, sp.Integer(1)),
        update=(*base.update, factor * growth),
        bindings=tuple(hyper.bindings.items()),
    )
    chi = _propagator(sp.ImmutableMatrix([[factor]]), 0)
    return _with_outputs(moving, base.output("K"), chi, growth, eta)


def _read_out_amplitude(net: ResNet, hyper: Hyperparameters) -> sp.Expr:
    if net.read_out is None:
        return sp.Integer(1)
    return hyper.variances(net.read_out, "_out")[0]


def _propagator(factors: sp.ImmutableMatrix, component: int) -> Output:
    position = (sp.Integer(component), sp.Integer(component))
    return Output("chi", "propagator", position, matrix=factors, meaning="response of l to m")


def _with_outputs(
    recursion: Recursion, kernel_output: Output, chi: Output, growth: sp.Symbol, eta: sp.Expr
) -> Recursion:
    outputs = (
        chi,
        Output("chi_0", "trajectory", (growth,), meaning="response of layer l to the input"),
        Output("eta", "final", (eta,), meaning="output response"),
        Output("eta_layers", "trajectory", (eta,), meaning="output response after each layer"),
        kernel_output,
    )
    own = (Citation(REFERENCES["fischer2023"]), Citation(REFERENCES["price1958"]))
    citations = tuple(dict.fromkeys((*own, *recursion.citations)))
    return replace(recursion, outputs=outputs, citations=citations)


def _factors(base: Recursion, component: int) -> tuple[sp.ImmutableMatrix, int]:
    """Return the matrix whose ordered products hold the response, and its position in them.

    Where the responding entry is an eigendirection of the Jacobian (nothing else feels it), one
    diagonal entry suffices and products of matrices become products of numbers.
    """
    full = jacobian(base)
    others = [full[row, component] for row in range(full.rows) if row != component]
    if any(other != 0 for other in others):
        return full, component
    return sp.ImmutableMatrix([[full[component, component]]]), 0


def coincide(expression: sp.Expr) -> sp.Expr:
    """Set two inputs equal in an expression of the pair kernel.

    Averages over the pair become averages over one variable after Price's theorem has been
    applied, and the kernel entries 11, 12, 22 become ``K``, both means ``m``.
    """
    replaced = merged(expression)
    (mean,) = mean_symbols((K,))
    alike = dict.fromkeys(PAIR, K) | dict.fromkeys(mean_symbols(PAIR), mean)
    return replaced.subs(alike, simultaneous=True)
