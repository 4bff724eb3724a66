"""Read a branch as operations of this package: linear maps, normalisations, activations, attention.

Attention is described by uniform weights, the limit of independent queries and keys of products
divided by their number; how far a model is from it is said by the spread of its logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from resexpand.errors import UnsupportedError
from resexpand.models.functions import MAPS
from resexpand.models.recording import attends
from resexpand.models.scales import NAME as SCALE
from resexpand.models.watching import Event, Sum
from resexpand.network.activation import Activation
from resexpand.network.attention import Attention
from resexpand.network.dropout import Dropout
from resexpand.network.layer_norm import LayerNorm
from resexpand.network.operation import Operation
from resexpand.network.rms_norm import RMSNorm
from resexpand.network.scale import Scale

ACTIVATIONS = {
    "relu": "relu",
    "relu_": "relu",
    "gelu": "gelu",
    "silu": "silu",
    "tanh": "tanh",
    "erf": "erf",
    "sin": "sin",
    "ReLU": "relu",
    "GELU": "gelu",
    "SiLU": "silu",
    "SiLUActivation": "silu",
    "Tanh": "tanh",
    "GELUActivation": "gelu",
    "NewGELUActivation": "gelu",
    "GELUTanh": "gelu",
    "PytorchGELUTanh": "gelu",
    "FastGELUActivation": "gelu",
}
"""Activations by the name of a function, or of a class of modules."""

BY_TANH = ("NewGELUActivation", "GELUTanh", "PytorchGELUTanh", "FastGELUActivation")
NOTHING = ("Identity", "DropPath", "StochasticDepth")
"""Modules that change nothing in evaluation."""


Step = Callable[[Any], Any]
"""From rows to rows."""


@dataclass
class Map:
    """A linear map with its weights, shape (outputs, inputs)."""

    name: str
    weight: Any
    bias: Any = None


@dataclass
class Reading:
    """A branch as it was read.

    Attributes
    ----------
    parts : list of Operation, Map or str
        In the order of the data; ``"attention"`` where tokens read each other.
    steps : list of callable
        What the parts do to rows of the stream, with all that the parts approximate.
    notes : list of str
        What was approximated.
    spread : float or None
        Standard deviation of the logits of attention, for inputs of unit second moment.
    """

    parts: list[Any] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    spread: float | None = None

    def add(self, part: Any, step: Step = lambda rows: rows) -> None:
        """Add a part with what it does."""
        self.parts.append(part)
        self.steps.append(step)

    @property
    def maps(self) -> list[Map]:
        """The linear maps."""
        return [part for part in self.parts if isinstance(part, Map)]

    @property
    def operations(self) -> list[Any]:
        """The other operations, as the package describes them."""
        return [part for part in self.parts if isinstance(part, Operation)]


def read_branch(torch: Any, model: Any, name: str, sum_: Sum, causal: bool) -> Reading:
    """Read the branch of a residual sum.

    Raises
    ------
    UnsupportedError
        If it holds what this package has no operation for.
    """
    modules = dict(model.named_modules())
    reading = Reading()
    if sum_.is_parallel or not sum_.events:
        raise unknown(name, "a branch beside the one before it, not behind it")
    # What stands in an attention, as the factor of its logits, is part of it; what follows is not.
    inside = max((k for k, e in enumerate(sum_.events) if _within(e, sum_.kind)), default=-1)
    for position, event in enumerate(sum_.events):
        module = modules.get(event.module) if event.module else None
        follows = position > inside and event.name not in MAPS
        if module is not None:
            _read_module(torch, reading, event.module, module)
        elif attends(event, sum_.kind):
            reading.add("attention")
        elif sum_.kind != "attention" or follows or event.name in ("linear", "addmm"):
            _read_function(torch, reading, name, event)
    if sum_.factor != 1:
        reading.add(*_scaled(sum_.factor))
    if "attention" in reading.parts:
        _settle_attention(reading, name, causal)
    return reading


def _within(event: Event, kind: str) -> bool:
    """Whether nothing in front of this event lies behind an attention."""
    return bool(event.module) or event.name == "linear" or attends(event, kind)


def _read_module(torch: Any, reading: Reading, path: str, module: Any) -> None:
    nn, kind = torch.nn, type(module).__name__
    if isinstance(module, nn.Linear):
        reading.add(*_map(path, module.weight, module.bias))
    elif kind == "Conv1D":  # the linear map of GPT-2, stored transposed
        reading.add(*_map(path, module.weight.T, module.bias))
    elif isinstance(module, nn.LayerNorm):
        _norm(reading, path, LayerNorm, module.eps, module.weight, module.bias)
    elif isinstance(module, nn.MultiheadAttention):
        bias = module.in_proj_bias
        reading.parts += [
            Map(f"{path}.in_proj", module.in_proj_weight, bias),
            "attention",
            Map(f"{path}.out_proj", module.out_proj.weight, module.out_proj.bias),
        ]
    elif kind.endswith("RMSNorm") and hasattr(module, "weight"):
        eps = getattr(module, "eps", getattr(module, "variance_epsilon", 0)) or 0
        # Some multiply by one plus the weight: ask the norm what it makes of ones.
        gains = module.forward(torch.ones_like(module.weight)[None])[0] * (1 + eps) ** 0.5
        _norm(reading, path, RMSNorm, eps, gains, None)
    elif isinstance(module, nn.Dropout):
        if module.training and module.p:
            reading.add(Dropout(number(1 - module.p)))
    elif kind in ACTIVATIONS:
        reading.add(*_activation(torch, kind))
        if kind in BY_TANH or getattr(module, "approximate", "none") != "none":
            reading.notes.append("the tanh form of gelu is taken as gelu")
    elif kind == "LayerScale" or kind.endswith("LayerScale"):
        _gain(reading, path, next(module.parameters()))
    elif kind not in NOTHING or module.training:
        raise unknown(path, f"a {kind}")
    if hasattr(module, SCALE):  # of `set_scales`
        _gain(reading, f"{path}.{SCALE}", getattr(module, SCALE))


def _read_function(torch: Any, reading: Reading, block: str, event: Event) -> None:
    name = event.name
    if name in ACTIVATIONS:
        reading.add(*_activation(torch, name))
    elif name == "linear" and event.weights:
        reading.add(*_map(f"{block}: linear", *event.weights[:2]))
    elif event.factor is not None:
        reading.add(*_scaled(event.factor))
    elif name in ("mul", "mul_") and event.weights and not event.products:
        _gain(reading, f"{block}: a factor", event.weights[0])
    else:
        what = "a product of two activations, as of a gated unit" if event.products else name
        raise unknown(block, what)


def _norm(reading: Reading, path: str, kind: Any, eps: float, weight: Any, bias: Any) -> None:
    gain = 1.0 if weight is None else float((weight.detach().double() ** 2).mean()) ** 0.5
    spread = 0.0 if weight is None else float(weight.detach().double().std())
    shift = 0.0 if bias is None else float(bias.detach().double().abs().max())

    def step(rows: Any) -> Any:
        rows = rows - rows.mean(-1, keepdim=True) if kind is LayerNorm else rows
        rows = rows / ((rows**2).mean(-1, keepdim=True) + eps) ** 0.5
        rows = rows if weight is None else rows * weight.double()
        return rows if bias is None else rows + bias.double()

    reading.add(kind(number(eps), number(gain), 0), step)
    if spread > 1e-3 * gain or shift > 1e-3 * gain:
        reading.notes.append(
            f"{path}: gains of a spread of {spread:.2g} and biases up to {shift:.2g} are taken as "
            f"one gain of {gain:.3g} and no bias"
        )


def _gain(reading: Reading, path: str, values: Any) -> None:
    numbers = values.detach().double()
    size = float((numbers**2).mean()) ** 0.5
    alike = float(numbers.max() - numbers.min()) <= 1e-3 * size
    factor = float(numbers.mean()) if alike else size
    reading.add(Scale(number(factor)), lambda rows: rows * numbers.flatten())
    if not alike:
        reading.notes.append(f"{path}: a factor per neuron is taken as its root mean square")


def _map(name: str, weight: Any, bias: Any = None) -> tuple[Map, Step]:
    def step(rows: Any) -> Any:
        rows = rows @ weight.double().T
        return rows if bias is None else rows + bias.double()

    return Map(name, weight, bias), step


def _activation(torch: Any, name: str) -> tuple[Activation, Step]:
    known = ACTIVATIONS[name]
    functions = torch.nn.functional if hasattr(torch.nn.functional, known) else torch
    return Activation(known), getattr(functions, known)


def _scaled(factor: float) -> tuple[Scale, Step]:
    return Scale(number(factor)), lambda rows: factor * rows


def _settle_attention(reading: Reading, name: str, causal: bool) -> None:
    """Put the maps of values and output behind the attention; queries and keys are left out."""
    if any(op.noise for op in reading.operations):
        raise unknown(name, "dropout in training beside attention")
    parts = [part for k, part in enumerate(reading.parts) if part not in reading.parts[:k]]
    place = parts.index("attention")
    before = [part for part in parts[:place] if isinstance(part, Map)]
    others = [part for part in parts[:place] if isinstance(part, Operation)]
    query, key, values = _queries(before, name)
    reading.spread = (_mean_square(query) * _mean_square(key)) ** 0.5
    uniform = Attention(1, logits="1/d", tied=False, causal=causal)
    reading.parts = [*others, uniform, values, *parts[place + 1 :]]


def _queries(maps: list[Map], name: str) -> tuple[Any, Any, Map]:
    """Return the weights of queries and keys, and the map of values."""
    if len(maps) == 1:  # packed
        weight, bias = maps[0].weight, maps[0].bias
        rows = weight.shape[0] // 3
        if rows * 3 != weight.shape[0]:
            raise unknown(name, "queries, keys and values of different sizes in one map")
        own = None if bias is None else bias[2 * rows :]
        values = Map(f"{maps[0].name} (values)", weight[2 * rows :], own)
        return weight[:rows], weight[rows : 2 * rows], values
    if len(maps) == 3:
        return maps[0].weight, maps[1].weight, maps[2]
    raise unknown(name, f"attention with {len(maps)} linear maps in front of it")


def _mean_square(weight: Any) -> float:
    return float((weight.detach().double() ** 2).mean()) * int(weight.shape[1])


def number(value: float) -> float:
    """Return a number with as many digits as the measurement deserves."""
    return float(f"{value:.6g}")


def unknown(place: str, what: str) -> UnsupportedError:
    """Return the error of a branch that has no description."""
    return UnsupportedError(
        f"a description of {place}",
        f"it holds {what}, which no operation of this package is",
        "profile(model, batch) needs no description",
    )
