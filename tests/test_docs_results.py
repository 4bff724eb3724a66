"""docs/results.rst: the page renders and its examples run as printed."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest
from docutils.core import publish_doctree

PAGE = Path(__file__).parent.parent / "docs" / "results.rst"


def test_the_page_renders() -> None:
    text = PAGE.read_text("utf-8")
    publish_doctree(text, settings_overrides={"report_level": 1, "halt_level": 2})


def test_examples_print_what_they_print(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert result.failed == 0
    assert result.attempted > 20
