"""``resexpand scales``: the table, the record, the figure, and what cannot be asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resexpand.cli import main

RELU = ("scales", "--activation", "relu", "--weight-variance", "2", "--depth", "4,9")


def test_the_record_holds_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RELU, "--candidates", "inverse_root, complete_p", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    found = record["results"]
    assert found["depths"] == [4, 9]
    assert found["scale"] == [[0.5, pytest.approx(1 / 3)], [1.0, pytest.approx(4 / 9)]]
    assert found["growth"][0] == [pytest.approx(1.25**4), pytest.approx((10 / 9) ** 9)]
    assert record["settings"]["kind"] == "variance"
    assert record["citations"] == ["Marion, Fermanian, Biau & Vert 2025", "Dey et al. 2025"]


def test_the_table_and_the_figure(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    stem = tmp_path / "scales"
    options = ["--candidates", "inverse_root,inverse,fixup", "--out", str(stem)]
    assert main([*RELU, *options, "--base-depth", "2", "--share", "0.1"]) == 0
    printed = capsys.readouterr()
    assert "depth 4\ncandidate " in printed.out
    assert "Fixup does not apply: it is a rule for m >= 2 weight layers" in printed.out
    assert "recommendation: 1/sqrt(L)" in printed.out
    assert printed.err.count("wrote") == 2
    assert {path.suffix for path in tmp_path.iterdir()} == {".pdf", ".png"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rho", "0.1,0.2"], "one number each"),
        (["--K0", "0:1:5"], "one number each"),
        (["--candidates", "fix_up"], "candidate 'fix_up'"),
        (["--order", "x"], "--order"),
        (["--order", "0"], "--order"),
        (["--share", "2"], "between 0 and 1"),
        (["--base-depth", "0"], "--base-depth"),
        (["--kind", "size"], "invalid choice"),
    ],
)
def test_bad_input_is_one_line(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main([*RELU, *options])
    except SystemExit as stop:
        code = int(stop.code or 0)
    printed = capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert words in printed.err
