"""Philox words in the order in which networks use them, through the test battery dieharder.

    python benchmarks/random_words.py [--out FILE] [--quick]
    python benchmarks/random_words.py --stream ORDER > /dev/stdout     (endless; raw 32-bit words)

A counter-based generator has no order of its own: what must look random is every sequence in which
its numbers meet. Three orders of the counter layout (`resexpand.montecarlo.random.philox`) are
tested:

    vectors   along a vector, then layers, then draws: one network after another
    draws     the same four entries of the same vector of draw 0, 1, 2, ...: the ensemble average
    seeds     the same counters under seed 0, 1, 2, ...: independent ensembles

The negative control is the order `seeds` with a single Philox round instead of ten. A p-value below
1e-4 or above 1 - 1e-4 is repeated on other words of the same order; twice in a row is a failure.
Needs the program ``dieharder``.

Source: R. G. Brown, D. Eddelbuettel, D. Bauer, "Dieharder: A Random Number Test Suite", 2004-2020.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
from numpy.typing import NDArray

from resexpand.export.record import write_record
from resexpand.montecarlo.random.philox import (
    MULTIPLIER_0,
    MULTIPLIER_1,
    WORD_BITS,
    WORD_MASK,
    philox4x32,
)
from resexpand.montecarlo.random.streams import FUNCTION_SPACE_FIRST, stream_word

RESULTS = Path(__file__).with_name("results")
ORDERS = ("vectors", "draws", "seeds")
CONTROL = "one round"
PIECE = 2**16
BLOCKS, LAYERS = 256, 100
"""A network of width 1024 and depth 100."""

# Tests of dieharder by number; those of its list that are good and take seconds.
TESTS = {
    0: "diehard_birthdays",
    1: "diehard_operm5",
    2: "diehard_rank_32x32",
    3: "diehard_rank_6x8",
    8: "diehard_count_1s_stream",
    9: "diehard_count_1s_byte",
    15: "diehard_runs",
    16: "diehard_craps",
    100: "sts_monobit",
    101: "sts_runs",
    102: "sts_serial",
    205: "dab_bytedistrib",
    206: "dab_dct",
    207: "dab_filltree",
    209: "dab_monobit2",
}
QUICK = (100, 101)
EXTREME = 1e-4


@numba.njit
def words(order: int, first: int, offset: int, out: NDArray[np.uint32]) -> None:
    """Write the words of the counters first, first + 1, ... of an order."""
    one = np.uint64(1)
    for i in range(out.size // 4):
        n = first + i
        if order == 0:
            block, rest = n % BLOCKS, n // BLOCKS
            layer, draw = 1 + rest % LAYERS, rest // LAYERS
            word = stream_word(layer, FUNCTION_SPACE_FIRST)
            draw += offset
            x = philox4x32(np.uint64(block), np.uint64(0), word, np.uint64(draw), one, one)
        elif order == 1:
            word = stream_word(1 + offset, FUNCTION_SPACE_FIRST)
            x = philox4x32(np.uint64(0), np.uint64(0), word, np.uint64(n), one, one)
        elif order == 2:
            word = stream_word(1 + offset, FUNCTION_SPACE_FIRST)
            key = np.uint64(n) & WORD_MASK
            x = philox4x32(np.uint64(0), np.uint64(0), word, np.uint64(0), key, np.uint64(0))
        else:
            product0 = MULTIPLIER_0 * np.uint64(n & 0xFFFFFFFF)
            product1 = MULTIPLIER_1 * np.uint64(n & 0xFFFFFFFF)
            low, high = product0 & WORD_MASK, product1 & WORD_MASK
            x = (product1 >> WORD_BITS, high, product0 >> WORD_BITS, low)
        for p in range(4):
            out[4 * i + p] = np.uint32(x[p])


def stream(order: str, offset: int) -> None:
    """Write words to the standard output until nobody reads them."""
    number = (*ORDERS, CONTROL).index(order)
    out, first = np.empty(PIECE, np.uint32), 0
    with contextlib.suppress(BrokenPipeError):
        while True:
            words(number, first, offset, out)
            sys.stdout.buffer.write(out.tobytes())
            first += PIECE // 4


def p_values(order: str, test: int, offset: int) -> list[float]:
    """Return the p-values of one test."""
    source = [sys.executable, __file__, "--stream", order, "--offset", str(offset)]
    with subprocess.Popen(source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as words_from:
        command = ["dieharder", "-g", "200", "-d", str(test), "-D", "pvalues", "-D", "test_name"]
        done = subprocess.run(
            command, stdin=words_from.stdout, capture_output=True, text=True, check=True
        )
        words_from.kill()
    found = []
    for line in done.stdout.splitlines():
        for field in line.split("|"):
            with contextlib.suppress(ValueError):
                found.append(float(field))
    if not found:
        raise RuntimeError(f"dieharder said nothing: {done.stdout!r} {done.stderr!r}")
    return found


def verdict(order: str, test: int) -> dict[str, object]:
    """Return the p-values of one test on one order, with those of a repetition if need be."""
    first = p_values(order, test, 0)
    runs = [first]
    if extreme(first):
        runs.append(p_values(order, test, 1))
    return {"p_values": runs, "passed": not all(map(extreme, runs))}


def extreme(values: list[float]) -> bool:
    """Return whether one of several p-values is too small or too large to be chance."""
    return min(*values, 1 - max(values)) < EXTREME / len(values)


def main(arguments: list[str] | None = None) -> int:
    """Run the battery and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS / "random_words.json")
    parser.add_argument("--quick", action="store_true", help="two tests")
    parser.add_argument("--stream", choices=(*ORDERS, CONTROL), help="only write words")
    parser.add_argument("--offset", type=int, default=0, help="other words of the same order")
    options = parser.parse_args(arguments)
    if options.stream:
        stream(options.stream, options.offset)
        return 0
    if shutil.which("dieharder") is None:
        print("dieharder is not installed", file=sys.stderr)
        return 2
    tests = QUICK if options.quick else tuple(TESTS)
    table: dict[str, dict[str, object]] = {}
    for order in (*ORDERS, CONTROL):
        asked = tests if order != CONTROL else QUICK
        table[order] = {TESTS[test]: verdict(order, test) for test in asked}
        for name, result in table[order].items():
            print(f"{order:10s} {name:16s} {result}", flush=True)
    passed = all(r["passed"] for order in ORDERS for r in table[order].values())  # type: ignore[index]
    rejected = not all(r["passed"] for r in table[CONTROL].values())  # type: ignore[index]
    write_record(options.out, battery=table, passed=passed, control_rejected=rejected)
    print(
        "passed" if passed else "FAILED", "- control rejected" if rejected else "- CONTROL PASSED"
    )
    return 0 if passed and rejected else 1


if __name__ == "__main__":
    sys.exit(main())
