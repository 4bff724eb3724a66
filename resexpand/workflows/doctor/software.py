"""Probes of the software: the folder of generated code, Numba, numba-cuda and the toolkit."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from resexpand.workflows.doctor import driver
from resexpand.workflows.doctor.missing import Found, Missing

EXTRA = "pip install 'resexpand[cuda]'"
OLDER = "pip install 'numba-cuda[cu{0}]' 'cuda-toolkit[nvcc]=={0}.*', or update the driver to 580"
NEWEST = 13
"""The version of CUDA that the `cuda` extra brings; it needs a driver that serves it."""
OLDEST = 12
"""The oldest version for which there is a numba-cuda."""
UPDATE = "update the driver to 580 or later, then "

LIBRARIES = {"nvvm": "nvvmVersion", "nvrtc": "nvrtcVersion", "nvJitLink": "nvJitLinkVersion"}
"""What numba-cuda compiles and links with, and the function that says which version it is."""


def folder() -> Found:
    """Look where generated code is kept, and write there."""
    from resexpand.codegen import store

    try:
        path = store.checked_folder()
        with tempfile.TemporaryFile(dir=path):
            pass
        modules = sum(name.endswith(".py") for name in os.listdir(path))
        free = shutil.disk_usage(path).free
    except OSError as error:
        raise Missing(
            f"generated code cannot be kept ({store.reason(error)}): every process compiles anew",
            store.REMEDY,
        ) from error
    facts = {"path": str(path), "modules": modules, "free_bytes": free}
    return f"{_short(path)}, writable, {modules} modules, {free / 1e9:.1f} GB free", facts


def _short(path: Path) -> str:
    try:
        return str(Path("~") / path.relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return str(path)


def compiler() -> Found:
    """Compile one function anew and run it."""
    import numba

    from resexpand.codegen.threads import thread_count

    found = numba.njit(lambda x: x * x + 1.0)(3.0)
    if found != 10.0:
        raise Missing(f"a compiled function returned {found} instead of 10.0")
    threads = thread_count()
    return f"Numba {numba.__version__}, threads: {threads}", {"threads": threads}


def package() -> Found:
    """Look for numba-cuda: the `numba.cuda` that Numba itself has is not it."""
    if importlib.util.find_spec("numba_cuda") is None:
        raise Missing("numba-cuda is not installed", _extra())
    facts = {name: _version(name) for name in ("numba-cuda", "cuda-bindings", "cuda-toolkit")}
    return ", ".join(f"{name} {found or '(missing)'}" for name, found in facts.items()), facts


def _extra() -> str:
    """Return the line that installs what suits the driver."""
    try:
        served = int(driver.version()[1]["cuda"].partition(".")[0])
    except Missing:
        served = NEWEST
    if served < OLDEST:
        return f"{UPDATE}{EXTRA}"
    return EXTRA if served >= NEWEST else OLDER.format(served)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def toolkit() -> Found:
    """Load the libraries of the toolkit and ask each for its version."""
    from cuda import pathfinder

    facts: dict[str, Any] = {}
    for name, question in LIBRARIES.items():
        try:
            path = pathfinder.load_nvidia_dynamic_lib(name).abs_path
        except pathfinder.DynamicLibNotFoundError as error:
            raise Missing(f"the library {name} of the CUDA toolkit was not found", EXTRA) from error
        major, minor = ctypes.c_int(), ctypes.c_int()
        getattr(ctypes.CDLL(path), question)(ctypes.byref(major), ctypes.byref(minor))
        facts[name] = f"{major.value}.{minor.value}"
    _judge()
    facts["ptxas"] = _assembler()
    words = [f"{name} {found}" for name, found in facts.items() if found]
    return ", ".join(words if facts["ptxas"] else [*words, "no ptxas"]), facts


def _judge() -> None:
    """Raise what keeps the toolkit from serving this machine's driver and device.

    Where there are none, those that suit it best are taken: they have a line of their own.
    """
    from resexpand.codegen.cuda.device import Device, machine, obstacle

    found = machine()
    found = replace(
        found,
        driver=found.driver or found.toolkit,
        devices=found.devices or (Device("device", found.newest_capability or (9, 0), 0),),
    )
    reason = obstacle(found)
    if reason is not None:
        raise Missing(reason.why, reason.remedy)


def _assembler() -> str | None:
    from resexpand.codegen.cuda.offline import assembler

    program = assembler()
    if program is None:
        return None
    run = subprocess.run(
        [os.fspath(program), "--version"], capture_output=True, text=True, check=False
    )
    release = re.search(r"release ([\d.]+)", run.stdout)
    return release[1] if release else None
