"""What a compilation target does to the scalar functions: inline them, chain them, drive them.

Elementary functions and generated scalar functions are plain Python on doubles. A `Target` turns
them into machine code: `scalar` compiles a function that is inlined where it is called, `chunk` one
that is called (a piece of an expression too long to be inlined), `reduction` a sum of many terms,
`driver` a loop over arrays whose compiled form is kept on disk. The primitives of
`resexpand.codegen.elementary.bits` become single instructions. Products and sums may be fused
(``contract``) and the sign of zero is free (``nsz``); nothing else is relaxed: sums keep order
save in a `reduction`, NaN and inf keep their meaning, division by zero follows IEEE 754.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

import numba
from numba import types
from numba.extending import intrinsic

from resexpand.codegen.elementary import (
    bits,
    error_function,
    exponential,
    inverse,
    logarithm,
    polynomials,
    selection,
    trigonometric,
)
from resexpand.errors import UnsupportedError

# In the order of their imports: a module stands behind those whose functions it calls.
MODULES = (polynomials, exponential, logarithm, trigonometric, inverse, error_function, selection)
OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract", "nsz"}}


def _reinterpreted(source: Any, result: Any) -> Any:
    """Return an intrinsic that reads the bits of one machine type as another."""

    def typed(typing_context: Any, value: Any) -> Any:
        def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], context.get_value_type(result))

        return result(source), generated

    return intrinsic(typed)


class Target:
    """One way of compiling: decorators and the elementary functions bound to it.

    Parameters
    ----------
    name : str
        ``"cpu"``.
    primitives : mapping
        The functions of `bits` and what stands for each on this target.
    """

    def __init__(self, name: str, primitives: dict[Callable[..., Any], Any]) -> None:
        self.name = name
        self._primitives = primitives
        self._functions: dict[str, Any] | None = None

    def scalar(self, function: Callable[..., Any]) -> Any:
        """Compile a function of doubles that is inlined into its callers."""
        return numba.njit(forceinline=True, **OPTIONS)(function)

    def chunk(self, function: Callable[..., Any]) -> Any:
        """Compile a piece of a long expression: called, never inlined."""
        return numba.njit(**OPTIONS)(function)

    def reduction(self, function: Callable[..., Any]) -> Any:
        """Compile a sum of many terms, which may be added in any order."""
        options = {**OPTIONS, "fastmath": OPTIONS["fastmath"] | {"reassoc"}}
        return numba.njit(**options)(function)

    def driver(self, function: Callable[..., Any]) -> Any:
        """Compile a loop over arrays that releases the interpreter lock and is kept on disk."""
        return numba.njit(nogil=True, cache=True, **OPTIONS)(function)

    def function(self, name: str) -> Any:
        """Return the compiled elementary function of that name.

        Raises
        ------
        UnsupportedError
            If there is no such function.
        """
        if self._functions is None:
            self._functions = self._bound()
        if name not in self._functions:
            raise UnsupportedError(
                f"the elementary function {name!r}",
                f"target {self.name!r} has no such function",
                f"use one of {', '.join(sorted(self._functions))}",
            )
        return self._functions[name]

    def _bound(self) -> dict[str, Any]:
        """Compile every elementary function, with its callees replaced by compiled ones."""
        compiled = dict(self._primitives)
        named: dict[str, Any] = {}
        for module in MODULES:
            named.update(self._bind_module(module, compiled))
        return named

    def _bind_module(
        self, module: ModuleType, compiled: dict[Callable[..., Any], Any]
    ) -> dict[str, Any]:
        # The functions get a copy of their module's namespace, so the plain ones stay plain.
        scope = dict(vars(module))
        own: dict[str, Any] = {}
        for name, value in vars(module).items():
            if not isinstance(value, FunctionType):
                continue
            if value not in compiled:
                clone = FunctionType(value.__code__, scope, name, value.__defaults__)
                clone.__module__ = value.__module__
                compiled[value] = own[name] = self.scalar(clone)
            scope[name] = compiled[value]
        return own


class Plain:
    """Nothing is compiled: the same text runs as Python, for debugging and for comparison."""

    name = "plain"

    @staticmethod
    def scalar(function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function as it is."""
        return function

    chunk = reduction = driver = scalar

    @staticmethod
    def function(name: str) -> Callable[..., float]:
        """Return the plain elementary function of that name."""
        for module in MODULES:
            value = vars(module).get(name)
            if isinstance(value, FunctionType) and value.__module__ == module.__name__:
                return value
        raise UnsupportedError(f"the elementary function {name!r}", "there is no such function")


@cache
def _cpu() -> Target:
    return Target(
        "cpu",
        {
            bits.as_int: _reinterpreted(types.float64, types.int64),
            bits.as_float: _reinterpreted(types.int64, types.float64),
            bits.sqrt: math.sqrt,
        },
    )


cpu = _cpu()
plain = Plain()
