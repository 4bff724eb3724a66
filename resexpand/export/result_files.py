"""Results as files: NPZ, which `load` reads back, CSV and netCDF for other programs.

NPZ has an array per quantity (``kernel_mean``), the exact sums of samples, from which everything
follows, and the rest as JSON text: two files of one run are the same, byte by byte, however it was
carried out. CSV has one row per entry; its floats are the shortest that read back to the same bits.
"""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from resexpand.agreement.outcome import Agreement
from resexpand.agreement.verdict import Entries, judge
from resexpand.codegen.axes import Axes
from resexpand.codegen.values import Values
from resexpand.errors import StoreError, UnsupportedError
from resexpand.export.dataset import STATISTICS, settings_text, to_xarray
from resexpand.export.files import reason_of, write_atomically
from resexpand.measure.block_profile import BlockCounts, BlockProfile
from resexpand.montecarlo.statistics.estimate import Estimate, Estimates
from resexpand.montecarlo.statistics.histogram import Counts, Histogram
from resexpand.montecarlo.statistics.moments import Moments
from resexpand.numbers.scales.comparison import ScaleComparison
from resexpand.references import REFERENCES, Citation

SUMS = ("finite", "exponent", "mean", "m2", "m3", "m4")
HEADER = ("observable", "i", "j", "k", "mean", "stderr", "variance", "draws", "finite")
MOST_AXES = 3
ABOUT = "resexpand"
"""Key of the JSON text in an NPZ."""

Result = Values | Estimates | Agreement | BlockProfile | ScaleComparison
Arrays = dict[str, Any]


def save(result: Result | Estimate, path: Path) -> Path:
    """Write a result to a file whose suffix says how: ``.npz``, ``.csv`` or ``.nc``.

    Parameters
    ----------
    result : Values, Estimate, Estimates, Agreement or BlockProfile
        What to write.
    path : Path
        The file; an existing one is replaced when the new one is complete.

    Raises
    ------
    UnsupportedError
        If the suffix is another one, or the library for it is not installed.
    StoreError
        If the file cannot be written.
    """
    if isinstance(result, Estimate):
        result = Estimates({result.name: result})
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise UnsupportedError(
            f"writing {path.name!r}", "its suffix is unknown", f"use {', '.join(WRITERS)}"
        )
    return write_atomically(path, writer(result), "the result")


def load(path: str | os.PathLike[str]) -> Result:
    """Read a result that ``save`` wrote as ``.npz``.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    Values, Estimates, Agreement or BlockProfile
        Equal to what was saved, bit by bit, with its health; a verdict is judged anew.

    Raises
    ------
    StoreError
        If the file is missing, no such file, or cut.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet, evaluate, kernel, load
    >>> net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=3)
    >>> path = evaluate(kernel(net), K0=1.0).save("relu.npz")
    >>> load(path)["K"]
    array([1., 2., 4., 8.])
    """
    if not isinstance(path, str | os.PathLike):
        why = f"it is of type {type(path).__name__}"
        raise StoreError(f"reading {path!r}", why, "name a file that .save() wrote as .npz")
    path = Path(path)
    asked = f"reading {path.name!r}"
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        why = f"it cannot be read ({reason_of(error)})"
        raise StoreError(asked, why, "name a file that .save() wrote as .npz") from error
    try:
        about = json.loads(str(arrays.pop(ABOUT)))
        return _REBUILT[about["kind"]](about, arrays)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        why = f"it is not a saved result, or a part is missing ({error})"
        raise StoreError(asked, why, "name a file that .save() wrote as .npz") from error


# -- NPZ -----------------------------------------------------------------------------------------


def _npz(result: Result) -> bytes:
    about, arrays = next(write for kind, write in _WRITTEN.items() if isinstance(result, kind))(
        result
    )
    stream = io.BytesIO()
    text = np.array(json.dumps({"kind": type(result).__name__, **about}, sort_keys=True))
    parts: Arrays = {ABOUT: text, **arrays}
    np.savez(stream, **parts)
    return stream.getvalue()


def _values_parts(values: Values) -> tuple[dict[str, Any], Arrays]:
    about = {
        "depth": values.depth,
        "problems": values.problems,
        "quadrature_error": values.quadrature_error,
        "citations": [(c.reference.key, c.locator) for c in values.citations],
        "target": values.target,
        "notes": values.notes,
        "width": values.width,
        "names": list(values),
        "grid": values.axes.grid,
        "layers": dict(values.axes.layers),
        "varied": list(values.axes.varied),
    }
    arrays = {f"value_{k}": np.asarray(array) for k, array in enumerate(values.values())}
    varied = values.axes.varied.values()
    return about, arrays | {f"varied_{k}": array for k, array in enumerate(varied)}


