"""`evaluate`: numbers from any result of the theory in one call."""

from __future__ import annotations

from typing import Any

from resexpand.codegen.one_loop import evaluate_one_loop
from resexpand.codegen.optimum import evaluate_optimal_scale
from resexpand.codegen.routine import compile_routine
from resexpand.codegen.values import Values
from resexpand.errors import UnsupportedError
from resexpand.theory.one_loop import OneLoop
from resexpand.theory.optimal_scale import OptimalScale
from resexpand.theory.recursion import Recursion


def evaluate(theory: Recursion | OptimalScale | OneLoop, **hyperparameters: Any) -> Values:
    """Compile and evaluate a result of the theory.

    Parameters
    ----------
    theory : Recursion, OptimalScale or OneLoop
        From `kernel`, `response`, `optimal_scale` or `one_loop`.
    **hyperparameters
        ``K0`` (the kernel at layer 0) or ``inputs`` (with a `read_in`), ``depth`` unless the
        network has a number, and every symbol of the network by name. Arrays broadcast.

    Returns
    -------
    Values
        Arrays by output name, the layer axis last; its ``status`` says whether to trust them.

    Raises
    ------
    HyperparameterError, KernelError
        If the hyperparameters do not fit the network.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet, evaluate, kernel
    >>> net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=3)
    >>> evaluate(kernel(net), K0=1.0)["K"]
    array([1., 2., 4., 8.])
    """
    if isinstance(theory, OptimalScale):
        return evaluate_optimal_scale(theory, **hyperparameters)
    if isinstance(theory, OneLoop):
        return evaluate_one_loop(theory, **hyperparameters)
    if isinstance(theory, Recursion):
        return compile_routine(theory)(**hyperparameters)
    raise UnsupportedError(
        f"evaluating {type(theory).__name__}",
        "it is not a recursion, an optimal scale or an order 1/N",
        "pass what kernel(), response(), optimal_scale() or one_loop() returns",
    )
