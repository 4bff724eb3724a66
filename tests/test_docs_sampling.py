"""docs/sampling.rst: examples print what they print, commands run, and no observable is missing."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest
from docutils.core import publish_doctree

from resexpand.cli import main
from resexpand.cli.options import COMMANDS as IN_HELP
from resexpand.montecarlo.observables.registry import FAMILIES, OBSERVABLES

PAGE = Path(__file__).parent.parent / "docs" / "sampling.rst"
TEXT = PAGE.read_text("utf-8")
COMMANDS = re.findall(r"^   (resexpand .+)$", TEXT, flags=re.MULTILINE)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_page_renders() -> None:
    publish_doctree(TEXT, settings_overrides={"report_level": 1, "halt_level": 2})


def test_examples_print_what_they_print() -> None:
    result = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert result.failed == 0
    assert result.attempted > 30


def test_every_observable_is_named() -> None:
    """In the page and in the help of the command, which is written without the registry."""
    names = {*OBSERVABLES, *(f"{name}()" for name in FAMILIES)}
    table = TEXT.partition("What can be observed")[2].partition("An observable of your own")[0]
    assert names <= set(re.findall(r"``([\w()]+)``", _unnumbered(table)))
    listed = IN_HELP.partition("--observables LIST =kernel  of ")[2].partition("\n  --")[0]
    assert set(re.split(r",\s+", _unnumbered(listed))) == names


def _unnumbered(text: str) -> str:
    """Leave out the letter of a family's number: an order k, or a layer l."""
    return re.sub(r"\(\w\)", "()", text)


def test_commands_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(COMMANDS) == 4
    for command in COMMANDS:
        assert main(shlex.split(command)[1:]) == 0, capsys.readouterr().err
