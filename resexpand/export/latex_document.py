r"""Typesetting sections: single equations, aligned systems, or a standalone document.

The document needs `amsmath`, `amssymb` and `geometry` alone and compiles with pdflatex in one run
(its bibliography is written out, citations are numbered as LaTeX does).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from resexpand.export.latex_layout import Equation
from resexpand.export.latex_sections import Section, Text, prose
from resexpand.references import Citation, Reference

_PREAMBLE = r"""\documentclass[10pt,a4paper]{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage{amsmath,amssymb}
\usepackage[margin=25mm]{geometry}
\allowdisplaybreaks
\setlength{\parindent}{0pt}
\setlength{\parskip}{0.4ex plus 0.2ex}
\begin{document}
"""


def as_equations(sections: Sequence[Section], cite: bool) -> str:
    """Return every equation in an environment of its own."""
    blocks = [_numbered(e, cite) for section in sections for e in section.equations]
    return "\n".join(blocks) + "\n"


def _numbered(equation: Equation, cite: bool) -> str:
    comment = _comment(equation.citations) if cite else ""
    if len(equation.lines) == 1:
        return f"{comment}\\begin{{equation}}\n  {_one_line(equation)}\n\\end{{equation}}"
    rows = _rows(equation, marks=True)
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
    rows = [row for equation in section.equations for row in _rows(equation, marks=True)]
    body = " \\\\\n    ".join(rows)
    return (
        f"{comment}\\begin{{equation}}\n  \\begin{{aligned}}\n    {body}\n"
        "  \\end{aligned}\n\\end{equation}"
    )


def _comment(citations: Iterable[Citation]) -> str:
    named = "; ".join(dict.fromkeys(str(citation) for citation in citations))
    return f"% {named}\n" if named else ""


def _one_line(equation: Equation) -> str:
    (line,) = equation.lines
    return f"{_joined(equation.left)}{line}{_remark(equation)}"


def _joined(left: str, mark: str = "") -> str:
    """Return a left side with the sign behind it; one that ends in a relation brings its own."""
    if not left:
        return mark
    sign = "" if left.endswith((r"\approx", r"\sim")) else "= "
    head, _, relation = left.rpartition(" ") if not sign else (left, "", "")
    return f"{head} {mark}{relation or ''}{' ' if relation else ''}{sign}"


def _remark(equation: Equation) -> str:
    if not equation.remark:
        return ""
    relation = equation.remark.startswith("=")
    return f" {equation.remark}" if relation else rf", \qquad {equation.remark}"


def _rows(equation: Equation, marks: bool) -> list[str]:
    """Return the lines of an equation with alignment marks."""
    first, *rest = equation.lines
    mark = "&" if marks else ""
    rows = [f"{_joined(equation.left, mark)}{first}", *(rf"{mark} \quad {line}" for line in rest)]
    rows[-1] += _remark(equation)
    return rows


def as_document(sections: Sequence[Section], cite: bool) -> str:
    """Return a file that pdflatex compiles."""
    body = "\n".join(_section(section, cite) for section in sections)
    references = _references(sections) if cite else ()
    return f"{_PREAMBLE}{body}{_bibliography(references)}\\end{{document}}\n"


def _section(section: Section, cite: bool) -> str:
    keys = ",".join(dict.fromkeys(c.reference.key for c in section.citations)) if cite else ""
    cited = rf"~\cite{{{keys}}}" if keys else ""
    head = f"\\section*{{{section.title}}}\n" if section.title else ""
    lines = [head + _cited_at(section, cited)] if cited or head else []
    for group in _groups(section.parts):
        lines.append(_display(group) if isinstance(group, list) else f"{group.latex}\n")
    return "".join(lines)


def _cited_at(section: Section, cited: str) -> str:
    places = [str(c) for c in section.citations if c.locator]
    where = f" ({prose('; '.join(places))})" if places else ""
    return f"Following{cited}{where}:\n\n" if cited else ""


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
    for equation in equations:
        rows = _rows(equation, marks=True)
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
