"""The inputs: the states `h_1 ... h_D` of the network itself, present in every sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from resexpand.montecarlo.groups.group import ColumnGroup, Floats, phi_call
from resexpand.montecarlo.groups.maps import batch_loop
from resexpand.montecarlo.source.attention import forward_call, forward_text
from resexpand.network.activation import Activation
from resexpand.network.differentials import forward
from resexpand.network.operation import Map

LOOP = '''
@chunk
def inputs_{j}(source, target, count{phi.parameters}):
    """Write phi(h) for the inputs."""
{phi.reads}    for c in range(count):
        h, new = source[c], target[c]
{drawn}{phi.averages}        for turn in range(lane_share(h.size)):
            i = lane_entry(turn)
            new[i] = {phi.value}
    barrier()
'''

GATED = '''
@chunk
def inputs_{j}(source, copy, target, count, width, law):
    """Write gain phi(h) times the copy for the inputs."""
    for c in range(count):
        h, other, new = source[c], copy[c], target[c]
        for turn in range(lane_share(h.size)):
            i = lane_entry(turn)
            new[i] = law[0] * {phi.value} * other[i]
    barrier()
'''


@dataclass(frozen=True)
class Inputs(ColumnGroup):
    """The states of D inputs."""

    name: ClassVar[str] = "inputs"
    rank: ClassVar[int] = 0
    biased: ClassVar[bool] = True
    follows_positions: ClassVar[bool] = True

    count: int

    @property
    def carried(self) -> int:
        """Number D of inputs."""
        return self.count

    def start(self, kernel: Floats, root: Floats) -> Floats:
        """Return F^T, with no share of the random direction."""
        return np.vstack([root.T, np.zeros((1, self.count))])

    def functions(self, j: int, op: Map) -> list[str]:
        """Return phi and its loop."""
        if op.attends:
            return [forward_text(j, op)]
        if op.over != "neurons":
            read, written = "source[c, i]", "target[c, i]"
            given = (f"inputs_{j}", "source, target, count", "count", f"phi_{j}", forward(op), op)
            return batch_loop(*given, written, read)
        if op.gates is not None:
            phi = phi_call(j, Activation(op.gates.expression), "h")
            return [*phi.functions, GATED.format(j=j, phi=phi)]
        phi = phi_call(j, op, "h")
        return [*phi.functions, LOOP.format(j=j, phi=phi, drawn=phi.drawn("c"))]

    def call(self, j: int, op: Map, source: str, target: str) -> str:
        """Return the call of the loop."""
        if op.attends:
            return forward_call(j, op, source, target)
        if op.gates is not None:
            return f"inputs_{j}({source}, copy, {target}, inputs, width, laws[{j}])"
        return f"inputs_{j}({source}, {target}, inputs{phi_call(j, op, 'h').given})"
