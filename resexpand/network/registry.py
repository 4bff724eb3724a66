"""The registry of operations: one line per kind.

Stores and the command line write an operation as its kind and parameters; an activation is written
as its expression.
"""

from __future__ import annotations

import sympy as sp

from resexpand.errors import DescriptionError
from resexpand.expressions import parse_expression
from resexpand.network.activation import Activation
from resexpand.network.attention import Attention
from resexpand.network.batch_norm import BatchNorm
from resexpand.network.conv import Conv
from resexpand.network.dropout import Dropout, SharedDropout
from resexpand.network.gate import Gate
from resexpand.network.global_avg_pool import GlobalAvgPool
from resexpand.network.layer_norm import LayerNorm
from resexpand.network.linear import Linear
from resexpand.network.operation import Contraction, Map, Operation
from resexpand.network.rms_norm import RMSNorm
from resexpand.network.scale import Scale
from resexpand.network.stochastic_depth import DropPath, StochasticDepth

OPERATIONS: dict[str, type[Operation]] = {
    Activation.kind: Activation,
    BatchNorm.kind: BatchNorm,
    Linear.kind: Linear,
    Conv.kind: Conv,
    GlobalAvgPool.kind: GlobalAvgPool,
    Attention.kind: Attention,
    LayerNorm.kind: LayerNorm,
    RMSNorm.kind: RMSNorm,
    Gate.kind: Gate,
    Scale.kind: Scale,
    Dropout.kind: Dropout,
    SharedDropout.kind: SharedDropout,
    StochasticDepth.kind: StochasticDepth,
    DropPath.kind: DropPath,
}
"""Every kind of operation by name: the one place to add another."""


def register(operation: type[Operation]) -> type[Operation]:
    """Make a kind of operation known by its name; usable as a decorator.

    Raises
    ------
    DescriptionError
        If it is no operation, states less than the protocol asks for, or its name is taken.
    """
    if not (isinstance(operation, type) and issubclass(operation, Contraction | Map)):
        raise DescriptionError(
            f"the operation {operation!r}", "it is no subclass of Map", "see network.operation"
        )
    kind = getattr(operation, "kind", None)
    if not (isinstance(kind, str) and kind.isidentifier()):
        raise DescriptionError(
            f"the operation {operation.__name__}", f"its kind is {kind!r}", "give a name"
        )
    if OPERATIONS.get(kind, operation) is not operation:
        raise DescriptionError(f"the operation {kind}", "the name is taken", "choose another")
    if issubclass(operation, Map):
        _check_symbols(operation)
    OPERATIONS[kind] = operation
    return operation


def _check_symbols(operation: type[Map]) -> None:
    """Raise if an expression holds a symbol that is neither argument, parameter nor average."""
    known = {operation.variable, *(p.symbol for p in operation.parameters)}
    named = [
        *operation.averages,
        *((noise.symbol, noise.quantile(operation.variable)) for noise in operation.noise),
        (None, operation.expression),
    ]
    for symbol, value in named:
        stray = sorted(map(str, value.free_symbols - known))
        if stray:
            raise DescriptionError(
                f"the operation {operation.kind}",
                f"{', '.join(stray)} in {value} is neither its argument X nor a parameter or an "
                "average stated before",
                "state it under parameters, averages or noise",
            )
        known.add(symbol)


def operation_of(text: str, values: tuple[object, ...] = ()) -> Operation:
    """Return the operation of a kind and parameters, or the activation of an expression.

    Parameters
    ----------
    text : str
        `Operation.text`: a registered kind, with its structure in brackets if it has one, or the
        expression of an activation.
    values : tuple
        Its parameters; further entries are ignored.

    Raises
    ------
    ResexpandError
        If the text is neither.
    """
    kind, _, structure = text.partition("[")
    if kind in OPERATIONS and kind != Activation.kind and (not structure or text.endswith("]")):
        return OPERATIONS[kind].of_structure(structure.removesuffix("]"), values)
    expression: sp.Expr = parse_expression(text)
    return Activation(expression)
