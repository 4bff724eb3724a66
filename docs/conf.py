"""Documentation site: ``sphinx-build -W docs build/site`` from the root of the repository.

Pages are plain reStructuredText, so that they read well in a repository, too; a literal such as
``sampling.rst`` becomes a link here.
"""

from __future__ import annotations

import argparse
import base64
import io
import zipfile
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.utils.math.latex2mathml import tex2mathml

import resexpand
from resexpand.cli.parser import build_parser

HERE = Path(__file__).parent

project = "resexpand"
author = "the resexpand authors"
version = release = resexpand.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "resexpand"
html_static_path: list[str] = []
html_math_renderer = "mathml"
html_show_copyright = False
autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
# Examples show what Python prints: no highlighting of what is not code.
highlight_language = "python"
suppress_warnings = ["misc.highlighting_failure"]


def link_pages(app: Any, doctree: nodes.document) -> None:
    """Turn literals that name a page into links to it."""
    here = app.env.docname
    for literal in list(doctree.findall(nodes.literal)):
        name = literal.astext().removeprefix("docs/")
        page = HERE / name
        if (
            not name.endswith(".rst")
            or not page.is_file()
            or isinstance(literal.parent, nodes.reference)
        ):
            continue
        target = app.builder.get_relative_uri(here, name.removesuffix(".rst"))
        link = nodes.reference("", "", nodes.Text(title_of(page)), refuri=target, internal=True)
        literal.replace_self(link)


def title_of(page: Path) -> str:
    """Return the title of a page, its first line."""
    return page.read_text("utf-8").lstrip().splitlines()[0]


def inline_math(self: Any, node: nodes.math) -> None:
    """Write a formula of a line as MathML, which browsers show without a network."""
    self.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def display_math(self: Any, node: nodes.math_block) -> None:
    """Write a formula of its own line as MathML; a long one scrolls."""
    formula = tex2mathml(node.astext(), as_block=True)
    self.body.append(
        f'<div class="math" style="overflow: auto hidden; padding: 0.4em 0">{formula}</div>'
    )
    raise nodes.SkipNode


def explore_page() -> str:
    """Return the page that computes in the browser, with the source of the package in it."""
    package = Path(resexpand.__file__).parent
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(package.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                archive.write(path, path.relative_to(package.parent))
    text = (HERE / "explore.html").read_text("utf-8")
    return text.replace("{{source}}", base64.b64encode(packed.getvalue()).decode())


def write_explore_page(app: Any, error: Exception | None) -> None:
    """Write that page beside the others."""
    if error is None and app.builder.format == "html":
        (Path(app.outdir) / "explore.html").write_text(explore_page(), "utf-8")


class Commands(Directive):
    """The help of every command of the command line."""

    def run(self) -> list[nodes.Node]:
        """Return a section per command."""
        parser = build_parser()
        (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        found: list[nodes.Node] = []
        for name, sub in commands.choices.items():
            section = nodes.section(ids=[f"command-{name}"])
            section += nodes.title(text=f"resexpand {name}")
            section += nodes.literal_block(text=sub.format_help(), language="text")
            found.append(section)
        return found


def setup(app: Any) -> None:
    """Register what this site adds."""
    app.connect("doctree-read", link_pages)
    app.connect("build-finished", write_explore_page)
    app.add_directive("resexpand-commands", Commands)
    app.add_html_math_renderer("mathml", (inline_math, None), (display_math, None))
