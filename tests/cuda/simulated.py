"""Bodies of tests that run in the simulator of numba-cuda, in a process of their own.

Numba reads ``NUMBA_ENABLE_CUDASIM`` once, when it is imported: a process either simulates or it
does not. A body is therefore a plain function of a file, called in a fresh process with arrays,
numbers and texts, and returns a mapping of arrays:

    def squares(x):                       # runs simulated; imports numba.cuda inside
        ...
        return {"y": y}

    def test_squares(simulator):
        x = np.arange(4.0)
        assert_array_equal(simulator(squares, x=x)["y"], x * x)

The simulator finds `cuda` among the globals of a function, never in a closure: what a body compiles
itself needs ``global cuda`` before its import, or stands in a file that imports it at the top.

What is expected is computed where the test runs, on the CPU, and stays there, or goes along as one
more argument. Arguments and results travel as ``.npz`` files without pickled objects. A process
starts in two to five seconds: a body had better do many tiny cases than one.

    python simulated.py FILE BODY ARGUMENTS.npz RESULTS.npz

is the other side of it.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SWITCH = "NUMBA_ENABLE_CUDASIM"
SECONDS = 300
TAIL = 60
"""Lines of the standard error stream that a failure shows."""

Body = Callable[..., Mapping[str, Any]]


class SimulatorError(AssertionError):
    """The process of a body failed, said nothing, or took too long."""


def in_simulator(body: Body, /, **arguments: Any) -> dict[str, Any]:
    """Call a function of a file in a simulating process and return what it returns.

    Parameters
    ----------
    body : callable
        A function defined at the top of its file. The file is imported again in the other process,
        with its folder and that of this file on the path.
    **arguments : array, number, bool or str
        Numbers and texts arrive as such, everything else as an array.

    Returns
    -------
    dict
        What the body returned, by the same rule.

    Raises
    ------
    SimulatorError
        With the end of the traceback, if the body raised or did not finish in five minutes.
    """
    path = inspect.getsourcefile(body)
    if path is None or "<" in body.__qualname__ or "." in body.__qualname__:
        raise ValueError(f"{body.__qualname__} is no function at the top of a file")
    with tempfile.TemporaryDirectory(prefix="resexpand-simulator-") as folder:
        given, found = Path(folder, "arguments.npz"), Path(folder, "results.npz")
        np.savez(given, **arguments)
        _run([str(Path(path).resolve()), body.__name__, str(given), str(found)])
        return _read(found)


def _run(arguments: list[str]) -> None:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, SWITCH: "1", "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-W", "error::RuntimeWarning", __file__, *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise SimulatorError(f"{arguments[1]}: not done after {SECONDS} s") from error
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-TAIL:])
        raise SimulatorError(f"{arguments[1]} in the simulator, exit {done.returncode}:\n{tail}")


def _read(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as stored:
        values = {name: stored[name] for name in stored.files}
    return {name: value if value.ndim else value.item() for name, value in values.items()}


def _body(path: Path, name: str) -> Body:
    """Import the file under its own name and return the function."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    body: Body = getattr(module, name)
    return body


def main(path: str, name: str, given: str, found: str) -> None:
    """Run one body: read its arguments, write its results."""
    from numba import config

    if not config.ENABLE_CUDASIM:
        raise SystemExit(f"{SWITCH} is not set: this process would not simulate")
    results = _body(Path(path), name)(**_read(Path(given)))
    arrays = {key: np.asarray(value) for key, value in results.items()}
    objects = [key for key, value in arrays.items() if value.dtype.hasobject]
    if objects or not arrays:
        raise SystemExit(f"{name} returned no arrays: {objects or results!r}")
    np.savez(found, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
