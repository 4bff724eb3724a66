"""``--layers`` of the command line: the same numbers as from Python, and errors in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resexpand import Activation, Branch, Linear, Markov, ResNet, evaluate, kernel

NET = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=0.3, depth=4, layers=Markov(0.5))
OPTIONS = ["--activation", "relu", "--weight-variance", "2", "--rho", "0.3", "--depth", "4"]


def test_kernel_and_matrix(answer: Any, tmp_path: Path) -> None:
    expected = evaluate(kernel(NET), K0=1.0)["K"]
    found = answer("kernel", *OPTIONS, "--layers", "Markov(0.5)")
    np.testing.assert_allclose(found["results"][0]["K"], expected, rtol=1e-14)
    np.save(tmp_path / "c.npy", Markov(0.5).covariance(4))
    again = answer("kernel", *OPTIONS, "--layers", tmp_path / "c.npy")
    assert again["results"][0]["K"] == found["results"][0]["K"]
    free = answer("kernel", *OPTIONS)
    assert free["results"][0]["K"] != found["results"][0]["K"]


def test_text_and_response(call: Any) -> None:
    code, out, _ = call("response", *OPTIONS, "--layers", "FractionalBrownian(0.8)")
    assert code == 0
    assert "correlated layers" in out
    assert "eta =" in out


def test_sample(answer: Any) -> None:
    small = ["--width", "8", "--draws", "20", "--observables", "kernel"]
    found = answer("sample", *OPTIONS, *small, "--layers", "Markov(0.5)")
    assert found["settings"]["sampling"]["layers"] == ["Markov", 0.5]
    assert found["settings"]["sampling"]["method"] == "cholesky"


@pytest.mark.parametrize("law", ["Markov(2)", "Brownian(0.5)", "none.npy", "Smooth(rbf, -1)"])
def test_errors(call: Any, law: str) -> None:
    code, out, err = call("kernel", *OPTIONS, "--layers", law)
    assert code != 0
    assert not out
    assert len(err.strip().splitlines()) == 1
