"""docs/scales.rst: it renders, examples run as printed, those of PyTorch where it is installed."""

from __future__ import annotations

import doctest
import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from docutils.core import publish_doctree

from resexpand.cli import main
from resexpand.numbers.scales.registry import CANDIDATES

PAGE = Path(__file__).parent.parent / "docs" / "scales.rst"
TEXT = PAGE.read_text("utf-8")
THEORY, TITLE, MODELS = TEXT.partition("In a PyTorch model\n")


def failures(text: str, names: dict[str, Any]) -> tuple[int, int]:
    """Run the examples of a text; return how many failed, and how many there are."""
    test = doctest.DocTestParser().get_doctest(text, names, "scales.rst", str(PAGE), 0)
    runner = doctest.DocTestRunner()
    runner.run(test, clear_globs=False)
    names.update(test.globs)
    return runner.summarize(verbose=False)


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """Names that the first part defines, for the second."""
    found: dict[str, Any] = {}
    failed, attempted = failures(THEORY, found)
    assert failed == 0
    assert attempted > 15
    return found


def test_the_page_renders() -> None:
    publish_doctree(TEXT, settings_overrides={"report_level": 1, "halt_level": 2})


def test_examples_of_theory_print_what_they_print(names: dict[str, Any]) -> None:
    assert names["found"].depths == (12, 48)


def test_examples_of_models_print_what_they_print(names: dict[str, Any]) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    assert TITLE
    failed, attempted = failures(MODELS, dict(names))
    assert failed == 0
    assert attempted > 10


def test_the_command_writes_its_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (command,) = re.findall(r"^    (resexpand .+)$", TEXT, flags=re.MULTILINE)
    assert main(shlex.split(command)[1:]) == 0
    assert "recommendation: " in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"scales.pdf", "scales.png"}


def test_every_candidate_is_named() -> None:
    assert len(CANDIDATES) >= 12
    assert [name for name in CANDIDATES if f"``{name}``" not in TEXT] == []
