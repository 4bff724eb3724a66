"""`callee`: a function that compiled code calls, compiled without an entry from Python.

An entry unpacks every argument from its Python object; for a short function that takes longer to
compile than the function itself, and only drivers are called from Python. A callee that is called
all the same, in a test or at a prompt, gets an entry then.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from numba import njit
from numba.core.registry import CPUDispatcher

OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract", "nsz"}}
"""Options of all code of the CPU: products and sums may be fused, the sign of zero is free."""


class Callee(CPUDispatcher):
    """A function of compiled code; `callee` makes it."""

    def __call__(self, *arguments: Any) -> Any:
        """Call the function from Python."""
        return self._entry(*arguments)

    @cached_property
    def _entry(self) -> Callable[..., Any]:
        # Without this, Numba would jump to an entry that does not exist.
        inner, nogil = self, self.targetoptions.get("nogil", False)

        @njit(nogil=nogil)  # type: ignore[untyped-decorator]
        def entry(*arguments: Any) -> Any:
            return inner(*arguments)

        called: Callable[..., Any] = entry
        return called


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause Python's garbage collector: it takes a seventh of the time of a compilation.

    Numba makes millions of objects that live until the machine code stands, and the collector looks
    through all of them again and again.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def callee(function: Callable[..., Any], **options: Any) -> Callee:
    """Return a function to be compiled for those that call it; the options are those of `njit`."""
    options |= {"nopython": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return Callee(function, targetoptions=options)
