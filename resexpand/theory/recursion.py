"""`Recursion`: equations over the layers, the second currency beside `Formula`.

A state ``s^0``, an update ``s^l = U(s^{l-1})`` and outputs read off along the way. Plain immutable
data: it can be unrolled to closed expressions here; printing, compiling and sampling are functions
of other modules.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from typing import Any, Literal

import sympy as sp

from resexpand.conventions import WIDTH
from resexpand.errors import HyperparameterError
from resexpand.expressions.notebook import in_notebook
from resexpand.expressions.shown import Card, Shown, listed
from resexpand.network.resnet import ResNet
from resexpand.references import Citation
from resexpand.theory.by_name import Symbols, values_of
from resexpand.theory.closure import Laws, close_elementary

OutputKind = Literal["trajectory", "layer", "final", "propagator"]
Bindings = tuple[tuple[sp.Symbol, sp.Expr], ...]
Definitions = Sequence[tuple[sp.Symbol, sp.Expr]]

SHOWN = 3
"""Definitions, and quantities of the state, whose equations a recursion shows of itself."""


@dataclass(frozen=True)
class Output:
    """An output of a recursion.

    Attributes
    ----------
    name : str
        Key of the output.
    kind : str
        ``trajectory``: of the state at ``l = 0 .. L``. ``layer``: of the state at ``l - 1`` for
        ``l = 1 .. L``, closed by `at_end` of the last state. ``final``: of the last state.
        ``propagator``: ordered products of the Jacobian, entries ``[l, m]``.
    entries : tuple of sympy.Expr
        One expression, or the upper triangle of a symmetric matrix, row by row: 11, 12, 22 for a
        pair of inputs. For a propagator the pair ``(row, column)`` of the matrix product.
    at_end : tuple of sympy.Expr
        Expressions of the last state that close a ``layer`` output; as many as `entries`.
    matrix : sympy.ImmutableMatrix, optional
        For a propagator: the matrix ``J`` of the state at ``l - 1`` whose ordered products
        ``J^l ... J^{m+1}`` are the entries ``[l, m]``.
    diagonal : sympy.Expr, optional
        For a propagator: a quantity ``v`` of the state that is propagated. The entries ``[l, m]``
        are then the products times ``v^m`` for ``m <= l``, and the matrix is symmetric: covariances
        between layers.
    meaning : str
        One sentence for the reader.
    vector : bool
        Whether the entries are those of a vector.
    difference : bool
        Whether the entries are small differences of terms of the size of the kernel.
    finite : bool
        For orders along a vector: whether order `l` is the last one at layer `l`.
    """

    name: str
    kind: OutputKind
    entries: tuple[sp.Expr, ...]
    at_end: tuple[sp.Expr, ...] = ()
    matrix: sp.ImmutableMatrix | None = None
    diagonal: sp.Expr | None = None
    meaning: str = ""
    vector: bool = False
    difference: bool = False
    finite: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value at one layer: ``()``, ``(n, n)``, or ``(n,)`` for a vector."""
        count = len(self.entries)
        if self.vector:
            return (count,)
        size = triangle_size(count)
        return () if size == 1 or self.kind == "propagator" else (size, size)

    def layers(self, depth: int) -> tuple[int, ...]:
        """Return the shape of its layer axes."""
        return {"final": (), "propagator": (depth + 1,) * 2}.get(self.kind, (depth + 1,))


def needed(
    definitions: Definitions, expressions: Iterable[sp.Expr]
) -> list[tuple[sp.Symbol, sp.Expr]]:
    """Return the definitions that some expressions are made of, in their order."""
    if not definitions:
        return []
    wanted = {s for e in expressions for s in e.free_symbols}
    kept = []
    for symbol, value in reversed(definitions):
        if symbol in wanted:
            wanted |= value.free_symbols
            kept.append((symbol, value))
    return kept[::-1]


def always_zero(
    initial: Mapping[sp.Symbol, sp.Expr],
    update: Mapping[sp.Symbol, sp.Expr],
    definitions: Definitions = (),
) -> dict[sp.Symbol, sp.Expr]:
    """Return zero for every symbol that starts at zero and is fed only by what is zero.

    Parameters
    ----------
    initial, update : mapping
        Values at layer 0 and behind a block, by symbol.
    definitions : sequence of (sympy.Symbol, sympy.Expr)
        Definitions used by the updates; those that vanish are returned, too.
    """
    zero = {symbol for symbol, value in initial.items() if value == 0}
    while True:
        at = dict.fromkeys(zero, sp.Integer(0))
        for symbol, value in definitions:
            if value.xreplace(at) == 0:
                at[symbol] = sp.Integer(0)
        fed = {symbol for symbol in zero if update[symbol].xreplace(at) != 0}
        if not fed:
            return at
        zero -= fed


def triangle_size(count: int) -> int:
    """Return n, where ``count = n (n + 1) / 2`` numbers are the upper triangle of n x n."""
    return (math.isqrt(8 * count + 1) - 1) // 2


