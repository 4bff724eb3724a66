"""README.rst and what it shows: examples run as printed, commands work, the page renders."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest
from docutils.core import publish_doctree

from resexpand.cli import main

README = Path(__file__).parent.parent / "README.rst"
COMMANDS = re.findall(r"^    (resexpand .+)$", README.read_text("utf-8"), flags=re.MULTILINE)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the examples in a folder of their own; the commands use what they leave there."""
    folder = tmp_path_factory.mktemp("readme")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = doctest.testfile(str(README), module_relative=False, encoding="utf-8")
    assert result.failed == 0
    assert result.attempted > 20
    return folder


def test_examples_print_what_they_print(scratch: Path) -> None:
    assert (scratch / "digits.npy").is_file()


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run(
    command: str, scratch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(scratch)
    code = main(shlex.split(command)[1:])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    written = re.findall(r"wrote (\S+)", printed.err)
    assert written or len(printed.out.splitlines()) > 5
    assert all((scratch / name).stat().st_size > 1000 for name in written)


def test_there_are_commands() -> None:
    assert {shlex.split(command)[1] for command in COMMANDS} == {
        "kernel",
        "response",
        "optimal-scale",
        "expand",
        "order-profile",
        "one-loop",
        "sample",
        "latex",
        "validate",
    }


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
