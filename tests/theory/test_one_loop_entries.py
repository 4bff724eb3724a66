"""The formulas of several inputs: averages by hand for a polynomial, and the chain they make.

For ``phi = x^2`` every average is a polynomial of the covariances (Isserlis' theorem), so that the
formulas become the numbers of the evaluation without an integral.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, ResNet, evaluate, one_loop, to_latex
from resexpand.gaussian.expectation import GaussianExpectation, Nonlinearity
from resexpand.theory.one_loop.derived import LAYER, OTHER
from resexpand.theory.one_loop.formulas import P, Q, R
from resexpand.theory.one_loop.quantities import LayerQuantity, quantity

X = sp.Symbol("x", real=True)
DEPTH = 2
START = np.array([[0.5, 0.2], [0.2, 0.4]])
ENTRIES = ("11", "12", "22")
BRANCHES = {
    "one": Branch(Activation(X**2), Linear(0.3, 0.1)),
    "two": Branch(Linear(0.8, 0.1), Activation(X**2), Linear(0.4, 0.1)),
}


def network(name: str) -> ResNet:
    return ResNet(BRANCHES[name], scale=0.5, depth=DEPTH)


def entry_quantity(name: str, entries, *layers, draw: int = 0) -> LayerQuantity:
    return quantity(name, *layers, entries=entries, draw=draw)


@cache
def isserlis(places: tuple[int, ...], covariance: tuple[tuple[float, ...], ...]) -> float:
    """Return the average of a product of Gaussian variables, by all pairings."""
    if not places:
        return 1.0
    if len(places) % 2:
        return 0.0
    first, rest = places[0], places[1:]
    return sum(
        covariance[first][other] * isserlis(rest[:k] + rest[k + 1 :], covariance)
        for k, other in enumerate(rest)
    )


def integral(node: GaussianExpectation) -> sp.Float:
    size = len(node.variables)
    matrix = np.zeros((size, size))
    matrix[np.triu_indices(size)] = [float(entry) for entry in node.covariance]
    matrix = matrix + np.triu(matrix, 1).T
    covariance = tuple(map(tuple, matrix.tolist()))
    smooth = node.integrand.replace(
        Nonlinearity, lambda _, n, z: sp.diff(X**2, X, int(n)).subs(X, z)
    )
    total = sp.Float(0)
    for powers, coefficient in sp.Poly(sp.expand(smooth), *node.variables).terms():
        places = tuple(k for k, power in enumerate(powers) for _ in range(power))
        total += coefficient * isserlis(places, covariance)
    return sp.Float(total, 17)


def number_of(text: str) -> sp.Integer:
    return sp.Integer(ENTRIES.index("".join(sorted(text))) + 1)


def letters(expression: sp.Expr, inputs: dict[str, str]) -> sp.Expr:
    """Put inputs for letters, and write entries as numbers."""

    def at(name, draw, entries, *layers):
        told = [
            number_of("".join(inputs[c] for c in str(e))) if str(e).isalpha() else e
            for e in entries
        ]
        if len(told) == 1 and str(entries[0]) == "a":
            told = [sp.Integer(int(inputs["a"]))]
        return LayerQuantity(name, draw, sp.Tuple(*told), *layers)

    return expression.replace(LayerQuantity, at)


def averaged(expression: sp.Expr, known: dict) -> float:
    value = expression.xreplace(known)
    nodes = value.atoms(GaussianExpectation)
    return float(value.xreplace({node: integral(node) for node in nodes}))


class Numbers:
    """Evaluates the formulas one after the other, down to numbers."""

    def __init__(self, name: str) -> None:
        self.theory = one_loop(network(name), inputs=2)
        self.values = evaluate(self.theory, K0=START)
        self.draws = len(self.theory.process.draws)
        self.known: dict = dict(self.theory.layers.bindings)
        for layer in range(DEPTH + 1):
            for k, (i, j) in enumerate(((0, 0), (0, 1), (1, 1)), start=1):
                own = entry_quantity("K", (sp.Integer(k),), sp.Integer(layer))
                self.known[own] = float(self.values["K"][layer, i, j])
        self.formulas = {f.name: f for f in self.theory.formulas}

    def place(self, draw: int) -> int:
        return draw if self.draws > 1 else 0

    def name(self, stem: str, draw: int, *entries: str) -> str:
        return "_".join((stem, *([str(draw)] if self.draws > 1 else []), *entries))

    def averages(self) -> None:
        """Compute C, T, H of all draws, and S and P."""
        several = {"C": "covariance", "T": "response", "H": "curvature"}
        for layer in range(1, DEPTH + 2):
            for draw in range(1, self.draws + 1):
                for key, stem in several.items():
                    self.of_layer(key, stem, draw, layer)
        for draw in range(1, self.draws + 1):
            for layer in range(1, DEPTH + 2):
                for other in range(1, layer + 1) if draw == 1 else (layer,):
                    self.of_pair(draw, layer, other)

    def of_layer(self, key: str, stem: str, draw: int, layer: int) -> None:
        count = {"C": 1, "T": 2, "H": 3}[key]
        for places in np.ndindex(*(3,) * count):
            entries = tuple(sp.Integer(k + 1) for k in places)
            self.put(key, entries, draw, 0.0, layer)
        for name, formula in self.formulas.items():
            if not (name == self.name(stem, draw) or name.startswith(self.name(stem, draw, ""))):
                continue
            for inputs in ({"a": "1", "b": "2"}, {"a": "1", "b": "1"}, {"a": "2", "b": "2"}):
                row = str(formula.lhs.args[2][0])
                if key != "C" and (inputs["a"] == inputs["b"]) != (row == "aa"):
                    continue
                lhs = letters(formula.lhs, inputs)
                rhs = letters(formula.rhs, inputs).subs(LAYER, layer)
                found = averaged(rhs, self.known)
                self.put(key, lhs.args[2], draw, found, layer)
                if key == "H":
                    self.put(key, (lhs.args[2][0], *lhs.args[2][:0:-1]), draw, found, layer)

    def of_pair(self, draw: int, layer: int, other: int) -> None:
        at = {LAYER: layer, OTHER: other}
        pairs = [("1", "1"), ("1", "2"), ("2", "2")]
        for a, b in pairs:
            for c, d in pairs:
                inputs = dict(zip("abcd", (a, b, c, d), strict=True))
                source = self.formulas[self.name("source", draw)]
                lhs = letters(source.lhs, inputs).args[2]
                value = averaged(
                    letters(source.rhs, inputs).subs(at, simultaneous=True), self.known
                )
                self.put("S", lhs, draw, value, layer, other)
                self.put("S", lhs[::-1], draw, value, other, layer)
                if draw > 1 or other == layer:
                    continue
                for q in (1, 2, 3):
                    self.put("P", (lhs[0], sp.Integer(q), lhs[1]), draw, 0.0, layer, other)
                for column in ("aa", "ab", "bb"):
                    name = self.name("conditioning_source", draw, "ab", column)
                    if name not in self.formulas:
                        continue
                    formula = self.formulas[name]
                    own = letters(formula.lhs, inputs).args[2]
                    found = averaged(
                        letters(formula.rhs, inputs).subs(at, simultaneous=True), self.known
                    )
                    # Inputs that are the same have one variance to differentiate by.
                    key = self.quantity("P", own, draw, layer, other)
                    self.known[key] = self.known.get(key, 0.0) + found

    def quantity(self, key: str, entries, draw: int, *layers: int) -> LayerQuantity:
        place = self.place(draw)
        return entry_quantity(key, tuple(entries), *map(sp.Integer, layers), draw=place)

    def put(self, key: str, entries, draw: int, value: float, *layers: int) -> None:
        self.known[self.quantity(key, entries, draw, *layers)] = value

    def structure(self, name: str, layer: int, other: int = 0) -> None:
        """Evaluate a formula for all its entries."""
        formula = self.formulas[name]
        entries = [e for e in formula.lhs.args[2] if e in (P, Q, R)]
        at = {LAYER: layer, OTHER: other}
        for places in np.ndindex(*(3,) * len(entries)):
            which = {e: sp.Integer(k + 1) for e, k in zip(entries, places, strict=True)}
            both = {**which, **at}
            lhs = formula.lhs.subs(both, simultaneous=True)
            rhs = formula.rhs.subs(both, simultaneous=True).doit().xreplace(self.known)
            # What acts backwards, or on the stream of the input, is zero.
            rhs = rhs.xreplace({
                n: 0 for n in rhs.atoms(LayerQuantity) if str(n.args[0]) in ("B", "kernel_mean")
                or str(n.args[0]) in ("kernel_covariance", "Omega")
            })  # fmt: skip
            self.known[lhs] = float(rhs)


@pytest.mark.parametrize("name", ["one", pytest.param("two", marks=pytest.mark.slow)])
def test_the_chain_of_formulas_makes_the_numbers(name: str) -> None:
    made = Numbers(name)
    made.averages()
    draws, deep = range(1, made.draws + 1), range(1, DEPTH + 2)
    zero = range(DEPTH + 1)
    for layer in zero:
        for p in range(1, 4):
            for q in range(1, 4):
                same = entry_quantity("chi", (sp.Integer(p), sp.Integer(q)), *2 * (layer,))
                made.known[same] = float(p == q)
    for place in range(made.draws - 2, -1, -1):
        for layer in deep:
            made.structure(f"block_response_{place}", layer)
    for layer in range(1, DEPTH + 1):
        for other in range(layer):
            made.structure("stream_response", layer, other)
    for draw in draws:
        for layer in deep:
            for other in range(1, layer + 1):
                if layer <= DEPTH:
                    made.structure(made.name("kernel_propagator", draw), layer, other)
        for layer in deep:
            for other in range(1, layer + 1):
                made.structure(made.name("gram_propagator", draw), layer, other)
    compared = 0
    index = {1: (0, 0), 2: (0, 1), 3: (1, 1)}
    for layer in deep:
        for other in range(1, layer + 1):
            for stem, key, shift, last in (
                ("kernel_covariance", "K_cov", 0, DEPTH),
                ("gram_covariance", "C_cov", 1, DEPTH + 1),
            ):
                if layer > last:
                    continue
                made.structure(stem, layer, other)
                for p in range(1, 4):
                    for q in range(1, 4):
                        at = (sp.Integer(p), sp.Integer(q))
                        found = made.known[entry_quantity(stem, at, layer, other)]
                        given = made.values[key][
                            (layer - shift, *index[p], other - shift, *index[q])
                        ]
                        assert found == pytest.approx(given, rel=1e-9), (stem, layer, other, p, q)
                        compared += 1
    assert compared == 9 * (3 + 6)
    for draw in draws[:-1]:
        for layer in deep:
            made.structure(made.name("gram_covariance", draw), layer, layer)
    for layer in deep:
        for draw in draws:
            made.structure(made.name("tadpole", draw), layer)
            if draw == 1:
                made.structure("conditioning", layer)
            made.structure(made.name("gram_mean", draw), layer)
        if layer <= DEPTH:
            made.structure("kernel_mean", layer)
        last = made.place(made.draws)
        for p in range(1, 4):
            found = made.known[entry_quantity("gram_mean", (sp.Integer(p),), layer, draw=last)]
            given = made.values["C_mean"][(layer - 1, *index[p])]
            assert found == pytest.approx(given, rel=1e-8, abs=1e-12), (layer, p)
    assert abs(made.values["C_mean"][-1, 0, 1]) > 1e-4


def test_wick_and_the_outputs() -> None:
    theory = one_loop(network("one"), inputs=2)
    values = evaluate(theory, K0=START)
    neuron = letters(theory.formula("single_neuron").rhs, dict(zip("abcd", "1212", strict=True)))
    known = {
        entry_quantity("K", (sp.Integer(k),), LAYER): float(START[i, j])
        for k, (i, j) in enumerate(((0, 0), (0, 1), (1, 1)), start=1)
    }
    expected = START[0, 0] * START[1, 1] + START[0, 1] ** 2
    assert float(neuron.xreplace(known)) == pytest.approx(expected)
    assert values["G_cov"][0, 0, 1, 0, 0, 1] == pytest.approx(expected)
    four = letters(theory.formula("four_point").rhs, dict(zip("abcd", "1122", strict=True)))
    covariance = values["C_cov"][-1, :, :, -1]
    expected = covariance[0, 0, 1, 1] + 2 * covariance[0, 1, 0, 1]
    assert values["four_point"][0, 0, 1, 1] == pytest.approx(expected)
    assert len(four.atoms(LayerQuantity)) == 2


def test_formulas_are_those_of_the_number_of_inputs() -> None:
    one, two, three = (one_loop(network("one"), inputs=n) for n in (1, 2, 3))
    assert "(r, 1, 3)" in str(two.formula("stream_response").rhs)
    assert "(r, 1, 6)" in str(three.formula("stream_response").rhs)
    nodes = one.formula("stream_response").rhs.atoms(LayerQuantity)
    assert nodes
    assert not any(node.args[2] for node in nodes)
    text = to_latex(two)
    assert r"S_{ab,cd}^{l,m}" in text
    assert r"\sum_{r=1}^{3}" in text
