"""Maps of a branch that multiply a signal by a number at infinite width, normalisations above all.

A `Scale` multiplies by a constant; a normalisation by a function of the second moment of what it
acts on, which is a number at infinite width. For ``RMSNorm`` and ``LayerNorm`` of a signal without
mean it is ``gamma / sqrt(s + eps)``.
"""

from __future__ import annotations

import sympy as sp

from resexpand.errors import UnsupportedError
from resexpand.network.operation import X
from resexpand.network.requirements import require_laws
from resexpand.network.resnet import ResNet
from resexpand.network.steps import Step
from resexpand.theory.hyperparameters import Hyperparameters

VARIANCE = sp.Symbol("variance", positive=True)
"""Second moment of the signal, the argument of a multiplier."""


def multiplies(step: Step) -> bool:
    """Whether a step multiplies by a number that the second moment of its signal fixes."""
    if step.contracts or step.op.random or step.op.over != "neurons" or not step.op.is_linear:
        return False
    return all(value in (0, X**2) for value in _averages(step).values())


def multiplier(step: Step, hyper: Hyperparameters) -> sp.Expr:
    """Return the number that a step multiplies with, a function of `VARIANCE`."""
    at: dict[sp.Expr, sp.Expr] = {**hyper.of_step(step), **step.op.certain}
    at |= {s: VARIANCE if value else sp.Integer(0) for s, value in _averages(step).items()}
    return step.op.derivative(1).xreplace(at)


def require_multipliers(net: ResNet, asked: str) -> None:
    """Raise the one error of maps with which the profile of a network is not derived.

    Raises
    ------
    UnsupportedError
        If the stream is normalised, a map neither states a law nor multiplies by a number, or a
        mean is not zero where one is subtracted.
    """
    branch = net.branch
    named = [s for s in (*branch.steps, *net.head) if not s.contracts and not s.op.random]
    require_laws([s for s in named if not multiplies(s)], asked)
    for step in net.post:
        raise UnsupportedError(
            f"{asked} of a network with {step.op!r} behind its blocks",
            "it is no sum over paths that pass through k branches: the normalisation of a block "
            "rescales all orders in front of it, by what the block adds",
            "normalise inside the branch; kernel(net) and response(net) take the stream as it is",
        )
    for step in branch.steps:
        if step.label is not None or not multiplies(step) or not step.op.averages:
            continue
        before = branch.steps[: step.position]
        activated = next((s for s in before[::-1] if s.contracts or s.label is not None), step)
        odd = not all(_averages(step).values())
        if not branch.is_gaussian or (odd and activated.label is not None):
            raise UnsupportedError(
                f"{asked} of a network with {step.op!r}",
                "an activation gives what it normalises a mean, which differs from order to order",
                "put it in front of the activation, in a branch that ends in Linear(); or use "
                "kernel(net) and sample()",
            )


def _averages(step: Step) -> dict[sp.Symbol, sp.Expr]:
    """Return the averages of a step as functions of a signal without mean: odd ones vanish."""
    found: dict[sp.Symbol, sp.Expr] = {}
    for symbol, value in step.op.averages:
        function = value.xreplace(found)
        found[symbol] = function if sp.expand(function + function.subs(X, -X)) else sp.Integer(0)
    return found
