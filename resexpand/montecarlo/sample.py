"""Sample networks of finite width and average what can be read off them.

    sample(net, ["kernel"], width=100, draws=10_000, K0=1.0, seed=1)["kernel"].mean

draws independent networks from the law of the description (fresh Gaussian weights and biases in
every layer) and returns mean, standard error and health of each observable. The networks are those
with numbers 0 ... draws - 1 of the ensemble with this seed, whatever the number of threads.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray

from resexpand.errors import HyperparameterError, KernelError, StoreError, UnsupportedError
from resexpand.montecarlo.concrete import ConcreteNet, concrete
from resexpand.montecarlo.groups.layout import Layout
from resexpand.montecarlo.groups.tangents import check_beginnings
from resexpand.montecarlo.input_kernel import noted_kernel
from resexpand.montecarlo.layer_methods import chosen_layer_method, on_host
from resexpand.montecarlo.observables.observable import Observable
from resexpand.montecarlo.observables.registry import (
    check_sites,
    needed_columns,
    select,
    with_histograms,
)
from resexpand.montecarlo.runs.plan import Plan, Work
from resexpand.montecarlo.runs.results import drawn, estimates_of, unregistered
from resexpand.montecarlo.runs.settings import CONTROL, settings_of
from resexpand.montecarlo.runs.sums import Sums
from resexpand.montecarlo.spec import SamplerSpec
from resexpand.montecarlo.statistics.estimate import Estimates
from resexpand.montecarlo.statistics.stopping import Until, checked_until
from resexpand.montecarlo.weights.law import (
    AUTO,
    GAUSSIAN,
    WeightLaw,
    chosen_method,
)
from resexpand.montecarlo.weights.quantile import weight_law
from resexpand.network.batch_norm import is_running, require_batch, training_inputs
from resexpand.network.numbers import whole_number
from resexpand.network.operation import Operation
from resexpand.network.positions import inputs_of
from resexpand.network.requirements import require_plain
from resexpand.network.resnet import ResNet
from resexpand.progress import Progress

LARGEST_COUNT = 2**31
"""Widths and draws are counter words of the random numbers."""


def sample(
    net: ResNet,
    observables: str | Observable | Iterable[str | Observable],
    width: int,
    draws: int,
    *,
    K0: ArrayLike | None = None,
    inputs: ArrayLike | str | os.PathLike[str] | None = None,
    method: str = AUTO,
    weights: str | sp.Expr | WeightLaw = "gaussian",
    control: str | None = None,
    histograms: Mapping[str, ArrayLike] | None = None,
    until: float | str | None = None,
    target: str = "cpu",
    seed: int = 0,
    store: str | os.PathLike[str] | None = None,
    workers: int | Executor | None = None,
    shard: tuple[int, int] | None = None,
    wait: bool = False,
    progress: Progress = None,
    **hyperparameters: object,
) -> Estimates:
    r"""Draw networks and return the averages of the observables.

    Parameters
    ----------
    net : ResNet
        The description.
    observables : str, Observable, or iterable of these
        Names from `resexpand.montecarlo.observables.registry.OBSERVABLES`: ``kernel
        layer_covariance output output_squared output_variance chi response covariance_response``;
        of `resexpand.montecarlo.observables.growth`: ``tangent distance distance_squared
        residual_ratio residual_share log_kernel log_growth log_tangent``; propagated back, of
        `resexpand.montecarlo.observables.gradients`: ``gradient gradient_overlap log_gradient
        directional_derivative ntk ntk_layers``, and from one more column instead ``ntk_moments
        gradient_moments(l)``; with a parameter, as text or made by the function
        of that name in `resexpand.montecarlo.observables.profiles`: ``order_profile(k)
        order_remainder(k) path_profile(k) path_remainder(k)``; or an
        `resexpand.montecarlo.observables.observable.Observable` of your own. The parameter is no
        part of the name under which the estimate is found.
    width : int
        Width N of every layer, at least the number of columns (inputs and tangents).
    draws : int
        Number of networks, at least 2; with `until`, the most that are drawn.
    K0 : float or array_like, shape (D, D), optional
        Kernel of the inputs at layer 0: the rows of :math:`h^0` are `N(0, K0)`.
    inputs : array_like, shape (D, d), or path-like, optional
        Data, or a file that holds them, instead of `K0`, for a network with a read-in. For one
        with positions also of shape (D, P, d): the read-in acts on every position.
    method : str
        ``"function-space"`` (exact in law, ``N`` normals per column and layer), ``"dense"`` (draws
        all ``N**2`` weights), or ``"auto"``, the first where it exists; the result's
        ``method_reason`` says why. With correlated layers also ``"cholesky"``, ``"basis"`` or
        ``"markov"`` (`resexpand.montecarlo.layer_methods`); ``"auto"`` takes the cheapest.
    weights : str, sympy.Expr or WeightLaw
        Law of the weights of every linear operation and the read-out, with the variances of the
        description: ``"gaussian" "uniform" "rademacher" "orthogonal"``, or the inverse distribution
        function of independent weights as an expression in one symbol that runs from 0 to 1
        (`resexpand.montecarlo.weights.quantile.quantile_law`). Formulas for infinite width hold
        for all of them, those for finite width for Gaussian weights (`OneLoop.weight_laws`).
    control : str, optional
        ``"infinite-width"`` subtracts from `kernel` and `layer_covariance` the first-order
        fluctuation of each network, read off its control network
        (`resexpand.montecarlo.statistics.first_order`). Means stay unbiased at every width and
        their standard deviations per draw shrink from order ``1/sqrt(N)`` to ``1/N``; ``.gain``
        states how much, ``.plain`` is the estimate without. Function space only, branches that end
        in a `Linear`.
    histograms : mapping of str to array_like, optional
        Increasing edges by name of an observable: its draws are counted between them, as they are
        without control, and ``.histogram`` of its estimate holds quantiles with confidence
        intervals (`resexpand.montecarlo.statistics.histogram`). One set of edges serves all
        components; for what grows over the layers take `numpy.geomspace`.
    until : float or str, optional
        Relative standard error at which to stop, such as 0.001 or ``"0.1%"``: the run ends after
        the first chunk at which it holds for every component that fluctuates, or after `draws`
        networks. How many that were is in ``.n`` and ``settings["draws"]``. For the rule, and what
        stopping costs, see `resexpand.montecarlo.statistics.stopping`.
    target : str
        ``"cpu"``, ``"cuda"`` (an NVIDIA GPU), or ``"auto"``: a GPU if there is one; the result's
        ``target_reason`` says which. The networks are the same, to rounding: a stored run goes on
        wherever it is resumed.
    seed : int
        Ensemble, 0 ... 2**64 - 1.
    store : path-like, optional
        File that keeps finished chunks. The same call with the same file resumes; with more
        `draws` it extends.
    workers : int or Executor, optional
        Number of threads, all cores by default; or any `concurrent.futures.Executor`: processes,
        Dask's ``client.get_executor()``, mpi4py's pool. Does not change the result, bit by bit.
    shard : (int, int), optional
        ``(i, n)``, `i` from 0: draw one of n parts of the run, each job of an array into its own
        store. Estimates are of that part; `resexpand.montecarlo.runs.stored.merge` and the
        command ``resexpand runs merge`` put the stores together, bit by bit the whole run.
    wait : bool
        Whether to wait for another process that uses the store, instead of a `StoreError`.
    progress : callable or bool, optional
        Called as ``progress(done, draws)``. None shows long runs on a terminal (a bar) and in a
        notebook (lines), True also elsewhere, False nothing.
    **hyperparameters : float
        One value per symbol of the network, by name; the depth as ``depth=``.

    Returns
    -------
    Estimates
        Mapping from name to `Estimate`: arrays of shape (L+1,) for one input, (L+1, D, D) for
        kernels of D inputs, () or (D,) for outputs, (L+1, k+1, k+1) for profiles; others as
        their modules say.

    Raises
    ------
    HyperparameterError
        If a hyperparameter, width, draws, seed, observable or input is missing, unknown or invalid.
    KernelError
        If the kernel at layer 0 is not finite, symmetric and positive semi-definite. A
        kernel that is so to rounding is corrected; ``notes`` among the settings then say how.
    UnsupportedError
        If an observable does not exist for this network, or there is no such target.
    DeviceError
        If the target is ``"cuda"`` and no GPU can be used; the message says what to install.
    DeviceMemoryError
        If one network does not fit into the memory of the GPU.
    StoreError
        If the store cannot be used; it is then left as it is.
    WorkerError
        If chunks failed twice on the workers, or the executor is gone; the others are kept.
    """
    if not isinstance(net, ResNet):
        raise HyperparameterError(f"sampling {net!r}", "not a network", "pass a ResNet")
    numbers = concrete(net, hyperparameters)
    kernel, notes = noted_kernel(K0, inputs, numbers.read_in, net.positions)
    if net.positions:
        inputs_of(kernel, math.prod(net.positions))
    _check_operations(net, numbers, kernel, width)
    _require_variance(net, numbers, kernel)
    chosen = with_histograms(select(observables, len(kernel)), histograms)
    rule = checked_until(until, (observable.name for observable in chosen), shard)
    law = weight_law(weights)
    target, said = _chosen_target(target if net.layers is None else on_host(net.layers, target))
    layout = needed_columns(chosen, len(kernel), control_of=net.branch if control else None)
    check_beginnings(layout.groups, numbers.depth)
    _check_columns(net, layout)
    width = whole_number(width, "width", layout.weighted, LARGEST_COUNT, _columns(layout))
    if control and net.layers is not None:
        require_plain(net, asked=f"control={control!r}")
    method, reason, known = (
        (*chosen_method(method, law), None)
        if numbers.layers is None
        else chosen_layer_method(method, law, net.branch, numbers, width, layout)
    )
    _check_control(control, method, law, chosen)
    if control:
        require_plain(net, asked=f"control={control!r}")
    check_sites(chosen, layout)
    draws = whole_number(draws, "draws", 2, LARGEST_COUNT)
    seed = whole_number(seed, "seed", 0, 2**64)
    if workers is not None and not isinstance(workers, Executor):
        workers = whole_number(workers, "workers", 1, LARGEST_COUNT)
    operations = max(len(branch.ops) for branch in net.kinds)
    work = Work(width, numbers.depth, layout.columns, operations, method == "dense", known)
    part = _shard(shard, draws, work.chunk)
    path = _path(store)

    # Numba is loaded only now: describing networks and deriving formulas must not wait for it.
    from resexpand.montecarlo.runs.execute import run_plan

    how = {"method": method, "law": law, "control": control is not None, "target": target}
    spec = SamplerSpec.of(net, chosen, kernel, numbers=numbers, width=width, seed=seed, **how)
    settings = settings_of(net, spec)
    sums = run_plan(
        Plan(settings, draws, work.chunk, part),
        spec,
        workers=workers,
        store=path,
        unregistered=unregistered(chosen, len(kernel)),
        wait=bool(wait),
        progress=progress,
        enough=rule,
    )
    count = _drawn(draws, sums, rule, part if shard is not None else None)
    rounded = {"notes": list(notes)} if notes else {}
    return estimates_of(sums, {**settings, **count, "method_reason": reason, **said, **rounded})


def _check_operations(
    net: ResNet, numbers: ConcreteNet, kernel: NDArray[np.float64], width: int
) -> None:
    """Refuse widths that an operation cannot take, and batches without statistics."""
    rows = len(numbers.laws) // len(net.kinds)
    ending = [step.op for step in (*(net.head if net.has_own_head else ()), *net.post)]
    for k, branch in enumerate(net.kinds):
        for j, op in enumerate((*branch.ops, *ending)):
            if not op.contracts:
                op.require_width(width)
            if op.contracts or op.over != "batch":
                continue
            require_batch(op, numbers.laws[k * rows + j], kernel)
            if is_running(op):
                _check_running(net, op, len(kernel))


def _check_running(net: ResNet, op: Operation, count: int) -> None:
    """Refuse running statistics without inputs that they are for, and with masks."""
    if training_inputs(op, count) == count:
        raise UnsupportedError(
            f"sampling {op!r} with {count} inputs",
            "its statistics are averages over training batches, and no input is left to meet them",
            'give ghost= and K0 of m*ghost + t inputs, 0 < t < ghost; or use mode="train"',
        )
    for step in (*(step for branch in net.kinds for step in branch.steps), *net.head):
        if not step.contracts and step.op.random:
            raise UnsupportedError(
                f"sampling {op!r} beside {step.op!r}",
                "inputs of an evaluation meet no noise, and those of training do",
                "leave one out; kernel(net, inputs='batch') takes both for many batches",
            )


def _check_columns(net: ResNet, layout: Layout) -> None:
    """Refuse derivatives of inputs that meet the statistics of others."""
    ops = (op for branch in net.kinds for op in branch.ops)
    running = next((op for op in ops if is_running(op)), None)
    if running is not None and len(layout.groups) > 1:
        raise UnsupportedError(
            f"derivatives of a network with {running!r}",
            "statistics of training batches are constants of an evaluation, and change in training",
            'ask for kernels and outputs, or use mode="train"',
        )


def _drawn(
    draws: int, sums: Sums, rule: Until | None, part: tuple[int, int] | None
) -> dict[str, Any]:
    """Return what the settings say of how many networks were drawn."""
    found: dict[str, Any] = {"draws": draws if rule is None else drawn(sums)}
    if rule is not None:
        found["until"] = rule.relative_error
    if part is not None:
        found["shard"] = list(part)
    return found


def _require_variance(net: ResNet, numbers: ConcreteNet, kernel: NDArray[np.float64]) -> None:
    """Refuse inputs of zeros in front of a normalisation that divides by their length."""
    if np.diagonal(kernel).all():
        return
    for step in net.kinds[0].opening:
        if step.divides_by_zero(numbers.laws[step.position]):
            raise KernelError(
                f"{step.op!r} of a stream with K0 = 0",
                "its variance vanishes, and the normalisation divides by it",
                "give K0 > 0, or eps > 0",
            )


def _shard(shard: object, draws: int, chunk: int) -> tuple[int, int]:
    """Return the number of the part and how many there are."""
    if shard is None:
        return 0, 1
    most, asked = -(-draws // chunk), f"shard={shard!r}"
    pair = tuple(shard) if isinstance(shard, tuple | list) else ()
    if len(pair) != 2 or any(isinstance(k, bool) or not isinstance(k, int) for k in pair):
        raise HyperparameterError(asked, "not two whole numbers", "pass (i, n) with 0 <= i < n")
    number, count = pair
    if not 0 <= number < count:
        raise HyperparameterError(asked, "n shards count from 0 to n - 1", "pass (i, n)")
    if count > most:
        why = f"{draws} networks of this size are {most} chunk{'s' if most > 1 else ''}"
        raise HyperparameterError(asked, why, f"use at most {most} shards, or more draws")
    return number, count


def _path(store: object) -> Path | None:
    if store is None:
        return None
    if not isinstance(store, str | os.PathLike) or not str(store) or "\0" in str(store):
        raise HyperparameterError(f"store={store!r}", "not the path of a file", "pass one, or None")
    path = Path(store)
    if path.is_dir():
        raise StoreError(f"store {str(path)!r}", "it is a folder", "name a file in it")
    return path


def _chosen_target(target: object) -> tuple[str, dict[str, str]]:
    """Return where networks are drawn, and what the result says about it."""
    if target == "cpu":
        return "cpu", {}
    if target not in ("cuda", AUTO):
        raise UnsupportedError(
            f"target={target!r}", "not available for sampling", "use 'cpu', 'cuda' or 'auto'"
        )
    from resexpand.codegen.cuda.device import chosen, require_cuda

    if target == AUTO:
        found, reason = chosen()
        return found, {"target": found, "target_reason": reason}
    require_cuda("sampling with target='cuda'")
    return "cuda", {"target": "cuda", "target_reason": "as asked"}


def _check_control(
    control: object, method: str, law: WeightLaw, chosen: Iterable[Observable]
) -> None:
    if control is None:
        return
    asked = f"control={control!r}"
    if control != CONTROL:
        raise UnsupportedError(asked, "there is no such control", f"use {CONTROL!r} or None")
    if law != GAUSSIAN:
        raise UnsupportedError(
            f"{asked} with {law.name} weights",
            "the control network uses the normals that stand for the action of Gaussian weights",
            "use Gaussian weights, or sample without control",
        )
    if method != "function-space":
        raise UnsupportedError(
            f"{asked} with method={method!r}",
            "the control network uses the normals that stand for the action of the weights, which "
            "the dense sampler does not draw",
            'use method="function-space"',
        )
    if not any(observable.control for observable in chosen):
        names = ", ".join(observable.label for observable in chosen)
        raise UnsupportedError(
            f"{asked} for {names}",
            "its fluctuation is not known to first order",
            'ask for "kernel" or "layer_covariance"',
        )


def _columns(layout: Layout) -> str:
    """Return why a width cannot be smaller than the number of columns."""
    columns = layout.weighted
    return f" (the {columns} columns propagated must fit)" if columns > 1 else ""
