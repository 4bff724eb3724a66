"""``doctor``: one page about this machine; exit code 0 if what is asked for works, else 1.

Like the page it loads the standard library alone (`resexpand.cli.show` would load what may be
broken here); its JSON has the shape of the package's records.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from resexpand.cli.output import write

DOES_NOT_WORK = 1
SCHEMA = {"name": "resexpand-record", "version": 1}


def add_doctor(commands: Any, command: Any) -> None:
    """Add the command to the parser; `command` adds one by name."""
    parser = command(
        commands,
        "doctor",
        "doctor_command",
        "What this machine has, whether each target works here, and what to install if not.",
        network=False,
    )
    parser.add_argument(
        "--target",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="what must work for the exit code 0; auto: the CPU, and a GPU if there is one "
        "(default: auto)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from resexpand.workflows.doctor.examine import doctor

    page = doctor(arguments.target)
    record = {"schema": SCHEMA, "command": "doctor", **page.to_dict(), "not_finite": []}
    text = json.dumps(record, indent=1) if arguments.json else str(page)
    write(f"{text}\n")
    return 0 if page.works else DOES_NOT_WORK
