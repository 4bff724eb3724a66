"""The files around the code agree with it: versions, commands, dependencies, wording."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from skip_policy import ALLOWED_SKIPS, unlisted_skips

import resexpand

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TEST_COMMAND = "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest"


def tracked() -> list[Path]:
    """Files under version control; without git, every source file."""
    run = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if run.returncode == 0 and run.stdout:
        return [ROOT / name for name in run.stdout.split("\0") if (ROOT / name).is_file()]
    folders = [ROOT / name for name in ("resexpand", "tests")]
    return [path for folder in folders for path in folder.rglob("*.py")]


TEXTS = [path for path in tracked() if path.suffix not in {".png", ".npy", ".pdf", ".jpg", ".gz"}]


def test_one_version_everywhere():
    version = PROJECT["project"]["version"]
    assert resexpand.__version__ == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    sections = re.findall(r"^(\d+\.\d+\.\d+)\b.*\n-+$", (ROOT / "CHANGELOG.rst").read_text(), re.M)
    assert sections[0] == version
    assert len(set(sections)) == len(sections)


def test_no_two_test_files_have_one_name():
    # Folders of tests are no packages: pytest stops at the second file of a name.
    names = [path.name for path in TEXTS if path.name.startswith("test_")]
    assert len(names) > 100
    assert {name for name in names if names.count(name) > 1} == set()


def test_one_licence_everywhere():
    assert PROJECT["project"]["license"] == "BSD-3-Clause"
    assert "\nlicense: BSD-3-Clause\n" in (ROOT / "CITATION.cff").read_text()
    text = (ROOT / "LICENSE").read_text()
    assert text.startswith("BSD 3-Clause License")
    assert "The resexpand developers" in text


def test_extra_and_group_of_the_tests_are_the_same():
    assert (
        PROJECT["project"]["optional-dependencies"]["test"] == PROJECT["dependency-groups"]["test"]
    )
    assert (
        PROJECT["project"]["optional-dependencies"]["bench"]
        == PROJECT["dependency-groups"]["bench"]
    )


def test_the_core_stays_light():
    names = {re.match(r"[\w-]+", entry)[0] for entry in PROJECT["project"]["dependencies"]}
    assert names == {"sympy", "numpy", "numba", "mpmath", "matplotlib", "platformdirs", "scipy"}


def test_the_test_command_is_the_same_everywhere():
    readme, contributing = ((ROOT / n).read_text() for n in ("README.rst", "CONTRIBUTING.rst"))
    assert TEST_COMMAND in " ".join(readme.split())
    assert TEST_COMMAND in contributing
    ci = (ROOT / ".ci" / "run").read_text().replace('"$python"', "python3")
    ci = ci.replace('"$venv/bin/', '".venv/bin/').replace('"$venv"', ".venv").replace('"', "")
    steps = [step.strip() for step in TEST_COMMAND.split("&&")]
    assert steps[0] in ci
    assert steps[1] in ci.replace(" --quiet", "")
    assert f"\n{steps[2]} " in ci


def test_strict_configuration():
    pytest_options = PROJECT["tool"]["pytest"]["ini_options"]
    assert pytest_options["filterwarnings"] == ["error"]
    assert pytest_options["xfail_strict"] is True
    assert {"-ra", "--strict-markers"} <= set(pytest_options["addopts"])
    assert PROJECT["tool"]["mypy"]["strict"] is True


def test_ci_script_is_bash_and_stops_at_errors():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    assert "\nset -euo pipefail\n" in script.read_text()
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_entry_point_exists():
    module, function = PROJECT["project"]["scripts"]["resexpand"].split(":")
    assert callable(getattr(__import__(module, fromlist=[function]), function))


@pytest.mark.parametrize("name", ["README.rst", "CHANGELOG.rst", "CONTRIBUTING.rst"])
def test_documents_are_valid_restructured_text(name):
    from docutils.core import publish_doctree
    from docutils.utils import Reporter

    publish_doctree(
        (ROOT / name).read_text(),
        settings_overrides={"halt_level": Reporter.WARNING_LEVEL, "report_level": 5},
    )


# Letters are spelled so that this file does not contain what it looks for.
FORBIDDEN = {
    "an absolute path": r"(?<![\w.])/(work|home|root|Users|opt)/\w",
    "a compiled routine called a kernel": r"(?i)\b(compiled?|numba|cuda|jit(ted)?) kernels?\b",
    "a note to oneself": r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b",
    "a registry host": r"(?i)py" + r"pi\.(org|python)|pythonhosted|index-u" + r"rl",
}


@pytest.mark.parametrize(("what", "pattern"), FORBIDDEN.items(), ids=FORBIDDEN)
def test_no_file_contains(what, pattern):
    assert len(TEXTS) > 25
    found = []
    for path in TEXTS:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(pattern, line) and "FORBIDDEN" not in line and path != Path(__file__):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not found, what


@pytest.mark.parametrize(
    "line",
    ["see /work/x", "open('/home/me/x')", "the compiled kernel", "# TO" + "DO later"],
)
def test_control_forbidden_lines_are_seen(line):
    assert any(re.search(pattern, line) for pattern in FORBIDDEN.values())


def test_every_python_file_states_what_it_is():
    for path in TEXTS:
        if path.suffix == ".py" and path.stat().st_size:
            head = path.read_text().lstrip().removeprefix("# %% [markdown]").lstrip()
            assert head.startswith(('"""', 'r"""', "# ", "#!")), path


def test_import_is_light():
    """Neither Numba nor matplotlib is loaded by the import, nor SymPy by the help text."""
    heavy = "{'numba', 'matplotlib', 'scipy', 'llvmlite'}"
    script = f"import sys, resexpand; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    script = (
        "import sys\nfrom resexpand.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'sympy', 'numpy', 'numba', 'matplotlib'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_skips_beyond_the_list_are_named():
    reason, bound = next(iter(ALLOWED_SKIPS.items()))
    assert unlisted_skips({}) == []
    assert unlisted_skips({reason: ["t"] * bound}) == []
    assert len(unlisted_skips({reason: ["t"] * (bound + 1)})) == 1
    assert len(unlisted_skips({"it is Monday": ["t"]})) == 1
