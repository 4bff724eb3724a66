"""Philox4x32-10 bit by bit: published vectors, a retyped definition, another library.

Laws: (1) the three known-answer vectors published with Random123 (file `kat_vectors`, line
`philox4x32 10`); (2) the definition in Python integers, round by round; (3) randomgen's Philox with
four 32-bit words, counter and key rebuilt on the host; (4) one changed bit changes every word.
"""

from __future__ import annotations

import random

import numpy as np
import pytest
import randomgen

from resexpand.montecarlo.random.philox import philox4x32, split_seed

KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def words(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """Return the compiled generator's four words as Python integers."""
    result = philox4x32(*(np.uint64(w) for w in (*counter, *key)))
    return tuple(int(w) for w in result)


def words_by_definition(
    counter: tuple[int, ...], key: tuple[int, ...], rounds: int = 10
) -> tuple[int, ...]:
    """Return the four words by the definition of Salmon et al., in Python integers."""
    left0, right0, left1, right1 = counter
    k0, k1 = key
    for _ in range(rounds):
        high0, low0 = divmod(0xD2511F53 * left0, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * left1, 2**32)
        left0, right0, left1, right1 = high1 ^ right0 ^ k0, low1, high0 ^ right1 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return left0, right0, left1, right1


def random_states(count: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return counters and keys, some words at the ends of their range."""
    source = random.Random(20)
    word = lambda: source.choice([0, 2**32 - 1, *(source.getrandbits(32) for _ in range(6))])  # noqa: E731
    return [(tuple(word() for _ in range(4)), (word(), word())) for _ in range(count)]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_published_vectors(
    counter: tuple[int, ...], key: tuple[int, ...], answer: tuple[int, ...]
) -> None:
    assert words(counter, key) == answer
    assert words_by_definition(counter, key) == answer
    assert words_by_definition(counter, key, rounds=9) != answer  # the control


def test_definition() -> None:
    states = random_states(500)
    assert [words(*state) for state in states] == [words_by_definition(*s) for s in states]


def test_other_library() -> None:
    for counter, key in random_states(100):
        position = sum(word << (32 * i) for i, word in enumerate(counter))
        other = randomgen.Philox(
            key=key[0] | key[1] << 32,
            counter=(position - 1) % 2**128,  # the library advances before it answers
            number=4,
            width=32,
        )
        assert words(counter, key) == tuple(int(w) for w in other.random_raw(4))


def test_every_word_depends_on_every_bit() -> None:
    base = [3, 1, 4, 1, 5, 9]
    reference = words(tuple(base[:4]), tuple(base[4:]))
    for place in range(6):
        for bit in range(32):
            changed = list(base)
            changed[place] ^= 1 << bit
            other = words(tuple(changed[:4]), tuple(changed[4:]))
            flips = [(a ^ b).bit_count() for a, b in zip(reference, other, strict=True)]
            assert min(flips) >= 3


def test_seed_split() -> None:
    low, high = split_seed(0x0123456789ABCDEF)
    assert (int(low), int(high)) == (0x89ABCDEF, 0x01234567)
