"""From a kernel to machine code without a driver: PTX, and what the assembler says of it.

A kernel is compiled for a compute capability and assembled by ``ptxas``, which reports registers,
spills and stack. A spill is a register kept in memory; a stack is an array indexed by a variable,
or a call that was not inlined. A kernel of this package has neither.

Numba-cuda compiles a device function that a kernel calls for the capability of the current device,
and asks the driver for it even where the capability was given. `ptx_of` answers in the driver's
place while it compiles: this is the one place that may.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from types import SimpleNamespace
from typing import Any

CAPABILITY = (9, 0)
_LOCK = RLock()


@dataclass(frozen=True)
class Usage:
    """Resources of one kernel, in the words of the assembler.

    Attributes
    ----------
    registers : int
        32-bit registers per thread.
    stack : int
        Bytes of local memory per thread, spills aside.
    spill_stores, spill_loads : int
        Bytes of registers written to and read from local memory.
    shared : int
        Bytes of statically sized shared memory per block.
    """

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int

    @property
    def in_registers(self) -> bool:
        """Whether nothing is kept in local memory."""
        return not (self.stack or self.spill_stores or self.spill_loads)


def ptx_of(function: Any, signature: Any, cc: tuple[int, int] = CAPABILITY) -> str:
    """Return the PTX of a kernel.

    Parameters
    ----------
    function : callable
        A kernel that a driver decorator returned, or its plain function.
    signature : numba signature
        Its argument types, ``void(...)``.
    cc : (int, int)
        Compute capability.
    """
    from numba import cuda

    plain = getattr(function, "py_func", function)
    with _in_place_of_the_driver(cc):
        text: str = cuda.compile_ptx(plain, signature, cc=cc)[0]
    return text


def assemble(ptx: str, cc: tuple[int, int] = CAPABILITY) -> Usage:
    """Assemble the PTX of one kernel and return what it takes."""
    program = assembler()
    if program is None:
        raise FileNotFoundError("there is no ptxas")
    with tempfile.TemporaryDirectory(prefix="resexpand-") as folder:
        source, result = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(ptx)
        arch = f"-arch=sm_{cc[0]}{cc[1]}"
        command = [str(program), "-v", arch, str(source), "-o", str(result)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise ValueError(f"ptxas says: {run.stderr}")
    return _usage(run.stderr)


def usage_of(function: Any, signature: Any, cc: tuple[int, int] = CAPABILITY) -> Usage:
    """Compile and assemble a kernel, and return what it takes."""
    return assemble(ptx_of(function, signature, cc), cc)


def linked_usage_of(function: Any, signature: Any, cc: tuple[int, int] = CAPABILITY) -> Usage:
    """Return what a kernel takes when it is linked the way a launch does it.

    Where nvJitLink is there, numba-cuda hands it intermediate code instead of PTX, and the
    optimiser runs once more over all of it.

    Parameters
    ----------
    function, signature, cc
        As for `ptx_of`.
    """
    from cuda.bindings import nvjitlink
    from numba import cuda

    plain = getattr(function, "py_func", function)
    with _in_place_of_the_driver(cc):
        code, _ = cuda.compile(plain, signature, device=False, abi="numba", output="ltoir", cc=cc)
    options = ["-lto", f"-arch=sm_{cc[0]}{cc[1]}", "-Xptxas=-v"]
    linker = nvjitlink.create(len(options), options)
    try:
        nvjitlink.add_data(linker, nvjitlink.InputType.LTOIR, code, len(code), "kernel")
        nvjitlink.complete(linker)
        report = bytearray(nvjitlink.get_info_log_size(linker))
        nvjitlink.get_info_log(linker, report)
    finally:
        nvjitlink.destroy(linker)
    return _usage(report.decode())


def assembler() -> Path | None:
    """Return where ``ptxas`` is: beside the wheels of the toolkit, else wherever is usual."""
    try:
        from cuda import pathfinder
    except ImportError:
        return None
    found = pathfinder.find_nvidia_binary_utility("ptxas")
    return Path(found) if found else None


def _usage(report: str) -> Usage:
    """Read the report of ``ptxas -v``, summed over kernels where there are several."""

    def number(pattern: str) -> int:
        return max((int(found) for found in re.findall(pattern, report)), default=0)

    return Usage(
        registers=number(r"Used (\d+) registers"),
        stack=number(r"(\d+) bytes stack frame"),
        spill_stores=number(r"(\d+) bytes spill stores"),
        spill_loads=number(r"(\d+) bytes spill loads"),
        shared=number(r"(\d+) bytes smem"),
    )


@contextmanager
def _in_place_of_the_driver(cc: tuple[int, int]) -> Iterator[None]:
    from numba.cuda import dispatcher

    with _LOCK:
        asked = dispatcher.get_current_device
        dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=cc)
        try:
            yield
        finally:
            dispatcher.get_current_device = asked
