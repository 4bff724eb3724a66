"""Formulas of responses at finite width: against the tables that the numbers come from."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, ResNet, finite_response, to_latex
from resexpand.errors import UnsupportedError
from resexpand.gaussian.expectation import GaussianExpectation, Nonlinearity
from resexpand.numbers.one_loop.columns import Columns
from resexpand.theory.one_loop.column_formulas import ENTRIES

NET = ResNet(Branch(Activation("tanh"), Linear(1.3, 0.1)), scale=0.5, depth=3)
X = sp.Symbol("x")
CUBIC = X - X**3 / 10
LATE = np.array([[1.2, 0.3], [0.3, 0.8]])
EARLY = np.array([[0.9, 0.2], [0.2, 0.7]])


def value_of(node: GaussianExpectation, covariance: np.ndarray) -> float:
    """Average an integrand of the cubic by a product rule, exact for polynomials."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(12)
    weights = weights / weights.sum()
    size = covariance.shape[0]
    triangle = np.linalg.cholesky(covariance)
    points = np.array(list(product(nodes, repeat=size))) @ triangle.T
    chances = np.prod(list(product(weights, repeat=size)), axis=1)
    integrand = node.integrand.replace(
        Nonlinearity, lambda _, order, x: sp.diff(CUBIC, X, int(order)).subs(X, x)
    )
    function = sp.lambdify(node.variables, integrand, "numpy")
    return float(chances @ (function(*points.T) * np.ones(len(points))))


def number(expression: sp.Expr) -> float:
    """Evaluate averages over components at the later layer (x) and at the earlier one (y)."""
    both = np.block([[LATE, EARLY], [EARLY, EARLY]])
    at = {}
    for node in expression.atoms(GaussianExpectation):
        own = [("x_h", "x_v", "y_h", "y_v").index(str(x)) for x in node.variables]
        at[node] = value_of(node, both[np.ix_(own, own)])
    numbers = {"sigma_w2": 1.3, "sigma_b2": 0.1}
    at |= {s: numbers[s.name] for s in expression.free_symbols if s.name in numbers}
    return float(expression.xreplace(at))


class Polynomial:
    """Atoms of the cubic, for the columns that the numbers come from."""

    def __init__(self) -> None:
        self.error = 0.0

    def _atom(self, key: tuple[str, int], x: sp.Symbol) -> sp.Expr:
        inner = CUBIC**2 if key[0] == "f" else sp.diff(CUBIC, X) ** 2
        return sp.diff(inner, X, key[1]).subs(X, x)

    def mean(self, key: tuple[str, int], variances: np.ndarray, side: int = 0) -> np.ndarray:
        x = sp.Symbol("x1")
        node = GaussianExpectation(self._atom(key, x), (x,), (sp.Symbol("k"),))
        return np.array([value_of(node, np.array([[v]])) for v in variances])

    def covariance(self, late: tuple[str, int], early: tuple[str, int]) -> np.ndarray:
        x, y = sp.symbols("x1 y1")
        both = np.array([[LATE[0, 0], EARLY[0, 0]], [EARLY[0, 0], EARLY[0, 0]]])
        product_ = self._atom(late, x) * self._atom(early, y)
        node = GaussianExpectation(product_, (x, y), sp.symbols("k1:4"))
        means = self.mean(late, LATE[:1, 0]) * self.mean(early, EARLY[:1, 0])
        return np.array([value_of(node, both)]) - means


@pytest.mark.parametrize("kind", ["variance", "tangent", "parameters"])
def test_averages_are_those_of_the_numbers(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {f.name: f.rhs for f in finite_response(NET, kind).formulas}
    columns = Columns(2, 1 if kind == "variance" else 2, trained=kind == "parameters")
    known = Polynomial()
    monkeypatch.setattr("resexpand.numbers.one_loop.columns.atoms", lambda *_: known)
    kept = [e for e in ENTRIES if kind != "variance" or e != "vv"]
    means = columns.means(known, LATE[None])[0]
    response, curvature = (part[0] for part in columns.slopes(known, LATE[None]))
    parts = (part[None] for part in (LATE, EARLY, EARLY))
    cumulants = columns.cumulants((None, None), *parts, one_layer=False)
    for a, own in enumerate(kept):
        bias = 0.1 if own == "hh" or (own == "vv" and kind == "parameters") else 0.0
        assert number(found[f"covariance_{own}"]) == pytest.approx(1.3 * means[a] + bias)
        for q, entry in enumerate(kept):
            seen = number(found.get(f"response_{own}_{entry}", sp.Integer(0)))
            assert seen == pytest.approx(1.3 * response[a, q], abs=1e-12)
            name = f"curvature_{own}_{kept[min(q, a)]}_{kept[max(q, a)]}"
            bent = curvature[a, min(q, a), max(q, a)]
            assert number(found.get(name, sp.Integer(0))) == pytest.approx(1.3 * bent, abs=1e-12)
    for (a, own), (k, other) in product(enumerate(kept[1:], 1), repeat=2):
        seen = number(found[f"source_{own}_{other}"])
        assert seen == pytest.approx(1.69 * cumulants.covariance[0, a, k], abs=1e-10)
        if other.count("v") > own.count("v"):
            # No source with more tangents moves what is read: the numbers leave it out.
            continue
        seen = number(found[f"conditioning_source_{own}_{own}_{other}"])
        assert seen == pytest.approx(1.69 * cumulants.slope[0, a, a, k], abs=1e-10)


def test_latex_and_what_has_no_formulas() -> None:
    text = to_latex(finite_response(NET))
    assert r"C_{hv}^{l} = \sigma_{w}^{2} \left\langle x_{v} \phi(x_{h}) \phi'(x_{h})" in text
    assert r"\delta\eta^{l,0} = 2 \delta K_{hv}^{l}" in text
    assert "= 0\n" not in text
    with pytest.raises(UnsupportedError, match="kind 'step'"):
        to_latex(finite_response(NET, "step"))


def test_what_stands_in_for_a_read_out() -> None:
    """The first operation of a further block, whose weights and biases are taken out again."""
    net = ResNet(Branch(Linear(), Activation("tanh"), Linear(2, 0)), scale=0.5, depth=3)
    own = {f.name: f.rhs for f in finite_response(net, "parameters").formulas}["finite"]
    symbols = {s.name: s for s in own.free_symbols}
    drawn = own.subs({symbols["sigma_b2"]: 0})
    assert str(drawn * symbols["sigma_w2"]) == "C1_vv[L + 1]"
    assert str(sp.expand((own - drawn) * symbols["sigma_w2"])) == "-sigma_b2"
    read = ResNet(net.branches, scale=0.5, depth=3, read_out=Linear(2, 0))
    (value,) = (f.rhs for f in finite_response(read, "parameters").formulas if f.name == "finite")
    assert str(value) == "C_vv[L + 1]"
