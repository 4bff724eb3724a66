"""Elementary functions: packed instructions, special values, coefficients made anew."""

from __future__ import annotations

import importlib.util
import math
import re
import sys
from pathlib import Path
from types import FunctionType, ModuleType

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ulp import measure_ulp

from resexpand.codegen.elementary import exponential, inverse, polynomials
from resexpand.codegen.functions import FUNCTIONS
from resexpand.codegen.targets import OPTIONS, cpu, plain
from resexpand.errors import UnsupportedError

ROOT = Path(__file__).parents[2]
NAN, INF = math.nan, math.inf

SPECIAL = [
    ("exp", (0.0,), 1.0),
    ("exp", (INF,), INF),
    ("exp", (-INF,), 0.0),
    ("exp", (710.0,), INF),
    ("exp", (-745.0,), 5e-324),
    ("expm1", (INF,), INF),
    ("expm1", (-INF,), -1.0),
    ("expm1", (1e-300,), 1e-300),
    ("log", (0.0,), -INF),
    ("log", (-1.0,), NAN),
    ("log", (INF,), INF),
    ("log", (1.0,), 0.0),
    ("log1p", (-1.0,), -INF),
    ("log1p", (-2.0,), NAN),
    ("log1p", (INF,), INF),
    ("log1p", (1e-300,), 1e-300),
    ("power", (0.0, 2.5), 0.0),
    ("power", (0.0, -2.5), INF),
    ("power", (0.0, 0.0), 1.0),
    ("power", (-8.0, 1 / 3), NAN),
    ("power", (INF, -0.5), 0.0),
    ("power", (INF, 0.5), INF),
    ("power", (10.0, 1e300), INF),
    ("power", (0.1, 1e300), 0.0),
    ("power", (2.0, NAN), NAN),
    ("sin", (INF,), NAN),
    ("cos", (INF,), NAN),
    ("cos", (0.0,), 1.0),
    ("sin", (2.0**51,), NAN),
    ("sinh", (INF,), INF),
    ("sinh", (-711.0,), -INF),
    ("cosh", (-INF,), INF),
    ("tanh", (INF,), 1.0),
    ("tanh", (-INF,), -1.0),
    ("asin", (1.0,), math.pi / 2),
    ("asin", (-1.0,), -math.pi / 2),
    ("asin", (1.0000000000000002,), NAN),
    ("acos", (1.0,), 0.0),
    ("acos", (-1.0,), math.pi),
    ("acos", (-1.0000000000000002,), NAN),
    ("atan", (INF,), math.pi / 2),
    ("atan", (-INF,), -math.pi / 2),
    ("atan2", (0.0, 0.0), 0.0),
    ("atan2", (1.0, 0.0), math.pi / 2),
    ("atan2", (0.0, -1.0), math.pi),
    ("atan2", (INF, INF), math.pi / 4),
    ("atan2", (1e308, 1e308), math.pi / 4),
    ("atan2", (5e-324, 5e-324), math.pi / 4),
    ("atan2", (NAN, 1.0), NAN),
    ("atan2", (1.0, NAN), NAN),
    ("erf", (INF,), 1.0),
    ("erf", (-INF,), -1.0),
    ("erfc", (INF,), 0.0),
    ("erfc", (-INF,), 2.0),
    ("erfc", (0.0,), 1.0),
    ("sqrt", (-1.0,), NAN),
    ("sqrt", (0.0,), 0.0),
    ("sqrt", (INF,), INF),
    ("sign", (0.0,), 0.0),
    ("sign", (-INF,), -1.0),
    ("heaviside", (0.0,), 0.5),
    ("heaviside", (-INF,), 0.0),
    ("heaviside", (INF,), 1.0),
    ("maximum", (NAN, 1.0), NAN),
    ("maximum", (1.0, NAN), NAN),
    ("minimum", (NAN, 1.0), NAN),
    ("minimum", (1.0, NAN), NAN),
]


def equal(value: float, expected: float) -> bool:
    return value == expected or (math.isnan(value) and math.isnan(expected))


