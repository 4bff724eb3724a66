"""docs/cluster.rst: examples print what they print, scripts and commands run as they stand."""

from __future__ import annotations

import doctest
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from docutils.core import publish_doctree

from resexpand.cli import main

PAGE = Path(__file__).parent.parent / "docs" / "cluster.rst"
TEXT = PAGE.read_text("utf-8")
BLOCKS = [
    (kind, textwrap.dedent(body))
    for kind, body in re.findall(
        r"^\.\. code-block:: (\w+)\n\n((?:   .*\n|\n)+)", TEXT, flags=re.MULTILINE
    )
]
SCRIPTS = [body for kind, body in BLOCKS if kind == "python"]
SHELL = [body for kind, body in BLOCKS if kind == "bash"]
JOB = next(body for body in SHELL if "#SBATCH" in body)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_renders_and_holds_what_is_tested() -> None:
    publish_doctree(TEXT, settings_overrides={"report_level": 1, "halt_level": 2})
    assert (len(SCRIPTS), len(SHELL)) == (3, 3)


def test_examples_print_what_they_print(folder: Path) -> None:
    result = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert result.failed == 0
    assert result.attempted > 8


def commands(block: str) -> list[list[str]]:
    """Split a block into the commands of the package."""
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("resexpand ")]


def test_commands_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = (b for b in SHELL if "runs resume" in b)
    for command in commands(block):
        assert main(command) == 0, capsys.readouterr().err
    assert (folder / "run-1.npz").is_file()
    assert "30000" in capsys.readouterr().out


def test_the_job_array_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The script as a shell runs it, for every task; then the merge."""
    assert re.search(r"--array=0-3\n", JOB)
    subprocess.run(["bash", "-n"], input=JOB, text=True, check=True)
    (sampling,) = commands(JOB)
    for task in range(4):
        values = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_CPUS_PER_TASK": "2"}
        filled = [re.sub(r"\$(\w+)", lambda m, v=values: v[m[1]], word) for word in sampling]
        assert main(filled) == 0, capsys.readouterr().err
    (block,) = (b for b in SHELL if "runs merge" in b)
    for command in commands(block):
        parts = sorted(p.name for p in folder.glob("part-*.sqlite"))
        spread = [w for word in command for w in (parts if "*" in word else [word])]
        assert main(spread) == 0, capsys.readouterr().err
    assert "200000 of 200000 networks" in capsys.readouterr().out
    assert (folder / "whole.npz").is_file()


def script(folder: Path, text: str, *launcher: str) -> None:
    path = folder / "script.py"
    path.write_text(text)
    run = subprocess.run(
        [*launcher, str(path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert "<Estimates: width" in run.stdout
    assert "draws 200000" in run.stdout


def test_processes(folder: Path) -> None:
    (text,) = (s for s in SCRIPTS if "ProcessPoolExecutor" in s)
    script(folder, text, sys.executable)


def test_dask(folder: Path) -> None:
    if not all(importlib.util.find_spec(name) for name in ("dask", "distributed")):
        pytest.skip("dask and distributed are not installed")
    (text,) = (s for s in SCRIPTS if "distributed" in s)
    script(folder, text, sys.executable)


def test_mpi(folder: Path) -> None:
    if not importlib.util.find_spec("mpi4py") or not shutil.which("mpiexec"):
        pytest.skip("mpi4py or mpiexec is not installed")
    (text,) = (s for s in SCRIPTS if "mpi4py" in s)
    script(folder, text, "mpiexec", "-n", "3", sys.executable, "-m", "mpi4py.futures")
