"""Pictures of rooted trees: SVG text for notebooks and pages, and terms beside their trees.

The root, which is the block that acts last, stands on top; children hang below it in canonical
order, so that the layers rise as in the network. Labels stand inside the vertices. SVG is drawn in
the colour of the text around it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resexpand.combinatorics import LabelledTree, Tree
from resexpand.errors import DescriptionError, UnsupportedError
from resexpand.export.figures.picture_files import in_notebook
from resexpand.export.figures.style import FAINT, INK, house_style
from resexpand.export.latex.to_latex import to_latex
from resexpand.theory.expansion import Expansion, Term

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, HIGH = 26.0, 28.0  # pixels between neighbours and between levels
DOT, RING = 4.5, 9.5  # radius of a vertex without and with a label
MARGIN = 2.0
MOST_TERMS = 40
"""Rows of a table or figure of terms."""

FONT = 10.5
"""Size of the formulas of a figure in points."""

_INCH = 1 / 110  # inches per pixel of the figure
_GAP = 0.16  # inches between rows
PAGE_HEIGHT = 6.2
"""Height in inches at which the terms of a figure go on in another column."""


class Picture(str):
    """SVG text that a notebook shows as the picture."""

    __slots__ = ()

    def _repr_svg_(self) -> str:
        return str(self)


class Table(str):
    """HTML text that a notebook shows as the table."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Layout:
    """Where the vertices of a tree stand, in preorder.

    Attributes
    ----------
    places : tuple of (float, float)
        Column and level of each vertex; the root has level 0.
    parents : tuple of int
        Place of the parent in preorder; -1 for the root.
    labels : tuple of str
        Texts in the vertices; empty for none.
    """

    places: tuple[tuple[float, float], ...]
    parents: tuple[int, ...]
    labels: tuple[str, ...]

    @property
    def size(self) -> tuple[float, float]:
        """Width and height between the outermost vertices, in pixels."""
        columns, levels = zip(*self.places, strict=True)
        return max(columns) * WIDE, max(levels) * HIGH

    @property
    def radius(self) -> float:
        """Radius of a vertex in pixels."""
        return RING if any(self.labels) else DOT


def tree_layout(tree: Tree | LabelledTree | Term) -> Layout:
    """Place the vertices of a tree: leaves side by side, every parent above its children.

    A term is drawn with its labels, at symbolic depth with its summation indices.

    Raises
    ------
    DescriptionError
        If it is no tree and no term.
    """
    shape, labels = _shape_and_labels(tree)
    places: list[tuple[float, float]] = []
    parents: list[int] = []
    leaves = 0

    def place(vertex: Tree, level: int, parent: int) -> float:
        nonlocal leaves
        mine = len(places)
        places.append((0.0, float(level)))
        parents.append(parent)
        below = [place(child, level + 1, mine) for child in vertex.children]
        column = (below[0] + below[-1]) / 2 if below else float(leaves)
        leaves += not below
        places[mine] = (column, float(level))
        return column

    place(shape, 0, -1)
    return Layout(tuple(places), tuple(parents), labels or ("",) * shape.order)


def _shape_and_labels(tree: Any) -> tuple[Tree, tuple[str, ...]]:
    if isinstance(tree, Tree):
        return tree, ()
    if isinstance(tree, LabelledTree):
        return tree.shape, tuple(map(str, tree.labels))
    if isinstance(tree, Term):
        labels = tree.labels if tree.sum is None else tree.sum.indices
        return tree.tree, tuple(map(str, labels or ()))
    raise DescriptionError(
        f"a picture of {tree!r}",
        f"it is of type {type(tree).__name__}",
        "give a Tree, a LabelledTree, or a term of an expansion",
    )


