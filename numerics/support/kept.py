"""Finished pieces of a long script, kept in a file of one line each, from which it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def kept(store: Path | None, settings: Mapping[str, Any], work: Callable[[], Any]) -> Any:
    """Return what a file holds for these settings, or else do the work and add it.

    Parameters
    ----------
    store : Path or None
        File; lines of other settings in it are left alone, and so is one that was cut off.
    settings : mapping
        Of the piece: JSON values.
    work : callable
        Makes JSON values.
    """
    wanted = json.loads(json.dumps(settings))
    text = store.read_text(encoding="utf-8") if store is not None and store.exists() else ""
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if row["settings"] == wanted:
            return row["found"]
    found = work()
    if store is not None:
        # A line that was cut off by an interrupted run ends here.
        start = "\n" if text and not text.endswith("\n") else ""
        with store.open("a", encoding="utf-8") as file:
            file.write(start + json.dumps({"settings": wanted, "found": found}) + "\n")
    return found
