"""What goes into a paper: columns, labels, keys, notation, and the paragraph of methods."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import sympy as sp

from resexpand import (
    Activation,
    Branch,
    LayerNorm,
    Linear,
    ResNet,
    cite,
    compare,
    describe,
    evaluate,
    kernel,
    one_loop,
    optimal_scale,
    response,
    sample,
    to_latex,
)
from resexpand.cli import main
from resexpand.conventions import DEPTH, RHO
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.export.latex.layout import width
from resexpand.export.latex.printer import FormulaPrinter

NET = ResNet(Branch(Activation("erf_unit"), Linear()), scale=RHO, depth=DEPTH)
CLASSES = {
    "revtex4-2": (r"\documentclass[twocolumn,pra]{revtex4-2}", "column"),
    "article": (r"\documentclass[10pt,twocolumn]{article}", "column"),
    "neurips": (
        r"\documentclass[10pt]{article}\usepackage[textwidth=5.5in,textheight=9in]{geometry}",
        "text",
    ),
}


def typeset(head: str, body: str, folder: Path) -> list[str]:
    """Return the boxes that TeX finds too wide or too high."""
    text = f"{head}\n\\usepackage{{amsmath}}\\allowdisplaybreaks\n\\begin{{document}}\n"
    (folder / "paper.tex").write_text(f"{text}{body}\n\\end{{document}}\n", encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "paper.tex"],
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=120,
    )
    log = (folder / "paper.log").read_text(errors="replace")
    assert done.returncode == 0, log[-2000:]
    return re.findall(r"Overfull.*", log)


def contents(room: str) -> str:
    pair = ResNet(
        Branch(Activation("gelu"), Linear(), Activation("relu"), Linear()), scale=RHO, depth=DEPTH
    )
    normed = ResNet(Branch(LayerNorm(), Activation("relu"), Linear()), scale=RHO, depth=DEPTH)
    results = [kernel(NET, inputs=2), response(pair, "covariance"), optimal_scale(NET)]
    results += [response(normed)]
    parts = [to_latex(r, s, closed=c, width=room) for r in results for c in (0, 1) for s in STYLES]
    return "\n".join([*parts, *(to_latex(one_loop(NET), style, width=room) for style in STYLES)])


STYLES = ("equation", "aligned")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("name", CLASSES)
def test_no_line_leaves_its_column(name: str, tmp_path: Path) -> None:
    head, room = CLASSES[name]
    kpsewhich = shutil.which("kpsewhich") or "kpsewhich"
    found = subprocess.run([kpsewhich, "revtex4-2.cls"], capture_output=True, check=False)
    if name == "revtex4-2" and not found.stdout:
        head = CLASSES["article"][0]  # a narrower column than that of revtex
    assert typeset(head, contents(room), tmp_path) == []


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_the_page_is_too_wide_for_a_column(tmp_path: Path) -> None:
    text = to_latex(response(NET), closed=True)
    assert typeset(CLASSES["article"][0], text, tmp_path)


def test_a_broken_formula_is_the_formula() -> None:
    """Breaking an average of a sum into averages loses no term."""
    whole = to_latex(response(NET), cite=False)
    narrow = to_latex(response(NET), cite=False, width=12)
    assert narrow.count(r"\phi''") == whole.count(r"\phi''")
    assert max(width(line) for line in narrow.splitlines()) < 24


def test_labels_are_distinct_and_every_equation_has_one() -> None:
    for style in ("equation", "aligned", "document"):
        text = to_latex([kernel(NET), response(NET)], style, labels="eq:")  # type: ignore[arg-type]
        labels = re.findall(r"\\label\{(.*?)\}", text)
        assert len(labels) == len(set(labels)) > 1
        assert all(re.fullmatch(r"eq:[a-z0-9-]+", one) for one in labels)
    assert r"\label{eq:constant}" in to_latex(optimal_scale(NET).constant, labels="eq:").replace(
        "constant-1", "constant"
    )
    assert "label" not in to_latex(kernel(NET))


def test_keys_are_those_of_the_bibliography() -> None:
    theory = response(NET)
    keys = set(re.findall(r"\\cite(?:\[.*?\])?\{(.*?)\}", to_latex(theory, cite="keys")))
    assert keys == set(re.findall(r"@\w+\{(.*?),", cite(theory)))
    assert "\\cite" not in to_latex(theory)


def test_own_notation_is_written_everywhere() -> None:
    own = {"rho": r"\beta", "K": "Q", "sigma_w2": r"\alpha", "phi": "f"}
    text = to_latex(one_loop(NET), "document", notation=own)
    assert r"\beta^{2}" in text
    assert r"\alpha^{2}" in text
    assert "Q^{l-1}" in text
    for old in (r"\rho", r"\sigma_{w}", r"\phi"):
        assert old not in text
    assert r"\mathrm{Cov}\bigl(Q^{l}" in text
    assert "Christopher K. I. Williams" in text
    swapped = to_latex({"y": sp.Symbol("K") + sp.Symbol("C")}, notation={"K": "C", "C": "K"})
    assert "K + C" in swapped or "C + K" in swapped


@pytest.mark.parametrize("wrong", ["", "a$b", "{", 3, "a#"])
def test_what_is_no_notation_is_refused(wrong: object) -> None:
    with pytest.raises(HyperparameterError, match="notation"):
        to_latex(kernel(NET), notation={"rho": wrong})  # type: ignore[dict-item]


@pytest.mark.parametrize("wrong", ["wide", 3, True, float("nan")])
def test_a_width_without_room_is_refused(wrong: object) -> None:
    with pytest.raises(HyperparameterError, match="width"):
        to_latex(kernel(NET), width=wrong)  # type: ignore[arg-type]


def test_symbols_of_the_order_one_over_n_stand_for_one_thing_each() -> None:
    net = ResNet(Branch(Activation("erf_unit"), Linear(1, 0)), scale=20**-0.5, depth=20)
    text = to_latex(one_loop(net), "document")
    assert len(re.findall(r"^  \\gamma_\{2\}\^", text, re.MULTILINE)) == 1
    assert r"\rho &= 0.223607" in text
    assert FormulaPrinter().text(net.scale) == "0.223607"


def test_the_command_line_writes_the_order_one_over_n(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["latex", "--of", "one-loop", "--labels", "eq:", "--width", "column"]) == 0
    text = capsys.readouterr().out
    assert r"\mathrm{Cov}" in text
    assert r"\label{eq:order-1-n}" in text


def test_the_paragraph_says_what_was_done() -> None:
    net = ResNet(Branch(Activation("erf"), Linear(1, 0)), scale=0.4, depth=3)
    theory = kernel(net)
    values = evaluate(theory, K0=1.0)
    runs = [sample(net, "kernel", n, 4000, K0=1.0, seed=n) for n in (64, 128)]
    verdict = compare({"K": values["K"]}, runs)
    text = describe(net, theory, values, runs, verdict)
    for part in (
        "4000 networks of width 64 and 128 and depth 3",
        "seed 64 and 128",
        "up to O(1/N)",
        "agree at 4 entries (K)",
        "resexpand 0.1.0",
        "Fischer, Dahmen & Helias 2023",
    ):
        assert part in text
    wrong = compare({"K": 1.2 * values["K"]}, runs)
    assert "disagree" in describe(wrong)
    keys = set(re.findall(r"\\cite\{(.*?)\}", describe(theory, latex=True)))
    assert "fischer2023" in keys
    with pytest.raises(UnsupportedError, match="type dict"):
        describe({})


def test_labels_that_tex_would_take_for_commands_are_refused():
    net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=3)
    for labels in ("a}b", "50%", "a b"):
        with pytest.raises(HyperparameterError, match="labels that begin"):
            to_latex(kernel(net), labels=labels)


def test_a_name_without_a_symbol_is_refused() -> None:
    """One of the package need not occur: a notation serves all formulas of a paper."""
    with pytest.raises(HyperparameterError, match="the notation of foo, zz: no symbol"):
        to_latex(kernel(NET), notation={"foo": "x", "zz": "y", "K": "Q"})
    assert "Q" in to_latex(kernel(NET), notation={"K": "Q", "eta": "h"})


def test_true_cites_by_key() -> None:
    assert to_latex(kernel(NET), cite=True) == to_latex(kernel(NET), cite="keys")
    assert r"\cite{fischer2023}" in to_latex(kernel(NET), cite=True)
    assert r"\cite" not in to_latex(kernel(NET))
    with pytest.raises(HyperparameterError, match="use True for"):
        to_latex(kernel(NET), cite="yes")  # type: ignore[arg-type]
