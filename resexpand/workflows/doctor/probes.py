r"""The probes by name, answered in a process of their own.

    python -m resexpand.workflows.doctor.probes NAME [NAME ...]

prints one line of JSON per probe and stops at the first that fails. A probe returns what there is
in words and in numbers, or raises; a process that ends without a word is a finding as well.

The results have exact answers: for a branch of rectifier and weights of variance 2 the kernel
is :math:`K^l = (1 + \rho^2)^l K^0`, at infinite width and, on average, at any width.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, TypeAlias

from resexpand.codegen.cuda import device
from resexpand.errors import DeviceError, ResexpandError

Found: TypeAlias = tuple[str, dict[str, Any]]
"""A finding in words, and in numbers for programs."""

DEPTH, SCALE, WIDTH, DRAWS = 10, 0.5, 32, 256
EXACT = 1e-14
"""Allowed relative error of a kernel after ten layers."""
SURPRISE = 6.0
"""Allowed deviation of a sampled mean in standard errors."""
SAME = 1e-9
"""Allowed relative difference of the same networks on two targets."""


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
        why = f"generated code cannot be kept ({store.reason(error)}): every process compiles anew"
        raise ResexpandError("the folder", why, store.REMEDY) from error
    try:
        shown = str(Path("~") / path.relative_to(Path.home()))
    except (ValueError, RuntimeError):
        shown = str(path)
    facts = {"path": str(path), "modules": modules, "free_bytes": free}
    return f"{shown}, writable, {modules} modules, {free / 1e9:.1f} GB free", facts


def compiler() -> Found:
    """Compile one function anew and run it."""
    import numba

    from resexpand.codegen.threads import thread_count

    value = numba.njit(lambda x: x * x + 1.0)(3.0)
    if value != 10.0:
        raise ResexpandError("the compiler", f"a compiled function returned {value}, not 10.0")
    threads = thread_count()
    return f"Numba {numba.__version__}, threads: {threads}", {"threads": threads}


def driver() -> Found:
    """Ask the driver which CUDA it speaks."""
    major, minor = _judged("driver").driver or (0, 0)
    return f"CUDA {major}.{minor}", {"cuda": f"{major}.{minor}"}


def devices() -> Found:
    """List the devices: name, compute capability, memory."""
    present = _judged("devices").devices
    words = [
        f"{d.name}, sm_{d.capability[0]}{d.capability[1]}, {d.memory / 2**30:.0f} GiB"
        for d in present
    ]
    return "; ".join(words), {"devices": [vars(d) for d in present]}


def package() -> Found:
    """Look for numba-cuda: the `numba.cuda` that Numba itself has is not it."""
    _judged("package")
    facts = {}
    for name in ("numba-cuda", "cuda-bindings", "cuda-toolkit"):
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "(missing)"
    return ", ".join(f"{name} {own}" for name, own in facts.items()), facts


def toolkit() -> Found:
    """Judge the toolkit beside driver and device; compile a kernel, and load what links it."""
    machine = _judged("toolkit")
    from cuda import pathfinder
    from numba import cuda
    from numba.cuda import types

    newest = machine.newest_capability or (9, 0)
    try:
        cuda.compile_ptx(_idle, types.void(types.float64[::1]), cc=newest)
        pathfinder.load_nvidia_dynamic_lib("nvJitLink")
    except pathfinder.DynamicLibNotFoundError as error:
        why = f"a library of the CUDA toolkit was not found ({str(error).splitlines()[0]})"
        raise DeviceError("the toolkit", why, device.INSTALL) from error
    own, capability = (f"{major}.{minor}" for major, minor in (machine.toolkit or (0, 0), newest))
    text = f"CUDA {own}, a kernel compiled for compute capability {capability}"
    return text, {"cuda": own, "newest_capability": capability}


def _idle(x: Any) -> None:
    x[0] = 1.0


def _judged(part: str) -> device.Machine:
    """Return what this machine has, or raise what is wrong with a part of it."""
    machine = device.machine()
    reason = device.obstacle(machine, (part,))
    if reason is not None:
        raise DeviceError(part, reason.why, reason.remedy)
    return machine


def _network() -> Any:
    from resexpand.network.activation import Activation
    from resexpand.network.linear import Linear
    from resexpand.network.resnet import Branch, ResNet

    return ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=SCALE, depth=DEPTH)


def routine(target: Literal["cpu", "cuda"]) -> Found:
    """Derive, compile and run a routine."""
    from resexpand.numbers.evaluation import evaluate
    from resexpand.theory.kernel import kernel

    kernels = evaluate(kernel(_network()), K0=1.0, target=target)["K"]
    exact = [(1.0 + SCALE**2) ** layer for layer in range(DEPTH + 1)]
    error = max(abs(float(f) / e - 1.0) for f, e in zip(kernels, exact, strict=True))
    if not error <= EXACT:
        why = f"the kernel of a rectifier network is off by {error:.1e}, not by rounding"
        raise ResexpandError("the routine", why)
    text = f"kernel of a rectifier network, {DEPTH} layers: relative error {error:.0e}"
    return text, {"relative_error": error}


def _estimate(target: str) -> Any:
    from resexpand.montecarlo.sample import sample

    run = sample(_network(), "kernel", WIDTH, DRAWS, K0=1.0, seed=1, workers=1, target=target)
    return run["kernel"]


def sampler() -> Found:
    """Draw networks on the CPU and compare their mean with the exact kernel."""
    estimate = _estimate("cpu")
    last, error = float(estimate.mean[-1]), float(estimate.stderr[-1])
    z = (last - (1.0 + SCALE**2) ** DEPTH) / error
    if not abs(z) < SURPRISE:
        why = f"{DRAWS} networks are {z:.1f} standard errors from the exact kernel"
        raise ResexpandError("the sampler", why)
    text = f"{DRAWS} networks of width {WIDTH}: {abs(z):.1f} standard errors from the exact kernel"
    return text, {"networks": DRAWS, "width": WIDTH, "z": z}


def device_sampler() -> Found:
    """Draw networks on the device and compare them with the same networks of the CPU."""
    expected, drawn = _estimate("cpu").mean, _estimate("cuda").mean
    pairs = zip(drawn, expected, strict=True)
    difference = max(abs(float(f) / float(e) - 1.0) for f, e in pairs)
    if not difference <= SAME:
        why = f"networks of one seed differ between CPU and device by {difference:.1e}"
        raise ResexpandError("the device sampler", why)
    text = f"{DRAWS} networks of width {WIDTH}: those of the CPU to {difference:.0e}"
    return text, {"networks": DRAWS, "width": WIDTH, "relative_difference": difference}


PROBES: Mapping[str, Callable[[], Found]] = {
    "folder": folder,
    "compiler": compiler,
    "routine": partial(routine, "cpu"),
    "sampler": sampler,
    "driver": driver,
    "devices": devices,
    "package": package,
    "toolkit": toolkit,
    "device routine": partial(routine, "cuda"),
    "device sampler": device_sampler,
}


def main(names: list[str]) -> None:
    """Answer the probes in turn, one line each, up to the first that fails."""
    # Libraries may write to the standard output; the answers have a stream of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for name in names:
        answer = _answer(name)
        answers.write(json.dumps({"name": name, **answer}) + "\n")
        answers.flush()
        if answer["state"] != "ok":
            return


def _answer(name: str) -> dict[str, Any]:
    try:
        text, facts = PROBES[name]()
    except ResexpandError as error:
        return {"state": "failed", "text": error.why or error.asked, "remedy": error.remedy}
    except ImportError as error:
        top = (error.name or "").partition(".")[0]
        remedy = f"pip install --force-reinstall {top}" if top else ""
        return {"state": "failed", "text": f"{type(error).__name__}: {error}", "remedy": remedy}
    return {"state": "ok", "text": text, "facts": facts}


if __name__ == "__main__":
    main(sys.argv[1:])
