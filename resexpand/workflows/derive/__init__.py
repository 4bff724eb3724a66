r"""`derive`: the steps of a theory of any network, each checked without the theory.

The words and equations come from `kernel`, `response`, `optimal_scale` and `one_loop`. They are
checked against a `Witness`: the network walked through with integrals, fifty digits for values and
twelve for derivatives. Where there are no such integrals, random networks are sampled instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import mpmath

from resexpand.errors import DescriptionError, HyperparameterError
from resexpand.network.requirements import require_independent_layers
from resexpand.network.resnet import ResNet
from resexpand.theory.derivation import Derivation
from resexpand.theory.finite_response import FiniteKind
from resexpand.theory.kernel import Inputs
from resexpand.theory.response import ResponseKind
from resexpand.theory.verification import DIGITS
from resexpand.workflows.derive.finite_response import finite_response_steps
from resexpand.workflows.derive.one_loop import one_loop_steps
from resexpand.workflows.derive.optimal_scale import optimal_scale_steps
from resexpand.workflows.derive.propagation import kernel_steps, response_steps
from resexpand.workflows.derive.witness import Witness

Of = Literal["kernel", "response", "optimal-scale", "one-loop", "finite-response"]

_TITLES = {
    "kernel": "Covariance kernel",
    "response": "Response of the {kind}",
    "optimal-scale": "Optimal residual scale of the {kind} response",
    "one-loop": "Order 1/N",
    "finite-response": "Response of kind {kind} at finite width",
}
_STEPS: dict[str, Callable[[Derivation, Witness, Any], object]] = {
    "kernel": kernel_steps,
    "response": response_steps,
    "optimal-scale": optimal_scale_steps,
    "one-loop": lambda derivation, witness, _: one_loop_steps(derivation, witness),
    "finite-response": finite_response_steps,
}


def derive(
    net: ResNet,
    of: Of = "response",
    *,
    kind: ResponseKind | FiniteKind = "variance",
    inputs: Inputs = 1,
    at: Mapping[Any, Any] | None = None,
    announce: Callable[[str], None] | None = None,
) -> Derivation:
    r"""Derive a result of the theory step by step, and check every step.

    Parameters
    ----------
    net : ResNet
        The network; any hyperparameter may be symbolic.
    of : {"kernel", "response", "optimal-scale", "one-loop", "finite-response"}
        Which result.
    kind : {"variance", "covariance", "tangent", "gradient", "parameters"}
        Of a response, and of the optimal scale: what is perturbed. The last two, and no covariance,
        for ``"finite-response"``.
    inputs : int, "batch", "masks" or "positions"
        Of a kernel: how many inputs, or what its columns are, as for `kernel`.
    at : mapping, optional
        Numbers at which formulas are checked, by symbol or name, ``K0`` among them. Symbols that
        are not named get one.
    announce : callable, optional
        Called with the text of every step as it is taken; `print` narrates to a terminal.

    Returns
    -------
    Derivation
        Its steps can be shown, replaced and extended: ``derivation[2]``, ``derivation.replace(2,
        {"C": ...})``, ``derivation.step(...)``. `to_latex` writes it. The words name the networks
        that were sampled, where a network has no integrals to check it by.

    Raises
    ------
    DerivationError
        If a check fails.
    HyperparameterError
        If there is no such result, or a symbol of `at` does not occur.
    UnsupportedError
        If the theory does not cover the network.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet, derive
    >>> net = ResNet(Branch(Activation("tanh"), Linear()), scale=0.3, depth=20)
    >>> derivation = derive(net, "kernel")
    >>> print(derivation[1].verified[0])
    kernel behind 2 blocks, against integrals: 0.35283896 = 0.35283896 (45 of 50 digits)
    """
    if not isinstance(net, ResNet):
        raise DescriptionError(
            f"the derivation of {net!r}",
            f"it is of type {type(net).__name__}",
            "give ResNet(Branch(...), scale=..., depth=...)",
        )
    if of not in _STEPS:
        raise HyperparameterError(
            f"the derivation of {of!r}", "it is unknown", f"use one of {get_args(Of)}"
        )
    if of != "kernel":
        require_independent_layers(net, f"the derivation of {of!r}")
        if inputs != 1:
            raise HyperparameterError(
                f"the derivation of {of!r} with inputs={inputs!r}",
                "several columns have steps for the kernel alone",
                'leave inputs out, or derive "kernel"',
            )
    derivation = Derivation(_TITLES[of].format(kind=kind), announce=announce)
    with mpmath.workdps(DIGITS + 5):
        _STEPS[of](derivation, Witness(net, at), inputs if of == "kernel" else kind)
    return derivation
