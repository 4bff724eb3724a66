r"""A network computed a second time, without its theory: one neuron, integrals of fifty digits.

A wide network is walked through operation by operation. What a neuron holds is a function of one
Gaussian, for every outcome of its masks; a contraction makes a new Gaussian of the second moment.
Averages are integrals (`resexpand.gaussian.integral`), derivatives are differences. No formula of
the theory is used: no closed form, no theorem of Price, no recursion.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.activations.singularities import branch_points
from resexpand.codegen.values import Values
from resexpand.conventions import exact
from resexpand.errors import HyperparameterError
from resexpand.gaussian.integral import average, grid_average, mp_function
from resexpand.network.operation import X
from resexpand.network.resnet import ResNet
from resexpand.network.steps import Step
from resexpand.network.values import read_values
from resexpand.numbers.evaluation import evaluate
from resexpand.theory.by_name import values_of
from resexpand.theory.kernel import Inputs
from resexpand.theory.recursion import Recursion
from resexpand.theory.verification import DIGITS

Signal = list[tuple[Any, sp.Expr]]
"""Chance of every outcome of the masks, and what a neuron holds then, a function of `X`."""

POINT = {"K0": sp.Rational(3, 10), "rho": sp.Rational(1, 2), "eps": sp.Rational(1, 100)}
"""Where formulas are checked, by name of the symbol."""

VARIANCES = {"w": sp.Rational(6, 5), "b": sp.Rational(1, 20)}
ANY = sp.Rational(1, 2)
BATCH = 6
"""Inputs of a batch that is sampled."""

SHORT = 2
"""Blocks of the network that is computed."""

DOUBLE = 17
"""Digits that integrals carry where differences or further integrals are taken of them."""


class Witness:
    """One network, every symbol a number.

    Parameters
    ----------
    net : ResNet
        The network.
    at : mapping, optional
        Numbers of its symbols and of ``K0``, by name; every other symbol gets one.
    """

    def __init__(self, net: ResNet, at: Mapping[Any, Any] | None = None):
        self.net = net
        self.fixed = isinstance(net.scale, tuple) or len(net.kinds) > 1
        self.depth = int(net.depth) if self.fixed else SHORT
        short = self.short()
        self.scales = short.scales(self.depth)
        symbols = sorted(short.free_symbols, key=lambda s: s.name)
        own = {s: _default(s) for s in symbols}
        start = sp.Symbol("K0", positive=True)
        self.values = own | {start: POINT["K0"]}
        if not isinstance(at or {}, Mapping):
            raise HyperparameterError(
                f"at={at!r}", "it gives no numbers by name", 'pass for instance at={"K0": 0.3}'
            )
        self.values |= values_of(at or {}, set(self.values), "the point of the checks")
        if self.values[start].is_nonpositive:
            raise HyperparameterError(
                f"the point of the checks, K0 = {self.values[start]}",
                "the kernel of an input is a variance",
                "give K0 > 0",
            )
        # Refuses what is no finite real number, or outside the range of its symbol.
        read_values(net, {s.name: value for s, value in self.values.items()}, (), (start,))
        self.start = mpmath.mpmathify(sp.N(exact(self.values[start]), DIGITS + 5))
        # Scales such as 1/sqrt(L) are those of the blocks that are computed.
        self.bound: dict[str, sp.Expr] = {s.name: sp.Integer(SHORT) for s in net.depth.free_symbols}

    @property
    def reason(self) -> str:
        """Why the network is not computed by integrals; empty if it is."""
        net = self.net
        steps = [*(s for branch in net.kinds for s in branch.steps), *net.head]
        maps = [step.op for step in steps if not step.contracts]
        if any(step.op.over != "neurons" or step.op.structure for step in steps):
            return "operations couple inputs or positions"
        if any(n.over != "neurons" or n.shared for op in maps for n in op.random) or net.is_mixture:
            return "masks are drawn for whole blocks, or the stream is a mixture"
        if net.post_norm is not None or net.layers is not None:
            return "the stream is normalised, or weights are correlated"
        if not net.is_gaussian and any(True for _ in net.openings):
            return "the stream is not Gaussian where a map reads it"
        return ""

    def bind(self, recursion: Recursion) -> None:
        """Learn the names that a recursion gives to the numbers of the network, in block 1."""
        first = ((symbol, values[0]) for symbol, values in recursion.layer_bindings)
        for symbol, value in (*recursion.bindings, *first):
            if symbol != value:
                self.bound[symbol.name] = self.at(value)

    def short(self, depth: int = SHORT) -> ResNet:
        """Return the network with a few blocks, unless blocks differ or layers correlate."""
        fixed = self.fixed or (self.net.layers is not None and self.net.depth.is_Integer)
        if fixed:
            return self.net
        (scale,) = self.net.scales(1)
        scale = scale.xreplace({self.net.depth: sp.Integer(depth)})
        return self.net.with_scale(scale, depth=depth)

    def columns(self, inputs: Inputs) -> NDArray[np.float64]:
        """Return a kernel at layer 0 of several columns, the variance of each that of one.

        Every pair of a batch is correlated alike, as its formulas have it; other columns are
        correlated the less the further they are apart.
        """
        start = float(self.start)
        if inputs == "batch":
            return start * (1 + np.eye(BATCH)) / 2
        count = max(inputs, 2) if isinstance(inputs, int) else math.prod(self.net.positions)
        place = np.arange(count)
        return start * 0.5 ** np.abs(np.subtract.outer(place, place))

    def named(self) -> dict[str, Any]:
        """Return the numbers by name, as `evaluate` takes them."""
        return {symbol.name: float(value) for symbol, value in self.values.items()}

    def evaluate(self, shown: Any, depth: int, numbers: Mapping[str, Any]) -> Values:
        """Return the values of what is shown for the network of a few blocks."""
        if self.net.depth.is_number:
            return evaluate(replace(shown, net=self.short(depth)), **numbers)
        return evaluate(shown, depth=depth, **numbers)

    def at(self, expression: sp.Expr, **more: Any) -> sp.Expr:
        """Put the numbers into an expression, by the names of its symbols."""
        named = self.bound | {s.name: value for s, value in self.values.items()} | more
        return expression.subs(
            {s: named[s.name] for s in expression.free_symbols if s.name in named}
        )

    def drawn(self, variance: Any, place: int | None = None, power: int = 1) -> Any:
        """Return the variance of what the last contraction of a block draws.

        With a `place`, from 1, of that one, by the variance which its own part of the block reads;
        of power two, the variance of its features, times the squared weight variance.
        """
        steps = self.net.block(1).steps
        ends = [i for i, step in enumerate(steps) if step.contracts]
        first = 0 if place in (None, 1) else ends[place - 2] + 1
        last = ends[-1 if place is None else place - 1]
        *_, (signal, spread, weight), _ = self._parts(steps[first : last + 1], variance, 1)
        if power == 2:
            return weight**2 * (_mean(signal, spread, 4) - _mean(signal, spread, 2) ** 2)
        return weight * _mean(signal, spread, 2) + self._number(self._at_block(steps[last], 1, 1))

    def shared(self, late: Any, early: Any) -> Any:
        """Return the covariance of the features of the first contraction at two layers.

        In between neurons walk on: an independent normal is added.
        """
        feature, weight = self.feature()
        apart = self.alone(feature**2, late) * self.alone(feature**2, early)
        return weight**2 * (self.together(feature**2, feature**2, late, early) - apart)

    def feature(self) -> tuple[sp.Expr, Any]:
        """Return the function in front of the first contraction, and the weight of that."""
        *_, (((_, feature),), _, weight), _ = self._parts(self._first, self.start, 1)
        return feature, weight

    def alone(self, function: sp.Expr, variance: Any) -> Any:
        """Return the average of a function of one neuron."""
        return _average(function, variance)

    def together(self, first: sp.Expr, second: sp.Expr, late: Any, early: Any) -> Any:
        """Return the average of two functions of a neuron, at a later and an earlier layer."""
        other = sp.Dummy(real=True)
        product = first.xreplace({X: other}) * second
        if product == 0:
            return 0.0
        return grid_average(product, (X, other), (early, early, late))

    @property
    def _first(self) -> tuple[Step, ...]:
        """The operations of the first block up to its first contraction."""
        steps = self.net.block(1).steps
        return steps[: [step.contracts for step in steps].index(True) + 1]

    def tangent(self, variance: Any, block: int = 1, power: int = 2) -> Any:
        """Return the growth of the squared length of a tangent vector in a block.

        Of power one, the growth of the covariance of two independent inputs.
        """
        scale, skip = self._number(self.scales[block - 1]), self._number(self.net.skip)
        return skip**2 + scale**2 * self.slopes(variance, block, power)

    def tangents(self) -> Any:
        """Return the growth of the squared length of a tangent vector in all blocks."""
        product = mpmath.mpf(1)
        for block in range(1, self.depth + 1):
            product *= self.tangent(self.kernel(depth=block - 1), block)
        return product

    def kernel(
        self, start: Any = None, depth: int | None = None, kick: Any = 0, place: int = 0
    ) -> Any:
        """Return the kernel behind some blocks.

        Parameters
        ----------
        start : number, optional
            Kernel at layer 0.
        depth : int, optional
            Number of blocks.
        kick : number
            Added to what the branch of block `place` (from 1) adds, before the scale squared.
        """
        variance, mean = self.start if start is None else start, mpmath.mpf(0)
        for block in range(1, (self.depth if depth is None else depth) + 1):
            square, first = self.branch(variance, block)
            scale, skip = self._number(self.scales[block - 1]), self._number(self.net.skip)
            square += kick if block == place else 0
            variance = skip**2 * variance + 2 * skip * scale * mean * first + scale**2 * square
            mean = skip * mean + scale * first
        return variance

    def branch(self, variance: Any, block: int = 1) -> tuple[Any, Any]:
        """Return second moment and mean of the branch of a block, by the kernel in front of it."""
        *_, (signal, spread, _) = self._parts(self.net.block(block).steps, variance, block)
        return _mean(signal, spread, 2), _mean(signal, spread)

    def moment(self, variance: Any) -> Any:
        """Return the second moment that the read-out reads, times its weight variance."""
        *_, (signal, spread, _) = self._parts(self.net.head, variance, 1)
        amplitude = self.net.read_out.weight_variance if self.net.read_out else sp.Integer(1)
        return self._number(amplitude) * _mean(signal, spread, 2)

    def slopes(self, variance: Any, block: int = 1, power: int = 2) -> Any:
        """Return by what the branch multiplies the squared length of a tangent vector.

        Of power one, the covariance of two independent inputs.
        """
        product = mpmath.mpf(1)
        for signal, spread, weight in self._parts(self.net.block(block).steps, variance, block):
            slope = [(c, f.diff(X)) for c, f in signal]
            product *= weight * _mean(slope, spread, power) ** (2 // power)
        return product

    def seen(self, variance: Any, power: int = 2) -> Any:
        """Return by what the maps in front of the read-out multiply that squared length."""
        *_, (signal, spread, _) = self._parts(self.net.head, variance, 1)
        return _mean([(c, f.diff(X)) for c, f in signal], spread, power) ** (2 // power)

    def _parts(
        self, steps: tuple[Step, ...], variance: Any, block: int
    ) -> Iterator[tuple[Signal, Any, Any]]:
        """Walk through operations: signal, variance and weight in front of every contraction.

        At the end, once more without a contraction, of weight one.
        """
        signal: Signal = [(mpmath.mpf(1), X)]
        for step in steps:
            if step.contracts:
                weight, bias = (self._number(self._at_block(step, i, block)) for i in (0, 1))
                yield signal, variance, weight
                variance = weight * _mean(signal, variance, 2) + bias
                signal = [(mpmath.mpf(1), X)]
            else:
                signal = self._mapped(step, signal, variance, block)
        yield signal, variance, mpmath.mpf(1)

    def _mapped(self, step: Step, signal: Signal, variance: Any, block: int) -> Signal:
        at: dict[sp.Expr, sp.Expr] = {
            p.symbol: self.at(self._at_block(step, i, block))
            for i, p in enumerate(step.op.parameters)
        }
        for symbol, value in step.op.averages:
            through = [(c, value.xreplace(at).xreplace({X: f})) for c, f in signal]
            at[symbol] = _float(_mean(through, variance))
        outcomes: Signal = [(mpmath.mpf(1), step.op.expression)]
        for noise in step.op.noise:
            outcomes = [
                (chance * self._number(own.xreplace(at)), e.xreplace({noise.symbol: value}))
                for chance, e in outcomes
                for value, own in noise.outcomes
            ]
        return [
            (a * b, e.xreplace(at).xreplace({X: f})) for a, e in outcomes for b, f in signal if a
        ]

    def _at_block(self, step: Step, place: int, block: int) -> sp.Expr:
        value = step.op.values[place]
        return value[block - 1] if isinstance(value, tuple) else value

    def _number(self, value: sp.Expr) -> Any:
        return self.at(sp.sympify(value, strict=True))._to_mpmath(mpmath.mp.prec)


def slope(function: Callable[[Any], Any], point: Any, order: int = 1) -> float:
    """Return a derivative from differences, good to the digits of a double."""
    return rounded(lambda: mpmath.diff(function, point, order))


def rounded(number: Callable[[], Any]) -> float:
    """Return a number that is computed with a few digits more than a double has."""
    with mpmath.workdps(DOUBLE):
        return float(number())


def _mean(signal: Signal, variance: Any, power: int = 1) -> Any:
    return mpmath.fsum(c * _average(f**power, variance) for c, f in signal)


def _default(symbol: sp.Symbol) -> sp.Expr:
    if symbol.name in POINT:
        return POINT[symbol.name]
    kind = symbol.name.removeprefix("sigma_")[:1] if symbol.name.startswith("sigma_") else ""
    return VARIANCES.get(kind, ANY)


def _float(value: Any) -> sp.Float:
    return sp.Float(value, precision=mpmath.mp.prec)


@lru_cache(maxsize=64)
def _compiled(expression: sp.Expr) -> tuple[Any, tuple[Any, ...]]:
    return mp_function(expression, X), branch_points(expression, X)


def _average(expression: sp.Expr, variance: Any) -> Any:
    if not expression.has(X):
        return expression._to_mpmath(mpmath.mp.prec)
    function, special = _compiled(expression)
    return average(function, variance, [p._to_mpmath(mpmath.mp.prec) for p in special])
