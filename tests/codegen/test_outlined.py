"""Outlined functions: machine code that calls a loop by its address, in every process.

Laws: (1) the caller holds a symbol and not the loop; (2) another process compiles nothing, and
reads the loop before its caller; (3) where the loop is gone from the disk, it is compiled again
instead of ending the process; (4) another digest is another symbol.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from resexpand.codegen.outlined import SYMBOL, outlined
from resexpand.montecarlo.lanes import lane_share
from resexpand.montecarlo.loops.columns import dot

TEXT = '''"""A caller of a loop."""

from resexpand.codegen.targets import cpu as _t
from resexpand.montecarlo.jit import outlined
from resexpand.montecarlo.loops.columns import dot

driver = _t.driver
dot = outlined(dot)


@driver
def run(x):
    return dot(x, x, x.size)
'''

CHILD = f"""
import numpy as np
from resexpand.codegen.store import load
from resexpand.montecarlo.jit import library
from resexpand.montecarlo.loops import columns
library.open()
run = load({TEXT!r}).run
print(run(np.arange(5.0)), sum(run.stats.cache_hits.values()),
      sum(columns.dot.stats.cache_hits.values()))
"""


def child(cache: Path) -> tuple[float, int, int]:
    """Return the result, and how often caller and loop were found on the disk."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "RESEXPAND_CACHE": str(cache)},
    )
    result, caller, loop = done.stdout.split()
    return float(result), int(caller), int(loop)


def test_another_process_reads_the_loop_before_its_caller(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert child(cache) == (30.0, 0, 0)
    assert child(cache) == (30.0, 1, 1)
    kept = list(cache.rglob("columns.dot*.nb[ic]"))
    assert len(kept) == 2
    for path in kept:
        path.unlink()
    assert child(cache) == (30.0, 1, 0)


@pytest.fixture
def compiled() -> tuple[str, str]:
    """Return the symbols of one loop under two digests."""
    names = []
    for digest in ("a", "b"):
        function = outlined(dot, digest)
        function.compile("float64(float64[::1], float64[::1], int64)")
        names.append(next(iter(function.overloads.values())).fndesc.mangled_name)
    return names[0], names[1]


def test_another_digest_is_another_symbol(compiled: tuple[str, str]) -> None:
    assert compiled[0] != compiled[1]
    assert all(SYMBOL.fullmatch(name.encode()) for name in compiled)


def test_inlined_functions_and_closures_are_linked() -> None:
    assert outlined(lane_share, "a") is lane_share
