"""`evaluate`: numbers from any result of the theory in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from resexpand.codegen.axes import axes_of
from resexpand.codegen.routine import Target, compile_routine
from resexpand.codegen.schedule import chosen_names
from resexpand.codegen.track import tracked, untracked
from resexpand.codegen.values import Values
from resexpand.conventions import WIDTH
from resexpand.errors import KernelError, UnsupportedError
from resexpand.network.numbers import whole_number
from resexpand.numbers.batch import evaluate_batch
from resexpand.numbers.column_response import evaluate_column_response
from resexpand.numbers.columns import evaluate_columns
from resexpand.numbers.finite_optimum import with_width
from resexpand.numbers.layer_inputs import evaluate_layers
from resexpand.numbers.one_loop import evaluate_finite_response, evaluate_one_loop
from resexpand.numbers.optimum import evaluate_optimal_scale
from resexpand.numbers.request import Request
from resexpand.numbers.several_depths import over_depths
from resexpand.numbers.tangent_kernel import evaluate_tangent_kernel
from resexpand.numbers.two_loop import evaluate_two_loop
from resexpand.progress import Progress
from resexpand.theory.batch import BatchRecursion
from resexpand.theory.column_response import ColumnResponse
from resexpand.theory.columns import ColumnRecursion
from resexpand.theory.finite_response import FiniteResponse, finite_response
from resexpand.theory.gradients import GradientMoments
from resexpand.theory.layer_kernel import LayerKernel
from resexpand.theory.one_loop import OneLoop
from resexpand.theory.optimal_scale import OptimalScale
from resexpand.theory.recursion import Recursion
from resexpand.theory.response import Response
from resexpand.theory.tangent_kernel import TRAINABLE, TangentKernel
from resexpand.theory.two_loop import TwoLoop

Theory = (
    Recursion
    | OptimalScale
    | OneLoop
    | FiniteResponse
    | GradientMoments
    | ColumnResponse
    | LayerKernel
)
"""What `evaluate` takes."""

ON_THE_HOST = "the order 1/N is put together from small matrices on the host"

OF_THEIR_OWN: dict[type, Callable[[Any, Request], Values]] = {
    BatchRecursion: evaluate_batch,
    ColumnRecursion: evaluate_columns,
    ColumnResponse: evaluate_column_response,
    LayerKernel: evaluate_layers,
    TwoLoop: lambda theory, asked: evaluate_two_loop(
        theory, target=asked.target, outputs=asked.outputs, **asked.given
    ),
}
"""Theories that are evaluated by loops of their own."""

BETWEEN_LAYERS = {f"chi_{name}" for name in ("shift", "var", "mean", "deviation")}
"""Order 1/N of the response between all layers, which takes one expansion per layer."""


def evaluate(
    theory: Theory,
    *,
    target: Target = "cpu",
    outputs: str | Iterable[str] | None = None,
    progress: Progress = None,
    **hyperparameters: Any,
) -> Values:
    """Compile and evaluate a result of the theory.

    Parameters
    ----------
    theory : Theory
        From `kernel`, `tangent_kernel`, `response`, `optimal_scale`, `one_loop`, `finite_response`
        or `gradient_moments`.
    target : {"cpu", "cuda", "numpy", "auto"}
        Where to compute; ``"numpy"`` runs the same text on arrays without a compiler
        (`resexpand.codegen.on_arrays`); ``"auto"`` takes a GPU if there is one that can be used.
        The result's ``target`` says where it was, and why. The order 1/N is for the CPU.
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
        network has a number, and every symbol of the network by name. Arrays broadcast; of several
        depths the shallower networks have NaN at the layers they lack. A recursion of two inputs
        takes any number D of them, as ``K0`` of shape ``(..., D, D)`` or as ``inputs``; with
        ``others=`` it runs between two sets of data, D1 and D2 rows. On ``"cuda"`` an array may
        lie on the device (anything with ``__cuda_array_interface__``); then the results stay
        there, too. ``width``, one integer, adds the order 1/N of responses and gradients
        (`resexpand.finite_response`), between all layers if `outputs` names ``chi_mean``,
        ``chi_deviation``, ``chi_shift`` or ``chi_var``, and how optimal scales move with it
        (`resexpand.numbers.finite_optimum`).

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
    >>> import sympy as sp
    >>> from resexpand import Activation, Branch, Linear, ResNet, evaluate, kernel
    >>> net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=3)
    >>> evaluate(kernel(net), K0=1.0)["K"]
    array([1., 2., 4., 8.])
    >>> depth = sp.Symbol("L")
    >>> net = ResNet(net.branch, scale=1 / sp.sqrt(depth), depth=depth)
    >>> evaluate(kernel(net), depth=[1, 3], K0=1.0)["K"].round(3)
    array([[1.   , 2.   ,   nan,   nan],
           [1.   , 1.333, 1.778, 2.37 ]])
    """
    with tracked(progress):
        values = over_depths(
            theory, hyperparameters, lambda given: _of(theory, Request(target, outputs, given))
        )
    values.axes = axes_of(theory, hyperparameters)
    return values


def _of(theory: Theory, asked: Request) -> Values:
    if isinstance(theory, OptimalScale):
        return _of_optimum(theory, asked)
    if isinstance(theory, OneLoop | FiniteResponse):
        return _of_order_one(theory, asked)
    for kind, compute in OF_THEIR_OWN.items():
        if isinstance(theory, kind):
            return compute(theory, asked)
    if isinstance(theory, GradientMoments | Recursion):
        return _of_recursion(theory, asked)
    raise UnsupportedError(
        f"evaluating {type(theory).__name__}",
        "it is not a recursion, an optimal scale or an order 1/N",
        "pass what kernel(), response(), optimal_scale() or one_loop() returns",
    )


def _of_optimum(theory: OptimalScale, asked: Request) -> Values:
    with untracked():
        if not _asks_for_width(theory, asked.given):
            return evaluate_optimal_scale(theory, asked)
        left = dict(asked.given)
        width = whole_number(left.pop("width"), "width", least=1)
        values = evaluate_optimal_scale(theory, Request(asked.target, given=left))
        return _chosen(with_width(theory, values, width, left), asked)


def _of_recursion(theory: Recursion | GradientMoments, asked: Request) -> Values:
    # In the standard parametrisation the width is a hyperparameter.
    standard = isinstance(theory, TangentKernel) and theory.parametrisation == "standard"
    if (
        isinstance(theory, GradientMoments | Response | TangentKernel)
        and not standard
        and _asks_for_width(theory, asked.given)
    ):
        return _at_width(theory, asked)
    if isinstance(theory, GradientMoments):
        return _gradients(theory, asked)
    if isinstance(theory, TangentKernel):
        values = evaluate_tangent_kernel(theory, asked)
    else:
        values = compile_routine(theory, asked.target, asked.outputs)(**asked.given)
    _require_variance(theory, values)
    if theory.takes_width:
        width = np.asarray(asked.given.get("width", asked.given.get(WIDTH.name)))
        values.width = int(width) if width.ndim == 0 else None
    return values


def _of_order_one(theory: OneLoop | FiniteResponse, asked: Request) -> Values:
    asked.require_host("the order 1/N", ON_THE_HOST)
    compute = evaluate_one_loop if isinstance(theory, OneLoop) else evaluate_finite_response
    values: Values = compute(theory, outputs=asked.outputs, **asked.given)  # type: ignore[arg-type]
    values.target = "cpu" if asked.target == "cpu" else f"cpu ({ON_THE_HOST})"
    return values


def _asks_for_width(
    theory: GradientMoments | Recursion | OptimalScale, given: Mapping[str, Any]
) -> bool:
    """Whether a width is given that is no hyperparameter of the network itself."""
    net = theory.tangent.net if isinstance(theory, GradientMoments) else theory.net
    return "width" in given and "width" not in {s.name for s in net.free_symbols}


def _at_width(theory: Response | TangentKernel | GradientMoments, asked: Request) -> Values:
    """Evaluate a response at infinite width and to order 1/N at the width that is given."""
    if isinstance(theory, GradientMoments):
        order = finite_response(theory.tangent.net, "gradient")
    elif isinstance(theory, TangentKernel):
        if theory.inputs > 1 or theory.trained != TRAINABLE:
            raise UnsupportedError(
                f"the {theory.title} at a width",
                "its order 1/N is known for one input and all parameters",
                "use tangent_kernel(net), or leave out width=",
            )
        order = finite_response(theory.net, "parameters")
    else:
        names = [asked.outputs] if isinstance(asked.outputs, str) else asked.outputs
        named = isinstance(names, Iterable) and not BETWEEN_LAYERS.isdisjoint(names)
        between = theory.kind == "variance" and named
        order = finite_response(theory.net, "layers" if between else theory.kind)
    finite = evaluate_finite_response(order, **asked.given)
    limit = {name: value for name, value in asked.given.items() if name != "width"}
    values = _of(theory, Request(asked.target, given=limit))
    whole = Values(
        {**finite, **values},
        values.depth,
        tuple(dict.fromkeys((*values.problems, *finite.problems))),
        {**finite.quadrature_error, **values.quadrature_error},
        tuple(dict.fromkeys((*values.citations, *finite.citations))),
        values.target,
        values.notes,
    )
    whole.width = finite.width
    return _chosen(whole, asked)


def _chosen(values: Values, asked: Request) -> Values:
    """Keep the outputs that were asked for."""
    for name in set(values) - set(chosen_names(asked.outputs, list(values), "a result at a width")):
        del values[name]
    return values


def _gradients(theory: GradientMoments, asked: Request) -> Values:
    """Evaluate the tangent response and read it from the last layer back."""
    names = chosen_names(asked.outputs, ("K", "gradient"), "a theory of gradients")
    factors = {"K": ("K",), "gradient": ("chi_0", "eta")}
    wanted = [factor for name in names for factor in factors[name]]
    values = compile_routine(theory.tangent, asked.target, wanted)(**asked.given)
    if "gradient" in names:
        with np.errstate(invalid="ignore"):
            values["gradient"] = values.pop("eta")[..., None] / values.pop("chi_0")
        if not values.problems and np.isnan(values["gradient"]).any():
            why = "no tangent of the input reaches all layers, from which they are read"
            values.problems = (f"gradient is not a number at some entries: {why}",)
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
