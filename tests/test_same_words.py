"""Python and the command line take the same words, and draw the same networks from them.

Activations as text in ``x``, draws written as 1e2, errors written in per cent. Control: another
number or another activation gives other estimates.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from resexpand import Activation, Branch, Linear, ResNet, cli, sample
from resexpand.errors import HyperparameterError, ResexpandError

START = {"activation": "relu", "draws": 100, "width": 8, "seed": 1, "until": None}
WORDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "expression": ({"activation": "x*tanh(x)"}, {"activation": "x*tanh(x)"}),
    "draws": ({"draws": "1e2"}, {"draws": 1e2}),
    "whole number": ({"width": "9"}, {"width": 9}),
    "seed": ({"seed": "1e1"}, {"seed": 1e1}),
    "per cent": ({"draws": "1e4", "until": "30%"}, {"draws": 1e4, "until": "30%"}),
    "fraction of one": ({"draws": "1e4", "until": "0.3"}, {"draws": 1e4, "until": 0.3}),
}
REFUSED: dict[str, dict[str, Any]] = {
    "name": {"activation": "RELU"},
    "code": {"activation": "lambda x: x"},
    "half a draw": {"draws": 100.5},
    "no draws": {"draws": 0},
    "no error": {"until": "0%"},
    "more than all": {"until": "200%"},
    "seed below zero": {"seed": -1},
}


def by_python(words: dict[str, Any]) -> list[float]:
    given = START | words
    branch = Branch(Activation(given.pop("activation")), Linear(1, 0))
    net = ResNet(branch, scale=0.5, depth=2)
    run = sample(net, "kernel", K0=1.0, progress=False, **given)
    return [float(x) for x in run["kernel"].mean]


def command(words: dict[str, Any]) -> int:
    given = {name: value for name, value in (START | words).items() if value is not None}
    options = [f"--{name}={value}" for name, value in given.items()]
    network = ["--depth=2", "--rho=0.5", "--weight-variance=1", "--bias-variance=0", "--K0=1"]
    return cli.main(["sample", *network, *options, "--observables=kernel", "--json"])


def by_command(words: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> list[float]:
    assert command(words) == 0
    record = json.loads(capsys.readouterr().out)
    return [float(x) for x in record["results"]["kernel"]["mean"]]


@pytest.mark.parametrize("case", WORDS)
def test_both_doors_draw_the_same_networks(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    typed, written = WORDS[case]
    found = by_command(typed, capsys)
    assert found == pytest.approx(by_python(written), rel=1e-14)
    if "until" not in typed and case != "draws":
        assert found != pytest.approx(by_python({}), rel=1e-6)


@pytest.mark.parametrize("case", REFUSED)
def test_both_doors_refuse_the_same_words(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ResexpandError):
        by_python(REFUSED[case])
    assert command(REFUSED[case]) == 2
    assert capsys.readouterr().err.startswith("resexpand: error: ")


def test_text_is_no_number_of_draws() -> None:
    with pytest.raises(HyperparameterError, match="draws='100'"):
        by_python({"draws": "100"})
