"""`sweep`: theory and samples over a grid of hyperparameters, in one call that can be resumed."""

from __future__ import annotations

import hashlib
import inspect
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from resexpand.agreement.comparison import compare
from resexpand.agreement.outcome import Agreement
from resexpand.codegen.values import Values
from resexpand.errors import HyperparameterError, StoreError, UnsupportedError
from resexpand.export.dataset import to_xarray
from resexpand.export.files import reason_of
from resexpand.expressions.shown import Card, Tabled, listed, numbers
from resexpand.montecarlo.sample import sample
from resexpand.montecarlo.statistics.estimate import Estimates
from resexpand.network.quantities import quantity_of
from resexpand.network.resnet import ResNet
from resexpand.numbers.evaluation import evaluate
from resexpand.progress import Progress, duration, reporting

NEVER_AXES = ("inputs", "others", "histograms", "shard")
OWN = ("seed", "store", "progress", "width", "draws")
SAMPLING = frozenset(inspect.signature(sample).parameters) - {*OWN, "net", "observables"}
SEED_BYTES = 8


@dataclass(frozen=True, eq=False, repr=False)
class Sweep(Tabled):
    """Theory and samples at every point of a grid.

    Attributes
    ----------
    axes : dict of str to tuple
        Values along every axis, in the order in which they were given.
    points : tuple of dict
        Hyperparameters of every point; the last axis runs fastest.
    theory : tuple of tuple of Values
        By point, what `evaluate` returned of every theory.
    estimates : tuple of Estimates
        By point, what `sample` returned; empty if nothing was sampled.
    """

    axes: Mapping[str, tuple[Any, ...]]
    points: tuple[Mapping[str, Any], ...]
    theory: tuple[tuple[Values, ...], ...]
    estimates: tuple[Estimates, ...]

    def __len__(self) -> int:
        return len(self.points)

    @property
    def agreements(self) -> tuple[Agreement, ...]:
        """Verdict of every point, of the estimates whose theory is there.

        Raises
        ------
        UnsupportedError
            If there is no theory, or nothing was sampled.
        """
        if not self.estimates or not all(self.theory):
            raise UnsupportedError(
                "the verdicts of a sweep",
                "it has no theory, or no samples",
                "give sweep both observables and theory=",
            )
        return tuple(
            compare(_sampled(values, runs), runs)
            for values, runs in zip(self.theory, self.estimates, strict=True)
        )

    def to_xarray(self) -> Any:
        """Return an `xarray.Dataset` with a dimension per axis of the grid.

        Theory and estimates lie side by side (``K``, ``kernel_mean``, ``kernel_stderr``); networks
        of less depth have NaN at the layers they have not.

        Raises
        ------
        UnsupportedError
            If xarray is not installed.
        """
        parts = [
            [*map(to_xarray, values), *map(to_xarray, self.estimates[k : k + 1])]
            for k, values in enumerate(self.theory)
        ]
        import xarray

        datasets = [xarray.merge(at, join="outer", compat="override") for at in parts]
        # The last axis runs fastest: join along it first.
        for name, values in reversed([*self.axes.items()]):
            size = len(values)
            along = xarray.DataArray(list(values), dims=name, name=name)
            datasets = [
                xarray.concat(
                    datasets[k : k + size], along, data_vars="all", join="outer", coords="minimal",
                    compat="override", combine_attrs="drop",
                )
                for k in range(0, len(datasets), size)
            ]  # fmt: skip
        return datasets[0]

    def card(self) -> Card:
        """Return what it says about itself."""
        said = [v.status for values in self.theory for v in values]
        said += [e.status for runs in self.estimates for e in runs.values()]
        bad = sum(status != "ok" for status in said)
        keys = dict.fromkeys(key for values in self.theory for v in values for key in v)
        observables = dict.fromkeys(name for runs in self.estimates for name in runs)
        axes = ((name, _texts(values)) for name, values in self.axes.items())
        facts = (*axes, ("theory", listed(keys)), ("sampled", listed(observables)))
        notes = (f"! {bad} of {len(said)} results are flagged: see their .status",) if bad else ()
        return Card(f"Sweep: {len(self)} points", facts, notes)


