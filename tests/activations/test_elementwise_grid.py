"""The elementwise layers of neural-tangents, all in closed form and equal to the integrals."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest
import sympy as sp
from closed_values import pair, variance

from resexpand.activations import activation_law

FOLDER = Path(__file__).parents[2] / "benchmarks"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


GRID, BENCHMARK = loaded("elementwise_cases"), loaded("elementwise")
CASES = GRID.cases()


def test_the_grid_has_every_layer() -> None:
    layers = {name for name, _, _ in CASES}
    assert layers == {
        *("Sin", "Cos", "Rbf", "Exp", "Gaussian", "Gabor", "Monomial", "Polynomial", "Hermite"),
        *("ABRelu", "Relu", "LeakyRelu", "Abs", "Sign", "RectifiedMonomial", "Erf", "Gelu"),
        "Sigmoid_like",
    }
    assert len(CASES) > 40


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}{case[1]}")
def test_layer(case: tuple[str, dict[str, object], sp.Expr]) -> None:
    name, _, expression = case
    law = activation_law(expression)
    for a, c, b in GRID.covariances(name):
        exact = BENCHMARK.integral(expression, a, c, b)
        scale = math.sqrt(variance(law)(a) * variance(law)(b))
        assert abs(pair(law)(a, c, b) - exact) < 1e-12 * scale


def test_a_wrong_covariance_is_caught() -> None:
    expression = next(e for name, _, e in CASES if name == "Gabor")
    (a, c, b), law = GRID.COVARIANCES[0], activation_law(expression)
    scale = math.sqrt(variance(law)(a) * variance(law)(b))
    wrong = pair(law)(a, (1 + 1e-10) * c, b)
    assert abs(wrong - BENCHMARK.integral(expression, a, c, b)) > 1e-12 * scale
