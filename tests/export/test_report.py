"""The report is one page that says what the results say, and asks for nothing else."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import sympy as sp

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    compare,
    derive,
    evaluate,
    kernel,
    report,
    sample,
)
from resexpand.cli import main
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.export.report import drawn
from resexpand.expressions.shown import Card

NET = ResNet(Branch(Activation("erf"), Linear(1, 0)), scale=0.4, depth=3)


class Tags(HTMLParser):
    """Collects what a page would load, and whether its tags match."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.loads, self.scripts = list[str](), list[str](), 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "br", "img", "use", "path", "rect", "circle"):
            self.open.append(tag)
        self.scripts += tag == "script"
        self.loads += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v]

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open and self.open.pop() != tag:
                pass


def read(path: Path) -> tuple[str, Tags]:
    text, tags = path.read_text("utf-8"), Tags()
    tags.feed(text)
    return text, tags


@pytest.fixture(scope="module")
def results() -> tuple[object, ...]:
    values = evaluate(kernel(NET), K0=1.0)
    runs = [sample(NET, "kernel", n, 4000, K0=1.0, seed=n) for n in (64, 128)]
    return values, runs[1], compare({"K": values["K"]}, runs)


def test_a_page_holds_all_and_loads_nothing(results: tuple[object, ...], tmp_path: Path) -> None:
    path = report(tmp_path / "page.html", kernel(NET), *results, title="a < b")
    text, tags = read(path)
    assert tags.scripts == 0
    assert [load for load in tags.loads if not load.startswith("#")] == []
    assert not re.search(r"url\((?!#|&quot;#|\"#)", text)
    assert tags.open in ([], ["html", "body"])
    assert "a &lt; b" in text
    assert "Verdict: agrees" in text
    assert "4000 networks of width 128" in text
    assert "@misc{fischer2023" in text
    assert "&#34;resexpand&#34;: &#34;0.1.0&#34;" in text
    assert text.count("<svg") >= 6


def test_a_wrong_theory_is_reported_as_wrong(results: tuple[object, ...], tmp_path: Path) -> None:
    values, run, _ = results
    wrong = compare({"K": 1.2 * values["K"]}, run, neglected=0.01)  # type: ignore[index,arg-type]
    text, _ = read(report(tmp_path / "page.html", wrong))
    assert "Verdict: disagrees" in text
    assert "Verdict: agrees" not in text


def test_text_of_users_is_escaped(tmp_path: Path) -> None:
    class Named:
        def card(self) -> Card:
            return Card("<script>alert(1)</script>", (("<b>", "</table>"),), ("! <i>",))

    text, tags = read(report(tmp_path / "page.html", Named()))
    assert tags.scripts == 0
    assert "&lt;script&gt;" in text


def test_a_derivation_shows_its_checks(tmp_path: Path) -> None:
    text, _ = read(report(tmp_path / "page.html", derive(NET, "kernel")))
    assert "checked: kernel behind 2 blocks" in text


def test_formulas_are_pictures_or_latex() -> None:
    formula = r"\langle \phi'^{2} \rangle_{K^{l-1}} \biggl[ \frac{\rho^{2}}{2} \biggr]"
    assert "<svg" in drawn(formula)
    assert drawn(r"\begin{smallmatrix} a < b \end{smallmatrix}").startswith("<pre>")
    assert "a &lt; b" in drawn(r"\begin{smallmatrix} a < b \end{smallmatrix}")


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HyperparameterError, match="no results"):
        report(tmp_path / "page.html")
    with pytest.raises(UnsupportedError, match="type Symbol"):
        report(tmp_path / "page.html", sp.Symbol("x"))
    assert not list(tmp_path.iterdir())


def test_the_command_line_reads_what_was_saved(
    results: tuple[object, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    results[0].save("kernel.npz")  # type: ignore[attr-defined]
    results[2].save("verdict.npz")  # type: ignore[attr-defined]
    assert main(["report", "kernel.npz", "verdict.npz", "--out", "page.html"]) == 0
    assert "wrote page.html" in capsys.readouterr().err
    assert "<title>kernel, verdict</title>" in (tmp_path / "page.html").read_text("utf-8")
    assert main(["report", "missing.npz"]) == 2


def test_a_validation_is_reported_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    few = ["--width", "32,64", "--draws", "64", "--dense-width", "16", "--dense-draws", "32"]
    code = main(["validate", "--depth", "2", "--rho", "0.3,0.6", "--out", "run", *few])
    assert main(["report", "run", "--out", "page.html"]) == 0
    text, tags = read(tmp_path / "page.html")
    assert tags.scripts == 0
    verdict = {0: "agrees", 1: "disagrees", 2: "inconclusive"}[code]
    assert f"Verdict: {verdict}" in text
    assert "data:image/png;base64," in text
    assert "<td>0.6</td>" in text
    assert "optimal residual scale" in text.lower()
    (tmp_path / "run" / "record.json").write_text("{}")
    capsys.readouterr()
    assert main(["report", "run"]) == 2
    assert "no folder that 'resexpand validate' wrote" in capsys.readouterr().err
