"""Pages of docs/: they render, examples and commands run, and the site has no dead link."""

from __future__ import annotations

import doctest
import re
import shlex
import shutil
from pathlib import Path

import pytest
from docutils.core import publish_doctree

from resexpand.cli import main

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.glob("*.rst"))
BUILT = {"index", "api", "commands"}
"""Pages that only the site builder reads."""
CHECKED_ELSEWHERE = {"cluster", "gpu", "models", "operations", "sampling", "scales"}
"""Pages whose examples have tests of their own."""
OWN = [p for p in PAGES if p.stem not in BUILT | CHECKED_ELSEWHERE]


@pytest.mark.parametrize("page", [p for p in PAGES if p.stem not in BUILT], ids=lambda p: p.stem)
def test_a_page_renders(page: Path) -> None:
    settings = {"report_level": 1, "halt_level": 2}
    publish_doctree(page.read_text("utf-8"), source_path=str(page), settings_overrides=settings)


@pytest.mark.parametrize("page", OWN, ids=lambda page: page.stem)
def test_examples_and_commands_of_a_page(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert result.failed == 0
    capsys.readouterr()
    commands = re.findall(r"^    (resexpand .+)$", page.read_text("utf-8"), flags=re.MULTILINE)
    for command in commands:
        assert main(shlex.split(command)[1:]) == 0, command
        printed = capsys.readouterr()
        written = re.findall(r"wrote (\S+)", printed.err)
        assert written or len(printed.out.splitlines()) > 5, command
        assert all((tmp_path / name).stat().st_size > 1000 for name in written)
    assert result.attempted or commands or page.stem in {"conventions", "papers", "speed"}


def test_every_page_is_in_the_contents() -> None:
    index = (DOCS / "index.rst").read_text("utf-8")
    listed = {line.strip() for line in index.splitlines()}
    assert [p.stem for p in PAGES if p.stem not in {"index", *listed}] == []


def test_the_gallery_has_every_figure_and_every_record() -> None:
    """And the scripts that it names exist."""
    text = (DOCS / "gallery.rst").read_text("utf-8")
    root = DOCS.parent
    assert {p.name for p in (DOCS / "images").iterdir()} == set(re.findall(r"images/(\S+)", text))
    records = {p.stem for p in (root / "numerics" / "results").glob("*.json")}
    assert [name for name in records if not re.search(rf"\b{name}\b", text)] == []
    scripts = re.findall(r"python (numerics/\S+\.py)", text)
    assert len(scripts) >= 6
    assert [name for name in scripts if not (root / name).is_file()] == []


def test_every_public_name_is_in_the_reference() -> None:
    import resexpand

    listed = {line.strip() for line in (DOCS / "api.rst").read_text("utf-8").splitlines()}
    assert [n for n in resexpand.__all__ if n not in listed and n != "__version__"] == []


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    from sphinx.application import Sphinx

    # The reference writes a page per name beside the others.
    source = tmp_path / "docs"
    shutil.copytree(DOCS, source, ignore=shutil.ignore_patterns("api", "_build"))
    where = (str(source), str(source), str(tmp_path / "site"), str(tmp_path / "trees"))
    app = Sphinx(*where, "html", status=None, warningiserror=True)
    app.build()
    assert app.statuscode == 0
    assert (tmp_path / "site" / "api" / "resexpand.kernel.html").is_file()
    assert dead_links(tmp_path / "site") == []
    # Formulas show without a network: no script comes from elsewhere.
    pages = [p.read_text("utf-8") for p in (tmp_path / "site").rglob("*.html")]
    assert sum("<math" in page for page in pages) > 2
    assert not [page for page in pages if re.search(r"<script[^>]*src=.?https?:", page)]


def dead_links(site: Path) -> list[str]:
    """Return the links within a site that lead to no file."""
    dead = []
    for page in site.rglob("*.html"):
        for link in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text("utf-8")):
            outside = "://" in link or link.startswith(("mailto:", "data:"))
            if not outside and not (page.parent / link).exists():
                dead.append(f"{page.name}: {link}")
    return dead


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html">b</a> <a href="a.html#x">a</a>')
    assert dead_links(tmp_path) == ["a.html: b.html"]
