"""A recipe: everything a sampler is made of, small enough to be sent with every task.

A worker gets a recipe and numbers of draws, builds the sampler once (`SamplerSpec.sampler`
remembers it) and returns partial sums. The same recipe can be read back from the settings that a
store keeps, which are plain JSON: the branch as text of the package's own expression language, the
rest as numbers. Nothing is unpickled or evaluated.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from resexpand.errors import ResexpandError, StoreError, UnsupportedError
from resexpand.expressions import parse_expression
from resexpand.montecarlo.concrete import ConcreteNet, last_linears
from resexpand.montecarlo.engine import Sampler, make_sampler
from resexpand.montecarlo.jit import library_digest
from resexpand.montecarlo.observables.observable import Observable
from resexpand.montecarlo.observables.registry import select, with_histograms
from resexpand.montecarlo.runs.plan import NUMBERS_VERSION, Chunk
from resexpand.montecarlo.runs.results import fingerprint
from resexpand.montecarlo.runs.sums import Sums
from resexpand.montecarlo.weights.law import GAUSSIAN, WeightLaw
from resexpand.montecarlo.weights.quantile import weight_law
from resexpand.network.operation import Operation
from resexpand.network.registry import operation_of
from resexpand.network.resnet import Branch

REMEMBERED = 8
"""Samplers that a worker keeps."""


@dataclass(frozen=True)
class SamplerSpec:
    """What a sampler is made of; equal recipes draw equal networks.

    Attributes
    ----------
    branch : Branch
    net : ConcreteNet
    kernel : tuple of tuple of float
        K^0, one row per input.
    observables : tuple of Observable
    width, seed : int
    method : str
    control : bool
        Whether the infinite-width twin is drawn beside every network.
    law : WeightLaw
    target : str
        Where they are drawn, ``"cpu"`` or ``"cuda"``. No part of what identifies a run: the
        networks are the same, to rounding, as on two processors with vectors of other lengths.
    head : tuple of Operation, optional
        Maps in front of the read-out, where they are not those that open the branch.
    others : tuple of Branch
        Branches of the further kinds of blocks in the cycle.
    """

    branch: Branch
    net: ConcreteNet
    kernel: tuple[tuple[float, ...], ...]
    observables: tuple[Observable, ...]
    width: int
    method: str
    seed: int
    control: bool = False
    law: WeightLaw = GAUSSIAN
    target: str = "cpu"
    head: tuple[Operation, ...] | None = None
    others: tuple[Branch, ...] = ()

    def sampler(self) -> Sampler:
        """Return the sampler, built at the first call in this process.

        Raises
        ------
        ResexpandError
            As `resexpand.montecarlo.engine.make_sampler`.
        """
        return _built(self)


@lru_cache(maxsize=REMEMBERED)
def _built(recipe: SamplerSpec) -> Sampler:
    return make_sampler(
        recipe.branch,
        recipe.net,
        np.array(recipe.kernel),
        recipe.observables,
        width=recipe.width,
        method=recipe.method,
        seed=recipe.seed,
        control=recipe.control,
        law=recipe.law,
        target=recipe.target,
        head=recipe.head,
        others=recipe.others,
    )


class TaskResult(NamedTuple):
    """What a task returns: the sums of its chunks, and seconds spent building and drawing."""

    sums: list[Sums]
    building: float
    drawing: float


def draw(recipe: SamplerSpec, library: str, chunks: tuple[Chunk, ...]) -> TaskResult:
    """Draw chunks: the one function that workers run.

    Parameters
    ----------
    recipe : Recipe
    library : str
        Of whoever asks (`version`).
    chunks : tuple of Chunk

    Raises
    ------
    UnsupportedError
        If this worker has another version of the samplers, whose numbers may differ.
    """
    if library != version():
        raise UnsupportedError(
            "drawing networks on a worker",
            "its version of resexpand is not that of the process that asks",
            "install the same version everywhere",
        )
    begun = time.perf_counter()
    sampler = recipe.sampler()
    built = time.perf_counter()
    sums = sampler.sums(chunks)
    return TaskResult(sums, built - begun, time.perf_counter() - built)


def version() -> str:
    """Return what samplers must share for their numbers to be the same."""
    return f"{NUMBERS_VERSION} {library_digest()}"


def recipe_of(settings: Mapping[str, Any], asked: str) -> SamplerSpec:
    """Rebuild the recipe from the settings of a run.

    Parameters
    ----------
    settings : mapping
        JSON values, the settings of a `resexpand.montecarlo.runs.plan.Plan`.
    asked : str
        What was asked, for the error.

    Raises
    ------
    StoreError
        If the settings do not say all: an observable or activation is only known to the script
        that made the run.
    """
    remedy = "repeat the call of sample() that made it, with the same store"
    try:
        ending = settings.get("head", ())
        kinds = [[*texts, *ending] for texts in (settings["branch"], *settings.get("blocks", ()))]
        rows = max(map(len, kinds))
        ops = [
            [
                operation_of(text, tuple(settings["variances"][k * rows + j]))
                for j, text in enumerate(texts)
            ]
            for k, texts in enumerate(kinds)
        ]
        branches = [Branch(*own[: len(own) - len(ending)]) for own in ops]
        depth, scales = int(settings["depth"]), settings["scales"]
        read_out = settings["read_out"]
        kernel = tuple(tuple(map(float, row)) for row in settings["K0"])
        recipe = SamplerSpec(
            branches[0],
            ConcreteNet(
                depth=depth,
                scales=tuple(scales) if isinstance(scales, list) else (float(scales),) * depth,
                laws=tuple(tuple(map(float, values)) for values in settings["variances"]),
                read_in=None,
                read_out=None if read_out is None else (float(read_out[0]), float(read_out[1])),
                last_linears=last_linears(ops),
                skip=float(settings.get("skip", 1)),
            ),
            kernel,
            with_histograms(
                select(settings["observables"], len(kernel)), settings.get("histograms")
            ),
            int(settings["width"]),
            str(settings["method"]),
            int(settings["seed"]),
            "control" in settings,
            _law_of(settings.get("weights", GAUSSIAN.name)),
            head=tuple(ops[0][len(ops[0]) - len(ending) :]) if "head" in settings else None,
            others=tuple(branches[1:]),
        )
    except ResexpandError as error:
        raise StoreError(asked, str(error), remedy) from error
    except (KeyError, IndexError, TypeError, ValueError) as error:
        why = f"its settings cannot be read ({type(error).__name__})"
        raise StoreError(asked, why, remedy) from error
    if fingerprint(recipe.branch) != list(settings["branch"]):
        raise StoreError(asked, "its branch is not what its text says", remedy)
    return recipe


def _law_of(name: str) -> WeightLaw:
    """Return the law of weights of a name in the settings of a run."""
    kind, _, text = name.partition(" ")
    law = weight_law(parse_expression(text, ("u",)) if kind == "quantile" else name)
    if law.name != name:
        raise ValueError(name)
    return law
