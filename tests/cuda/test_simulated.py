"""The harness itself: bodies really run simulated, arrays arrive bitwise, failures are told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import simulated
from numpy.testing import assert_array_equal
from simulated import SimulatorError, in_simulator


def block_sums(values, threads, name):
    """Sum rows through shared memory and barriers, each block one row."""
    global cuda  # noqa: PLW0603
    from numba import cuda, float64

    count = int(threads)

    @cuda.jit
    def rows(source, target):
        part = cuda.shared.array(4, float64)
        lane = cuda.threadIdx.x
        part[lane] = 0.0
        for i in range(lane, source.shape[1], cuda.blockDim.x):
            part[lane] += source[cuda.blockIdx.x, i]
        cuda.syncthreads()
        if lane == 0:
            total = 0.0
            for i in range(cuda.blockDim.x):
                total += part[i]
            target[cuda.blockIdx.x] = total

    found = np.zeros(len(values))
    rows[len(values), count](values, found)
    kind = f"{type(threads).__name__} {type(name).__name__}"
    return {"sums": found, "same": values, "kind": kind, "devices": len(cuda.gpus)}


def breaks(x):
    """Raise inside the simulated code."""
    global cuda  # noqa: PLW0603
    from numba import cuda

    @cuda.jit
    def beyond(x):
        x[cuda.threadIdx.x + 1] = 1.0

    beyond[1, len(x)](x)
    return {"x": x}


def nothing():
    """Return no array."""
    return {}


def test_a_body_runs_simulated_and_arrays_arrive_bitwise(simulator):
    values = np.random.default_rng(1).normal(size=(3, 10))
    values[0, 0] = -0.0
    found = simulator(block_sums, values=values, threads=4, name="row")
    assert_array_equal(found["same"].view(np.int64), values.view(np.int64))
    lanes = [values[:, lane::4] for lane in range(4)]
    parts = [np.add.accumulate(lane, axis=1)[:, -1] for lane in lanes]
    assert_array_equal(found["sums"], ((parts[0] + parts[1]) + parts[2]) + parts[3])
    assert found["kind"] == "int str"
    assert found["devices"] == 1


def test_control_a_body_that_raises_is_a_failure_with_its_reason(simulator):
    with pytest.raises(SimulatorError, match=r"(?s)breaks in the simulator.*IndexError"):
        simulator(breaks, x=np.zeros(2))


def test_control_a_body_that_returns_nothing_is_a_failure(simulator):
    with pytest.raises(SimulatorError, match="returned no arrays"):
        simulator(nothing)


def test_control_a_process_that_does_not_simulate_is_refused(tmp_path):
    given = tmp_path / "given.npz"
    np.savez(given)
    files = [__file__, "nothing", given, tmp_path / "found.npz"]
    command = [sys.executable, simulated.__file__, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "would not simulate" in done.stderr


def test_a_body_stands_at_the_top_of_its_file():
    def inside():
        return nothing()

    with pytest.raises(ValueError, match="no function at the top"):
        in_simulator(inside)


def test_ptxas_is_there_with_the_package(ptxas):
    done = subprocess.run([str(ptxas), "--version"], capture_output=True, text=True, check=True)
    assert "ptx" in done.stdout.lower()
    assert Path(ptxas).is_file()
