"""Uniform numbers for the noise of maps: masks of neurons, coins of blocks.

Sixteen numbers come out of one Philox call, which has 128 bits. Let ``w_k`` be its four words and
``w_k <<< 8 p`` word k turned left by p bytes, p = 0 ... 3. Number (k, p) is

    u = (v + 1/2) / 2^32,      v = (w_k <<< 8 p) ^ (t_p mod 2^24),

with the exclusive sum t_p of the four words, turned by `TURNS`. Its upper byte is a byte of the
call, and the sixteen upper bytes are independent; the 24 lower bits matter if the upper byte equals
that of a threshold, once in 256 numbers. Any two numbers are independent on the lattice of 32 bits,
since the 64 linear forms of the 128 bits that they are have full rank; so are 546 of the 560 sets
of three (`test_masks_sampled`). Outcomes ``u < keep`` have the probability `keep` to 2^-33, and are
independent unless the upper bytes of three of the other sets, or of five numbers, equal that of
the threshold: joint probabilities are off by less than 2^-24 = 6e-8 of three, 2^-40 of five
outcomes. As finely resolved uniform numbers they are no good.

Neurons are taken in blocks of 1024, and what is left behind the last multiple of 32 in a block of
32. In a block of n, counter j of the block has the numbers (k, p) of the neurons
``4 (j + p n/16) + k``. With the neurons in the order in which normals are made (`add_in_quarters`:
quarter k holds the neurons ``4 j + k``), they lie in memory in the order in which neighbouring
counters leave the vector units.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.jit import inlined, loop
from resexpand.montecarlo.lanes import barrier, lane_entry, lane_share
from resexpand.montecarlo.random.normals import BLOCK, float_of
from resexpand.montecarlo.random.philox import philox4x32
from resexpand.montecarlo.random.streams import NOISE, stream_word

Place = tuple[np.uint64, np.uint64, int, np.uint64]
UNIT_BITS = np.uint64(0x40F0000000000000)
UNIT_SHIFT = 2.0**16 - 2.0**-33
# A word is held 16-fold: a mask that cuts through a half costs no operation of its own.
HELD, NUMBER_MASK, LOWER_MASK = np.uint64(4), np.uint64(0xFFFFFFFF0), np.uint64(0xFFFFFF0)
WORD, BY_1, BY_2, BY_3 = (np.uint64(bits) for bits in (32, 20, 12, 4))
NUMBERS = 16
"""Numbers of a Philox call."""

TURNS = (2, 3, 3, 1), (0, 2, 2, 0), (0, 0, 1, 1), (2, 1, 0, 0)
"""Bytes by which the words are turned in t_p."""

MASKED = 1024
REST = 32
"""Neurons of a block, and of one behind the last multiple of `LANES`."""


@inlined
def turned(word: np.uint64) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Return a word turned left by no, one, two and three bytes; bits beyond it mean nothing."""
    twice = word | (word << WORD)
    return word << HELD, twice >> BY_1, twice >> BY_2, twice >> BY_3


@inlined
def lower(a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64) -> np.uint64:
    """Return the lower bits that numbers share, with the exponent of 2^16 in front of them."""
    return ((a ^ b ^ c ^ d) & LOWER_MASK) ^ UNIT_BITS


@inlined
def uniform(word: np.uint64, shared: np.uint64) -> float:
    """Return (v + 1/2) / 2^32: v is written into the mantissa of 2^16."""
    return float_of((word & NUMBER_MASK) ^ shared) - UNIT_SHIFT


