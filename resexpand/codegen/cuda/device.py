"""What a machine has to run CUDA code on, and what to do where something is missing.

`machine` looks once, through NVIDIA's own bindings, without starting anything on a device.
`obstacle` judges what was found, the first missing thing first: the packages of the ``cuda`` extra,
a toolkit that is new enough, a driver, a driver as new as the toolkit, a device, and a toolkit that
knows the device. In the simulator of numba-cuda there is one device, and it is not real.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from numba import config

from resexpand.errors import DeviceError

INSTALL = "pip install 'resexpand[cuda]'"
OLDEST_TOOLKIT = (12, 0)
DRIVERS = "see https://www.nvidia.com/drivers"
DRIVER = {"win32": "nvcuda.dll"}.get(sys.platform, "libcuda.so.1")
TOOLKITS = (12, 13)
"""Major versions of CUDA for which there is a numba-cuda."""


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
    """What was found.

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
        What the driver or the toolkit said, if it was not a success.
    devices : tuple of Device
        In the order of the driver.
    simulated : bool
        Whether kernels run as Python in this process.
    forked : bool
        Whether it was the parent of this process that asked the driver.
    """

    package: str | None = None
    toolkit: tuple[int, int] | None = None
    newest_capability: tuple[int, int] | None = None
    driver: tuple[int, int] | None = None
    trouble: str = ""
    devices: tuple[Device, ...] = ()
    simulated: bool = False
    forked: bool = False


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
    if package is None:
        return Machine()
    if config.ENABLE_CUDASIM:
        simulated = Device("simulator", (9, 0), 2**30)
        return Machine(package, devices=(simulated,), simulated=True)
    toolkit, newest, trouble = _toolkit()
    driver, devices, said = _driver()
    return Machine(package, toolkit, newest, driver, trouble or said, devices)


def obstacle(found: Machine) -> Obstacle | None:
    """Return the first thing that keeps a machine from running CUDA code, None if nothing does."""
    if found.package is None:
        return Obstacle("numba-cuda and what it needs are not installed", INSTALL)
    if found.simulated:
        return None
    return _of_toolkit(found) or _of_driver(found) or _of_device(found) or _of_process(found)


def _of_toolkit(found: Machine) -> Obstacle | None:
    if found.toolkit is None:
        return Obstacle(f"the CUDA toolkit cannot be loaded ({found.trouble})", INSTALL)
    if found.toolkit < OLDEST_TOOLKIT:
        own, oldest = _dotted(found.toolkit), _dotted(OLDEST_TOOLKIT)
        return Obstacle(f"the CUDA toolkit {own} is older than {oldest}", f"{INSTALL} --upgrade")
    return None


def _of_driver(found: Machine) -> Obstacle | None:
    assert found.toolkit is not None
    if found.driver is None:
        return Obstacle(
            f"there is no NVIDIA driver ({found.trouble})",
            f"install the NVIDIA driver ({DRIVERS}), or use target='cpu'",
        )
    served = found.driver[0]
    if served < found.toolkit[0]:
        older = f", or pip install 'numba-cuda[cu{served}]' 'cuda-toolkit[nvcc]=={served}.*'"
        return Obstacle(
            f"the driver serves CUDA {_dotted(found.driver)}, the toolkit is "
            f"{_dotted(found.toolkit)}",
            f"update the NVIDIA driver ({DRIVERS}){older if served in TOOLKITS else ''}",
        )
    return None


def _of_device(found: Machine) -> Obstacle | None:
    assert found.toolkit is not None
    if not found.devices:
        said = f" ({found.trouble})" if found.trouble else ""
        return Obstacle(f"the CUDA driver finds no device{said}", "use target='cpu'")
    first, newest = found.devices[0], found.newest_capability
    if newest is not None and first.capability > newest:
        return Obstacle(
            f"the CUDA toolkit {_dotted(found.toolkit)} is too old for the {first.name}: it "
            f"compiles for compute capabilities up to {_dotted(newest)}, not "
            f"{_dotted(first.capability)}",
            f"{INSTALL} --upgrade",
        )
    return None


def _of_process(found: Machine) -> Obstacle | None:
    if not found.forked:
        return None
    return Obstacle(
        "this process was forked from one that has started the CUDA driver, which serves no fork",
        "use threads, or processes that start anew: ProcessPoolExecutor(mp_context="
        "multiprocessing.get_context('spawn'))",
    )


def require_cuda(asked: str, found: Machine | None = None) -> Device:
    """Return the device that code runs on.

    Parameters
    ----------
    asked : str
        What the caller asked for, for the message.
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
        return None, None, _first_line(error)
    newest = max(int(number) for number in architectures)
    return (int(major), int(minor)), divmod(newest, 10), ""


def _driver() -> tuple[tuple[int, int] | None, tuple[Device, ...], str]:
    """Return the driver's CUDA version, its devices, and what went wrong."""
    from cuda.bindings import driver
    from cuda.pathfinder import DynamicLibNotFoundError

    try:
        started = driver.cuInit(0)[0]
    except DynamicLibNotFoundError:
        return None, (), f"{DRIVER} was not found"
    except RuntimeError as error:
        return None, (), _first_line(error)
    number = int(driver.cuDriverGetVersion()[1])
    served = (number // 1000, number % 1000 // 10)
    if started != driver.CUresult.CUDA_SUCCESS:
        return served, (), started.name
    count = int(driver.cuDeviceGetCount()[1])
    return served, tuple(_device(driver, index) for index in range(count)), ""


def _device(driver: Any, index: int) -> Device:
    handle = driver.cuDeviceGet(index)[1]
    kinds = driver.CUdevice_attribute
    major = kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
    minor = kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR
    capability = tuple(int(driver.cuDeviceGetAttribute(kind, handle)[1]) for kind in (major, minor))
    name = driver.cuDeviceGetName(256, handle)[1].decode().rstrip("\0")
    return Device(name, (capability[0], capability[1]), int(driver.cuDeviceTotalMem(handle)[1]))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