def symmetric(entries: Sequence[sp.Expr]) -> sp.Expr | sp.Matrix:
    """Return the symmetric matrix of an upper triangle, or the number if there is only one."""
    size = triangle_size(len(entries))
    if size == 1:
        return entries[0]
    at = dict(zip(combinations_with_replacement(range(size), 2), entries, strict=True))
    return sp.Matrix(size, size, lambda i, j: at[min(i, j), max(i, j)])


@dataclass(frozen=True, repr=False)
class Recursion(Shown):
    """A recursion over the layers of a network, exact and formal.

    Attributes
    ----------
    title : str
        Its name.
    net : ResNet
        The network it was derived from.
    inputs : int
        Number of inputs its state describes, 1 or 2.
    state, initial, update : tuple of sympy.Symbol, sympy.Expr, sympy.Expr
        State symbols, their values at layer 0, and at layer ``l`` in terms of layer ``l - 1``.
    definitions : tuple of (sympy.Symbol, sympy.Expr)
        Intermediate quantities used by `update` and `outputs`, in order.
    constants : tuple of (sympy.Symbol, sympy.Expr)
        Quantities made of hyperparameters and the kernel at layer 0 alone, the same at all layers.
    outputs : tuple of Output
        Its outputs.
    bindings : tuple of (sympy.Symbol, sympy.Expr)
        Hyperparameter symbols of the recursion and the values the network gives them (a symbol
        bound to itself is free).
    layer_bindings : tuple of (sympy.Symbol, tuple of sympy.Expr)
        Hyperparameters with one value per block.
    laws : tuple of (sympy.Symbol, ActivationLaw)
        Activation behind every label.
    neglects : str
        Order of what is neglected.
    citations : tuple of Citation
        Where the equations stand.
    """

    title: str
    net: ResNet
    inputs: int
    state: tuple[sp.Symbol, ...]
    initial: tuple[sp.Expr, ...]
    update: tuple[sp.Expr, ...]
    definitions: Bindings = ()
    constants: Bindings = ()
    outputs: tuple[Output, ...] = ()
    bindings: Bindings = ()
    layer_bindings: tuple[tuple[sp.Symbol, tuple[sp.Expr, ...]], ...] = ()
    laws: Laws = ()
    neglects: str = "O(1/N)"
    citations: tuple[Citation, ...] = field(default=())

    def flat(self, expression: sp.Expr) -> sp.Expr:
        """Return an expression with the definitions substituted, so that it is one of the state."""
        for symbol, value in reversed((*self.constants, *self.definitions)):
            expression = expression.xreplace({symbol: value})
        return expression

    @property
    def takes_width(self) -> bool:
        """Whether it is evaluated at a width, which is no hyperparameter of the network."""
        return any(symbol == value == WIDTH for symbol, value in self.bindings)

    @property
    def flat_update(self) -> tuple[sp.Expr, ...]:
        """The update as expressions of the state alone."""
        return tuple(self.flat(u) for u in self.update)

    def output(self, name: str) -> Output:
        """Return the output of a name.

        Raises
        ------
        KeyError
            If there is no such output.
        """
        for output in self.outputs:
            if output.name == name:
                return output
        raise KeyError(f"{name!r} is not among the outputs {[o.name for o in self.outputs]}")

    @property
    def free_symbols(self) -> set[sp.Symbol]:
        """Hyperparameters that need a value, the kernel at layer 0 among them."""
        own = {s for s, value in self.bindings if s == value}
        return self.net.free_symbols | own

    @property
    def symbols(self) -> Symbols:
        """Every symbol of the equations and of the network, as the attribute of its name.

        Examples
        --------
        >>> from resexpand import Activation, Branch, Linear, ResNet, kernel
        >>> recursion = kernel(ResNet(Branch(Activation("erf"), Linear()), scale=1, depth=3))
        >>> recursion.update[0].diff(recursion.symbols.rho)
        2*C*rho
        """
        pairs = (*self.constants, *self.definitions, *self.bindings)
        written = [*self.initial, *self.update, *(side for pair in pairs for side in pair)]
        found = set(self.state).union(*(e.free_symbols for e in written))
        return Symbols(found | self.net.free_symbols, self.title)

    def card(self) -> Card:
        """Return what it says about itself."""
        news = [
            (f"next {symbol}", str(update))
            for symbol, update in zip(self.state, self.update, strict=True)
        ]
        return Card(
            f"Recursion: {self.title}",
            (
                ("network", repr(self.net)),
                *((str(symbol), str(value)) for symbol, value in self.definitions[:SHOWN]),
                *news[:SHOWN],
                ("outputs", listed(f"{o.name} ({o.kind})" for o in self.outputs)),
                ("free", listed(sorted(s.name for s in self.free_symbols))),
                ("neglects", self.neglects),
            ),
        )

    def _repr_latex_(self) -> str:
        return in_notebook(self)

    def unroll(
        self, depth: int, values: Mapping[Any, Any] | None = None
    ) -> Mapping[str, list[sp.Expr | sp.Matrix]]:
        """Return closed expressions of every output for a small depth.

        Parameters
        ----------
        depth : int
            Number of blocks, ``>= 1``. Expressions nest: their length grows with the depth.
        values : mapping, optional
            Values in place of symbols, which are given themselves or by name.

        Returns
        -------
        dict
            Output name to the list over layers; a pair of inputs gives 2 x 2 matrices, a
            propagator one list per row, a final output a list of one.

        Raises
        ------
        HyperparameterError
            If there is no such depth, or a symbol does not occur in any output.

        Examples
        --------
        >>> from resexpand import Activation, Branch, Linear, ResNet, kernel
        >>> net = ResNet(Branch(Activation("relu"), Linear()), scale=1, depth=2)
        >>> kernel(net).unroll(1)["K"]
        [K0, K0*sigma_w2/2 + K0 + sigma_b2]
        >>> kernel(net).unroll(1, {"sigma_w2": 2})["K"]
        [K0, 2*K0 + sigma_b2]
        """
        unrolled = {output.name: _shaped(self, output, depth) for output in self.outputs}
        if not values:
            return unrolled
        entries = [e for layers in unrolled.values() for e in sp.flatten(layers)]
        symbols = set().union(*(e.free_symbols for e in entries))
        at = values_of(values, symbols, self.title)
        return {name: [_at(layer, at) for layer in layers] for name, layers in unrolled.items()}

    def states(self, depth: int) -> list[dict[sp.Symbol, sp.Expr]]:
        """Return the closed expressions of the state at layers ``0 .. depth``.

        Raises
        ------
        HyperparameterError
            If the depth is not a positive integer, or not that of a network with one scale per
            block.
        """
        if (
            not isinstance(depth, int)
            or isinstance(depth, bool)
            or depth < 1
            or any(len(values) != depth for _, values in self.layer_bindings)
        ):
            raise HyperparameterError(
                f"unrolling to depth {depth}", "the network has no such depth", "use its own depth"
            )
        values = dict(self.bindings)
        closed = [close_elementary(u, self.laws) for u in self.flat_update]
        state = {s: i.xreplace(values) for s, i in zip(self.state, self.initial, strict=True)}
        states = [state]
        for block in range(depth):
            at = {**values, **states[-1], **self.at_block(block)}
            states.append({s: u.xreplace(at) for s, u in zip(self.state, closed, strict=True)})
        return states

    def at_block(self, block: int) -> dict[sp.Symbol, sp.Expr]:
        """Return the hyperparameters that have a value of their own at a block (from 0)."""
        return {symbol: values[block] for symbol, values in self.layer_bindings}


