"""docs/gpu.rst: examples print what they print on any machine; the doctor's lines are its own."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

from docutils.core import publish_doctree

from resexpand.workflows.doctor import examine

PAGE = Path(__file__).parent.parent / "docs" / "gpu.rst"
TEXT = PAGE.read_text("utf-8")


def test_the_page_renders() -> None:
    publish_doctree(TEXT, settings_overrides={"report_level": 1, "halt_level": 2})


def test_examples_print_what_they_print() -> None:
    result = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert result.failed == 0
    assert result.attempted >= 10


def test_the_page_of_the_doctor_is_shown_as_it_is() -> None:
    """Every finding in its order, as on a machine without a GPU."""
    shown = re.findall(r"^     (?:ok|NO|-) +(\w+(?: \w+)?) +\S", TEXT, flags=re.MULTILINE)
    assert shown == [*examine.CPU, *examine.CUDA]
