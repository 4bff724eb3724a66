"""``resexpand expand`` end to end: terms, counts, remainder, pictures, one-line errors."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

COMMAND = ("expand",)


def test_terms_counts_and_remainder(call):
    code, out, err = call("--order", 3)
    assert (code, err) == (0, "")
    assert "1/2 sum_{1<=k<=n} sum_{i, j<k} lambda_i lambda_j lambda_k f_k''(f_i, f_j)" in out
    assert "n*(n - 1)*(4*n - 5)/12" in out
    assert "at most 5*R*q**4/(128*(1 - q)) for q = 2*M*t/R < 1, t = |lambda_1| + ... " in out
    assert "sufficient" in out


def test_record_of_a_number_of_blocks(answer):
    record = answer("--order", 5, "--blocks", 4, "--scales", 0.1, "--bounds", "1,2")
    assert record["sizes"] == {"1": 4, "2": 6, "3": 14, "4": 32, "5": 75}
    assert len(record["terms"]) == 4 + 6 + 14 + 32 + 75
    counts = record["counts"][0]
    assert counts["depth"] == 4
    assert list(counts["weighted"].values()) == ["4", "6", "11", "21", "161/4"]
    assert list(counts["distinct"].values()) == ["4", "6", "8", "6", "0"]
    repeated = [t for t in record["terms"] if t["labels"] == [2, 1, 1]]
    assert [t["coefficient"] for t in repeated] == ["1/2"]
    remainder = record["remainder"]
    assert remainder["load"] == "2/5"
    # q = 2 M t/R with t = 0.4: the flow gives R (1 - sqrt(1 - q)) minus its first five orders.
    q = 0.4
    flow = (
        1
        - math.sqrt(1 - q)
        - sum(math.comb(2 * j, j) / (4**j * (2 * j - 1)) * q**j for j in range(1, 6))
    )
    assert 0 < remainder["value"] < 2 * flow
    assert remainder["converges"] is True
    assert any("Dherin" in citation for citation in record["citations"])


def test_depths_are_counted_without_terms(answer):
    record = answer("--order", 10, "--depth", "100,1e6")
    assert [counts["depth"] for counts in record["counts"]] == [100, 10**6]
    assert int(record["counts"][1]["distinct"]["2"]) == math.comb(10**6, 2)
    assert record["settings"]["depth"] == "n"


def test_concrete_blocks_are_put_in(call):
    code, out, _ = call("--order", 2, "--blocks", "sin(x); x**2", "--scales", "1,1/2")
    assert code == 0
    assert "= x**2/2 + x*sin(x) + x + sin(x)" in out


@pytest.mark.parametrize(
    ("scales", "expected"),
    [("1/sqrt(n)", "1/sqrt(n) sum"), ("eps", "eps sum"), ("0.5", "1/2 sum"), ("1", "+ sum")],
)
def test_scales_may_depend_on_the_depth(call, scales, expected):
    code, out, _ = call("--order", 1, "--scales", scales)
    assert code == 0
    assert expected in out


def test_scale_in_n_takes_the_number_of_blocks(answer):
    record = answer("--order", 1, "--blocks", 4, "--scales", "1/sqrt(n)")
    assert record["settings"]["scales"] == ["1/2"] * 4


def test_latex(call, answer):
    code, out, _ = call("--order", 3, "--latex")
    assert code == 0
    assert r"\frac{1}{2} \sum_{i, j < k \le n}" in out
    assert r"\documentclass" not in out
    _, out, _ = call("--order", 2, "--latex", "--style", "document")
    assert r"\documentclass" in out
    assert "What is neglected after order 2" in out
    assert r"\sum" in answer("--order", 2, "--latex")["latex"]


def test_gated_paths(call, answer):
    code, out, err = call("--basis", "paths", "--blocks", 2)
    assert (code, err) == (0, "")
    assert "lambda_1*lambda_2 W_2 D_2 W_1 D_1 x" in out
    assert "first gate" in " ".join(out.split())
    record = answer("--basis", "paths", "--order", 2)
    assert record["lengths"]["2"]["paths"] == "n*(n - 1)/2"
    assert "lambda_i*lambda_j W_j D_j W_i D_i x" in record["lengths"]["2"]["text"]
    _, out, _ = call("--basis", "paths", "--activation", "max(-1,min(1,x))", "--blocks", 1)
    assert "lambda_1 c_1" in out


@pytest.mark.parametrize("kind", ["trees", "counts"])
def test_pictures(call, tmp_path, kind):
    written = tmp_path / "figure.svg"
    code, out, err = call("--order", 4, "--figure", kind, "--depth", 100, "--out", written)
    assert (code, out) == (0, "")
    assert "wrote" in err
    assert ET.parse(written).getroot().tag.endswith("svg")
    again = tmp_path / "again.svg"
    call("--order", 4, "--figure", kind, "--depth", 100, "--out", again)
    assert again.read_bytes() == written.read_bytes()


def test_other_files(call, tmp_path):
    for name, start in (("a.png", b"\x89PNG"), ("a.pdf", b"%PDF"), ("a.tex", b"\\documentclass")):
        code, _, err = call("--order", 2, "--out", tmp_path / name)
        assert code == 0, err
        assert (tmp_path / name).read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("--order", 0), "--order 0"),
        (("--order", "x"), "--order 'x'"),
        (("--blocks", 0), "--blocks 0"),
        (("--blocks", "y"), "unknown name y"),
        (("--blocks", "max(0,x)"), "gated_path_sum"),
        (("--blocks", 2, "--scales", "1,2,3"), "3 scales for 2 blocks"),
        (("--scales", "1,2"), "symbolic depth"),
        (("--scales", "2*y"), "unknown name y"),
        (("--scales", "nan"), "nan is not a finite real number"),
        (("--scales", "inf"), "inf is not a finite real number"),
        (("--bounds", "1"), "give two, M,R"),
        (("--bounds", "0,1"), "M > 0"),
        (("--out", "figure.gif"), ".svg, .pdf, .png, .tex"),
        (("--basis", "paths", "--activation", "tanh"), "curved"),
        (("--basis", "paths", "--activation", "sign"), "jumps"),
        (("--basis", "paths", "--blocks", "x;x"), "a number"),
        (("--basis", "paths", "--depth", 3), "leave it out"),
        (("--activation", "relu"), "--basis paths"),
        (("--order", 8, "--blocks", 100), "PiB"),
        (("--order", 7, "--figure", "counts", "--out", "a.svg"), "up to 6"),
        (("--order", 7, "--out", "a.svg"), "more than 40 rows"),
    ],
)
def test_errors_are_one_line(call, arguments, match):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("resexpand: error: ")
    assert err.count("\n") == 1
    assert match in err


def test_unknown_options_are_refused(call):
    code, _, err = call("--nothing")
    assert code == 2
    assert err.count("\n") == 1
