"""Settings of every test: how Hypothesis runs, which skips are allowed, what runs by default."""

from __future__ import annotations

import gc
import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from skip_policy import unlisted_skips

os.environ.setdefault("MPLBACKEND", "Agg")

# Derivations and compiled routines stay in caches until the end. At the default thresholds the
# collector looks through all of them so often that it takes a seventh of the run.
gc.set_threshold(100_000, 20, 20)

# No deadline: the machines are shared, and no test asserts a time.
settings.register_profile(
    "resexpand",
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", parent=settings.get_profile("resexpand"), max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "resexpand"))

_skips: dict[str, list[str]] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out slow tests and those at the size of a publication unless ``-m`` asks for them."""
    asked = config.getoption("markexpr", "")
    left_out = [mark for mark in ("slow", "fullscale") if mark not in asked]
    heavy = {item for item in items if any(item.get_closest_marker(m) for m in left_out)}
    if heavy:
        config.hook.pytest_deselected(items=sorted(heavy, key=lambda item: item.nodeid))
        items[:] = [item for item in items if item not in heavy]


def _note_skip(node: str, reason: str) -> None:
    _skips.setdefault(reason.removeprefix("Skipped: "), []).append(node)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect the reason of each skipped test (not of expected failures)."""
    if report.skipped and not hasattr(report, "wasxfail") and isinstance(report.longrepr, tuple):
        _note_skip(report.nodeid, report.longrepr[2])


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Collect the reason of each file skipped as a whole."""
    if report.skipped and isinstance(report.longrepr, tuple):
        _note_skip(report.nodeid, report.longrepr[2])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run that would pass but skipped what it may not."""
    if exitstatus == pytest.ExitCode.OK and unlisted_skips(_skips):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Count the skips, and say which of them are not allowed."""
    total = sum(len(nodes) for nodes in _skips.values())
    terminalreporter.write_line(f"skipped in all: {total}")
    for complaint in unlisted_skips(_skips):
        terminalreporter.write_line(f"skip not allowed: {complaint}", red=True)


@pytest.fixture
def call(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command line in this process; return exit code, output and errors.

    Where a file of tests is about one command, its ``COMMAND`` names it.
    """
    from resexpand import cli

    first = getattr(request.module, "COMMAND", ())

    def run(*arguments: object) -> tuple[int, str, str]:
        try:
            code = cli.main([*first, *map(str, arguments)])
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def answer(request: pytest.FixtureRequest, call: Any) -> Any:
    """Run with ``--json`` and return the record, which must be strict JSON and nothing else."""
    first = getattr(request.module, "COMMAND", ())

    def run(*arguments: object) -> dict[str, Any]:
        code, out, err = call(*arguments, "--json")
        assert code == 0, err

        def refuse(name: str) -> None:
            raise AssertionError(f"{name} is no JSON")

        record = json.loads(out, parse_constant=refuse)
        assert record["schema"]["version"] >= 1
        assert record["environment"]["resexpand"]
        assert record["command"] == (*first, *arguments)[0]
        return record

    return run
