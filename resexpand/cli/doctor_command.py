"""``doctor``: one page about this machine; exit code 0 if what is asked for works, else 1.

Like the page it loads the standard library alone (`resexpand.cli.show` would load what may be
broken here); its JSON has the shape of the package's records.
"""

from __future__ import annotations

import argparse
import json

from resexpand.cli.output import write

DOES_NOT_WORK = 1
SCHEMA = {"name": "resexpand-record", "version": 1}


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from resexpand.workflows.doctor.examine import doctor

    page = doctor(arguments.target)
    record = {"schema": SCHEMA, "command": "doctor", **page.to_dict(), "not_finite": []}
    text = json.dumps(record, indent=1) if arguments.json else str(page)
    write(f"{text}\n")
    return 0 if page.works else DOES_NOT_WORK
