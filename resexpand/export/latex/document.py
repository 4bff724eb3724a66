r"""Typesetting sections: single equations, aligned systems, or a standalone document.

The document needs `amsmath` and `geometry` alone and compiles with pdflatex in one run: its
references are numbered here, by BibTeX key, and written out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from resexpand.export.latex.layout import PAGE, Equation, page, width
from resexpand.export.latex.paper import keys_of, label
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


TALL = 10
"""Rows of a system that stay on one page."""


@dataclass(frozen=True)
class Setting:
    r"""How equations are cited and labelled.

    Attributes
    ----------
    cite : bool
        Whether it is said where they stand.
    keys : bool
        Whether by ``\cite`` and key, instead of in words.
    labels : str or None
        What labels begin with; None for no labels.
    """

    cite: bool = True
    keys: bool = False
    labels: str | None = None

    def label(self, section: Section, number: int = 0) -> str:
        """Return the label of an equation of a section, from 1, or of all of it."""
        single = len(section.equations) < 2
        return label(self.labels, section.title, 0 if single else number)


def as_equations(sections: Sequence[Section], setting: Setting) -> str:
    """Return every equation in an environment of its own."""
    blocks = [
        _numbered(e, setting, section.neglects, setting.label(section, number))
        for section in sections
        for number, e in enumerate(section.equations, start=1)
    ]
    return "\n".join(blocks) + "\n"


def _numbered(equation: Equation, setting: Setting, neglects: str, mark: str) -> str:
    comment = _comment(equation.citations, neglects, setting)
    equation = _with_own_row(equation)
    if len(equation.lines) == 1:
        line = _one_line(equation)
        return f"{comment}\\begin{{equation}}{mark}\n  {line}\n\\end{{equation}}"
    rows = _rows(equation)
    if len(rows) > TALL and page() < PAGE:
        return comment + _over_pages(rows, mark)
    body = " \\\\\n    ".join(rows)
    return (
        f"{comment}\\begin{{equation}}{mark}\n  \\begin{{split}}\n    {body}\n"
        "  \\end{split}\n\\end{equation}"
    )


def as_aligned(sections: Sequence[Section], setting: Setting) -> str:
    """Return every section as one system, aligned at the equality signs."""
    return "\n".join(_system(section, setting) for section in sections if section.equations) + "\n"


def _system(section: Section, setting: Setting) -> str:
    cited = section.citations or tuple(c for e in section.equations for c in e.citations)
    comment = _comment(cited, "", setting)
    rows = aligned_rows(section)
    if section.neglects:
        rows.append(rf"&\text{{up to corrections of }} {section.neglects}")
    if len(rows) > TALL and page() < PAGE:
        return comment + _over_pages(rows, setting.label(section))
    body = joined_rows(rows)
    return (
        f"{comment}\\begin{{equation}}{setting.label(section)}\n  \\begin{{aligned}}\n    {body}\n"
        "  \\end{aligned}\n\\end{equation}"
    )


def _over_pages(rows: Sequence[str], mark: str) -> str:
    """Return rows with one number that may be broken over pages, which a box never is."""
    silent = [f"{row} \\notag" for row in rows[:-1]]
    body = joined_rows([*silent, f"{rows[-1]} {mark}".rstrip()])
    return f"\\begin{{align}}\n    {body}\n\\end{{align}}"


def joined_rows(rows: Sequence[str]) -> str:
    """Return rows of an aligned system."""
    return " \\\\\n    ".join(rows)


def aligned_rows(section: Section) -> list[str]:
    """Return the equations of a section line by line, with alignment marks."""
    return [row for equation in _said_once(section.equations) for row in _rows(equation)]


def _comment(citations: Iterable[Citation], neglects: str, setting: Setting) -> str:
    citations = tuple(citations)
    if not setting.cite or not citations:
        return ""
    if setting.keys:
        order = f", up to ${neglects}$" if neglects else ""
        return f"After {keys_of(citations)}{order}:\n"
    named = "; ".join(dict.fromkeys(str(citation) for citation in citations))
    order = f" (up to {neglects})" if neglects else ""
    return f"% {named}{order}\n"


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
    return not equation.remark or used + 3 <= page()


def _with_own_row(equation: Equation) -> Equation:
    """Put a remark without room on a row of its own."""
    if _has_room(equation):
        return equation
    rows = (*equation.lines, rf"\qquad {equation.remark}")
    return replace(equation, lines=rows, remark="")


def _rows(equation: Equation) -> list[str]:
    """Return the lines of an equation with alignment marks."""
    first, *rest = equation.lines
    # In a narrow column the widest left side would push all right sides out of it.
    narrow = page() < PAGE
    head = f"&{_joined(equation.left)}" if narrow else _joined(equation.left, "&")
    rows = [f"{head}{first}", *(_continued(line) for line in rest)]
    rows[-1] += _remark(equation)
    return rows


def _continued(line: str) -> str:
    """Return a further line, behind the equality sign unless it begins with one."""
    if page() < PAGE:
        return "&" + re.sub(r"\\q?quad ", r"\\; ", rf"\quad {line}")
    return f"&{line}" if line.startswith("=") else rf"& \quad {line}"


def as_document(sections: Sequence[Section], setting: Setting) -> str:
    """Return a file that pdflatex compiles."""
    references = _references(sections) if setting.cite else ()
    numbers = {reference.key: i for i, reference in enumerate(references, start=1)}
    body = "\n".join(_section(section, numbers, setting) for section in sections)
    return f"{_PREAMBLE}{body}{_bibliography(references)}\\end{{document}}\n"


def _section(section: Section, numbers: Mapping[str, int], setting: Setting) -> str:
    head = f"\\section*{{{section.title}}}\n" if section.title else ""
    cited = (
        [keys_of(section.citations)]
        if setting.keys and section.citations
        else [
            rf"{prose(str(citation))} [{numbers[citation.reference.key]}]"
            for citation in section.citations
            if citation.reference.key in numbers
        ]
    )
    lines = [head, rf"{{\small After {'; '.join(cited)}.}}" + "\n\n" if cited else ""]
    number = 0
    for group in _groups(section.parts):
        if isinstance(group, list):
            marks = [setting.label(section, number + i) for i in range(1, len(group) + 1)]
            lines.append(_display(group, marks))
            number += len(group)
        else:
            lines.append(f"{group.latex}\n")
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


def _display(equations: list[Equation], marks: Sequence[str]) -> str:
    """Return equations below each other, each with one number and its label."""
    written = []
    for equation, mark in zip(_said_once(equations), marks, strict=True):
        rows = _rows(equation)
        written += [f"{row} \\notag" for row in rows[:-1]] + [f"{rows[-1]} {mark}".rstrip()]
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
    place = " ".join(filter(None, where))
    archive = f"arXiv:{reference.arxiv}" if reference.arxiv else ""
    parts = [people, reference.title, place, archive, str(reference.year)]
    return ", ".join(filter(None, parts)).replace("&", r"\&") + "."
