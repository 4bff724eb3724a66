r"""Expansions, remainders and path sums as sections.

A nested sum is written under one sign, with its inequalities joined where a reader would join
them: ``\sum_{1 \le i < j \le n} f_j'(f_i)``, ``\frac{1}{2} \sum_{i, j < k \le n} f_k''(f_i, f_j)``.
At a number of blocks the terms of an order stand together by their scales. Blocks and derivatives
are taken at the input.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import sympy as sp

from resexpand.combinatorics import Tree
from resexpand.export.latex.layout import PAGE, Equation, packed, page, width
from resexpand.export.latex.printer import FormulaPrinter
from resexpand.export.latex.sections import Section, Text, equation, prose
from resexpand.theory.expansion import Expansion, NestedSum, Term
from resexpand.theory.expansion.wording import differential_text, scale_text
from resexpand.theory.gated_paths import GatedPathSum
from resexpand.theory.remainder import RemainderBound, remainder_bound

MOST_TERMS = 120
"""Terms of an order that are written out; of longer ones the number is said."""

ROOM = 0.7 * PAGE
"""Terms of one scale stay on one line up to this width."""

_MATHS = re.compile(r"\b(q < 1|n - 1|n|R)\b")
_TIME = sp.Symbol("t", positive=True)
_PREAMBLE = (
    "The network $F = %s$ is expanded in its scales; all blocks and their derivatives are taken at "
    "$x$. The terms of order $k$ make $T_k$:"
)


def expansion_section(expansion: Expansion, closed: bool) -> Section:
    """Return every order of an expansion, and what a bound of the rest looks like."""
    network = expansion.identity == 1
    start = "x + " if network else ""
    dots = r" + \cdots" if network else ""
    whole = " + ".join(f"T_{{{k}}}" for k in expansion)
    parts: list[Text | Equation] = [
        Text(_preamble(expansion)),
        Equation("F(x)" if network else r"\partial F(x)", (f"{start}{whole}{dots}",)),
        *_definitions(expansion),
        *(_order(expansion, k) for k in expansion),
    ]
    of = "Residual expansion" if network else "Derivative of a residual expansion"
    title = f"{of} to order {expansion.order}"
    if network:
        parts += remainder_parts(remainder_bound(expansion))
    return Section(title, tuple(parts), expansion.citations)


def _preamble(expansion: Expansion) -> str:
    depth = FormulaPrinter().text(sp.sympify(expansion.depth, strict=True))
    if expansion.identity != 1:
        return "The derivative of a network in one of its scales, order by order at $x$:"
    scales: Any = expansion.scales
    if isinstance(scales, sp.IndexedBase):
        first, last = (scale_text(scales, [i], latex=True) for i in ("1", depth))
    elif isinstance(scales, tuple):
        first, last = (_number(scale) for scale in (scales[0], scales[-1]))
    else:
        first = last = _number(scales)
    ends = [rf"({_joined_block(last, depth)})", rf"({_joined_block(first, '1')})"]
    between = [] if expansion.depth == 2 else [r"\cdots"]
    return _PREAMBLE % r" \circ ".join([ends[0], *between, ends[1]] if depth != "1" else ends[:1])


def _joined_block(scale: str, index: str) -> str:
    return f"1 {_signed(_product(scale, f'f_{{{index}}}'))}"


def _definitions(expansion: Expansion) -> list[Equation]:
    """Return the concrete blocks, ``f_1(x) = ...``."""
    blocks = []
    for place, block in enumerate(expansion.blocks or (), start=1):
        if block.index:
            continue
        size = block.dimension or 1
        names = ["x"] if size == 1 else [f"x_{a}" for a in range(1, size + 1)]
        entries = block.components([sp.Symbol(name, real=True) for name in names])
        left = rf"f_{{{place}}}(x)"
        if size == 1:
            blocks.append(equation(left, entries[0]))
            continue
        rows = r" \\ ".join(FormulaPrinter().text(entry) for entry in entries)
        blocks.append(Equation(left, (rf"\begin{{pmatrix}} {rows} \end{{pmatrix}}",)))
    return blocks


def term_section(term: Term, closed: bool) -> Section:
    """Return one term by itself."""
    return Section("", (Equation("", (_summand(term),)),))


def _order(expansion: Expansion, order: int) -> Equation:
    """Return one order on as many lines as it needs."""
    left = f"T_{{{order}}}"
    size = expansion.size(order)
    if size > MOST_TERMS:
        return Equation(left, (rf"\cdots \quad ({size} \text{{ terms}})",))
    terms = [term for term in expansion[order] if term.scale != 0]
    if isinstance(expansion.depth, int):
        pieces = [piece for same in _by_scales(terms) for piece in _bracketed(same)]
    else:
        pieces = [_summand(term) for term in terms]
    signed = [*pieces[:1], *map(_signed, pieces[1:])] or ["0"]
    return Equation(left, packed(signed, page() - width(left) - 3))


def _by_scales(terms: Sequence[Term]) -> list[list[Term]]:
    """Return terms in groups of equal scales, in the order of the blocks that have them."""

    def key(term: Term) -> tuple[list[int], str]:
        return sorted(term.labels or ()), _split_scale(term)[1]

    if len({_split_scale(term)[1] for term in terms}) == 1:
        return [list(terms)]
    return [list(same) for _, same in groupby(sorted(terms, key=key), key=key)]


def _split_scale(term: Term) -> tuple[str, str]:
    """Return coefficient and scale as LaTeX; a number that is the scale of all is a coefficient."""
    number, scale = (term.coefficient * term.scale).as_coeff_Mul()
    return _number(number), _number(scale)


def _bracketed(same: Sequence[Term]) -> list[str]:
    """Return terms of one scale as pieces between which a line may break."""
    front = _split_scale(same[0])[1]
    inside = [
        (_split_scale(term)[0], differential_text(term.tree, term.labels or (), True))
        for term in same
    ]
    if len(inside) == 1 or front == "1":
        return [_product(number, front, text) for number, text in inside]
    first, *rest = (_product(*factors) for factors in inside)
    pieces = [rf"{front} \, \Bigl[ {first}", *map(_signed, rest)]
    pieces[-1] += r" \Bigr]"
    whole = " ".join(pieces)
    return [whole] if width(whole) <= ROOM else pieces


def _signed(piece: str) -> str:
    return piece if piece.startswith(("- ", "+ ")) else f"+ {piece}"


def _product(*factors: str) -> str:
    sign = ["-"] if "-1" in factors else []
    return " ".join([*sign, *(factor for factor in factors if factor not in ("1", "-1"))])


def _number(expression: sp.Expr) -> str:
    text = FormulaPrinter().text(expression)
    return rf"\left( {text} \right)" if expression.is_Add else text


def _summand(term: Term) -> str:
    """Return a term at symbolic depth: number, scale, sum, differential; otherwise its text."""
    nested = term.sum
    if nested is None:
        return term.text(latex=True)
    number, scale = (term.coefficient * term.scale).as_coeff_Mul()
    differential = differential_text(term.tree, nested.indices, True)
    if scale.has(sp.Indexed):
        base = next(iter(scale.atoms(sp.Indexed))).base
        inside = scale_text(base, nested.indices, latex=True)
        return _product(_number(number), sum_sign(nested), inside, differential)
    return _product(_number(number), _number(scale), sum_sign(nested), differential)


def sum_sign(nested: NestedSum) -> str:
    r"""Return the sign of a nested sum, all its inequalities under one ``\sum``.

    Examples
    --------
    >>> import sympy as sp
    >>> from resexpand.combinatorics import Tree
    >>> print(sum_sign(NestedSum(Tree([Tree(), Tree()]), sp.Symbol("n"))))
    \sum_{i, j < k \le n}
    """
    rows = _conditions(nested.tree, iter(nested.indices))
    first, *rest = rows
    depth = FormulaPrinter().text(nested.depth)
    is_chain = not rest and "," not in first
    first = rf"1 \le {first}" if is_chain else first
    if not rest:
        return rf"\sum_{{{first} \le {depth}}}"
    lines = r" \\ ".join([rf"{first} \le {depth}", *rest])
    return rf"\sum_{{\substack{{{lines}}}}}"


def _conditions(tree: Tree, names: Any) -> list[str]:
    """Return inequalities below and including the root: one joined row, then the others."""
    name = next(names)
    if not tree.children:
        return [name]
    below = [(_conditions(child, names), child.order) for child in tree.children]
    leaves = [rows[0] for rows, order in below if order == 1]
    branches = sorted((pair for pair in below if pair[1] > 1), key=lambda pair: -pair[1])
    if not branches:
        return [f"{', '.join(leaves)} < {name}"]
    main, *others = [rows for rows, _ in branches]
    rows = [f"{main[0]} < {name}", *main[1:]]
    for other in others:
        rows += [f"{other[0]} < {name}", *other[1:]]
    return [*rows, f"{', '.join(leaves)} < {name}"] if leaves else rows


def remainder_section(bound: RemainderBound, closed: bool) -> Section:
    """Return a bound of what is neglected, where it holds, and its value at numbers."""
    parts = remainder_parts(bound)
    if bound.is_number and sp.Float(bound.value).is_finite:
        digits = sp.latex(sp.Float(bound.value, 4))
        parts.append(Text(rf"Layer by layer the bound is ${digits}$ at these numbers."))
    parts.append(Text(prose(_MATHS.sub(r"$\1$", bound.statement))))
    title = f"What is neglected after order {bound.order}"
    return Section(title, tuple(parts), bound.closed.citations)


def remainder_parts(bound: RemainderBound) -> list[Text | Equation]:
    """Return assumption, load and closed bound of a remainder."""
    m = r"\| D^{m} f_{i}(x) \| \le " + (
        r"M \, m! / R^{m}" if bound.majorant.kind == "analytic" else "M / R^{m}"
    )
    envelope = bound.majorant.envelope()
    words = rf"If ${m}$ for all $m$ and all blocks, then for $q < 1$"
    if bound.majorant.is_number:
        known = rf"M = {_number(envelope.M)}$, $R = {_number(envelope.R)}"
        words = rf"With ${m}$, ${known}$, and $q < 1$,"
    rest = rf"\bigl\| F(x) - x - T_1 - \cdots - T_{{{bound.order}}} \bigr\| \le"
    if bound.order == 1:
        rest = r"\bigl\| F(x) - x - T_1 \bigr\| \le"
    printer = FormulaPrinter()
    tail, load = printer.text(bound.tail()), printer.text(bound.majorant.load(_TIME))
    return [
        Text(words),
        Equation("", (rf"{rest} {tail}",), rf"q = {load}, \quad t = {time_text(bound)}"),
    ]


def time_text(bound: RemainderBound) -> str:
    """Return the sum of the absolute values of the scales."""
    scales = bound.scales
    printer = FormulaPrinter()
    if isinstance(scales, sp.IndexedBase):
        depth = printer.text(bound.depth)
        return rf"\sum_{{i = 1}}^{{{depth}}} | {scale_text(scales, ['i'], latex=True)} |"
    if isinstance(scales, tuple) and bound.time.free_symbols and len(scales) > 4:
        ends = [rf"| {printer.text(scale)} |" for scale in (scales[0], scales[1], scales[-1])]
        return rf"{ends[0]} + {ends[1]} + \cdots + {ends[2]}"
    if isinstance(scales, tuple) and bound.time.free_symbols:
        return " + ".join(printer.text(abs(scale)) for scale in scales)
    return printer.text(bound.time)


def paths_section(paths: GatedPathSum, closed: bool) -> Section:
    """Return a gated path sum: blocks and gates, the paths by length, why it is no series."""
    words = " ".join(f"{word}_{{i}}" for word in paths.words)
    offsets = ", its biases and intercepts by $c_i$" if paths.has_offsets else ""
    gates = (
        r" $D_i$ is diagonal and holds the slopes of the activation on the actual trajectory "
        r"$h_i = h_{i-1} + \lambda_i f_i(h_{i-1})$, $h_0 = x$."
        if paths.activations
        else ""
    )
    intro = (
        rf"Block $i$ maps $h$ by ${words}$ to its branch{offsets}.{gates} By length of the path:"
    )
    whole = " + ".join(f"P_{{{length}}}" for length in paths)
    dots = "" if paths.longest == paths.depth else r" + \cdots"
    lengths = [
        Equation(f"P_{{{length}}}", packed(_split(line), page() - 6))
        for length, line in zip(paths, paths.lines(latex=True), strict=True)
    ]
    parts: list[Text | Equation] = [Text(intro), Equation("F(x)", (whole + dots,)), *lengths]
    parts.append(Text(prose(paths.why_not_taylor)))
    return Section("Gated path sum", tuple(parts), paths.citations)


def _split(line: str) -> list[str]:
    """Split a sum of paths before its signs, so that it can be broken."""
    return re.split(r" (?=[+-] )", line)
