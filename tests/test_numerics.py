"""Every script of claims runs at smoke scale and catches its controls.

Its claims agree, but for those that would not see enough at this scale: they say so.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from heavier import left_to_slow

from resexpand.export.record import read_record

FOLDER = Path(__file__).parent.parent / "numerics"
TOO_SMALL = {"finite_width": ["scores"]}
CLAIMS = sorted(path for path in FOLDER.glob("*.py") if "run_script" in path.read_text("utf-8"))


def loaded(path: Path) -> ModuleType:
    name = f"numerics_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_scripts_were_found() -> None:
    assert [path.stem for path in CLAIMS] == [
        *("desmith_2020", "dherin_2025", "digits", "finite_response", "finite_width", "first_step"),
        "fischer_2023",
        "interval_coverage",
        "kim_2023",
        "marion_2025",
        *("sampler_laws", "verdict_level", "xiong_2020"),
    ]


@pytest.mark.parametrize(
    "path",
    left_to_slow(CLAIMS, lambda path: path.stem in ("marion_2025", "verdict_level")),
    ids=lambda path: path.stem,
)
def test_claims_agree_at_smoke_scale(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = loaded(path).main(["--scale", "smoke", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    blind = TOO_SMALL.get(path.stem, [])
    assert code == (2 if blind else 0), printed
    assert "slipped through" not in printed
    assert "caught" in printed
    record = read_record(tmp_path / "record.json")
    assert record["exit_code"] == code
    for name, claim in record["claims"].items():
        assert claim["exit_code"] == (2 if name in blind else 0)
        assert claim["control"]["verdict"] == "disagrees"
        assert claim["agreement"]["verdict"] == "agrees"
