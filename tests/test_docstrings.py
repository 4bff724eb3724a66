"""Examples in the docstrings of public names run and print what they print."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import resexpand

MODULES = sorted(set(resexpand._HOMES.values()))
EXAMPLES = [
    test
    for name in MODULES
    for test in doctest.DocTestFinder().find(importlib.import_module(name))
    if test.examples
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda test: test.name)
def test_examples_print_what_they_print(
    example: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # an example may write a file
    assert doctest.DocTestRunner().run(example).failed == 0


def test_examples_were_found() -> None:
    assert len(EXAMPLES) > 25
    documented = {test.name.rpartition(".")[2] for test in EXAMPLES}
    new = {"LayerNorm", "RMSNorm", "Scale", "BatchNorm", "Dropout", "SharedDropout"}
    new |= {"StochasticDepth", "mlp", "pre_ln", "post_ln", "growth", "implied_scale"}
    new |= {"gradient_moments", "mask_correlation", "noise_average", "weight_scaling"}
    assert new <= documented
