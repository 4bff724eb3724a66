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
from oracles import plane_average

from resexpand.activations import activation_law
from resexpand.activations.activation_law import X
from resexpand.activations.singularities import breakpoints

PATH = Path(__file__).parents[2] / "benchmarks" / "elementwise_cases.py"


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("elementwise_cases", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


GRID = loaded()
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
    phi = sp.lambdify(X, expression, modules=["scipy", "numpy"])
    breaks = tuple(float(b) for b in breakpoints(expression, X)) or (0.0,)
    for a, c, b in GRID.covariances(name):
        exact = plane_average(lambda x, y: phi(x) * phi(y), (a, c, b), breaks)
        scale = math.sqrt(variance(law)(a) * variance(law)(b))
        # The reference leaves out what lies beyond nine deviations.
        assert abs(pair(law)(a, c, b) - exact) < 2e-12 * scale
