"""``resexpand profile``: the table, the record, files and figures, and what cannot be asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch_models import torch

from resexpand import load, profile

COMMAND = ("profile",)
MODEL = """
from torch import nn
import torch
from neighbour import WIDTH

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 32), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(32, WIDTH),
        )

    def forward(self, x):
        return x + self.f(x)

def factory():
    torch.manual_seed(0)
    return nn.Sequential(Block(), Block(), Block())

ready = factory()
number = 3
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "neighbour.py").write_text("WIDTH = 16\n")
    (tmp_path / "model.py").write_text(MODEL)
    rows = np.random.default_rng(0).normal(size=(20, 16)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    np.savez(tmp_path / "rows.npz", input=rows)
    return tmp_path


def test_the_record_is_that_of_the_call(answer, files):
    found = answer("model.py:factory", "--batch", "rows.npy")["results"]
    assert found["names"] == ["0", "1", "2"]
    assert found["evaluations"] == [20, 20, 20]
    import sys

    model = sys.modules["resexpand_model_model"].factory().eval()
    want = profile(model, torch.from_numpy(np.load("rows.npy")))
    np.testing.assert_allclose(found["ratio_median"], want.median(), rtol=1e-12)
    assert "ratio_predicted" not in found


def test_a_model_that_is_ready_and_keywords(answer, files):
    first = answer("model.py:ready", "--batch", "rows.npz")
    assert first["settings"]["mode"] == "evaluation"
    trained = answer("model.py:ready", "--batch", "rows.npz", "--train")
    assert trained["settings"]["mode"] == "training"
    assert trained["results"]["ratio_median"] != first["results"]["ratio_median"]


def test_the_table_with_the_prediction(call, files):
    options = ["--describe", "--save", "found.npz", "--out", "found", "--blocks", "0, 1, 2"]
    code, out, err = call("model.py:factory", "--batch", "rows.npy", *options)
    assert code == 0
    assert err.count("wrote") == 3
    lines = out.splitlines()
    assert any(line.split()[:2] == ["block", "ratio"] and "predicted" in line for line in lines)
    assert "described as ResNet(Branch(LayerNorm(" in out
    assert load("found.npz").prediction is not None
    assert (files / "found.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.py", "--batch", "rows.npy"], "names no file with a name"),
        (["gone.py:factory", "--batch", "rows.npy"], "there is no such file"),
        (["model.py:nothing", "--batch", "rows.npy"], "the file defines no nothing"),
        (["model.py:factory", "--batch", "rows.txt"], "its suffix is unknown"),
        (["model.py:factory", "--batch", "gone.npy"], "gone.npy"),
        (["model.py:factory", "--batch", "rows.npy", "--blocks", "9"], "no such module"),
    ],
)
def test_mistakes_are_one_line(call, files, arguments, message):
    code, out, err = call(*arguments)
    assert code == 2
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("factory = 3", "it is of type int"),
        ("def factory(): raise KeyError('width')", "raised KeyError at own.py:1: 'width'"),
        ("def factory(depth): return None", "raised TypeError"),
        ("def factory(:", "raised SyntaxError"),
        ("from torch import nn\nfactory = nn.Linear(3, 3)", "raised RuntimeError"),
        ("import nowhere_at_all", "raised ModuleNotFoundError at own.py:1"),
    ],
)
def test_errors_of_the_users_code_are_one_line_with_a_place(call, files, line, message):
    (files / "own.py").write_text(line)
    code, out, err = call("own.py:factory", "--batch", "rows.npy")
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
