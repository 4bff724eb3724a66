"""A network with numbers in place of symbols: what a sampler needs, and nothing symbolic.

Hyperparameters are given by the name of their symbol (``rho=0.3``); the depth, whatever its symbol
is called, by ``depth=``. Each symbol of the network takes exactly one finite real number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from resexpand.errors import HyperparameterError
from resexpand.network.operation import Operation, Parameter
from resexpand.network.resnet import ResNet

Law = tuple[float, float]
"""Weight variance (times fan-in) and bias variance of a linear operation."""


@dataclass(frozen=True)
class ConcreteNet:
    """The numbers of a network.

    Attributes
    ----------
    depth : int
        Number of blocks L.
    scales : tuple of float
        Residual scale of each block.
    laws : tuple of tuple of float
        Parameters of each operation, filled up with zeros to the same number: the variances of a
        linear operation, zeros for activations. Kind of block by kind, filled up to as many rows;
        behind each, maps in front of the read-out that are not those that open the branch.
    read_in, read_out : (float, float) or None
        Variances of the first and last linear map.
    last_linears : tuple of int
        Row of the last linear operation of each kind of block.
    skip : float
        Factor of the stream.
    """

    depth: int
    scales: tuple[float, ...]
    laws: tuple[tuple[float, ...], ...]
    read_in: Law | None
    read_out: Law | None
    last_linears: tuple[int, ...]
    skip: float = 1.0

    @property
    def branch_law(self) -> Law:
        """Variances of the last linear operation of the branch, where there is one kind."""
        ((weight, bias),) = self.branch_laws
        return weight, bias

    @property
    def branch_laws(self) -> tuple[Law, ...]:
        """Variances of the last linear operation of each kind of block."""
        return tuple((self.laws[row][0], self.laws[row][1]) for row in self.last_linears)


def concrete(net: ResNet, hyperparameters: Mapping[str, object]) -> ConcreteNet:
    """Put numbers in place of the symbols of a network.

    Parameters
    ----------
    net : ResNet
    hyperparameters : mapping
        Symbol name (or ``"depth"``) to number.

    Raises
    ------
    HyperparameterError
        If a symbol has no value, a name belongs to no symbol, a value is not a finite real number,
        a variance is negative, or the depth is not a positive integer.
    """
    values = _values_of_symbols(net, hyperparameters)
    depth = _depth(_number(net.depth, values, "depth"))
    given = net.scale if isinstance(net.scale, tuple) else (net.scale,) * depth
    if len(given) != depth:
        raise HyperparameterError(
            f"depth = {depth}", f"the network has {len(given)} scales", f"use depth={len(given)}"
        )
    # One number per distinct expression: substitution is slow and depth may be 10^4.
    numbers = {scale: _number(scale, values, "scale") for scale in set(given)}
    ending = [step.op for step in net.head] if net.has_own_head else []
    kinds = [(*branch.ops, *ending) for branch in net.kinds]
    rows = max(map(len, kinds))
    size = max(len(op.parameters) for ops in kinds for op in ops)
    laws = [[_numbers_of(op, values, size) for op in ops] for ops in kinds]
    filled = [[*own, *[(0.0,) * size] * (rows - len(own))] for own in laws]
    return ConcreteNet(
        depth=depth,
        scales=tuple(numbers[scale] for scale in given),
        laws=tuple(row for own in filled for row in own),
        read_in=None if net.read_in is None else _law(net.read_in, values),
        read_out=None if net.read_out is None else _law(net.read_out, values),
        last_linears=last_linears(kinds),
        skip=_number(net.skip, values, "skip"),
    )


def last_linears(kinds: Sequence[Sequence[Operation]]) -> tuple[int, ...]:
    """Return the rows of the last linear operations, as many rows for each kind of block."""
    rows = max(map(len, kinds))
    places = (max(j for j, op in enumerate(ops) if op.contracts) for ops in kinds)
    return tuple(k * rows + place for k, place in enumerate(places))


def _values_of_symbols(
    net: ResNet, hyperparameters: Mapping[str, object]
) -> dict[sp.Symbol, sp.Expr]:
    """Return the value of every free symbol of the network."""
    names = {symbol.name: symbol for symbol in net.free_symbols}
    if isinstance(net.depth, sp.Symbol):
        names["depth"] = net.depth
    wanted = sorted({"depth" if s == net.depth else s.name for s in net.free_symbols})
    needs = f"the network needs {', '.join(wanted)}" if wanted else "the network needs none"
    values: dict[sp.Symbol, sp.Expr] = {}
    for name, value in hyperparameters.items():
        if name not in names:
            raise HyperparameterError(f"hyperparameter {name!r}", "no such symbol", needs)
        values[names[name]] = _finite(name, value)
    missing = [name for name in wanted if names[name] not in values]
    if missing:
        example = ", ".join(f"{name}=..." for name in missing)
        raise HyperparameterError(
            "sampling", f"{', '.join(missing)} without a value", f"pass {example}"
        )
    return values


def _finite(name: str, value: object) -> sp.Expr:
    """Return a hyperparameter as a SymPy number."""
    array = np.asarray(value)
    if array.ndim or array.dtype.kind not in "iuf":
        raise HyperparameterError(
            f"{name} = {value!r}", "a sampled network takes one real number", "loop over the values"
        )
    if not np.isfinite(array):
        raise HyperparameterError(f"{name} = {value!r}", "not finite", "give a finite number")
    return sp.Integer(int(array)) if array.dtype.kind in "iu" else sp.Float(float(array), 17)


def _number(expression: sp.Expr, values: Mapping[sp.Symbol, sp.Expr], name: str) -> float:
    """Return a hyperparameter expression as a finite float."""
    result = expression.subs(values)
    if not (result.is_number and result.is_real):
        raise HyperparameterError(f"{name} = {expression}", f"its value {result} is not real")
    number = float(result)
    if not math.isfinite(number):
        raise HyperparameterError(f"{name} = {expression}", f"its value {number} is not finite")
    return number


def _law(op: Any, values: Mapping[sp.Symbol, sp.Expr]) -> Law:
    """Return the two variances of a linear operation."""
    law = (
        _number(op.weight_variance, values, "weight_variance"),
        _number(op.bias_variance, values, "bias_variance"),
    )
    if min(law) < 0:
        raise HyperparameterError(f"variances {law}", "a variance is not negative", "give >= 0")
    return law


def _numbers_of(op: Operation, values: Mapping[sp.Symbol, sp.Expr], size: int) -> tuple[float, ...]:
    """Return the parameters of an operation as numbers, filled up with zeros."""
    if op.contracts:
        numbers: tuple[float, ...] = _law(op, values)
    else:
        pairs = zip(op.parameters, op.values, strict=True)
        numbers = tuple(_in_range(p, _number(v, values, p.name)) for p, v in pairs)
    return (*numbers, *(0.0,) * (size - len(numbers)))


def _in_range(parameter: Parameter, number: float) -> float:
    if parameter.minimum is not None and number < parameter.minimum:
        asked = f"{parameter.name} = {number:g}"
        raise HyperparameterError(asked, f"it must not be below {parameter.minimum}", "give more")
    return number


def _depth(value: float) -> int:
    """Return the depth as an integer."""
    if value != int(value) or value < 1:
        raise HyperparameterError(f"depth = {value:g}", "not a whole number >= 1", "give one")
    return int(value)
