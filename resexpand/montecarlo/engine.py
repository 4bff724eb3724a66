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
from resexpand.montecarlo.first_order import FirstOrder, first_order
from resexpand.montecarlo.groups.group import ColumnGroup
from resexpand.montecarlo.groups.layout import Layout
from resexpand.montecarlo.groups.twin import Twin
from resexpand.montecarlo.groups.units import SITE as UNITS
from resexpand.montecarlo.groups.units import in_true_units
from resexpand.montecarlo.histogram import Counts
from resexpand.montecarlo.moments import Moments
from resexpand.montecarlo.observable import GRAMS, Observable, Record, read_out_law
from resexpand.montecarlo.observables import controlled, counted, needed_columns, needed_sites
from resexpand.montecarlo.philox import split_seed
from resexpand.montecarlo.sampler_source import sampler_source
from resexpand.montecarlo.streams import LARGEST_BRANCH
from resexpand.montecarlo.weights.law import GAUSSIAN, WeightLaw
from resexpand.network.resnet import Branch

Floats = NDArray[np.float64]
NO_ROOTS = np.zeros((0, 0, 0, 0))


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
    kernel : ndarray, shape (D, D)
        The kernel K^0.
    matrix : ndarray, shape (D + 1, S)
        What makes the columns at layer 0.
    draw_networks : callable
        The compiled function of the generated module.
    first_order : FirstOrder or None
        The network at infinite width, if observables are controlled by its twin.
    """

    net: ConcreteNet
    observables: tuple[Observable, ...]
    width: int
    seed: int
    layout: Layout
    kernel: Floats
    matrix: Floats
    draw_networks: Callable[..., None]
    first_order: FirstOrder | None = None

    def rows(self, first: int, draws: int) -> dict[str, Floats]:
        """Return the observables of networks first ... first + draws - 1, one row per network.

        An observable controlled by the twin comes twice, as it is and, under its `controlled`
        name, with the first-order fluctuation subtracted.
        """
        record = self._record(first, draws)
        with np.errstate(all="ignore"):  # overflow shows as inf or NaN, which the moments count
            rows = {observable.name: observable.read(record) for observable in self.observables}
            if self.first_order is not None:
                change = _fluctuations(self.first_order, record)
                for observable in self.observables:
                    if observable.control is not None:
                        known = observable.control(record, change)
                        rows[controlled(observable.name)] = rows[observable.name] - known
        return rows

    def moments(self, first: int, draws: int) -> dict[str, Moments | Counts]:
        """Return the partial sums of these networks: moments, and counts between edges."""
        rows = self.rows(first, draws)
        sums: dict[str, Moments | Counts] = {name: Moments.of(x) for name, x in rows.items()}
        for observable in self.observables:
            if observable.edges:
                edges = np.array(observable.edges)
                sums[counted(observable.name)] = Counts.of(rows[observable.name], edges)
        return sums

    def _record(self, first: int, draws: int) -> Record:
        wanted = needed_sites(self.observables, self.net)
        behind = "features" in wanted and self.net.read_out is None
        if self.first_order is not None:
            wanted |= {"features", "twin_features"}
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
            NO_ROOTS if self.first_order is None else self.first_order.roots,
            self.net.depth + behind,
            *sites.values(),
        )
        exponents = sites.get(UNITS)
        if exponents is None or not exponents.any():
            return Record(self.net, self.layout, self.kernel, sites)
        with np.errstate(over="ignore"):
            true = in_true_units(sites, exponents)
        return Record(self.net, self.layout, self.kernel, true, sites, exponents)

    def _sites(self, draws: int, wanted: set[str]) -> dict[str, Floats]:
        """Return arrays for what the networks leave behind, in the order of the generated text."""
        layers, layout = self.net.depth + 1, self.layout
        shapes = {
            "states": (draws, layers, layout.columns, layout.columns),
            **dict.fromkeys(GRAMS[1:], (draws, layers, layout.carried, layout.carried)),
            "outputs": (draws, layout.inputs),
            **{site: (draws, layers, *shape) for site, shape in layout.sites.items()},
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
    control: bool = False,
    law: WeightLaw = GAUSSIAN,
) -> Sampler:
    """Generate, compile (or load from disk) and bind the sampler of an ensemble.

    With `control`, the infinite-width twin of every network is propagated beside it.

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
    twin_of = branch if control else None
    layout = needed_columns(observables, len(kernel), twin_of=twin_of, units_of=branch)
    layout.require(branch, _askers(observables))
    return Sampler(
        net=net,
        observables=tuple(observables),
        width=width,
        seed=seed,
        layout=layout,
        kernel=kernel,
        matrix=layout.matrix(kernel),
        draw_networks=_compiled(sampler_source(branch, method, layout, law)),
        first_order=first_order(branch, net, kernel) if control else None,
    )


def _askers(observables: Sequence[Observable]) -> dict[type[ColumnGroup], str]:
    """Return the names of the observables that need each kind of group."""
    names: dict[type[ColumnGroup], list[str]] = {}
    for observable in observables:
        for group in observable.groups:
            names.setdefault(type(group), []).append(observable.label)
    return {kind: ", ".join(dict.fromkeys(listed)) for kind, listed in names.items()}


def _fluctuations(theory: FirstOrder, record: Record) -> Floats:
    """Return the first-order fluctuations dC of the networks of a record."""
    columns = list(record.layout.places[Twin])
    read_outs = record.sites["read_outs"]
    if read_outs.size:
        read_outs = read_outs[:, :, columns][..., columns]
    return theory.fluctuations(record.sites["twin_features"], read_outs)


@cache
def _compiled(source: str) -> Callable[..., None]:
    module: Any = load(source)
    compiled: Callable[..., None] = module.draw_networks
    return compiled
