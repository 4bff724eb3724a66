"""`SamplerText`: the pieces of the text of a sampler, as one module or as several.

On the CPU the loops that take columns through the maps are modules of their own, one for each map
and group of columns, and the driver calls them by address (`resexpand.codegen.slots`): the driver
is then compiled once for all activations, and a map once for all samplers. On a GPU everything is
one module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from resexpand.codegen.source import module_source
from resexpand.montecarlo.jit import library_digest
from resexpand.montecarlo.source.target import names_of, with_bindings

DEFINED = re.compile(r"^@(?:scalar|chunk|reduction)\ndef (\w+)\(", re.MULTILINE)
IMPORT = re.compile(r"^from (\S+) import (\([^)]*\)|.+)$", re.MULTILINE)
RETURNED = re.compile(r"^    return (.+)$", re.MULTILINE)
DRIVER = "def draw_networks("


@dataclass(frozen=True)
class SamplerText:
    """The text of a sampler in pieces.

    Attributes
    ----------
    title : str
        Comment on the maps.
    head : tuple of str
        Imports, and functions made from them.
    maps : tuple of tuple of str
        The functions of each map and group of columns.
    driver : str
        What calls them.
    """

    title: str
    head: tuple[str, ...]
    maps: tuple[tuple[str, ...], ...]
    driver: str

    def whole(self, target: str) -> str:
        """Return the text of one module."""
        functions = [text for texts in self.maps for text in texts]
        head = with_bindings((self.title, *self.head), target)
        return module_source([*head, *functions, self.driver], target)

    def divided(self) -> tuple[str, tuple[str, ...]]:
        """Return the texts of the driver and of the maps that it calls by address, for the CPU."""
        defined = {
            name: text for texts in self.maps for text in texts for name in DEFINED.findall(text)
        }
        called = {name: text for name, text in defined.items() if f"{name}(" in self.driver}
        slots = ["from resexpand.codegen.slots import Slots", "slots = Slots()"]
        for name, text in called.items():
            returned = RETURNED.findall(text)
            results = 1 + returned[-1].count(", ") if returned else 0
            slots.append(f'{name} = slots.add("{name}", {results})')
        through = "|".join([*called, *DEFINED.findall(self.driver)])
        driver = re.sub(rf"\b({through})\(", r"\1(maps, ", self.driver) if through else self.driver
        driver = driver.replace(DRIVER, f"{DRIVER}\n    maps,", 1)
        parts = [*with_bindings(self.head, "cpu"), "\n".join(slots), driver]
        kept = [[name for name in called if called[name] in texts] for texts in self.maps]
        maps = (
            self._map(texts, names) for texts, names in zip(self.maps, kept, strict=True) if names
        )
        return module_source(parts), tuple(dict.fromkeys(maps))

    def _map(self, texts: tuple[str, ...], names: Iterable[str]) -> str:
        """Return the text of the module of one map."""
        used = set(re.findall(r"\w+", "\n".join(texts)))
        found = sorted(
            (module, name)
            for module, names in IMPORT.findall("\n".join(self.head))
            for name in names_of([names])
            if name in used
        )
        lines = "\n".join(f"from {module} import {name}" for module, name in found)
        kept = "\n".join(f"{name} = _t.kept({name})" for name in names)
        library = f"# Maps of one group of columns, library {library_digest()}."
        return module_source([library, *with_bindings([lines], "cpu"), *texts, kept])
