"""``expand``: the residual expansion, or the gated path sum, with its counts and its remainder.

``--blocks`` is a number of formal blocks, or expressions in ``x`` separated by semicolons; without
it the depth is the symbol ``n``, in which ``--scales`` may be written too: ``1/sqrt(n)``.
"""

from __future__ import annotations

import argparse
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sympy as sp

from resexpand.cli.description import activation
from resexpand.cli.show import record, say, table, warn
from resexpand.cli.values import integer, integers, number, split
from resexpand.errors import ExpressionError, HyperparameterError
from resexpand.export.files import write_atomically
from resexpand.export.latex.to_latex import to_latex
from resexpand.expressions import parse_expression
from resexpand.theory.expansion import Counts, Expansion, residual_expansion
from resexpand.theory.expansion.build import DEPTH
from resexpand.theory.gated_paths import GatedPathSum, gated_path_sum
from resexpand.theory.remainder import Majorant, RemainderBound, remainder_bound

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LISTED = 20_000
"""Terms in a record; of more only the numbers are given."""
LINE = 96
RESERVED = ("n", "pi", "nan", "inf", "oo", "zoo", "infinity", "NaN", "Infinity")
"""Names that are no symbols of a scale: the depth, and numbers."""
PICTURES = (".svg", ".pdf", ".png")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    order = integer(arguments.order, "--order")
    blocks = _blocks(arguments.blocks)
    scales = _scales(arguments.scales, blocks)
    if arguments.basis == "paths":
        _paths(arguments, _path_sum(arguments, blocks, scales, order))
        return 0
    if arguments.activation is not None:
        raise HyperparameterError(
            f"--activation {arguments.activation}",
            "an expansion has formal blocks, or those that --blocks gives",
            "write --blocks 'tanh(x); tanh(x)', or --basis paths for a piecewise-linear activation",
        )
    expansion = residual_expansion(order, blocks, scales)
    counts = [expansion.counts(depth) for depth in _depths(arguments, expansion)]
    bound = remainder_bound(expansion, majorant=_majorant(arguments))
    if arguments.out is not None:
        _write(arguments, expansion, bound)
    if arguments.json:
        _record(arguments, expansion, counts, bound)
    elif arguments.latex:
        say(_latex(arguments, [expansion, bound]))
    elif arguments.out is None:
        _show(expansion, counts, bound)
    return 0


def _blocks(text: str | None) -> Any:
    """Return a number of blocks, a list of expressions in x, or None for symbolic depth."""
    if text is None:
        return None
    parts = [part.strip() for part in split(text, ";")]
    if len(parts) == 1 and re.fullmatch(r"[\d.eE+-]+", parts[0]):
        return integer(parts[0], "--blocks")
    try:
        return [parse_expression(part) for part in parts]
    except ExpressionError as error:
        raise HyperparameterError(
            f"--blocks {text[:60]!a}",
            error.why or error.asked,
            "give a number of blocks, or expressions in x separated by semicolons",
        ) from None


def _scales(text: str | None, blocks: Any) -> Any:
    """Return one scale, or one per block; None for symbols."""
    if text is None:
        return None
    if re.fullmatch(r"[A-Za-z]\w*", text) and text not in RESERVED:
        return sp.Symbol(text)
    scales = [_scale(part, blocks) for part in split(text, ",")]
    return scales[0] if len(scales) == 1 else scales


def _scale(text: str, blocks: Any) -> sp.Expr:
    try:
        scale = parse_expression(text, variables=(DEPTH,))
    except ExpressionError as error:
        raise HyperparameterError(
            f"--scales {text[:60]!a}",
            error.why or error.asked,
            "give numbers, expressions in n such as 1/sqrt(n), or one name for all",
        ) from None
    count = blocks if isinstance(blocks, int) or blocks is None else len(blocks)
    return scale if count is None else scale.subs(DEPTH, count)


def _depths(arguments: argparse.Namespace, expansion: Expansion) -> list[Any]:
    if arguments.depth is None:
        return [expansion.depth]
    return list(integers(arguments.depth, "--depth"))


def _majorant(arguments: argparse.Namespace) -> Majorant:
    make = getattr(Majorant, arguments.family)
    if arguments.bounds is None:
        symbolic: Majorant = make()
        return symbolic
    parts = split(arguments.bounds, ",")
    if len(parts) != 2:
        raise HyperparameterError(
            f"--bounds {arguments.bounds[:60]!a}",
            f"it has {len(parts)} numbers",
            "give two, M,R",
        )
    big, radius = (number(part, "--bounds") for part in parts)
    majorant: Majorant = make(big, radius)
    return majorant


def _path_sum(arguments: argparse.Namespace, blocks: Any, scales: Any, order: int) -> GatedPathSum:
    if isinstance(blocks, list):
        raise HyperparameterError(
            "the gated path sum of given blocks",
            "it is that of blocks W phi(h) with an activation phi",
            "give --blocks a number, and the activation with --activation",
        )
    longest = order if blocks is None else min(order, blocks)
    phi = activation(arguments.activation or "relu")
    return gated_path_sum(phi, blocks, scales, longest=longest)


