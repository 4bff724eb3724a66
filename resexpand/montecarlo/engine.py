"""From a description to rows of numbers: the sampler of one network ensemble, ready to draw.

`Sampler.rows(first, draws)` draws the networks with these numbers and reads the observables off
them. The result depends on nothing else, so any cut of an ensemble into chunks, in any thread,
gives the same rows bit by bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.slots import addresses
from resexpand.codegen.store import load
from resexpand.errors import UnsupportedError
from resexpand.montecarlo.concrete import ConcreteNet
from resexpand.montecarlo.groups.control import ControlNetwork
from resexpand.montecarlo.groups.group import ColumnGroup
from resexpand.montecarlo.groups.layout import Layout
from resexpand.montecarlo.groups.maps import MOST_NOISE
from resexpand.montecarlo.groups.power_of_two import SITE as EXPONENTS
from resexpand.montecarlo.groups.power_of_two import in_true_size
from resexpand.montecarlo.jit import library
from resexpand.montecarlo.lanes import Shape, aligned_row, memory_for, on_host
from resexpand.montecarlo.layer_methods import LAYER_METHODS
from resexpand.montecarlo.observables.observable import (
    GRAMS,
    Observable,
    Record,
    Sites,
    read_out_law,
)
from resexpand.montecarlo.observables.registry import (
    controlled,
    counted,
    needed_columns,
    needed_sites,
)
from resexpand.montecarlo.random.philox import split_seed
from resexpand.montecarlo.random.streams import LARGEST_BRANCH
from resexpand.montecarlo.runs.plan import Chunk, together
from resexpand.montecarlo.source.blocks import Blocks
from resexpand.montecarlo.source.sampler import sampler_text
from resexpand.montecarlo.spec import SamplerSpec
from resexpand.montecarlo.statistics.first_order import FirstOrder, first_order
from resexpand.montecarlo.statistics.histogram import Counts
from resexpand.montecarlo.statistics.moments import Moments
from resexpand.montecarlo.weights.law import CORRELATED
from resexpand.network.linear import Linear
from resexpand.network.resnet import Branch

Floats = NDArray[np.float64]
NO_ROOTS = np.zeros((0, 0, 0, 0))
REMEMBERED = 8
"""Samplers that a process keeps."""
LAUNCH_BYTES = 2**28
"""Most memory that the Gram matrices of one launch on a GPU may take."""


@dataclass(frozen=True, eq=False)
class Sampler:
    """Draws the networks of one ensemble.

    Attributes
    ----------
    spec : SamplerSpec
        Its description.
    layout : Layout
        The columns of a network.
    text : module
        The generated module.
    first_order : FirstOrder or None
        The network at infinite width, if observables are controlled by the control network.
    maps : mapping
        Functions that the generated module calls by address, by name.
    """

    spec: SamplerSpec
    layout: Layout
    text: Any
    first_order: FirstOrder | None = None
    maps: Mapping[str, Any] = field(default_factory=dict)

    @property
    def net(self) -> ConcreteNet:
        """The numbers of the networks."""
        return self.spec.net

    @cached_property
    def kernel(self) -> Floats:
        """The kernel K^0, shape (D, D)."""
        return np.array(self.spec.kernel)

    def rows(self, first: int, draws: int) -> dict[str, Floats]:
        """Return the observables of networks first ... first + draws - 1, one row per network.

        An observable with a control comes twice, as it is and, under its `controlled`
        name, with the first-order fluctuation subtracted.
        """
        record = self._record(first, draws)
        with np.errstate(all="ignore"):  # overflow shows as inf or NaN, which the moments count
            rows = {
                observable.name: observable.read(record) for observable in self.spec.observables
            }
            if self.first_order is not None:
                change = _fluctuations(self.first_order, record)
                for observable in self.spec.observables:
                    if observable.control is not None:
                        known = observable.control(record, change)
                        rows[controlled(observable.name)] = rows[observable.name] - known
        return rows

    def moments(self, first: int, draws: int) -> dict[str, Moments | Counts]:
        """Return the partial sums of these networks: moments, and counts between edges."""
        return self._sums(self.rows(first, draws))

    def sums(self, chunks: Sequence[Chunk]) -> list[dict[str, Moments | Counts]]:
        """Return the partial sums of each chunk; on a GPU neighbours are drawn by one launch."""
        if self.spec.target == "cpu":
            return [self.moments(*chunk) for chunk in chunks]
        found = []
        for neighbours in together(chunks, self._most_rows):
            start, end = neighbours[0][0], sum(neighbours[-1])
            rows = self.rows(start, end - start)
            for first, draws in neighbours:
                own = slice(first - start, first - start + draws)
                found.append(self._sums({name: x[own] for name, x in rows.items()}))
        return found

    @property
    def _most_rows(self) -> int:
        """Networks whose Gram matrices may be in memory at a time."""
        return LAUNCH_BYTES // (24 * (self.net.depth + 1) * self.layout.columns**2)

    def _sums(self, rows: Mapping[str, Floats]) -> dict[str, Moments | Counts]:
        sums: dict[str, Moments | Counts] = {name: Moments.of(x) for name, x in rows.items()}
        for observable in self.spec.observables:
            if observable.edges:
                edges = np.array(observable.edges)
                sums[counted(observable.name)] = Counts.of(rows[observable.name], edges)
        return sums

    def _record(self, first: int, draws: int) -> Record:
        wanted = needed_sites(self.spec.observables, self.net)
        behind = "features" in wanted and self.net.read_out is None
        if self.first_order is not None:
            wanted |= {"features", "twin_features"}
        shapes = self._shapes(wanted)
        sites = self._drawn(first, draws, self.net.depth + behind, shapes)
        exponents = sites.get(EXPONENTS)
        recorded = Sites({s: a for s, a in sites.items() if s in wanted}, sites)
        if exponents is None or not exponents.any():
            return Record(self.net, self.layout, self.kernel, recorded)
        with np.errstate(over="ignore"):
            true = Sites(in_true_size(recorded, exponents), sites)
        return Record(self.net, self.layout, self.kernel, true, recorded, exponents)

    @cached_property
    def _given(self) -> tuple[Any, ...]:
        """Arguments of the generated function beside the numbers of the networks."""
        return (
            self.layout.matrix(self.kernel),
            self.layout.parents,
            self.layout.spans,
            self.layout.added_to,
            self.spec.width,
            np.array(self.net.scales),
            self._laws,
            np.array(read_out_law(self.net)),
            NO_ROOTS if self.first_order is None else self.first_order.roots,
            *(() if self.net.layers is None else (self._mixing,)),
        )

    @cached_property
    def _mixing(self) -> Floats:
        """What the sampler knows of c(l, m), for every block and one behind the last."""
        if self.net.layers is None:
            raise TypeError("layers are independent")
        c = self.net.layers.covariance(self.net.depth, further=1)
        return LAYER_METHODS[self.spec.method].mixing(c)

    @cached_property
    def _laws(self) -> Floats:
        """Parameters by operation; where the stream has a factor, it begins one more row."""
        laws = np.array(self.net.laws)
        if self.net.skip == 1:
            return laws
        return np.vstack([laws, np.full_like(laws[:1], self.net.skip)])

    @cached_property
    def _memory(self) -> int:
        """Numbers that a network takes in memory."""
        matrix, _, _, added_to, width, scales, laws, _, twin_roots, *mixing = self._given
        sizes = (matrix, added_to, width, scales, laws, twin_roots, *mixing)
        shapes = on_host(self.text.buffers)(*sizes)
        return memory_for(0, shapes)[1]

    @cached_property
    def _on_device(self) -> Any:
        from resexpand.montecarlo.cuda.launch import Networks

        return Networks(self.text, self._given)

    def _drawn(
        self, first: int, draws: int, blocks: int, shapes: Mapping[str, Shape]
    ) -> dict[str, Floats]:
        """Return the records of the networks, in the order of the generated text."""
        keys = split_seed(self.spec.seed)
        if self.spec.target == "cuda":
            drawn: dict[str, Floats] = self._on_device.draw(first, draws, keys, blocks, shapes)
            return drawn
        sites = {site: np.zeros((draws, *shape)) for site, shape in shapes.items()}
        memory = aligned_row(self._memory)
        given = (first, draws, *keys, *self._given, memory, blocks, *sites.values())
        draw, slots = self.text.draw_networks, getattr(self.text, "slots", None)
        where = () if slots is None else (addresses(draw, slots, self.maps, given),)
        draw(*where, *given)
        return sites

    def _shapes(self, wanted: set[str]) -> dict[str, Shape]:
        """Return the shapes of the records of one network; a site that is not wanted is empty."""
        layers, layout = self.net.depth + 1, self.layout
        shapes: dict[str, Shape] = {
            "states": (layers, layout.columns, layout.columns),
            **dict.fromkeys(GRAMS[1:], (layers, layout.carried, layout.carried)),
            "outputs": (layout.inputs,),
            **{site: (layers, *shape) for site, shape in layout.sites.items()},
        }
        return {
            site: shape if site in wanted else (0,) * len(shape) for site, shape in shapes.items()
        }


@lru_cache(maxsize=REMEMBERED)
def make_sampler(spec: SamplerSpec) -> Sampler:
    """Generate, compile (or load from disk) and bind the sampler of an ensemble.

    Raises
    ------
    UnsupportedError
        If an observable needs columns that an activation cannot carry, or the branch is longer
        than the random streams allow.
    """
    net, branch = spec.net, spec.kinds[0]
    blocks = Blocks.of(spec.kinds, net.depth, spec.head, net.skip == 1, spec.post_norm)
    if blocks.longest > LARGEST_BRANCH:
        raise UnsupportedError(
            f"a branch of {blocks.longest} operations", f"at most {LARGEST_BRANCH} can be sampled"
        )
    if blocks.most_noise > MOST_NOISE:
        raise UnsupportedError(
            f"an operation with {blocks.most_noise} noises", f"at most {MOST_NOISE} can be sampled"
        )
    ending = Branch(*(step.op for step in blocks.head), Linear())
    between = (Branch(step.op, Linear()) for step in blocks.post)
    branches = tuple(dict.fromkeys((*spec.kinds, ending, *between)))
    layout = needed_columns(
        spec.observables,
        len(spec.kernel),
        control_of=branch if spec.control else None,
        rescaled=branches,
    )
    for each in branches:
        layout.require(each, _askers(spec.observables))
    kernel = np.array(spec.kernel)
    layout.matrix(kernel)  # a kernel at which a group cannot start is refused now
    library.open()
    control = first_order(branch, net, kernel, blocks.head) if spec.control else None
    law = spec.law if net.layers is None else CORRELATED
    text = sampler_text(blocks, spec.method, layout, law, spec.target)
    if spec.target != "cpu":
        return Sampler(spec, layout, load(text.whole(spec.target)), control)
    driver, maps = text.divided()
    functions = {name: value for each in map(load, maps) for name, value in vars(each).items()}
    return Sampler(spec, layout, load(driver), control, functions)


def _askers(observables: Sequence[Observable]) -> dict[type[ColumnGroup], str]:
    """Return the names of the observables that need each kind of group."""
    names: dict[type[ColumnGroup], list[str]] = {}
    for observable in observables:
        for group in observable.groups:
            names.setdefault(type(group), []).append(observable.label)
    return {kind: ", ".join(dict.fromkeys(listed)) for kind, listed in names.items()}


def _fluctuations(theory: FirstOrder, record: Record) -> Floats:
    """Return the first-order fluctuations dC of the networks of a record."""
    columns = list(record.layout.places[ControlNetwork])
    read_outs = record.sites.get("read_outs", NO_ROOTS)
    if read_outs.size:
        read_outs = read_outs[:, :, columns][..., columns]
    return theory.fluctuations(record.sites["twin_features"], read_outs)
