"""Trees and labelled classes beside `sympy.ring`, plain SymPy and kauri.

    python benchmarks/trees.py [--out FILE] [--quick]

Every contender runs in a fresh process, in turn within a round; imports are not counted. The
polynomial contenders compute in one dimension, where a term is a product of derivatives, so that
different trees merge into one monomial: they give less than the terms. Where two contenders make
the same thing their results are compared. kauri is measured where it can be imported; a contender
that does not finish in time is recorded as such and not run again.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from timing import clocked, interleaved, spread

from resexpand import residual_expansion
from resexpand.export.record import write_record

RESULTS = Path(__file__).with_name("results")
WORKER = Path(__file__).with_name("trees_worker.py")
MEANING = {
    "unlabelled": "rooted trees of all orders with symmetry and factorial",
    "unlabelled, kauri": "the same from kauri, trees_of_order, sigma and factorial",
    "labelled": "terms of 10 blocks of all orders as Term objects, with coefficients",
    "labelled, merged": "labelled trees of 10 blocks, merged into monomials of one dimension",
    "merged, sympy.ring": "these monomials by composing polynomials in sympy.ring over QQ",
    "merged, plain SymPy": "the same with SymPy expressions and expand",
    "counts": "classes, weighted and distinct numbers at depth 10**6, orders 1 to 10",
}
SAME = (("unlabelled", "unlabelled, kauri"), ("labelled, merged", "merged, sympy.ring"))


class Contender:
    """One way of making trees; it remembers what came out and whether it ran out of time."""

    def __init__(self, name: str, order: int, limit: float) -> None:
        self.name, self.order, self.limit = name, order, limit
        self.digest = ""
        self.finished = True

    def __call__(self) -> float:
        """Run once in a fresh process; return the seconds."""
        command = [sys.executable, str(WORKER), self.name, str(self.order)]
        try:
            done = subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=self.limit
            )
        except subprocess.TimeoutExpired:
            self.finished = False
            return self.limit
        seconds, self.digest = done.stdout.split()
        return float(seconds)


def counted() -> float:
    """Return the seconds that the counts of a fresh depth take."""
    depth = 10**6 + time.perf_counter_ns() % 1000
    counts = residual_expansion(10).counts(depth)
    return clocked(lambda: (counts.classes, counts.weighted, counts.distinct))()


def measured(rounds: int, limit: float, orders: tuple[int, int]) -> dict[str, Any]:
    """Run all contenders and return the table."""
    unlabelled, labelled = orders
    found = [
        Contender(name, unlabelled if name.startswith("unlabelled") else labelled, limit)
        for name in MEANING
        if name != "counts" and (name != SAME[0][1] or importlib.util.find_spec("kauri"))
    ]
    # A first run each: what does not finish must not be waited for in every round.
    for contender in found:
        contender()
    running = {c.name: c for c in found if c.finished}
    times = interleaved({**running, "counts": counted}, rounds, uncounted=0)
    table: dict[str, Any] = {}
    for name, values in times.items():
        table[name] = {"seconds": spread(values)}
    for contender in found:
        row = table.setdefault(contender.name, {})
        row |= {"order": contender.order, "result": contender.digest or None}
        if not contender.finished:
            row["not_finished_after_seconds"] = limit
    for ours, theirs in SAME:
        if theirs in times:
            table[theirs]["time_over_ours"] = spread(times[theirs] / times[ours])
            table[theirs]["agrees"] = table[theirs]["result"] == table[ours]["result"]
    return table


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "trees.json")
    parser.add_argument("--quick", action="store_true", help="low orders, one round")
    options = parser.parse_args(arguments)
    rounds, limit, orders = (1, 30.0, (8, 3)) if options.quick else (5, 60.0, (12, 6))
    table = measured(rounds, limit, orders)
    for name, row in table.items():
        seconds = row.get("seconds", {}).get("median")
        print(f"{name:20s} " + (f"{seconds:.4f} s" if seconds else f"not in {limit:g} s"))
    write_record(options.out, contenders=MEANING, blocks=10, trees=table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
