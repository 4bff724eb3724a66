r"""The protocol of operations, which are data.

A network is a program over columns (one per input) of which three instructions are known:

- **contract** (`Contraction`): ``g = W x + b`` over the neurons with fresh Gaussian weights. Given
  the Gram matrix of its sources, neurons are independent with covariance ``C``.
- **map** (`Map`): ``y_i = psi(x_i; p, s)``, at every neuron by itself, of parameters p and of
- **averages** ``s = (1/N) sum_i f(x_i; p, s')``, common to all neurons, each made of those before;
  or, with ``over = "batch"``, at every neuron the averages over the inputs of a batch.

A map may also hold fresh **noise** (`Noise`), such as the mask of a dropout. Either instruction may
couple the columns of the positions of one input (`over = "positions"`): then it states how the Gram
matrix of its columns changes, a convolution sums shifted ones (`resexpand.network.positions`).

An operation is a class with a name (`kind`), its `parameters` and, for a map, `expression` and
`averages` as SymPy expressions in `X`, the symbols of the parameters and those of the averages:

>>> import sympy as sp
>>> from resexpand.network.operation import Map, Parameter, X
>>> class Unit(Map):
...     kind = "Unit"
...     parameters = (Parameter(sp.Symbol("eps", nonnegative=True), default=0),)
...     averages = ((sp.Symbol("s", positive=True), X**2),)
...     expression = X / sp.sqrt(sp.Symbol("s", positive=True) + parameters[0].symbol)
>>> Unit(0.1)
Unit(eps=1/10)

`resexpand.network.registry.register` makes it known by its name. Its theory at infinite width, its
loops, their derivatives (`resexpand.network.differentials`) and its LaTeX follow. An operation may
also state a `law` of closed Gaussian averages, from which orders in 1/N are derived.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, Self, TypeAlias

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.activations.singularities import SWITCHES, find_singularities
from resexpand.errors import DescriptionError, UnsupportedError
from resexpand.network.noise import Noise, bernoulli
from resexpand.network.numbers import hyperparameter

__all__ = [
    "Contraction",
    "Map",
    "Noise",
    "Operation",
    "Parameter",
    "X",
    "bernoulli",
    "hyperparameter",
]


@dataclass(frozen=True)
class Parameter:
    """One parameter of an operation.

    Attributes
    ----------
    symbol : sympy.Symbol
        Symbol in formulas; a symbol that stands for a number has its assumptions.
    name : str
        Keyword of the operation; that of the symbol by default.
    minimum : int, optional
        Smallest allowed value.
    default : number or sympy.Expr, optional
        Value if none is given; without one it must be.
    neutral : number, optional
        Value without effect, at which formulas leave the parameter out.
    above, maximum, below : int, optional
        Bound that no value may reach from above, largest allowed value, bound from below.
    words : tuple of (object, int)
        Words that stand for a number, as in ``("running", 1)``; the number is stored.
    """

    symbol: sp.Symbol
    name: str = ""
    minimum: int | None = None
    default: Any = None
    neutral: int | None = None
    above: int | None = None
    maximum: int | None = None
    words: tuple[tuple[object, int], ...] = ()
    below: int | None = None

    def __post_init__(self) -> None:
        """Take the name of the symbol where none is given."""
        object.__setattr__(self, "name", self.name or self.symbol.name)

    def breach(self, lowest: Any, highest: Any) -> tuple[Any, str, str] | None:
        """Return the value out of range, why, and what would be in it; None if all are."""
        if self.minimum is not None and lowest < self.minimum:
            return lowest, f"must not be below {self.minimum}", f">= {self.minimum}"
        if self.above is not None and lowest <= self.above:
            return lowest, f"must be above {self.above}", f"> {self.above}"
        if self.maximum is not None and highest > self.maximum:
            return highest, f"must not be above {self.maximum}", f"<= {self.maximum}"
        if self.below is not None and highest >= self.below:
            return highest, f"must be below {self.below}", f"< {self.below}"
        return None


Value: TypeAlias = sp.Expr | tuple[sp.Expr, ...]
"""Of a parameter: one, or one per block."""


def _checked(value: Any, parameter: Parameter) -> Value:
    """Return the value of a parameter; a list or array holds one per block."""
    if value is None or isinstance(value, str):
        words = dict(parameter.words)
        if value is not None and words and value not in words:
            raise DescriptionError(
                f"{parameter.name} = {value!r}",
                "there is no such word",
                f"use one of {', '.join(map(repr, words))}",
            )
        value = words.get(value, value)
    if isinstance(value, list | tuple) or getattr(value, "ndim", 0) == 1:
        if len(value) == 0:
            raise DescriptionError(
                f"no {parameter.name}", "the list is empty", "give one per block"
            )
        return tuple(_in_range(v, parameter) for v in value)
    return _in_range(value, parameter)


def _in_range(value: Any, parameter: Parameter) -> sp.Expr:
    name = parameter.name
    found = hyperparameter(value, name)
    if found.is_number and (breach := parameter.breach(found, found)):
        _, why, range_ = breach
        raise DescriptionError(f"{name} = {found}", f"it {why}", f"give a {name} {range_}")
    return found


class Operation:
    """An operation of a branch: a frozen description, equal to another of equal parameters.

    Attributes
    ----------
    kind : str
        Name, the same as in the registry and in stores.
    parameters : tuple of Parameter
        Parameters in the order of its arguments.
    contracts : bool
        Whether it is a contraction over the neurons; a map otherwise.
    over : str
        Whether every column is treated by itself (averages run over the ``"neurons"``), or columns
        are coupled: at each neuron over a ``"batch"``, or over the ``"positions"`` of each input.
    structure : str
        What its numbers do not say, such as the offsets of a convolution; empty for most.
    positions : tuple of int
        Shape of an input, where it couples positions and a network has placed it.
    values : tuple of sympy.Expr
        Value of every parameter, or a tuple of one per block of the network.
    """

    kind: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    contracts: ClassVar[bool]
    over: ClassVar[Literal["neurons", "batch", "positions"]] = "neurons"
    structure: str = ""
    positions: tuple[int, ...] = ()
    values: tuple[Any, ...]

    def __init__(self, *given: object, **named: object):
        names = [parameter.name for parameter in self.parameters]
        unknown = [name for name in named if name not in names[len(given) :]]
        if len(given) > len(names) or unknown:
            raise DescriptionError(
                f"{self.kind} of {', '.join([*map(repr, given), *unknown])}",
                f"its parameters are {', '.join(names) or 'none'}",
                "give each once",
            )
        found = {**dict(zip(names, given, strict=False)), **named}
        values = ((found.get(p.name, p.default), p) for p in self.parameters)
        self._set(tuple(_checked(value, parameter) for value, parameter in values))

    def _set(self, values: tuple[Value, ...]) -> None:
        names = (parameter.name for parameter in self.parameters)
        self.__dict__.update(zip(names, values, strict=True), values=values)

    def with_values(self, values: tuple[Value, ...]) -> Self:
        """Return the same operation with other values of its parameters."""
        other = copy(self)
        other.__dict__.pop("_singularities", None)
        other._set(values)
        return other

    @property
    def text(self) -> str:
        """Name in stores and generated code: the kind and structure, without the parameters."""
        return f"{self.kind}[{self.structure}]" if self.structure else self.kind

    @classmethod
    def of_structure(cls, structure: str, values: tuple[Any, ...], **named: Any) -> Self:
        """Return the operation of a structure and parameters; further values are ignored."""
        if structure:
            raise DescriptionError(
                f"{cls.kind}[{structure}]", f"{cls.kind} has no structure", f"write {cls.kind}(...)"
            )
        return cls(*values[: len(cls.parameters)], **named)

    def placed(self, positions: tuple[int, ...]) -> Self:
        """Return the operation on the positions of a network; itself if it acts on each alone."""
        return self

    @property
    def pairs(self) -> tuple[tuple[Parameter, Any], ...]:
        """Every parameter and its value."""
        return tuple(zip(self.parameters, self.values, strict=True))

    @property
    def by_symbol(self) -> dict[sp.Symbol, Any]:
        """Every value by the symbol of its parameter."""
        return {parameter.symbol: value for parameter, value in self.pairs}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{self!r} is frozen: describe another {self.kind}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Operation) or type(self) is not type(other):
            return False
        return (self.structure, self.values) == (other.structure, other.values)

    def __hash__(self) -> int:
        return hash((self.text, self.values))

    def __repr__(self) -> str:
        said = (({n: w for w, n in p.words}.get(v, v), p.name) for p, v in self.pairs)
        return f"{self.kind}({', '.join(f'{name}={value}' for value, name in said)})"


class Contraction(Operation):
    """A contraction over the neurons; its parameters are weight and bias variance."""

    contracts = True
    weight_variance: sp.Expr
    bias_variance: sp.Expr


class Map(Operation):
    """A map of every neuron by itself, given averages over all of them.

    Attributes
    ----------
    expression : sympy.Expr
        The function of `X`, the symbols of the parameters and of the averages.
    averages : tuple of (sympy.Symbol, sympy.Expr)
        Averages, each a function of `X`, parameters and averages before it.
    group : sympy.Symbol or None
        Parameter that says how many inputs make a batch; all of them where it is zero.
    running : sympy.Symbol or None
        Parameter that is not zero where columns behind whole batches meet the averages of their
        statistics, and do not add to these.
    unbiased : frozenset of sympy.Symbol
        Averages of which these statistics are multiplied by ``B / (B - 1)``.
    noise : tuple of Noise
        Random numbers that the expression holds; averages do not.
    law : ActivationLaw or None
        Closed Gaussian averages of a function of `X` alone, the ground of the orders in 1/N.
    attends : bool
        Whether its average runs over positions with weights made of products of queries.
    gates : ActivationLaw or None
        An activation that is multiplied by an independent copy of the signal.
    sources : tuple of str
        Keys of the papers in `resexpand.references` that it is taken from.
    """

    contracts = False
    expression: ClassVar[sp.Expr]
    averages: ClassVar[tuple[tuple[sp.Symbol, sp.Expr], ...]] = ()
    noise: ClassVar[tuple[Noise, ...]] = ()
    group: ClassVar[sp.Symbol | None] = None
    running: ClassVar[sp.Symbol | None] = None
    unbiased: ClassVar[frozenset[sp.Symbol]] = frozenset()
    law: ActivationLaw | None = None
    attends: ClassVar[bool] = False
    gates: ActivationLaw | None = None
    sources: ClassVar[tuple[str, ...]] = ()
    variable: ClassVar[sp.Symbol] = X

    def apart(self) -> Map:
        """Return the map of columns that share no noise; itself if they never do."""
        return self

    def require_width(self, width: int) -> None:
        """Refuse a number of neurons that the operation cannot act on, by a `DescriptionError`."""

    @property
    def name(self) -> str:
        """Name in messages."""
        return self.kind

    @property
    def arguments(self) -> tuple[sp.Symbol, ...]:
        """Symbols of the parameters and of the averages."""
        return (*(p.symbol for p in self.parameters), *(symbol for symbol, _ in self.averages))

    @property
    def mean_expression(self) -> sp.Expr:
        """The expression where noise takes its mean."""
        return self.expression.xreplace({noise.symbol: noise.mean() for noise in self.noise})

    @property
    def is_function(self) -> bool:
        """Whether it is a function of the neuron's own value alone."""
        return not (self.arguments or self.noise)

    @property
    def certain(self) -> dict[sp.Symbol, sp.Expr]:
        """Noise that always takes one value, such as the mask of a dropout that keeps all."""
        outcomes = ((n.symbol, value, chance) for n in self.noise for value, chance in n.outcomes)
        at = self._common
        return {symbol: value for symbol, value, chance in outcomes if chance.xreplace(at) == 1}

    @property
    def _common(self) -> dict[sp.Symbol, sp.Expr]:
        """Values of the parameters that are the same in all blocks."""
        return {s: value for s, value in self.by_symbol.items() if not isinstance(value, tuple)}

    @property
    def is_identity(self) -> bool:
        """Whether it is the identity, such as a dropout that keeps all."""
        return bool(self.expression.xreplace({**self._common, **self.certain}) == X)

    @property
    def random(self) -> tuple[Noise, ...]:
        """The noise that may take several values."""
        return tuple(noise for noise in self.noise if noise.symbol not in self.certain)

    @property
    def masks_neurons(self) -> bool:
        """Whether neurons draw noise of their own, so that a Gaussian becomes a mixture."""
        return any(noise.over == "neurons" for noise in self.random)

    @property
    def kinks(self) -> tuple[sp.Expr, ...]:
        """Points where the function is continuous but not smooth."""
        return self._singularities[0]

    @property
    def jumps(self) -> tuple[sp.Expr, ...]:
        """Points where the function is discontinuous."""
        return self._singularities[1]

    @cached_property
    def _singularities(self) -> tuple[tuple[sp.Expr, ...], tuple[sp.Expr, ...]]:
        if not self.expression.has(*SWITCHES):
            return (), ()
        function = self.expression.xreplace(self.by_symbol)
        if stray := sorted(map(str, function.free_symbols - {X})):
            raise UnsupportedError(
                f"the kinks and jumps of {self!r}",
                f"they may lie anywhere, as {', '.join(stray)} has no number here",
                "give numbers, or ask for kernels of sampled networks, which do not need them",
            )
        return find_singularities(function)

    @property
    def is_smooth(self) -> bool:
        """Whether the function has derivatives of every order on the real line."""
        return not (self.kinks or self.jumps)

    @property
    def is_linear(self) -> bool:
        """Whether it multiplies centred signals by a number, or by noise, at infinite width.

        Averages of odd functions vanish for them.
        """
        if self.law is not None or self.expression.diff(X).has(X):
            return False
        zero: dict[sp.Expr, sp.Expr] = {s: v for s, v in self.by_symbol.items() if v == 0}
        zero[X] = sp.Integer(0)
        for symbol, value in self.averages:
            if sp.expand(value.xreplace(zero | {X: X}) + value.xreplace(zero | {X: -X})) == 0:
                zero[symbol] = sp.Integer(0)
        return bool(self.expression.xreplace(zero) == 0)

    def derivative(self, order: int) -> sp.Expr:
        """Return the derivative by the neuron's own value, where it exists."""
        return sp.diff(self.expression, X, order)
