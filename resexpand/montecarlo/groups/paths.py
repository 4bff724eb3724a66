r"""Paths: the gated path sum of a network with piecewise-linear activations.

With the gate `D = phi'(h)` and the intercept `c = phi(h) - phi'(h) h`, both taken on the actual
trajectory of the network at its own scale, an activation is affine, `phi(h) = D h + c`, and the
network with its gates held fixed is a sum over the blocks that a path passes:

    h^l = sum_k p_k^l,        p_0 = h^0,        p_k: all paths through k of the first l blocks.

Block l adds the image of `p_k` under the branch to `p_{k+1}`: an activation maps `p_k` to `D p_k`,
the intercept goes to k = 0; a `Linear` acts on every column, its bias on k = 0. No series is cut
off: the sum over k = 0 ... L is h^L to rounding, for every scale. Intercepts and biases of block l
start a path there, which counts as one of length one.

Source: Dherin & Munn, arXiv:2510.03470, section on piecewise-linear blocks.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import ClassVar

from resexpand.activations.traits import is_piecewise_linear
from resexpand.montecarlo.groups.group import (
    phi_call,
    refuse,
    refuse_averages,
    slope_call,
)
from resexpand.montecarlo.groups.powers import Powers
from resexpand.network.operation import Map
from resexpand.network.resnet import Branch

LOOP = '''
@chunk
def paths_{j}(source, target, first, count{phi.parameters}):
    """Write phi'(h) p_k, and to k = 0 also phi(h) - phi'(h) h."""
{phi.reads}{drawn}{once}    h = source[0]
    for k in range(count):
        p, new = source[first + k], target[first + k]
        for turn in range(lane_share(h.size)):
            i = lane_entry(turn)
            new[i] = {slope.value} * p[i]
    new = target[first]
    for turn in range(lane_share(h.size)):
        i = lane_entry(turn)
        new[i] += {phi.value} - {slope.value} * h[i]
    barrier()
'''


@dataclass(frozen=True)
class Paths(Powers):
    """The sums over gated paths of length 0 ... k of one input."""

    name: ClassVar[str] = "paths"
    rank: ClassVar[int] = 4

    def functions(self, j: int, op: Map) -> list[str]:
        """Return phi, phi' and their loop."""
        phi, slope = phi_call(j, op, "h"), slope_call(j, op, "h")
        once = textwrap.indent(textwrap.dedent(phi.averages + slope.averages), "    ")
        loop = LOOP.format(j=j, phi=phi, slope=slope, drawn=phi.drawn("0", indent=4), once=once)
        return [*phi.functions, *slope.functions, loop]

    def call(self, j: int, op: Map, source: str, target: str) -> str:
        """Return the call of the loop."""
        return f"paths_{j}({source}, {target}, paths_at, paths_count{phi_call(j, op, 'h').given})"

    def require(self, branch: Branch, names: str) -> None:
        """Refuse activations that are not linear between their kinks."""
        refuse_averages(branch, names)
        why = " is not piecewise linear: with its gates held fixed it is no sum over paths"
        refuse(
            branch,
            names,
            lambda op: "" if is_piecewise_linear(op.expression) else f"{op.name}{why}",
            "ask for order_profile(k) of a smooth activation",
        )
