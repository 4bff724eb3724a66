"""CUDA equipment of a machine, and the remedy where a part is missing.

`machine` looks once, without starting anything on a device: it asks the driver directly, through
its documented interface, for the driver is there or not whatever Python packages there are.
`obstacle` judges what was found. In the simulator of numba-cuda there is one device, and it is not
real. Loading this module needs the standard library alone.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from resexpand.errors import DeviceError

INSTALL = "pip install 'resexpand[cuda]'"
OLDER = "pip install 'numba-cuda[cu{0}]' 'cuda-toolkit[nvcc]=={0}.*'"
UPDATE = "update the NVIDIA driver (see https://www.nvidia.com/drivers)"
TOOLKITS = (12, 13)
"""Major versions of CUDA for which there is a numba-cuda; the ``cuda`` extra brings the last."""

DRIVER = {"linux": "libcuda.so.1", "win32": "nvcuda.dll"}.get(sys.platform, "")
CAPABILITY = (75, 76)
"""Attributes of a device: major and minor compute capability."""


@dataclass(frozen=True)
class Device:
    """One GPU.

    Attributes
    ----------
    name : str
        As the driver calls it.
    capability : (int, int)
        Compute capability.
    memory : int
        Bytes.
    """

    name: str
    capability: tuple[int, int]
    memory: int


@dataclass(frozen=True)
class Machine:
    """CUDA equipment of a machine.

    Attributes
    ----------
    package : str or None
        Version of numba-cuda; None if it, or the bindings it needs, is not installed.
    toolkit : (int, int) or None
        Version of the compiler libraries.
    newest_capability : (int, int) or None
        The newest compute capability that the toolkit compiles for.
    driver : (int, int) or None
        The newest CUDA version that the driver serves; None if there is no driver.
    trouble : str
        Error of the driver, if it failed.
    devices : tuple of Device
        In the order of the driver.
    simulated : bool
        Whether kernels run as Python in this process.
    forked : bool
        Whether it was the parent of this process that asked the driver.
    missing : str
        Error of the toolkit, if it could not be loaded.
    """

    package: str | None = None
    toolkit: tuple[int, int] | None = None
    newest_capability: tuple[int, int] | None = None
    driver: tuple[int, int] | None = None
    trouble: str = ""
    devices: tuple[Device, ...] = ()
    simulated: bool = False
    forked: bool = False
    missing: str = ""


@dataclass(frozen=True)
class Obstacle:
    """Why no GPU can be used, and what would help."""

    why: str
    remedy: str


def machine() -> Machine:
    """Return what this machine has; it is looked up once per process.

    A driver that was started belongs to the process that did so: it serves no fork of it.
    """
    found, process = _looked_up()
    forked = process != os.getpid() and found.driver is not None
    return replace(found, forked=True) if forked else found


@cache
def _looked_up() -> tuple[Machine, int]:
    """Return what there is, and the process that looked."""
    return _found(), os.getpid()


def _found() -> Machine:
    package = _package()
    if package is not None:
        from numba import config

        if config.ENABLE_CUDASIM:
            simulated = Device("simulator", (9, 0), 2**30)
            return Machine(package, devices=(simulated,), simulated=True)
    toolkit, newest, missing = _toolkit() if package else (None, None, "")
    driver, devices, trouble = _driver()
    return Machine(package, toolkit, newest, driver, trouble, devices, missing=missing)


def obstacle(found: Machine, parts: tuple[str, ...] = ()) -> Obstacle | None:
    """Return the first thing that keeps a machine from running CUDA code, None if nothing does.

    Parameters
    ----------
    found : Machine
        Equipment of the machine.
    parts : tuple of str, optional
        Some of ``package``, ``toolkit``, ``driver``, ``devices`` and ``process`` to look at; all by
        default.
    """
    if found.simulated:
        return None
    return next((o for part, o in _obstacles(found) if not parts or part in parts), None)


def _obstacles(found: Machine) -> Iterator[tuple[str, Obstacle]]:
    """Yield obstacles by part, each resting on those before it."""
    if found.package is None:
        served = found.driver[0] if found.driver else TOOLKITS[-1]
        remedy = INSTALL
        if served < TOOLKITS[-1]:
            remedy = OLDER.format(served) if served in TOOLKITS else f"{UPDATE}, then {INSTALL}"
        yield "package", Obstacle("numba-cuda and what it needs are not installed", remedy)
    if (unfit := _of_toolkit(found)) is not None:
        yield "toolkit", unfit
    if found.driver is None:
        remedy = (
            "on a machine with an NVIDIA GPU: install its driver, version 580 or later; "
            "elsewhere use target='cpu'"
        )
        yield "driver", Obstacle(f"there is no NVIDIA driver ({found.trouble})", remedy)
    if not found.devices:
        said = f" ({found.trouble})" if found.trouble else ""
        remedy = (
            "make one visible: check nvidia-smi and CUDA_VISIBLE_DEVICES, and that a container was "
            "given its GPU; or use target='cpu'"
        )
        yield "devices", Obstacle(f"the CUDA driver finds no device{said}", remedy)
    if found.forked:
        why = (
            "this process was forked from one that has started the CUDA driver, which serves no "
            "fork"
        )
        remedy = (
            "use threads, or processes that start anew: ProcessPoolExecutor(mp_context="
            "multiprocessing.get_context('spawn'))"
        )
        yield "process", Obstacle(why, remedy)


def _of_toolkit(found: Machine) -> Obstacle | None:
    if found.toolkit is None:
        return Obstacle(f"the CUDA toolkit cannot be loaded ({found.missing})", INSTALL)
    own, oldest = _dotted(found.toolkit), (TOOLKITS[0], 0)
    if found.toolkit < oldest:
        why = f"the CUDA toolkit {own} is older than {_dotted(oldest)}"
        return Obstacle(why, f"{INSTALL} --upgrade")
    if found.driver is not None and found.driver[0] < found.toolkit[0]:
        served = found.driver[0]
        older = f", or {OLDER.format(served)}" if served in TOOLKITS else ""
        why = f"the driver serves CUDA {_dotted(found.driver)}, the toolkit is {own}"
        return Obstacle(why, f"{UPDATE}{older}")
    newest = found.newest_capability
    if found.devices and newest is not None and found.devices[0].capability > newest:
        first = found.devices[0]
        return Obstacle(
            f"the CUDA toolkit {own} is too old for the {first.name}: it compiles for compute "
            f"capabilities up to {_dotted(newest)}, not {_dotted(first.capability)}",
            f"{INSTALL} --upgrade",
        )
    return None


def require_cuda(asked: str, found: Machine | None = None) -> Device:
    """Return the device that code runs on.

    Parameters
    ----------
    asked : str
        The caller's request, for the message.
    found : Machine, optional
        This machine by default.

    Raises
    ------
    DeviceError
        If there is none, with the reason and what to install.
    """
    found = machine() if found is None else found
    reason = obstacle(found)
    if reason is not None:
        raise DeviceError(asked, reason.why, reason.remedy)
    return found.devices[0]


def chosen(found: Machine | None = None) -> tuple[str, str]:
    """Return the target that ``target="auto"`` stands for, and a sentence that says so.

    Parameters
    ----------
    found : Machine, optional
        This machine by default.
    """
    found = machine() if found is None else found
    reason = obstacle(found)
    if reason is not None:
        return "cpu", f"cpu ({reason.why})"
    return "cuda", f"cuda ({found.devices[0].name})"


def _package() -> str | None:
    """Return the version of numba-cuda if it can be imported."""
    if find_spec("numba_cuda") is None or find_spec("cuda") is None:
        return None
    if find_spec("cuda.bindings") is None:
        return None
    try:
        return version("numba-cuda")
    except PackageNotFoundError:
        return None


def _dotted(pair: tuple[int, int]) -> str:
    return f"{pair[0]}.{pair[1]}"


def _toolkit() -> tuple[tuple[int, int] | None, tuple[int, int] | None, str]:
    """Return the toolkit's version, the newest capability it knows, and what went wrong."""
    from cuda.bindings import nvrtc
    from cuda.pathfinder import DynamicLibNotFoundError

    try:
        _, major, minor = nvrtc.nvrtcVersion()
        _, architectures = nvrtc.nvrtcGetSupportedArchs()
    except DynamicLibNotFoundError:
        return None, None, "nvrtc was not found"
    except RuntimeError as error:
        return None, None, (str(error).strip() or type(error).__name__).splitlines()[0]
    newest = max(int(number) for number in architectures)
    return (int(major), int(minor)), divmod(newest, 10), ""


