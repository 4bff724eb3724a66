"""How long a user waits before the first number: import, command line, first and second process.

    python benchmarks/startup.py [--out FILE] [--quick]

Every number is the wall time of a fresh process, Python itself included; an empty process is timed
in turn with the others, so that its share can be taken off. The *first process* of a routine has an
empty cache folder and compiles; the *second* finds the machine code of the first.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from timing import Timed, clocked, interleaved, spread

from resexpand.export.record import write_record

RESULTS = Path(__file__).with_name("results")
ROUTINE = """
import numpy as np
from resexpand import Activation, Branch, Linear, ResNet, compile_routine, response
net = ResNet(Branch(Activation("erf"), Linear(1.2, 0.05)), scale=0.3, depth=20)
routine = compile_routine(response(net), outputs=["K", "chi_0"])
print(routine(K0=np.linspace(0.1, 1.0, 100))["chi_0"][-1, -1])
"""
COMMAND = ["kernel", "--activation", "erf", "--rho", "0.3", "--depth", "20", "--K0", "1"]
KERNEL = ["-m", "resexpand", *COMMAND]
MEANING = {
    "empty process": "python -c pass",
    "import": "import resexpand",
    "kernel command": "resexpand kernel of an erf network, machine code in the cache",
    "first process": "describe, derive, generate, compile, evaluate: empty cache folder",
    "second process": "the same with the cache folder of the first",
}


def run(arguments: list[str], cache: Path) -> None:
    """Run Python in a fresh process with a cache folder of its own."""
    variables = {**os.environ, "RESEXPAND_CACHE": str(cache)}
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=variables)


def contenders(folder: Path, kernel: list[str]) -> dict[str, Timed]:
    """Return what is timed; caches are folders below the one given."""
    warm = folder / "warm"
    numbers = iter(range(10**6))
    return {
        "empty process": clocked(lambda: run(["-c", "pass"], warm)),
        "import": clocked(lambda: run(["-c", "import resexpand"], warm)),
        "kernel command": clocked(lambda: run(kernel, warm)),
        "first process": clocked(lambda: run(["-c", ROUTINE], folder / f"cold{next(numbers)}")),
        "second process": clocked(lambda: run(["-c", ROUTINE], warm)),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "startup.json")
    parser.add_argument("--quick", action="store_true", help="one round")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        timed = contenders(Path(name), KERNEL)
        rounds, uncounted = (1, 0) if options.quick else (9, 1)
        times = interleaved(timed, rounds, uncounted)
    table = {name: {"seconds": spread(values)} for name, values in times.items()}
    for name, row in table.items():
        row["above_empty_process"] = spread(times[name] - times["empty process"])
        print(f"{name:16s} {row['seconds']['median']:.3f} s")
    write_record(options.out, contenders=MEANING, startup=table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
