"""docs/finite_response.rst: the page renders, and its examples print what they print."""

from __future__ import annotations

import doctest
from pathlib import Path

from docutils.core import publish_doctree

PAGE = Path(__file__).parent.parent / "docs" / "finite_response.rst"


def test_the_page_renders() -> None:
    text = PAGE.read_text("utf-8")
    publish_doctree(text, settings_overrides={"report_level": 1, "halt_level": 2})


def test_examples_print_what_they_print() -> None:
    result = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert result.failed == 0
    assert result.attempted > 20
