r"""Jets: the Taylor coefficients of the network in a factor of its residual scale.

With every residual scale multiplied by `lambda`, the stream of one input is a power series

    h^l(lambda) = sum_j J_j^l lambda^j,     J_0 = h^0,

with the same weights for all lambda; `T_j = J_j` is the term of order j of the network at its own
scale, `h^l = sum_j T_j^l` where the series converges. Block l adds the image of `J_j` under
the branch to `J_{j+1}`: an activation maps the jet of its argument to the jet of its value, by the
recurrences of `resexpand.series.jets`; a `Linear` acts on every coefficient, its bias on the first.

Coefficients that are still zero, `J_j^l` for j > l, cost no random numbers: the sampler finds the
pivot zero.

Source: Dherin & Munn, arXiv:2510.03470, for the expansion in residual scales; Griewank & Walther,
*Evaluating Derivatives* (2008), chapter 13, for the propagation of Taylor coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from resexpand.codegen.source import scalar_function
from resexpand.montecarlo.groups.group import (
    phi_call,
    refuse,
    refuse_averages,
)
from resexpand.montecarlo.groups.powers import Powers
from resexpand.network.operation import Map
from resexpand.network.resnet import Branch
from resexpand.series.jets import jet_assignments

LOOP = '''
@chunk
def jets_{j}(source, target, first{phi.parameters}):
    """Write the Taylor coefficients of phi(h) from those of h."""
{phi.reads}{drawn}{rows}    for turn in range(lane_share(h0.size)):
        i = lane_entry(turn)
        {news} = phi_{j}_jet({olds}{rest})
    barrier()
'''


@dataclass(frozen=True)
class Jets(Powers):
    """The Taylor coefficients `J_0 ... J_k` of one input, k the order."""

    name: ClassVar[str] = "jets"
    rank: ClassVar[int] = 3

    def functions(self, j: int, op: Map) -> list[str]:
        """Return the map of Taylor coefficients and its loop."""
        jet = jet_assignments(op.expression, op.variable, self.order - 1)
        name = f"phi_{j}_jet"
        phi = phi_call(j, op, "h")
        symbols = (*jet.inputs, *op.arguments, *phi.uniforms)
        steps = (*phi.noise, *jet.assignments)
        text = scalar_function(name, symbols, jet.outputs, definitions=steps)
        orders = range(self.order)
        rows = "".join(
            f"    h{m}, x{m} = source[first + {m}], target[first + {m}]\n" for m in orders
        )
        news, olds = (", ".join(f"{v}{m}[i]" for m in orders) for v in "xh")
        rest = "".join(f", p{k}" for k in range(len(op.parameters)))
        rest += "".join(f", u{k}[i]" for k in range(len(op.noise)))
        texts = {"rows": rows, "news": news, "olds": olds, "rest": rest}
        return [text, LOOP.format(j=j, phi=phi, drawn=phi.drawn("0", indent=4), **texts)]

    def call(self, j: int, op: Map, source: str, target: str) -> str:
        """Return the call of the loop."""
        return f"jets_{j}({source}, {target}, jets_at{phi_call(j, op, 'h').given})"

    def require(self, branch: Branch, names: str) -> None:
        """Refuse activations that have no Taylor series everywhere."""
        refuse_averages(branch, names)
        remedy = (
            "ask for path_profile(k): the sum over gated paths is exact for piecewise-linear "
            "activations"
        )
        refuse(branch, names, _no_series, remedy)


def _no_series(op: Map) -> str:
    """Return why networks with a map have no Taylor series; empty if they do."""
    if op.is_smooth:
        return ""
    where = ", ".join(map(str, (*op.kinks, *op.jumps)))
    return (
        f"{op.name} is not smooth at {where}, so its networks have no Taylor series in the "
        "residual scale beyond the first change of a gate"
    )
