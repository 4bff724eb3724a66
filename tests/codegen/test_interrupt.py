"""An interrupt is heard while compiled loops run, and what has not begun is dropped."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from resexpand.codegen.threads import WORTH_A_THREAD, in_threads, run_tiles

TILES = 400


class Loop:
    """Stands for a compiled loop that another thread interrupts after its third piece."""

    def __init__(self, interrupts):
        self.begun, self.release, self.interrupts = [], threading.Event(), interrupts

    def __call__(self, start, stop):
        self.begun.append((start, stop))
        if self.interrupts and len(self.begun) == 3:
            os.kill(os.getpid(), signal.SIGINT)
            self.release.wait(60)


@pytest.fixture
def heard():
    """Let the interrupt be heard where the shell started the tests with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_ends_the_call_and_drops_the_rest(heard):
    loop = Loop(interrupts=True)
    with pytest.raises(KeyboardInterrupt):
        run_tiles(loop, TILES, 100_000, ())
    # The call came back although a piece is still at work.
    assert not loop.release.is_set()
    loop.release.set()
    assert sum(stop - start for start, stop in loop.begun) < TILES


def test_without_an_interrupt_every_tile_is_run_once():
    for work in (1, WORTH_A_THREAD, 100_000_000):
        loop = Loop(interrupts=False)
        run_tiles(loop, TILES, work, ())
        tiles = sorted(t for start, stop in loop.begun for t in range(start, stop))
        assert tiles == list(range(TILES))
    assert len(loop.begun) == TILES


def test_results_keep_their_order_and_errors_come_through():
    assert in_threads(lambda k: k * k, range(7)) == [k * k for k in range(7)]
    assert in_threads(lambda k: k, []) == []
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda k: 1 // k, [1, 1, 0, 1])
