"""Settings of a run: the description of its sampler as JSON values, and back.

A store keeps settings: the branch as text of the package's own expression language, the rest as
numbers. Nothing is unpickled or evaluated when they are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resexpand.errors import ResexpandError, StoreError
from resexpand.expressions import parse_expression
from resexpand.montecarlo.concrete import ConcreteNet, last_linears
from resexpand.montecarlo.observables.registry import select, with_histograms
from resexpand.montecarlo.spec import SamplerSpec
from resexpand.montecarlo.weights.law import GAUSSIAN, WeightLaw
from resexpand.montecarlo.weights.quantile import weight_law
from resexpand.network.layer_registry import law_of_record
from resexpand.network.registry import operation_of
from resexpand.network.resnet import Branch, ResNet

CONTROL = "infinite-width"
"""Name of the control."""


def fingerprint(branch: Branch) -> list[str]:
    """Return the kind of every operation; of an activation its expression, whatever its name."""
    return [op.text for op in branch.ops]


def settings_of(net: ResNet, spec: SamplerSpec) -> dict[str, Any]:
    """Return what the numbers of a run depend on, except the count of draws, as JSON values."""
    numbers, edges = spec.net, {o.name: list(o.edges) for o in spec.observables if o.edges}
    return {
        "branch": fingerprint(net.kinds[0]),
        **({"blocks": [fingerprint(b) for b in net.kinds[1:]]} if len(net.kinds) > 1 else {}),
        "depth": numbers.depth,
        "scales": numbers.scales if isinstance(net.scale, tuple) else numbers.scales[0],
        "variances": numbers.laws,
        "read_out": numbers.read_out,
        **({"head": [op.text for op in spec.head]} if spec.head is not None else {}),
        **({} if numbers.skip == 1 else {"skip": numbers.skip}),
        **({} if numbers.layers is None else {"layers": numbers.layers.record}),
        **({} if spec.post_norm is None else {"post_norm": spec.post_norm.text}),
        "observables": [o.label for o in spec.observables],
        "K0": [list(row) for row in spec.kernel],
        "width": spec.width,
        "method": spec.method,
        "seed": spec.seed,
        **({} if spec.law == GAUSSIAN else {"weights": spec.law.name}),
        **({"control": CONTROL} if spec.control else {}),
        **({"histograms": edges} if edges else {}),
    }


def spec_of(settings: Mapping[str, Any], asked: str) -> SamplerSpec:
    """Rebuild the description of a sampler from the settings of a run.

    Parameters
    ----------
    settings : mapping
        JSON values, the settings of a `resexpand.montecarlo.runs.plan.Plan`.
    asked : str
        The request, for the error.

    Raises
    ------
    StoreError
        If the settings do not say all: an observable or activation is only known to the script
        that made the run.
    """
    remedy = "repeat the call of sample() that made it, with the same store"
    try:
        spec = _read(settings)
    except ResexpandError as error:
        raise StoreError(asked, str(error), remedy) from error
    except (KeyError, IndexError, TypeError, ValueError) as error:
        why = f"its settings cannot be read ({type(error).__name__})"
        raise StoreError(asked, why, remedy) from error
    if fingerprint(spec.kinds[0]) != list(settings["branch"]):
        raise StoreError(asked, "its branch is not what its text says", remedy)
    return spec


def _read(settings: Mapping[str, Any]) -> SamplerSpec:
    head = settings.get("head", ())
    ending = [*head, *([settings["post_norm"]] if "post_norm" in settings else [])]
    texts = [[*own, *ending] for own in (settings["branch"], *settings.get("blocks", ()))]
    variances = [tuple(map(float, values)) for values in settings["variances"]]
    rows = max(map(len, texts))
    kinds = [
        [operation_of(text, variances[k * rows + j]) for j, text in enumerate(own)]
        for k, own in enumerate(texts)
    ]
    behind = kinds[0][len(kinds[0]) - len(ending) :]
    depth, scales, read_out = int(settings["depth"]), settings["scales"], settings["read_out"]
    kernel = tuple(tuple(map(float, row)) for row in settings["K0"])
    chosen = select(settings["observables"], len(kernel))
    return SamplerSpec(
        kinds=tuple(Branch(*ops[: len(ops) - len(ending)]) for ops in kinds),
        net=ConcreteNet(
            depth=depth,
            scales=tuple(scales) if isinstance(scales, list) else (float(scales),) * depth,
            laws=tuple(variances),
            read_in=None,
            read_out=None if read_out is None else (float(read_out[0]), float(read_out[1])),
            last_linears=last_linears(kinds),
            skip=float(settings.get("skip", 1)),
            layers=law_of_record(settings["layers"]) if "layers" in settings else None,
        ),
        kernel=kernel,
        observables=with_histograms(chosen, settings.get("histograms")),
        width=int(settings["width"]),
        method=str(settings["method"]),
        seed=int(settings["seed"]),
        control="control" in settings,
        law=_law_of(settings.get("weights", GAUSSIAN.name)),
        head=tuple(behind[: len(head)]) if "head" in settings else None,
        post_norm=behind[-1] if "post_norm" in settings else None,
    )


def _law_of(name: str) -> WeightLaw:
    """Return the law of weights of a name in the settings of a run."""
    kind, _, text = name.partition(" ")
    law = weight_law(parse_expression(text, ("u",)) if kind == "quantile" else name)
    if law.name != name:
        raise ValueError(name)
    return law
