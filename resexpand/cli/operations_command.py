"""``operations``: which theory and which sampler takes which operation, made by trying."""

from __future__ import annotations

import argparse
import json
from typing import Any

from resexpand.cli.doctor_command import SCHEMA
from resexpand.cli.output import write


def add_operations(commands: Any, command: Any) -> None:
    """Add the command to the parser; `command` adds one by name."""
    command(
        commands,
        "operations",
        "operations_command",
        "Which theory and which sampler takes which operation, found by trying.",
        network=False,
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    # The parser reads this file for every command, and theories are slow to load.
    from resexpand.workflows.operations import operations

    table = operations()
    record = {"schema": SCHEMA, "command": "operations", **table.to_dict(), "not_finite": []}
    write(f"{json.dumps(record, indent=1) if arguments.json else table}\n")
    return 0