def tree_svg(tree: Tree | LabelledTree | Term) -> Picture:
    """Return the picture of a tree as SVG text.

    Parameters
    ----------
    tree : Tree, LabelledTree or Term
        Labels of a labelled tree, or the indices of a term, stand inside the vertices.

    Raises
    ------
    DescriptionError
        If it is no tree and no term.

    Examples
    --------
    >>> tree_svg(Tree()).splitlines()[0]
    '<svg xmlns="http://www.w3.org/2000/svg" width="13" height="13" viewBox="0 0 13 13">'
    """
    layout = tree_layout(tree)
    edge = layout.radius + MARGIN
    points = [(edge + x * WIDE, edge + y * HIGH) for x, y in layout.places]
    width, height = (2 * edge + size for size in layout.size)
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f"<title>{html.escape(_title(tree))}</title>",
        '<g stroke="currentColor" stroke-width="1.2" fill="none">',
    ]
    for place, parent in enumerate(layout.parents):
        if parent >= 0:
            (a, b), (c, d) = _shortened(points[parent], points[place], layout.radius)
            lines.append(f'<line x1="{a:.5g}" y1="{b:.5g}" x2="{c:.5g}" y2="{d:.5g}"/>')
    fill = "none" if any(layout.labels) else "currentColor"
    lines += [
        f'<circle cx="{x:.5g}" cy="{y:.5g}" r="{layout.radius:g}" fill="{fill}"/>'
        for x, y in points
    ]
    lines.append("</g>")
    if any(layout.labels):
        # Digits are centred by hand: not every viewer knows dominant-baseline.
        for (x, y), label in zip(points, layout.labels, strict=True):
            points_high = 12 if len(label) < 3 else 9
            slant = ' font-style="italic"' * label.isalpha()
            style = f'font-family="serif" font-size="{points_high}"{slant} text-anchor="middle"'
            where = f'x="{x:.5g}" y="{y + points_high / 3:.5g}"'
            lines.append(f'<text {where} {style} fill="currentColor">{html.escape(label)}</text>')
    return Picture("\n".join([*lines, "</svg>"]))


def _title(tree: Tree | LabelledTree | Term) -> str:
    return f"term {tree}" if isinstance(tree, Term) else f"tree {tree}"


