"""Lanes: the threads that draw one network in step, one on the CPU and many on a GPU.

The loops over neurons of this folder are written once, for both targets. On the CPU one thread
draws a network; on a GPU the threads of one block do, its *lanes*. Each lane runs the whole text,
and its loops take the entries of this lane,

    for turn in range(lane_share(n)):
        i = lane_entry(turn)

and everything beside these loops is done by all lanes alike. Three rules make that one program:

- A function that writes entries of columns ends with a `barrier`; behind it every lane may read
  every entry. Within the function, a lane may read only the entries that it wrote.
- A sum over neurons is the sum of the lanes' sums (`over_lanes`), in the same order every time,
  and all lanes get it. Numbers computed from such sums alone are the same for all lanes, so that
  all lanes take the same branches and reach the same barriers.
- Numbers that are no entries of columns, such as those of a triangular factor, are written by one
  lane (`is_leader`) and read behind the next barrier.

On the CPU all of this vanishes: `lane_share(n)` is n, and compiled loops are those of `range(n)`.
The GPU versions of these functions are in `resexpand.montecarlo.cuda.lanes`.

Memory comes from two flat arrays: the shared memory of a block, empty on the CPU, and a remote
array that the caller of a sampler allocates. `buffer` takes shared memory as long as it lasts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from resexpand.montecarlo.jit import inlined, loop

CACHE_LINE = 64
"""Bytes."""

Floats = NDArray[np.float64]
Shape = tuple[int, ...]


@inlined
def lane_share(n: int) -> int:
    """Return the number of entries, out of n, that belong to this lane."""
    return n


@inlined
def lane_entry(turn: int) -> int:
    """Return the index of an entry of this lane; lanes take entries in rotation."""
    return turn


@inlined
def is_leader() -> bool:
    """Return whether this lane writes the numbers that are written once."""
    return True


@inlined
def barrier() -> None:
    """Wait for all lanes; behind the barrier each sees what the others wrote."""
    return


@inlined
def over_lanes(number: float) -> float:
    """Return the sum of a number over the lanes, always in the same order, to all of them."""
    return number


@inlined
def pair_over_lanes(x: float, y: float) -> tuple[float, float]:
    """Return the sums of two numbers over the lanes, as `over_lanes` does."""
    return x, y


@inlined
def group() -> int:
    """Return the number of this group of lanes."""
    return 0


@inlined
def groups() -> int:
    """Return the number of groups; groups take networks in rotation."""
    return 1


@inlined
def at_once(size: int, cached: int) -> int:
    """Return the length of the pieces in which a loop runs: what fits into the cache, or all."""
    return max(min(size, cached), 1)


@inlined
def memories(memory: Floats) -> tuple[Floats, Floats]:
    """Return the shared memory of this group, and its row of the remote memory.

    Shared memory is visible to this group alone; on the CPU it is empty.
    """
    remote = memory[group()]
    return remote[:0], remote


@inlined
def entries_of(shape: Shape) -> int:
    """Return the number of entries of an array."""
    product = 1
    for length in shape:
        product *= length
    return product


def view(flat: Floats, shape: Shape) -> Floats:
    """Return the first entries of a flat array, as an array of that shape."""
    return flat[: math.prod(shape)].reshape(shape)


def typed_view(typing_context: Any, flat: Any, shape: Any) -> Any:
    """Compile `view`: pointer, shape and strides put together without a check of the size."""
    result = flat.copy(ndim=len(shape))

    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source = context.make_array(flat)(context, builder, arguments[0])
        array = context.make_array(result)(context, builder)
        lengths = [builder.extract_value(arguments[1], k) for k in range(len(shape))]
        strides: list[Any] = []
        stride = source.itemsize
        for length in reversed(lengths):
            strides.insert(0, stride)
            stride = builder.mul(stride, length)
        context.populate_array(
            array,
            data=source.data,
            shape=lengths,
            strides=strides,
            itemsize=source.itemsize,
            meminfo=None,  # the caller of the sampler holds a reference to the memory
        )
        return array._getvalue()

    return result(flat, shape), generated


compiled_view = intrinsic(typed_view)


def _overloaded(flat: Any, shape: Any) -> Any:
    def implementation(flat: Any, shape: Any) -> Any:
        return compiled_view(flat, shape)

    return implementation


overload(view, jit_options={"forceinline": True})(_overloaded)


@inlined
def shaped(flat: Floats, shape: Shape) -> Floats:
    """Return the first entries of a flat array, as an array of that shape."""
    return view(flat, shape)


@inlined
def opaque(array: Floats) -> Floats:
    """Return the array; on a GPU its address is loaded anew instead of being kept in registers."""
    return array


@loop
def clear(flat: Floats) -> None:
    """Write zeros."""
    for turn in range(lane_share(flat.size)):
        i = lane_entry(turn)
        flat[i] = 0.0
    barrier()


@loop
def buffer(shared: Floats, remote: Floats, shape: Shape) -> tuple[Floats, Floats, Floats]:
    """Return an array of zeros, and the rest of the two memories."""
    size = entries_of(shape)
    if size <= shared.size:
        clear(shared[:size])
        return shaped(shared, shape), shared[size:], remote
    clear(remote[:size])
    return shaped(remote, shape), shared, remote[size:]


def aligned_row(size: int) -> Floats:
    """Return uninitialised memory of shape (1, size) that begins with a line of the cache."""
    memory = np.empty(size + CACHE_LINE // 8)
    skipped = -memory.ctypes.data % CACHE_LINE // 8
    return memory[skipped : skipped + size].reshape(1, size)


def on_host(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a compiled function as plain Python, with its callees."""
    plain: Any = getattr(function, "py_func", function)
    scope = {name: getattr(value, "py_func", value) for name, value in plain.__globals__.items()}
    return FunctionType(plain.__code__, scope)


def memory_for(shared: int, shapes: tuple[Shape, ...]) -> tuple[int, int]:
    """Return the entries of shared and of remote memory that arrays take, in this order.

    Parameters
    ----------
    shared : int
        Entries of shared memory that are available.
    shapes : tuple of tuple of int
        As the sampler asks `buffer` for them.
    """
    used = remote = 0
    for size in map(math.prod, shapes):
        if size <= shared - used:
            used += size
        else:
            remote += size
    return used, remote
