"""`report`: results as one page of HTML that needs nothing else: no script, no network, no file.

Figures and formulas are pictures in the page itself, drawn by matplotlib. A formula that its reader
of mathematics does not know, such as a matrix, stands as LaTeX.
"""

from __future__ import annotations

import base64
import html
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from resexpand.agreement.outcome import Agreement
from resexpand.conventions import DEPTH, RHO
from resexpand.errors import HyperparameterError, ResexpandError, StoreError, UnsupportedError
from resexpand.export.describe import describe
from resexpand.export.files import reason_of, write_atomically
from resexpand.export.latex.layout import Equation
from resexpand.export.latex.to_latex import sections
from resexpand.export.record import environment
from resexpand.expressions.shown import Card
from resexpand.network.activation import Activation
from resexpand.network.linear import Linear
from resexpand.network.resnet import Branch, ResNet
from resexpand.references import CitationError, cite
from resexpand.theory.derivation import Derivation, plain
from resexpand.theory.kernel import kernel
from resexpand.theory.optimal_scale import optimal_scale
from resexpand.theory.response import response

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #1b1b1b; background: #fff; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
td, th { padding: .1rem .6rem; text-align: left; font-variant-numeric: tabular-nums; }
pre { background: #f5f5f5; padding: .7rem; overflow-x: auto; font-size: .85rem; }
.formula { overflow-x: auto; margin: .5rem 0; } .note { color: #8a3b00; }
svg { max-width: 100%; height: auto; }
.agrees { color: #14632f; } .disagrees { color: #a11212; } .inconclusive { color: #7a5a00; }
</style></head><body>
<h1>{{ title }}</h1>
{% for part in parts %}
<section><h2 class="{{ part.kind }}">{{ part.heading }}</h2>
{% for fact in part.facts %}{% if loop.first %}<table>{% endif %}
<tr><th>{{ fact[0] }}</th><td>{{ fact[1] }}</td></tr>{% if loop.last %}</table>{% endif %}
{% endfor %}
{% for note in part.notes %}<p class="note">{{ note }}</p>{% endfor %}
{{ part.body | safe }}
</section>
{% endfor %}
{% if methods %}<section><h2>Methods</h2><p>{{ methods }}</p></section>{% endif %}
{% if bibliography %}
<section><h2>Bibliography</h2><pre>{{ bibliography }}</pre></section>
{% endif %}
<section><h2>Record</h2><pre>{{ record }}</pre></section>
</body></html>
"""


def report(path: str | os.PathLike[str], *results: Any, title: str = "Results") -> Path:
    """Write results as one page of HTML.

    Parameters
    ----------
    path : path
        File to write; an existing file is replaced.
    *results
        What `evaluate`, `sample` and `compare` return, theories, formulas, derivations; the path of
        a folder that ``resexpand validate`` wrote.
    title : str, optional
        Heading of the page.

    Returns
    -------
    Path
        The path written. The page has headings and numbers, figures, formulas, the verdict with its
        table, the paragraph of `describe`, the bibliography, and the versions of what made it.

    Raises
    ------
    HyperparameterError
        If there are no results.
    UnsupportedError
        If the extra ``report`` is not installed, or something is no result of this package.
    StoreError
        If the file cannot be written, or a folder holds no validation.
    """
    if not results:
        raise HyperparameterError("a report", "it has no results", "give one or more")
    results = tuple(part for result in results for part in _opened(result))
    if find_spec("jinja2") is None:
        raise UnsupportedError(
            "a report", "jinja2 is not installed", "pip install 'resexpand[report]'"
        )
    template = import_module("jinja2").Environment(autoescape=True).from_string(_PAGE)
    text = template.render(
        title=title,
        parts=[_part(result) for result in results],
        methods=_methods(results),
        bibliography=_bibliography(results),
        record=json.dumps(environment(), indent=1),
    )
    return write_atomically(Path(path), text.encode(), "the report")


@dataclass(frozen=True)
class _Validation:
    """What ``resexpand validate`` left in a folder."""

    folder: Path
    record: dict[str, Any]

    def theories(self) -> list[Any]:
        """Return the theories that were tested, derived again."""
        settings = self.record["settings"]
        if settings["post_norm"] or settings.get("branch"):
            return []  # as text, which is no description of a network
        net = ResNet(Branch(Activation(settings["activation"]), Linear()), scale=RHO, depth=DEPTH)
        return [kernel(net), response(net), optimal_scale(net)]

    def part(self) -> dict[str, Any]:
        """Return verdict, settings, the scores of every scale, and the figures."""
        said, settings = self.record["verdict"], self.record["settings"]
        rows = "".join(
            f"<tr><td>{html.escape(scale)}</td><td>{agreement['verdict']}</td>"
            f"<td>{max((abs(row['z'] or 0.0) for row in agreement['rows']), default=0.0):.2f}</td>"
            for scale, agreement in self.record["responses"].items()
        )
        head = "<tr><th>scale</th><th>verdict</th><th>largest |z|</th></tr>"
        pictures = "".join(
            f'<img alt="{path.stem}" style="max-width: 100%" src="data:image/png;base64,'
            f'{base64.b64encode(path.read_bytes()).decode()}">'
            for path in sorted(self.folder.glob("*.png"))
        )
        facts = [(name, str(value)) for name, value in settings.items() if value is not None]
        heading, body = f"Verdict: {said['verdict']}", f"<table>{head}{rows}</table>{pictures}"
        return _block(heading, body, said["verdict"], facts, [said["reason"]])


def _opened(result: Any) -> list[Any]:
    """Return a result, or what a folder of ``validate`` holds."""
    if not isinstance(result, str | os.PathLike):
        return [result]
    folder = Path(result)
    try:
        record = json.loads((folder / "record.json").read_text("utf-8"))
        validation = _Validation(folder, record)
        validation.part()
        return [validation, *validation.theories()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"a report of {folder.name!r}",
            f"it is no folder that 'resexpand validate' wrote ({reason_of(error)})",
            "name one that has record.json, or pass what load() returns",
        ) from error


def _part(result: Any) -> dict[str, Any]:
    if isinstance(result, _Validation):
        return result.part()
    if isinstance(result, Agreement):
        body = f"{result._repr_html_()}{_figure(result)}"
        return _block(f"Verdict: {result.verdict}", body, result.verdict)
    if isinstance(result, Derivation):
        return _block(result.title, "".join(_steps(result)))
    card = getattr(result, "card", None)
    if card is None:
        raise UnsupportedError(
            f"a report of an object of type {type(result).__name__}",
            "it is no result of this package",
            "pass theories, values, estimates, agreements or derivations",
        )
    shown: Card = card()
    return _block(
        shown.heading, f"{_formulas(result)}{_figure(result)}", facts=shown.lines, notes=shown.notes
    )


def _block(
    heading: str, body: str, kind: str = "", facts: Any = (), notes: Any = ()
) -> dict[str, Any]:
    return {"heading": heading, "body": body, "kind": kind, "facts": facts, "notes": notes}


def _steps(derivation: Derivation) -> Iterator[str]:
    for step in derivation:
        yield f"<p><b>{step.number}.</b> {html.escape(plain(step.text))}</p>"
        yield "".join(_formulas({name: e}) if name else _formulas(e) for name, e in step.equations)
        yield "".join(
            f"<p><small>checked: {html.escape(str(v))}</small></p>" for v in step.verified
        )


def _formulas(result: Any) -> str:
    """Return the equations of a result as pictures; empty if it has none."""
    try:
        parts = sections(result, False)
    except UnsupportedError:
        return ""
    return "".join(
        f'<div class="formula">{drawn(row)}</div>'
        for section in parts
        for equation in section.equations
        for row in _rows(equation)
    )


def _rows(equation: Equation) -> Iterator[str]:
    first, *rest = equation.lines
    relation = " " if equation.left.endswith((r"\approx", r"\sim")) else " = "
    rows = [f"{equation.left}{relation}{first}" if equation.left else first, *rest]
    between = " " if equation.remark.startswith("=") else r", \qquad "
    yield from rows[:-1]
    yield f"{rows[-1]}{between}{equation.remark}" if equation.remark else rows[-1]


def drawn(latex: str) -> str:
    """Return a formula as a picture; as LaTeX where it cannot be drawn."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import math_to_image

    # Brackets that span lines have their size written out, which matplotlib does not know.
    known = re.sub(r"\\[bB]igg?[lr]? ?", "", latex).replace(r"\operatorname", r"\mathrm")
    known = known.replace(r"\text{", r"\mathrm{").replace(r"\!", "").replace(r"\notag", "")
    stream = io.StringIO()
    try:
        math_to_image(f"${known}$", stream, format="svg", prop=FontProperties(size=13))
    except (ValueError, ResexpandError):
        return f"<pre>{html.escape(latex)}</pre>"
    return f'<span title="{html.escape(latex)}">{_picture(stream)}</span>'


def _picture(stream: io.StringIO) -> str:
    """Return a picture without the head of a file."""
    text = stream.getvalue()
    return text[text.index("<svg") :]


def _figure(result: Any) -> str:
    plot = getattr(result, "plot", None)
    if plot is None:
        return ""
    try:
        figure = plot()
    except ResexpandError:
        return ""
    stream = io.StringIO()
    figure.savefig(stream, format="svg")
    return _picture(stream)


def _methods(results: Any) -> str:
    told = _taken(describe, UnsupportedError, results)
    return describe(*told) if told else ""


def _bibliography(results: Any) -> str:
    return cite(*_taken(cite, CitationError, results))


def _taken(function: Callable[..., str], refusal: type[ResexpandError], results: Any) -> list[Any]:
    """Return the results that a function takes; it refuses some kinds."""
    taken = []
    for result in results:
        try:
            function(result)
        except refusal:
            continue
        taken.append(result)
    return taken
