"""Treatment of scalar functions by a compilation target: inlined, chained, driven.

Elementary functions and generated scalar functions are plain Python on doubles. A `Target` turns
them into machine code: `scalar` compiles a function that is inlined where it is called, `chunk` one
that is called (a piece of an expression too long to be inlined), `reduction` a sum of many terms,
`driver` a loop over arrays whose compiled form is kept on disk. The primitives of
`resexpand.codegen.elementary.bits` become single instructions. Products and sums may be fused
(``contract``) and the sign of zero is free (``nsz``); nothing else is relaxed: sums keep order
save in a `reduction`, NaN and inf keep their meaning, division by zero follows IEEE 754.

``cpu`` and ``plain`` are here; ``cuda`` comes from `resexpand.codegen.cuda.target` when it is first
asked for, so that computing on the CPU neither needs nor loads the libraries of a GPU.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numba
from numba import types
from numba.extending import intrinsic

from resexpand.codegen.callee import OPTIONS, callee, uncollected
from resexpand.codegen.elementary import bits
from resexpand.codegen.library_cache import LibraryCache
from resexpand.codegen.outlined import Linked, LinkedCallee, outlined
from resexpand.codegen.panels import panel
from resexpand.codegen.store import foundation, warn_unkept
from resexpand.codegen.target import Function, Plain, Target
from resexpand.codegen.tiles import tile
from resexpand.errors import UnsupportedError

__all__ = ["OPTIONS", "Cpu", "Plain", "Target", "cpu", "plain"]

SUM = {**OPTIONS, "fastmath": OPTIONS["fastmath"] | {"reassoc"}}
"""Options of sums, whose terms may be added in any order."""

ELEMENTARY = bits.__name__.rpartition(".")[0]


def _reinterpreted(source: Any, result: Any) -> Any:
    """Return an intrinsic that reads the bits of one machine type as another."""

    def typed(typing_context: Any, value: Any) -> Any:
        def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], context.get_value_type(result))

        return result(source), generated

    return intrinsic(typed)


class Cpu(Target):
    """Compiled by Numba for the processor; loops over inlined functions become packed."""

    def __init__(self, name: str, exchanged: Mapping[Function, Any]) -> None:
        super().__init__(name, exchanged)
        # The foundation of every key of the store is the digest of these functions.
        self._library = LibraryCache(lambda: "elementary functions")

    def scalar(self, function: Function) -> Any:
        """Compile a function of doubles that is inlined into its callers."""
        compiled = callee(function, forceinline=True, **OPTIONS)
        is_elementary = function.__module__.startswith(ELEMENTARY)
        return self._library.add(compiled) if is_elementary else compiled

    def elementary(self) -> dict[str, Any]:
        """Return every elementary function by name, kept on disk."""
        self._library.open()
        return super().elementary()

    def tile(self, name: str) -> Any:
        """Return a loop of a tile, which is called by its address."""
        return tile(name)

    def panel(self, name: str) -> Any:
        """Return a function of the panels of a quadrature, which is called by its address."""
        return panel(name)

    def chunk(self, function: Function) -> Any:
        """Compile a piece of a long expression: called, never inlined."""
        return callee(function, **OPTIONS)

    def kept(self, function: Any) -> Any:
        """Return a chunk or reduction whose machine code is kept on disk: one called by address."""
        with contextlib.suppress(RuntimeError):  # Numba finds no folder to keep it in
            function._cache = LinkedCallee(function.py_func)
        return function

    def reduction(self, function: Function) -> Any:
        """Compile a sum of many terms, which may be added in any order."""
        # Left open, Numba would take this from the function whose compilation asks for the sum.
        return callee(function, forceinline=True, **SUM)

    def average(self, function: Function) -> Any:
        """Compile a quadrature, which is called by address.

        It is long: linked into its callers, it would be optimised again with each.
        """
        return outlined(self.kept(callee(function, **SUM)), foundation())

    def driver(self, function: Function) -> Any:
        """Compile a loop over arrays that releases the interpreter lock and is kept on disk."""
        compiled = numba.njit(nogil=True, no_cfunc_wrapper=True, **OPTIONS)(function)
        with contextlib.suppress(RuntimeError):  # Numba finds no folder to keep it in
            compiled._cache = Linked(function)
            return Kept(compiled)
        return compiled


class Kept:
    """A compiled loop, called also where its machine code cannot be written to the disk.

    Numba compiles, then writes, then calls: once the writing has failed, the same call finds the
    compiled code in memory.

    Parameters
    ----------
    compiled : numba.core.dispatcher.Dispatcher
    """

    def __init__(self, compiled: Any) -> None:
        self.compiled, self.py_func = compiled, compiled.py_func

    def __call__(self, *arguments: Any) -> Any:
        """Call the loop."""
        with uncollected():
            try:
                return self.compiled(*arguments)
            except OSError as error:
                warn_unkept(error)
                return self.compiled(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.compiled, name)


@cache
def _cpu() -> Cpu:
    if numba.config.DISABLE_JIT:
        raise UnsupportedError(
            "compiling with NUMBA_DISABLE_JIT set",
            "intrinsic instructions have no meaning in plain Python",
            "unset it",
        )
    return Cpu(
        "cpu",
        {
            bits.as_int: _reinterpreted(types.float64, types.int64),
            bits.as_float: _reinterpreted(types.int64, types.float64),
            bits.sqrt: math.sqrt,
        },
    )


cpu = _cpu()
plain = Plain()


def __getattr__(name: str) -> Any:
    if name == "cuda":
        from resexpand.codegen.cuda.target import cuda_target

        return cuda_target
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
