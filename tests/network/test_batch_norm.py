"""Batch normalisation as a description: its words, its printed form, stores and commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    LayerNorm,
    Linear,
    ResNet,
    gradient_moments,
    kernel,
    one_loop,
    optimal_scale,
    sample,
    to_latex,
)
from resexpand.cli import main
from resexpand.errors import DescriptionError, UnsupportedError
from resexpand.network.registry import operation_of

NORM = BatchNorm(0.1, ghost=2)
NET = ResNet(Branch(NORM, Activation("relu"), Linear(2, 0)), scale=1, depth=2)
START = 0.5 * np.eye(4) + 0.5


def test_it_says_its_words() -> None:
    assert repr(BatchNorm()) == "BatchNorm(eps=0, ghost=None, mode=train)"
    assert repr(NORM) == "BatchNorm(eps=1/10, ghost=2, mode=train)"
    assert BatchNorm(mode="running") == BatchNorm(0, None, "running") != BatchNorm()
    assert hash(BatchNorm(mode="train")) == hash(BatchNorm())


@pytest.mark.parametrize("op", [BatchNorm(), NORM, BatchNorm(mode="running")], ids=repr)
def test_stores_hold_numbers(op: BatchNorm) -> None:
    assert operation_of(op.text, tuple(float(v) for v in op.values)) == op


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"eps": -1}, "must not be below 0"),
        ({"ghost": 1}, "at least two inputs"),
        ({"ghost": 2.5}, "at least two inputs"),
        ({"ghost": sp.Symbol("g")}, "at least two inputs"),
        ({"mode": "test"}, "there is no such mode"),
        ({"mode": np.array([1, 0])}, "there is no such mode"),
        ({"eps": []}, "the list is empty"),
        ({"momentum": 0.1}, "its parameters are eps, ghost, mode"),
    ],
)
def test_bad_descriptions(given: dict[str, object], message: str) -> None:
    with pytest.raises(DescriptionError, match=message):
        BatchNorm(**given)


def test_printers_write_it() -> None:
    plain = ResNet(Branch(BatchNorm(), Activation("relu"), Linear(2, 0)), scale=1, depth=2)
    written = to_latex(plain)
    assert r"\operatorname{BatchNorm}(h^{l-1})" in written
    assert r"\overline{x}^{B}" in written
    recursion = to_latex(kernel(plain, "batch"))
    assert r"C_{12}^{l} = \sigma_{w}^{2} J_{B} + \sigma_{b}^{2}" in recursion
    assert "ghost" not in recursion
    back = to_latex(gradient_moments(plain))
    assert r"P^{l-1} = J^{l} P^{l}" in back
    assert r"\kappa_{B}" in back


def test_a_store_resumes_it(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    whole = sample(NET, "kernel", 16, 60, K0=START, seed=4)["kernel"].mean
    sample(NET, "kernel", 16, 30, K0=START, seed=4, store=path)
    resumed = sample(NET, "kernel", 16, 60, K0=START, seed=4, store=path)
    assert resumed["kernel"].mean.tobytes() == whole.tobytes()
    assert resumed.settings["branch"][0] == "BatchNorm"
    assert list(resumed.settings["variances"][0]) == [0.1, 2.0, 0.0]


def test_commands_take_it(capsys: pytest.CaptureFixture[str]) -> None:
    ops = "BatchNorm(eps=0.1, ghost=2, mode=train); relu; Linear(2, 0)"
    options = ["--branch", ops, "--depth", "2", "--K0", "1,.5;.5,1"]
    draws = ["--width", "16", "--draws", "20"]
    assert main(["sample", *options, *draws]) == 0
    assert "kernel" in capsys.readouterr().out
    assert main(["kernel", *options]) == 2
    assert "couples all inputs of a batch" in capsys.readouterr().err


def test_theories_of_single_inputs_refuse_it() -> None:
    for ask in (one_loop, optimal_scale):
        with pytest.raises(UnsupportedError, match="BatchNorm"):
            ask(NET)
    with pytest.raises(UnsupportedError, match="it couples the inputs of a batch"):
        ResNet(NET.branch, scale=1, depth=2, post_norm=BatchNorm())
    mixed = ResNet(
        Branch(BatchNorm(), Linear(1, 0), BatchNorm(mode="running"), Linear(1, 0)), scale=1, depth=2
    )
    with pytest.raises(UnsupportedError, match="use one mode for all"):
        kernel(mixed, "batch")
    double = ResNet(Branch(BatchNorm(), LayerNorm(), Linear(1, 0)), scale=1, depth=2)
    with pytest.raises(UnsupportedError, match="meet what is not Gaussian"):
        kernel(double, "batch")
