"""Progress: a bar on terminals, few plain lines elsewhere, nothing where nothing was asked."""

from __future__ import annotations

import io
import itertools
import sys

import pytest

from resexpand import progress as module
from resexpand.progress import duration, reporting, sentence


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time as a list of one number, to be set."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def shown(monkeypatch, clock, stream, progress, *, known: int = 0, notebook: bool = False) -> str:
    """Return what a run of 100 steps, one second each, writes."""
    monkeypatch.setattr(sys, "stderr", stream)
    if notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", io)
    with reporting(progress) as report:
        if known:
            report.known = known
            report(known, 100)
        for done in range(known + 1, 101):
            clock[0] += 1.0
            report(done, 100)
    return stream.getvalue()


def test_nothing_is_written_unasked(monkeypatch, clock) -> None:
    assert shown(monkeypatch, clock, io.StringIO(), None) == ""
    assert shown(monkeypatch, clock, io.StringIO(), False) == ""
    assert shown(monkeypatch, clock, Terminal(), False) == ""


def test_a_pipe_gets_few_plain_lines(monkeypatch, clock) -> None:
    lines = shown(monkeypatch, clock, io.StringIO(), True).splitlines()
    assert 100 / module.LINE_SECONDS <= len(lines) <= 100 / module.LINE_SECONDS + 2
    assert not any("\x1b" in line or "\r" in line for line in lines)
    assert lines[-1] == "100 of 100 networks (100%), 1 per second, 0 s left"


def test_a_notebook_gets_a_bar_outside_the_red_of_its_errors(monkeypatch, clock) -> None:
    page = io.StringIO()
    monkeypatch.setattr(sys, "stdout", page)
    assert shown(monkeypatch, clock, io.StringIO(), None, notebook=True) == ""
    first, *_, end = page.getvalue().split("\r")[1:]
    assert "] 3 of 100 networks (3%)" in first
    assert end.strip() == "done in 1 min 40 s"  # a saved page keeps the last line
    assert len(end) > len(first)  # and nothing of the bar beside it


def test_a_terminal_gets_a_bar_that_goes_away(monkeypatch, clock) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    written = shown(monkeypatch, clock, Terminal(), None)
    assert "\n" not in written
    first, *_, last, blanks, end = written.split("\r")[1:]
    assert first.startswith(f"[{' ' * 30}] 3 of 100 networks (3%), 1 per second")
    assert last.startswith(f"[{'#' * 30}] 100 of 100 networks (100%)")
    assert (len(blanks), blanks.strip(), end) == (len(last.rstrip()), "", "")


def test_a_bar_fits_its_terminal(monkeypatch, clock) -> None:
    for columns, bar in ((70, True), (40, False)):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = shown(monkeypatch, clock, Terminal(), None).split("\r")
        assert max(map(len, lines)) < columns
        assert any("#" in line for line in lines) == bar
        # What is shorter than the line before it covers that line.
        assert all(len(b) >= len(a.rstrip()) for a, b in itertools.pairwise(lines[1:-1]))


def test_what_was_stored_counts_as_done_but_not_towards_the_rate(monkeypatch, clock) -> None:
    lines = shown(monkeypatch, clock, io.StringIO(), True, known=50).splitlines()
    assert lines[0].startswith("50 of 100 networks (50%)")
    assert "60 of 100 networks (60%), 1 per second, 40 s left" in lines


def test_a_short_run_on_a_terminal_shows_nothing(monkeypatch, clock) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with reporting(None) as report:
        for done in range(10):
            clock[0] += 0.01
            report(done, 10)
    assert stream.getvalue() == ""


def test_a_callable_is_called_as_it_is() -> None:
    calls: list[tuple[int, int]] = []
    with reporting(lambda *call: calls.append(call)) as report:
        report(1, 2)
    assert calls == [(1, 2)]


def test_an_error_closes_the_bar(monkeypatch, clock) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    run = reporting(True)
    run.__enter__()(1, 2)
    failure = ZeroDivisionError()
    assert not run.__exit__(ZeroDivisionError, failure, None)
    assert "1 of 2 networks" in stream.getvalue()
    assert stream.getvalue().endswith(" \r")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7300, "2 h 1 min"), (200_000, "2 d 7 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_words() -> None:
    assert sentence(0, 0, float("nan"), 0.0) == "0 of 0 networks (0%)"
    assert sentence(1500, 3000, 12.5, 120.0) == (
        "1,500 of 3,000 networks (50%), 12.5 per second, 2 min 0 s left"
    )


def test_wall_clock_jumps_do_not_matter(monkeypatch) -> None:
    jumps = itertools.cycle([4e9, 0.0])
    monkeypatch.setattr(module.time, "time", lambda: next(jumps))
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with reporting(True) as report:
        report(1, 2)
        report(2, 2)
    assert "left" in stream.getvalue()
