"""Requirements of the CUDA tests on the machine, and how they skip where one is missing.

Ask for the fixture of what a test needs, and import ``numba.cuda`` inside tests and bodies alone:

- `simulator`: call a body in a simulating process (`simulated.in_simulator`); needs numba-cuda.
- `numba_cuda`: the package, for what compiles without a driver.
- `ptxas`: the path of the assembler.
- `device`: a device to run on.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from offline import assembler
from simulated import in_simulator

NO_PACKAGE = "numba-cuda is not installed"
NO_ASSEMBLER = "ptxas is not installed"
NO_DEVICE = "there is no CUDA device"


@pytest.fixture(scope="session")
def numba_cuda() -> None:
    """Skip where the package is missing; `numba.cuda` alone is not it."""
    if importlib.util.find_spec("numba_cuda") is None:
        pytest.skip(NO_PACKAGE)


@pytest.fixture(scope="session")
def simulator(numba_cuda: None) -> Callable[..., dict[str, Any]]:
    """Return the function that calls a body in a simulating process."""
    return in_simulator


@pytest.fixture(scope="session")
def ptxas(numba_cuda: None) -> Path:
    """Return the path of the assembler that came with the `cuda` extra, or of the system's."""
    found = assembler()
    if found is None:
        pytest.skip(NO_ASSEMBLER)
    return found


@cache
def _has_device() -> bool:
    # In another process: a driver that is asked here would be kept by every fork that follows.
    script = "from numba import cuda; raise SystemExit(0 if cuda.is_available() else 3)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    return not run.returncode


@pytest.fixture(scope="session")
def device(numba_cuda: None) -> None:
    """Skip where no device can be used."""
    if not _has_device():
        pytest.skip(NO_DEVICE)
