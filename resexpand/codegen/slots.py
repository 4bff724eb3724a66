"""`Slots`: calls whose functions are given by address when a driver runs.

A driver that calls the maps of a network by address is compiled once for all activations. Its text
names each of them as a slot,

    slots = Slots()
    inputs_0 = slots.add("inputs_0")

and calls ``inputs_0(maps, source, target, ...)``, where `maps` is the array of addresses that
`addresses` returns. What a slot is called with is known once the driver is compiled; the types are
kept with its machine code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import typeof, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from resexpand.codegen.callee import uncollected
from resexpand.codegen.store import warn_unkept

NO_MAPS = np.zeros(0, np.int64)

Calls = list[tuple[str, Any]]


class Slots:
    """The slots of one driver.

    Attributes
    ----------
    calls : list of (str, signature)
        Name and types of every call, in the order of the addresses.
    names : list of str
        Names of the functions.
    known : dict
        Addresses by the types of the driver and the functions.
    """

    def __init__(self) -> None:
        self.calls: Calls = []
        self.names: list[str] = []
        self.known: dict[tuple[Any, ...], NDArray[np.int64]] = {}

    def add(self, name: str, results: int = 0) -> Any:
        """Return what compiled code calls.

        Parameters
        ----------
        name : str
            Of the function.
        results : int
            How many numbers it returns.
        """
        self.names.append(name)
        returned = types.UniTuple(types.float64, results) if results > 1 else types.float64
        returned = returned if results else types.none

        def typed(typing_context: Any, maps: Any, *given: Any) -> Any:
            taken = tuple(map(types.unliteral, given))
            place = self._place(name, returned(*taken))

            def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                array = context.make_array(maps)(context, builder, arguments[0])
                address = builder.load(cgutils.gep(builder, array.data, place))
                kind = context.call_conv.get_function_type(returned, taken)
                function = builder.inttoptr(address, kind.as_pointer())
                values = cgutils.unpack_tuple(builder, arguments[1], len(taken))
                status, value = context.call_conv.call_function(
                    builder, function, returned, taken, values
                )
                with cgutils.if_unlikely(builder, status.is_error):
                    context.call_conv.return_status_propagate(builder, status)
                return value

            return returned(maps, types.StarArgTuple(taken)), generated

        return intrinsic(typed)

    def restore(self, calls: Calls) -> bool:
        """Take over the calls of machine code from the disk; return whether they fit."""
        if not self.calls:
            self.calls = list(calls)
        return self.calls == list(calls)

    def _place(self, name: str, signature: Any) -> int:
        if (name, signature) not in self.calls:
            self.calls.append((name, signature))
        return self.calls.index((name, signature))


def addresses(
    driver: Any, slots: Slots, functions: Mapping[str, Any], arguments: tuple[Any, ...]
) -> NDArray[np.int64]:
    """Return the addresses with which a driver is called.

    Parameters
    ----------
    driver : callable
        Takes them first.
    slots : Slots
        Of its module.
    functions : mapping
        Compiled functions by the names of the slots.
    arguments : tuple
        Arguments of the driver behind the addresses; their types matter.
    """
    given = tuple(map(typeof, (NO_MAPS, *arguments)))
    key = given, *(functions.get(name) for name in slots.names)
    if key not in slots.known:
        with uncollected():
            try:
                driver.compile(given)
            except OSError as error:  # compiled, and not written: it is found in memory
                warn_unkept(error)
            listed = [_address(functions[name], each) for name, each in slots.calls]
        slots.known[key] = np.array(listed, np.int64)
    return slots.known[key]


def _address(function: Any, signature: Any) -> int:
    """Return the address of a function for some types, compiled or read from the disk."""
    function.compile(signature)
    compiled = function.overloads[signature.args]
    address: int = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    return address
