"""Answers that cannot be written, and text that must not be obeyed by a terminal.

Laws: (1) an answer that is not written has an exit code of its own, never that of a verdict, and
one line says why; (2) remarks that cannot be written change nothing; (3) every text is shown on
every terminal, and none is obeyed.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from resexpand.cli import main
from resexpand.cli.output import OUTPUT_FAILED, one_line, printable
from resexpand.montecarlo.runs import plan as plan_module

KERNEL = ["kernel", "--depth", "2", "--activation", "identity"]
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")

COMMANDS = {
    "kernel": KERNEL,
    "record": [*KERNEL, "--json"],
    "help": ["--help"],
    "help of a command": ["sample", "--help"],
    "version": ["--version"],
    "list": ["runs", "list", "/nowhere-at-all"],
}


@needs_full
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_device(name: str, monkeypatch, capfd) -> None:
    stream = FULL.open("w", buffering=1)
    monkeypatch.setattr(sys, "stdout", stream)
    code = main(COMMANDS[name])
    assert code == OUTPUT_FAILED
    lines = [line for line in capfd.readouterr().err.splitlines() if "answer" in line]
    assert lines == ["resexpand: error: the answer cannot be written: No space left on device"]
    stream.close()  # nothing is left in it that would fail now


@pytest.mark.parametrize("name", ["kernel", "help"])
def test_a_closed_standard_output(name: str, monkeypatch, capfd) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(COMMANDS[name]) == OUTPUT_FAILED
    assert capfd.readouterr().err == (
        "resexpand: error: the answer cannot be written: standard output is closed\n"
    )


@pytest.mark.parametrize("how", ["closed", "full"])
def test_standard_error_that_cannot_be_written(how: str, monkeypatch, capfd) -> None:
    """Codes stay those of what happened: 0 for an answer, 2 for wrong input."""
    if how == "full" and not FULL.exists():
        how = "closed"
    stream = None if how == "closed" else FULL.open("w", buffering=1)
    monkeypatch.setattr(sys, "stderr", stream)
    assert main(KERNEL) == 0
    assert main(["kernel", "--depth", "-2", "--activation", "identity"]) == 2
    assert main(["runs", "list", "/nowhere-at-all"]) == 2
    sample = ["sample", "--depth", "1", "--width", "8", "--draws", "64", "--progress"]
    assert main(sample) == 0
    assert "stderr" in capfd.readouterr().out
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.close()


def test_a_reader_that_left(monkeypatch, capfd) -> None:
    """A pipe whose reader closed it, as ``head`` does: no line, and no code of a verdict."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(KERNEL) == OUTPUT_FAILED
    assert capfd.readouterr().err == ""


def test_an_ascii_terminal(monkeypatch) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main([*KERNEL, "--json"]) == 0
    assert main(["runs", "list", "/nowhere/\udcff"]) == 2
    assert raw.getvalue().isascii()
    assert len(raw.getvalue()) > 1000


@pytest.mark.parametrize(
    ("streams", "expected"),
    [
        (">/dev/full", OUTPUT_FAILED),
        (">&- 2>&-", OUTPUT_FAILED),
    ],
)
@needs_full
def test_a_process_of_its_own(streams: str, expected: int) -> None:
    """The exit of Python adds no line and changes no code."""
    line = f'"{sys.executable}" -m resexpand --version {streams}'
    found = subprocess.run(["sh", "-c", line], capture_output=True, check=False)
    assert found.returncode == expected
    assert found.stderr.count(b"\n") == (expected != 0 and "2>" not in streams)
    assert b"Traceback" not in found.stderr
    assert b"Exception" not in found.stderr


# -- text that a terminal would obey ---------------------------------------------------------------

NASTY = "a\x1b[31mred\x07\x9b2J\u202eb\udcff\rc"


def test_what_a_terminal_obeys_is_spelled_out() -> None:
    assert printable("plain, äöü ∂ ρ\n\t") == "plain, äöü ∂ ρ\n\t"
    assert printable(NASTY) == ("a\\u001b[31mred\\u0007\\u009b2J\\u202eb\\udcff\\u000dc")
    assert one_line("a\nb\tc") == "a\\u000ab\\u0009c"
    for code in (*range(32), *range(127, 160), 0x202A, 0x2066, 0x200F, 0xDC80):
        assert chr(code) not in one_line(chr(code))
    assert json.loads(printable(json.dumps(NASTY, ensure_ascii=False))) == NASTY


@pytest.mark.parametrize("terminal", [False, True])
def test_names_of_stores_are_not_obeyed(terminal: bool, tmp_path: Path, monkeypatch, capfd) -> None:
    """Nor read as markup, where rich draws the table."""
    monkeypatch.setattr(plan_module, "CHUNK_SECONDS", 2e-4)
    monkeypatch.chdir(tmp_path)
    names = [b"a\x1b[31mred", b"line\nbreak", b"not utf-8 \xff", b"[bold]markup[slash]"]
    sample = ["sample", "--depth", "1", "--width", "8", "--draws", "8", "--store"]
    for name in names:
        assert main([*sample, os.fsdecode(name)]) == 0
    capfd.readouterr()
    if terminal:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        monkeypatch.setenv("COLUMNS", "300")
    assert main(["runs", "list"]) == 0
    listed = capfd.readouterr().out
    assert "\x1b[31m" not in listed
    assert "line\\u000abreak" in listed
    assert "not utf-8 \\udcff" in listed
    assert "[bold]markup[slash]" in listed
    for name in map(os.fsdecode, names):
        assert main(["runs", "show", name]) == 0
        assert main(["runs", "show", name, "--json"]) == 0
        shown, errors = capfd.readouterr()
        assert "\x1b[31m" not in shown + errors
        assert json.loads(shown[shown.index("{") :])["run"]["store"] == name
        Path(name).write_bytes(b"no store")
        assert main(["runs", "show", name]) == 2
        errors = capfd.readouterr().err
        assert errors.count("\n") == 1
        assert "\x1b" not in errors
