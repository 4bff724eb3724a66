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
    lists = [*IMPORT.findall(joined), *MADE.findall(joined)]
    names = [name.strip().rpartition(" as ")[2] for found in lists for name in _items(found)]
    functions = sorted({n for n in names if n and not n.isupper()} - FACTORIES)
    if target == "cpu":
        lines = ["from resexpand.montecarlo.jit import outlined"]
        return [*listed, "\n".join([*lines, *(f"{n} = outlined({n})" for n in functions)])]
    lines = ["import resexpand.montecarlo.cuda.lanes  # exchanges the primitives"]
    lines += [f"{name} = _t.bind({name})" for name in functions]
    return [*listed, "\n".join(lines)]


def _items(text: str) -> list[str]:
    return text.strip("()").replace("\n", " ").split(",")
