"""Estimates as files and arrays of other libraries: CSV, NPZ, xarray, netCDF.

CSV has one row per component: observable, its indices, mean, stderr, variance, number of draws and
of finite ones. NPZ has an array per observable and quantity (``kernel_mean``), the settings as JSON
text, and the exact sums, from which everything follows: two files of one run are the same, byte by
byte, however it was carried out. Floats in CSV are the shortest that read back to the same bits.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resexpand.errors import UnsupportedError
from resexpand.export.files import write_atomically
from resexpand.montecarlo.observables.profiles import FAMILIES
from resexpand.montecarlo.statistics.estimate import Estimate, Estimates

QUANTITIES = ("mean", "stderr", "variance")
SUMS = ("finite", "exponent", "mean", "m2", "m3", "m4")
HEADER = ("observable", "i", "j", "k", "mean", "stderr", "variance", "draws", "finite")
WITHOUT_LAYERS = ("output", "output_squared")


def write_estimates(path: Path, estimates: Estimates) -> Path:
    """Write estimates to a file whose suffix says how: ``.csv``, ``.npz`` or ``.nc``.

    Raises
    ------
    UnsupportedError
        If the suffix is another one, or the library for it is not installed.
    StoreError
        If the file cannot be written.
    """
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise UnsupportedError(
            f"writing {path.name!r}", "its suffix is unknown", f"use {', '.join(WRITERS)}"
        )
    return write_atomically(path, writer(estimates), "the estimates")


def _csv(estimates: Estimates) -> bytes:
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(HEADER)
    for name, estimate in estimates.items():
        arrays = [np.asarray(getattr(estimate, quantity)) for quantity in QUANTITIES]
        for place in np.ndindex(arrays[0].shape):
            indices = (*place, *[""] * (3 - len(place))) if len(place) < 4 else place
            if len(indices) > 3:
                raise UnsupportedError(
                    f"{name} as CSV", f"it has {len(indices)} axes, more than three", "use .npz"
                )
            values = [repr(float(array[place])) for array in arrays]
            finite = int(estimate.moments.finite[place])
            rows.writerow([name, *indices, *values, estimate.n, finite])
    return stream.getvalue().encode()


def _npz(estimates: Estimates) -> bytes:
    arrays: dict[str, Any] = {"settings": np.array(_settings(estimates))}
    for name, estimate in estimates.items():
        arrays[f"{name}_draws"] = np.array(estimate.n)
        for quantity in QUANTITIES:
            arrays[f"{name}_{quantity}"] = np.asarray(getattr(estimate, quantity))
        for quantity in SUMS:
            arrays[f"{name}_sum_{quantity}"] = np.asarray(getattr(estimate.moments, quantity))
        if estimate.histogram is not None:
            arrays[f"{name}_edges"] = estimate.histogram.edges
            arrays[f"{name}_counts"] = estimate.histogram.counts
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def _settings(estimates: Estimates) -> str:
    # Why a sampler was chosen is a remark, and differs between a call and its store.
    kept = {k: value for k, value in estimates.settings.items() if k != "method_reason"}
    return json.dumps(kept, sort_keys=True)


def to_xarray(estimates: Estimates) -> Any:
    """Return the estimates as an `xarray.Dataset`.

    Variables are ``kernel_mean``, ``kernel_stderr``, ... over the dimensions ``layer``; ``input``
    and ``other_input`` for pairs; ``order`` and ``other_order`` for profiles. The settings are the
    attribute ``settings``, as JSON.

    Raises
    ------
    UnsupportedError
        If xarray is not installed.
    """
    try:
        import xarray
    except ImportError:
        raise UnsupportedError(
            "estimates as an xarray.Dataset",
            "xarray is not installed",
            "pip install 'resexpand[xarray]'",
        ) from None
    variables = {}
    for name, estimate in estimates.items():
        dims = _dims(name, estimate)
        for quantity in QUANTITIES:
            array = np.asarray(getattr(estimate, quantity))
            variables[f"{name}_{quantity}"] = (dims, array, {"status": estimate.status})
    draws = max((estimate.n for estimate in estimates.values()), default=0)
    attributes = {"settings": _settings(estimates), "draws": draws}
    return xarray.Dataset(variables, attrs=attributes)


def _dims(name: str, estimate: Estimate) -> tuple[str, ...]:
    """Return the name of each axis of an observable."""
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


def _netcdf(estimates: Estimates) -> bytes:
    dataset = to_xarray(estimates)
    try:
        return bytes(dataset.to_netcdf())
    except (ImportError, ValueError, ModuleNotFoundError) as error:
        raise UnsupportedError(
            "estimates as netCDF",
            "xarray has no library to write it",
            "pip install h5netcdf or scipy, or use .npz",
        ) from error


WRITERS: Mapping[str, Callable[[Estimates], bytes]] = {".csv": _csv, ".npz": _npz, ".nc": _netcdf}
