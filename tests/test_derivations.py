"""Derivations: every script runs, writes its golden LaTeX, and a wrong step cannot be taken."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from itertools import product
from pathlib import Path

import mpmath
import pytest
import sympy as sp
from heavier import left_to_slow

from resexpand import Activation, Branch, Linear, ResNet, kernel, response, to_latex
from resexpand.conventions import DEPTH, RHO, K
from resexpand.references import REFERENCES
from resexpand.theory.derivation import Derivation, DerivationError, plain
from resexpand.theory.verification import compare_sides

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "export" / "golden"
SCRIPTS = sorted((ROOT / "derivations").glob("*.py"))
x = sp.Symbol("x", positive=True)


def run(script: Path, out: Path, seed: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), "--out", str(out)],
        cwd=out,
        env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


# Scripts


def test_there_are_scripts():
    names = ["desmith_2020", "dherin_2025", "finite_response", "finite_width", "fischer_2023"]
    assert [s.stem for s in SCRIPTS] == [*names, "kim_2023", "marion_2025"]


@pytest.mark.parametrize(
    ("script", "seed"),
    left_to_slow(product(SCRIPTS, "01"), lambda case: case[1] == "1" and case[0] != SCRIPTS[0]),
    ids=lambda value: getattr(value, "stem", value),
)
def test_script_runs_and_writes_its_golden_latex(script: Path, seed: str, tmp_path: Path):
    done = run(script, tmp_path, seed)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("[ok]") >= 30
    written = (tmp_path / f"{script.stem}.tex").read_text(encoding="utf-8")
    golden = GOLDEN / f"derivation_{script.stem}.tex"
    assert written == golden.read_text(encoding="utf-8")


WRONG = [
    (
        "fischer_2023",
        "-mpmath.pi / 2 * x * phi_slope(x)",
        "-mpmath.pi / 3 * x * phi_slope(x)",
    ),
    ("fischer_2023", "mpmath.sqrt(mpmath.pi) / 2 * x", "mpmath.sqrt(mpmath.pi) * x"),
    ("desmith_2020", "* (1 - (1 + u**2) / n)", "* (1 - u**2 / n)"),
    ("desmith_2020", "per_block = (1 - 1 / B) * (1 - 2 * J)", "per_block = 1 - 2 * J"),
    (
        "kim_2023",
        "trained = W * (square / P - mean**2)",
        "trained = W * (square - mean**2) / P",
    ),
    ("kim_2023", "+ added * shift) / (STREAM + added)", "+ added) / (STREAM + added / shift)"),
    ("dherin_2025", "/ prod(map(factorial, copies))", "/ prod(copies)"),
    ("dherin_2025", "/ sp.factorial(power)", "/ sp.factorial(power + 1)"),
    ("dherin_2025", "+ LAMBDAS[i - 1]\n", "+ LAMBDAS[0]\n"),
    ("finite_response", "gg * (Q[a] * Q[c] + 2 * shared**2)", "gg * (Q[a] * Q[c] + shared**2)"),
    ("finite_response", "mixed * 2 * norms[k]", "mixed * norms[k]"),
    ("finite_response", "sp.expand(alone + pair / 2)", "sp.expand(alone + pair)"),
    ("finite_width", "single(fourth, k) / 4", "single(fourth, k) / 2"),
    ("finite_width", "psi = 6 * place**2", "psi = 12 * place**2"),
    ("finite_width", "for k in range(a)) / 6", "for k in range(a)) / 4"),
    ("marion_2025", "(N + 5) * q**2 / (4 * N**2)", "(N + 4) * q**2 / (4 * N**2)"),
    ("marion_2025", "hat = (1 - d**2 / v) * process(d)", "hat = (1 - d**2 / 2) * process(d)"),
    ("marion_2025", "T * time * sp.exp(time / 2) / 8", "T * time * sp.exp(time / 2) / 4"),
]
FIRST = {name: case for name, *case in reversed(WRONG)}


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    left_to_slow(WRONG, lambda case: [*case[1:]] != FIRST[case[0]]),
)
def test_a_wrong_coefficient_stops_the_script(
    name: str, right: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    text = (ROOT / "derivations" / f"{name}.py").read_text(encoding="utf-8")
    assert text.count(right) == 1
    script = tmp_path / "wrong.py"
    script.write_text(text.replace(right, wrong), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", [str(script), "--out", str(tmp_path)])
    with pytest.raises(DerivationError, match=r"^step"):
        runpy.run_path(str(script), run_name="__main__")
    assert not list(tmp_path.glob("*.tex"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_help_runs_nothing(
    script: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script), run_name="__main__")
    printed = capsys.readouterr().out
    assert not end.value.code
    assert "--out" in printed
    assert "[ok]" not in printed
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_scripts_open_as_notebooks(script: Path):
    text = script.read_text(encoding="utf-8")
    assert "format_name: percent" in text
    cells = re.split(r"^# %%", text, flags=re.MULTILINE)[1:]
    assert len(cells) > 10
    for cell in cells:
        if cell.startswith(" [markdown]"):
            lines = cell.splitlines()[1:]
            assert all(line.startswith("#") for line in lines if line), cell


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_golden_derivations_compile(tmp_path: Path):
    for golden in sorted(GOLDEN.glob("derivation_*.tex")):
        shutil.copy(golden, tmp_path)
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", golden.name],
            cwd=tmp_path,
            capture_output=True,
            check=False,
            timeout=120,
        )
        log = (tmp_path / golden.with_suffix(".log").name).read_text(errors="replace")
        assert done.returncode == 0, log[-2000:]
        assert "Overfull" not in log


# Steps


def network() -> ResNet:
    return ResNet(Branch(Activation("erf"), Linear()), scale=RHO, depth=DEPTH)


def test_a_wrong_coefficient_in_price_theorem_is_caught():
    factor = response(network()).output("chi").matrix[0, 0]
    growth = kernel(network()).definitions[-1][1]
    derivation = Derivation("response")
    derivation.step("right", check=(factor, 1 + RHO**2 * growth.diff(K)))
    with pytest.raises(DerivationError, match=r"step 2 of 'response', factor.*differs") as caught:
        derivation.step("wrong", check={"factor": (factor, 1 + 2 * RHO**2 * growth.diff(K))})
    assert "wrong" in str(caught.value)
    assert len(derivation.steps) == 1


@pytest.mark.parametrize(
    ("left", "right", "holds", "how"),
    [
        (sp.sin(x) ** 2 + sp.cos(x) ** 2, sp.Integer(1), True, "symbolic identity"),
        (sp.sin(x) ** 2, sp.Integer(1), False, "symbolic identity"),
        (sp.sqrt(x**2 + 2 * x + 1), x + 1, True, "symbolic identity"),
        (sp.Rational(1, 3), mpmath.mpf("0.3333333333333333333333333"), False, "45 of 50 digits"),
        (sp.pi, lambda: +mpmath.pi, True, "45 of 50 digits"),
        (0.1, sp.Rational(1, 10), True, "12 digits of double precision"),
        (0.1 + 1e-11, sp.Rational(1, 10), False, "12 digits of double precision"),
        (sp.Rational(38884, 100000), "0.3888", True, "to 4 decimals"),
        (sp.Rational(38886, 100000), "0.3888", False, "to 4 decimals"),
        (0.5, sp.Interval(0, 1), True, "interval"),
        (1.5, sp.Interval(0, 1), False, "interval"),
        (x, sp.Interval(0, 1), False, "interval"),
        (True, True, True, "statement"),
        (False, True, False, "statement"),
        (float("nan"), 1.0, False, "12 digits of double precision"),
        (float("inf"), float("inf"), False, "12 digits of double precision"),
    ],
)
def test_what_counts_as_equal(left: object, right: object, holds: bool, how: str):
    with mpmath.workdps(50):
        value = right() if isinstance(right, Callable) else right  # type: ignore[arg-type]
    found = compare_sides(left, value)
    assert found[:2] == (holds, how)


def test_checks_run_when_the_step_is_taken_and_their_record_is_frozen():
    calls: list[str] = []

    def check() -> tuple[object, object]:
        calls.append("run")
        return 1, 1

    step = Derivation("d").step("once", sp.Eq(x, x, evaluate=False), check)
    assert calls == ["run"]
    assert step.verified[0].how == "45 of 50 digits"
    with pytest.raises(FrozenInstanceError):
        step.text = "other"  # type: ignore[misc]


def test_report_and_announcement_say_the_same():
    said: list[str] = []
    derivation = Derivation("A title", announce=said.append)
    derivation.step(r"For $\rho^{*} = \frac{c}{\sqrt{L}}$ we have", {"y": x}, check=(x, x))
    derivation.step("And the network", kernel(network()))
    report = derivation.report()
    assert report.startswith("A title\n\n1. For rho* = ")
    assert all(line in report for text in said for line in text.strip().splitlines())
    assert "next K = C*rho**2 + K" in report


def test_plain_text_of_formulas():
    assert plain(r"$\sqrt{L}$ and $K^*$, $s \ge 1$") == "sqrt(L) and K*, s >= 1"
    assert plain("no formula, 5 % of a_b") == "no formula, 5 % of a_b"


def test_latex_of_a_derivation():
    derivation = Derivation("Price & co", (REFERENCES["price1958"].at("eq. (4)"),))
    derivation.step("The 1st step", {"K_star": sp.sqrt(x)}, check=(x, x))
    document = to_latex(derivation, "document")
    assert r"\section*{Price \& co}" in document
    assert r"K^{*} &= \sqrt{x}" in document
    assert "Price 1958, eq. (4) [1]" in document
    assert r"\emph{Checked:} the two sides are identical (symbolic identity)" in document
