"""`validate` of branches: norms, masks, batches, positions, gates, and what it compares of each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    Conv,
    Dropout,
    Gate,
    LayerNorm,
    Linear,
    ResNet,
    RMSNorm,
)
from resexpand.cli import main
from resexpand.errors import UnsupportedError
from resexpand.workflows.measured import MOMENT, TANGENT, VARIANCE
from resexpand.workflows.settings import Settings
from resexpand.workflows.validate import derive, validate

ERF, OUT = Activation("erf"), Linear(1.4, 0.1)
SHEET = 0.5 * np.eye(3) + 0.3
SMALL = Settings(
    depths=(2, 3),
    scales=(0.3, 0.6),
    widths=(64, 128),
    draws=1500,
    dense_width=24,
    dense_draws=800,
    resolve=0.5,
    K0=0.5,
)
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "norm": (TANGENT, {"branch": Branch(LayerNorm(), ERF, OUT)}),
    "masks": (VARIANCE, {"branch": Branch(ERF, Dropout(0.8), OUT), "K0": np.full((2, 2), 0.5)}),
    "batch": (MOMENT, {"branch": Branch(BatchNorm(0.1), ERF, OUT), "K0": SHEET}),
    "positions": (
        MOMENT,
        {"branch": Branch(ERF, Conv((-1, 0, 1), 1.4, 0.1)), "K0": SHEET, "positions": (3,)},
    ),
    "gate": (MOMENT, {"branch": Branch(RMSNorm(), Linear(1, 0), Gate("relu"), Linear(1, 0))}),
}


def quiet(line: str) -> None:
    """Say nothing."""


@pytest.mark.parametrize("name", CASES)
def test_what_is_compared(name: str) -> None:
    measured, changes = CASES[name]
    assert replace(SMALL, **changes).measured == measured


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in {"masks", "batch"} else pytest.mark.slow) for n in CASES],
)
def test_it_agrees_and_a_wrong_theory_does_not(name: str) -> None:
    settings = replace(SMALL, **CASES[name][1])
    right = derive(settings)
    found = validate(settings, theory=right, say=quiet)
    assert found.agreement.verdict == "agrees", found.agreement
    assert (found.kernels is None) == (np.ndim(settings.K0) == 0)
    twice = right.response.net.altered(scale=2 * right.response.net.scale)
    wrong = replace(right, response=settings.measured.derive(twice))
    assert validate(settings, theory=wrong, say=quiet).agreement.verdict == "disagrees"


def test_lines_of_a_kernel_are_its_mean_diagonal() -> None:
    settings = replace(SMALL, **CASES["positions"][1])
    values = MOMENT.values(derive(settings).response, [0.0, 0.6], 2, SHEET)
    assert values.shape == (2, 3)
    assert np.allclose(values[0], 0.8)
    assert values[1, -1] > 0.9


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--layers", "Markov(0.5)"), "weights are drawn independently here"),
        (("--branch", "BatchNorm; relu; Linear(2, 0)", "--K0", "1"), "batch of inputs"),
        (("--branch", "relu; Linear(2, 0)", "--weight-variance", "1"), "have their own"),
        (("--inputs", "masks", "--K0", "1,0;0,1"), "it is one input"),
        (("--branch", "relu; Conv[-1 0 1](2, 0)", "--K0", "1,0;0,1"), "positions"),
    ],
)
def test_command_lines_that_cannot_be(
    options: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    few = ("--depth", "2", "--rho", "0.5", "--width", "16,32", "--draws", "40")
    assert main(["validate", *options, *few, "--out", str(tmp_path / "out")]) == 2
    assert why in capsys.readouterr().err


def test_norms_of_signals_without_variance() -> None:
    relu, none = Activation("relu"), Linear(0, 0)
    for arguments in (
        {"post_norm": LayerNorm(), "skip": 0},
        {"read_out": [LayerNorm(), Linear(1, 0)], "skip": 0},
    ):
        with pytest.raises(UnsupportedError, match="without variance"):
            ResNet(Branch(relu, none), scale=1, depth=2, **arguments)  # type: ignore[arg-type]
    for branch in (
        Branch(relu, none, RMSNorm(), OUT),
        Branch(relu, none, LayerNorm(), OUT),
        Branch(none, Activation("1/(1 + exp(-x))"), LayerNorm(), OUT),
    ):
        with pytest.raises(UnsupportedError, match="block 1: zero weights"):
            ResNet(branch, scale=1, depth=2)
    with pytest.raises(UnsupportedError, match="block 3"):
        ResNet(Branch(RMSNorm(), relu, Linear([1, 0, 1], 0)), scale=1, depth=3, skip=0)
    # What stays has a variance: a bias, eps, a mean of one value under RMSNorm, a skip.
    ResNet(Branch(LayerNorm(0.1), relu, none), scale=1, depth=3, skip=0)
    ResNet(Branch(RMSNorm(), relu, Linear(0, 0.1)), scale=1, depth=3, skip=0)
    ResNet(Branch(none, Activation("1/(1 + exp(-x))"), RMSNorm(), OUT), scale=1, depth=2)
    ResNet(Branch(LayerNorm(), relu, none), scale=1, depth=3)
