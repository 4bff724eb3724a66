"""The script of faults at smoke scale: every claim holds, every control is caught."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from resexpand.export.record import read_record

FOLDER = Path(__file__).parent.parent / "numerics"


def test_nothing_finished_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Importable by name, since its processes import it as well.
    monkeypatch.syspath_prepend(str(FOLDER))
    faults = importlib.import_module("faults")
    code = faults.main(["--scale", "smoke", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert code == 0, printed
    record = read_record(tmp_path / "record.json")
    assert set(record["claims"]) == {"kept", "same bytes", "full disk", "two processes"}
    for claim in record["claims"].values():
        assert claim["agreement"]["verdict"] == "agrees"
        assert claim["control"]["verdict"] == "disagrees"


@pytest.mark.parametrize(("holds", "caught", "code"), [(1, 1, 0), (0, 1, 1), (1, 0, 1)])
def test_exit_code(holds: int, caught: int, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 if a claim fails, or a control slips through."""
    monkeypatch.syspath_prepend(str(FOLDER))
    faults = importlib.import_module("faults")
    good = faults.Claim("s", True, "f", "w", True)
    found = faults.Claim("s", bool(holds), "f", "w", bool(caught))
    monkeypatch.setattr(faults, "carry_out", lambda *a, **k: None)
    monkeypatch.setattr(faults, "exported", lambda *a: b"")
    monkeypatch.setattr(faults, "killed", lambda *a: {"kept": good})
    monkeypatch.setattr(faults, "full_disk", lambda *a, **k: good)
    monkeypatch.setattr(faults, "two_processes", lambda *a: found)
    assert faults.main([]) == code