def _at(layer: Any, values: Mapping[sp.Symbol, sp.Expr]) -> Any:
    """Put values in place of symbols, in an expression, a matrix or a row of a propagator."""
    if isinstance(layer, list):
        return [_at(entry, values) for entry in layer]
    return layer.subs(values, simultaneous=True)


def _shaped(
    recursion: Recursion, output: Output, depth: int
) -> list[sp.Expr | sp.Matrix | list[sp.Expr]]:
    """Evaluate one output on the unrolled states, in the shape `Recursion.unroll` promises."""
    states, values = recursion.states(depth), dict(recursion.bindings)

    def read(expressions: tuple[sp.Expr, ...], layer: int) -> sp.Expr | sp.Matrix:
        block = recursion.at_block(min(layer, depth - 1))
        at = {**values, **states[layer], **block}
        entries = [close_elementary(recursion.flat(e), recursion.laws) for e in expressions]
        entries = [e.xreplace(at) for e in entries]
        return sp.Matrix(entries) if output.vector else symmetric(entries)

    if output.kind == "trajectory":
        return [read(output.entries, layer) for layer in range(depth + 1)]
    if output.kind == "layer":
        blocks = [read(output.entries, layer) for layer in range(depth)]
        return [*blocks, read(output.at_end, depth)]
    if output.kind == "final":
        return [read(output.entries, depth)]
    return _propagators(recursion, output, states)


def _propagators(
    recursion: Recursion, output: Output, states: list[dict[sp.Symbol, sp.Expr]]
) -> list[sp.Expr | sp.Matrix | list[sp.Expr]]:
    if output.matrix is None:
        raise TypeError(f"the propagator {output.name!r} has no matrix")
    row, column = (int(index) for index in output.entries)
    closed = output.matrix.applyfunc(lambda e: close_elementary(recursion.flat(e), recursion.laws))
    values, depth = dict(recursion.bindings), len(states) - 1
    factors = [
        closed.xreplace({**values, **at, **recursion.at_block(block)})
        for block, at in enumerate(states[:-1])
    ]
    rows: list[sp.Expr | sp.Matrix | list[sp.Expr]] = []
    for layer in range(depth + 1):
        products = [sp.eye(output.matrix.rows)]
        for factor in reversed(factors[:layer]):
            products.insert(0, products[0] * factor)
        entries = [product[row, column] for product in products]
        rows.append(entries + [sp.Integer(0)] * (depth - layer))
    if output.diagonal is None:
        return rows
    at_layer = close_elementary(recursion.flat(output.diagonal), recursion.laws)
    spreads = [at_layer.xreplace({**values, **at}) for at in states]
    layers = range(depth + 1)
    return [[rows[max(a, b)][min(a, b)] * spreads[min(a, b)] for b in layers] for a in layers]
