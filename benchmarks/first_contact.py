"""Processor time of the first numbers: fresh machine, second process, another activation.

    python benchmarks/first_contact.py [--out FILE] [--against FOLDER] [--quick]

A user waits longest for machine code. Each task runs in processes of its own, and its seconds are
those of the processor, user and system, which other work on the machine changes little. Per task:

    first                        empty cache folder
    second process               the same call, machine code of the first on disk
    another activation           a new process, machine code of the first on disk
    another in the same process  behind the call of a network whose machine code is on disk

The import of the package is not counted. `resexpand validate` is timed as a whole process, first
and again. FOLDER holds another state of the package; its processes run in turn with ours, and
`over_other` is the ratio of the two, round by round.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from timing import spread

from resexpand.export.record import write_record

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("results")
PAIR = "[[1.0, 0.5], [0.5, 1.0]]"
DRAWN = 'sample(net, "kernel", 64, 100, progress=False, workers=1, '
TASKS = {
    "sample": f"{DRAWN}K0=1.0)",
    "sample, two inputs": f"{DRAWN}K0={PAIR})",
    "sample, dense": f'{DRAWN}K0={PAIR}, method="dense")',
    "kernel": "evaluate(kernel(net), K0=1.0)",
    "kernel, two inputs": f"evaluate(kernel(net, inputs=2), K0={PAIR})",
    "response": "evaluate(response(net), K0=1.0)",
    "optimal_scale": "evaluate(optimal_scale(net), K0=0.1)",
}
QUICK = ("kernel",)
CHILD = """
import json, sys, time
from resexpand import *
seconds = []
for name in sys.argv[1:]:
    net = ResNet(Branch(Activation(name), Linear(1, 0.1)), scale=0.3, depth=5)
    begin = time.process_time()
    {task}
    seconds.append(time.process_time() - begin)
print(json.dumps(seconds))
"""
STEPS: dict[str, tuple[str, ...]] = {
    "first": ("relu",),
    "second process": ("relu",),
    "another activation": ("erf",),
    "another in the same process": ("relu", "sin"),
}
Seconds = dict[str, float]


def child(arguments: list[str], cache: Path, package: Path) -> str:
    """Run Python with one state of the package and a cache folder; return its output."""
    variables = {**os.environ, "RESEXPAND_CACHE": str(cache), "PYTHONPATH": str(package)}
    done = subprocess.run(
        [sys.executable, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env=variables,
        cwd=cache.parent,
    )
    return done.stdout


def task_seconds(task: str, cache: Path, package: Path) -> Seconds:
    """Return the processor seconds of the last call of each step, one cache folder for all."""
    text = CHILD.format(task=task)
    return {
        step: json.loads(child(["-c", text, *names], cache, package))[-1]
        for step, names in STEPS.items()
    }


def validate_seconds(cache: Path, package: Path) -> Seconds:
    """Return the processor seconds of `resexpand validate`, from an empty cache and again."""
    found = {}
    for step in ("first", "second process"):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        child(["-m", "resexpand", "validate"], cache, package)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found[step] = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return found


def one_round(names: list[str], package: Path) -> dict[str, Seconds]:
    """Return the seconds of every task and step."""
    found = {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            cache = Path(folder) / "cache"
            validating = name == "validate"
            found[name] = (
                validate_seconds(cache, package)
                if validating
                else task_seconds(TASKS[name], cache, package)
            )
    return found


def table(rounds: list[Mapping[str, Mapping[str, Seconds]]]) -> dict[str, Any]:
    """Return the spread of the seconds and of the ratios over the rounds."""
    rows: dict[str, Any] = {}
    for name, steps in rounds[0]["ours"].items():
        rows[name] = {}
        for step in steps:
            ours = np.array([each["ours"][name][step] for each in rounds])
            rows[name][step] = {"seconds": spread(ours)}
            line = f"{name:20s} {step:28s} {np.median(ours):6.2f} s"
            if "other" in rounds[0]:
                ratio = ours / np.array([each["other"][name][step] for each in rounds])
                rows[name][step]["over_other"] = spread(ratio)
                line += f"   over other {np.median(ratio):5.2f}"
            print(line)
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "first_contact.json")
    parser.add_argument("--against", type=Path, help="a folder with another state of the package")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", nargs="*", choices=[*TASKS, "validate"])
    parser.add_argument("--quick", action="store_true", help="one round of one task")
    options = parser.parse_args(arguments)
    names = options.tasks or (list(QUICK) if options.quick else [*TASKS, "validate"])
    packages = {"ours": ROOT} | ({"other": options.against.resolve()} if options.against else {})
    count = 1 if options.quick else options.rounds
    rounds = [
        {state: one_round(names, package) for state, package in packages.items()}
        for _ in range(count)
    ]
    write_record(
        options.out,
        first_contact=table(rounds),
        compared=bool(options.against),
        load_average=os.getloadavg()[0],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
