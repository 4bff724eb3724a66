"""`outlined`: machine code that calls a library function by its address instead of containing it.

Numba links every callee into its caller: the loops of a library would be optimised and written
out again with each generated module that calls them, which takes longer than the module itself. An
outlined function is an external symbol for the modules that call it. Symbols are named by module,
function, types and digest of the library, so that machine code from the disk means the same
function in every process.

LLVM ends the process at an unknown symbol. So each stored module lists the functions it calls
(`Linked`), and they are compiled, or read from the disk, before the module itself is read.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from copy import copy
from importlib import import_module
from typing import Any

import llvmlite.binding as llvm
from numba.core.caching import CompileResultCacheImpl
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher
from numba.core.sigutils import normalize_signature

from resexpand.codegen.callee import Callee
from resexpand.codegen.kept import SealedCache
from resexpand.codegen.slots import Slots

PREFIX = "resexpand"
SYMBOL = re.compile(rb"resexpand:[\w.]+:\w+:[0-9a-f]{32}")

_NEEDS: dict[str, tuple[str, str, str, Any]] = {}
"""Module, name, digest and types of every symbol of this process."""
_OUTLINED: dict[tuple[str, str, str], Outlined] = {}


class Outlined(CPUDispatcher):
    """A function that its callers reach by a symbol; `outlined` makes it."""

    def __init__(self, inner: Callee, digest: str) -> None:
        super().__init__(inner.py_func, targetoptions=inner.targetoptions)
        self.inner, self._digest = inner, digest

    def __call__(self, *arguments: Any) -> Any:
        """Call the function from Python."""
        return self.inner(*arguments)

    def compile(self, sig: Any) -> Any:
        """Compile the function for some types, or read it from the disk, and define its symbol."""
        types, _ = normalize_signature(sig)
        with global_compiler_lock:
            if tuple(types) not in self.overloads:
                self.inner.compile(sig)
                self._define(self.inner.overloads[tuple(types)])
        return self.overloads[tuple(types)].entry_point

    def _define(self, compiled: Any) -> None:
        name = self._symbol(compiled.signature)
        library, own = compiled.library, compiled.fndesc
        llvm.add_symbol(name, library.get_pointer_to_function(own.llvm_func_name))
        described = copy(own)
        described.mangled_name = name

        def entry() -> None:  # what Numba knows the function by
            raise NotImplementedError(name)

        self.targetctx.insert_user_function(entry, described, ())
        known = compiled._replace(entry_point=entry, fndesc=described)
        self.overloads[tuple(compiled.signature.args)] = known

    def _symbol(self, signature: Any) -> str:
        module, name = self.py_func.__module__, self.py_func.__qualname__
        key = hashlib.sha256(f"{self._digest} {signature}".encode()).hexdigest()[:32]
        symbol = f"{PREFIX}:{module}:{name}:{key}"
        _NEEDS[symbol] = (module, name, self._digest, tuple(signature.args))
        return symbol


def outlined(function: Any, digest: str) -> Any:
    """Return what stands for a library function in generated modules.

    Parameters
    ----------
    function : callable
        A function of a library. One that is inlined or made by a factory is returned as it is.
    digest : str
        Differs when any file of the library does.
    """
    if not isinstance(function, Callee) or function.targetoptions.get("forceinline"):
        return function
    plain = function.py_func
    if plain.__closure__ is not None or not plain.__qualname__.isidentifier():
        return function  # no other process finds it by its name
    place = plain.__module__, plain.__qualname__, digest
    if place not in _OUTLINED:
        _OUTLINED[place] = Outlined(function, digest)
    return _OUTLINED[place]


class Linked(SealedCache):
    """Numba's cache of a function that calls outlined ones, and others through slots."""

    class _impl_class(CompileResultCacheImpl):
        def __init__(self, function: Any) -> None:
            super().__init__(function)
            self._slots = function.__globals__.get("slots")

        def reduce(self, compiled: Any) -> Any:
            """Return what is kept: the functions that the machine code calls, and itself."""
            reduced = super().reduce(compiled)
            _, _, (machine_code, _) = reduced[0]
            found = sorted({match.decode() for match in SYMBOL.findall(machine_code)})
            calls = self._slots.calls if isinstance(self._slots, Slots) else []
            return [_NEEDS[symbol] for symbol in found], calls, reduced

        def rebuild(self, context: Any, kept: Any) -> Any:
            """Return the compiled function, behind those it calls; None if its slots differ."""
            needs, calls, reduced = kept
            if isinstance(self._slots, Slots) and not self._slots.restore(calls):
                return None
            for module, name, digest, types in needs:
                outlined(getattr(import_module(module), name), digest).compile(types)
            return super().rebuild(context, reduced)


class LinkedCallee(Linked):
    """The cache of a function that others call: where the disk is full, theirs warns of it."""

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write the machine code of a signature, if there is room."""
        with suppress(OSError):
            super().save_overload(sig, data)
