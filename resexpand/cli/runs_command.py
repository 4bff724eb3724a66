"""``runs``: what stores hold, going on with them, merging and exporting them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from pathlib import Path

from resexpand.cli.output import one_line
from resexpand.cli.sample_command import report
from resexpand.cli.show import record, say, table, warn
from resexpand.cli.values import given, integer
from resexpand.errors import StoreError
from resexpand.montecarlo.runs.stored import StoredRun, find, look, merge, resume

UNREADABLE = 2


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    return ACTIONS[arguments.action](arguments)


def _list(arguments: argparse.Namespace) -> int:
    paths, runs = find(arguments.stores or ["."]), []
    for path in paths:
        try:
            runs.append(look(path, verify=False))
        except StoreError as error:
            warn(str(error))
    if arguments.json:
        record(command="runs list", runs=[_plain(r) for r in runs])
    elif not runs:
        say("no stores")
    else:
        headers = ["store", "networks", "asked", "width", "depth", "seed", "observables", "network"]
        table(headers, len(runs), lambda i: _line(runs[i]))
    return UNREADABLE if len(runs) < len(paths) else 0


def _line(stored: StoredRun) -> list[object]:
    s = stored.plan.settings
    head = [str(stored.path), stored.done, stored.asked, s["width"], s["depth"], str(s["seed"])]
    return [*head, " ".join(s["observables"]), one_line(stored.words[1])]


def _show(arguments: argparse.Namespace) -> int:
    stored = look(arguments.store)
    health = {name: e.status for name, e in stored.estimates.items()} if stored.done else {}
    if arguments.json:
        record(command="runs show", run=_plain(stored), health=health)
        return 0
    say(one_line(str(stored.path)))
    for line in stored.words:
        say(f"  {one_line(line)}")
    say(f"  {_progress(stored)}")
    for name, status in health.items():
        say(f"  {one_line(f'{name}: {status}')}")
    return 0


def _progress(stored: StoredRun) -> str:
    """Return how far a run is, in words."""
    if stored.header.until is not None and stored.complete:
        return f"{stored.done} networks drawn, the run is complete"
    share = math.floor(100 * stored.done / max(stored.asked, 1))
    return f"{stored.done} of {stored.asked} networks drawn ({share} %)"


def _resume(arguments: argparse.Namespace) -> int:
    keywords = {name: given(arguments, name, integer) for name in ("draws", "workers")}
    keywords["until"] = arguments.until
    estimates = resume(
        arguments.store,
        wait=arguments.wait,
        progress=True if arguments.progress else None,
        **keywords,
    )
    return report("runs resume", estimates, {}, as_json=arguments.json)


def _merge(arguments: argparse.Namespace) -> int:
    stored = merge(arguments.out, arguments.stores)
    if arguments.json:
        record(command="runs merge", run=_plain(stored))
        return 0
    done = f"{stored.done} of {stored.asked} networks, {stored.missing} chunks missing"
    say(f"{one_line(str(stored.path))}: {done}")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from resexpand.export.result_files import save

    stored = look(arguments.store)
    if not stored.complete:
        warn(f"{stored.path}: only {stored.done} of {stored.asked} networks are drawn")
    path = save(stored.estimates, Path(arguments.out))
    warn(f"wrote {path}")
    if arguments.json:
        record(command="runs export", run=_plain(stored), results=dict(stored.estimates))
    return 0


def _plain(stored: StoredRun) -> dict[str, object]:
    plan = stored.plan
    return {
        "store": str(stored.path),
        "settings": dict(plan.settings),
        "draws_done": stored.done,
        "draws_asked": stored.asked,
        "chunk": plan.chunk,
        "chunks_missing": stored.missing,
        "shard": list(plan.shard),
        "until": stored.header.until,
        "complete": stored.complete,
        "identity": stored.header.identity,
    }


ACTIONS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "list": _list,
    "show": _show,
    "resume": _resume,
    "merge": _merge,
    "export": _export,
}
