"""Every probe in another process, and its result.

A library that crashes, hangs or does not import is a line on the page and not the end of it. This
file and the command that prints the page load the standard library alone. A target *works* if a
routine and a sampler were compiled for it, run, and gave what they must.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from resexpand.errors import HyperparameterError
from resexpand.workflows.doctor.page import LIBRARIES, Examination, Finding, TargetHealth

SECONDS = 180
"""A process that takes longer is stopped: the first start compiles, on a slow disk too."""

TARGETS = ("auto", "cpu", "cuda")

CPU = ("folder", "compiler", "routine", "sampler")
CUDA = ("driver", "devices", "package", "toolkit", "device routine", "device sampler")
NEEDS = {
    "routine": ("compiler",),
    "sampler": ("compiler",),
    "devices": ("driver",),
    "toolkit": ("package",),
    "device routine": ("devices", "toolkit"),
    "device sampler": ("device routine",),
}


def doctor(target: str = "auto") -> Examination:
    """Look at this machine, and try each target with a tiny routine and a tiny sample.

    Parameters
    ----------
    target : {"auto", "cpu", "cuda"}
        Target that `Examination.works` speaks of. Everything is looked at in any case.

    Returns
    -------
    Examination
        A page to print, with the findings behind it.

    Raises
    ------
    HyperparameterError
        If there is no such target. Faults of the machine are never raised.

    Examples
    --------
    >>> page = doctor()
    >>> page.cpu.works
    True
    """
    if target not in TARGETS:
        raise HyperparameterError(
            f"the target {target!r}", "there is none of that name", f"use one of {TARGETS}"
        )
    with ThreadPoolExecutor(2) as pool:
        cpu, cuda = pool.map(_probe, (CPU, CUDA))
    # A folder that cannot be written to costs time, not results.
    healthy = all(finding.state == "ok" for finding in cpu[1:])
    usable = all(finding.state == "ok" for finding in cuda)
    return Examination(
        target, _machine(), TargetHealth("cpu", healthy, cpu), TargetHealth("cuda", usable, cuda)
    )


def _machine() -> dict[str, Any]:
    usable = getattr(os, "sched_getaffinity", None)
    return {
        "resexpand": str(sys.modules["resexpand"].__version__),
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processors": len(usable(0)) if usable else os.cpu_count() or 1,
        "libraries": {name: _version(name) for name in LIBRARIES},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _probe(names: Sequence[str]) -> tuple[Finding, ...]:
    """Run probes in other processes; after one that fails, what rests on it is not tried."""
    done: dict[str, Finding] = {}
    while left := [name for name in names if name not in done]:
        for name in left:
            needed = [n for n in NEEDS.get(name, ()) if n in done and done[n].state != "ok"]
            if needed:
                done[name] = Finding(name, "not tried", f"not tried without: {needed[0]}")
        if ready := [name for name in left if name not in done]:
            done.update(_ask(ready))
    return tuple(done[name] for name in names)


def _ask(names: Sequence[str]) -> dict[str, Finding]:
    """Return what one process says of the probes, up to the first that fails."""
    parent = str(Path(__file__).resolve().parents[3])
    paths = [parent, *filter(None, [os.environ.get("PYTHONPATH")])]
    # -P: a file `numba.py` in the current folder is nobody's Numba.
    command = [sys.executable, "-P", "-m", "resexpand.workflows.doctor.probes", *names]
    try:
        run = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=SECONDS,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        said, end = run.stdout, _last_words(run.returncode, run.stderr)
    except subprocess.TimeoutExpired as error:
        said, end = _text(error.stdout), f"no answer in {SECONDS} s"
    except OSError as error:
        said, end = "", f"no process could be started ({error.strerror})"
    findings = [Finding(**json.loads(line)) for line in said.splitlines()]
    if len(findings) < len(names) and all(f.state == "ok" for f in findings):
        findings.append(Finding(names[len(findings)], "failed", end))
    return {f.name: f for f in findings}


def _text(output: str | bytes | None) -> str:
    text = output.decode(errors="replace") if isinstance(output, bytes) else output or ""
    return text[: text.rfind("\n") + 1]


def _last_words(code: int, complaint: str) -> str:
    if code < 0:
        names = {number.value: number.name for number in signal.Signals}
        return f"the process was ended by {names.get(-code, f'signal {-code}')}"
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    return lines[-1] if lines else f"the process ended with code {code}"
