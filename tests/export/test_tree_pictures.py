"""Pictures of trees: every vertex and edge is drawn, labels are the labels, files well formed."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
import sympy as sp

from resexpand import residual_expansion
from resexpand.combinatorics import LabelledTree, Tree, labelled_trees, trees
from resexpand.errors import DescriptionError, UnsupportedError
from resexpand.export.figures.picture_files import save_figure
from resexpand.export.figures.trees import (
    MOST_TERMS,
    mathtext,
    terms_figure,
    terms_table,
    tree_layout,
    tree_svg,
)

SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def found(svg: str, tag: str) -> list[ET.Element]:
    return parsed(svg).findall(f".//{SVG}{tag}")


@pytest.mark.parametrize("tree", [t for order in range(1, 6) for t in trees(order)], ids=str)
def test_every_vertex_and_edge_is_drawn_once(tree: Tree):
    svg = tree_svg(tree)
    circles, lines = found(svg, "circle"), found(svg, "line")
    assert (len(circles), len(lines)) == (tree.order, tree.order - 1)
    centres = {(c.get("cx"), c.get("cy")) for c in circles}
    assert len(centres) == tree.order
    box = [float(n) for n in parsed(svg).get("viewBox", "").split()]
    for circle in circles:
        x, y, r = (float(circle.get(name, "nan")) for name in ("cx", "cy", "r"))
        assert r <= x <= box[2] - r
        assert r <= y <= box[3] - r


@pytest.mark.parametrize("tree", [t for order in range(1, 7) for t in trees(order)], ids=str)
def test_layout_is_that_of_the_tree(tree: Tree):
    """Read the tree back from places and parents; vertices of one level keep apart."""
    layout = tree_layout(tree)
    below: list[list[int]] = [[] for _ in layout.places]
    for vertex, parent in enumerate(layout.parents):
        if parent >= 0:
            below[parent].append(vertex)
            assert layout.places[vertex][1] == layout.places[parent][1] + 1
    rebuilt: dict[int, Tree] = {}
    for vertex in reversed(range(len(below))):
        rebuilt[vertex] = Tree([rebuilt[child] for child in below[vertex]])
    assert rebuilt[0] is tree
    for level in range(len({y for _, y in layout.places})):
        row = sorted(x for x, y in layout.places if y == level)
        assert all(b - a >= 1 for a, b in pairwise(row))


def test_labels_stand_in_preorder_inside_the_vertices():
    for tree in labelled_trees(4, 5):
        svg = tree_svg(tree)
        assert [t.text for t in found(svg, "text")] == [str(label) for label in tree.labels]
        for text, circle in zip(found(svg, "text"), found(svg, "circle"), strict=True):
            assert text.get("x") == circle.get("cx")
    high = tree_svg(LabelledTree(12345, [LabelledTree(7)]))
    assert [t.text for t in found(high, "text")] == ["12345", "7"]


def test_terms_are_drawn_with_their_indices():
    cherry = residual_expansion(3).term(Tree([Tree(), Tree()]))
    assert [t.text for t in found(tree_svg(cherry), "text")] == ["k", "i", "j"]
    (repeated,) = residual_expansion(3, 2)[3]
    assert [t.text for t in found(tree_svg(repeated), "text")] == ["2", "1", "1"]


def test_colours_are_those_of_the_text_around():
    assert not re.search(r"#|white|black", tree_svg(trees(4)[2]).replace("http", ""))


def test_notebooks_show_pictures_and_tables():
    assert tree_svg(Tree())._repr_svg_() == tree_svg(Tree())
    table = terms_table(residual_expansion(2))
    assert table._repr_html_() == table


def test_table_has_a_row_per_term():
    table = terms_table(residual_expansion(4))
    assert table.count("<tr>") == 1 + 8
    assert table.count("<svg") == 8
    assert r"$\sum_{1 \le i &lt; j \le n} \lambda_{i} \lambda_{j} f_{j}&#x27;(f_{i})$" in table


def test_figure_has_every_term_beside_its_tree(tmp_path):
    expansion = residual_expansion(4, scales=1)
    figure = terms_figure(expansion)
    (axes,) = figure.axes
    vertices = [line for line in axes.lines if line.get_marker() == "o"]
    assert len(vertices) == sum(term.order for term in expansion.terms)
    words = [text.get_text() for text in axes.texts]
    assert [word for word in words if word.startswith("$T_")] == [f"$T_{k}$" for k in range(1, 5)]
    assert sum("f_" in word for word in words) == 8
    assert all(path.stat().st_size for path in save_figure(figure, tmp_path / "trees"))


def test_rows_do_not_overlap_and_go_on_in_columns():
    figure = terms_figure(residual_expansion(3, 4))
    (axes,) = figure.axes
    heads = [t for t in axes.texts if t.get_text().startswith("$T_")]
    assert len({t.get_position()[0] for t in heads}) == 2
    texts = [t.get_position() for t in axes.texts if "f_" in t.get_text()]
    assert len(texts) == len(residual_expansion(3, 4).terms)
    for left in {x for x, _ in texts}:
        column = sorted(y for x, y in texts if x == left)
        assert all(b - a > 0.4 for a, b in pairwise(column))
        assert 0 < column[0] < column[-1] < figure.get_figheight()


def test_formulas_in_the_subset_of_matplotlib():
    assert mathtext(r"\sum_{\substack{j < k \le n \\ i < k}} f\bigl(x\bigr)") == (
        r"\sum_{j < k \leq n ,\; i < k} f(x)"
    )
    assert mathtext(r"\left( x \right)") == r"\left( x \right)"


def test_too_many_terms_are_refused():
    with pytest.raises(UnsupportedError, match=f"more than {MOST_TERMS} rows"):
        terms_figure(residual_expansion(4, 6))
    with pytest.raises(UnsupportedError, match="truncate"):
        terms_table(residual_expansion(7))


@pytest.mark.parametrize("wrong", [3, "tree", sp.Symbol("x"), [Tree()]])
def test_what_is_no_tree_is_refused(wrong):
    for draw in (tree_svg, terms_table, terms_figure):
        with pytest.raises(DescriptionError, match="type"):
            draw(wrong)
