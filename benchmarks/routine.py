"""The generated routine beside its peers: NumPy, lambdify, Numba by hand, neural-tangents.

    python benchmarks/routine.py                      # 20,000 points x depth 100, all peers
    python benchmarks/routine.py --quick              # small, seconds, without neural-tangents
    python benchmarks/routine.py --tangents PYTHON    # an interpreter that has neural-tangents

Without ``--tangents`` an environment for neural-tangents is made in a temporary folder. Everything
is timed in one run, in turn, round by round; see README.rst for what the numbers mean.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import by_hand
import numba
import numpy as np
import tangents
import vectorised
from cases import Array, Case, draw_case
from timing import Timed, Times, clocked, interleaved, spread

from resexpand.codegen.driver import output_slots, points_per_tile
from resexpand.codegen.store import load
from resexpand.codegen.threads import run_tiles
from resexpand.export.record import environment, write_record

RESULTS = Path(__file__).with_name("results")
OURS = "generated routine"
MEANING = {
    OURS: "compiled loop alone, all layers of K and chi_0 into arrays that exist",
    "generated routine, call": "the public call: checks, new arrays, pairs put into matrices",
    "NumPy": "vectorised over points by hand, loop over layers, one thread",
    "lambdify": "sympy.lambdify of the same update, loop over layers, one thread",
    "Numba, plain": "one loop over points, math.asin and math.acos, layers inside",
    "Numba, by hand": "tiles of 32 points, polynomial arcsine, pages of layers",
    "neural-tangents, grid": "jit, one network, as many pairs of inputs as points: nngp and ntk of "
    "the last layer only, variances once per input and not per pair",
    "neural-tangents, points": "jit and vmap, a network per point: nngp, ntk and both variances of "
    "the last layer only",
    "floor, arithmetic": "Numba by hand, nothing stored but the last layer",
    "floor, storing": "the same bytes written from first to last",
}


class Contenders:
    """Everything that is timed for one case, and the results to compare."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.routine = case.routine()
        self.timed: dict[str, Timed] = {}
        self.differences: dict[str, float] = {}
        self._ours = self._reference()

    def _reference(self) -> tuple[Array, ...]:
        values = self.routine(**self.case.hyperparameters())
        if self.case.inputs == 1:
            return values["chi_0"], values["K"]
        kernels = values["K"]
        return values["chi_0"], kernels[..., 0, 0], kernels[..., 0, 1], kernels[..., 1, 1]

    def add(self, name: str, threads: int, work: Callable[[], object]) -> None:
        """Time a piece of work with so many Numba threads."""
        timed = clocked(work)

        def limited() -> float:
            numba.set_num_threads(threads)
            return timed()

        self.timed[f"{name} [{threads}]"] = limited

    def check(self, name: str, results: tuple[Array, ...]) -> None:
        """Keep the largest difference to the routine, relative to the scale of each point."""
        scales = [np.abs(mine).max(axis=-1, keepdims=True) for mine in self._ours]
        if self.case.inputs == 2:
            # A covariance near zero is as accurate as the variances it comes from.
            scales[2] = np.sqrt(scales[1] * scales[3])
        self.differences[name] = max(
            float((np.abs(mine - other) / scale).max())
            for mine, other, scale in zip(self._ours, results, scales, strict=True)
        )

    def add_ours(self, threads: list[int]) -> None:
        """Add the routine, as a call and as the bare loop."""
        case, routine = self.case, self.routine
        run = load(routine.source).run
        tiles = -(-case.points // points_per_tile(routine.plan))
        arrays = {slot: self._out() for slot in output_slots(routine.plan)}
        given = (case.points, case.depth, *case.parameters, *arrays.values())

        def loop() -> None:
            run_tiles(run, tiles, case.depth, given)

        for count in threads:
            self.add(OURS, count, loop)
            self.add(f"{OURS}, call", count, lambda: routine(**case.hyperparameters()))
        loop()
        names = ("chi_0", "K") if case.inputs == 1 else ("chi_0", "K_11", "K_12", "K_22")
        self.check(OURS, tuple(arrays[name] for name in names))

    def add_vectorised(self) -> None:
        """Add NumPy and lambdify."""
        for name, of in (("NumPy", vectorised.by_numpy), ("lambdify", vectorised.by_lambdify)):
            evaluate = of(self.case)
            self.check(name, tuple(values.T for values in evaluate()))
            self.add(name, 1, evaluate)

    def add_numba(self, threads: list[int]) -> None:
        """Add the loops written by hand and the floors."""
        case = self.case
        out = [self._out() for _ in range(case.slots)]
        plain = by_hand.plain(case.activation, case.inputs, max(threads) > 1)
        tuned = by_hand.tuned(case.activation, case.inputs, max(threads) > 1)
        one_piece = np.empty((case.slots * case.points, case.depth + 1))
        loops = {
            "Numba, plain": lambda: plain(case.depth, *case.parameters, *out),
            "Numba, by hand": lambda: tuned(case.depth, True, *case.parameters, *out),
        }
        floors = {
            "floor, arithmetic": lambda: tuned(case.depth, False, *case.parameters, *out),
            "floor, storing": lambda: by_hand.stream(one_piece),
        }
        for name, work in loops.items():
            work()
            self.check(name, tuple(out))
        for name, work in (loops | floors).items():
            for count in threads:
                self.add(name, count, work)

    def add_tangents(self, workers: dict[int, tangents.Worker], folder: Path) -> dict[str, Any]:
        """Add neural-tangents; return the seconds it compiled."""
        compiling = {}
        for threads, worker in workers.items():
            compiling[str(threads)] = tangents.prepare(worker, self.case, folder)
            for way in ("grid", "points"):
                name = f"neural-tangents, {way} [{threads}]"
                key = f"{self.case.name}: {way}"
                self.timed[name] = lambda w=worker, k=key: w.ask(do="run", name=k)
        first = next(iter(workers.values()))
        self.differences["neural-tangents"] = tangents.difference(first, self.case, folder)
        return compiling

    def _out(self) -> Array:
        return np.zeros((self.case.points, self.case.depth + 1))


def rates(case: Case, times: Times) -> dict[str, Any]:
    """Return million pair-layers per second and the ratio of times to the routine's."""
    table = {}
    for label, seconds in times.items():
        if label.startswith("floor"):
            continue
        threads = int(label[:-1].split("[")[1])
        speed = case.pair_layers / seconds / 1e6
        table[label] = {
            "threads": threads,
            "milliseconds": spread(1e3 * seconds),
            "million_pair_layers_per_second": spread(speed),
            "per_core": float(np.median(speed)) / threads,
            "time_over_ours": spread(seconds / times[f"{OURS} [{threads}]"]),
        }
    return table


def floors(case: Case, times: Times, operations: int, threads: list[int]) -> dict[str, Any]:
    """Return what the arithmetic and the storing alone take, and how near the routine comes."""
    stored = 8 * case.slots
    table: dict[str, Any] = {
        "operations_per_pair_layer": operations,
        "bytes_written_per_pair_layer": stored,
    }
    for count in threads:
        ours = times[f"{OURS} [{count}]"]
        parts = [times[f"floor, {part} [{count}]"] for part in ("arithmetic", "storing")]
        table[f"threads {count}"] = {
            "arithmetic_milliseconds": spread(1e3 * parts[0]),
            "storing_milliseconds": spread(1e3 * parts[1]),
            "fraction_of_larger_floor": float(np.median(np.maximum(*parts) / ours)),
            "fraction_of_both_in_turn": float(np.median((parts[0] + parts[1]) / ours)),
            "gigabytes_written_per_second": float(
                np.median(stored * case.points * (case.depth + 1) / ours) / 1e9
            ),
        }
    return table


def measure(
    case: Case, threads: list[int], rounds: int, workers: dict[int, tangents.Worker], folder: Path
) -> dict[str, Any]:
    """Return the section of the record about one case."""
    contenders = Contenders(case)
    contenders.add_ours(threads)
    contenders.add_vectorised()
    contenders.add_numba(threads)
    compiling = (
        contenders.add_tangents(workers, folder) if workers and case.inputs == 2 else "not run"
    )
    times = interleaved(contenders.timed, rounds)
    return {
        "points": case.points,
        "depth": case.depth,
        "rounds": rounds,
        "rates": rates(case, times),
        "floor": floors(case, times, contenders.routine.operations, threads),
        "largest_relative_difference": contenders.differences,
        "neural_tangents_compile_seconds": compiling,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "routine.json")
    parser.add_argument("--quick", action="store_true", help="small and without neural-tangents")
    parser.add_argument("--tangents", type=Path, help="interpreter that has neural-tangents")
    options = parser.parse_args(arguments)
    # OpenMP threads that spin after a loop would take the processor of the next contender. Read
    # when Numba starts its threads, at the first parallel loop.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    points, depth, rounds = (500, 20, 2) if options.quick else (20_000, 100, 25)
    most = 1 if options.quick else min(2, numba.config.NUMBA_NUM_THREADS)
    threads = list(range(1, most + 1))
    with tempfile.TemporaryDirectory() as name:
        workers, peer = _workers(options, threads, Path(name))
        sections = {}
        for activation in ("erf", "relu"):
            for inputs in (1, 2):
                case = draw_case(activation, inputs, points, depth)
                sections[case.name] = measure(case, threads, rounds, workers, Path(name))
                _show(case.name, sections[case.name])
        for worker in workers.values():
            worker.close()
    write_record(
        options.out,
        environment=environment() | {"threading_layer": numba.threading_layer()},
        neural_tangents=peer,
        contenders=MEANING,
        cases=sections,
    )
    return 0


def _workers(
    options: argparse.Namespace, threads: list[int], folder: Path
) -> tuple[dict[int, tangents.Worker], dict[str, Any]]:
    if options.quick and options.tangents is None:
        return {}, {"available": False, "reason": "left out of a quick run"}
    try:
        python = options.tangents or tangents.environment(folder / "tangents")
        versions = tangents.versions(python)
    except tangents.Unavailable as error:
        return {}, {"available": False, "reason": str(error)}
    workers = {count: tangents.Worker(python, count) for count in threads}
    return workers, {"available": True, "versions": versions, "float64": True}


def _show(name: str, section: dict[str, Any]) -> None:
    print(f"\n{name}: {section['points']} points x depth {section['depth']}")
    for label, row in section["rates"].items():
        speed = row["million_pair_layers_per_second"]["median"]
        ratio = row["time_over_ours"]["median"]
        print(f"  {label:32s} {speed:8.1f} million pair-layers/s   time/ours {ratio:6.2f}")


if __name__ == "__main__":
    sys.exit(main())
