"""The target ``cuda``, bound to numba-cuda.

The functions are those of the CPU. Two things differ:

- Numba-cuda knows two kinds of arithmetic only: any set of relaxations, even fusing alone, makes it
  flush subnormal numbers, approximate divisions and take NaN and inf for impossible. Nothing is
  relaxed here, therefore; products and sums are fused all the same, which is NVVM's default.
- In the simulator (``NUMBA_ENABLE_CUDASIM=1``) nothing is compiled: literals become NumPy numbers,
  which divide by zero as IEEE 754 says, and functions run as Python.

Loading this module needs numba-cuda, but neither a driver nor a device.
"""

from __future__ import annotations

import math
from types import FunctionType
from typing import Any

import numpy as np
from numba import config, cuda
from numba.cuda import types
from numba.cuda.extending import intrinsic

from resexpand.codegen.cuda import shares
from resexpand.codegen.elementary import bits
from resexpand.codegen.target import Function, Target

SIMULATED = bool(config.ENABLE_CUDASIM)
"""Whether this process runs kernels as Python, on the CPU."""


def _reinterpreted(source: Any, result: Any) -> Any:
    """Return an intrinsic that reads the bits of one machine type as another."""

    def typed(typing_context: Any, value: Any) -> Any:
        def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], context.get_value_type(result))

        return result(source), generated

    return intrinsic(typed)


def _simulated_float(word: int) -> Any:
    return np.float64(bits.as_float(int(word)))


def _simulated_sqrt(x: float) -> Any:
    return np.sqrt(x)


def _primitives() -> dict[Function, Any]:
    if SIMULATED:
        return {
            bits.as_int: bits.as_int,
            bits.as_float: _simulated_float,
            bits.sqrt: _simulated_sqrt,
        }
    return {
        bits.as_int: _reinterpreted(types.float64, types.int64),
        bits.as_float: _reinterpreted(types.int64, types.float64),
        bits.sqrt: math.sqrt,
    }


def _text(function: Any) -> Any:
    """Return what is compiled; in the simulator a copy whose literals divide as IEEE 754 says."""
    if not SIMULATED:
        return function
    code = function.__code__
    literals = tuple(np.float64(c) if type(c) is float else c for c in code.co_consts)
    scope, name = function.__globals__, function.__name__
    copy = FunctionType(
        code.replace(co_consts=literals), scope, name, function.__defaults__, function.__closure__
    )
    copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
    return copy


class Cuda(Target):
    """Compiled by numba-cuda; a driver is a kernel of one thread or of a group of threads."""

    real, nan = np.float64, np.float64(math.nan)
    share_turns = staticmethod(cuda.jit(device=True)(shares.share_turns))
    share_entry = staticmethod(cuda.jit(device=True)(shares.share_entry))
    share_sum = staticmethod(cuda.jit(device=True)(shares.share_sum))

    def scalar(self, function: Function) -> Any:
        """Compile a function that is inlined into its callers."""
        text = _text(function)
        # Functions without threads need no help from the simulator, which is slow at calls.
        if SIMULATED and "cuda" not in text.__code__.co_names:
            return text
        options = {} if SIMULATED else {"forceinline": True}
        return cuda.jit(device=True, **options)(text)

    def chunk(self, function: Function) -> Any:
        """Compile a piece of a long expression; the assembler decides whether to inline it."""
        text = _text(function)
        if SIMULATED and "cuda" not in text.__code__.co_names:
            return text
        return cuda.jit(device=True)(text)

    # A thread adds one term after the other; there are no lanes to split a sum over.
    reduction = chunk

    def driver(self, function: Function) -> Any:
        """Compile a kernel, kept on disk."""
        text = _text(function)
        return cuda.jit(_quiet(text)) if SIMULATED else cuda.jit(cache=True)(text)


def _quiet(function: FunctionType) -> FunctionType:
    """Return a simulated kernel that, like a device, warns of nothing."""
    errstate = np.errstate

    def run(*arguments: Any) -> None:
        with errstate(all="ignore"):
            function(*arguments)

    # The simulator looks for `cuda` among the global names of the kernel it is given.
    quiet = FunctionType(
        run.__code__, function.__globals__, function.__name__, None, run.__closure__
    )
    quiet.__module__, quiet.__qualname__ = function.__module__, function.__qualname__
    return quiet


cuda_target = Cuda("cuda", _primitives())