def _driver() -> tuple[tuple[int, int] | None, tuple[Device, ...], str]:
    """Return the driver's CUDA version, its devices, and what went wrong."""
    if not DRIVER:
        return None, (), f"there is none for {sys.platform}"
    try:
        library = ctypes.CDLL(DRIVER)
    except OSError:
        return None, (), f"{DRIVER} was not found"
    number = _asked(library.cuDriverGetVersion)
    served = (number // 1000, number % 1000 // 10)
    code = library.cuInit(0)
    if code:
        name = ctypes.c_char_p()
        library.cuGetErrorName(code, ctypes.byref(name))
        return served, (), (name.value or b"error %d" % code).decode()
    count = _asked(library.cuDeviceGetCount)
    return served, tuple(_device(library, index) for index in range(count)), ""


def _device(library: Any, index: int) -> Device:
    handle = _asked(library.cuDeviceGet, index)
    name = ctypes.create_string_buffer(256)
    library.cuDeviceGetName(name, len(name), handle)
    major, minor = (_asked(library.cuDeviceGetAttribute, which, handle) for which in CAPABILITY)
    memory = _asked(library.cuDeviceTotalMem_v2, handle)
    return Device(name.value.decode(errors="replace"), (major, minor), memory)


def _asked(function: Any, *arguments: int) -> int:
    """Call a function of the driver that writes one whole number; return it, 0 if it fails."""
    value = ctypes.c_size_t(0)
    function(ctypes.byref(value), *arguments)
    return int(value.value)