def _values(about: dict[str, Any], arrays: Arrays) -> Values:
    values = Values(
        {name: arrays[f"value_{k}"][()] for k, name in enumerate(about["names"])},
        about["depth"],
        tuple(about["problems"]),
        about["quadrature_error"],
        tuple(Citation(REFERENCES[key], locator) for key, locator in about["citations"]),
        about["target"],
        tuple(about["notes"]),
    )
    values.width = about["width"]
    varied = {name: arrays[f"varied_{k}"] for k, name in enumerate(about["varied"])}
    values.axes = Axes(tuple(about["grid"]), varied, about["layers"])
    return values


def _estimates_parts(estimates: Estimates) -> tuple[dict[str, Any], Arrays]:
    arrays: Arrays = {"settings": np.array(settings_text(estimates))}
    own = {}
    for name, estimate in estimates.items():
        own[name] = {key: getattr(estimate, key) for key in ("width", "depth", "method", "seeds")}
        arrays[f"{name}_draws"] = np.array(estimate.n)
        for statistic in STATISTICS:
            arrays[f"{name}_{statistic}"] = np.asarray(getattr(estimate, statistic))
        arrays |= _sums(f"{name}_sum", estimate.moments)
        if estimate.uncontrolled is not None:
            arrays |= _sums(f"{name}_plain", estimate.uncontrolled)
        if estimate.histogram is not None:
            arrays[f"{name}_edges"] = estimate.histogram.edges
            arrays[f"{name}_counts"] = estimate.histogram.counts
    return {"estimates": own}, arrays


def _sums(prefix: str, moments: Moments) -> Arrays:
    return {f"{prefix}_{name}": np.asarray(getattr(moments, name)) for name in SUMS}


def _estimates(about: dict[str, Any], arrays: Arrays) -> Estimates:
    estimates = {}
    for name, own in about["estimates"].items():
        draws = int(arrays[f"{name}_draws"])
        sums, plain = (
            Moments(draws, *(arrays[f"{name}_{kind}_{part}"] for part in SUMS))
            if f"{name}_{kind}_mean" in arrays
            else None
            for kind in ("sum", "plain")
        )
        if sums is None:
            raise KeyError(f"{name}_sum_mean")
        law = None
        if f"{name}_edges" in arrays:
            law = Histogram(arrays[f"{name}_edges"], Counts(draws, arrays[f"{name}_counts"]))
        seeds = tuple(own["seeds"])
        estimates[name] = Estimate(
            name, sums, own["width"], own["depth"], own["method"], seeds, plain, law
        )
    return Estimates(estimates, json.loads(str(arrays["settings"])))


def _agreement_parts(agreement: Agreement) -> tuple[dict[str, Any], Arrays]:
    columns = {field.name: getattr(agreement.entries, field.name) for field in fields(Entries)}
    texts = {name: columns.pop(name) for name in ("labels", "unjudged")}
    keys = ("level", "resolve", "heading", "notes")
    about = {key: getattr(agreement, key) for key in keys} | texts
    about["names"] = list(agreement.positions)
    places = {f"places_{k}": index for k, index in enumerate(agreement.positions.values())}
    return about, {f"entry_{name}": column for name, column in columns.items()} | places


def _agreement(about: dict[str, Any], arrays: Arrays) -> Agreement:
    parts: Arrays = {name: tuple(about[name]) for name in ("labels", "unjudged")}
    names = (field.name for field in fields(Entries) if field.name not in parts)
    entries = Entries(**parts | {name: arrays[f"entry_{name}"] for name in names})
    positions = {name: arrays[f"places_{k}"] for k, name in enumerate(about["names"])}
    level, resolve = about["level"], about["resolve"]
    judgement = judge(entries, level=level, resolve=resolve)
    heading = about["heading"][0], about["heading"][1]
    return Agreement(entries, judgement, positions, level, resolve, heading, tuple(about["notes"]))


PER_QUANTITY = ("bins", "sums", "ranges")
"""Parts of the counts of a block that are arrays by quantity."""


