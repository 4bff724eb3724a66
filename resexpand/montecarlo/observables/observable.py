"""`Observable` and `Record`: what is read off a sampled network, and what it is read from.

A sampler leaves arrays behind, by *site* (`resexpand.montecarlo.source.sampler`): Gram matrices of
its columns by layer, outputs, and what groups of columns add of their own. An observable names the
sites it reads, the groups of columns it needs beside the inputs, and a function that turns the
record of n networks into n rows. That is all there is to writing one. How much the stream of one
input has grown, and the cosine between the stream and a tangent, for which a column is needed:

>>> import numpy as np
>>> from resexpand import Activation, Branch, Linear, ResNet, sample
>>> from resexpand.montecarlo.groups.tangents import Tangents
>>> from resexpand.montecarlo.observables.observable import Observable
>>> def growth(record):
...     kernel = record.of_inputs(record.sites["states"])
...     return kernel[:, -1] / kernel[:, 0]
>>> def cosine(record):
...     gram, v = record.sites["states"], record.tangent("direction")
...     return gram[:, :, 0, v] / np.sqrt(gram[:, :, 0, 0] * gram[:, :, v, v])
>>> mine = [
...     Observable("growth", growth, ("states",), inputs=1),
...     Observable("cosine", cosine, ("states",), (Tangents(("direction",)),), inputs=1),
... ]
>>> net = ResNet(Branch(Activation("erf"), Linear(1, 0)), scale=0.5, depth=3)
>>> found = sample(net, [*mine, "kernel"], width=32, draws=200, K0=1.0)
>>> found["cosine"].mean.shape, found["growth"].n
((4,), 200)

They stand beside the names of the registered ones. A store knows an observable by its label alone:
give another function another name.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resexpand.errors import HyperparameterError
from resexpand.montecarlo.concrete import ConcreteNet, Law
from resexpand.montecarlo.groups.group import ColumnGroup
from resexpand.montecarlo.groups.layout import Layout
from resexpand.montecarlo.groups.tangents import Tangents

Floats = NDArray[np.float64]

GRAMS = ("states", "features", "read_outs")
"""Sites that hold one Gram matrix per layer."""


class Sites(dict[str, Floats]):
    """Arrays of the sites that were recorded; another site is an error that says which exist.

    Parameters
    ----------
    recorded : mapping
        Arrays by site.
    existing : iterable of str
        All sites of this sampler, recorded or not.
    """

    def __init__(self, recorded: Mapping[str, Floats], existing: Iterable[str]) -> None:
        super().__init__(recorded)
        self.existing = tuple(existing)

    def __missing__(self, site: str) -> Floats:
        if site in self.existing:
            raise HyperparameterError(
                f"the site {site!r}", "no observable asks for it", "name it in Observable(sites=)"
            )
        raise unknown_site(site, self.existing)


def unknown_site(site: object, existing: Iterable[str], where: str = "") -> HyperparameterError:
    """Return the error that names a site that does not exist, and those that do."""
    names = list(existing)
    near = difflib.get_close_matches(str(site), names, n=1)
    return HyperparameterError(
        f"the site {site!r}{where}",
        "the sampler leaves no such site" + (f"; did you mean {near[0]!r}?" if near else ""),
        f"the sites are {', '.join(names)}",
    )


@dataclass(frozen=True, eq=False)
class Record:
    """Arrays recorded of a chunk of n networks.

    Attributes
    ----------
    net : ConcreteNet
    layout : Layout
        Which column is what.
    start : ndarray, shape (D, D)
        The kernel K^0.
    sites : mapping
        ``"states"``: (n, L+1, S, S). ``"features"``, ``"read_outs"``: (n, L+1, F, F).
        ``"outputs"``: (n, D). Sites of a group: (n, L+1, ...). Empty where not wanted; infinite
        beyond the range of float64.
    scaled : mapping or None
        The same in units of ``4**exponents`` per layer, finite at any depth; None: in those of
        `sites`.
    exponents : ndarray, shape (n, L+1), or None
        See `resexpand.montecarlo.groups.power_of_two`; None: zero.
    """

    net: ConcreteNet
    layout: Layout
    start: Floats
    sites: Mapping[str, Floats]
    scaled: Mapping[str, Floats] | None = None
    exponents: Floats | None = None

    @property
    def inputs(self) -> int:
        """Number D of inputs; the first D columns."""
        return self.layout.inputs

    @property
    def read_out_law(self) -> Law:
        """Variances of the read-out; unit weights without bias if the network has none."""
        return read_out_law(self.net)

    def of_inputs(self, site: Floats) -> Floats:
        """Return the entries between inputs: (n, L+1, D, D), or (n, L+1) for one input."""
        return site[:, :, 0, 0] if self.inputs == 1 else site[:, :, : self.inputs, : self.inputs]

    def in_units(self, site: str) -> tuple[Floats, Floats]:
        """Return a site in units of ``4**e`` per layer, and these e, shape (n, L+1)."""
        values = (self.scaled or self.sites)[site]
        return values, np.zeros(values.shape[:2]) if self.exponents is None else self.exponents

    def of_group(self, kind: type[ColumnGroup]) -> Floats:
        """Return the Gram matrices of the stream columns of a group, (n, L+1, m, m)."""
        columns = list(self.layout.places[kind])
        return self.sites["states"][:, :, columns][..., columns]

    def tangent(self, kind: str) -> int:
        """Return the column of a kind of tangent, among those of the stream.

        Raises
        ------
        KeyError
            If no observable asked for it.
        """
        tangents = self.layout.of_kind(Tangents)
        if not isinstance(tangents, Tangents):
            raise KeyError(kind)
        return self.layout.places[Tangents][tangents.kinds.index(kind)]


@dataclass(frozen=True)
class Observable:
    """One thing that can be read off a sampled network.

    Attributes
    ----------
    name : str
        Its estimate is found under this name.
    read : callable
        Record to rows, shape (n, ...).
    sites : tuple of str
        Which sites of the record it reads.
    groups : tuple of ColumnGroup
        Which columns it needs beside the inputs.
    inputs : int or None
        The number of inputs it is defined for; None for any.
    parameters : tuple of int
        Further arguments; part of the identity of a run.
    control : callable or None
        Control variate under ``control="infinite-width"``: from the record and the first-order
        fluctuations dC of `first_order.FirstOrder`, rows of expectation zero.
    edges : tuple of float
        Increasing; between them the draws are counted. None: moments only.
    """

    name: str
    read: Callable[[Record], Floats]
    sites: tuple[str, ...]
    groups: tuple[ColumnGroup, ...] = ()
    inputs: int | None = None
    parameters: tuple[int, ...] = ()
    control: Callable[[Record, Floats], Floats] | None = None
    edges: tuple[float, ...] = ()

    @property
    def label(self) -> str:
        """Name with parameters, ``"order_profile(4)"``."""
        listed = ", ".join(map(str, self.parameters))
        return f"{self.name}({listed})" if self.parameters else self.name


def read_out_law(net: ConcreteNet) -> Law:
    """Return the variances of the read-out; unit weights without bias if there is none."""
    return (1.0, 0.0) if net.read_out is None else net.read_out
