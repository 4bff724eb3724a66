"""Counter-based random integers: Philox4x32-10.

A Philox generator is a keyed bijection of 128-bit counters: four 32-bit words in, four
independent uniform 32-bit words out, no state. A random number is therefore a function of *where*
it is used. Every number of a sampled network has the counter

    word 0   block: entries 4*block ... 4*block + 3 of a vector of normals
    word 1   index of that vector: the row of a weight matrix, or a column
    word 2   layer * 256 + stream, the stream telling weights from biases from inputs
    word 3   draw: which network of the ensemble

and the 64-bit seed is the key, low word first. So a network depends on (seed, draw) alone: not on
the number of threads, nor on how the draws are cut into chunks, nor on a resumed run.

All words are held in unsigned 64-bit integers: the 32 x 32 -> 64 bit products are then plain
multiplications, which LLVM turns into vector instructions when the call stands in a loop.

Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as
1, 2, 3", SC'11 (2011), doi:10.1145/2063384.2063405, section 3.3 and figure 3.
"""

from __future__ import annotations

import numpy as np

from resexpand.montecarlo.jit import inlined

WORD_MASK = np.uint64(0xFFFFFFFF)
WORD_BITS = np.uint64(32)
MULTIPLIER_0 = np.uint64(0xD2511F53)
MULTIPLIER_1 = np.uint64(0xCD9E8D57)
WEYL_0 = np.uint64(0x9E3779B9)  # golden ratio
WEYL_1 = np.uint64(0xBB67AE85)  # sqrt(3) - 1
ROUNDS = 10


@inlined
def product(a: np.uint64, b: np.uint64) -> np.uint64:
    """Return the 64-bit product of two 32-bit words."""
    # The mask costs nothing: it tells LLVM that one multiplication of halves is enough.
    return a * (b & WORD_MASK)


@inlined
def fresh(word: np.uint64) -> np.uint64:
    """Return the word; what follows from it is not to be kept from one counter to the next."""
    return word


@inlined
def philox4x32(
    c0: np.uint64, c1: np.uint64, c2: np.uint64, c3: np.uint64, key0: np.uint64, key1: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Return the four random words of a counter under a key.

    Parameters
    ----------
    c0, c1, c2, c3 : np.uint64
        The counter words, each below 2**32.
    key0, key1 : np.uint64
        The key words, each below 2**32.

    Returns
    -------
    tuple of four np.uint64
        Uniform random words, each below 2**32.
    """
    key0, key1 = fresh(key0), fresh(key1)
    for _ in range(ROUNDS):
        product0 = product(MULTIPLIER_0, c0)
        product1 = product(MULTIPLIER_1, c2)
        c0 = (product1 >> WORD_BITS) ^ c1 ^ key0
        c2 = (product0 >> WORD_BITS) ^ c3 ^ key1
        c1 = product1 & WORD_MASK
        c3 = product0 & WORD_MASK
        key0 = (key0 + WEYL_0) & WORD_MASK
        key1 = (key1 + WEYL_1) & WORD_MASK
    return c0, c1, c2, c3


def split_seed(seed: int) -> tuple[np.uint64, np.uint64]:
    """Return the two key words of a seed in 0 ... 2**64 - 1, low word first."""
    return np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32)
