"""`Callee`: a function that compiled code calls, compiled without an entry from Python.

An entry unpacks every argument from its Python object; for a short function that takes longer to
compile than the function itself, and only drivers are called from Python. A callee that is called
all the same, in a test or at a prompt, gets an entry then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from numba import njit
from numba.core.registry import CPUDispatcher


class Callee(CPUDispatcher):
    """A function of compiled code.

    Parameters
    ----------
    function : callable
        A plain function.
    **options
        Those of `numba.njit`.
    """

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        options |= {"nopython": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
        super().__init__(function, targetoptions=options)

    def __call__(self, *arguments: Any) -> Any:
        """Call the function from Python."""
        return self._entry(*arguments)

    @cached_property
    def _entry(self) -> Callable[..., Any]:
        # Without this, Numba would jump to an entry that does not exist.
        callee, nogil = self, self.targetoptions.get("nogil", False)

        @njit(nogil=nogil)  # type: ignore[untyped-decorator]
        def entry(*arguments: Any) -> Any:
            return callee(*arguments)

        called: Callable[..., Any] = entry
        return called
