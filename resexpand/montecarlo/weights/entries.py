"""Weights of unit variance from random words: four entries from the four words of a counter.

A word x of 32 bits stands for the uniform number `u = (x + 1/2)/2^32`, a midpoint of a lattice,
never 0 or 1. An independent law is a function of four words, inlined into the loops that draw and
multiply; `resexpand.montecarlo.weights.law` lists which functions there are. Beside the Gaussian
one, whose two words make two entries together:

    uniform      sqrt(3) (2 u - 1), of variance 1 - 2^-64
    rademacher   1 if u > 1/2, else -1: the highest bit

The loops that write many weights are made by factories, because a compiled function that takes
another as an argument cannot be kept on disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from resexpand.montecarlo.jit import inlined, loop_for
from resexpand.montecarlo.lanes import barrier, is_leader, lane_entry, lane_share
from resexpand.montecarlo.random.normals import (
    BLOCK,
    INTEGER_BITS,
    INTEGER_SHIFT,
    ONE,
    TWO,
    bits_of,
    float_of,
    normals_of_words,
    write_first,
)
from resexpand.montecarlo.random.philox import philox4x32

Entries = tuple[np.float64, np.float64, np.float64, np.float64]

LATTICE = 2.0**-33
UNIFORM_UNIT = math.sqrt(3.0) * 2.0**-32
ONE_BITS = np.uint64(0x3FF0000000000000)
SIGN_BIT = np.uint64(1 << 31)
SIGN_SHIFT = np.uint64(32)

gaussian = normals_of_words


@inlined
def odd_number(word: np.uint64) -> np.float64:
    """Return 2 x + 1, exactly."""
    # The integer is written into the mantissa of a large power of two: no conversion is needed.
    return np.float64(float_of((word * TWO + ONE) | INTEGER_BITS) - INTEGER_SHIFT)


@inlined
def unit_uniform(word: np.uint64) -> np.float64:
    """Return u = (x + 1/2)/2^32, exactly."""
    return np.float64(odd_number(word) * LATTICE)


@inlined
def centred(word: np.uint64) -> np.float64:
    """Return sqrt(3) (2 u - 1)."""
    return np.float64((odd_number(word) - 2.0**32) * UNIFORM_UNIT)


@inlined
def uniform(x: np.uint64, y: np.uint64, xx: np.uint64, yy: np.uint64) -> Entries:
    """Return four entries, uniform between -sqrt(3) and sqrt(3)."""
    return centred(x), centred(y), centred(xx), centred(yy)


@inlined
def sign(word: np.uint64) -> np.float64:
    """Return 1 where the highest bit of the word is set, -1 elsewhere."""
    # One bit of the word becomes the sign bit of 1.0: no branch, no multiplication.
    return float_of(ONE_BITS | (((word & SIGN_BIT) ^ SIGN_BIT) << SIGN_SHIFT))


@inlined
def rademacher(x: np.uint64, y: np.uint64, xx: np.uint64, yy: np.uint64) -> Entries:
    """Return four entries, 1 or -1."""
    return sign(x), sign(y), sign(xx), sign(yy)


def vector_of(entries: Callable[..., Entries]) -> Callable[..., None]:
    """Return the loop that writes a vector of weights: `fill_normals` for any law."""

    @loop_for(entries)
    def fill_vector(
        key0: np.uint64,
        key1: np.uint64,
        c1: np.uint64,
        c2: np.uint64,
        c3: np.uint64,
        out: NDArray[np.float64],
        n: int,
    ) -> None:
        """Write the first n entries of the vector with counter words c1, c2, c3."""
        blocks = n // BLOCK
        for turn in range(lane_share(blocks)):
            k = lane_entry(turn)
            a, b, c, d = entries(*philox4x32(np.uint64(k), c1, c2, c3, key0, key1))
            out[4 * k] = a
            out[4 * k + 1] = b
            out[4 * k + 2] = c
            out[4 * k + 3] = d
        # The last block is needed in part: one lane writes it.
        rest = n - BLOCK * blocks
        if rest and is_leader():
            a, b, c, _ = entries(*philox4x32(np.uint64(blocks), c1, c2, c3, key0, key1))
            write_first(out, BLOCK * blocks, rest, a, b, c)
        barrier()

    return fill_vector


def rows_of(entries: Callable[..., Entries]) -> Callable[..., None]:
    """Return the loop that writes a strip of the weight matrix."""

    @loop_for(entries)
    def fill_rows(
        key0: np.uint64,
        key1: np.uint64,
        block: np.uint64,
        row: int,
        c2: np.uint64,
        c3: np.uint64,
        out: NDArray[np.float64],
    ) -> None:
        """Write one block of four entries for consecutive vectors: `out[p, i]`, shape (4, rows).

        `out[p, i]` is entry `4 * block + p` of the vector with index `row + i`, in the order in
        which a matrix product by columns uses them. The random words lie there first, as bits:
        two short loops keep a processor busier than a long one (see `add_in_quarters`).
        """
        w, x, y, z = out[0], out[1], out[2], out[3]
        for i in range(w.size):
            words = philox4x32(block, np.uint64(row + i), c2, c3, key0, key1)
            w[i] = float_of(words[0])
            x[i] = float_of(words[1])
            y[i] = float_of(words[2])
            z[i] = float_of(words[3])
        for i in range(w.size):
            a, b, c, d = entries(bits_of(w[i]), bits_of(x[i]), bits_of(y[i]), bits_of(z[i]))
            w[i] = a
            x[i] = b
            y[i] = c
            z[i] = d

    return fill_rows
