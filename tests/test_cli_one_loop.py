"""``resexpand one-loop``: coefficients, absolute values at a width, marks, record, figure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from resexpand import Activation, Branch, Linear, ResNet, evaluate, one_loop
from resexpand.cli.one_loop_command import MARK, variances

COMMAND = ("one-loop",)
NETWORK = ("--activation", "relu", "--rho", "3/10", "--depth", "4")
NET = ResNet(Branch(Activation("relu"), Linear(1, 0)), scale=0.3, depth=4)


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line and line.split()[0].isdigit()]


def test_coefficients(call) -> None:
    code, out, err = call(*NETWORK)
    assert (code, err) == (0, "")
    theory = evaluate(one_loop(NET), K0=1.0)
    found = np.array([[float(cell) for cell in row] for row in rows(out)])
    expected = [
        np.arange(5),
        theory["K"],
        theory["K_mean"],
        np.diagonal(theory["G_cov"]),
        theory["C"],
        theory["C_mean"],
        np.diagonal(theory["C_cov"]),
        theory["validity"],
    ]
    np.testing.assert_allclose(found.T, expected, rtol=1e-5, atol=1e-12)
    assert f"{float(theory['kurtosis']):.6g} / N" in out


def test_absolute_values_and_marks(call) -> None:
    code, out, err = call(*NETWORK, "--width", "8,200")
    assert code == 0
    narrow, wide = out.split("width 200")
    marked = [row for row in rows(narrow) if MARK in " ".join(row)]
    assert [row[0] for row in marked] == ["1", "2", "3", "4"]
    assert MARK not in wide
    assert "needs a width of at least 12" in err
    theory = evaluate(one_loop(NET), K0=1.0)
    last = [float(cell) for cell in rows(wide)[-1]]
    assert last[1] == pytest.approx(theory["K"][-1] + theory["K_mean"][-1] / 200, rel=1e-5)
    assert last[3] == pytest.approx(np.sqrt(theory["G_cov"][-1, -1] / 200), rel=1e-5)
    assert last[7] == pytest.approx(theory["validity"][-1] / 200, rel=1e-5)


def test_record(call) -> None:
    _, out, _ = call(*NETWORK, "--width", 8, "--json")
    record = json.loads(out)
    (result,) = record["results"]
    theory = evaluate(one_loop(NET), K0=1.0)
    np.testing.assert_allclose(result["C_cov"], theory["C_cov"], rtol=1e-12)
    absolute = result["at_width"]["8"]
    np.testing.assert_allclose(absolute["K_shift"], theory["K_mean"] / 8, rtol=1e-12)
    assert absolute["valid"] == [True, False, False, False, False]
    assert record["settings"]["widths"] == [8]


def test_grids_and_depths(call) -> None:
    arguments = ("--rho", "0.3,1", "--activation", "relu", "--depth", "2,20", "--width", 128)
    code, out, err = call(*arguments)
    assert code == 0
    assert out.count("last layer") == 2
    assert [MARK in line for line in out.splitlines() if line.startswith(("0.3", "  1"))] == [
        False,
        False,
        False,
        True,
    ]
    assert "depth 20" in err
    code, out, err = call(*arguments[:-2])
    assert (code, err) == (0, "")
    assert "G_var(L)" in out


def test_two_inputs(call) -> None:
    arguments = ("--activation", "relu", "--rho", "0.3", "--depth", "2", "--K0", "1,0.3;0.3,0.5")
    code, out, err = call(*arguments, "--width", 64)
    assert (code, err) == (0, "")
    theory = evaluate(
        one_loop(ResNet(NET.branch, scale=0.3, depth=2), inputs=2), K0=[[1, 0.3], [0.3, 0.5]]
    )
    last = [float(cell) for cell in rows(out)[-1]]
    shifts = theory["K_mean"][-1][[0, 0, 1], [0, 1, 1]] / 64
    np.testing.assert_allclose(last[4:7], shifts, rtol=1e-5)
    spread = np.sqrt(theory["G_cov"][-1, 0, 1, -1, 0, 1] / 64)
    assert last[8] == pytest.approx(spread, rel=1e-5)
    assert out.count("excess kurtosis") == 2
    assert "four_point" in json.loads(call(*arguments, "--json")[1])["results"][0]


def test_figure(call, tmp_path: Path) -> None:
    code, _, err = call(*NETWORK, "--width", "64,128", "--out", tmp_path / "kernel")
    assert code == 0
    assert {path.suffix for path in tmp_path.iterdir()} == {".pdf", ".png"}
    assert err.count("wrote") == 2


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--width", "0"), "--width 0"),
        (("--width", "1.5"), "whole number"),
        (("--width", "a"), "--width 'a'"),
        (("--out", "stem"), "give --width"),
        (("--out", "stem", "--width", "9", "--rho", "0.1,0.2"), "one value for every other option"),
        (("--rho", "x"), "--rho"),
    ],
)
def test_mistakes_take_one_line(call, arguments: tuple[str, ...], word: str) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert word in err


def test_variances_of_several_inputs() -> None:
    covariance = np.arange(2 * 3 * 2 * 2 * 3 * 2 * 2.0).reshape(2, 3, 2, 2, 3, 2, 2)
    found = variances(covariance, 1)
    assert found.shape == (2, 3, 2, 2)
    assert found[1, 2, 0, 1] == covariance[1, 2, 0, 1, 2, 0, 1]
