"""Data from files: a matrix of numbers, one input per row, out of ``.npy`` or ``.csv``.

A ``.csv`` is read as spreadsheets write it: UTF-8 with or without a byte-order mark; values between
commas, semicolons, tabs or spaces, in quotation marks or not; ``#`` begins a comment. A first line
without any number is a header; one separator may follow the last value. Between semicolons or tabs
a comma is a decimal comma, unless the file has decimal points too. Ambiguous
lines are refused by number.
"""

from __future__ import annotations

import os
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resexpand.errors import HyperparameterError, StoreError

_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|nan|inf(inity)?)", re.I | re.A)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?", re.A)
_QUOTED = re.compile(r"""(["'])(.*?)\1""")
_COMMA_OF_DIGITS = re.compile(r"\d?,\d", re.A)
_VALUES = frozenset(("true", "false", "na", "n/a", "null", "none"))


def array_file(name: str | os.PathLike[str], option: str = "inputs") -> NDArray[np.float64]:
    """Return the inputs in a file, one per row.

    Parameters
    ----------
    name : path-like
        ``.npy`` (read without unpickling) or ``.csv``.
    option : str
        Name in error messages.

    Returns
    -------
    ndarray, shape (D, d_in)

    Raises
    ------
    StoreError
        If the file cannot be read.
    HyperparameterError
        If it holds no finite matrix of numbers; the message names the line of a ``.csv``.
    """
    path, asked = Path(name), f"{option} {os.fspath(name)}"
    suffix = path.suffix.lower()
    if suffix not in (".npy", ".csv"):
        raise HyperparameterError(asked, "its name ends neither in .npy nor in .csv", "convert it")
    try:
        array = _read_npy(path) if suffix == ".npy" else _read_csv(path)
    except OSError as error:
        why = error.strerror or "it cannot be read"
        raise StoreError(asked, why, "give a file that can be read") from None
    except (ValueError, EOFError, MemoryError, OverflowError, TypeError) as error:
        why = str(error).split("\n", maxsplit=1)[0][:160] or "it is empty"
        raise HyperparameterError(
            asked, why, "give a matrix of numbers, one input per row"
        ) from None
    if array.ndim != 2 or not array.size:
        raise HyperparameterError(
            asked, f"its shape is {array.shape}", "give a matrix with one input per row"
        )
    if not np.isfinite(array).all():
        bad = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise HyperparameterError(
            asked, f"the entry at row {bad[0]}, column {bad[1]} is not finite", "replace it"
        )
    return array


def _read_npy(path: Path) -> NDArray[np.float64]:
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError("it is not written by numpy.save, whatever its name says")
        file.seek(0)
        try:
            array = np.lib.format.read_array(file, allow_pickle=False)
        except (SyntaxError, tokenize.TokenError):
            raise ValueError("its header is damaged") from None
    if array.dtype.kind not in "biuf":
        raise ValueError(f"it holds entries of type {array.dtype}, not real numbers")
    with np.errstate(over="ignore"):
        return np.asarray(array, dtype=np.float64)


def _read_csv(path: Path) -> NDArray[np.float64]:
    rows: list[list[float]] = []
    points = commas = separators = False
    for place, has_comma, fields in _lines(path.read_text(encoding="utf-8-sig")):
        numeric = [bool(_NUMBER.fullmatch(f) or _DECIMAL_COMMA.fullmatch(f)) for f in fields]
        if not rows and not any(numeric) and all(map(_is_heading, fields)):
            continue
        if not all(numeric):
            field = fields[numeric.index(False)]
            raise ValueError(f"line {place}: {field[:40]!a} is not a number")
        commas |= any("," in field for field in fields)
        separators |= has_comma and not any("," in field for field in fields)
        points |= any("." in field for field in fields)
        if commas and (points or separators):
            raise ValueError(
                f"line {place}: commas between semicolons or tabs, beside decimal points or commas "
                "that separate values: what a comma means is not clear"
            )
        if rows and len(fields) != len(rows[0]):
            raise ValueError(
                f"line {place} has {len(fields)} values, those before have {len(rows[0])}: "
                "its rows differ in length"
            )
        rows.append([float(field.replace(",", ".")) for field in fields])
    return np.array(rows)


def _is_heading(field: str) -> bool:
    """Whether a field names a column: a word for a value does not, nor digits of any script."""
    return any(map(str.isalpha, field)) and field.lower() not in _VALUES


def _lines(text: str) -> Iterator[tuple[int, bool, list[str]]]:
    """Return the fields of every line that has any, with its number and whether it has commas."""
    for place, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#")[0].strip()
        if line:
            fields = [field.strip() for field in _split(line, place)]
            if len(fields) > 1 and not fields[-1]:
                del fields[-1]
            yield place, "," in line, [field.strip("\"'").strip() for field in fields]


def _split(line: str, place: int) -> list[str]:
    """Split a line at its separators; a comma between semicolons or tabs is a decimal comma."""
    if ";" in line or "\t" in line:
        fields = re.split(r"\s*[;\t]\s*", line)
        if any("," in field for field in fields):
            return fields
        return [part for field in fields for part in (field.split() or [""])]
    if "," not in line:
        return line.split()
    if any(_COMMA_OF_DIGITS.search(quoted[2]) for quoted in _QUOTED.finditer(line)):
        raise ValueError(
            f"line {place}: a comma within quotation marks may be decimal or one of thousands"
        )
    if re.search(r"[^\s,]\s+[^\s,]", line) and re.search(r"\d,\d", line):
        raise ValueError(f"line {place}: commas and spaces may both separate values")
    return re.split(r"\s*,\s*|\s+", line)