@loop
def write_in_quarters(
    place: Place, vector: int, column: int, first: int, out: NDArray[np.float64]
) -> None:
    """Write the numbers of the neurons ``first ...`` in the order of `add_in_quarters`.

    Parameters
    ----------
    place : tuple
        Key words, layer, draw.
    vector, column : int
        Index of the noise, and of its column.
    first : int
        First neuron, of a block.
    out : ndarray
        The result; whole blocks but for the last.
    """
    key0, key1, layer, draw = place
    word, index = stream_word(layer, NOISE), np.uint64(vector + column)
    quarter = out.size // BLOCK
    for start in range(0, out.size, MASKED):
        n, at = min(MASKED, out.size - start) // NUMBERS, (first + start) // NUMBERS
        o = out[start // BLOCK :]
        p, q, r = o[quarter:], o[2 * quarter :], o[3 * quarter :]
        for turn in range(lane_share(n)):
            k = lane_entry(turn)
            words = philox4x32(np.uint64(at + k), index, word, draw, key0, key1)
            a = turned(words[0])
            b = turned(words[1])
            c = turned(words[2])
            d = turned(words[3])
            low_0 = lower(a[2], b[3], c[3], d[1])
            low_1 = lower(a[0], b[2], c[2], d[0])
            low_2 = lower(a[0], b[0], c[1], d[1])
            low_3 = lower(a[2], b[1], c[0], d[0])
            o[k] = uniform(a[0], low_0)
            o[k + n] = uniform(a[1], low_1)
            o[k + 2 * n] = uniform(a[2], low_2)
            o[k + 3 * n] = uniform(a[3], low_3)
            p[k] = uniform(b[0], low_0)
            p[k + n] = uniform(b[1], low_1)
            p[k + 2 * n] = uniform(b[2], low_2)
            p[k + 3 * n] = uniform(b[3], low_3)
            q[k] = uniform(c[0], low_0)
            q[k + n] = uniform(c[1], low_1)
            q[k + 2 * n] = uniform(c[2], low_2)
            q[k + 3 * n] = uniform(c[3], low_3)
            r[k] = uniform(d[0], low_0)
            r[k + n] = uniform(d[1], low_1)
            r[k + 2 * n] = uniform(d[2], low_2)
            r[k + 3 * n] = uniform(d[3], low_3)
    barrier()


@loop
def write_uniforms(
    place: Place, vector: int, column: int, width: int, noise: NDArray[np.float64], row: int
) -> None:
    """Write one uniform number per neuron of a column to a row; the last row is scratch."""
    out, scratch = noise[row], noise[noise.shape[0] - 1]
    whole = width // REST * REST
    for first in range(0, out.size, MASKED):
        end = min(first + MASKED, whole)
        if first < whole:
            write_block(place, vector, column, first, scratch[: end - first], out[first:end])
    if whole < width:
        write_block(place, vector, column, whole, scratch[:REST], out[whole : whole + REST])


@loop
def write_block(
    place: Place,
    vector: int,
    column: int,
    first: int,
    scratch: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Write the numbers of a block in the order of the neurons."""
    write_in_quarters(place, vector, column, first, scratch)
    n = out.size // BLOCK
    o, p, q, r = scratch[:n], scratch[n:], scratch[2 * n :], scratch[3 * n :]
    for turn in range(lane_share(n)):
        k = lane_entry(turn)
        out[4 * k] = o[k]
        out[4 * k + 1] = p[k]
        out[4 * k + 2] = q[k]
        out[4 * k + 3] = r[k]
    barrier()


@inlined
def uniform_of(place: Place, vector: int, column: int) -> float:
    """Return the uniform number that all neurons of a column share."""
    key0, key1, layer, draw = place
    word, index = stream_word(layer, NOISE), np.uint64(vector + column)
    a, b, c, d = philox4x32(np.uint64(0), index, word, draw, key0, key1)
    first = turned(a)
    return uniform(first[0], lower(first[2], turned(b)[3], turned(c)[3], turned(d)[1]))


@loop
def write_uniform(
    place: Place, vector: int, column: int, noise: NDArray[np.float64], row: int
) -> None:
    """Write one uniform number for all neurons of a column to a row."""
    out, number = noise[row], uniform_of(place, vector, column)
    for turn in range(lane_share(out.size)):
        i = lane_entry(turn)
        out[i] = number
    barrier()
