"""NVIDIA's driver, asked directly.

It is there or not whatever Python packages there are; so that a machine with a device is told what
to install. Only functions of the driver's documented interface are called, all of which write into
what a pointer leads to and return an error code.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from resexpand.workflows.doctor.missing import Found, Missing

DRIVER = {"linux": "libcuda.so.1", "win32": "nvcuda.dll"}
MANAGEMENT = {"linux": "libnvidia-ml.so.1", "win32": "nvml.dll"}
CAPABILITY = (75, 76)
"""Attributes of a device: major and minor compute capability."""
NO_DEVICE = 100
"""The driver's error code where it finds none."""


class _Driver:
    """NVIDIA's driver, asked directly: it is there or not whatever Python packages there are."""

    def __init__(self) -> None:
        name = DRIVER.get(sys.platform)
        if name is None:
            raise Missing(f"there are no CUDA drivers for {sys.platform}")
        try:
            self._library = ctypes.CDLL(name)
        except OSError as error:
            raise Missing(
                f"there is no NVIDIA driver ({name} was not found)",
                "on a machine with an NVIDIA GPU: install its driver, version 580 or later",
            ) from error

    def ask(self, function: str, *arguments: Any) -> int:
        """Call a function that writes one integer; return it."""
        value = ctypes.c_size_t(0)
        self.call(function, ctypes.byref(value), *arguments)
        return int(value.value)

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function and raise what it complains of."""
        code = getattr(self._library, function)(*arguments)
        if code:
            raise Missing(*self.complaint(function, code))

    def complaint(self, function: str, code: int) -> tuple[str, str]:
        """Return what an error code says, and what to do about it."""
        text = ctypes.c_char_p()
        self._library.cuGetErrorName(code, ctypes.byref(text))
        name = (text.value or b"an unknown error").decode()
        if name == "CUDA_ERROR_NO_DEVICE":
            return "the driver finds no device", (
                "make a device visible: check nvidia-smi and CUDA_VISIBLE_DEVICES, "
                "and that a container was given its GPU"
            )
        return f"the driver answers {function} with {name} ({code})", (
            "check that nvidia-smi works; after an update of the driver, restart the machine"
        )


def version() -> Found:
    """Ask the driver for its version and for the version of CUDA it speaks."""
    asked = _Driver()
    number = asked.ask("cuDriverGetVersion")
    cuda = (number // 1000, number % 1000 // 10)
    name = _management_version()
    facts = {"cuda": f"{cuda[0]}.{cuda[1]}", "version": name}
    return f"{name or 'version unknown'}, CUDA {facts['cuda']}", facts


def _management_version() -> str:
    """Return the version of the driver as its management library gives it, if it does."""
    try:
        library = ctypes.CDLL(MANAGEMENT[sys.platform])
    except OSError:
        return ""
    text = ctypes.create_string_buffer(80)
    if library.nvmlInit_v2():
        return ""
    code = library.nvmlSystemGetDriverVersion(text, len(text))
    return "" if code else text.value.decode()


def devices() -> Found:
    """List the devices: name, compute capability, memory."""
    asked = _Driver()
    asked.call("cuInit", 0)
    found = [_device(asked, index) for index in range(asked.ask("cuDeviceGetCount"))]
    if not found:
        raise Missing(*asked.complaint("cuDeviceGetCount", NO_DEVICE))
    words = [
        f"{d['name']}, sm_{d['capability'].replace('.', '')}, {d['gibibytes']:.0f} GiB"
        for d in found
    ]
    return "; ".join(words), {"devices": found}


def _device(asked: _Driver, index: int) -> dict[str, Any]:
    handle = ctypes.c_int()
    asked.call("cuDeviceGet", ctypes.byref(handle), index)
    name = ctypes.create_string_buffer(256)
    asked.call("cuDeviceGetName", name, len(name), handle)
    major, minor = (asked.ask("cuDeviceGetAttribute", which, handle) for which in CAPABILITY)
    memory = asked.ask("cuDeviceTotalMem_v2", handle)
    return {
        "name": name.value.decode(errors="replace"),
        "capability": f"{major}.{minor}",
        "bytes": memory,
        "gibibytes": memory / 2**30,
    }
