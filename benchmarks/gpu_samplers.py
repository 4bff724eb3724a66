"""How fast both samplers are: beside the roof of normals, beside all cores, and beside PyTorch.

A run of `sample` is timed by the clock on the wall, as a user waits for it, and takes about a
second; normals per second are counted as in `samplers.py`, ``N^2`` per dense layer and ``N`` per
layer in function space. What such a run spends beside drawing is measured by events around the
launches.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gpu_device import Launches, Scale, repeated
from numpy.typing import NDArray
from timing import clocked, spread

from resexpand import Activation, Branch, Linear, ResNet, sample
from resexpand.montecarlo.cuda.launch import Networks

Array = NDArray[np.float64]

WORKER = Path(__file__).with_name("gpu_torch.py")
RHO = 0.3
TARGETS = ("cuda", "cpu")


def drawing(method: str, width: int, depth: int, draws: int, where: str) -> Callable[[], object]:
    """Return a run of `sample` for the empirical kernel of one input."""
    net = ResNet(Branch(Activation("relu"), Linear(1, 0)), scale=RHO, depth=depth)
    how: dict[str, Any] = {"method": method, "target": where, "progress": False}
    return lambda: sample(net, "kernel", width, draws, K0=1.0, seed=1, **how)


def normals_of(method: str, width: int, depth: int) -> int:
    """Return how many normals one network takes."""
    return width + depth * (width**2 if method == "dense" else width)


def sampling(method: str, width: int, scale: Scale, where: str) -> dict[str, Any]:
    """Return the rate of runs that take about as long as wanted."""
    draws = 2
    drawing(method, width, scale.depth, draws, where)()
    while True:
        elapsed = clocked(drawing(method, width, scale.depth, draws, where))()
        if elapsed >= 0.7 * scale.seconds:
            break
        draws = int(draws * min(100.0, 1.0 + scale.seconds / max(elapsed, 1e-3)))
    run = drawing(method, width, scale.depth, draws, where)
    seconds = repeated(clocked(run), scale.rounds)
    normals = draws * normals_of(method, width, scale.depth)
    found = {
        "draws": draws,
        "seconds": spread(seconds),
        "normals_per_second": spread(normals / seconds),
    }
    if where == "cuda":
        spent, seconds = while_drawing(run, scale.rounds)
        found["share_beside_drawing"] = spread(1.0 - spent / seconds)
        found["drawing_normals_per_second"] = spread(normals / spent)
    return found


def while_drawing(run: Callable[[], object], rounds: int) -> tuple[Array, Array]:
    """Return the seconds on the device, by events, and of the whole runs.

    What is left are transfers, launches, and sums on the host where they do not overlap.
    """
    watched: list[tuple[Any, Any, Launches]] = []
    one_at_a_time = threading.Lock()
    draw = Networks.draw

    def watching(networks: Networks, *arguments: Any) -> Any:
        text = networks.text
        with one_at_a_time:
            if not isinstance(text.draw_networks, Launches):
                launches = Launches(text.draw_networks)
                watched.append((text, text.draw_networks, launches))
                text.draw_networks = launches
        return draw(networks, *arguments)

    def both() -> tuple[float, float]:
        seconds = clocked(run)()
        return sum(launches.seconds() for _, _, launches in watched), seconds

    Networks.draw = watching  # type: ignore[method-assign]
    try:
        both()
        spent, seconds = np.array([both() for _ in range(rounds)]).T
        return spent, seconds
    finally:
        Networks.draw = draw  # type: ignore[method-assign]
        for text, kernel, _ in watched:
            text.draw_networks = kernel


def median(rate: dict[str, Any]) -> float:
    """Return the median of a rate of normals."""
    return float(rate["normals_per_second"]["median"])


def table(method: str, widths: tuple[int, ...], scale: Scale, roof: float) -> dict[str, Any]:
    """Return a sampler beside the roof and beside the CPU, by width."""
    rows: dict[str, Any] = {}
    for width in widths:
        row: dict[str, Any] = {where: sampling(method, width, scale, where) for where in TARGETS}
        row["drawing_over_roof"] = row["cuda"]["drawing_normals_per_second"]["median"] / roof
        row["over_roof"] = median(row["cuda"]) / roof
        row["times_cpu"] = median(row["cuda"]) / median(row["cpu"])
        rows[str(width)] = row
    return rows


def dense(scale: Scale, roof: float, torch: str | None) -> dict[str, Any]:
    """Return the fused dense sampler, with PyTorch beside it."""
    rows = table("dense", scale.dense_widths, scale, roof)
    for width, row in rows.items():
        row["torch"] = {kind: peer(torch, width, kind, scale) for kind in ("float32", "float64")}
        for found in row["torch"].values():
            if "normals_per_second" in found:
                found["time_over_ours"] = median(row["cuda"]) / median(found)
    return rows


def function_space(scale: Scale, roof: float) -> dict[str, Any]:
    """Return the function-space sampler."""
    return table("function-space", scale.widths, scale, roof)


def peer(python: str | None, width: str, kind: str, scale: Scale) -> dict[str, Any]:
    """Return what PyTorch reaches, or why it was not asked."""
    if python is None:
        return {"not_measured": "no interpreter with PyTorch"}
    try:
        process = subprocess.run(
            [python, str(WORKER), width, kind],
            capture_output=True,
            text=True,
            check=False,
            input="\n" * scale.rounds,
        )
    except OSError as error:
        return {"not_measured": f"the interpreter cannot be started: {error.strerror}"}
    answers = [json.loads(line) for line in process.stdout.splitlines()]
    # One answer to begin with, and one for each line.
    if len(answers) != scale.rounds + 1:
        lines = process.stderr.strip().splitlines()
        return {"not_measured": lines[-1] if lines else "the process ended"}
    return {**answers[0], "normals_per_second": spread(np.array(answers[1:]))}
