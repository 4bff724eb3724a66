"""Cost of keeping a run: processor time of `sample` with and without a store.

    python benchmarks/store.py [--out FILE] [--seconds S] [--rounds R] [--quick]

The same run is drawn by one worker with and without ``store=``, in turn round by round. Three
numbers per round, of which the first does not depend on what else the machine does:

    coordinator   processor time of the thread that merges, writes and reports, as a share of the
                  processor time of the whole run (with a store, and without)
    processor     processor time with a store over that without
    clock         the same by the clock on the wall, waiting for the disk included

A run is about S seconds of drawing (60 by default), cut into chunks of a quarter of a second.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from timing import spread

from resexpand import Activation, Branch, Linear, ResNet, sample
from resexpand.export.record import write_record

RESULTS = Path(__file__).with_name("results")
NET = ResNet(Branch(Activation("erf"), Linear(1.2, 0.05)), scale=0.3, depth=20)
OPTIONS: dict[str, Any] = {"width": 256, "K0": 1.0, "seed": 1, "workers": 1, "progress": False}
NAMES = ["kernel", "layer_covariance", "output_squared"]


def timed(draws: int, store: Path | None) -> dict[str, float]:
    """Return the times of a run: clock, processor, and processor of this thread."""
    begun = time.perf_counter(), time.process_time(), time.thread_time()
    sample(NET, NAMES, draws=draws, store=store, **OPTIONS)
    ended = time.perf_counter(), time.process_time(), time.thread_time()
    names = ("clock", "processor", "coordinator")
    return {name: b - a for name, a, b in zip(names, begun, ended, strict=True)}


def networks(seconds: float) -> int:
    """Return how many networks take so long on one thread."""
    timed(20_000, None)  # compiles
    found = timed(40_000, None)
    return max(int(40_000 * seconds / found["processor"]), 2)


def compared(draws: int, rounds: int) -> list[dict[str, float]]:
    """Return what was found, round by round."""
    found = []
    for turn in range(rounds):
        pair: dict[bool, dict[str, float]] = {}
        for kept in (True, False) if turn % 2 else (False, True):
            with tempfile.TemporaryDirectory() as folder:
                pair[kept] = timed(draws, Path(folder) / "run.sqlite" if kept else None)
        plain, stored = pair[False], pair[True]
        found.append(
            {
                "coordinator_share_with_store": stored["coordinator"] / stored["processor"],
                "coordinator_share_without": plain["coordinator"] / plain["processor"],
                "processor_ratio": stored["processor"] / plain["processor"],
                "clock_ratio": stored["clock"] / plain["clock"],
                "processor_seconds": stored["processor"],
            }
        )
    return found


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "store.json")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one short round")
    options = parser.parse_args(arguments)
    seconds = 0.5 if options.quick else options.seconds
    draws = networks(seconds)
    rounds = compared(draws, 1 if options.quick else options.rounds)
    found = {name: spread(np.array([turn[name] for turn in rounds])) for name in rounds[0]}
    for name, numbers in found.items():
        print(f"{name:30} {numbers['median']:.4g}")
    write_record(
        options.out,
        command="benchmarks/store.py",
        settings={"networks": draws, "seconds": seconds, "rounds": len(rounds)},
        results=found,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
