"""GPU versions of the functions of `resexpand.montecarlo.lanes`: lanes are threads of one block.

Sums over lanes go through shared memory in the order of a binary tree, which is the same every
time; the number of lanes is a power of two. Warp shuffles would save steps, but the simulator has
none. All shared memory is that of the launch: arrays of fixed size, in a function that several
others call, would be defined several times.

Importing this module exchanges the primitives on the target ``cuda``; a generated sampler does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import cuda
from numba.cuda import types
from numba.cuda.extending import intrinsic

from resexpand.codegen.cuda.target import SIMULATED
from resexpand.codegen.cuda.target import cuda_target as target
from resexpand.codegen.target import Function
from resexpand.montecarlo import lanes
from resexpand.montecarlo.random import philox

SUMS = 2
"""Sums formed at a time; their numbers, one per lane, lie first in the shared memory of a block."""


def lane_share(n: int) -> int:
    """Return the number of entries of this thread; a shift, since the number of lanes is 2^k."""
    count = cuda.blockDim.x
    return int(np.uint32(n + count - 1 - cuda.threadIdx.x) >> np.uint32(31 - cuda.clz(count)))


def lane_entry(turn: int) -> int:
    """Return the entry of a turn: neighbouring threads take neighbouring entries.

    The index is unsigned in between, so that the compiler emits no test for negative indices.
    """
    return int(np.uint32(cuda.threadIdx.x + turn * cuda.blockDim.x))


def is_leader() -> bool:
    """Return whether this is the first thread of the block."""
    return bool(cuda.threadIdx.x == 0)


def barrier() -> None:
    """Wait for all threads of the block."""
    cuda.syncthreads()


def over_lanes(number: float) -> float:
    """Return the sum over the threads of the block."""
    me, half = cuda.threadIdx.x, cuda.blockDim.x >> 1
    # A tree of fixed shape: the same sum in every run, which atomic additions would not give.
    sums = cuda.shared.array(0, types.float64)
    sums[me] = number
    cuda.syncthreads()
    while half > 0:
        if me < half:
            sums[me] += sums[me + half]
        cuda.syncthreads()
        half >>= 1
    # All read the sum before a thread may overwrite it in the next call.
    total = sums[0]
    cuda.syncthreads()
    return float(total)


def pair_over_lanes(x: float, y: float) -> tuple[float, float]:
    """Return two sums over the threads of the block, each in the order of `over_lanes`."""
    me, count = cuda.threadIdx.x, cuda.blockDim.x
    sums = cuda.shared.array(0, types.float64)
    sums[me] = x
    sums[count + me] = y
    cuda.syncthreads()
    half = count >> 1
    while half > 0:
        if me < half:
            sums[me] += sums[me + half]
            sums[count + me] += sums[count + me + half]
        cuda.syncthreads()
        half >>= 1
    first, second = sums[0], sums[count]
    cuda.syncthreads()
    return float(first), float(second)


def group() -> int:
    """Return the number of the block."""
    return int(cuda.blockIdx.x)


def group_count() -> int:
    """Return the number of blocks."""
    return int(cuda.gridDim.x)


def at_once(size: int, cached: int) -> int:
    """Return the whole size: the loops of a block are not cut into pieces."""
    return max(size, 1)


def memories(memory: Any) -> Any:
    """Return the shared memory behind that of the sums, and the block's row of global memory."""
    shared = cuda.shared.array(0, types.float64)
    return shared[SUMS * cuda.blockDim.x :], memory[cuda.blockIdx.x]


def _typed_opaque(typing_context: Any, array: Any) -> Any:
    """Force a reload of the address: addresses kept over the layers would fill registers."""

    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(array)(context, builder, arguments[0])
        kind, wide = view.data.type, ir.IntType(64)
        instruction = ir.InlineAsm(
            ir.FunctionType(wide, [wide]), "mov.u64 $0, $1;", "=l,l", side_effect=True
        )
        hidden = builder.call(instruction, [builder.ptrtoint(view.data, wide)])
        view.data = builder.inttoptr(hidden, kind)
        return view._getvalue()

    return array(array), generated


def _typed_product(typing_context: Any, a: Any, b: Any) -> Any:
    """Multiply the low words by one instruction; from 64-bit numbers the compiler makes three."""

    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word, wide = ir.IntType(32), ir.IntType(64)
        instruction = ir.InlineAsm(
            ir.FunctionType(wide, [word, word]), "mul.wide.u32 $0, $1, $2;", "=l,r,r"
        )
        return builder.call(instruction, [builder.trunc(x, word) for x in arguments])

    return types.uint64(types.uint64, types.uint64), generated


def _typed_fresh(typing_context: Any, word: Any) -> Any:
    """Make a number opaque: the ten keys derived from it would otherwise fill registers."""

    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(64)
        instruction = ir.InlineAsm(
            ir.FunctionType(wide, [wide]), "mov.u64 $0, $1;", "=l,l", side_effect=True
        )
        return builder.call(instruction, arguments)

    return types.uint64(types.uint64), generated


def _exchange() -> None:
    substitutes: dict[Function, Function] = {
        lanes.lane_share: lane_share,
        lanes.lane_entry: lane_entry,
        lanes.is_leader: is_leader,
        lanes.barrier: barrier,
        lanes.over_lanes: over_lanes,
        lanes.pair_over_lanes: pair_over_lanes,
        lanes.group: group,
        lanes.groups: group_count,
        lanes.at_once: at_once,
        lanes.memories: memories,
    }
    for plain, substitute in substitutes.items():
        target.exchange(plain, target.scalar(substitute))
    # The simulator runs Python: it has neither addresses nor machine instructions.
    if not SIMULATED:
        target.exchange(lanes.shaped, intrinsic(lanes.typed_view))
        target.exchange(lanes.opaque, intrinsic(_typed_opaque))
        target.exchange(philox.product, intrinsic(_typed_product))
        target.exchange(philox.fresh, intrinsic(_typed_fresh))


_exchange()
