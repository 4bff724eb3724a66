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
keep loops scalar) and release the interpreter lock. Machine code is kept on disk: that of the
generated samplers, whose text carries the digest of this library, and that of the loops
(`resexpand.codegen.library_cache`), save those that a factory makes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any, TypeVar, cast

import numpy as np

from resexpand.codegen.callee import callee
from resexpand.codegen.library_cache import LibraryCache
from resexpand.codegen.outlined import outlined as codegen_outlined

Function = TypeVar("Function", bound=Callable[..., Any])

ORDERED = {"contract", "nsz"}
"""Rewrites allowed everywhere: fused multiply-add, and no care for the sign of zero."""

SUMMED = ORDERED | {"reassoc"}

LIBRARY = ("random", "loops", "weights")
"""Rooms whose files the text of a sampler calls; beside them stand the lanes and their compiler."""


@cache
def library_digest() -> str:
    """Return the digest of the library files that the text of a sampler calls."""
    folder = resources.files("resexpand.montecarlo")
    modules = (file for name in LIBRARY for file in folder.joinpath(name).iterdir())
    shared = (folder.joinpath(name) for name in ("jit.py", "lanes.py", "cuda/lanes.py"))
    files = sorted((f for f in (*modules, *shared) if f.name.endswith(".py")), key=str)
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


library = LibraryCache(library_digest)
"""The loops, whose machine code is kept once it is opened."""


def whole(number: int) -> int:
    """Return a number that loops are given as a constant: a literal of Python is a type of its own.

    For each literal Numba would compile a function once more.
    """
    return cast(int, np.int64(number))


def inlined(function: Function) -> Function:
    """Compile a scalar function that is always inlined."""
    options = {"forceinline": True, "error_model": "numpy", "fastmath": ORDERED}
    return cast(Function, library.add(callee(function, **options)))


def loop(function: Function) -> Function:
    """Compile a loop over arrays."""
    options = {"nogil": True, "error_model": "numpy", "fastmath": ORDERED}
    return cast(Function, library.add(callee(function, **options)))


def reduction(function: Function) -> Function:
    """Compile a loop that sums over arrays."""
    options = {"nogil": True, "error_model": "numpy", "fastmath": SUMMED}
    return cast(Function, library.add(callee(function, **options)))


def outlined(function: Any) -> Any:
    """Return what stands for a loop in generated samplers: its address instead of its text."""
    return codegen_outlined(function, library_digest())


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
