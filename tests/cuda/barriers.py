"""Whether all threads of a block come to every barrier together: the control flow of PTX.

A barrier that some threads of a warp reach by another way than the others is undefined, and no
simulator of threads one after another shows it. `stray_barriers` looks for it in the text:

- a register differs among threads if it is made from the number of the thread, from memory at an
  address that differs, or from atomic operations; else it is the same for all threads of a block;
- a branch on a register that differs parts the threads. They meet again where all ways from it
  lead through: at its immediate post-dominator, the exit of the kernel being one of the ways;
- a register with several definitions, of which one lies between, differs from there on.

A barrier between a branch that parts the threads and the place where they meet again is stray. A
way out that is never taken, such as an error that cannot occur, counts: the assembler does not
know better either.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

REGISTER = re.compile(r"%[a-zA-Z]+\d+")
LABEL = re.compile(r"(\$[\w$]+):$")
GUARD = re.compile(r"@!?(%p\d+)\s+")
OWN = re.compile(r"%(?:tid|laneid|warpid)\b")
SINKS = re.compile(r"(?:st|bar|bra|ret|exit|trap|red|membar|fence|call)\b")
RETURNED = "%retval"
"""Name of the values that a call returns: they differ if one of its arguments does."""

SCATTERED = re.compile(r"(?:atom|shfl|ld\.local)\b")


@dataclass
class Instruction:
    """One line: its operation, what it writes and reads, and the block it stands in."""

    text: str
    block: int = 0
    guard: str = ""
    operation: str = field(init=False)
    written: list[str] = field(init=False)
    read: list[str] = field(init=False)

    def __post_init__(self) -> None:
        found = GUARD.match(self.text)
        self.guard = found.group(1) if found else ""
        self.operation, _, rest = self.text[found.end() if found else 0 :].partition(" ")
        self.operation = self.operation.strip()
        end = rest.find("}") if rest.lstrip().startswith("{") else rest.find(",")
        targets = "" if SINKS.match(self.operation) else rest[: end if end >= 0 else len(rest)]
        self.written = REGISTER.findall(targets)
        # Where the guard does not hold, what was there stays.
        kept = [self.guard, *self.written] if found else []
        self.read = REGISTER.findall(rest[len(targets) :]) + kept
        if self.operation.startswith("st.param"):
            self.written = [RETURNED]
        elif "[retval" in rest:
            self.read.append(RETURNED)

    @property
    def is_own(self) -> bool:
        """Whether the result differs among threads whatever is read."""
        return bool(OWN.search(self.text) or SCATTERED.match(self.operation))


class Flow:
    """The basic blocks of a kernel, who follows whom, and where ways meet again."""

    def __init__(self, body: str) -> None:
        self.instructions: list[Instruction] = []
        self.labels: dict[str, int] = {}
        self.last: dict[int, Instruction] = {}
        block = 0
        for line in _lines(body):
            label = LABEL.match(line)
            if label:
                block += 1
                self.labels[label.group(1)] = block
                continue
            instruction = Instruction(line, block)
            self.instructions.append(instruction)
            self.last[block] = instruction
            block += instruction.operation.split(".")[0] in ("bra", "ret", "exit", "trap")
        self.exit = block + 1
        self.behind = [self._behind(k) for k in range(self.exit)]
        self.dominated = self._post_dominators()

    def _behind(self, block: int) -> list[int]:
        last = self.last.get(block)
        kind = last.operation.split(".")[0] if last else ""
        on = [block + 1] if not last or last.guard or kind not in ("bra", "ret", "exit") else []
        if kind == "bra":
            assert last
            return [self.labels[last.text.split()[-1]], *on]
        return [self.exit, *on] if kind in ("ret", "exit", "trap") else on

    def _post_dominators(self) -> list[int]:
        """Return for every block, as bits, the blocks that all ways from it lead through."""
        everything = (1 << self.exit + 1) - 1
        found = [everything] * self.exit + [1 << self.exit]
        changed = True
        while changed:
            changed = False
            for block in reversed(range(self.exit)):
                bits = everything
                for behind in self.behind[block]:
                    bits &= found[behind]
                bits |= 1 << block
                changed |= bits != found[block]
                found[block] = bits
        return found

    def between(self, block: int) -> set[int]:
        """Return the blocks on the ways from a branch to where all of them meet again."""
        beyond = self.dominated[block] & ~(1 << block)
        seen: set[int] = set()
        left = list(self.behind[block])
        while left:
            at = left.pop()
            if at not in seen and not beyond >> at & 1:
                seen.add(at)
                left += self.behind[at]
        return seen


def stray_barriers(ptx: str) -> tuple[int, list[str]]:
    """Return how many barriers the kernel of a text has, and those that are stray, in words."""
    flow = Flow(_body(ptx))
    definitions: dict[str, set[int]] = defaultdict(set)
    counts: dict[str, int] = defaultdict(int)
    for instruction in flow.instructions:
        for register in instruction.written:
            definitions[register].add(instruction.block)
            counts[register] += 1
    several = {r: where for r, where in definitions.items() if counts[r] > 1}
    differing: set[str] = set()
    parted: dict[int, Instruction] = {}
    branches = [i for i in flow.instructions if i.guard and i is flow.last[i.block]]
    before = -1
    while len(differing) + len(parted) != before:
        before = len(differing) + len(parted)
        for instruction in flow.instructions:
            if instruction.is_own or not differing.isdisjoint(instruction.read):
                differing.update(instruction.written)
        for branch in [b for b in branches if b.guard in differing]:
            branches.remove(branch)
            parted.update(dict.fromkeys(flow.between(branch.block), branch))
        differing.update(r for r, where in several.items() if not where.isdisjoint(parted))
    barriers = [i for i in flow.instructions if i.operation.startswith("bar")]
    stray = [f"{b.text} behind {parted[b.block].text}" for b in barriers if b.block in parted]
    return len(barriers), stray


def _body(ptx: str) -> str:
    """Return what stands between the braces of the kernel."""
    start = ptx.index("{", ptx.index(".entry")) + 1
    depth, end = 1, start
    while depth:
        brace = ptx[end]
        depth += (brace == "{") - (brace == "}")
        end += 1
    return ptx[start : end - 1]


def _lines(body: str) -> Iterator[str]:
    """Yield labels and instructions, without directives, comments and braces around assembly."""
    for line in body.splitlines():
        for part in line.partition("//")[0].replace("\t", " ").split(";"):
            text = part.strip()
            if text and text not in "{}" and not text.startswith("."):
                yield text
