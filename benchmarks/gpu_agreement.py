"""Both targets side by side, case by case, in processes that share the work of compiling.

Compiling a hundred routines and samplers for two targets takes minutes on one core; a GPU is
shared by processes without harm as long as nothing is timed.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from multiprocessing import active_children, get_context
from typing import Any

import gpu_cases
from gpu_cases import Sizes

from resexpand.errors import ResexpandError

LIMIT = 1e-9
"""Largest relative difference between the targets in float64: both round, nothing else differs."""
MOST_PROCESSES = 12
SECONDS = 240
"""After which the rest is left out, so that there is time to measure."""

Job = tuple[str, str]


def compare(kind: str, case: str, sizes: Sizes) -> dict[str, Any]:
    """Compute one case on both targets and return how much they differ."""
    warnings.simplefilter("ignore")
    compute = gpu_cases.routine if kind == "routine" else gpu_cases.networks
    begin = time.perf_counter()
    try:
        found = compute(case, sizes, target="cuda")
    except ResexpandError as error:
        return why_not(compute, case, str(error))
    expected = compute(case, sizes)
    differs = {name: gpu_cases.difference(found[name], expected[name]) for name in expected}
    seconds = time.perf_counter() - begin
    return {"difference": differs, "agrees": max(differs.values()) <= LIMIT, "seconds": seconds}


def why_not(compute: Callable[..., Any], case: str, said: str) -> dict[str, Any]:
    """Return whether a case that this target refuses is one at all."""
    try:
        compute(case, gpu_cases.TINY)
    except ResexpandError as error:
        return {"undefined": str(error)}
    return {"refused": said}


def agreement(sizes: Sizes, every: bool) -> dict[str, Any]:
    """Compare all cases; return a row for each."""
    jobs = [("routine", case) for case in gpu_cases.routine_cases(every)]
    jobs += [("sampler", case) for case in gpu_cases.sampler_cases(every)]
    if every:
        return _sections(side_by_side(jobs, sizes))
    return _sections({(kind, case): compare(kind, case, sizes) for kind, case in jobs})


def side_by_side(jobs: list[Job], sizes: Sizes) -> dict[Job, dict[str, Any]]:
    """Compare cases in several processes; what is not done in time is listed."""
    processes = max(1, min(MOST_PROCESSES, (os.cpu_count() or 2) - 2))
    # One thread each: the processes are as many as the cores.
    os.environ["NUMBA_NUM_THREADS"] = "1"
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    calls = {pool.submit(compare, *job, sizes): job for job in jobs}
    done, late = wait(calls, timeout=SECONDS)
    del os.environ["NUMBA_NUM_THREADS"]
    children = active_children() if late else []
    pool.shutdown(wait=not late, cancel_futures=True)
    for child in children:
        child.terminate()
    rows: dict[Job, dict[str, Any]] = {calls[call]: {"not_reached": True} for call in late}
    for call in done:
        error = call.exception()
        rows[calls[call]] = {"failed": repr(error)} if error else call.result()
    return rows


def _sections(rows: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
    found = {
        f"{kind}s": {case: row for (k, case), row in sorted(rows.items()) if k == kind}
        for kind in ("routine", "sampler")
    }
    compared = [row for row in rows.values() if "agrees" in row]
    return {
        **found,
        "limit": LIMIT,
        "compared": len(compared),
        "undefined": sum("undefined" in row for row in rows.values()),
        "refused": sum("refused" in row for row in rows.values()),
        "not_reached": sum("not_reached" in row for row in rows.values()),
        "disagree": [
            f"{kind}: {case}"
            for (kind, case), row in sorted(rows.items())
            if "failed" in row or row.get("agrees") is False
        ],
    }
