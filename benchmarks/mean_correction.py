"""The price of a mean correction: with the infinite-width twin, and in plain and dense sampling.

    python benchmarks/mean_correction.py [--out FILE] [--quick]

How long it takes to resolve the shift of the mean kernel at width 1024 and depth 20 to 1 percent.
The controlled run is carried out until it is there; the others are priced: their variance of a
single network is that of the same run without control, and their time per network is measured in
turn with the controlled one, on one thread.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from timing import clocked, interleaved, spread

from resexpand import Activation, Branch, Linear, ResNet, evaluate, one_loop, sample
from resexpand.export.record import write_record

RESULTS = Path(__file__).with_name("results")
WANTED = 0.01
"""Relative standard error of the correction."""

DEPTH, WIDTH = 20, 1024
START, SCALE = 1.0, 0.3
YEAR = 365.25 * 24 * 3600.0
MEANING = {
    "controlled": "sample(..., control='infinite-width')",
    "function-space": "sample(...): N normals per layer and network",
    "dense": "sample(..., method='dense'): N*N normals per layer and network",
}


def resolved(net: ResNet, width: int) -> dict[str, Any]:
    """Draw networks until the correction at the last layer is known to 1 percent."""
    theory = evaluate(one_loop(net), K0=START)
    expected = float(theory["K_mean"][-1])
    begin, draws = time.perf_counter(), 1000
    while True:
        run = sample(net, "kernel", width, draws, K0=START, control="infinite-width",
                     progress=False)["kernel"]  # fmt: skip
        found = width * float(run.mean[-1] - theory["K"][-1])
        error = width * float(run.stderr[-1])
        if error <= WANTED * abs(found):
            break
        draws = int(1.1 * draws * (error / (WANTED * abs(found))) ** 2)
    return {
        "networks": draws,
        "seconds": time.perf_counter() - begin,
        "correction_times_width": found,
        "standard_error": error,
        "relative_error": error / abs(found),
        "theory": expected,
        "z": (found - expected) / error,
        "next_order_relative": float(theory["validity"][-1]) / width,
        "variance_gain": float(run.gain[-1]),
        "networks_without_control": draws * (error / (WANTED * abs(found))) ** 2
        * float(run.gain[-1]),
    }  # fmt: skip


def per_network(net: ResNet, width: int, rounds: int) -> dict[str, Any]:
    """Measure seconds per network of every sampler, in turn."""
    draws = {"controlled": 200, "function-space": 400, "dense": 4}
    options: dict[str, dict[str, Any]] = {
        "controlled": {"control": "infinite-width"},
        "function-space": {},
        "dense": {"method": "dense"},
    }

    def work(name: str) -> None:
        sample(net, "kernel", width, draws[name], K0=START, workers=1, progress=False,
               **options[name])  # fmt: skip

    contenders = {name: clocked(lambda name=name: work(name)) for name in draws}
    times = interleaved(contenders, rounds)
    seconds = {name: times[name] / draws[name] for name in draws}
    return {
        name: {
            "meaning": MEANING[name],
            "milliseconds_per_network": spread(1e3 * seconds[name]),
            "time_over_controlled": spread(seconds[name] / seconds["controlled"]),
        }
        for name in draws
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "mean_correction.json")
    parser.add_argument("--quick", action="store_true", help="a narrow network")
    options = parser.parse_args(arguments)
    width, rounds = (64, 2) if options.quick else (WIDTH, 7)
    net = ResNet(Branch(Activation("erf_unit"), Linear(1, 0)), scale=SCALE, depth=DEPTH)
    samplers = per_network(net, width, rounds)
    found = resolved(net, width)
    for name, entry in samplers.items():
        count = found["networks"] if name == "controlled" else found["networks_without_control"]
        seconds = 1e-3 * entry["milliseconds_per_network"]["median"] * count
        entry |= {"networks_for_one_percent": count, "seconds_on_one_thread": seconds}
        took = f"{seconds / YEAR:8.3g} years" if seconds > YEAR / 10 else f"{seconds:8.3g} s"
        print(f"{name:16s} {count:10.3g} networks, {took} on one thread")
    print(
        f"N (E G - K) = {found['correction_times_width']:.5f} +- {found['standard_error']:.5f} in "
        f"{found['seconds']:.2g} s; theory {found['theory']:.5f} (next order "
        f"{found['next_order_relative']:.1%} of it)"
    )
    write_record(
        options.out,
        network={"description": repr(net), "K0": START, "width": width, "layer": DEPTH},
        wanted_relative_error=WANTED,
        resolved=found,
        samplers=samplers,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
