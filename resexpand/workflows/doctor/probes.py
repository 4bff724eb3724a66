"""The probes by name, answered in a process of their own.

    python -m resexpand.workflows.doctor.probes NAME [NAME ...]

prints one line of JSON per probe and stops at the first that fails. A probe returns what it found
in words and in numbers, or raises; a process that ends without a word is a finding as well.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from resexpand.errors import ResexpandError
from resexpand.workflows.doctor import driver, software, trials
from resexpand.workflows.doctor.missing import Found, Missing

PROBES: Mapping[str, Callable[[], Found]] = {
    "folder": software.folder,
    "compiler": software.compiler,
    "routine": trials.routine,
    "sampler": trials.sampler,
    "driver": driver.version,
    "devices": driver.devices,
    "package": software.package,
    "toolkit": software.toolkit,
    "assembled routine": trials.assembled_routine,
    "assembled sampler": trials.assembled_sampler,
    "device routine": trials.device_routine,
    "device sampler": trials.device_sampler,
}


def main(names: list[str]) -> None:
    """Answer the probes in turn, one line each, up to the first that fails."""
    # Libraries may write to the standard output; the answers have a stream of their own.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for name in names:
        answer = _answer(name)
        answers.write(json.dumps({"name": name, **answer}) + "\n")
        answers.flush()
        if answer["state"] != "ok":
            return


def _answer(name: str) -> dict[str, Any]:
    try:
        text, facts = PROBES[name]()
    except Missing as error:
        return {"state": "failed", "text": error.why, "remedy": error.remedy}
    except ResexpandError as error:
        return {"state": "failed", "text": error.why or error.asked, "remedy": error.remedy}
    except ImportError as error:
        top = (error.name or "").partition(".")[0]
        remedy = f"pip install --force-reinstall {top}" if top else ""
        return {"state": "failed", "text": f"{type(error).__name__}: {error}", "remedy": remedy}
    return {"state": "ok", "text": text, "facts": facts}


if __name__ == "__main__":
    main(sys.argv[1:])
