r"""Typesetting sections: single equations, aligned systems, or a standalone document.

The document needs `amsmath` and `geometry` alone and compiles with pdflatex in one run: its
references are numbered here, by BibTeX key, and written out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from resexpand.export.latex.layout import PAGE, Equation, width
from resexpand.export.latex.sections import Section, Text, prose
from resexpand.references import Citation, Reference

_PREAMBLE = r"""\documentclass[10pt,a4paper]{article}
\usepackage[utf8]{inputenc}
\usepackage{amsmath}
\usepackage[margin=25mm]{geometry}
\allowdisplaybreaks
\setlength{\parindent}{0pt}
\setlength{\parskip}{0.4ex plus 0.2ex}
\begin{document}
"""


def as_equations(sections: Sequence[Section], cite: bool) -> str:
    """Return every equation in an environment of its own."""
    blocks = [
        _numbered(e, cite, section.neglects) for section in sections for e in section.equations
    ]
    return "\n".join(blocks) + "\n"


def _numbered(equation: Equation, cite: bool, neglects: str) -> str:
    comment = _comment(equation.citations, neglects) if cite else ""
    equation = _with_own_row(equation)
    if len(equation.lines) == 1:
        return f"{comment}\\begin{{equation}}\n  {_one_line(equation)}\n\\end{{equation}}"
    rows = _rows(equation)
    body = " \\\\\n    ".join(rows)
    return (
        f"{comment}\\begin{{equation}}\n  \\begin{{split}}\n    {body}\n"
        "  \\end{split}\n\\end{equation}"
    )


def as_aligned(sections: Sequence[Section], cite: bool) -> str:
    """Return every section as one system, aligned at the equality signs."""
    return "\n".join(_system(section, cite) for section in sections if section.equations) + "\n"


def _system(section: Section, cite: bool) -> str:
    cited = section.citations or tuple(c for e in section.equations for c in e.citations)
    comment = _comment(cited) if cite else ""
    rows = aligned_rows(section)
    if section.neglects:
        rows.append(rf"&\text{{up to corrections of }} {section.neglects}")
    body = " \\\\\n    ".join(rows)
    return (
        f"{comment}\\begin{{equation}}\n  \\begin{{aligned}}\n    {body}\n"
        "  \\end{aligned}\n\\end{equation}"
    )


def aligned_rows(section: Section) -> list[str]:
    """Return the equations of a section line by line, with alignment marks."""
    return [row for equation in _said_once(section.equations) for row in _rows(equation)]


def _comment(citations: Iterable[Citation], neglects: str = "") -> str:
    named = "; ".join(dict.fromkeys(str(citation) for citation in citations))
    order = f" (up to {neglects})" if neglects else ""
    return f"% {named}{order}\n" if named else ""


def _one_line(equation: Equation) -> str:
    (line,) = equation.lines
    return f"{_joined(equation.left)}{line}{_remark(equation)}"


def _joined(left: str, mark: str = "") -> str:
    """Return a left side with the sign behind it; one that ends in a relation brings its own."""
    if not left:
        return mark
    if left.endswith((r"\approx", r"\sim")):
        head, _, relation = left.rpartition(" ")
        return f"{head} {mark}{relation} "
    return f"{left} {mark}= "


def _remark(equation: Equation) -> str:
    if not equation.remark:
        return ""
    relation = equation.remark.startswith("=")
    return f" {equation.remark}" if relation else rf", \qquad {equation.remark}"


def _said_once(equations: Sequence[Equation]) -> list[Equation]:
    """Keep one of several equal remarks in a row: at the last equation with room for it."""
    said: list[Equation] = []
    for _, run in groupby(equations, key=lambda equation: equation.remark):
        same = list(run)
        places = [i for i, equation in enumerate(same) if _has_room(equation)] or [len(same) - 1]
        keeps = same[places[-1]]
        said += [e if e is keeps else replace(e, remark="") for e in same]
    return [_with_own_row(e) for e in said]


def _has_room(equation: Equation) -> bool:
    """Whether the remark of an equation fits behind its last line."""
    used = width(equation.left) + 1.4 + width(equation.lines[-1]) + width(equation.remark)
    return not equation.remark or used + 3 <= PAGE


def _with_own_row(equation: Equation) -> Equation:
    """Put a remark without room on a row of its own."""
    if _has_room(equation):
        return equation
    rows = (*equation.lines, rf"\qquad {equation.remark}")
    return replace(equation, lines=rows, remark="")


def _rows(equation: Equation) -> list[str]:
    """Return the lines of an equation with alignment marks."""
    first, *rest = equation.lines
    rows = [f"{_joined(equation.left, '&')}{first}", *(_continued(line) for line in rest)]
    rows[-1] += _remark(equation)
    return rows


def _continued(line: str) -> str:
    """Return a further line, behind the equality sign unless it begins with one."""
    return f"&{line}" if line.startswith("=") else rf"& \quad {line}"


def as_document(sections: Sequence[Section], cite: bool) -> str:
    """Return a file that pdflatex compiles."""
    references = _references(sections) if cite else ()
    numbers = {reference.key: i for i, reference in enumerate(references, start=1)}
    body = "\n".join(_section(section, numbers) for section in sections)
    return f"{_PREAMBLE}{body}{_bibliography(references)}\\end{{document}}\n"


def _section(section: Section, numbers: Mapping[str, int]) -> str:
    head = f"\\section*{{{section.title}}}\n" if section.title else ""
    cited = [
        rf"{prose(str(citation))} [{numbers[citation.reference.key]}]"
        for citation in section.citations
        if citation.reference.key in numbers
    ]
    lines = [head, rf"{{\small After {'; '.join(cited)}.}}" + "\n\n" if cited else ""]
    for group in _groups(section.parts):
        lines.append(_display(group) if isinstance(group, list) else f"{group.latex}\n")
    if section.neglects:
        lines.append(f"This holds up to corrections of ${section.neglects}$.\n")
    return "".join(lines)


def _groups(parts: Sequence[Text | Equation]) -> list[Text | list[Equation]]:
    """Collect neighbouring equations, which are aligned with each other."""
    groups: list[Text | list[Equation]] = []
    for part in parts:
        if isinstance(part, Text):
            groups.append(part)
        elif groups and isinstance(groups[-1], list):
            groups[-1].append(part)
        else:
            groups.append([part])
    return groups


def _display(equations: list[Equation]) -> str:
    """Return equations below each other, each with one number."""
    written = []
    for equation in _said_once(equations):
        rows = _rows(equation)
        written += [f"{row} \\notag" for row in rows[:-1]] + [rows[-1]]
    body = " \\\\\n  ".join(written)
    return f"\\begin{{align}}\n  {body}\n\\end{{align}}\n"


def _references(sections: Sequence[Section]) -> tuple[Reference, ...]:
    cited = {c.reference.key: c.reference for s in sections for c in s.citations}
    return tuple(cited[key] for key in sorted(cited))


def _bibliography(references: Sequence[Reference]) -> str:
    if not references:
        return ""
    items = "".join(f"\\bibitem{{{r.key}}} {_entry(r)}\n" for r in references)
    return f"\\begin{{thebibliography}}{{9}}\n{items}\\end{{thebibliography}}\n"


def _entry(reference: Reference) -> str:
    """Return one paper as in a list of references."""
    names = [" ".join(reversed(re.split(r",\s*", author))) for author in reference.authors]
    people = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    where = [
        rf"\emph{{{reference.venue}}}" if reference.venue else "",
        rf"\textbf{{{reference.volume}}}" if reference.volume else "",
        reference.pages.replace("–", "--"),
    ]
    found = " ".join(filter(None, where))
    archive = f"arXiv:{reference.arxiv}" if reference.arxiv else ""
    parts = [people, reference.title, found, archive, str(reference.year)]
    return ", ".join(filter(None, parts)).replace("&", r"\&") + "."
