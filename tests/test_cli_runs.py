"""``resexpand runs`` and the options of ``sample`` that belong to runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from resexpand.cli import main
from resexpand.errors import StoreError
from resexpand.montecarlo.runs import plan as plan_module
from resexpand.montecarlo.runs.lock import held
from resexpand.montecarlo.runs.stored import look

SAMPLE = ["sample", "--depth", "3", "--width", "30", "--seed", "3"]


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "CHUNK_SECONDS", 2e-4)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def stores(call) -> list[str]:
    """A whole run, and its three shards."""
    names = ["whole.sqlite", *(f"part-{i}.sqlite" for i in range(3))]
    for i, name in enumerate(names):
        shard = ["--shard", f"{i - 1}/3"] if i else []
        assert call(*SAMPLE, "--draws", "1000", "--store", name, *shard)[0] == 0
    return names


def test_a_job_array(stores: list[str], call) -> None:
    code, out, _ = call("runs", "merge", *stores[1:3], "--out", "merged.sqlite")
    assert code == 0
    assert "chunks missing" in out
    code, out, _ = call("runs", "merge", stores[3], "--out", "merged.sqlite")
    assert (code, out) == (0, "merged.sqlite: 1000 of 1000 networks, 0 chunks missing\n")
    for name in ("whole", "merged"):
        code, _, err = call("runs", "export", f"{name}.sqlite", "--out", f"{name}.npz")
        assert (code, err) == (0, f"resexpand: wrote {name}.npz\n")
    assert Path("whole.npz").read_bytes() == Path("merged.npz").read_bytes()


def test_list(stores: list[str], call) -> None:
    code, out, _ = call("runs", "list")
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 1 + len(stores)
    assert lines[-1].split()[:7] == ["whole.sqlite", "1000", "1000", "30", "3", "3", "kernel"]
    code, out, _ = call("runs", "list", "--json")
    record = json.loads(out)
    assert {run["store"] for run in record["runs"]} == set(stores)
    Path("empty").mkdir()
    assert call("runs", "list", "empty")[:2] == (0, "no stores\n")


def test_a_store_that_cannot_be_read_is_told_beside_the_others(stores: list[str], call) -> None:
    Path("part-0.sqlite").write_bytes(Path("part-0.sqlite").read_bytes()[:5000])
    code, out, err = call("runs", "list")
    assert code == 2
    assert len(out.splitlines()) == len(stores)
    assert "part-0.sqlite" in err
    assert err.count("\n") == 1


def test_show(stores: list[str], call) -> None:
    code, out, _ = call("runs", "show", "part-1.sqlite")
    assert code == 0
    assert "shard 1 of 3" in out
    assert "kernel: ok" in out
    assert "(100 %)" in out
    record = json.loads(call("runs", "show", "part-1.sqlite", "--json")[1])
    assert record["run"]["shard"] == [1, 3]
    assert record["run"]["draws_done"] == record["run"]["draws_asked"] < 1000
    assert record["health"] == {"kernel": "ok"}


def test_resume(stores: list[str], call) -> None:
    code, out, _ = call("runs", "resume", "whole.sqlite", "--draws", "1500", "--workers", "1")
    assert code == 0
    reference = call(*SAMPLE, "--draws", "1500")
    assert out == reference[1]
    record = json.loads(call("runs", "resume", "whole.sqlite", "--json")[1])
    assert record["results"]["kernel"]["n"] == 1500


def test_a_target_in_per_cent(call) -> None:
    options = ("--draws", "1e6", "--until", "2%", "--store", "run.sqlite")
    assert call(*SAMPLE, *options)[0] == 0
    code, out, _ = call("runs", "show", "run.sqlite")
    assert code == 0
    assert "until errors are 0.02 of the means" in out
    assert "the run is complete" in out
    code, _, err = call("runs", "export", "run.sqlite", "--out", "run.csv")
    assert (code, err) == (0, "resexpand: wrote run.csv\n")
    before = json.loads(call("runs", "show", "run.sqlite", "--json")[1])["run"]
    assert call("runs", "resume", "run.sqlite")[0] == 0
    assert call("runs", "resume", "run.sqlite", "--until", "1 %")[0] == 0
    after = json.loads(call("runs", "show", "run.sqlite", "--json")[1])["run"]
    assert (before["until"], before["complete"]) == (0.02, True)
    assert (after["until"], after["complete"]) == (0.01, True)
    assert after["draws_done"] > before["draws_done"]
    code, _, err = call("runs", "resume", "run.sqlite", "--until", "1%x")
    assert code == 2
    assert "0.1%" in err


def test_export_of_a_part_warns(call) -> None:
    call(*SAMPLE, "--draws", "1000", "--store", "part.sqlite", "--shard", "0/3")
    call(*SAMPLE, "--draws", "1000", "--store", "other.sqlite", "--shard", "1/3")
    call("runs", "merge", "part.sqlite", "other.sqlite", "--out", "both.sqlite")
    code, _, err = call("runs", "export", "both.sqlite", "--out", "both.csv")
    assert code == 0
    assert "of 1000 networks are drawn" in err
    assert Path("both.csv").read_text().startswith("observable,i,j,k,mean")


def test_progress_in_a_pipe(call) -> None:
    code, _, err = call(*SAMPLE, "--draws", "1000", "--progress")
    assert code == 0
    assert "of 1000 networks" in err.replace(",", "")


def test_a_store_in_use(stores: list[str], call) -> None:
    with held(Path("whole.sqlite"), wait=False):
        code, _, err = call(*SAMPLE, "--draws", "1000", "--store", "whole.sqlite")
        assert code == 2
        assert "another process" in err
        assert "--wait" in err
        assert call("runs", "show", "whole.sqlite")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sample", "--shard", "3"], "--shard '3'"),
        (["sample", "--shard", "1/0"], "n"),
        (["sample", "--shard=-1/4"], "i"),
        (["sample", "--shard=a/4"], "i"),
        (["sample", "--shard", "4/4"], "count from 0"),
        (["sample", "--shard", "0/99999"], "at most"),
        (["runs", "show", "missing.sqlite"], "there is no such file"),
        (["runs", "resume", "missing.sqlite"], "there is no such file"),
        (["runs", "resume", "missing.sqlite", "--draws", "x"], "--draws"),
        (["runs", "merge", "missing.sqlite", "--out", "new.sqlite"], "there is no such file"),
        (["runs", "export", "missing.sqlite", "--out", "new.csv"], "there is no such file"),
        (["runs", "list", "missing.sqlite"], "there is no such file"),
    ],
    ids=" ".join,
)
def test_errors_are_one_line(arguments: list[str], words: str, call) -> None:
    code, _, err = call(*arguments)
    assert code == 2
    assert words in err
    assert err.count("\n") == 1
    assert not Path("new.sqlite").exists()


@pytest.mark.parametrize(
    "arguments", [["runs"], ["runs", "merge", "a"], ["runs", "export", "a"], ["runs", "forget"]]
)
def test_what_is_missing_is_told(arguments: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def kept_in(name: str) -> int:
    """Return the number of networks in a store that may be about to be made."""
    try:
        return look(name).done
    except StoreError:
        return 0


def test_interrupted_by_the_keyboard(call) -> None:
    """A real signal: one line says what was kept, and the same command completes the run."""
    # Far more than can be drawn before the signal comes.
    arguments = ["--draws", "1000000000", "--store", "run.sqlite", "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "resexpand", *SAMPLE, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not kept_in("run.sqlite"):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    assert "are in run.sqlite; the same call resumes there" in err
    assert err.count("\n") == 1
    kept = look("run.sqlite").done
    assert 0 < kept < 1_000_000_000
    assert os.listdir(".") == ["run.sqlite"]


@pytest.mark.parametrize("action", ["list", "show", "resume", "merge", "export"])
def test_every_action_explains_itself(action: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["runs", action, "--help"])
    assert stopped.value.code == 0
    assert "--json" in capsys.readouterr().out
