"""Where each random vector of a network stands in the counter space.

Counter word 2 is `layer * 256 + stream`. Layer 0 is the input, layers 1 ... L are the blocks, layer
L+1 is what follows the last block (the read-out, or the branch read once more without adding it).
Streams of the two samplers are apart, so that equal seeds give independent weights; they share
only the input `h^0`.

    0         columns z_a of the input, `h^0 = z F`
    1         the random direction of a tangent
    2, 3      read-out weights, read-out bias
    4         function space: what the read-out weights are beyond their action on its columns
    5         noise of maps; word 1 is `(4 j + k) 2^24 + column`, k the number of the noise in
              operation j, and both samplers share it
    6         tangents that begin at a layer: index 0 a random direction, 1 ... D as other inputs
    16 + 2j   function space: the normals that stand for W and b of operation j of the branch; from
              index 2^24 on those of copies of W and b, in both samplers
    17 + 2j   function space: those that stand for the transpose of W beyond that; of rotations
              the bias, and from index 1 on those
    130 + 2j  dense: rows of the weight matrix of operation j; 131 + 2j its biases
"""

from __future__ import annotations

import numpy as np

from resexpand.montecarlo.jit import inlined, whole

INPUT, DIRECTION, READ_OUT_WEIGHTS, READ_OUT_BIAS, READ_OUT_TRANSPOSED = map(whole, range(5))
NOISE, BEGINNING = map(whole, (5, 6))
FUNCTION_SPACE_FIRST, TRANSPOSED_FIRST, DENSE_FIRST = map(whole, (16, 17, 130))
LARGEST_BRANCH = 56
"""Most operations in a branch: their streams must fit below 256 and below each other."""

STREAMS_PER_LAYER = 256


@inlined
def stream_word(layer: int, stream: int) -> np.uint64:
    """Return counter word 2 of a stream in a layer."""
    return np.uint64(layer * STREAMS_PER_LAYER + stream)