def _shortened(
    start: tuple[float, float], end: tuple[float, float], radius: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the part of a line outside of the vertices at its ends."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    cut = radius / (dx * dx + dy * dy) ** 0.5
    return (start[0] + cut * dx, start[1] + cut * dy), (end[0] - cut * dx, end[1] - cut * dy)


def terms_table(expansion: Expansion) -> Table:
    """Return a table of an expansion: order, tree, and term as a formula, for notebooks.

    Formulas stand between dollar signs, which Jupyter typesets.

    Raises
    ------
    UnsupportedError
        If there are more terms than a table is good for.

    Examples
    --------
    >>> from resexpand.theory.expansion import residual_expansion
    >>> terms_table(residual_expansion(3)).count("<svg")
    4
    """
    rows = [
        f"<tr><td>{term.order}</td><td>{tree_svg(term)}</td>"
        f"<td>${html.escape(_formula(term))}$</td></tr>"
        for term in _shown(expansion)
    ]
    head = "<tr><th>order</th><th>tree</th><th>term</th></tr>"
    return Table("\n".join(["<table>", head, *rows, "</table>"]))


def _shown(expansion: Expansion) -> Sequence[Term]:
    if not isinstance(expansion, Expansion):
        raise DescriptionError(
            f"a table of {expansion!r}",
            f"it is of type {type(expansion).__name__}",
            "give what residual_expansion() returns",
        )
    count = sum(expansion.size(order) for order in expansion)
    if count > MOST_TERMS:
        raise UnsupportedError(
            f"a picture of all {count} terms",
            f"it would have more than {MOST_TERMS} rows",
            "truncate() the expansion, or draw one term at a time with tree_svg(term)",
        )
    return expansion.terms


def _formula(term: Term) -> str:
    """Return a term as `to_latex` writes it, without its environment."""
    return to_latex(term, cite=False).splitlines()[1].strip()


def terms_figure(expansion: Expansion) -> Figure:
    """Draw every term of an expansion beside its tree.

    Parameters
    ----------
    expansion : Expansion
        At symbolic depth up to order 4 it has eight terms.

    Returns
    -------
    Figure

    Raises
    ------
    UnsupportedError
        If there are more terms than a figure is good for.
    """
    from matplotlib.figure import Figure

    terms = _shown(expansion)
    with house_style():
        rows = [_Row.of(term) for term in terms]
        columns = _columns(rows)
        tree = max(row.tree_width for row in rows)
        step = 0.7 + tree + max(row.text_width for row in rows)
        high = max(sum(row.height for row in column) for column in columns)
        figure = in_notebook(Figure(figsize=(step * len(columns) + 0.1, high)))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_axis_off()
        axes.set(xlim=(0.0, figure.get_figwidth()), ylim=(high, 0.0))
        for place, column in enumerate(columns):
            _draw_column(axes, column, place * step, tree)
    return figure


@dataclass(frozen=True)
class _Row:
    """One term of a figure with its sizes in inches."""

    order: int
    layout: Layout
    text: str
    height: float
    tree_width: float
    text_width: float

    @classmethod
    def of(cls, term: Term) -> _Row:
        from matplotlib.textpath import TextPath

        layout, text = tree_layout(term), mathtext(_formula(term))
        width = float(TextPath((0.0, 0.0), f"${text}$", size=FONT).get_extents().width) / 72
        across, down = (_INCH * (size + 2 * layout.radius) for size in layout.size)
        # A sum with its limits needs as much as a tree of two levels.
        return cls(term.order, layout, text, max(down + _GAP, 0.42), across, width)


def _columns(rows: Sequence[_Row]) -> list[list[_Row]]:
    """Fill columns of about equal height, as few as a page allows."""
    total = sum(row.height for row in rows)
    count = max(1, round(total / PAGE_HEIGHT))
    columns: list[list[_Row]] = [[] for _ in range(count)]
    passed = 0.0
    for row in rows:
        columns[int(count * (passed + row.height / 2) / total)].append(row)
        passed += row.height
    return columns


def _draw_column(axes: Axes, rows: Sequence[_Row], left: float, tree: float) -> None:
    top, order = 0.0, 0
    for row in rows:
        middle = top + row.height / 2
        if row.order != order:
            order = row.order
            axes.text(left + 0.1, middle, f"$T_{order}$", va="center", color=FAINT)
        draw_tree(axes, row.layout, (left + 0.4 + tree / 2, middle))
        axes.text(left + 0.6 + tree, middle, f"${row.text}$", va="center", fontsize=FONT)
        top += row.height


def draw_tree(axes: Axes, layout: Layout, centre: tuple[float, float]) -> None:
    """Draw a tree around a point of axes measured in inches, downwards."""
    left, top = (c - _INCH * s / 2 for c, s in zip(centre, layout.size, strict=True))
    points = [(left + _INCH * x * WIDE, top + _INCH * y * HIGH) for x, y in layout.places]
    for place, parent in enumerate(layout.parents):
        if parent >= 0:
            ends = zip(points[parent], points[place], strict=True)
            axes.plot(*ends, color=INK, lw=0.9, zorder=1)
    size = 2 * layout.radius * _INCH * 72
    for point, label in zip(points, layout.labels, strict=True):
        face = "white" if label else INK
        axes.plot(*point, marker="o", ms=size, mfc=face, mec=INK, mew=0.8, zorder=2)
        if label:
            axes.text(*point, f"${label}$", ha="center", va="center_baseline", fontsize=8.5)


def mathtext(latex: str) -> str:
    r"""Return LaTeX in the subset that matplotlib draws: plain brackets, conditions in one row."""
    rows = re.sub(r"\\substack\{([^{}]*)\}", lambda m: m[1].replace(r"\\", r",\;"), latex)
    plain = re.sub(r"\\[bB]igg?[lr](?=[^a-z])", "", rows)
    return re.sub(r"\\le(?=[^a-z])", r"\\leq", plain)
