"""The registry of routines that the tests of the CUDA target go through."""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    exact_moments,
    kernel,
    optimal_scale,
    order_profile,
    response,
)
from resexpand.theory.recursion import Recursion

RHO = sp.Symbol("rho", positive=True)
DEPTH = sp.Symbol("L", integer=True, positive=True)
X = sp.Symbol("x", real=True)

ACTIVATIONS = (
    "identity",
    "erf",
    "erf_unit",
    "relu",
    "leaky_relu",
    "tanh",
    "gelu",
    "silu",
    "sin",
    "sign",
)


def network(activation: str | sp.Expr, scale: object = RHO) -> ResNet:
    """Return the network of a case: one activation, one linear operation, symbols for the rest."""
    return ResNet(Branch(Activation(activation), Linear()), scale=scale, depth=DEPTH)


def per_block(activation: str) -> ResNet:
    """Return a network with a scale of its own in each of three blocks."""
    scales = [sp.Symbol(f"rho_{k}", positive=True) for k in range(3)]
    return ResNet(Branch(Activation(activation), Linear()), scale=scales, depth=3)


KINDS: dict[str, Callable[[ResNet], Recursion]] = {
    "kernel": kernel,
    "kernel of two inputs": lambda net: kernel(net, inputs=2),
    "response": response,
    "response of covariance": lambda net: response(net, "covariance"),
    "response of tangent": lambda net: response(net, "tangent"),
}

OTHERS: dict[str, Callable[[], Recursion]] = {
    "erf, a scale per block: kernel": lambda: kernel(per_block("erf")),
    "erf, a scale per block: kernel of two inputs": lambda: kernel(per_block("erf"), inputs=2),
    "kinked bump: kernel": lambda: kernel(network(sp.Abs(X - 1) * sp.exp(-(X**2)))),
    "kinked bump: kernel of two inputs": lambda: kernel(
        network(sp.Abs(X - 1) * sp.exp(-(X**2))), inputs=2
    ),
    "erf: optimal scale, curves": lambda: optimal_scale(network("erf")).curves,
    "erf: optimal scale, slope": lambda: optimal_scale(network("erf")).slope,
    "tanh: optimal scale, curves": lambda: optimal_scale(network("tanh")).curves,
    "identity: exact moments": lambda: exact_moments(network("identity")),
    "identity: order profile": lambda: order_profile(network("identity"), 4, "chaos"),
    "erf: order profile": lambda: order_profile(network("erf"), 3, "taylor"),
}

REGISTRY: dict[str, Callable[[], Recursion]] = {
    **{
        f"{name}: {kind}": (lambda name=name, make=make: make(network(name)))
        for name in ACTIVATIONS
        for kind, make in KINDS.items()
        if (name, kind) != ("sign", "response of tangent")  # an infinite average
    },
    **OTHERS,
}
