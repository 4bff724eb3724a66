"""How the functions of this folder are compiled: a few decorators, one place for their options.

`inlined`
    a scalar function, put into the loop that calls it so that LLVM can vectorise the loop.
`loop`
    a loop over an array that keeps the order of its floating-point operations.
`reduction`
    a loop that sums; the sum may be split into vector lanes ("reassoc"). The result is the same in
    every call, thread and process on one machine; another vector width changes the last bits.
`loop_for`
    a loop made by a factory, around a function that the factory is given.

All use NumPy's error model (a division by zero is inf or nan, not an exception: exceptions would
keep loops scalar) and release the interpreter lock. None writes to Numba's on-disk cache, since
that cache does not notice when a function called from another file changes; the generated
samplers, whose text carries a digest of this folder, are the ones cached.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])

ORDERED = {"contract", "nsz"}
"""Rewrites allowed everywhere: fused multiply-add, and no care for the sign of zero."""

SUMMED = ORDERED | {"reassoc"}


def inlined(function: Function) -> Function:
    """Compile a scalar function that is always inlined."""
    options = {"forceinline": True, "error_model": "numpy", "fastmath": ORDERED}
    return cast(Function, njit(**options)(function))


def loop(function: Function) -> Function:
    """Compile a loop over arrays."""
    options = {"nogil": True, "error_model": "numpy", "fastmath": ORDERED}
    return cast(Function, njit(**options)(function))


def reduction(function: Function) -> Function:
    """Compile a loop that sums over arrays."""
    options = {"nogil": True, "error_model": "numpy", "fastmath": SUMMED}
    return cast(Function, njit(**options)(function))


def loop_for(argument: Callable[..., Any]) -> Callable[[Function], Function]:
    """Compile a loop that calls one of several compiled functions; a decorator for closures.

    The name of the function goes into that of the loop: machine code is linked by name, and of two
    closures with one name, one from the disk and one compiled now, the wrong one could be taken.
    """
    inner = getattr(argument, "py_func", argument)
    tag = "".join(c if c.isalnum() else "_" for c in f"{inner.__module__}_{inner.__qualname__}")

    def compiled(function: Function) -> Function:
        function.__qualname__ = f"{function.__name__}_{tag}"
        return loop(function)

    return compiled
