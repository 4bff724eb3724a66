"""docs/verdicts.rst: the examples print what they print."""

from __future__ import annotations

import doctest
from pathlib import Path

from docutils.core import publish_doctree

PAGE = Path(__file__).parent.parent / "docs" / "verdicts.rst"


def test_the_page_renders() -> None:
    text = PAGE.read_text("utf-8")
    publish_doctree(text, settings_overrides={"report_level": 1, "halt_level": 2})


def test_examples() -> None:
    results = doctest.testfile(str(PAGE), module_relative=False)
    assert results.attempted >= 12
    assert results.failed == 0
