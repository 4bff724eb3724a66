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


def _line(found: StoredRun) -> list[object]:
    s = found.plan.settings
    head = [str(found.path), found.done, found.asked, s["width"], s["depth"], str(s["seed"])]
    return [*head, " ".join(s["observables"]), one_line(found.words[1])]


def _show(arguments: argparse.Namespace) -> int:
    found = look(arguments.store)
    health = {name: e.status for name, e in found.estimates.items()} if found.done else {}
    if arguments.json:
        record(command="runs show", run=_plain(found), health=health)
        return 0
    say(one_line(str(found.path)))
    for line in found.words:
        say(f"  {one_line(line)}")
    say(f"  {_progress(found)}")
    for name, status in health.items():
        say(f"  {one_line(f'{name}: {status}')}")
    return 0


def _progress(found: StoredRun) -> str:
    """Return how far a run is, in words."""
    if found.header.until is not None and found.complete:
        return f"{found.done} networks drawn, the run is complete"
    share = math.floor(100 * found.done / max(found.asked, 1))
    return f"{found.done} of {found.asked} networks drawn ({share} %)"


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
    found = merge(arguments.out, arguments.stores)
    if arguments.json:
        record(command="runs merge", run=_plain(found))
        return 0
    done = f"{found.done} of {found.asked} networks, {found.missing} chunks missing"
    say(f"{one_line(str(found.path))}: {done}")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from resexpand.export.result_files import save

    found = look(arguments.store)
    if not found.complete:
        warn(f"{found.path}: only {found.done} of {found.asked} networks are drawn")
    path = save(found.estimates, Path(arguments.out))
    warn(f"wrote {path}")
    if arguments.json:
        record(command="runs export", run=_plain(found), results=dict(found.estimates))
    return 0


def _plain(found: StoredRun) -> dict[str, object]:
    plan = found.plan
    return {
        "store": str(found.path),
        "settings": dict(plan.settings),
        "draws_done": found.done,
        "draws_asked": found.asked,
        "chunk": plan.chunk,
        "chunks_missing": found.missing,
        "shard": list(plan.shard),
        "until": found.header.until,
        "complete": found.complete,
        "identity": found.header.identity,
    }


ACTIONS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "list": _list,
    "show": _show,
    "resume": _resume,
    "merge": _merge,
    "export": _export,
}
