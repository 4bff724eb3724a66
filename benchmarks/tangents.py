"""neural-tangents as a contender: an environment, one process per thread count, a pipe to each.

The timed sections of the processes are interleaved with those of this one: a process waits for a
line, runs once, and answers with the seconds it took.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cases import Array, Case

from resexpand import Activation, Branch, Linear, ResNet, compile_routine, kernel

PACKAGES = ("jax==0.4.30", "jaxlib==0.4.30", "numpy<2", "scipy<1.14", "neural-tangents==0.6.5")
SHOWN = ("neural-tangents", "jax", "jaxlib", "numpy", "scipy")
GRID = (0.3, 1.2, 0.05)
"""rho, weight variance and bias variance of the one network over a grid of inputs."""


class Unavailable(Exception):
    """There is no environment with neural-tangents; the text says why."""


class Worker:
    """A process that holds neural-tangents."""

    def __init__(self, python: Path, threads: int) -> None:
        self._process = subprocess.Popen(
            [str(python), str(Path(__file__).with_name("tangents_worker.py")), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, **request: Any) -> float:
        """Send a request; return the seconds answered."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Unavailable("the process with neural-tangents ended")
        return float(json.loads(line))

    def kernels(self, given: Mapping[str, Any], **asked: Any) -> tuple[float, dict[str, Array]]:
        """Prepare the kernels of arrays; return the seconds this took, and the kernels by name.

        With ``do="run"`` and the same name they can be computed again.
        """
        with tempfile.TemporaryDirectory() as folder:
            start, answer = Path(folder, "given.npz"), Path(folder, "answer.npz")
            np.savez(start, **given)
            seconds = self.ask(do="prepare", arrays=str(start), **asked)
            self.ask(do="result", name=asked["name"], arrays=str(answer))
            with np.load(answer) as file:
                return seconds, dict(file)

    def predictions(self, given: Mapping[str, Any], **asked: Any) -> dict[str, Array]:
        """Return mean and covariance of trained ensembles, by kernel."""
        with tempfile.TemporaryDirectory() as folder:
            start, answer = Path(folder, "given.npz"), Path(folder, "answer.npz")
            np.savez(start, **given)
            self.ask(do="predict", arrays=str(start), answer=str(answer), **asked)
            with np.load(answer) as file:
                return dict(file)

    def close(self) -> None:
        """Let the process end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def environment(folder: Path) -> Path:
    """Make a virtual environment with neural-tangents in a folder; return its interpreter."""
    if sys.version_info >= (3, 13):
        raise Unavailable("jax 0.4.30 has no wheels for Python 3.13 and newer")
    python = folder / "bin" / "python"
    steps = ([sys.executable, "-m", "venv", folder], [python, "-m", "pip", "install", *PACKAGES])
    for step in steps:
        done = _run(step)
        if done.returncode:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise Unavailable(f"its environment could not be made: {last}")
    return python


def _run(command: Sequence[object]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise Unavailable(f"its interpreter cannot be started: {error.strerror}") from error


def versions(python: Path) -> dict[str, str]:
    """Return the versions of what the environment holds."""
    code = f"from importlib.metadata import version as v; print(*map(v, {SHOWN!r}))"
    done = _run([python, "-c", code])
    if done.returncode:
        raise Unavailable("the interpreter given has no neural-tangents")
    return dict(zip(SHOWN, done.stdout.split(), strict=True))


def prepare(worker: Worker, case: Case, folder: Path) -> dict[str, float]:
    """Compile both ways of asking neural-tangents for a case; return the seconds each took."""
    file = folder / "points.npz"
    seconds = {}
    for way, arrays in (("grid", grid_arrays(case)), ("points", point_arrays(case))):
        np.savez(file, **arrays)
        seconds[way] = worker.ask(
            do="prepare",
            name=f"{case.name}: {way}",
            arrays=str(file),
            activation=case.activation,
            depth=case.depth,
        )
    return seconds


def grid_arrays(case: Case) -> dict[str, Array]:
    """Return one network and as many pairs of inputs as the case has points."""
    rng = np.random.default_rng(2)
    rows = next(k for k in range(int(case.points**0.5), 0, -1) if case.points % k == 0)
    rho, weight, bias = (np.asarray(value) for value in GRID)
    first, second = rng.normal(size=(rows, 4)), rng.normal(size=(case.points // rows, 4))
    return {"rho": rho, "weight": weight, "bias": bias, "x1": first, "x2": second}


def point_arrays(case: Case) -> dict[str, Array]:
    """Return the points of a case, with inputs in two dimensions that have its kernels."""
    rho, weight, bias, *_ = case.parameters
    inputs = np.sqrt(2.0) * np.linalg.cholesky(case.hyperparameters()["K0"])
    return {"rho": rho, "weight": weight, "bias": bias, "x": inputs}


def difference(worker: Worker, case: Case, folder: Path) -> float:
    """Return the largest difference of the last layer's kernels, relative to their scale."""
    worst = 0.0
    for way, ours in (("grid", _grid_kernels(case)), ("points", _point_kernels(case))):
        file = folder / "kernels.npz"
        worker.ask(do="result", name=f"{case.name}: {way}", arrays=str(file))
        with np.load(file) as theirs:
            cross, first, second = theirs["nngp"], theirs["cov1"], theirs["cov2"]
        if way == "grid":
            first, second = first[:, None], second[None, :]
        scale = np.sqrt(first * second)
        for mine, other in zip(ours, (first, cross, second), strict=True):
            worst = max(worst, float((np.abs(mine - other) / scale).max()))
    return worst


def _grid_kernels(case: Case) -> tuple[Array, ...]:
    arrays = grid_arrays(case)
    rows, columns = len(arrays["x1"]), len(arrays["x2"])
    x = np.stack(np.broadcast_arrays(arrays["x1"][:, None], arrays["x2"][None, :]), axis=-2)
    net = ResNet(
        Branch(Activation(case.activation), Linear(GRID[1], GRID[2])),
        scale=GRID[0],
        depth=case.depth,
    )
    gram = x @ x.swapaxes(-1, -2) / x.shape[-1]
    last = compile_routine(kernel(net, inputs=2), outputs=["K"])(K0=gram)["K"][..., -1, :, :]
    assert last.shape == (rows, columns, 2, 2)
    return last[..., 0, 0], last[..., 0, 1], last[..., 1, 1]


def _point_kernels(case: Case) -> tuple[Array, ...]:
    last = case.routine()(**case.hyperparameters())["K"][..., -1, :, :]
    return last[..., 0, 0], last[..., 0, 1], last[..., 1, 1]
