r"""The control network: i.i.d. neurons at infinite width, driven by the normals of the network.

The function-space sampler writes the image of the features under a `Linear` as `Z R`, with i.i.d.
normals Z and the triangular factor `R^T R = C` of the covariance of this network. Its control
network uses the same Z with the factor of the covariance at infinite width,

    network   g = Z R,       R^T R = C = s A^T A/N + t            (fluctuates, A: features)
    control   g = Z R_oo,    R_oo^T R_oo = C_oo = s <F> + t       (a number)

and starts from the same h^0. Its neurons are therefore independent, with exactly the law of a
neuron at infinite width, and follow those of the network closely: what fluctuates in one fluctuates
in the other (`resexpand.montecarlo.statistics.first_order`). It costs no random numbers. Generated
text calls it the twin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from resexpand.errors import UnsupportedError
from resexpand.montecarlo.groups.group import ColumnGroup, Floats, phi_call
from resexpand.network.operation import Map
from resexpand.network.requirements import require_laws
from resexpand.network.resnet import Branch

LOOP = '''
@chunk
def twin_{j}(source, target, first, count):
    """Write phi(u) for the twin."""
    for c in range(first, first + count):
        u, new = source[c], target[c]
        for turn in range(lane_share(u.size)):
            i = lane_entry(turn)
            new[i] = {value}
    barrier()
'''


@dataclass(frozen=True)
class ControlNetwork(ColumnGroup):
    """One column per input; `linears` is the number of linear operations in the branch."""

    name: ClassVar[str] = "twin"
    rank: ClassVar[int] = 9
    weighted: ClassVar[bool] = False

    count: int
    linears: int

    @property
    def keeps_units(self) -> bool:
        """Whether the stream must stay in the units of layer 0: it must."""
        return True

    @property
    def carried(self) -> int:
        """One column per input."""
        return self.count

    @property
    def sites(self) -> Mapping[str, tuple[int, ...]]:
        """Gram matrices of what each linear operation acts on."""
        return {"twin_features": (self.linears, self.count, self.count)}

    def start(self, kernel: Floats, root: Floats) -> Floats:
        """Return F^T: the control network starts at h^0."""
        return np.vstack([root.T, np.zeros((1, self.count))])

    def functions(self, j: int, op: Map) -> list[str]:
        """Return phi and its loop."""
        phi = phi_call(j, op, "u")
        return [*phi.functions, LOOP.format(j=j, value=phi.value)]

    def call(self, j: int, op: Map, source: str, target: str) -> str:
        """Return the call of the loop."""
        return f"twin_{j}({source}, {target}, twin_at, twin_count)"

    def before_linear(self, site: str, k: int, source: str) -> str:
        """Return the line that writes the Gram matrix of the features."""
        columns = f"{source}[twin_at : twin_at + twin_count]"
        return f"gram({columns}, width, {site}[n, layer - 1, {k}])"

    def require(self, branch: Branch, names: str) -> None:
        """Refuse branches whose stream is not Gaussian."""
        require_laws(branch.steps, 'control="infinite-width"')
        if not branch.is_gaussian:
            raise UnsupportedError(
                'control="infinite-width" for a branch that ends in an activation',
                "its stream is not Gaussian, and the first-order response of its mean is not "
                "implemented",
                "end the branch with a Linear(), or sample without control",
            )