def _profile_parts(profile: BlockProfile) -> tuple[dict[str, Any], Arrays]:
    keys = ("names", "kinds", "width", "settings", "notes")
    arrays: Arrays = {} if profile.prediction is None else {"prediction": profile.prediction}
    for kind in PER_QUANTITY:
        for name in getattr(profile.blocks[0], kind):
            arrays[f"{kind}_{name}"] = np.array([getattr(b, kind)[name] for b in profile.blocks])
    for name in ("energy", "tokens"):
        arrays[name] = np.array([getattr(block, name) for block in profile.blocks])
    return {key: getattr(profile, key) for key in keys}, arrays


def _profile(about: dict[str, Any], arrays: Arrays) -> BlockProfile:
    def of(kind: str, row: int) -> dict[str, Any]:
        marked = f"{kind}_"
        return {n.removeprefix(marked): a[row] for n, a in arrays.items() if n.startswith(marked)}

    blocks = (
        BlockCounts(
            # Files of an earlier version have no ranges, as if there were no data.
            **{kind: counts for kind in PER_QUANTITY if (counts := of(kind, k))},
            energy=arrays["energy"][k],
            tokens=arrays["tokens"][k],
        )
        for k in range(len(about["names"]))
    )
    names, kinds, notes = (tuple(about[name]) for name in ("names", "kinds", "notes"))
    prediction, settings = arrays.get("prediction"), about["settings"]
    return BlockProfile(names, kinds, tuple(blocks), about["width"], prediction, settings, notes)


def _scales_parts(scales: ScaleComparison) -> tuple[dict[str, Any], Arrays]:
    about = {field.name: getattr(scales, field.name) for field in fields(scales)}
    about["sources"] = [s and (s.reference.key, s.locator) for s in scales.sources]
    names = list(about.pop("arrays"))
    return about | {"arrays": names}, {f"value_{k}": scales[name] for k, name in enumerate(names)}


def _scales(about: dict[str, Any], arrays: Arrays) -> ScaleComparison:
    given: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in about.items()
    }
    given["arrays"] = {name: arrays[f"value_{k}"] for k, name in enumerate(given["arrays"])}
    given["sources"] = tuple(s and Citation(REFERENCES[s[0]], s[1]) for s in given["sources"])
    del given["kind"]
    return ScaleComparison(**given)


_WRITTEN: Mapping[type, Callable[[Any], tuple[dict[str, Any], Arrays]]] = {
    Values: _values_parts,
    Estimates: _estimates_parts,
    Agreement: _agreement_parts,
    BlockProfile: _profile_parts,
    ScaleComparison: _scales_parts,
}
_REBUILT: Mapping[str, Callable[[dict[str, Any], Arrays], Result]] = {
    "Values": _values,
    "Estimates": _estimates,
    "Agreement": _agreement,
    "BlockProfile": _profile,
    "ScaleComparison": _scales,
}


# -- for other programs --------------------------------------------------------------------------


def _csv(result: Result) -> bytes:
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    if isinstance(result, Estimates):
        rows.writerow(HEADER)
        rows.writerows(_estimate_rows(result))
    elif isinstance(result, Agreement | ScaleComparison):
        table = [row._asdict() for row in result.rows]
        rows.writerow(table[0])
        rows.writerows(
            [repr(v) if isinstance(v, float) else v for v in row.values()] for row in table
        )
    else:
        rows.writerow(("quantity", "indices", "value"))
        for name, array in result.items():
            for place in np.ndindex(np.shape(array)):
                value = repr(float(np.asarray(array)[place]))
                rows.writerow((name, " ".join(map(str, place)), value))
    return stream.getvalue().encode()


def _estimate_rows(estimates: Estimates) -> Iterable[list[Any]]:
    for name, estimate in estimates.items():
        arrays = [np.asarray(getattr(estimate, statistic)) for statistic in STATISTICS]
        axes = arrays[0].ndim
        if axes > MOST_AXES:
            raise UnsupportedError(
                f"{name} as CSV", f"it has {axes} axes, more than three", "use .npz"
            )
        for place in np.ndindex(arrays[0].shape):
            indices = (*place, *[""] * (MOST_AXES - axes))
            values = [repr(float(array[place])) for array in arrays]
            yield [name, *indices, *values, estimate.n, int(estimate.moments.finite[place])]


def _netcdf(result: Result) -> bytes:
    dataset = to_xarray(result)
    try:
        return bytes(dataset.to_netcdf())
    except (ImportError, ValueError, ModuleNotFoundError) as error:
        raise UnsupportedError(
            "a result as netCDF",
            "xarray has no library to write it",
            "pip install h5netcdf or scipy, or use .npz",
        ) from error


WRITERS: Mapping[str, Callable[[Result], bytes]] = {".csv": _csv, ".npz": _npz, ".nc": _netcdf}
