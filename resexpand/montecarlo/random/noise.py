"""Uniform numbers for the noise of maps: masks of neurons, coins of blocks.

Eight numbers come out of one Philox call, which has 128 bits. Let ``h_1 ... h_8`` be the halves,
of 16 bits, of its four words. Number s is ``u_s = (2^16 h_s + l_s + 1/2) / 2^32`` with the lower
half ``l_s = h_1 ^ ... ^ h_8 ^ h_s``, the exclusive sum of the seven others. So each is uniform on
the lattice of 32 bits, and ``u < keep`` has the probability `keep` to 2^-33. Two of them are
independent unless both upper halves equal that of a threshold: their outcomes have a covariance
below 2^-34 = 6e-11. Of three to seven the same holds. The outcomes of a map are few, so
that lower halves matter once in 2^16 numbers; as finely resolved uniform numbers they are no good.

Neurons are taken in blocks of 1024, and what is left behind the last multiple of 32 in a block of
32. In a block of n, counter j of the block has the numbers of the neurons ``4 (j + b n/8) + p``,
``s = 2 p + b``, p = 0 ... 3, b = 0, 1. With the neurons in the order in which normals are made
(`add_in_quarters`: quarter p holds the neurons ``4 k + p``), they lie in memory in the order in
which neighbouring counters leave the vector units.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.jit import inlined, loop
from resexpand.montecarlo.lanes import barrier, lane_entry, lane_share
from resexpand.montecarlo.random.normals import BLOCK, float_of
from resexpand.montecarlo.random.philox import WORD_MASK, philox4x32
from resexpand.montecarlo.random.streams import NOISE, stream_word

Place = tuple[np.uint64, np.uint64, int, np.uint64]
UNIT_BITS = np.uint64(0x4130000000000000)
UNIT_SHIFT = 2.0**20 - 2.0**-33
HALF = np.uint64(16)
HALF_MASK = np.uint64(0xFFFF)
NUMBERS = 8
"""Numbers of a Philox call."""

MASKED = 1024
REST = 32
"""Neurons of a block, and of one behind the last multiple of `LANES`."""


@inlined
def uniform(word: np.uint64) -> float:
    """Return (word + 1/2) / 2^32: the word is written into the mantissa of 2^20."""
    return float_of(word ^ UNIT_BITS) - UNIT_SHIFT


@inlined
def sum_of_halves(a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64) -> np.uint64:
    """Return the exclusive sum of the halves of four words, in the lower of two halves."""
    both = a ^ b ^ c ^ d
    return (both >> HALF) ^ both


@inlined
def two_of(word: np.uint64, halves: np.uint64) -> tuple[float, float]:
    """Return the numbers of the upper and of the lower half of a word."""
    upper = word >> HALF
    change = (word ^ upper ^ halves) & HALF_MASK
    turned = ((word << HALF) | upper) & WORD_MASK
    return uniform(word ^ change), uniform(turned ^ change)


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
        oo, pp, qq, rr = o[n:], p[n:], q[n:], r[n:]
        for turn in range(lane_share(n)):
            k = lane_entry(turn)
            a, b, c, d = philox4x32(np.uint64(at + k), index, word, draw, key0, key1)
            halves = sum_of_halves(a, b, c, d)
            o[k], oo[k] = two_of(a, halves)
            p[k], pp[k] = two_of(b, halves)
            q[k], qq[k] = two_of(c, halves)
            r[k], rr[k] = two_of(d, halves)
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
    return two_of(a, sum_of_halves(a, b, c, d))[0]


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
