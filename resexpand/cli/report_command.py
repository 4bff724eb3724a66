"""``report``: saved results, or the folder of a validation, as one page of HTML."""

from __future__ import annotations

import argparse
from pathlib import Path

from resexpand.cli.show import record, warn
from resexpand.export.report import report
from resexpand.export.result_files import load


def run(arguments: argparse.Namespace) -> int:
    """Write the page."""
    results = [Path(p) if Path(p).is_dir() else load(p) for p in arguments.results]
    title = arguments.title or ", ".join(Path(path).stem for path in arguments.results)
    path = report(Path(arguments.out), *results, title=title)
    if arguments.json:
        record(command="report", results=list(arguments.results), written=str(path))
    else:
        warn(f"wrote {path}")
    return 0
