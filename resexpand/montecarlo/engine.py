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
from resexpand.montecarlo.groups.group import ColumnGroup
from resexpand.montecarlo.groups.layout import Layout
from resexpand.montecarlo.moments import Moments
from resexpand.montecarlo.observable import GRAMS, Observable, Record, read_out_law
from resexpand.montecarlo.observables import needed_columns, needed_sites
from resexpand.montecarlo.philox import split_seed
from resexpand.montecarlo.sampler_source import sampler_source
from resexpand.montecarlo.streams import LARGEST_BRANCH
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
    layout : Layout
        The columns of a network.
    matrix : ndarray, shape (D + 1, S)
        What makes them at layer 0.
    draw_networks : callable
        The compiled function of the generated module.
    """

    net: ConcreteNet
    observables: tuple[Observable, ...]
    width: int
    seed: int
    layout: Layout
    matrix: Floats
    draw_networks: Callable[..., None]

    def rows(self, first: int, draws: int) -> dict[str, Floats]:
        """Return the observables of networks first ... first + draws - 1, one row per network."""
        record = self._record(first, draws)
        with np.errstate(all="ignore"):  # overflow shows as inf or NaN, which the moments count
            return {observable.name: observable.read(record) for observable in self.observables}

    def moments(self, first: int, draws: int) -> dict[str, Moments]:
        """Return the partial sums of these networks."""
        return {name: Moments.of(rows) for name, rows in self.rows(first, draws).items()}

    def _record(self, first: int, draws: int) -> Record:
        wanted = needed_sites(self.observables, self.net)
        behind = "features" in wanted and self.net.read_out is None
        sites = self._sites(draws, wanted)
        self.draw_networks(
            first,
            draws,
            *split_seed(self.seed),
            self.matrix,
            self.layout.parents,
            self.layout.spans,
            self.layout.added_to,
            self.width,
            np.array(self.net.scales),
            np.array(self.net.laws),
            np.array(read_out_law(self.net)),
            self.net.depth + behind,
            *sites.values(),
        )
        return Record(self.net, self.layout, sites)

    def _sites(self, draws: int, wanted: set[str]) -> dict[str, Floats]:
        """Return arrays for what the networks leave behind, in the order of the generated text."""
        layers, layout = self.net.depth + 1, self.layout
        shapes = {
            "states": (draws, layers, layout.columns, layout.columns),
            **dict.fromkeys(GRAMS[1:], (draws, layers, layout.carried, layout.carried)),
            "outputs": (draws, layout.inputs),
            **{site: (draws, layers, size) for site, size in layout.sites.items()},
        }
        return {
            site: np.zeros(shape if site in wanted else (0,) * len(shape))
            for site, shape in shapes.items()
        }


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
        If an observable needs columns that an activation cannot carry, or the branch is longer
        than the random streams allow.
    """
    if len(branch.ops) > LARGEST_BRANCH:
        raise UnsupportedError(
            f"a branch of {len(branch.ops)} operations", f"at most {LARGEST_BRANCH} can be sampled"
        )
    layout = needed_columns(observables, len(kernel))
    layout.require(branch, _askers(observables))
    return Sampler(
        net=net,
        observables=tuple(observables),
        width=width,
        seed=seed,
        layout=layout,
        matrix=layout.matrix(kernel),
        draw_networks=_compiled(sampler_source(branch, method, layout)),
    )


def _askers(observables: Sequence[Observable]) -> dict[type[ColumnGroup], str]:
    """Return the names of the observables that need each kind of group."""
    names: dict[type[ColumnGroup], list[str]] = {}
    for observable in observables:
        for group in observable.groups:
            names.setdefault(type(group), []).append(observable.label)
    return {kind: ", ".join(dict.fromkeys(listed)) for kind, listed in names.items()}


@cache
def _compiled(source: str) -> Callable[..., None]:
    module: Any = load(source)
    compiled: Callable[..., None] = module.draw_networks
    return compiled
