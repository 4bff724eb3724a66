"""`evaluate`: numbers from any result of the theory in one call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from resexpand.codegen.axes import axes_of
from resexpand.codegen.routine import Target, compile_routine
from resexpand.codegen.track import tracked, untracked
from resexpand.codegen.values import Values
from resexpand.conventions import WIDTH
from resexpand.errors import KernelError, UnsupportedError
from resexpand.numbers.batch import evaluate_batch
from resexpand.numbers.layer_kernel import evaluate_layer_kernel
from resexpand.numbers.one_loop import evaluate_one_loop
from resexpand.numbers.optimum import evaluate_optimal_scale
from resexpand.numbers.tangent_kernel import evaluate_tangent_kernel
from resexpand.progress import Progress
from resexpand.theory.batch import BatchRecursion
from resexpand.theory.gradients import GradientMoments
from resexpand.theory.layer_kernel import LayerKernel
from resexpand.theory.one_loop import OneLoop
from resexpand.theory.optimal_scale import OptimalScale
from resexpand.theory.recursion import Recursion
from resexpand.theory.tangent_kernel import TangentKernel

ON_THE_HOST = "the order 1/N is put together from small matrices on the host"


def evaluate(
    theory: Recursion | OptimalScale | OneLoop | GradientMoments | LayerKernel,
    *,
    target: Target = "cpu",
    outputs: str | Iterable[str] | None = None,
    progress: Progress = None,
    **hyperparameters: Any,
) -> Values:
    """Compile and evaluate a result of the theory.

    Parameters
    ----------
    theory : Recursion, OptimalScale, OneLoop, GradientMoments or LayerKernel
        From `kernel`, `tangent_kernel`, `response`, `optimal_scale`, `one_loop` or
        `gradient_moments`.
    target : {"cpu", "cuda", "auto"}
        Where to compute; ``"auto"`` takes a GPU if there is one that can be used. The result's
        ``target`` says where it was, and why. The order 1/N is for the CPU.
    outputs : str or iterable of str, optional
        Names of what to compute; everything by default, of a tangent kernel without layers where
        they would be large. Only these are computed and filled: the response between all layers,
        ``chi``, takes ``8 (L + 1)^2`` bytes per point.
    progress : callable, bool or None, optional
        A function is called with the parts of the work that are done and all of them, 1000. True
        shows a bar on a terminal or in a notebook, and lines elsewhere, once a second has passed;
        False nothing; None does as True after three seconds on a terminal or in a notebook. How
        long the search for an optimal scale takes is not known before it ends.
    **hyperparameters
        ``K0`` (the kernel at layer 0) or ``inputs`` (with a `read_in`), ``depth`` unless the
        network has a number, and every symbol of the network by name. Arrays broadcast. A
        recursion of two inputs takes any number D of them, as ``K0`` of shape ``(..., D, D)`` or
        as ``inputs``; with ``others=`` it runs between two sets of data, D1 and D2 rows. On
        ``"cuda"`` an array may lie on the device (anything with ``__cuda_array_interface__``);
        then the results stay there, too.

    Returns
    -------
    Values
        Arrays by output name, the layer axis last; kernels of several inputs have shape ``grid +
        (L + 1, D, D)``, between two sets ``(L + 1, D1, D2)``. For other than two inputs a response
        is a matrix, too: ``eta`` is ``(D, D)``, ``chi`` ``(L + 1, L + 1, D, D)``. The ``status``
        says whether to trust them, ``notes`` what was rounded about the kernel at layer 0.

    Raises
    ------
    HyperparameterError, KernelError
        If the hyperparameters do not fit the network, or there is no such output.
    HostMemoryError
        If the outputs would not fit into memory; nothing has been computed then.
    DeviceError
        If ``target="cuda"`` and no GPU can be used, with what is missing.
    DeviceMemoryError
        If not even a small part of the grid fits the memory of the GPU.
    UnsupportedError
        If the target does not know this theory, or a function in it.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet, evaluate, kernel
    >>> net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=3)
    >>> evaluate(kernel(net), K0=1.0)["K"]
    array([1., 2., 4., 8.])
    """
    with tracked(progress):
        values = _evaluated(theory, target, outputs, hyperparameters)
    values.axes = axes_of(theory, hyperparameters)
    return values


def _evaluated(
    theory: Recursion | OptimalScale | OneLoop | GradientMoments | LayerKernel,
    target: Target,
    outputs: str | Iterable[str] | None,
    hyperparameters: dict[str, Any],
) -> Values:
    if isinstance(theory, OptimalScale):
        with untracked():
            return evaluate_optimal_scale(theory, target=target, outputs=outputs, **hyperparameters)
    if isinstance(theory, OneLoop):
        if target not in ("cpu", "auto"):
            raise UnsupportedError(
                f"the order 1/N on target {target!r}",
                ON_THE_HOST,
                "use target='cpu'; what kernel() and response() return runs on a GPU",
            )
        values = evaluate_one_loop(theory, outputs=outputs, **hyperparameters)
        values.target = "cpu" if target == "cpu" else f"cpu ({ON_THE_HOST})"
        return values
    if isinstance(theory, BatchRecursion | LayerKernel):
        compute = evaluate_batch if isinstance(theory, BatchRecursion) else evaluate_layer_kernel
        return compute(theory, target=target, outputs=outputs, **hyperparameters)
    if isinstance(theory, GradientMoments):
        return _gradients(theory, target, hyperparameters)
    if isinstance(theory, TangentKernel):
        values = evaluate_tangent_kernel(theory, target=target, outputs=outputs, **hyperparameters)
        _require_variance(theory, values)
        return values
    if isinstance(theory, Recursion):
        values = compile_routine(theory, target, outputs)(**hyperparameters)
        _require_variance(theory, values)
        if any(symbol == value == WIDTH for symbol, value in theory.bindings):
            width = np.asarray(hyperparameters.get("width", hyperparameters.get(WIDTH.name)))
            values.width = int(width) if width.ndim == 0 else None
        return values
    raise UnsupportedError(
        f"evaluating {type(theory).__name__}",
        "it is not a recursion, an optimal scale or an order 1/N",
        "pass what kernel(), response(), optimal_scale() or one_loop() returns",
    )


def _gradients(theory: GradientMoments, target: Target, given: dict[str, Any]) -> Values:
    """Evaluate the tangent response and read it from the last layer back."""
    values = compile_routine(theory.tangent, target, ("chi_0", "eta", "K"))(**given)
    values["gradient"] = values.pop("eta")[..., None] / values.pop("chi_0")
    return values


def _require_variance(theory: Recursion, values: Values) -> None:
    """Raise if a normalisation divides by a variance that vanishes."""
    net = theory.net
    steps = (*(step for branch in net.kinds for step in branch.steps), *net.post, *net.head)
    norms = [step.op for step in steps if step.normalises]
    if not norms or "K" not in values or not any("not a number" in p for p in values.problems):
        return
    start = np.asarray(values["K"])[..., 0] if theory.inputs == 1 else _variances(values["K"])
    if (start == 0).any():
        raise KernelError(
            f"{norms[0]!r} of a stream with K0 = 0",
            "its variance vanishes, and the normalisation divides by it",
            "give K0 > 0, or eps > 0",
        )


def _variances(kernels: Any) -> np.ndarray:
    """Return the diagonal of the kernels at layer 0."""
    return np.diagonal(np.asarray(kernels)[..., 0, :, :], axis1=-2, axis2=-1)