def sweep(
    net: ResNet,
    observables: str | Iterable[Any] = (),
    *,
    theory: Any = (),
    width: int | Iterable[int] | None = None,
    draws: int = 1000,
    seed: int = 0,
    store: str | os.PathLike[str] | None = None,
    progress: Progress = None,
    **given: Any,
) -> Sweep:
    """Evaluate theories and sample networks at every point of a grid.

    Parameters
    ----------
    net : ResNet
        The network, with symbols for what varies.
    observables : str or iterable, optional
        What to sample, as for `sample`; nothing by default.
    theory : Recursion, OneLoop, OptimalScale or iterable of these, optional
        What to evaluate, such as ``kernel(net)``.
    width : int or iterable of int, optional
        Widths to sample; an order ``1/N`` is evaluated at the same.
    draws : int
        Networks per point.
    seed : int
        Ensemble. Every point has a seed of its own, made of this one and of its hyperparameters,
        so that points are independent and a larger grid holds the same networks.
    store : path-like, optional
        Folder that keeps a file per point, named after it. The same call goes on where it was
        interrupted, and a larger grid computes the new points alone.
    progress : callable, bool or None, optional
        Called with the number of points done and wanted; True and None as for `sample`.
    **given
        Hyperparameters by name, ``depth`` and ``K0`` among them: a list, tuple, range or array of
        one axis is an axis of the grid, whose points are all combinations. Options of `sample`
        (``until``, ``control``, ``weights``, ``workers``, ...) are passed on.

    Returns
    -------
    Sweep
        Points with their results; ``to_xarray()`` joins them.

    Raises
    ------
    HyperparameterError
        If there is nothing to do, an axis is empty or has a value twice, or a value does not fit
        the network.
    StoreError
        If the folder cannot be used.

    Examples
    --------
    >>> import sympy as sp
    >>> from resexpand import Activation, Branch, Linear, ResNet, kernel, sweep
    >>> rho, L = sp.symbols("rho L")
    >>> net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=rho, depth=L)
    >>> sweep(net, theory=kernel(net), rho=[0.1, 0.2], depth=[5, 10, 20], K0=1.0)
    <Sweep: 6 points>
      rho     0.1, 0.2
      depth   5, 10, 20
      theory  K, C
    """
    theories = tuple(theory) if isinstance(theory, tuple | list) else (theory,)
    options = {name: given.pop(name) for name in [*given] if name in SAMPLING - {"K0", "inputs"}}
    asked = (observables,) if isinstance(observables, str) else tuple(observables)
    if asked and width is None:
        raise HyperparameterError("sampling without a width", "it is missing", "give width=")
    if not asked and not theories:
        raise HyperparameterError(
            "a sweep of nothing", "it has neither observables nor theory", "give one of them"
        )
    axes, fixed = _axes({**given, **({} if width is None else {"width": width})})
    points = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    folder = _folder(store)
    known: dict[str, tuple[Values, ...]] = {}
    values, estimates = [], []
    with reporting(progress, _points) as report:
        for k, point in enumerate(points):
            report(k, len(points))
            numbers_here = {**fixed, **point}
            values.append(_evaluated(theories, numbers_here, known))
            if asked:
                own: dict[str, Any] = {**options, **numbers_here, "seed": _seed(seed, numbers_here)}
                own["store"] = None if folder is None else folder / _name(point)
                estimates.append(sample(net, asked, draws=draws, progress=False, **own))
        report(len(points), len(points))
    return Sweep(axes, tuple(points), tuple(values), tuple(estimates))


def _axes(given: Mapping[str, Any]) -> tuple[dict[str, tuple[Any, ...]], dict[str, Any]]:
    """Return the axes of the grid, and what is the same at every point."""
    axes, fixed = {}, {}
    for name, value in given.items():
        listed_values = isinstance(value, list | tuple | range | np.ndarray) and np.ndim(value) == 1
        if name in NEVER_AXES or not listed_values:
            fixed[name] = value
            continue
        entries = tuple(v.item() if isinstance(v, np.generic) else v for v in value)
        if not entries or len(set(entries)) < len(entries):
            why = "a value occurs twice" if entries else "it has no values"
            raise HyperparameterError(f"the axis {name}={value!r}", why, "give each value once")
        axes[name] = entries
    return axes, fixed


def _evaluated(
    theories: tuple[Any, ...], numbers_here: Mapping[str, Any], known: dict[str, tuple[Values, ...]]
) -> tuple[Values, ...]:
    """Evaluate the theories at a point; those without a width once for all of them."""
    free = {name: value for name, value in numbers_here.items() if name != "width"}
    given = [numbers_here if getattr(one, "takes_width", False) else free for one in theories]
    key = ";".join(map(_key, given))
    if key not in known:
        known[key] = tuple(
            evaluate(theory, progress=False, **own)
            for theory, own in zip(theories, given, strict=True)
        )
    return known[key]


def _key(given: Mapping[str, Any]) -> str:
    """Return a text that is the same for the same numbers."""
    parts = (f"{name}={np.asarray(value).tolist()!r}" for name, value in sorted(given.items()))
    return ";".join(parts)


def _seed(seed: int, given: Mapping[str, Any]) -> int:
    digest = hashlib.sha256(f"{seed};{_key(given)}".encode()).digest()
    return int.from_bytes(digest[:SEED_BYTES], "little")


def _name(point: Mapping[str, Any]) -> str:
    """Return the name of the file of a point."""
    text = ",".join(f"{name}={value}" for name, value in point.items()) or "point"
    return re.sub(r"[^\w.,=+-]", "_", text, flags=re.ASCII) + ".sqlite"


def _folder(store: object) -> Path | None:
    if store is None:
        return None
    if not isinstance(store, str | os.PathLike) or not str(store) or "\0" in str(store):
        raise HyperparameterError(f"store={store!r}", "not the path of a folder", "pass one")
    folder = Path(store)
    if folder.is_file():
        raise StoreError(
            f"store {str(folder)!r}", "it is a file", "name a folder: a file per point"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"the folder cannot be made ({reason_of(error)})"
        raise StoreError(f"store {str(folder)!r}", why, "choose another one") from error
    return folder


def _sampled(values: Iterable[Values], runs: Estimates) -> dict[str, Any]:
    """Return the arrays of a theory that were sampled, too."""
    return {
        key: array
        for one in values
        for key, array in one.items()
        if any(name in runs for name in quantity_of(key).observables)
    }


def _points(done: int, total: int, rate: float, left: float) -> str:
    words = f"{done} of {total} points"
    return words if math.isnan(rate) else f"{words}, {duration(left)} left"


def _texts(values: tuple[Any, ...]) -> str:
    try:
        return numbers(np.asarray(values, dtype=float))
    except (TypeError, ValueError):
        return listed(values)
