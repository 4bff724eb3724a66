"""Uniform numbers for the noise of maps: masks of neurons, coins of blocks.

A random word x of 32 bits gives ``u = (x + 1/2) / 2^32``, so that ``u < keep`` has the probability
`keep` to 2^-33. Neuron i of a column of padded length P has word ``i // (P/4)`` of the counter
``i % (P/4)``: so the numbers of neighbouring counters leave the vector units in the order in which
they lie in memory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.jit import inlined, loop
from resexpand.montecarlo.lanes import barrier, lane_entry, lane_share
from resexpand.montecarlo.random.normals import BLOCK, INTEGER_BITS, INTEGER_SHIFT, float_of
from resexpand.montecarlo.random.philox import philox4x32
from resexpand.montecarlo.random.streams import NOISE, stream_word

Place = tuple[np.uint64, np.uint64, int, np.uint64]
UNIT = 2.0**-32
HALF_UNIT = 2.0**-33


@inlined
def uniform(word: np.uint64) -> float:
    """Return (word + 1/2) / 2^32."""
    return (float_of(word | INTEGER_BITS) - INTEGER_SHIFT) * UNIT + HALF_UNIT


@loop
def write_uniforms(place: Place, vector: int, column: int, out: NDArray[np.float64]) -> None:
    """Write one uniform number per neuron of a column; the size of `out` is a multiple of 4."""
    key0, key1, layer, draw = place
    word, index, n = stream_word(layer, NOISE), np.uint64(vector + column), out.size // BLOCK
    first, second, third, fourth = out[:n], out[n:], out[2 * n :], out[3 * n :]
    for turn in range(lane_share(n)):
        k = lane_entry(turn)
        a, b, c, d = philox4x32(np.uint64(k), index, word, draw, key0, key1)
        first[k] = uniform(a)
        second[k] = uniform(b)
        third[k] = uniform(c)
        fourth[k] = uniform(d)
    barrier()


@loop
def write_uniform(place: Place, vector: int, column: int, out: NDArray[np.float64]) -> None:
    """Write one uniform number for all neurons of a column."""
    key0, key1, layer, draw = place
    index = np.uint64(vector + column)
    a, _, _, _ = philox4x32(np.uint64(0), index, stream_word(layer, NOISE), draw, key0, key1)
    for turn in range(lane_share(out.size)):
        i = lane_entry(turn)
        out[i] = uniform(a)
    barrier()
