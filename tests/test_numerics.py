"""Every script of claims runs at smoke scale and catches its controls.

Its claims agree, but for those that would not see enough at this scale: they say so.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from heavier import left_to_slow

from resexpand.export.record import read_record

FOLDER = Path(__file__).parent.parent / "numerics"
OF_PYTORCH = {"dotzel_2024"}
LONG = {"desmith_2020", "dherin_2025", "digits", "dotzel_2024", "finite_response", "finite_width"}
LONG |= {"first_step", "interval_coverage", "marion_2025", "verdict_level", "xiong_2020"}
"""Scripts of fifteen seconds and more; theory and samplers of each have tests of their own."""
TOO_SMALL = {"finite_width": ["scores"]}
CLAIMS = sorted(path for path in FOLDER.glob("*.py") if "run_script" in path.read_text("utf-8"))


def trains(path: Path) -> bool:
    return path.stem.endswith("_training")


def needs_torch(path: Path) -> bool:
    return trains(path) or path.stem in OF_PYTORCH


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
        *("desmith_2020", "desmith_2020_training", "dherin_2025", "dherin_2025_training"),
        *("digits", "dotzel_2024", "finite_response", "finite_width", "first_step"),
        "fischer_2023",
        "interval_coverage",
        *("kim_2023", "kim_2023_training", "marion_2025", "marion_2025_training"),
        *("sampler_laws", "verdict_level", "xiong_2020"),
    ]


@pytest.mark.parametrize(
    "path",
    left_to_slow(
        CLAIMS,
        lambda path: path.stem in LONG or trains(path),
    ),
    ids=lambda path: path.stem,
)
def test_claims_agree_at_smoke_scale(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if needs_torch(path) and find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
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
