"""A store without the call that made it: what it holds, going on with it, merging parts.

    runs = find(["results"])                    every store in a folder
    run = look("run.sqlite")                    plan, draws done and asked for
    run.estimates                               of what is there, in the order of the draws
    resume("run.sqlite", draws=100_000)         from the plan in the file
    merge("whole.sqlite", ["part-0.sqlite", "part-1.sqlite"])

A store that a job array filled in parts merges into the bytes of an uninterrupted run: chunks are
kept one by one and summed in their order. Where an observable came from a script, only that script
can go on; its results can be looked at, merged and exported all the same.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from resexpand.errors import StoreError
from resexpand.montecarlo.runs.chunk_store import ChunkStore, reading, writing
from resexpand.montecarlo.runs.file_format import Header, changed, is_store
from resexpand.montecarlo.runs.plan import Chunk, Plan, name_of
from resexpand.montecarlo.runs.results import drawn, estimates_of
from resexpand.montecarlo.runs.settings import spec_of
from resexpand.montecarlo.runs.sums import Sums
from resexpand.montecarlo.statistics.estimate import Estimates
from resexpand.montecarlo.statistics.stopping import Until, checked_until
from resexpand.network.numbers import whole_number
from resexpand.progress import Progress

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class StoredRun:
    """Contents of a store.

    Attributes
    ----------
    path : Path
    header : Header
        Plan, with the most draws asked for.
    chunks : tuple of Chunk
        Finished ones that belong to the plan, in order.
    """

    path: Path
    header: Header
    chunks: tuple[Chunk, ...]

    @property
    def plan(self) -> Plan:
        """The run: the part asked for, or the whole if several parts were."""
        shards = self.header.shards
        return replace(self.header.plan, shard=shards[0] if len(shards) == 1 else (0, 1))

    @property
    def done(self) -> int:
        """Networks drawn."""
        return sum(draws for _, draws in self.chunks)

    @property
    def asked(self) -> int:
        """Networks wanted here."""
        return self.plan.own_draws

    @property
    def missing(self) -> int:
        """Chunks that are still to be drawn; at most, if the run stops at an error."""
        return self.plan.chunk_count - len(self.chunks)

    @property
    def rule(self) -> Until | None:
        """The rule at which the run stops, if it has one."""
        return _rule(self, self.header.until)

    @property
    def complete(self) -> bool:
        """Whether nothing is to be drawn: all networks are there, or the error is reached."""
        rule = self.rule
        first = islice(self.plan.chunks(), len(self.chunks))
        in_front = bool(self.chunks) and all(map(operator.eq, self.chunks, first))
        return not self.missing or (rule is not None and in_front and rule(self._sums))

    @cached_property
    def _sums(self) -> Sums:
        with reading(self.path) as store:
            return store.total(replace(self.plan, shard=(0, 1)), self.rule)

    @cached_property
    def estimates(self) -> Estimates:
        """Estimates from what is there, up to the draw at which an asked error is reached.

        Raises
        ------
        StoreError
            If nothing is, or the file cannot be read any more.
        """
        if not self.chunks:
            raise StoreError(
                f"store {str(self.path)!r}", "no chunk is finished yet", "resume the run first"
            )
        return _estimates(self._sums, self.plan, self.rule, drawn(self._sums))

    @property
    def words(self) -> list[str]:
        """The plan in words, line by line."""
        s, plan = self.plan.settings, self.plan
        scales = s["scales"]
        shown = f"{len(scales)} values" if isinstance(scales, list) else f"{scales:.6g}"
        inputs = s["K0"]
        start = f"{inputs[0][0]:.6g}" if len(inputs) == 1 else f"of {len(inputs)} inputs"
        lines = [
            f"{plan.draws} networks of width {s['width']}, depth {s['depth']}, seed {s['seed']}",
            f"branch {' -> '.join(s['branch'])}, residual scale {shown}, K0 {start}",
            f"sampler {s['method']}, weights {s.get('weights', 'gaussian')}"
            + (f", control {s['control']}" if "control" in s else ""),
            f"observables {', '.join(s['observables'])}",
            f"chunks of {plan.chunk} networks, {plan.chunk_count - self.missing} of "
            f"{plan.chunk_count} finished",
        ]
        if plan.shard != (0, 1):
            lines[0] += f"; shard {plan.shard[0]} of {plan.shard[1]}, {self.asked} networks"
        if self.header.until is not None:
            lines[0] = f"at most {lines[0]}, until errors are {self.header.until:.4g} of the means"
        return lines


def look(path: PathLike, *, verify: bool = True) -> StoredRun:
    """Return what a store holds.

    Raises
    ------
    StoreError
        If it cannot be read, is not a store, is damaged or was written by another version.
    """
    with reading(Path(path), verify=verify) as store:
        return _run_of(store)


def _run_of(store: ChunkStore) -> StoredRun:
    run = StoredRun(store.path, store.header, ())
    return replace(run, chunks=tuple(chunk for chunk in store.chunks() if chunk in run.plan))


def find(paths: Iterable[PathLike]) -> list[Path]:
    """Return the stores among files and in folders, folders inside included, in order."""
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.is_file() and is_store(p))
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def resume(
    path: PathLike,
    *,
    draws: int | None = None,
    until: float | str | None = None,
    workers: int | Executor | None = None,
    wait: bool = False,
    progress: Progress = None,
) -> Estimates:
    """Complete a run from the plan in its store.

    Parameters
    ----------
    path : path-like
    draws : int, optional
        Networks wanted of the whole run, if more than were asked for before; at most so many
        if it stops at an error.
    until : float, optional
        Relative standard error at which to stop; that of the last call unless given.
    workers, wait, progress
        As for `resexpand.montecarlo.sample.sample`.

    Raises
    ------
    StoreError
        If the store cannot be used, or its plan needs the script that made it.
    HyperparameterError, UnsupportedError
        If the error is none, or the store holds one part of a run.
    """
    # Numba is loaded only now: looking at stores must not wait for it.
    from resexpand.montecarlo.runs.execute import run_plan

    run = look(path)
    asked = f"resuming {str(run.path)!r}"
    if run.header.unregistered:
        raise StoreError(
            asked,
            f"its observables {', '.join(run.header.unregistered)} are known only to the script "
            "that made it",
            "repeat that call of sample(), with the same store",
        )
    wanted = 0 if draws is None else whole_number(draws, "draws", 0)
    plan = replace(run.plan, draws=max(wanted, run.plan.draws))
    rule = _rule(run, run.header.until if until is None else until)
    sums = run_plan(
        plan,
        spec_of(plan.settings, asked),
        workers=workers,
        store=run.path,
        wait=wait,
        progress=progress,
        enough=rule,
    )
    return _estimates(sums, plan, rule, plan.draws if rule is None else drawn(sums))


def _rule(run: StoredRun, until: float | str | None) -> Until | None:
    """Return the rule that stops at this relative error."""
    shard = None if run.plan.shard == (0, 1) else run.plan.shard
    names = (name_of(label) for label in run.plan.settings["observables"])
    return checked_until(until, names, shard)


def _estimates(sums: Sums, plan: Plan, rule: Until | None, draws: int) -> Estimates:
    more: dict[str, Any] = {} if rule is None else {"until": rule.relative_error}
    if plan.shard != (0, 1):
        more["shard"] = list(plan.shard)
    return estimates_of(sums, {**plan.settings, "draws": draws, **more})


def merge(target: PathLike, sources: Sequence[PathLike]) -> StoredRun:
    """Put the chunks of several stores of one run into one, all in one transaction.

    Parameters
    ----------
    target : path-like
        A new file, or a store of the same run.
    sources : sequence of path-like
        At least one. They are left as they are.

    Raises
    ------
    StoreError
        If one cannot be read or belongs to another run, or two hold different sums of one chunk;
        the target is then as it was.
    """
    goal = Path(target)
    asked = f"merging into {str(goal)!r}"
    paths = [Path(source) for source in sources if Path(source).resolve() != goal.resolve()]
    if not paths:
        raise StoreError(asked, "no other store was named", "name the stores to merge")
    with ExitStack() as stack:
        parts = [stack.enter_context(reading(path)) for path in paths]
        plan = _common_plan(asked, parts)
        known: dict[tuple[int, int, str], tuple[str, Path]] = {}
        for part in parts:
            _check_equal(asked, known, part)
        unregistered = dict.fromkeys(name for p in parts for name in p.header.unregistered)
        shards = {shard for part in parts for shard in part.header.shards}
        errors = {part.header.until for part in parts}
        until = errors.pop() if len(errors) == 1 else None
        first = replace(plan, shard=min(shards))
        whole = stack.enter_context(writing(goal, first, unregistered=unregistered))
        _check_equal(asked, known, whole)
        whole.add_rows(row for part in parts for row in part.rows())
        whole.ask(plan.draws, shards, until)
        return _run_of(whole)


def _common_plan(asked: str, parts: Sequence[ChunkStore]) -> Plan:
    first = parts[0]
    for part in parts:
        mine, other = first.plan, part.plan
        if part.header.identity != first.header.identity or mine.text != other.text:
            different = changed(mine.settings, other.settings)
            raise StoreError(
                asked,
                f"{str(first.path)!r} and {str(part.path)!r} belong to different runs "
                f"(different: {different})",
                "merge stores of one call, made with different shards",
            )
    return replace(first.plan, draws=max(part.plan.draws for part in parts))


def _check_equal(
    asked: str, known: dict[tuple[int, int, str], tuple[str, Path]], part: ChunkStore
) -> None:
    """Refuse two stores that hold different sums of the same networks."""
    for first, draws, observable, _, _, digest, _ in part.rows():
        other, path = known.setdefault((first, draws, observable), (digest, part.path))
        if other != digest:
            raise StoreError(
                asked,
                f"{str(path)!r} and {str(part.path)!r} hold different {observable} of networks "
                f"{first}...{first + draws - 1}",
                "one of them was drawn on another kind of processor or is wrong: draw it again",
            )
