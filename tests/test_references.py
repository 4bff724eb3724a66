"""The registry is complete and well-formed, and `cite` prints each paper once, sorted."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    compile_routine,
    evaluate,
    optimal_scale,
    response,
    sample,
)
from resexpand.errors import ResexpandError
from resexpand.references import REFERENCES, Citation, CitationError, Reference, cite

ARXIV_NUMBERS = {
    "2510.03470",
    "2305.07715",
    "2206.06929",
    "2210.00688",
    "1902.08129",
    "2002.10444",
    "2302.06112",
    "2404.04900",
    "2604.15742",
    "1605.06431",
    "1806.05393",
    "1810.05148",
    "2006.10540",
    "1806.07572",
    "1902.06720",
    "2001.07301",
    "1607.06450",
    "1910.07467",
    "2002.05202",
    "2002.04745",
    "1901.09321",
    "2203.00555",
    "2103.17239",
    "2310.02244",
    "2505.01618",
}
DOIS = {
    "10.1109/TIT.1958.1057444",
    "10.1145/2063384.2063405",
    "10.1093/imanum/drp008",
    "10.1017/CBO9780511526169",
}


def test_registry_holds_every_paper_the_theory_names():
    assert {r.arxiv for r in REFERENCES.values() if r.arxiv} == ARXIV_NUMBERS
    assert {r.doi for r in REFERENCES.values() if r.doi} == DOIS
    assert len(REFERENCES) == 31
    with pytest.raises(TypeError):
        REFERENCES["new"] = REFERENCES["price1958"]


@pytest.mark.parametrize("reference", REFERENCES.values(), ids=lambda r: r.key)
def test_entry_is_balanced_ascii_and_keyed_by_first_author_and_year(reference):
    entry = reference.bibtex()
    assert entry.isascii()
    assert entry.count("{") == entry.count("}")
    first = reference.authors[0].split(",")[0].lower().replace("-", "")
    assert re.fullmatch(f"{first}{reference.year}[b-z]?", reference.key)
    assert entry.startswith(("@article{", "@inproceedings{", "@misc{"))
    for line in entry.splitlines()[1:-1]:
        assert re.fullmatch(r"  [a-z]+ = \{.+\},", line)


def test_capitals_that_carry_meaning_survive_a_bibliography_style():
    assert "{ResNets}" in REFERENCES["fischer2023"].bibtex()
    assert "{EFT}" in REFERENCES["kawase2026"].bibtex()
    assert "title = {A useful theorem" in REFERENCES["price1958"].bibtex()
    assert r"G{\'e}rard" in REFERENCES["marion2025"].bibtex()


def test_short_form():
    assert REFERENCES["price1958"].short == "Price 1958"
    assert REFERENCES["fischer2023"].short == "Fischer, Dahmen & Helias 2023"
    assert REFERENCES["dotzel2024"].short == "Dotzel et al. 2024"
    assert str(REFERENCES["price1958"].at("eq. (4)")) == "Price 1958, eq. (4)"
    assert str(Citation(REFERENCES["price1958"])) == "Price 1958"


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        REFERENCES["price1958"].year = 1959
    with pytest.raises(dataclasses.FrozenInstanceError):
        REFERENCES["price1958"].at("eq. (4)").locator = ""


@pytest.mark.parametrize(
    "change",
    [{"key": "Price 58"}, {"authors": ()}, {"authors": ("Price",)}, {"venue": "", "doi": ""}],
)
def test_reference_that_cannot_be_found_is_refused(change):
    with pytest.raises(ValueError, match=r"price1958|Price 58"):
        dataclasses.replace(REFERENCES["price1958"], **change)


def test_cite_sorts_and_drops_duplicates():
    price, cho = REFERENCES["price1958"], REFERENCES["cho2009"]
    result = SimpleNamespace(citations=(price.at("eq. (4)"), cho.at("sec. 2")))
    other = SimpleNamespace(citations=(price.at("eq. (7)"),))
    expected = f"{cho.bibtex()}\n\n{price.bibtex()}"
    assert cite(result, other) == cite(other, result) == cite(price, cho.at("sec. 1")) == expected
    assert cite(SimpleNamespace(citations=())) == ""


def keys(thing: object) -> set[str]:
    return set(re.findall(r"@\w+\{(\w+),", cite(thing)))


def test_numbers_say_what_they_rest_on_as_formulas_do():
    def net(name: str) -> ResNet:
        return ResNet(Branch(Activation(name), Linear(1, 0)), scale=0.3, depth=2)

    for name, rule in (("erf", set()), ("tanh", {"pachon2010"})):
        formulas = response(net(name))
        routine = compile_routine(formulas)
        assert keys(routine) == keys(formulas) | rule
        assert keys(routine(K0=1.0)) == keys(evaluate(formulas, K0=1.0)) == keys(routine)
    optimum = optimal_scale(net("relu"))
    assert keys(evaluate(optimum, K0=1.0)) == keys(optimum)
    assert keys(sample(net("erf"), "kernel", 8, 40, K0=1.0)) == {"salmon2011"}


@pytest.mark.parametrize(
    "thing",
    [3, "price1958", SimpleNamespace(citations="eq. (4)"), SimpleNamespace(citations=("a",))],
)
def test_cite_refuses_what_says_nothing(thing):
    with pytest.raises(CitationError, match=type(thing).__name__) as caught:
        cite(thing)
    assert isinstance(caught.value, ResexpandError)
    assert isinstance(caught.value, TypeError)


@pytest.mark.skipif(shutil.which("bibtex") is None, reason="pdflatex is not installed")
def test_bibtex_itself_reads_every_entry_without_a_warning(tmp_path: Path):
    (tmp_path / "all.bib").write_text(cite(*REFERENCES.values()) + "\n")
    (tmp_path / "all.aux").write_text(
        "\\bibstyle{plain}\n\\bibdata{all}\n"
        + "".join(f"\\citation{{{key}}}\n" for key in REFERENCES)
    )
    run = subprocess.run(
        ["bibtex", "all"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stdout
    assert "arning" not in run.stdout, run.stdout
    assert (tmp_path / "all.bbl").read_text().count("\\bibitem") == len(REFERENCES)


def test_reference_equality_is_by_content():
    again = Reference(**dataclasses.asdict(REFERENCES["price1958"]))
    assert again == REFERENCES["price1958"]
