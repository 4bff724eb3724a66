"""Results as `xarray.Dataset` and `pandas.DataFrame`: named dimensions, coordinates, settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from resexpand.agreement.outcome import Agreement
from resexpand.codegen.axes import inner_dims
from resexpand.codegen.values import Values
from resexpand.errors import UnsupportedError
from resexpand.measure.block_profile import BlockProfile
from resexpand.montecarlo.observables.profiles import FAMILIES
from resexpand.montecarlo.statistics.estimate import Estimate, Estimates
from resexpand.network.quantities import quantity_of
from resexpand.numbers.scales.comparison import ScaleComparison

STATISTICS = ("mean", "stderr", "variance")
WITHOUT_LAYERS = ("output", "output_squared")
SIDES = ("theory", "estimate", "stderr", "neglected", "rounding")
XARRAY = "pip install 'resexpand[xarray]'"

Variable = tuple[tuple[str, ...], Any, int, dict[str, Any]]
"""Dimensions, array, number of the first layer, attributes."""


def to_xarray(result: Any) -> Any:
    """Return a result as an `xarray.Dataset`.

    Parameters
    ----------
    result : Values, Estimate, Estimates, Agreement or BlockProfile
        Of a sample the variables are ``kernel_mean``, ``kernel_stderr``, ``kernel_variance``; of a
        comparison ``K_theory``, ``K_estimate``, ``K_stderr``, ``K_z`` and the parts of its budget.

    Returns
    -------
    xarray.Dataset
        Dimensions are ``layer``, ``input`` and ``other_input``, ``order`` and ``other_order``, and
        one per hyperparameter given as an array. Where arrays begin at different layers, the gaps
        are NaN.

    Raises
    ------
    UnsupportedError
        If xarray is not installed, or the result has no arrays.
    """
    read = next((read for kind, read in _READERS.items() if isinstance(result, kind)), None)
    if read is None:
        raise UnsupportedError(
            f"a dataset of {type(result).__name__}",
            "it holds no arrays",
            "pass what evaluate, sample or compare returned",
        )
    try:
        import xarray
    except ImportError:
        asked = "a result as an xarray.Dataset"
        raise UnsupportedError(asked, "xarray is not installed", XARRAY) from None
    variables, coordinates, attributes = read(result)
    arrays = []
    for name, (dims, array, first, about) in variables.items():
        near = {d: (d, c) for d, c in coordinates.items() if d in dims}
        for dim, size in zip(dims, np.shape(array), strict=True):
            if dim in ("layer", "other_layer", "layer_b"):
                near[dim] = (dim, np.arange(first, first + size))
        arrays.append(xarray.DataArray(array, near, dims, name, about))
    dataset = xarray.merge(arrays, join="outer", compat="no_conflicts", combine_attrs="drop")
    return dataset.assign_attrs(attributes)


def to_dataframe(result: Any, name: str | None = None) -> Any:
    """Return a result as a `pandas.DataFrame`, a row per entry, the indices as columns.

    Parameters
    ----------
    result : Values, Estimate, Estimates or Agreement
        As for `to_xarray`.
    name : str, optional
        Only the columns of this array; its name, or that of a sampled observable.

    Raises
    ------
    UnsupportedError
        If xarray is not installed, or arrays of different dimensions have no common rows.
    KeyError
        If there is no array of this name.
    """
    dataset = to_xarray(result)
    if name is not None:
        own = [n for n in dataset.data_vars if n == name or str(n).startswith(f"{name}_")]
        exact = [n for n in own if n == name or str(n).removeprefix(f"{name}_") in _COLUMNS]
        if not exact:
            raise KeyError(name)
        # Layers that only other arrays have are no rows of this one.
        own_layers = _alone(result, name, exact)
        dataset = dataset[exact] if own_layers is None else to_xarray(own_layers)[exact]
    shapes = {dataset[n].dims for n in dataset.data_vars}
    if len(shapes) > 1:
        names = ", ".join(map(str, dataset.data_vars))
        raise UnsupportedError(
            f"one table of {names}",
            "the arrays have different dimensions",
            'name one of them, such as to_dataframe("K")',
        )
    if not next(iter(shapes), ()):
        import pandas

        return pandas.DataFrame({str(n): [dataset[n].item()] for n in dataset.data_vars})
    return dataset.to_dataframe().reset_index()


def _alone(result: Any, name: str, names: Sequence[Any]) -> Any:
    """Return a result with these arrays alone; None if it has one set of layers anyway."""
    if isinstance(result, Estimates):
        return result.get(name)
    if not isinstance(result, Values):
        return None
    alone = result.copy()
    for other in set(alone) - set(names):
        del alone[other]
    return alone


_COLUMNS = frozenset((*STATISTICS, *SIDES, "z"))


def estimate_dims(name: str, estimate: Estimate) -> tuple[str, ...]:
    """Return the name of each axis of a sampled observable."""
    axes = len(estimate.moments.shape)
    over_layers = (
        name not in WITHOUT_LAYERS and axes and estimate.moments.shape[0] == estimate.depth + 1
    )
    rest = axes - bool(over_layers)
    if rest > 2:
        pairs: tuple[str, ...] = tuple(f"{name}_axis_{k}" for k in range(rest))
    elif name in FAMILIES:
        pairs = (f"{name}_order", f"{name}_other_order")[:rest]
    else:
        known = name in WITHOUT_LAYERS or over_layers
        pairs = (("input", "other_input") if known else (f"{name}_axis_0", f"{name}_axis_1"))[:rest]
    return (("layer",) if over_layers else ()) + pairs


def settings_text(estimates: Estimates) -> str:
    """Return the settings of a sample as JSON."""
    # Why a sampler was chosen is a remark, and differs between a call and its store.
    kept = {k: value for k, value in estimates.settings.items() if k != "method_reason"}
    return json.dumps(kept, sort_keys=True)


Read = tuple[dict[str, Variable], dict[str, Any], dict[str, Any]]


def _of_values(values: Values) -> Read:
    variables: dict[str, Variable] = {}
    for name, array in values.items():
        error = values.quadrature_error.get(name)
        about = {} if error is None else {"quadrature_error": error}
        variables[name] = (values.dims(name), array, quantity_of(name).first, about)
    coordinates = {
        name: array.reshape(-1)
        for name, array in values.axes.varied.items()
        if name in values.axes.grid
    }
    keys = sorted({citation.reference.key for citation in values.citations})
    attributes = {
        "depth": values.depth,
        "status": values.status,
        "target": values.target,
        "notes": "; ".join(values.notes),
        "citations": ", ".join(keys),
    }
    return variables, coordinates, attributes


def _of_estimates(estimates: Estimates) -> Read:
    variables: dict[str, Variable] = {}
    for name, estimate in estimates.items():
        dims = estimate_dims(name, estimate)
        first = quantity_of(estimate.name).first if "layer" in dims else 0
        for statistic in STATISTICS:
            array = np.asarray(getattr(estimate, statistic))
            variables[f"{name}_{statistic}"] = (dims, array, first, {"status": estimate.status})
    draws = max((estimate.n for estimate in estimates.values()), default=0)
    return variables, {}, {"settings": settings_text(estimates), "draws": draws}


def _of_agreement(agreement: Agreement) -> Read:
    variables: dict[str, Variable] = {}
    for name, places in agreement.positions.items():
        dims = agreement_dims(name, places.shape)
        columns = {side: getattr(agreement.entries, side)[places] for side in SIDES}
        for side, array in (*columns.items(), ("z", agreement.z[name])):
            variables[f"{name}_{side}"] = (dims, array, quantity_of(name).first, {})
    about = {"verdict": agreement.verdict, "reason": agreement.reason, "level": agreement.level}
    return variables, {}, about


def _of_profile(profile: BlockProfile) -> Read:
    variables: dict[str, Variable] = {n: (("block",), a, 0, {}) for n, a in profile.items()}
    variables["evaluations"] = (("block",), profile.evaluations, 0, {})
    return variables, {"block": list(profile.names)}, {**profile.settings}


def agreement_dims(name: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return a name per axis of what was compared: layers first, but for the last one alone."""
    if quantity_of(name).part == "last":
        return tuple(f"{name}_{k}" for k in range(len(shape)))
    return (*("layer",)[: len(shape)], *inner_dims(name, max(0, len(shape) - 1)))


def _of_scales(scales: ScaleComparison) -> Read:
    dims = ("candidate", "depth")
    variables: dict[str, Variable] = {name: (dims, a, 0, {}) for name, a in scales.items()}
    about = {"recommendation": scales.recommendation, "network": scales.network}
    return variables, {"candidate": list(scales.names), "depth": list(scales.depths)}, about


_READERS: Mapping[type, Callable[[Any], Read]] = {
    Values: _of_values,
    Estimate: lambda estimate: _of_estimates(Estimates({estimate.name: estimate})),
    Estimates: _of_estimates,
    Agreement: _of_agreement,
    BlockProfile: _of_profile,
    ScaleComparison: _of_scales,
}
