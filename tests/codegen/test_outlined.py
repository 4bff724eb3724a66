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

average, driver = _t.average, _t.driver
dot = outlined(dot)


@average
def total(x):
    value = 0.0
    for i in range(x.size):
        value += x[i]
    return value


@driver
def run(x):
    return dot(x, x, x.size) + total(x)
'''

CHILD = f"""
import numpy as np
from resexpand.codegen.store import load
from resexpand.montecarlo.jit import library
from resexpand.montecarlo.loops import columns
library.open()
module = load({TEXT!r})
functions = module.run, columns.dot, module.total.inner
print(module.run(np.arange(5.0)), *(sum(f.stats.cache_hits.values()) for f in functions))
"""


def child(cache: Path) -> tuple[float, ...]:
    """Return the result, and how often caller, loop and average were found on the disk."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "RESEXPAND_CACHE": str(cache)},
    )
    return tuple(map(float, done.stdout.split()))


def test_another_process_reads_the_loop_before_its_caller(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert child(cache) == (40, 0, 0, 0)
    assert child(cache) == (40, 1, 1, 1)
    for names, hits in (("columns.dot", (1, 0, 1)), ("*.total", (1, 1, 0))):
        kept = list(cache.rglob(f"{names}*.nb[ic]"))
        assert len(kept) == 2
        for path in kept:
            path.unlink()
        assert child(cache) == (40, *hits)


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
