"""JSON records of runs: versions, settings, and every number, in strict JSON.

A record is an object with the members

    schema        {"name": "resexpand-record", "version": 1}
    environment   versions and machine type; no host name, user or path
    <sections>    what the run gives, under the names it chooses
    not_finite    [{"pointer": "/results/z/3", "reason": "inf"}, ...]

JSON has no NaN and no infinity. Such a number is written as null, and its place and kind are
listed as a JSON pointer (RFC 6901), so that a null is never mistaken for a missing value and
`read_record` gives back what was written. Floats are written in the shortest form that reads back
to the same bits.
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import sympy

from resexpand.agreement.outcome import Agreement
from resexpand.errors import HyperparameterError, StoreError
from resexpand.export.files import reason_of, write_atomically
from resexpand.montecarlo.statistics.estimate import Estimate

SCHEMA_NAME = "resexpand-record"
SCHEMA_VERSION = 1
RESERVED = ("schema", "not_finite")
LIBRARIES = ("numpy", "numba", "sympy", "mpmath")


def environment() -> dict[str, Any]:
    """Describe what produced the numbers: versions, system, processor type, usable processors.

    Returns
    -------
    dict
        JSON-safe; holds no host name, user name or path. A library that is not installed is None.
    """
    usable = getattr(os, "sched_getaffinity", None)
    return {
        "resexpand": str(sys.modules["resexpand"].__version__),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        **{name: _version(name) for name in LIBRARIES},
        "system": platform.system(),
        "machine": platform.machine(),
        "processors": len(usable(0)) if usable else os.cpu_count(),
    }


def write_record(path: str | os.PathLike[str], **sections: object) -> Path:
    """Write a record; the file appears complete or not at all.

    Parameters
    ----------
    path : path
        File to write; missing folders are made, an existing file is replaced.
    **sections
        Members of the record. Values may be nested mappings and sequences of numbers, texts,
        booleans and None; NumPy arrays become lists, SymPy expressions their text, estimates and
        agreements their contents. `environment` is added unless given.

    Returns
    -------
    Path
        The path written.

    Raises
    ------
    HyperparameterError
        If a section has a reserved name or holds something JSON cannot.
    StoreError
        If the file cannot be written.
    """
    # A lone surrogate, of a file name that is not UTF-8, is written as JSON escapes it.
    content = record_text(**sections).encode(errors="backslashreplace")
    return write_atomically(Path(path), content, "the record")


def record_text(**sections: object) -> str:
    """Return the text of a record; see `write_record`."""
    taken = [name for name in RESERVED if name in sections]
    if taken:
        raise HyperparameterError(
            f"a section named {taken[0]!r}", "the record itself writes it", "choose another name"
        )
    body = {"environment": environment(), **sections}
    not_finite: list[dict[str, str]] = []
    record = {
        "schema": {"name": SCHEMA_NAME, "version": SCHEMA_VERSION},
        **{name: _plain(value, f"/{_escape(name)}", not_finite) for name, value in body.items()},
        "not_finite": not_finite,
    }
    return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a record written by `write_record`.

    Returns
    -------
    dict
        The record; numbers listed under `not_finite` are put back in their places.

    Raises
    ------
    StoreError
        If the file cannot be read, is not strict JSON, or is not a record of a known version.
    """
    asked = f"reading the record {Path(path).name!r}"
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(asked, reason_of(error), "pass a file that write_record made") from error
    try:
        record = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise StoreError(asked, f"it is not strict JSON ({error})", "write it again") from error
    schema = record.get("schema") if isinstance(record, dict) else None
    if not isinstance(schema, dict) or schema.get("name") != SCHEMA_NAME:
        raise StoreError(asked, "it is no record of this package", "pass one that is")
    if schema.get("version") != SCHEMA_VERSION:
        raise StoreError(
            asked,
            f"its schema version is {schema.get('version')!r}, known is {SCHEMA_VERSION}",
            "read it with the version of the package that wrote it",
        )
    for item in record.get("not_finite", []):
        _restore(record, item, asked)
    return dict(record)


def _plain(value: object, pointer: str, not_finite: list[dict[str, str]]) -> Any:  # noqa: PLR0911
    """Turn a value into what JSON holds, noting where numbers are not finite."""
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        not_finite.append({"pointer": pointer, "reason": str(float(value))})
        return None
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind in "biufU":
        return _plain(value.tolist(), pointer, not_finite)
    if isinstance(value, sympy.Basic | sympy.MatrixBase):
        return str(value)
    if isinstance(value, Agreement):
        return _plain(value.to_dict(json_safe=False), pointer, not_finite)
    if isinstance(value, Estimate):
        return _plain(_estimate(value), pointer, not_finite)
    if isinstance(value, Mapping):
        return _object(value, pointer, not_finite)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_plain(item, f"{pointer}/{i}", not_finite) for i, item in enumerate(value)]
    raise HyperparameterError(
        f"recording {pointer!r}",
        f"JSON cannot hold a {type(value).__name__}",
        "pass numbers, texts, arrays, SymPy expressions, or mappings and sequences of them",
    )


def _object(
    value: Mapping[Any, object], pointer: str, not_finite: list[dict[str, str]]
) -> dict[str, Any]:
    """Turn a mapping into a JSON object; keys become texts and must stay distinct."""
    out: dict[str, Any] = {}
    for key, item in value.items():
        name = str(key)
        if name in out:
            raise HyperparameterError(
                f"recording {pointer!r}", f"two keys read {name!r}", "rename one of them"
            )
        out[name] = _plain(item, f"{pointer}/{_escape(name)}", not_finite)
    return out


def _estimate(estimate: Estimate) -> dict[str, object]:
    """Return the contents of an estimate."""
    names = ("name", "mean", "stderr", "variance", "n", "width", "depth", "method", "seeds")
    controlled = ("gain",) if estimate.uncontrolled is not None else ()
    return {name: getattr(estimate, name) for name in (*names, *controlled, "status", "flags")}


def _restore(record: dict[str, Any], item: object, asked: str) -> None:
    """Put a number that is not finite back in its place."""
    try:
        keys = item["pointer"].split("/")[1:]  # type: ignore[index]
        number = float({"nan": "nan", "inf": "inf", "-inf": "-inf"}[item["reason"]])  # type: ignore[index]
        place: Any = record
        for key in keys[:-1]:
            place = place[int(key) if isinstance(place, list) else _unescape(key)]
        last = int(keys[-1]) if isinstance(place, list) else _unescape(keys[-1])
        place[last] = number
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(asked, f"its not_finite entry {item!r} leads nowhere", "") from error


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _unescape(token: str) -> str:
    return token.replace("~1", "/").replace("~0", "~")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"it contains {name}")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