@pytest.mark.parametrize(("name", "arguments", "expected"), SPECIAL)
@pytest.mark.parametrize("target", [plain, cpu], ids=["plain", "cpu"])
def test_special_values(target, name, arguments, expected):
    assert equal(target.function(name)(*arguments), expected)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_nan_propagates(name):
    arguments = (NAN,) * FUNCTIONS[name].arity
    assert math.isnan(plain.function(name)(*arguments))
    assert math.isnan(cpu.function(name)(*arguments))


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_loop_is_vectorised(name):
    function, arity = cpu.function(name), FUNCTIONS[name].arity

    def one(x, out):
        for i in range(out.size):
            out[i] = function(x[i])

    def two(x, out):
        for i in range(out.size):
            out[i] = function(x[i], x[i])

    def three(x, out):
        for i in range(out.size):
            out[i] = function(x[i], x[i], x[i])

    def five(x, out):
        for i in range(out.size):
            out[i] = function(x[i], x[i], 0.5 * x[i], x[i], x[i])

    compiled = numba.njit(**OPTIONS)({1: one, 2: two, 3: three, 5: five}[arity])
    x = np.linspace(0.1, 0.9, 64)
    compiled(x, np.empty_like(x))
    text = compiled.inspect_llvm(compiled.signatures[0])
    assert re.search(r"<\d+ x double>", text), "no packed arithmetic"
    assert not re.search(
        r"call [^\n]*@(?!llvm\.)[a-z0-9]*(?:exp|log|sin|cos|erf|pow|tan)\w*\(", text
    )


def test_a_library_call_is_not_vectorised():
    # The negative control of the test above: what the functions replace stays scalar.
    def loop(x, out):
        for i in range(out.size):
            out[i] = math.erf(x[i])

    compiled = numba.njit(**OPTIONS)(loop)
    compiled(np.ones(8), np.empty(8))
    assert not re.search(r"fmul[^\n]*<\d+ x double>", compiled.inspect_llvm(compiled.signatures[0]))


@given(st.floats(-700.0, 700.0))
def test_odd_and_even_functions(x):
    for name in ("sinh", "tanh", "sin", "erf", "atan", "sign"):
        function = plain.function(name)
        assert function(-x) == -function(x)
    for name in ("cosh", "cos", "absolute"):
        function = plain.function(name)
        assert function(-x) == function(x)


@given(st.integers(-1022, 1023))
def test_powers_of_two_are_exact(k):
    assert exponential.two_to(float(k)) == 2.0**k
    assert plain.function("power")(2.0, float(k)) == 2.0**k


def test_unknown_function_is_named():
    for target in (plain, cpu):
        with pytest.raises(UnsupportedError, match="bessel"):
            target.function("bessel")


def rebound(function: FunctionType, **replaced: object) -> FunctionType:
    """The function with some of its globals replaced."""
    return FunctionType(function.__code__, {**function.__globals__, **replaced})


def test_a_perturbed_coefficient_is_noticed():
    entry = FUNCTIONS["asin"]
    wrong = rebound(inverse.asin, asin_tail=lambda z: polynomials.asin_tail(z) * (1.0 + 1e-13))
    assert measure_ulp(entry, 300, 0).largest <= entry.max_ulp
    assert measure_ulp(entry, 300, 0, wrong).largest > entry.max_ulp


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    path = ROOT / "numerics" / "elementary_coefficients.py"
    spec = importlib.util.spec_from_file_location("elementary_coefficients", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["exp_tail", "asin_tail", "sin_tail"])
def test_coefficients_are_those_of_the_generator(generator, name):
    (task,) = (task for task in generator.FITS if task.name == name)
    assert generator.function_text(task) in generator.TARGET.read_text(encoding="utf-8")


def test_constants_are_those_of_the_generator(generator):
    assert generator.constants_text() in generator.TARGET.read_text(encoding="utf-8")


def test_every_polynomial_is_generated(generator):
    written = {k for k, v in vars(polynomials).items() if isinstance(v, FunctionType)}
    assert written == {task.name for task in generator.FITS}
