"""The GPU in one command: first that it computes the same as the CPU, then how fast.

    python benchmarks/gpu.py [--out FILE] [--torch PYTHON] [--minutes M] [--simulate]

Every routine of the theory and every observable of both samplers is computed on both targets at
real sizes and compared; then normals, samplers and routines are timed. It takes under eight minutes
and writes one record, also when it has to stop early: what was not reached is listed. ``--torch``
names an interpreter with PyTorch (by default this one, if it can import it). ``--simulate`` runs
everything at tiny sizes in the simulator of numba-cuda: a test of this script, its times mean
nothing. Exit code 0 if all agrees, 1 if something differs or failed, 2 if there is no device.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")
NO_DEVICE = 2
DISAGREES = 1
SECTIONS = ("agreement", "normals", "dense", "function_space", "theory")
MINUTES = 7.5


class Deadline:
    """Sections of the record, as long as there is time."""

    def __init__(self, minutes: float, only: Sequence[str]) -> None:
        self._end, self._only = time.monotonic() + 60 * minutes, only
        self.found: dict[str, Any] = {}
        self.not_measured: list[str] = []
        self.failed: list[str] = []

    def section(self, name: str, compute: Callable[[], Any]) -> Any:
        """Compute a section that is wanted and in time; return it, None if it was left out."""
        if time.monotonic() > self._end or name not in self._only:
            self.not_measured.append(name)
            return None
        begin = time.monotonic()
        try:
            self.found[name] = compute()
        except Exception:
            # What was measured before is worth keeping.
            traceback.print_exc()
            self.failed.append(name)
            return None
        print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
        return self.found[name]


def machine() -> dict[str, Any] | str:
    """Return device, driver and versions, or why there is nothing to measure."""
    from resexpand.codegen.cuda.device import machine as look
    from resexpand.codegen.cuda.device import obstacle

    found = look()
    reason = obstacle(found)
    if reason is not None:
        return f"{reason.why}; {reason.remedy}"
    from importlib.metadata import version

    return {
        "devices": [vars(device) for device in found.devices],
        "driver_cuda": found.driver,
        "toolkit": found.toolkit,
        "numba_cuda": version("numba-cuda"),
        "simulated": found.simulated,
        "processors": os.cpu_count(),
    }


def measure(deadline: Deadline, torch: str | None, simulate: bool) -> None:
    """Fill in the sections, what is right before what is fast."""
    import gpu_agreement
    import gpu_cases
    import gpu_device
    import gpu_samplers
    import gpu_theory

    sizes = gpu_cases.TINY if simulate else gpu_cases.REAL
    scale = gpu_device.TINY if simulate else gpu_device.REAL
    deadline.section("agreement", lambda: gpu_agreement.agreement(sizes, every=not simulate))
    roof = deadline.section("normals", lambda: gpu_device.normals(scale))
    if roof is not None:
        rate = gpu_samplers.median(roof)
        deadline.section("dense", lambda: gpu_samplers.dense(scale, rate, torch))
        deadline.section("function_space", lambda: gpu_samplers.function_space(scale, rate))
    deadline.section("theory", lambda: gpu_theory.theory(scale))


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that imports torch")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="begin nothing after that")
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="sections of the record"
    )
    parser.add_argument("--simulate", action="store_true", help="tiny sizes, no device")
    options = parser.parse_args(arguments)
    if options.simulate:
        os.environ["NUMBA_ENABLE_CUDASIM"] = "1"
    torch = options.torch
    if torch is None and importlib.util.find_spec("torch") is not None:
        torch = sys.executable
    found = machine()
    if isinstance(found, str):
        print(f"nothing to measure: {found}", file=sys.stderr)
        return NO_DEVICE
    deadline = Deadline(options.minutes, options.only)
    measure(deadline, None if options.simulate else torch, options.simulate)
    from resexpand.export.record import write_record

    left_out = {"not_measured": deadline.not_measured, "failed": deadline.failed}
    write_record(options.out, machine=found, **deadline.found, **left_out)
    wrong = deadline.found.get("agreement", {}).get("disagree", [])
    for name in wrong:
        print(f"disagrees: {name}", file=sys.stderr)
    return DISAGREES if wrong or deadline.failed else 0


if __name__ == "__main__":
    sys.exit(main())
