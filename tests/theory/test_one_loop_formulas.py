"""The formulas of the order 1/N: propagators against the inverse of a matrix, averages against
integrals, and the whole chain of formulas against the numbers."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from oracles import plane_average

from resexpand import Activation, Branch, Linear, ResNet, evaluate, one_loop, to_latex
from resexpand.gaussian.expectation import GaussianExpectation, Nonlinearity
from resexpand.theory.one_loop.derived import LAYER, OTHER
from resexpand.theory.one_loop.quantities import LayerQuantity, quantity

RHO = sp.Symbol("rho", real=True)
BRANCHES = {
    "one": Branch(Activation("tanh"), Linear(1.3, 0.2)),
    "two": Branch(Linear(1.1, 0.1), Activation("tanh"), Linear(1.3, 0.2)),
    "three": Branch(
        Activation("tanh"), Linear(1.1, 0.1), Activation("erf"), Linear(0.8, 0), Linear(1.3, 0.2)
    ),
}


def network(name: str, depth: int = 3) -> ResNet:
    return ResNet(BRANCHES[name], scale=0.6, depth=depth)


@pytest.mark.parametrize("name", BRANCHES)
def test_propagators_invert_the_matrix(name: str) -> None:
    """B = M^2 (1 - T M^2)^{-1} and R = (1 - T M^2)^{-1}, every entry, with symbols."""
    theory, depth = one_loop(network(name)), 2
    draws = len(theory.process.draws)
    squares = theory.mixing(depth).applyfunc(lambda e: e**2)[:, 1:]
    place = (lambda j: j + 1) if draws > 1 else (lambda j: 0)
    responses = sp.diag(
        *(quantity("T", sp.Integer(b + 1), draw=place(j)) for b in range(3) for j in range(draws))
    )
    whole = (sp.eye(squares.rows) - responses * squares).inv()
    streams = squares * whole
    number = dict(theory.layers.bindings)
    formulas = {f.name: f for f in theory.formulas}

    def at(name: str, layer: int, other: int) -> sp.Expr:
        value = formulas[name].rhs.subs({LAYER: layer, OTHER: other}, simultaneous=True)
        for _ in range(3):
            value = value.replace(LayerQuantity, lambda *a: expanded(LayerQuantity(*a)))
        return sp.expand(value.doit().xreplace(number))

    def expanded(node: LayerQuantity) -> sp.Expr:
        key, draw, _, *layers = node.args
        stem = {"chi": "stream_response", "B": "kernel_propagator"}.get(str(key))
        if stem is None or not all(layer.is_Integer for layer in layers):
            return node
        if layers[0] < layers[1]:
            return sp.Integer(0)
        suffix = f"_{draw}" if draw != 0 and stem == "kernel_propagator" else ""
        rule = formulas[stem + suffix].rhs
        return rule.subs({LAYER: layers[0], OTHER: layers[1]}, simultaneous=True).doit()

    compared = 0
    for layer in (1, 2, 3):
        for other in range(1, layer + 1):
            for j in range(draws):
                suffix = f"_{j + 1}" if draws > 1 else ""
                column = (other - 1) * draws + j
                expected = sp.expand(whole[layer * draws - 1, column])
                assert sp.expand(at(f"gram_propagator{suffix}", layer, other) - expected) == 0
                if layer < 3:
                    expected = sp.expand(streams[layer * draws, column])
                    assert sp.expand(at(f"kernel_propagator{suffix}", layer, other) - expected) == 0
                compared += 1
    assert compared == 6 * draws


def numbers(theory, values) -> dict:
    """Return what K and C are at every layer."""
    return {
        **{quantity("K", sp.Integer(n)): float(v) for n, v in enumerate(values["K"])},
        **dict(theory.layers.bindings),
    }


def averaged(expression: sp.Expr, known: dict) -> float:
    """Put numbers in and integrate every average."""
    x, y = sp.symbols("x_1 x_2", real=True)
    plain = sp.Symbol("x", real=True)

    def integral(node: GaussianExpectation) -> sp.Float:
        smooth = node.integrand.replace(
            Nonlinearity, lambda _, n, z: sp.diff(sp.tanh(plain), plain, int(n)).subs(plain, z)
        )
        covariance = [float(entry.xreplace(known)) for entry in node.covariance]
        if len(covariance) == 1:
            function = sp.lambdify([plain], smooth, "numpy")
            value = plane_average(lambda u, _: function(u) + 0 * u, (covariance[0], 0, 1))
        else:
            function = sp.lambdify([x, y], smooth, "numpy")
            value = plane_average(lambda u, v: function(u, v) + 0 * u, tuple(covariance))
        return sp.Float(value, 17)

    # By hand from the outside in: the covariances of an average are numbers before it is.
    nodes = expression.atoms(GaussianExpectation)
    return float(expression.xreplace({node: integral(node) for node in nodes}).xreplace(known))


def test_the_chain_of_formulas_makes_the_numbers() -> None:
    theory = one_loop(network("one"))
    values = evaluate(theory, K0=0.5)
    known, depth = numbers(theory, values), 3
    formula = {f.name: f.rhs for f in theory.formulas}

    def put(name: str, layer: int, other: int = 0) -> float:
        at = formula[name].subs({LAYER: layer, OTHER: other}, simultaneous=True).doit()
        missing = {n for n in at.atoms(LayerQuantity) if n not in known}
        zero = {n: 0 for n in missing if n.args[0].name == "B" and n.args[3] < n.args[4]}
        return averaged(at.xreplace(zero), known)

    for name, key in (("covariance", "C"), ("response", "T"), ("curvature", "H")):
        for layer in range(1, depth + 2):
            known[quantity(key, sp.Integer(layer))] = put(name, layer)
    pairs = [(a, b) for a in range(1, depth + 2) for b in range(1, a + 1)]
    for layer, other in pairs:
        for name, key in (
            ("stream_response", "chi"),
            ("kernel_propagator", "B"),
            ("source", "S"),
            ("conditioning_source", "P"),
        ):
            if key == "P" and layer == other:
                continue
            if key == "S" and layer == other:
                k = float(values["K"][layer - 1])
                f = [plane_average(lambda u, _, n=n: np.tanh(u) ** n, (k, 0, 1)) for n in (2, 4)]
                found = 1.69 * (f[1] - f[0] ** 2)
            else:
                found = put(name, layer, other)
            known[quantity(key, sp.Integer(layer), sp.Integer(other))] = found
            if key == "S":
                known[quantity(key, sp.Integer(other), sp.Integer(layer))] = found
    for layer, other in pairs:
        known[quantity("R", sp.Integer(layer), sp.Integer(other))] = put(
            "gram_propagator", layer, other
        )
    for layer in range(depth + 1):
        for other in range(layer + 1):
            found = put("kernel_covariance", layer, other) if other else 0.0
            known[quantity("kernel_covariance", sp.Integer(layer), sp.Integer(other))] = found
            np.testing.assert_allclose(values["K_cov"][layer, other], found, atol=1e-12)
    for layer, other in pairs:
        found = put("gram_covariance", layer, other)
        np.testing.assert_allclose(values["C_cov"][layer - 1, other - 1], found, atol=1e-11)
        if layer <= depth:
            found = put("empirical_covariance", layer, other)
            np.testing.assert_allclose(values["G_cov"][layer, other], found, atol=1e-11)
    known[quantity("kernel_mean", sp.Integer(0))] = 0.0
    for layer in range(1, depth + 2):
        for name in ("tadpole", "conditioning", "gram_mean", "kernel_mean"):
            known[quantity(name, sp.Integer(layer))] = put(name, layer)
        found = known[quantity("gram_mean", sp.Integer(layer))]
        np.testing.assert_allclose(values["C_mean"][layer - 1], found, atol=1e-11)
    assert abs(values["C_mean"][-1]) > 0.01


def test_linear_branches_have_no_curvature() -> None:
    theory = one_loop(ResNet(Branch(Linear()), scale=RHO, depth=5))
    assert theory.formula("curvature").rhs == 0
    assert theory.formula("conditioning_source").rhs == 0
    source = theory.formula("source").rhs
    weight = next(s for s in source.free_symbols if s.name == "sigma_w2")
    assert source == 2 * weight**2 * quantity("K", OTHER - 1) ** 2


def test_relu_in_closed_form() -> None:
    theory = one_loop(ResNet(Branch(Activation("relu"), Linear()), scale=RHO, depth=5))
    assert theory.formula("curvature").closed() == 0
    assert theory.formula("response").closed() == sp.Symbol("sigma_w2", positive=True) / 2
    with pytest.raises(KeyError, match="not among the formulas"):
        theory.formula("vertex")


@pytest.mark.parametrize("name", BRANCHES)
@pytest.mark.parametrize("inputs", [1, 2])
def test_latex(name: str, inputs: int) -> None:
    theory = one_loop(network(name), inputs=inputs)
    text = to_latex(theory, "document")
    where = "_{p}" if inputs == 2 else ""
    both = "_{p,q}" if inputs == 2 else ""
    for piece in (
        rf"N\,\mathrm{{Cov}}\bigl(K{where}^{{l}}",
        rf"\chi{both}^{{l,m}} &=",
        rf"\delta K{where}^{{l}}",
        "tadpole",
    ):
        assert piece in text
    assert ("\\mu_{4}" in text) == (inputs == 1)
    assert "LayerQuantity" not in text
    assert "None" not in text
    assert text == to_latex(one_loop(network(name), inputs=inputs), "document")
    for style in ("equation", "aligned"):
        assert r"\begin{equation}" in to_latex(theory, style)
    assert ("one entry for every pair" in text) == (inputs > 1)
    assert to_latex(theory.formula("kernel_mean")).count(rf"\delta K{where}^{{l-1}}") == 1
    assert "EntryQuantity" not in text


def test_mixing() -> None:
    scales = sp.symbols("a b")
    matrix = one_loop(ResNet(BRANCHES["two"], scale=scales, depth=2)).mixing(2)
    a, b = scales
    assert matrix == sp.Matrix(
        [
            [1, 0, 0, 0, 0, 0, 0],
            [0, 1, 0, 0, 0, 0, 0],
            [1, 0, a, 0, 0, 0, 0],
            [0, 0, 0, 1, 0, 0, 0],
            [1, 0, a, 0, b, 0, 0],
            [0, 0, 0, 0, 0, 1, 0],
        ]
    )


def test_layer_quantities() -> None:
    assert sp.latex(quantity("T", LAYER - 1, draw=2)) == "T_{(2)}^{l-1}"
    assert quantity("B", LAYER, OTHER).free_symbols == {LAYER, OTHER}
    with pytest.raises(KeyError, match="no quantity"):
        quantity("Z", LAYER)
