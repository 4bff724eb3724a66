"""Samplers of correlated layers: which draw a covariance c(l, m), at which cost, and the choice.

========  =========================================  =======================  =========  =========
method    draws                                      normals per network      gradients  takes
========  =========================================  =======================  =========  =========
cholesky  images of the columns, given all earlier   N L D                    no         rough c
          ones (`loops.correlated_cholesky`)
basis     k matrices on one basis of all columns     N k min(L D, N + 1)      yes        every c
          (`loops.correlated_basis`)
markov    images, given what is known of the         N L D                    no         Markov
          weights (`loops.correlated_markov`)                                            chains
dense     the weights (`loops.correlated`)           up to N^2 k per block    yes        every c
========  =========================================  =======================  =========  =========

for D columns and k independent matrices. All are exact in law. The networks of one seed differ from
method to method, so that the choice depends on nothing but the description: it compares counts of
normals and of products, in units measured once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.memory import require_memory
from resexpand.errors import UnsupportedError
from resexpand.montecarlo.concrete import ConcreteNet
from resexpand.montecarlo.groups.gradients import Gradients
from resexpand.montecarlo.groups.layout import Layout
from resexpand.montecarlo.weights.law import AUTO, GAUSSIAN, WeightLaw
from resexpand.montecarlo.weights.layer_factor import layer_factor
from resexpand.network.layers import LayerLaw
from resexpand.network.resnet import Branch

Array = NDArray[np.float64]

NORMAL_NS, PRODUCT_NS = 1.5, 0.2
"""Nanoseconds of a normal and of a product of long columns, fitted to times of all methods at
N = 64 ... 256, L = 50 ... 400 on one machine, which they give within a factor
of two. Ratios alone enter."""

LEAST_INNOVATION = 1e-6
"""Conditional variance of a layer, in units of its variance, below which c counts as smooth: a
Cholesky factor would lose more than half of its digits."""

MOST_BYTES = 2.0**31
"""Memory of one network above which ``"auto"`` passes a method over."""

CHAIN = 1e-12
"""Largest difference from a Markov chain that counts as rounding."""


@dataclass(frozen=True)
class Sizes:
    """What the cost of a network depends on.

    Attributes
    ----------
    width, layers, columns, linears : int
        Width, blocks, columns that pass a branch, linear operations in it.
    inputs : int
        Gradients that are propagated back, zero without.
    roots, mixed : int
        Independent matrices k, and how many of them the blocks use together.
    """

    width: int
    layers: int
    columns: int
    linears: int
    inputs: int
    roots: int
    mixed: int

    def basis(self, columns: int) -> Array:
        """Return the size of a basis of so many columns per block behind each block."""
        grown = columns * np.arange(1, self.layers + 1, dtype=np.float64)
        return np.minimum(grown, self.width + 1)


@dataclass(frozen=True)
class LayerMethod:
    """A sampler of correlated layers.

    Attributes
    ----------
    name : str
        Name in settings.
    mixing : callable
        What the sampler knows of c.
    unfit : callable
        Why it cannot draw c, or an empty text.
    work : callable
        Normals and products of one linear operation.
    numbers : callable
        Numbers that it remembers of one linear operation.
    gradients : bool
        Whether it has a transpose.
    """

    name: str
    mixing: Callable[[Array], Array]
    unfit: Callable[[Array], str]
    work: Callable[[Sizes], tuple[float, float]]
    numbers: Callable[[Sizes], float]
    gradients: bool

    def seconds(self, sizes: Sizes) -> float:
        """Return the time of a network, in the units of `NORMAL_NS`."""
        normals, products = self.work(sizes)
        return sizes.linears * (normals * NORMAL_NS + products * PRODUCT_NS) * 1e-9

    def bytes(self, sizes: Sizes) -> float:
        """Return the memory that a network takes for what it met before."""
        return 8.0 * sizes.linears * self.numbers(sizes)


def _smooth(c: Array) -> str:
    """Return why a Cholesky factor of c cannot be trusted."""
    try:
        pivots = np.diagonal(np.linalg.cholesky(c)) ** 2 / np.diagonal(c)
    except np.linalg.LinAlgError:
        pivots = np.zeros(1)
    if pivots.min() >= LEAST_INNOVATION:
        return ""
    least = f"{pivots.min():.0e}" if pivots.min() > 0 else "nothing"
    return f"a block adds {least} of its variance, which rounding would hide"


def _no_chain(c: Array) -> str:
    """Return why layers of covariance c are no chain that a filter can follow."""
    steps = np.diagonal(c, -1)
    chain = np.abs(c[1:, :-1] - steps[:, None] * c[:-1, :-1])[np.tril_indices(len(c) - 1)]
    if np.abs(np.diagonal(c) - 1).max() > CHAIN or chain.max(initial=0.0) > CHAIN:
        return "the layers are no Markov chain"
    if 1 - (steps**2).max(initial=0.0) < LEAST_INNOVATION:
        return "neighbouring blocks have the same weights"
    return ""


def _cholesky_work(s: Sizes) -> tuple[float, float]:
    most = s.layers * s.columns
    return s.width * most, s.width * most**2 + most**3 / 6


def _markov_work(s: Sizes) -> tuple[float, float]:
    basis = s.basis(s.columns)
    per_column = 5 * s.width * basis.sum() + 2 * (basis**2).sum()
    return s.width * s.layers * s.columns, s.columns * per_column + s.width * basis.sum()


def _basis_work(s: Sizes) -> tuple[float, float]:
    basis, share = s.basis(s.columns), s.mixed / s.layers
    normals = s.width * s.roots * basis[-1]
    products = s.width * (share + 4 * s.columns) * basis.sum()
    if s.inputs:
        left = s.basis(s.inputs)
        normals += s.width * s.roots * left[-1]
        products += s.width * (share + 2 * s.inputs) * s.layers * basis[-1]
        products += s.width * (share + 4 * s.inputs) * left.sum()
    return normals, products


def _dense_work(s: Sizes) -> tuple[float, float]:
    weights = s.mixed * s.width**2
    return weights * (1 + (s.inputs > 0)), weights * (s.columns + s.inputs)


def _cholesky_numbers(s: Sizes) -> float:
    most = s.layers * s.columns
    return 2.0 * most * s.width + most**2


def _markov_numbers(s: Sizes) -> float:
    most = s.basis(s.columns)[-1]
    return float(2 * most * s.width + most**2)


def _basis_numbers(s: Sizes) -> float:
    vectors = s.basis(s.columns)[-1] + (s.basis(s.inputs)[-1] if s.inputs else 0)
    return float(vectors * (1 + s.roots) * s.width)


def _same(c: Array) -> Array:
    return np.ascontiguousarray(c)


LAYER_METHODS = {
    method.name: method
    for method in (
        LayerMethod("cholesky", _same, _smooth, _cholesky_work, _cholesky_numbers, False),
        LayerMethod("basis", layer_factor, lambda c: "", _basis_work, _basis_numbers, True),
        LayerMethod("markov", _same, _no_chain, _markov_work, _markov_numbers, False),
        LayerMethod("dense", layer_factor, lambda c: "", _dense_work, lambda s: 0.0, True),
    )
}
"""Every sampler of correlated layers by name: the one place to add another."""

FUNCTION_SPACE = "function-space"
NO_TRANSPOSE = "it has no transpose, which gradients need"


@lru_cache(maxsize=4)
def covariance_and_factor(law: LayerLaw, depth: int) -> tuple[Array, Array]:
    """Return c of all blocks and one behind the last, and a factor of it.

    Raises
    ------
    HostMemoryError
        If they do not fit into memory.
    """
    layers = depth + 1
    require_memory(
        f"the covariance between {layers} layers", 32.0 * layers**2, "take a smaller depth"
    )
    c = law.covariance(depth, further=1)
    return c, layer_factor(c)


def chosen_layer_method(
    method: object, law: WeightLaw, branch: Branch, net: ConcreteNet, width: int, layout: Layout
) -> tuple[str, str, float]:
    """Return the sampler of a network with correlated layers, why, and seconds per network.

    Parameters
    ----------
    method : str
        A name, ``"function-space"`` for the cheapest that draws no weights, or ``"auto"``.
    law : WeightLaw
        Law of a single weight.
    branch : Branch
    net : ConcreteNet
    width : int
    layout : Layout
        The columns that are propagated.

    Raises
    ------
    UnsupportedError
        If there is no such sampler, or it cannot draw this network; the message names one that can.
    HostMemoryError
        If what the sampler remembers does not fit into memory.
    """
    layers = net.layers
    if layers is None:
        raise TypeError("layers are independent")
    if law != GAUSSIAN:
        raise UnsupportedError(
            f"{law.name} weights with layers={layers!r}",
            "sums of them, which correlated layers are made of, have another law",
            'use weights="gaussian"',
        )
    c, factor = covariance_and_factor(layers, net.depth)
    sizes = Sizes(
        width,
        net.depth + 1,
        layout.carried,
        sum(op.contracts for op in branch.ops),
        layout.inputs if layout.of_kind(Gradients) is not None else 0,
        factor.shape[1],
        int(np.count_nonzero(factor)),
    )
    unfit = {
        name: NO_TRANSPOSE if sizes.inputs and not each.gradients else each.unfit(c)
        for name, each in LAYER_METHODS.items()
    }
    costs = {n: each.seconds(sizes) for n, each in LAYER_METHODS.items() if not unfit[n]}
    if method not in (AUTO, FUNCTION_SPACE):
        _require(method, unfit, f"layers={layers!r}", costs)
        name, reason = str(method), "as asked"
    else:
        allowed = {n: t for n, t in costs.items() if n != "dense" or method == AUTO}
        fitting = {n: t for n, t in allowed.items() if LAYER_METHODS[n].bytes(sizes) <= MOST_BYTES}
        known = fitting or allowed
        name = min(known, key=lambda n: known[n])
        reason = _reason(name, costs, unfit)
    size = LAYER_METHODS[name].bytes(sizes)
    less = 'fewer layers or columns, workers=1, or method="dense", which remembers nothing'
    require_memory(f"what method={name!r} remembers of a network", size, less)
    return name, reason, LAYER_METHODS[name].seconds(sizes)


def on_host(layers: LayerLaw, target: object) -> object:
    """Return the target; correlated layers are drawn on the processor.

    Raises
    ------
    UnsupportedError
        If another target is asked for.
    """
    if target in ("cpu", AUTO):
        return "cpu"
    raise UnsupportedError(
        f"target={target!r} with layers={layers!r}",
        "correlated layers are drawn on the processor",
        'use target="cpu"',
    )


def _require(method: object, unfit: dict[str, str], asked: str, costs: dict[str, float]) -> None:
    if method not in unfit or not isinstance(method, str):
        names = (AUTO, FUNCTION_SPACE, *LAYER_METHODS)
        raise UnsupportedError(
            f"method={method!r} with {asked}",
            "there is no such sampler",
            "use " + " or ".join(map(repr, names)),
        )
    if unfit[method]:
        best = min(costs, key=lambda n: costs[n])
        raise UnsupportedError(
            f"method={method!r} with {asked}", unfit[method], f'use method="{best}", or "auto"'
        )


def _reason(name: str, costs: dict[str, float], unfit: dict[str, str]) -> str:
    """Return why this method was taken."""
    others = sorted((n for n in costs if n != name), key=lambda n: costs[n])
    ratios = [f"{n} costs {costs[n] / costs[name]:.3g} times as much" for n in others]
    refused = [f"not {n}: {why}" for n, why in unfit.items() if why]
    return "; ".join((f"{name} is the cheapest by its normals and products", *ratios, *refused))
