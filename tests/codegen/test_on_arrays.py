"""The target ``numpy``: the same text on arrays, without Numba."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import sympy as sp

from resexpand import (
    Activation,
    Branch,
    LayerNorm,
    Linear,
    ResNet,
    evaluate,
    kernel,
    optimal_scale,
    response,
)
from resexpand.codegen.functions import FUNCTIONS
from resexpand.codegen.on_arrays import numpy
from resexpand.codegen.routine import Target
from resexpand.codegen.targets import plain

RHO, X = sp.Symbol("rho"), sp.Symbol("x")
TARGETS: tuple[Target, ...] = ("cpu", "numpy")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_on_arrays_is_that_of_numbers(name: str) -> None:
    entry, generator = FUNCTIONS[name], random.Random(name)
    for box in entry.sampled:
        points = [[span.draw(generator) for span in box] for _ in range(50)]
        with np.errstate(all="ignore"):
            of_arrays = numpy.function(name)(*np.array(points).T)
        of_numbers = [plain.function(name)(*point) for point in points]
        tolerance = 2e-15 if name not in ("power", "power_of_two_parts") else 2e-14
        np.testing.assert_allclose(of_arrays, of_numbers, rtol=tolerance, atol=5e-324)


BRANCHES = {
    "erf": Branch(Activation("erf_unit"), Linear(1.3, 0.1)),
    "relu": Branch(Activation("relu"), Linear(1.3, 0.1)),
    "norm": Branch(LayerNorm(eps=0.1), Activation("gelu"), Linear(1.3, 0.1)),
    "quadrature": Branch(Activation("tanh"), Linear(1.3, 0.1)),
    "pieces": Branch(Activation(sp.Piecewise((X, X > 1), (sp.sin(X), True))), Linear(1, 0)),
}


@pytest.mark.parametrize("branch", BRANCHES.values(), ids=BRANCHES)
def test_a_response_on_arrays_is_the_compiled_one(branch: Branch) -> None:
    theory = response(ResNet(branch, scale=RHO, depth=3))
    compiled, on_arrays = (
        evaluate(theory, target=target, rho=[0.0, 0.6, 1.5], K0=0.7) for target in TARGETS
    )
    assert on_arrays.status == compiled.status
    assert on_arrays.target == "numpy"
    for name, value in compiled.items():
        np.testing.assert_allclose(on_arrays[name], value, rtol=1e-13, atol=1e-15)
        # The comparison sees a scale that is wrong in its seventh digit.
        wrong = evaluate(theory, target="numpy", rho=[1e-7, 0.6000001, 1.5], K0=0.7)[name]
        assert not np.allclose(wrong, value, rtol=1e-13, atol=1e-15) or name == "K"


def test_kernels_of_several_inputs_and_more_points_than_lanes() -> None:
    theory = kernel(ResNet(BRANCHES["erf"], scale=RHO, depth=4), inputs=2)
    start = np.array([[0.5, 0.2, -0.1], [0.2, 0.8, 0.3], [-0.1, 0.3, 1.0]])
    given: dict[str, Any] = {"rho": np.linspace(0, 1, 41), "K0": start}
    compiled, on_arrays = (evaluate(theory, target=target, **given)["K"] for target in TARGETS)
    assert compiled.shape == (41, 5, 3, 3)
    np.testing.assert_allclose(on_arrays, compiled, rtol=1e-13)


def test_an_optimal_scale_on_arrays_is_the_compiled_one() -> None:
    theory = optimal_scale(ResNet(BRANCHES["erf"], scale=RHO, depth=10))
    compiled, on_arrays = (evaluate(theory, target=target, K0=0.1) for target in TARGETS)
    for name, value in compiled.items():
        assert on_arrays[name] == pytest.approx(value, rel=1e-10)


WITHOUT_NUMBA = """
import sys
for name in ("numba", "llvmlite", "scipy", "matplotlib"):
    sys.modules[name] = None
from resexpand import Activation, Branch, Linear, ResNet, evaluate, optimal_scale, response
net = ResNet(Branch(Activation("erf_unit"), Linear(1, 0)), scale=0.3, depth=20)
print(evaluate(response(net), target="numpy", K0=0.1)["eta"])
print(evaluate(optimal_scale(net), target="numpy", K0=0.1)["c"])
print(evaluate(response(net), K0=0.1)["eta"])
"""


def test_it_needs_no_numba() -> None:
    """The default target says what is missing."""
    command = [sys.executable, "-c", WITHOUT_NUMBA]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    net = ResNet(Branch(Activation("erf_unit"), Linear(1, 0)), scale=0.3, depth=20)
    expected = evaluate(response(net), K0=0.1)["eta"], evaluate(optimal_scale(net), K0=0.1)["c"]
    assert [float(x) for x in run.stdout.split()] == pytest.approx(expected, rel=1e-12), run.stderr
    assert run.stderr.splitlines()[-1].endswith("pip install numba, or use target='numpy'")
