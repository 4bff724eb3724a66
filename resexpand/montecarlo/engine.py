"""From a description to rows of numbers: the sampler of one network ensemble, ready to draw.

`Sampler.rows(first, draws)` draws the networks with these numbers and reads the observables off
them. The result depends on nothing else, so any cut of an ensemble into chunks, in any thread,
gives the same rows bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.store import load
from resexpand.errors import UnsupportedError
from resexpand.montecarlo.concrete import ConcreteNet
from resexpand.montecarlo.moments import Moments
from resexpand.montecarlo.observables import (
    Observable,
    Record,
    needed_sites,
    read_out_law,
    starting_matrix,
)
from resexpand.montecarlo.philox import split_seed
from resexpand.montecarlo.sampler_source import sampler_source
from resexpand.montecarlo.streams import LARGEST_BRANCH
from resexpand.network.ops import Activation
from resexpand.network.resnet import Branch

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sampler:
    """Draws the networks of one ensemble.

    Attributes
    ----------
    net : ConcreteNet
    observables : tuple of Observable
    width : int
    seed : int
    tangents : dict
        Tangent kind to column.
    matrix, parents : ndarray
        From `starting_matrix`.
    draw_networks : callable
        The compiled function of the generated module.
    """

    net: ConcreteNet
    observables: tuple[Observable, ...]
    width: int
    seed: int
    tangents: dict[str, int]
    matrix: Floats
    parents: NDArray[np.int64]
    draw_networks: Callable[..., None]

    @property
    def inputs(self) -> int:
        """Number of inputs D."""
        return len(self.matrix) - 1

    def rows(self, first: int, draws: int) -> dict[str, Floats]:
        """Return the observables of networks first ... first + draws - 1, one row per network."""
        record = self._record(first, draws)
        with np.errstate(all="ignore"):  # overflow shows as inf or NaN, which the moments count
            return {observable.name: observable.read(record) for observable in self.observables}

    def moments(self, first: int, draws: int) -> dict[str, Moments]:
        """Return the partial sums of these networks."""
        return {name: Moments.of(rows) for name, rows in self.rows(first, draws).items()}

    def _record(self, first: int, draws: int) -> Record:
        sites = needed_sites(self.observables, self.net)
        columns, layers = self.matrix.shape[1], self.net.depth + 1
        arrays = {
            site: np.zeros((draws, layers, columns, columns) if site in sites else (0, 0, 0, 0))
            for site in ("states", "features", "read_outs")
        }
        outputs = np.zeros((draws, self.inputs) if "outputs" in sites else (0, 0))
        behind = "features" in sites and self.net.read_out is None
        self.draw_networks(
            first,
            draws,
            *split_seed(self.seed),
            self.matrix,
            self.parents,
            self.width,
            np.array(self.net.scales),
            np.array(self.net.laws),
            np.array(read_out_law(self.net)),
            self.net.depth + behind,
            *arrays.values(),
            outputs,
        )
        return Record(self.net, self.inputs, self.tangents, outputs=outputs, **arrays)


def make_sampler(
    branch: Branch,
    net: ConcreteNet,
    kernel: Floats,
    observables: Sequence[Observable],
    *,
    width: int,
    method: str,
    seed: int,
) -> Sampler:
    """Generate, compile (or load from disk) and bind the sampler of an ensemble.

    Raises
    ------
    UnsupportedError
        If an observable needs a derivative that an activation does not have, or the branch is
        longer than the random streams allow.
    """
    if len(branch.ops) > LARGEST_BRANCH:
        raise UnsupportedError(
            f"a branch of {len(branch.ops)} operations", f"at most {LARGEST_BRANCH} can be sampled"
        )
    inputs = len(kernel)
    kinds = list(dict.fromkeys(o.tangent for o in observables if o.tangent))
    if kinds:
        _require_derivatives(branch, [o.name for o in observables if o.tangent])
    matrix, parents = starting_matrix(kernel, kinds)
    return Sampler(
        net=net,
        observables=tuple(observables),
        width=width,
        seed=seed,
        tangents={kind: inputs + t for t, kind in enumerate(kinds)},
        matrix=matrix,
        parents=parents,
        draw_networks=_compiled(sampler_source(branch, method, tangents=bool(kinds))),
    )


@cache
def _compiled(source: str) -> Callable[..., None]:
    module: Any = load(source)
    compiled: Callable[..., None] = module.draw_networks
    return compiled


def _require_derivatives(branch: Branch, names: list[str]) -> None:
    """Refuse tangents through activations that jump."""
    for op in branch.ops:
        if isinstance(op, Activation) and op.jumps:
            raise UnsupportedError(
                f"{', '.join(names)} of a network with activation {op.name}",
                f"{op.name} jumps, so its networks have no derivative",
                'ask for "kernel", or use a continuous activation such as Activation("erf")',
            )
