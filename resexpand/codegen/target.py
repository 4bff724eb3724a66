"""`Target`: one way of compiling, and how plain functions get bound to it.

Functions are written once, as plain Python, and call each other by name. A target makes a compiled
copy of a function in which every callee is already compiled for that target, and in which some
functions are exchanged for others: a primitive for a machine instruction, a group of threads for a
single one. The plain functions stay plain, and any number of targets may hold copies of them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import CellType, FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from resexpand.codegen import panels
from resexpand.codegen.elementary import (
    bivariate,
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
MODULES = (
    *(polynomials, exponential, logarithm, trigonometric, inverse, error_function, bivariate),
    selection,
)
PACKAGE = "resexpand"

Function = Callable[..., Any]

# Bound functions are copies; a caller that passes a copy means the original.
_ORIGINALS: WeakKeyDictionary[FunctionType, FunctionType] = WeakKeyDictionary()


class Target(ABC):
    """One way of compiling: decorators, and the functions bound to it.

    Parameters
    ----------
    name : str
        Name under which generated modules import it.
    exchanged : mapping
        Plain functions and what stands for each of them on this target; for every target the
        primitives of `resexpand.codegen.elementary.bits`.
    """

    def __init__(self, name: str, exchanged: Mapping[Function, Any]) -> None:
        self.name = name
        self._bound: dict[Function, Any] = dict(exchanged)
        self._scopes: dict[str, dict[str, Any]] = {}
        self._named: dict[str, Any] | None = None

    @abstractmethod
    def scalar(self, function: Function) -> Any:
        """Compile a function that is inlined into its callers."""

    @abstractmethod
    def chunk(self, function: Function) -> Any:
        """Compile a piece of a long expression: called, never inlined."""

    @abstractmethod
    def reduction(self, function: Function) -> Any:
        """Compile a sum of many terms, which may be added in any order."""

    def average(self, function: Function) -> Any:
        """Compile the quadrature of an average."""
        return self.reduction(function)

    @abstractmethod
    def driver(self, function: Function) -> Any:
        """Compile a loop over arrays, kept on disk."""

    real: Callable[[Any], Any] = float
    """Turns a whole number into a number of the precision of the target."""
    nan: Any = math.nan
    """Not a number, of the same precision."""

    def exchange(self, plain: Function, substitute: Any) -> None:
        """Let something else stand for a plain function wherever it is called on this target.

        Must come before the first caller of the function is bound.
        """
        self._bound[_plain(plain)] = substitute

    def bind(self, function: Function, role: Callable[[Function], Any] | None = None) -> Any:
        """Return a compiled copy of a function, with its callees compiled for this target, too.

        Parameters
        ----------
        function : callable
            A plain function, or one compiled by Numba for the CPU, whose plain text is then taken.
            Its callees are found among the global names it uses and the variables it closes over;
            those that live in this package are bound in their turn, all others stay.
        role : callable, optional
            `scalar` (the default), `chunk`, `reduction` or `driver`; the callees are scalar.
        """
        plain = _plain(function)
        if plain not in self._bound:
            scope = self._scope(plain.__module__, plain.__globals__)
            cells = None if plain.__closure__ is None else tuple(map(_copied, plain.__closure__))
            copy = FunctionType(plain.__code__, scope, plain.__name__, plain.__defaults__, cells)
            copy.__module__, copy.__qualname__ = plain.__module__, plain.__qualname__
            _ORIGINALS[copy] = plain
            # Noted before its callees are bound, so that functions may call each other.
            self._bound[plain] = (role or self.scalar)(copy)
            for name in plain.__code__.co_names:
                if name in scope:
                    scope[name] = self._callee(scope[name])
            for cell in cells or ():
                cell.cell_contents = self._callee(cell.cell_contents)
        return self._bound[plain]

    def bound(
        self, module: ModuleType, roles: Mapping[str, Callable[[Function], Any]] | None = None
    ) -> dict[str, Any]:
        """Return every function that a module defines, bound to this target, by name.

        Parameters
        ----------
        module : module
            Its functions may be plain or compiled for the CPU.
        roles : mapping, optional
            Name to `scalar`, `chunk`, `reduction` or `driver`; scalar by default.
        """
        return {
            name: self.bind(value, (roles or {}).get(name))
            for name, value in vars(module).items()
            if _is_function(value) and _plain(value).__module__ == module.__name__
        }

    def function(self, name: str) -> Any:
        """Return the compiled elementary function of that name.

        Raises
        ------
        UnsupportedError
            If there is no such function.
        """
        if self._named is None:
            self._named = self.elementary()
        if name not in self._named:
            raise UnsupportedError(
                f"the elementary function {name!r}",
                f"target {self.name!r} has no such function",
                f"use one of {', '.join(sorted(self._named))}",
            )
        return self._named[name]

    def elementary(self) -> dict[str, Any]:
        """Return every elementary function by name, bound to this target."""
        named: dict[str, Any] = {}
        for module in MODULES:
            named.update(self.bound(module))
        return named

    def panel(self, name: str) -> Any:
        """Return a function of the panels of a quadrature, compiled for this target."""
        return self.bind(vars(panels)[name], self.chunk)

    def _scope(self, module: str, namespace: dict[str, Any]) -> dict[str, Any]:
        """Return this target's copy of the namespace of a module."""
        if module not in self._scopes:
            self._scopes[module] = dict(namespace)
        return self._scopes[module]

    def _callee(self, value: Any) -> Any:
        """Return what stands for a value that a bound function uses."""
        if not _is_function(value):
            return value
        plain = _plain(value)
        if plain in self._bound:
            return self._bound[plain]
        return self.bind(plain) if plain.__module__.partition(".")[0] == PACKAGE else value


class Plain:
    """Nothing is compiled: the same text runs as Python, for debugging and for comparison."""

    name = "plain"
    real, nan = float, math.nan

    @staticmethod
    def scalar(function: Function) -> Function:
        """Return the function as it is."""
        return function

    chunk = reduction = average = driver = scalar

    @staticmethod
    def panel(name: str) -> Any:
        """Return a function of the panels of a quadrature."""
        return vars(panels)[name]

    @staticmethod
    def function(name: str) -> Callable[..., float]:
        """Return the plain elementary function of that name."""
        for module in MODULES:
            value = vars(module).get(name)
            if isinstance(value, FunctionType) and value.__module__ == module.__name__:
                return value
        raise UnsupportedError(f"the elementary function {name!r}", "there is no such function")


def _is_function(value: Any) -> bool:
    return isinstance(getattr(value, "py_func", value), FunctionType)


def _plain(value: Any) -> FunctionType:
    """Return the plain function behind one that Numba compiled, or itself."""
    plain: FunctionType = getattr(value, "py_func", value)
    return _ORIGINALS.get(plain, plain)


def _copied(cell: CellType) -> CellType:
    return CellType(cell.cell_contents)
