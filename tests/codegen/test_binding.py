"""Every bad call has one clear error; every good one gets the values it meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, ResNet, kernel
from resexpand.codegen.binding import Point, bind
from resexpand.errors import HyperparameterError, KernelError
from resexpand.theory.hyperparameters import RESERVED

RHO, DEPTH, A, B = sp.symbols("rho L a b")
ERF = Branch(Activation("erf"), Linear())
OPEN = ResNet(ERF, scale=RHO, depth=DEPTH)
FIXED = ResNet(Branch(Activation("erf"), Linear(1.2, 0.05)), scale=0.3, depth=20)
WITH_READ_IN = ResNet(ERF, scale=RHO, depth=DEPTH, read_in=Linear(A, 0.1))
PER_BLOCK = ResNet(Branch(Activation("erf"), Linear(1, 0)), scale=(A, 0.2, A * B))
SIGN = ResNet(Branch(Activation("sign"), Linear()), scale=RHO, depth=DEPTH)
GOOD = {"rho": 0.5, "sigma_w2": 1.2, "sigma_b2": 0.05, "depth": 3}
EYE = [[1.0, 0.0], [0.0, 1.0]]


def bound(net: ResNet = OPEN, count: int = 1, **keywords: Any) -> Point:
    """Bind a call to the kernel recursion of a network."""
    recursion = kernel(net, inputs=count)
    return bind(
        net,
        dict(recursion.bindings),
        dict(recursion.layer_bindings),
        keywords,
        matrix=count == 2,
    )


BAD_HYPERPARAMETERS = {
    "negative weight variance": (
        {"sigma_w2": -1.0},
        "sigma_w2 = -1.0: weight variance must not be below 0",
    ),
    "negative bias variance": ({"sigma_b2": [0.1, -0.2]}, "sigma_b2 = -0.2: bias variance"),
    "infinite variance": ({"sigma_w2": np.inf}, "sigma_w2 = inf: it is not finite"),
    "variance nan": ({"sigma_b2": np.nan}, "sigma_b2 = nan: it is not finite"),
    "scale nan": ({"rho": np.nan}, "rho = nan: it is not finite"),
    "scale infinite somewhere": ({"rho": [0.1, -np.inf]}, "it is not finite"),
    "scale text": ({"rho": "half"}, "rho = 'half': it is not a number"),
    "scale complex": ({"rho": 1j}, "it is not a number"),
    "scale None": ({"rho": None}, "rho = None"),
    "scale ragged": ({"rho": [[1, 2], [3]]}, "it is not a number"),
    "depth zero": ({"depth": 0}, "depth = 0.0: it is not a positive integer"),
    "depth negative": ({"depth": -3}, "depth = -3.0: it is not a positive integer"),
    "depth not whole": ({"depth": 2.5}, "depth = 2.5: it is not a positive integer"),
    "depth array": ({"depth": [2, 3]}, "give one depth per call"),
    "depth array of one": ({"depth": [3]}, "give one depth per call"),
    "depth nan": ({"depth": np.nan}, "it is not finite"),
    "unknown keyword": ({"sigma": 1.0}, "hyperparameter 'sigma': the network leaves no symbol"),
    "shapes": ({"rho": [1, 2], "sigma_w2": [1, 2, 3]}, r"they do not broadcast"),
    "shape of K0": ({"rho": [1, 2], "K0": [1, 2, 3]}, r"rho \(2,\).*do not broadcast"),
    "kernel and inputs": ({"inputs": [[1.0]]}, "exactly one of K0 and inputs"),
}


@pytest.mark.parametrize("case", BAD_HYPERPARAMETERS)
def test_bad_hyperparameters(case: str) -> None:
    change, message = BAD_HYPERPARAMETERS[case]
    with pytest.raises(HyperparameterError, match=message):
        bound(**{"K0": 1.0, **GOOD, **change})


@pytest.mark.parametrize("name", ["rho", "sigma_w2", "sigma_b2", "depth"])
def test_a_symbol_without_value_is_asked_for_by_name(name: str) -> None:
    given = {key: value for key, value in GOOD.items() if key != name}
    with pytest.raises(HyperparameterError, match=rf"a value of {name}.*pass {name}=\.\.\."):
        bound(K0=1.0, **given)


def test_a_kernel_is_needed() -> None:
    with pytest.raises(HyperparameterError, match="exactly one of K0 and inputs"):
        bound(**GOOD)


BAD_KERNELS = {
    "negative": (1, -0.5, r"K0 = -0.5: a variance is never negative"),
    "nan": (1, np.nan, "NaN or infinity"),
    "infinite": (1, [1.0, np.inf], "NaN or infinity"),
    "text": (1, "one", "not an array of numbers"),
    "number for a pair": (2, 1.0, r"K0 of shape \(\)"),
    "vector for a pair": (2, [1.0, 2.0], r"K0 of shape \(2,\)"),
    "not square": (2, [[1, 0.3, 0], [0.3, 1, 0]], r"K0 of shape \(2, 3\)"),
    "no input": (2, np.zeros((0, 0)), r"K0 of shape \(0, 0\)"),
    "nan in a matrix": (2, [[np.nan, 0], [0, 1]], "NaN or infinity"),
    "not symmetric": (2, [[1, 0.3], [0.2, 1]], "not symmetric"),
    "correlation above one": (2, [[1, 2], [2, 1]], "not positive semi-definite"),
    "negative variance": (2, [[-1, 0], [0, 1]], "a variance is never negative"),
    "correlation above one, lengths apart": (2, [[1e12, 1], [1, 1e-14]], "not positive semi-def"),
    "correlated with an input of length zero": (2, [[1, 0.1], [0.1, 0]], "not positive semi-def"),
    "three pairs possible, no triple": (
        2,
        [[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]],
        "not positive semi-definite",
    ),
}


@pytest.mark.parametrize("case", BAD_KERNELS)
def test_bad_kernels(case: str) -> None:
    inputs, value, message = BAD_KERNELS[case]
    with pytest.raises(KernelError, match=message):
        bound(count=inputs, K0=value, **GOOD)


GOOD_KERNELS = {
    "singular": [[1, 1], [1, 1]],
    "zero": [[0, 0], [0, 0]],
    "an input of length zero": [[0, 0], [0, 1]],
    "anticorrelated": [[1, -2], [-2, 4]],
    "rounded above full correlation": [[1, 1 + 1e-12], [1 + 1e-12, 1]],
    "rounded beside symmetry": [[1.0, 1e-17], [-1e-17, 1.0]],
    "lengths apart": [[1e12, 0.5], [0.5, 1e-12]],
    "one input": [[0.7]],
    "three inputs": np.eye(3).tolist(),
    "a grid": np.broadcast_to(np.eye(2), (4, 2, 2)).tolist(),
}


@pytest.mark.parametrize("case", GOOD_KERNELS)
def test_kernels_up_to_rounding_are_taken(case: str) -> None:
    point = bound(count=2, K0=GOOD_KERNELS[case], **GOOD)
    np.testing.assert_array_equal(point.kernel, np.array(GOOD_KERNELS[case], dtype=float))


@pytest.mark.parametrize(("inputs", "value"), [(1, 0.0), (1, [1.0, 0.0]), (2, [[0, 0], [0, 1]])])
def test_a_variance_of_zero_at_a_jump_is_taken(inputs: int, value: Any) -> None:
    # <sign(x)^2> is sign(0)^2 = 0 at K = 0 and 1 for every K > 0.
    np.testing.assert_array_equal(bound(SIGN, inputs, K0=value, **GOOD).kernel, value)
    assert bound(SIGN, 1, K0=1e-300, **GOOD).kernel == 1e-300
    beside = ResNet(
        Branch(Activation(sp.Heaviside(sp.Symbol("x") - 1)), Linear()), scale=RHO, depth=DEPTH
    )
    np.testing.assert_array_equal(bound(beside, inputs, K0=value, **GOOD).kernel, value)


def test_what_the_network_fixed_cannot_be_given() -> None:
    with pytest.raises(HyperparameterError, match=r"'rho'.*leaves no symbol of this name open"):
        bound(FIXED, K0=1.0, rho=0.3)
    for depth in (21, np.array([20, 20]), [20], np.nan, "20"):
        with pytest.raises(HyperparameterError, match="described with depth 20"):
            bound(FIXED, K0=1.0, depth=depth)
    assert bound(FIXED, K0=1.0, depth=20).depth == bound(FIXED, K0=1.0).depth == 20


BAD_INPUTS = {
    "no read-in": (OPEN, [[1.0]], {}, "the network has no read_in"),
    "nan": (WITH_READ_IN, [[np.nan, 1.0]], {"a": 1}, "NaN or infinity"),
    "text": (WITH_READ_IN, [["x"]], {"a": 1}, "they are not numbers"),
    "ragged": (WITH_READ_IN, [[1], [1, 2]], {"a": 1}, "they are not numbers"),
    "vector": (WITH_READ_IN, [1.0, 2.0], {"a": 1}, r"inputs of shape \(2,\)"),
    "empty": (WITH_READ_IN, np.zeros((2, 0)), {"a": 1}, r"inputs of shape \(2, 0\)"),
    "read-in without value": (WITH_READ_IN, [[1.0]], {}, "a value of a"),
    "read-in negative": (
        WITH_READ_IN,
        [[1.0]],
        {"a": -2},
        "a = -2.0: weight variance must not be below 0",
    ),
    "two for one": (WITH_READ_IN, [[1.0], [2.0]], {"a": 1}, "2 inputs: the recursion is of one"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_inputs(case: str) -> None:
    net, data, more, message = BAD_INPUTS[case]
    with pytest.raises(HyperparameterError, match=message):
        _with_inputs(net, data, {**GOOD, **more})


def _with_inputs(net: ResNet, data: Any, keywords: dict[str, Any], pairs: bool = False) -> Point:
    recursion = kernel(net, inputs=2 if pairs else 1)
    given = {**keywords, "inputs": data}
    return bind(net, dict(recursion.bindings), {}, given, matrix=pairs)


def test_inputs_give_the_kernel_of_the_read_in() -> None:
    data = np.array([[1.0, 2.0, 0.5], [-1.0, 0.0, 3.0]])
    point = _with_inputs(WITH_READ_IN, data, {**GOOD, "a": 2.0}, pairs=True)
    np.testing.assert_allclose(point.kernel, 2.0 * data @ data.T / 3 + 0.1, rtol=1e-15)
    single = _with_inputs(WITH_READ_IN, data[:1], {**GOOD, "a": 2.0})
    assert single.kernel == point.kernel[0, 0]
    assert single.grid == ()


def test_the_variances_of_a_read_in_broadcast() -> None:
    many = _with_inputs(WITH_READ_IN, [[1.0, 2.0]], {**GOOD, "a": [1.0, 2.0, 4.0]})
    np.testing.assert_allclose(many.kernel, np.array([1.0, 2.0, 4.0]) * 2.5 + 0.1, rtol=1e-15)
    assert many.grid == (3,)
    pairs = _with_inputs(WITH_READ_IN, [[1.0], [2.0]], {**GOOD, "a": [1.0, 2.0]}, pairs=True)
    assert pairs.kernel.shape == (2, 2, 2)
    with pytest.raises(HyperparameterError, match="do not broadcast"):
        _with_inputs(WITH_READ_IN, [[1.0]], {**GOOD, "a": [1, 2, 3], "rho": [1, 2]})


def test_hyperparameters_broadcast() -> None:
    point = bound(K0=np.ones((4, 1, 1)), **{**GOOD, "rho": np.ones((5, 1)), "sigma_w2": [1, 2, 3]})
    assert point.grid == (4, 5, 3)
    pairs = bound(count=2, K0=np.broadcast_to(np.eye(3), (4, 1, 3, 3)), **{**GOOD, "rho": [1, 2]})
    assert pairs.grid == (4, 2)
    assert bound(K0=np.ones((3, 1)), **{**GOOD, "rho": np.zeros(0)}).grid == (3, 0)


def test_scales_of_blocks() -> None:
    point = bound(PER_BLOCK, K0=1.0, a=[0.1, 0.3], b=2.0)
    (values,) = point.layer_values.values()
    np.testing.assert_allclose(values, [[0.1, 0.2, 0.2], [0.3, 0.2, 0.6]], rtol=1e-15)
    assert (point.depth, point.grid) == (3, (2,))
    with pytest.raises(HyperparameterError, match="a value of b"):
        bound(PER_BLOCK, K0=1.0, a=0.1)


def test_expressions_as_hyperparameters() -> None:
    deep = ResNet(ERF, scale=A / sp.sqrt(DEPTH), depth=DEPTH)
    point = bound(deep, K0=1.0, a=2.0, depth=16, sigma_w2=1, sigma_b2=0)
    assert 0.5 in {float(v) for v in point.values.values()}
    rooted = ResNet(Branch(Activation("erf"), Linear(sp.sqrt(A), 0)), scale=0.3, depth=3)
    with pytest.raises(HyperparameterError, match=r"sqrt\(a\): it is not finite there"):
        bound(rooted, K0=1.0, a=-0.1)
    difference = ResNet(Branch(Activation("erf"), Linear(A - B, 0)), scale=0.3, depth=3)
    with pytest.raises(HyperparameterError, match="weight variance must not be below 0"):
        bound(difference, K0=1.0, a=1.0, b=2.0)


@pytest.mark.parametrize("name", ["K", "K0", "K_12", "C", "C1_11", "m", "chi_K", "nodes"])
def test_names_of_the_formulas_are_not_for_hyperparameters(name: str) -> None:
    assert RESERVED.match(name)
    net = ResNet(Branch(Activation("erf"), Linear(sp.Symbol(name), 0)), scale=0.3, depth=3)
    with pytest.raises(HyperparameterError, match=f"a hyperparameter called {name}"):
        kernel(net)


@pytest.mark.parametrize("name", ["k", "x", "phi", "lane", "lambda", "Kappa", "c", "rho_2"])
def test_other_names_are(name: str) -> None:
    net = ResNet(Branch(Activation("erf"), Linear(sp.Symbol(name), 0)), scale=0.3, depth=3)
    point = bound(net, K0=1.0, **{name: 0.25})
    assert 0.25 in {float(v) for v in point.values.values()}


def test_a_variance_may_be_called_rho() -> None:
    for scale in (0.3, (0.3, 0.4)):
        net = ResNet(Branch(Activation("erf"), Linear(RHO, 0)), scale=scale, depth=2)
        point = bound(net, K0=1.0, rho=2.0)
        assert float(point.values[RHO]) == 2.0
        assert RHO not in point.layer_values
