"""Who works on a network: one thread, or a group of them in step.

The loops over neurons of this folder are written once, for both targets. On the CPU one thread
draws a network; on a GPU the threads of one block do, its *lanes*. Each of them runs the whole
text, loops take every entry that is its own,

    for turn in range(turns(n)):
        i = entry(turn)

and everything beside these loops is done by all lanes alike. Three rules make that one program:

- A function that writes entries of columns meets at its end (`meet`), so that whoever comes next
  may read what other lanes wrote. Within it, an entry may be read by the lane that wrote it.
- A sum over neurons is the sum of the lanes' sums (`over_lanes`), in the same order every time;
  all lanes get it, after they met. What follows from such sums alone is the same for all lanes,
  so they take the same branches and meet at the same places.
- A number that is no entry of a column, such as one of a triangular factor, is written by the lane
  that leads (`leads`) and read after the next meeting.

On the CPU all of this vanishes: `turns(n)` is n, and the compiled loops are those of `range(n)`.
What stands for it on a GPU is in `resexpand.montecarlo.cuda.lanes`.

Memory comes from two flat arrays: near, the shared memory of a block, empty on the CPU; and far,
which the caller of a sampler hands out. `room` takes from the near one what fits.
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
def turns(n: int) -> int:
    """Return how many of n entries fall to this lane."""
    return n


@inlined
def entry(turn: int) -> int:
    """Return which entry this lane takes in its turn: with many lanes, every so many-th."""
    return turn


@inlined
def leads() -> bool:
    """Return whether this lane writes what is written once."""
    return True


@inlined
def meet() -> None:
    """Wait until all lanes are here; each then sees what the others wrote."""
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
    """Return how many groups there are: each takes every so many-th network."""
    return 1


@inlined
def at_once(size: int, cached: int) -> int:
    """Return how much of a loop is done before the next begins: what the cache holds, or all."""
    return max(min(size, cached), 1)


@inlined
def memories(memory: Floats) -> tuple[Floats, Floats]:
    """Return near and far memory of this group, whose row of the far one is given with the others.

    Near is what only this group can see; on the CPU it is empty.
    """
    far = memory[group()]
    return far[:0], far


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
    """Compile `view`: pointer, shape and strides put together, without a look at the size."""
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
            meminfo=None,  # whoever called the sampler holds the memory
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
def again(array: Floats) -> Floats:
    """Return the array; addresses in it are to be found again, not kept from before."""
    return array


@loop
def clear(flat: Floats) -> None:
    """Write zeros."""
    for turn in range(turns(flat.size)):
        i = entry(turn)
        flat[i] = 0.0
    meet()


@loop
def room(near: Floats, far: Floats, shape: Shape) -> tuple[Floats, Floats, Floats]:
    """Return an array of zeros, and what is left of the two memories."""
    size = entries_of(shape)
    if size <= near.size:
        clear(near[:size])
        return shaped(near, shape), near[size:], far
    clear(far[:size])
    return shaped(far, shape), near, far[size:]


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


def memory_for(near: int, shapes: tuple[Shape, ...]) -> tuple[int, int]:
    """Return how many entries of the near and of the far memory some arrays take, in this order.

    Parameters
    ----------
    near : int
        Entries that the near memory may have.
    shapes : tuple of tuple of int
        As the sampler asks `room` for them.
    """
    used = far = 0
    for size in map(math.prod, shapes):
        if size <= near - used:
            used += size
        else:
            far += size
    return used, far
