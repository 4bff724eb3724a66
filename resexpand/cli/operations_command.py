"""``operations``: which theory and which sampler takes which operation, made by trying."""

from __future__ import annotations

import argparse
import json

from resexpand.cli.doctor_command import SCHEMA
from resexpand.cli.output import write
from resexpand.workflows.operations import operations


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    table = operations()
    record = {"schema": SCHEMA, "command": "operations", **table.to_dict(), "not_finite": []}
    write(f"{json.dumps(record, indent=1) if arguments.json else table}\n")
    return 0
