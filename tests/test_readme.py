"""README.rst and what it shows: examples run as printed, the page renders."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
from docutils.core import publish_doctree

README = Path(__file__).parent.parent / "README.rst"


def test_examples_print_what_they_print(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(str(README), module_relative=False, encoding="utf-8")
    assert result.failed == 0
    assert result.attempted > 15


def test_pages_exist() -> None:
    pages = set(re.findall(r"``(docs/\w+\.rst)``", README.read_text("utf-8")))
    assert len(pages) > 8
    assert [page for page in sorted(pages) if not (README.parent / page).is_file()] == []


def test_page_renders_without_a_warning() -> None:
    tree = publish_doctree(
        README.read_text("utf-8"),
        source_path=str(README),
        settings_overrides={"report_level": 1, "halt_level": 2},
    )
    assert "resexpand" in tree.astext()


def test_images_exist() -> None:
    images = re.findall(r"\.\. (?:figure|image):: (\S+)", README.read_text("utf-8"))
    assert images
    assert all((README.parent / image).is_file() for image in images)
