"""The blocks of a network for the text of a sampler: by shape, in a cycle.

Blocks of one shape share their lines. Where a network has several kinds of blocks, its parameters
lie in `laws` kind by kind, `rows` rows each, and the text finds shape and row of a layer from the
place of its block in the cycle. Positions count on from shape to shape, so that no two operations
have the same functions, random words or kept columns.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

from resexpand.network.operation import Operation
from resexpand.network.resnet import Branch
from resexpand.network.steps import Step, head_of, opening_of

SELECTION = """\
            kind = (layer - 1) % {kinds}
            shape = {shape}
            row = (kind - shape) * {rows}
"""


@dataclass(frozen=True)
class Blocks:
    """Shapes of the blocks, and maps in front of the read-out.

    Attributes
    ----------
    shapes : tuple of tuple of Step
        The operations of each shape.
    of_kind : tuple of int
        Shape of every kind of block in the cycle.
    rows : int
        Rows of `laws` that a kind of block takes.
    head : tuple of Step
        Maps in front of the read-out.
    skips : bool
        Whether the stream skips the branch as it is; otherwise it is multiplied by a number, the
        first entry of one more row of `laws`.
    post : tuple of Step
        Map of the stream behind a block, for each shape; empty if there is none.
    """

    shapes: tuple[tuple[Step, ...], ...]
    of_kind: tuple[int, ...]
    rows: int
    head: tuple[Step, ...]
    skips: bool = True
    post: tuple[Step, ...] = ()

    @classmethod
    def of(
        cls,
        kinds: Sequence[Branch],
        depth: int = 0,
        head: Sequence[Operation] | None = None,
        skips: bool = True,
        post_norm: Operation | None = None,
    ) -> Blocks:
        """Return the blocks of a cycle of branches; `head` is by default what opens the next."""
        keys = [tuple((op.kind, op.text) for op in branch.ops) for branch in kinds]
        found = list(dict.fromkeys(keys))
        own = 0 if head is None else len(head)
        rows = max(len(branch.ops) for branch in kinds) + own + (post_norm is not None)
        steps = [kinds[keys.index(key)].steps for key in found]
        shapes = tuple(_moved(own_steps, s * rows) for s, own_steps in enumerate(steps))
        last = found.index(keys[depth % len(kinds)])
        ending = _moved(head_of(steps[last], head), last * rows)
        ends = [s * rows + len(own_steps) + own for s, own_steps in enumerate(steps)]
        post = () if post_norm is None else tuple(Step(j, post_norm, 1, "", None) for j in ends)
        return cls(shapes, tuple(map(found.index, keys)), rows, ending, skips, post)

    @property
    def one_kind(self) -> bool:
        """Whether all blocks are alike."""
        return len(self.of_kind) == 1

    @property
    def has_own_head(self) -> bool:
        """Whether the read-out needs lines of its own."""
        return not self.one_kind or self.head != opening_of(self.shapes[0])

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every operation of a text once."""
        listed = (*(step for shape in self.shapes for step in shape), *self.head, *self.post)
        return tuple(dict.fromkeys(listed))

    @property
    def longest(self) -> int:
        """Positions of operations lie below this number."""
        return max(step.position for step in self.steps) + 1

    @property
    def most_noise(self) -> int:
        """Most random numbers that an operation draws at a neuron."""
        return max((len(step.op.noise) for step in self.steps if not step.contracts), default=0)

    def selection(self) -> str:
        """Return the lines that find shape and row of the block of a layer."""
        if self.one_kind:
            return ""
        shape = f"{self.of_kind}[kind]" if len(self.shapes) > 1 else "0"
        return SELECTION.format(kinds=len(self.of_kind), shape=shape, rows=self.rows)

    def chosen(self, texts: Sequence[str]) -> str:
        """Return the lines of the shape of a block, given those of each."""
        if len(texts) == 1:
            return texts[0]
        heads = ["if shape == 0:", *(f"elif shape == {s}:" for s in range(1, len(texts) - 1))]
        pairs = zip((*heads, "else:"), texts, strict=True)
        return "\n".join(f"{'':12}{head}\n{textwrap.indent(text, '    ')}" for head, text in pairs)

    def with_rows(self, text: str) -> str:
        """Let lines read the parameters of the kind of block they are about."""
        if self.one_kind:
            return text
        text = re.sub(r"laws\[(\d+)", r"laws[row + \1", text)
        return text.replace("laws.shape[0], ", f"{self.longest}, ")


def _moved(steps: tuple[Step, ...], by: int) -> tuple[Step, ...]:
    return tuple(replace(step, position=step.position + by) for step in steps) if by else steps
