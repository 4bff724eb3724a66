"""Target in the text of a sampler: lines that compile its functions for it.

The library of loops (`resexpand.montecarlo.lanes`) is compiled for the CPU where it stands, and its
loops are called there by their addresses (`resexpand.codegen.outlined`). For another target each
function that a text imports is bound to it by a line of its own, behind the imports and the
factories.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

FACTORIES = {"dense_sampler", "dense_transpose", "products", "left_products", "entries"}
"""Called while the text is imported, not by what is compiled."""

IMPORT = re.compile(r"^from resexpand\.montecarlo\.\S+ import (\([^)]*\)|.+)$", re.MULTILINE)
MADE = re.compile(r"^(\w+(?:, \w+)*) = \w+\(", re.MULTILINE)


def with_bindings(texts: Sequence[str], target: str) -> list[str]:
    """Return texts that import and make functions, followed by their binding to a target."""
    listed = [text for text in texts if text]
    joined = "\n".join(listed)
    names = names_of([*IMPORT.findall(joined), *MADE.findall(joined)])
    functions = sorted({n for n in names if not n.isupper()} - FACTORIES)
    if target == "cpu":
        lines = ["from resexpand.montecarlo.jit import outlined"]
        return [*listed, "\n".join([*lines, *(f"{n} = outlined({n})" for n in functions)])]
    lines = ["import resexpand.montecarlo.cuda.lanes  # exchanges the primitives"]
    lines += [f"{name} = _t.bind({name})" for name in functions]
    return [*listed, "\n".join(lines)]


def names_of(lists: Sequence[str]) -> list[str]:
    """Return the names that lists of imported or made names bind."""
    items = [item for text in lists for item in text.strip("()").replace("\n", " ").split(",")]
    return [name for item in items if (name := item.strip().rpartition(" as ")[2])]
