"""The arguments of the commands that write results: ``expand``, ``latex`` and ``report``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def kind_of_response(parser: Any, *more: str) -> None:
    """Add the option that chooses a response, among the three of infinite width and `more`."""
    parser.add_argument(
        "--kind",
        choices=("variance", "covariance", "tangent", *more),
        default="variance",
        help="which response (default: variance)",
    )


def add_expand(commands: Any, command: Callable[..., Any]) -> None:
    """Add ``expand``; `command` makes its parser."""
    parser = command(
        commands,
        "expand",
        "expand_command",
        "Expansion of a network in its scales: terms, counts, and a bound of what is neglected.",
        network=False,
    )
    parser.add_argument("--order", metavar="K", default="3", help="highest order (default 3)")
    parser.add_argument(
        "--blocks",
        metavar="N",
        help="number of blocks, or expressions in x such as 'sin(x); x**2/2' "
        "(default: the symbol n, one term per tree)",
    )
    parser.add_argument(
        "--scales",
        "--scale",
        metavar="LIST",
        help="one for all or one per block: numbers, expressions in n such as 1/sqrt(n), or a name "
        "(default: symbols)",
    )
    parser.add_argument(
        "--depth", metavar="N", help="count the terms of this many blocks: a number, list or range"
    )
    parser.add_argument(
        "--family",
        choices=("analytic", "entire"),
        default="analytic",
        help="bounds M m!/R^m or M/R^m on the m-th derivatives of the blocks (default: analytic)",
    )
    parser.add_argument("--bounds", metavar="M,R", help="their numbers (default: symbols)")
    parser.add_argument(
        "--basis",
        choices=("taylor", "paths"),
        default="taylor",
        help="powers of the scales, or gated paths for piecewise-linear blocks (default: taylor)",
    )
    parser.add_argument(
        "--activation", metavar="NAME", help="with --basis paths: the activation (default: relu)"
    )
    parser.add_argument("--latex", action="store_true", help="print LaTeX instead of text")
    parser.add_argument(
        "--style",
        choices=("equation", "aligned", "document"),
        default="aligned",
        help="with --latex; document compiles by itself (default: aligned)",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="write a picture (.svg .pdf .png) or a document (.tex)"
    )
    parser.add_argument(
        "--figure",
        choices=("trees", "counts"),
        default="trees",
        help="the picture: terms beside their trees, or their number over depth (default: trees)",
    )


def add_latex(commands: Any, command: Callable[..., Any]) -> None:
    """Add ``latex``; `command` makes its parser."""
    parser = command(
        commands, "latex", "latex_command", "Formulas as LaTeX; what is not given stays a symbol."
    )
    parser.add_argument(
        "--of",
        choices=(
            "kernel",
            "pair-kernel",
            "response",
            "optimal-scale",
            "one-loop",
            "finite-response",
        ),
        default="response",
        help="which derivation (default: response)",
    )
    kind_of_response(parser, "gradient", "parameters")
    parser.add_argument(
        "--style",
        choices=("equation", "aligned", "document"),
        default="aligned",
        help="document compiles by itself (default: aligned)",
    )
    parser.add_argument(
        "--closed", action="store_true", help="averages in closed form, where one is known"
    )
    parser.add_argument(
        "--width",
        choices=("page", "text", "column"),
        default="page",
        help="break lines for a page, a text of 5.5 inches or a narrow column (default: page)",
    )
    parser.add_argument("--labels", metavar="PREFIX", help="label every equation, such as eq:")
    parser.add_argument(
        "--cite-keys", action="store_true", help="cite by BibTeX key instead of in words"
    )
    parser.add_argument("--out", metavar="FILE", help="write there instead of printing")


def add_report(commands: Any, command: Callable[..., Any]) -> None:
    """Add ``report``; `command` makes its parser."""
    parser = command(
        commands,
        "report",
        "report_command",
        "Saved results, or a validation, as one page of HTML that needs nothing else.",
        network=False,
    )
    written = "files that save() wrote, folders that validate wrote"
    parser.add_argument("results", metavar="RESULT", nargs="+", help=written)
    parser.add_argument("--title", metavar="TEXT", help="heading (default: names of the files)")
    parser.add_argument(
        "--out", metavar="FILE", default="report.html", help="page to write (default: report.html)"
    )
