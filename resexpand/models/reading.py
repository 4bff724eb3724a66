"""Read a branch as operations of this package: linear maps, normalisations, activations, gates."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from resexpand.models.branch_parts import Choice, Map, Reading, Step, gain_of, number, unknown
from resexpand.models.convolutions import batch_norm, convolution
from resexpand.models.reading_attention import Modules, attention_in, read_attention
from resexpand.models.recording import PRODUCTS
from resexpand.models.scales import NAME as SCALE
from resexpand.models.watching import Event
from resexpand.network.activation import Activation
from resexpand.network.dropout import Dropout
from resexpand.network.layer_norm import LayerNorm
from resexpand.network.rms_norm import RMSNorm
from resexpand.network.scale import Scale

FUNCTIONS = ("relu", "gelu", "silu", "tanh", "erf", "sin", "sigmoid")
"""Activations by the name of a function; one in place has an underscore behind it."""

ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "silu": "silu",
    "tanh": "tanh",
    "erf": "erf",
    "sin": "sin",
    "sigmoid": "1/(1 + exp(-x))",
    "quick gelu": "x/(1 + exp(-1.702*x))",
    "identity": "identity",
}
"""What the package calls them; a module is known by its values."""

CLOSE = 2e-3
"""Difference of two forms of gelu, which are taken as one."""

NOTHING = ("Identity", "DropPath", "StochasticDepth")
"""Modules that change nothing in evaluation."""


def read_branch(
    torch: Any, model: Any, name: str, events: tuple[Event, ...], factor: float, causal: bool
) -> Reading:
    """Read a term of the branch of a residual sum.

    Parameters
    ----------
    torch : module
        PyTorch.
    model : torch.nn.Module
        The model.
    name : str
        Of the block, for messages.
    events : tuple of Event
        What was called for the term.
    factor : float
        In front of the branch.
    causal : bool
        Whether tokens read those before them alone.

    Raises
    ------
    UnsupportedError
        If it holds what this package has no operation for.
    """
    modules = dict(model.named_modules())
    reading = Reading()
    if not events:
        raise unknown(name, "a branch in which no function of the stream was seen")
    read = partial(_read_events, torch, modules, name)
    place = attention_in(torch, modules, events)
    if place is None:
        read(reading, events)
    else:
        read_attention(read, reading, modules, events, place, causal)
    if factor != 1:
        reading.add(*_scaled(factor))
    return reading


def _read_events(
    torch: Any, modules: Modules, name: str, reading: Reading, events: Iterable[Event]
) -> None:
    """Read events one after the other."""
    for event in events:
        if event.module:
            _read_module(torch, reading, event.module, modules[event.module])
        elif event.name == "batch_norm" and hasattr(modules[event.owner], "running_mean"):
            batch_norm(reading, event.owner, modules[event.owner])
        else:
            _read_function(torch, reading, name, event)


def _read_module(torch: Any, reading: Reading, path: str, module: Any) -> None:
    nn, kind = torch.nn, type(module).__name__
    if isinstance(module, nn.Linear):
        reading.add(*_map(path, module.weight, module.bias))
    elif kind == "Conv1D":  # the linear map of GPT-2, stored transposed
        reading.add(*_map(path, module.weight.T, module.bias))
    elif isinstance(module, nn.modules.conv._ConvNd):
        reading.add(*convolution(path, module))
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        batch_norm(reading, path, module)
    elif isinstance(module, nn.LayerNorm):
        _norm(reading, path, LayerNorm, module.eps, module.weight, module.bias)
    elif kind.endswith("RMSNorm") and hasattr(module, "weight"):
        eps = getattr(module, "eps", getattr(module, "variance_epsilon", 0)) or 0
        # Some multiply by one plus the weight: ask the norm what it makes of ones.
        gains = module.forward(torch.ones_like(module.weight)[None])[0] * (1 + eps) ** 0.5
        _norm(reading, path, RMSNorm, eps, gains, None)
    elif isinstance(module, nn.Dropout):
        if module.training and module.p:
            reading.add(Dropout(number(1 - module.p)))
    elif kind == "LayerScale" or kind.endswith("LayerScale"):
        _gain(reading, path, next(module.parameters()))
    elif kind not in NOTHING or module.training:
        _activation_module(torch, reading, path, module)
    if hasattr(module, SCALE):  # of `set_scales`
        _gain(reading, f"{path}.{SCALE}", getattr(module, SCALE))


def _read_function(torch: Any, reading: Reading, block: str, event: Event) -> None:
    name = event.name
    if name.removesuffix("_") in FUNCTIONS:
        reading.add(*_activation(torch, name.removesuffix("_")))
    elif name == "linear" and event.weights:
        reading.add(*_map(f"{block}: linear", *event.weights[:2]))
    elif event.factor is not None:
        reading.add(*_scaled(event.factor))
    elif event.products and name in PRODUCTS:
        _gate(torch, reading, block)
    elif name == "glu":
        _gate(torch, reading, block, packed=True)
    elif name in PRODUCTS and event.weights:
        _gain(reading, f"{block}: a factor", event.weights[0])
    else:
        raise unknown(block, "a sum of two functions of one stream" if event.products else name)


def _gate(torch: Any, reading: Reading, block: str, packed: bool = False) -> None:
    """Take the maps and the activation in front of a product together as a gated unit.

    Which of two maps, or which half of one, has the activation is found by carrying both out
    (`resexpand.models.replay`).
    """
    if packed:  # of `glu`: one half goes through a sigmoid
        reading.add(Activation("1/(1 + exp(-x))"), torch.sigmoid)
    start = next((k for k, part in enumerate(reading.parts) if isinstance(part, Map)), 0)
    parts, steps = reading.parts[start:], reading.steps[start:]
    maps = [part for part in parts if isinstance(part, Map)]
    pairs = zip(parts, steps, strict=True)
    curves = [(p, step) for p, step in pairs if getattr(p, "law", None) is not None]
    if len(maps) + len(curves) != len(parts) or len(curves) > 1 or not 1 <= len(maps) <= 2:
        raise unknown(block, "a product of two activations that is no gated unit")
    one, two = maps if len(maps) == 2 else maps[0].halves()
    (curve, act), *_ = [*curves, (Activation("identity"), lambda rows: rows)]
    del reading.parts[start:], reading.steps[start:]
    reading.gate(Choice(one, two, curve, act))
    if any(part.bias is not None and bool(part.bias.any()) for part in (one, two)):
        reading.notes.append(f"{block}: the biases of a gated unit are taken as those of one map")


def _norm(reading: Reading, path: str, kind: Any, eps: float, weight: Any, bias: Any) -> None:
    def step(rows: Any) -> Any:
        rows = rows - rows.mean(-1, keepdim=True) if kind is LayerNorm else rows
        rows = rows / ((rows**2).mean(-1, keepdim=True) + eps) ** 0.5
        rows = rows if weight is None else rows * weight.double()
        return rows if bias is None else rows + bias.double()

    gain = gain_of(reading, path, weight, bias)
    reading.add(kind(number(eps), number(gain), 0), step)


def _gain(reading: Reading, path: str, values: Any) -> None:
    numbers = values.detach().double()
    size = float((numbers**2).mean()) ** 0.5
    alike = float(numbers.max() - numbers.min()) <= 1e-3 * size
    factor = float(numbers.mean()) if alike else size
    reading.add(Scale(number(factor)), lambda rows: rows * numbers.flatten())
    if not alike:
        reading.notes.append(f"{path}: a factor per neuron is taken as its root mean square")


def _map(name: str, weight: Any, bias: Any = None) -> tuple[Map, Step]:
    linear = Map(name, weight, bias)
    return linear, linear.on


def _activation(torch: Any, name: str) -> tuple[Activation, Step]:
    return Activation(ACTIVATIONS[name]), _values(torch)[name]


def _activation_module(torch: Any, reading: Reading, path: str, module: Any) -> None:
    """Read a module without weights as the activation that has its values.

    Raises
    ------
    UnsupportedError
        If it is none: it has weights, or neurons do not go through it one by one.
    """
    x = torch.linspace(-6, 6, 240, dtype=torch.float64)[torch.randperm(240)]
    kind = type(module).__name__
    if any(True for _ in module.parameters()):
        raise unknown(path, f"a {kind}")
    try:
        # A row and a column: what mixes neurons gives other values.
        row, alone = module(x[None].clone())[0], module(x[:, None].clone())[:, 0]
    except (RuntimeError, TypeError, IndexError):
        raise unknown(path, f"a {kind}") from None
    for name, function in _values(torch).items():
        miss = (row - function(x)).abs().max()
        if miss < CLOSE and torch.allclose(row, alone):
            if name != "identity":
                reading.add(Activation(ACTIVATIONS[name]), module)
            if miss > CLOSE**2:
                reading.notes.append(f"the tanh form of {name} is taken as {name}")
            return
    raise unknown(path, f"a {kind}")


def _values(torch: Any) -> dict[str, Step]:
    """Return the functions of PyTorch by name."""
    F = torch.nn.functional
    return {
        **{name: getattr(F, name) for name in ("relu", "gelu", "silu", "tanh", "sigmoid")},
        "erf": torch.erf,
        "sin": torch.sin,
        "quick gelu": lambda x: x * torch.sigmoid(1.702 * x),
        "identity": lambda x: x,
    }


def _scaled(factor: float) -> tuple[Scale, Step]:
    return Scale(number(factor)), lambda rows: factor * rows
