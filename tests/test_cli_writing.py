"""The commands that write files, end to end: `latex` and `validate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resexpand import cli

SMALL = (
    *("--depth", "2", "--rho", "0.3", "--width", "32,64", "--draws", "400"),
    *("--dense-width", "16", "--dense-draws", "400"),
)


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run the command line in this process; return exit code, output, errors."""
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def strict(text: str) -> dict[str, object]:
    """Read one strict JSON object and nothing else."""

    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    found = json.loads(text, parse_constant=refuse)
    assert isinstance(found, dict)
    return found


def test_latex_prints_formulas(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "latex", "--of", "kernel", "--activation", "relu", "--closed")
    assert (code, err) == (0, "")
    assert r"C^{l} &= \frac{\sigma_{w}^{2} K^{l-1}}{2} + \sigma_{b}^{2}" in out
    assert r"\langle" not in out


@pytest.mark.parametrize("of", ["kernel", "pair-kernel", "response", "optimal-scale"])
def test_latex_as_json(capsys: pytest.CaptureFixture[str], of: str) -> None:
    _, plain, _ = call(capsys, "latex", "--of", of)
    code, out, err = call(capsys, "latex", "--of", of, "--json")
    record = strict(out)
    assert (code, err) == (0, "")
    assert (record["command"], record["of"]) == ("latex", of)
    assert plain == f"{record['latex']}\n"


def test_latex_into_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "new" / "formulas.tex"
    document = ("latex", "--style", "document", "--out", path)
    code, out, _ = call(capsys, *document)
    assert (code, out) == (0, f"written to {path}\n")
    text = path.read_text(encoding="utf-8")
    assert text.startswith(r"\documentclass")
    assert text.rstrip().endswith(r"\end{document}")
    code, out, err = call(capsys, *document, "--json")
    assert strict(out)["latex"] == text
    assert (code, err) == (0, f"resexpand: written to {path}\n")


def test_validate_as_json_and_as_text(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = call(capsys, "validate", *SMALL, "--out", tmp_path / "a", "--json")
    record = strict(out)
    assert record["verdict"]["exit_code"] == code
    assert record["settings"]["widths"] == [32, 64]
    assert all(line.startswith("resexpand: ") for line in err.splitlines())
    again, text, _ = call(capsys, "validate", *SMALL, "--out", tmp_path / "b")
    assert again == code
    assert f"verdict    {record['verdict']['verdict']}: " in text
    names = {path.name for path in (tmp_path / "b").iterdir()}
    assert {"response.pdf", "formulas.tex", "record.json"} <= names
    stored = strict((tmp_path / "b" / "record.json").read_text(encoding="utf-8"))
    assert stored["responses"] == record["responses"]


@pytest.mark.slow
def test_validate_takes_an_expression_and_data(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = tmp_path / "data.csv"
    data.write_text("1, 0.5, 0\n0.2, 1, -1\n")
    options = ("--inputs", data, "--activation", "x*exp(-x**2)", "--read-in-variance", "2")
    code, out, _ = call(capsys, "validate", *SMALL, *options, "--out", tmp_path / "out", "--json")
    record = strict(out)
    assert code in (0, 2)
    assert record["settings"]["activation"] == "x*exp(-x**2)"
    rows = record["kernel"]["rows"]
    # K^0 = 2 x.x / 3 of the first row.
    assert rows[0]["theory"] == pytest.approx(2 * 1.25 / 3)
    assert (tmp_path / "out" / "kernel.pdf").is_file()


@pytest.mark.parametrize(
    "arguments", [("validate",), ("latex",), ("latex", "--json"), ("validate", "--json")]
)
def test_a_place_that_cannot_be_written_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    code, out, err = call(capsys, *arguments, "--out", tmp_path / "file" / "results")
    assert (code, out) == (2, "")
    assert err.startswith("resexpand: error: writing the ")
    assert err.count("\n") == 1
    assert "results" in err
    assert "choose a folder that can be written" in err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("validate", "--depth", "0"), "whole number"),
        (("validate", "--rho", "-1"), "scales above 0"),
        (("validate", "--K0", "0"), "positive variance"),
        (("validate", "--draws", "3"), "errors need more"),
        (("validate", "--activation", "__import__('os')"), "__import__"),
        (("latex", "--rho", "0:1:3"), "a formula has one"),
    ],
)
def test_wrong_input_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    code, out, err = call(capsys, *arguments, "--out", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert why in err
    assert not (tmp_path / "out").exists()