def _paths(arguments: argparse.Namespace, paths: GatedPathSum) -> None:
    """Show a gated path sum."""
    for option in ("depth", "bounds"):
        if getattr(arguments, option) is not None:
            raise HyperparameterError(
                f"--{option} with --basis paths",
                "the number of paths is a binomial coefficient, and nothing is neglected",
                "leave it out",
            )
    if arguments.out is not None:
        path = _suffix(arguments.out, (".tex",))
        text = to_latex(paths, "document").encode()
        warn(f"wrote {write_atomically(path, text, 'the formulas')}")
    if arguments.json:
        record(
            command="expand",
            settings=_settings(arguments, paths.depth, paths.scales),
            lengths={k: {"paths": paths.count(k), "text": paths.lines()[k]} for k in paths},
            why_not_taylor=paths.why_not_taylor,
            citations=[str(citation) for citation in paths.citations],
        )
    elif arguments.latex:
        say(_latex(arguments, [paths]))
    elif arguments.out is None:
        say(str(paths))
        say()
        _say_wrapped(paths.why_not_taylor)


def _show(expansion: Expansion, counts: list[Counts], bound: RemainderBound) -> None:
    """Print the terms, how many there are, what is neglected; concrete blocks put in."""
    say(str(expansion))
    if any(not block.index for block in expansion.blocks or ()):
        say()
        say(f"     = {expansion.expression(sp.Symbol('x'))}")
    for count in counts:
        say()
        say(f"depth {count.depth}")
        columns = (count.trees, count.classes, count.weighted, count.distinct)
        rows = [[k, *(str(column[k]) for column in columns)] for k in count.orders]
        heads = ["order", "trees", "classes", "weighted", "distinct"]
        table(heads, len(rows), lambda index, rows=rows: rows[index])  # type: ignore[misc]
    say()
    law = "M m!/R^m" if bound.majorant.kind == "analytic" else "M/R^m"
    say(f"neglected, if |D^m f_i(x)| <= {law}, {bound}")
    _say_wrapped(bound.statement)


def _say_wrapped(text: str) -> None:
    for line in textwrap.wrap(text, LINE):
        say(line)


def _latex(arguments: argparse.Namespace, parts: list[Any]) -> str:
    if arguments.style != "document":
        parts = parts[:1]
    return to_latex(parts, style=arguments.style)


def _write(arguments: argparse.Namespace, expansion: Expansion, bound: RemainderBound) -> None:
    """Write the picture, or the formulas, as the suffix of the file says."""
    path = _suffix(arguments.out, (*PICTURES, ".tex"))
    if path.suffix == ".tex":
        content = to_latex([expansion, bound], "document").encode()
        warn(f"wrote {write_atomically(path, content, 'the formulas')}")
        return
    from resexpand.export.figures.picture_files import drawn

    content = drawn(_figure(arguments, expansion), path.suffix[1:])
    warn(f"wrote {write_atomically(path, content, 'the figure')}")


def _figure(arguments: argparse.Namespace, expansion: Expansion) -> Figure:
    if arguments.figure == "trees":
        from resexpand.export.figures.trees import terms_figure

        return terms_figure(expansion)
    from resexpand.export.figures.expansion import counting_figure

    depths = [d for d in _depths(arguments, expansion) if isinstance(d, int)]
    return counting_figure(expansion.order, *([max(depths)] if depths else []))


def _suffix(name: str, known: tuple[str, ...]) -> Path:
    path = Path(name)
    if path.suffix not in known:
        raise HyperparameterError(
            f"--out {name}",
            f"its name does not end in {', '.join(known)}",
            "give it one of these endings",
        )
    return path


def _settings(arguments: argparse.Namespace, depth: Any, scales: Any) -> dict[str, Any]:
    shown = [str(s) for s in scales] if isinstance(scales, tuple) else str(scales)
    return {
        "order": integer(arguments.order, "--order"),
        "basis": arguments.basis,
        "depth": depth if isinstance(depth, int) else str(depth),
        "blocks": arguments.blocks,
        "scales": shown,
    }


def _record(
    arguments: argparse.Namespace,
    expansion: Expansion,
    counts: list[Counts],
    bound: RemainderBound,
) -> None:
    sizes = {k: expansion.size(k) for k in expansion}
    listed = sum(sizes.values()) <= MOST_LISTED
    sections: dict[str, Any] = {
        "command": "expand",
        "settings": _settings(arguments, expansion.depth, expansion.scales),
        "sizes": sizes,
        "terms": [_term(term) for term in expansion.terms] if listed else None,
        "counts": [
            {
                "depth": count.depth,
                **{
                    name: {k: str(value) for k, value in getattr(count, name).items()}
                    for name in ("trees", "classes", "weighted", "distinct")
                },
            }
            for count in counts
        ],
        "remainder": {
            "majorant": str(bound.majorant),
            "load": str(bound.load.rhs),
            "bound": str(bound.tail()),
            "value": bound.value if bound.is_number else None,
            "converges": bound.converges,
            "statement": bound.statement,
        },
        "citations": [str(citation) for citation in expansion.citations],
    }
    if arguments.latex:
        sections["latex"] = _latex(arguments, [expansion, bound])
    record(**sections)


def _term(term: Any) -> dict[str, Any]:
    return {
        "order": term.order,
        "tree": str(term.tree),
        "labels": None if term.labels is None else list(term.labels),
        "coefficient": str(term.coefficient),
        "text": str(term),
    }
