"""All threads of a block come to every barrier together, in the text that is assembled.

`barriers.stray_barriers` reads the control flow of PTX; the kernels below are those that wait for
each other: quadratures shared by threads, samplers, and the transposition of results. Quick checks
of the first two stand beside those of their registers, where the text is at hand.
"""

from __future__ import annotations

import pytest
from barriers import stray_barriers
from inspection import kernels_of, signature
from offline import ptx_of
from routine_cases import REGISTRY as ROUTINES
from sampler_cases import REGISTRY as SAMPLERS
from sampler_cases import sampler

WIDTH = 33

SHARED = ("tanh: kernel of two inputs", "kinked bump: kernel of two inputs")


def waiting(kernel, given):
    """Return the number of barriers of a kernel, and those that are stray."""
    return stray_barriers(ptx_of(kernel, given))


def kernels_of_routines(names):
    """Yield the kernels that take all layers, with what they are given, by case."""
    for name in names:
        yield name, *kernels_of(ROUTINES[name]())["run"]


def kernels_of_samplers(names):
    """Yield the kernels that draw networks, with what they are given, by case."""
    for name in names:
        drawn = sampler(name, WIDTH, "cuda")
        yield name, drawn.text.draw_networks, signature(drawn.layout)


def strays(kernels):
    """Return stray barriers by case; every kernel must have barriers at all."""
    found = {name: waiting(kernel, given) for name, kernel, given in kernels}
    assert all(count for count, _ in found.values())
    return {name: stray for name, (_, stray) in found.items() if stray}


def test_launches_are_large_enough_not_to_be_warned_of(numba_cuda):
    from resexpand.codegen.cuda.arrays import LEAST_BLOCKS, threads_and_blocks
    from resexpand.codegen.cuda.launch import rectangle

    assert LEAST_BLOCKS == 128
    for count in (1, 5, 128, 129, 10**6):
        blocks, threads = threads_and_blocks(count)
        assert blocks >= 128
        assert count <= blocks * threads <= max(128 * 128, count + 128)
        for columns in (2, 7, 101):
            grid, block = rectangle(count, columns)
            assert grid[0] * grid[1] >= 128
            assert grid[0] * block[0] >= count
            assert grid[1] * block[1] >= columns


@pytest.mark.slow
def test_threads_meet_in_every_kernel(numba_cuda):
    shared = [name for name in ROUTINES if name.startswith(("tanh: ", "gelu: ", "kinked bump: "))]
    assert strays(kernels_of_routines([*SHARED, *shared])) == {}
    assert strays(kernels_of_samplers(SAMPLERS)) == {}


def test_threads_that_transpose_meet(numba_cuda):
    from numba.cuda import types

    from resexpand.codegen.cuda.arrays import transposing

    matrix = types.Array(types.float64, 2, "C")
    given = types.void(matrix, matrix, types.int64)
    count, stray = waiting(transposing(), given)
    assert (count, stray) == (1, [])


def test_a_stray_barrier_is_found(numba_cuda):
    # The control: one thread may leave, or passes another way, before the barrier.
    from numba import cuda
    from numba.cuda import types

    def parted(x):
        if x[cuda.threadIdx.x] > 0.0:
            cuda.syncthreads()
        x[0] = 1.0

    def stepping(x, step):
        if cuda.threadIdx.x < 3:
            for i in range(0, x.size, step):  # a step of zero is an error
                x[i] += 1.0
        cuda.syncthreads()
        x[0] = 1.0

    def together(x, step):
        if cuda.threadIdx.x < 3:
            for i in range(step):
                x[i] += 1.0
        cuda.syncthreads()
        if x[0] > 1.0:
            cuda.syncthreads()

    vector = types.Array(types.float64, 1, "C")
    assert len(waiting(parted, types.void(vector))[1]) == 1
    assert len(waiting(stepping, types.void(vector, types.int64))[1]) == 1
    assert waiting(together, types.void(vector, types.int64)) == (2, [])
