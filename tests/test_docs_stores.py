"""Every store that the documents name belongs to one run: all can be tried in one folder."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.rst", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.rst")))
# A call or command that draws; those that look at a store or merge may name it again.
DRAWING = re.compile(r'store="([\w-]+\.sqlite)"|--store ([\w-]+\.sqlite)')


def drawn_into(text: str) -> list[str]:
    """Return the stores that a document draws into, once per place."""
    return [a or b for a, b in DRAWING.findall(text)]


def test_no_store_is_drawn_into_twice() -> None:
    found = [name for name in DOCUMENTS for name in drawn_into((ROOT / name).read_text())]
    assert len(found) >= 7
    assert len(set(found)) == len(found)


def test_control_a_name_used_twice_is_seen() -> None:
    found = drawn_into('sample(net, store="run.sqlite")\nresexpand sample --store run.sqlite')
    assert found == ["run.sqlite", "run.sqlite"]
