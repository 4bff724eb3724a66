"""The elementary functions in single precision.

The exponential and its relatives are those of NVIDIA's libdevice, which state errors of at most a
few units in the last place. Sine, cosine and tangent are computed in float64 and rounded: those of
libdevice reduce large arguments with the help of an array in local memory; so are the functions of
two correlated variables, whose differences need the digits. Arguments at which the
functions in double precision give NaN give NaN here. In the simulator, which has no libdevice, all
are the functions of double precision, rounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config

from resexpand.codegen.target import Target

LIBDEVICE = {
    "exp": "expf",
    "expm1": "expm1f",
    "log": "logf",
    "log1p": "log1pf",
    "sinh": "sinhf",
    "cosh": "coshf",
    "tanh": "tanhf",
    "asin": "asinf",
    "acos": "acosf",
    "atan": "atanf",
    "erf": "erff",
    "erfc": "erfcf",
}
IN_DOUBLE = ("sin", "cos", "tan")
SEVERAL_IN_DOUBLE = {
    "hypotenuse": 2,
    "exp_cosh": 2,
    "exp_sinh": 2,
    "area": 3,
    "orthant": 5,
    "conditional_tail": 5,
    "pair_exponential": 5,
}
"""Functions of several arguments that are computed in float64 and rounded, with their number."""


def single_functions(single: Target, double: Target) -> dict[str, Any]:
    """Return the functions of `resexpand.codegen.elementary` but for the selections, by name.

    Parameters
    ----------
    single, double : Target
        Target that they are for, and the one whose functions are rounded.
    """
    if config.ENABLE_CUDASIM:
        in_double: tuple[str, ...] = (*LIBDEVICE, *IN_DOUBLE)
        functions = {name: _rounded_of_two(double.function(name)) for name in ("atan2", "power")}
    else:
        from numba.cuda import libdevice

        in_double = IN_DOUBLE
        functions = {name: getattr(libdevice, other) for name, other in LIBDEVICE.items()}
        functions["atan2"] = libdevice.atan2f
        functions["power"] = single.scalar(_of_positive(libdevice.powf))
    for name, count in SEVERAL_IN_DOUBLE.items():
        functions[name] = single.scalar(ROUNDED[count](double.function(name)))
    for name in in_double:
        functions[name] = single.scalar(_rounded(double.function(name)))
    functions["power_of_two_parts"] = single.scalar(_of_sum(functions["power"]))
    return functions


def _rounded(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def rounded(x: Any) -> Any:
        return np.float32(function(np.float64(x)))

    return rounded


def _rounded_of_two(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def rounded(x: Any, y: Any) -> Any:
        return np.float32(function(np.float64(x), np.float64(y)))

    return rounded


def _rounded_of_three(function: Callable[..., Any]) -> Callable[..., Any]:
    def rounded(x: Any, y: Any, z: Any) -> Any:
        return np.float32(function(np.float64(x), np.float64(y), np.float64(z)))

    return rounded


def _rounded_of_five(function: Callable[..., Any]) -> Callable[..., Any]:
    def rounded(a: Any, b: Any, c: Any, t: Any, u: Any) -> Any:
        pair = np.float64(a), np.float64(b), np.float64(c)
        return np.float32(function(pair[0], pair[1], pair[2], np.float64(t), np.float64(u)))

    return rounded


ROUNDED = {2: _rounded_of_two, 3: _rounded_of_three, 5: _rounded_of_five}


def _of_positive(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    nothing = np.float32(math.nan)

    def of_positive(x: Any, y: Any) -> Any:
        return nothing if x < 0.0 else function(x, y)

    return of_positive


def _of_sum(power: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    def of_sum(x: Any, y: Any, y_low: Any) -> Any:
        return power(x, y + y_low)

    return of_sum
