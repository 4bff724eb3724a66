"""The claims of docs/speed.rst on the samplers agree with the record of the benchmark."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from resexpand.export.record import read_record

ROOT = Path(__file__).resolve().parents[1]
ROWS = {
    "normals alone, written to an array": "own normals",
    "dense weights, multiplied as they are made": "dense",
    "function space, relu": "function-space, relu",
    "function space, tanh": "function-space, tanh",
    "function space, erf": "function-space, erf",
    "dense loop in PyTorch, float32": "torch32",
    "dense loop in NumPy": "NumPy loop",
    "dense loop in PyTorch, float64": "torch64",
    "neural-tangents, Monte Carlo kernel, float32": "nt32",
}
NAMES, NANOSECONDS, RATIO = 44, 13, 10


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    return read_record(ROOT / "benchmarks" / "results" / "samplers.json")


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs" / "speed.rst").read_text("utf-8")


def table(record: dict[str, Any]) -> str:
    """Return the table as the page should have it."""
    rule = f"{'=' * NAMES}  {'=' * NANOSECONDS}  {'=' * RATIO}"
    lines = [rule, f"{'one thread':{NAMES}}  {'ns per normal':{NANOSECONDS}}  over dense", rule]
    for name, key in ROWS.items():
        found = record["rates"][key]
        each = f"{found['nanoseconds_per_normal']['median']:.2f}"
        ratio = f"{found['time_over_dense']['median']:.1f}"
        lines.append(f"{name:{NAMES}}  {each:{NANOSECONDS}}  {ratio}")
    return "\n".join([*lines, rule])


def sentences(record: dict[str, Any]) -> tuple[str, ...]:
    """Return the sentences with numbers, on one line each."""
    dense, thin = record["dense"], record["function_space"]
    narrow, wide = record["peak_mebibytes"]["64"], record["peak_mebibytes"]["65536"]
    return (
        f"dense networks of width {dense['width']} and depth {dense['depth']}, function-space "
        f"networks of width {thin['width']} and depth {thin['depth']}",
        f"takes as long as {record['function_space_over_dense']['median']:.0f} in function space",
        f"a process that draws networks of width 65,536 and depth 1000 for ten inputs holds "
        f"{wide:.0f} MiB at most, and {narrow:.0f} MiB at width 64; "
        f"{record['mapped_mebibytes']:.0f} MiB of either are libraries mapped from their files",
    )


def agrees(record: dict[str, Any], page: str) -> bool:
    flowing = " ".join(page.split())
    return table(record) in page and all(text in flowing for text in sentences(record))


def test_page_and_record_are_equal(record: dict[str, Any], page: str) -> None:
    assert table(record) in page
    flowing = " ".join(page.split())
    for text in sentences(record):
        assert text in flowing


@pytest.mark.parametrize("key", ["rates", "peak_mebibytes", "function_space_over_dense"])
def test_a_changed_record_is_noticed(record: dict[str, Any], page: str, key: str) -> None:
    changed = copy.deepcopy(record)
    if key == "rates":
        changed[key]["dense"]["nanoseconds_per_normal"]["median"] *= 1.1
    elif key == "peak_mebibytes":
        changed[key]["65536"] += 5
    else:
        changed[key]["median"] += 5
    assert not agrees(changed, page)
