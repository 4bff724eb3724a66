"""docs/operations.rst: the page renders, examples run as printed, no operation is missing."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest
from docutils.core import publish_doctree

from resexpand.network.registry import OPERATIONS

PAGE = Path(__file__).parent.parent / "docs" / "operations.rst"
TEXT = PAGE.read_text("utf-8")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page registers an operation; other tests do not see it."""
    before = dict(OPERATIONS)
    yield
    OPERATIONS.clear()
    OPERATIONS.update(before)


def test_the_page_renders() -> None:
    publish_doctree(TEXT, settings_overrides={"report_level": 1, "halt_level": 2})


@pytest.mark.usefixtures("registry")
def test_examples_print_what_they_print() -> None:
    result = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert result.failed == 0
    assert result.attempted > 50


def test_every_operation_is_named() -> None:
    own = {kind for kind, op in OPERATIONS.items() if op.__module__.startswith("resexpand.")}
    assert len(own) >= 10
    table = TEXT.partition("a neuron computes")[2].partition("Pre-LN and post-LN")[0]
    assert {kind for kind in own if f"``{kind}(" not in table} == set()
