"""docs/models.rst: examples run as printed, and so does its command."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from torch_models import torch

from resexpand.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "models.rst"
MODEL = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))

    def forward(self, x):
        return x + self.f(x)

def factory():
    return nn.Sequential(Block(), Block())
"""


def test_examples_print_what_they_print() -> None:
    with torch.random.fork_rng():
        result = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert result.failed == 0
    assert result.attempted > 25


def test_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL)
    np.save("rows.npy", np.random.default_rng(0).normal(size=(9, 8)).astype(np.float32))
    commands = re.findall(r"^    (resexpand .+)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    assert len(commands) == 1
    assert main(shlex.split(commands[0])[1:]) == 0
    assert "wrote" in capsys.readouterr().err
