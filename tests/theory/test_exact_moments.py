"""Exact moments against laws typed again, against averages over every weight, and their limits.

Brute force: for widths 1 and 2 and one block all weights, biases and states are symbols; a moment
is a polynomial in them, and every monomial is averaged by itself. Nothing is used of the argument
that only the direction along ``h`` matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from oracles import PHI, line_average

from resexpand import (
    Activation,
    Branch,
    Linear,
    Markov,
    ResNet,
    compile_routine,
    evaluate,
    exact_moments,
    kernel,
    to_latex,
)
from resexpand.conventions import DEPTH, K0, RHO, SIGMA_B2, SIGMA_W2, WIDTH
from resexpand.errors import HyperparameterError, KernelError, UnsupportedError
from resexpand.theory.exact_moments import recursions
from resexpand.theory.exact_moments.chain import PowerLaw

R = RHO**2
LINEAR = Branch(Linear())
SIGN = Branch(Activation("sign"), Linear())
SOLVABLE = {
    "linear": LINEAR,
    "identity": Branch(Activation("identity"), Linear(1.3, 0.2)),
    "two linears": Branch(Linear(1.3, 0.2), Linear(0.7, 0.1)),
    "relu inside": Branch(Linear(1.5, 0.1), Activation("relu"), Linear(1.2, 0.3)),
    "leaky inside": Branch(Linear(1.5, 0.1), Activation("leaky_relu"), Linear(1.2, 0.3)),
    "sign inside": Branch(Linear(1.5, 0.1), Activation("sign"), Linear(1.2, 0.3)),
    "sign": SIGN,
    "abs, then relu": Branch(
        Activation(sp.Abs(sp.Symbol("x", real=True))),
        Linear(0.8, 0.2),
        Activation("relu"),
        Linear(1.1, 0),
    ),
}


def network(branch: Branch, depth: object = DEPTH, **more: object) -> ResNet:
    return ResNet(branch, scale=RHO, depth=depth, **more)


def same(left: sp.Expr, right: sp.Expr) -> bool:
    return bool(sp.expand(left - right) == 0)


# Laws typed again


def test_linear_branch_with_biases() -> None:
    """Raw moments: m1' = p m1 + r b, m2' = p^2 m2 + 2 p r b m1 + r^2 b^2 + (...)/N."""
    found = exact_moments(network(LINEAR)).unroll(3)
    s, b, p = SIGMA_W2, SIGMA_B2, 1 + R * SIGMA_W2
    first, second = K0, K0**2 * (1 + 2 / WIDTH)
    for layer in range(4):
        assert same(found["G_mean"][layer], first)
        assert same(found["G_var"][layer], second - first**2)
        spread = 4 * R * (s * second + b * first)
        spread += 2 * R**2 * (s**2 * second + 2 * s * b * first + b**2)
        second = p**2 * second + 2 * p * R * b * first + R**2 * b**2 + spread / WIDTH
        first = p * first + R * b


def test_linear_branch_without_biases_is_a_product_of_factors() -> None:
    found = exact_moments(network(Branch(Linear(SIGMA_W2, 0)))).unroll(2)
    a = R * SIGMA_W2
    square = (1 + a) ** 2 + (4 * a + 2 * a**2) / WIDTH
    assert same(found["G_mean"][2], K0 * (1 + a) ** 2)
    total = K0**2 * (1 + 2 / WIDTH) * square**2
    assert same(found["G_var"][2], total - K0**2 * (1 + a) ** 4)
    assert same(found["G_cov"][2][1], (1 + a) * found["G_var"][1])
    assert found["G_cov"][1][2] == found["G_cov"][2][1]


def test_relu_between_two_weights() -> None:
    v, w = sp.symbols("v w", positive=True)
    branch = Branch(Linear(w, 0), Activation("relu"), Linear(v, 0))
    found = exact_moments(network(branch)).unroll(2)
    c = R * v * w
    square = 1 + (WIDTH + 2) * c / WIDTH + (WIDTH + 2) * (WIDTH + 5) * c**2 / (4 * WIDTH**2)
    mean = K0 * (1 + c / 2) ** 2
    assert same(found["G_mean"][2], mean)
    assert same(found["G_var"][2], K0**2 * (1 + 2 / WIDTH) * square**2 - mean**2)


def test_sign_has_chi_squared_norms() -> None:
    found = exact_moments(network(SIGN)).unroll(3)
    kernels = [K0 + layer * R * (SIGMA_W2 + SIGMA_B2) for layer in range(4)]
    for row in range(4):
        assert same(found["G_mean"][row], kernels[row])
        for column in range(4):
            expected = 2 * kernels[min(row, column)] ** 2 / WIDTH
            assert same(found["G_cov"][row][column], expected)
    assert found["C_var"] == [0] * 4


def test_one_block_of_any_activation_is_an_average_of_independent_terms() -> None:
    net = ResNet(Branch(Activation("tanh"), Linear(1.3, 0.2)), scale=0.7, depth=1)
    found = evaluate(exact_moments(net), K0=0.8, width=5)
    square, fourth = (line_average(lambda x, k=k: mp.tanh(x) ** k, mp.mpf("0.8")) for k in (2, 4))
    assert float(found["C_mean"]) == pytest.approx(float(1.3 * square + 0.2), rel=1e-12)
    spread = 1.3**2 * float(fourth - square**2) / 5
    assert float(found["C_var"]) == pytest.approx(spread, rel=1e-11)
    assert float(found["kurtosis"]) == pytest.approx(3 * spread / float(found["C_mean"]) ** 2)


# Brute force


def average(polynomial: sp.Expr, variances: dict[sp.Symbol, sp.Expr]) -> sp.Expr:
    """Average a polynomial over independent normals, monomial by monomial."""
    symbols = list(variances)
    total = sp.Integer(0)
    for powers, coefficient in sp.Poly(sp.expand(polynomial), *symbols).terms():
        if all(k % 2 == 0 for k in powers):
            values = [
                sp.factorial2(k - 1) * variances[s] ** (k // 2)
                for s, k in zip(symbols, powers, strict=True)
            ]
            total += coefficient * sp.Mul(*values)
    return sp.expand(total)


def normals(name: str, *shape: int) -> list[sp.Symbol]:
    count = int(np.prod(shape))
    return list(sp.symbols(f"{name}:{count}", real=True))


def block(width: int, features: list[sp.Expr], states: list[sp.Symbol]) -> tuple[sp.Expr, dict]:
    """Return G after one Linear with every weight and bias a symbol, and their variances."""
    weights, biases = normals("w", width, width), normals("b", width)
    rows = [
        sum(weights[i * width + j] * features[j] for j in range(width)) + biases[i]
        for i in range(width)
    ]
    length = sum((h + RHO * row) ** 2 for h, row in zip(states, rows, strict=True)) / width
    variances = dict.fromkeys(weights, SIGMA_W2 / width) | dict.fromkeys(biases, SIGMA_B2)
    return length, variances


@pytest.mark.parametrize("width", [1, 2])
def test_brute_force_over_every_weight_of_a_linear_block(width: int) -> None:
    states = normals("h", width)
    length, variances = block(width, states, states)
    variances |= dict.fromkeys(states, K0)
    before = sum(h**2 for h in states) / width
    moments = [average(m, variances) for m in (length, length**2, length * before)]
    found = {
        name: [sp.sympify(v, strict=True) for v in np.ravel(values)]
        for name, values in exact_moments(network(LINEAR)).unroll(1).items()
    }
    at = {WIDTH: width}
    assert same(found["G_mean"][1].subs(at), moments[0])
    assert same(found["G_var"][1].subs(at), moments[1] - moments[0] ** 2)
    assert same(found["G_cov"][1].subs(at), moments[2] - K0 * moments[0])
    assert not same(found["G_var"][1].subs(WIDTH, width + 1), moments[1] - moments[0] ** 2)


@pytest.mark.parametrize("name", ["erf", "relu", "sign"])
@pytest.mark.parametrize("width", [1, 2])
def test_brute_force_over_every_weight_of_one_nonlinear_block(width: int, name: str) -> None:
    states, features = normals("h", width), normals("f", width)
    length, variances = block(width, features, states)
    at = {RHO: sp.Rational(7, 10), SIGMA_W2: sp.Rational(13, 10), SIGMA_B2: sp.Rational(1, 5)}
    variance = mp.mpf("0.8")

    def over_layer(polynomial: sp.Expr) -> mp.mpf:
        total = mp.mpf(0)
        terms = sp.Poly(average(polynomial, variances).subs(at), *states, *features).terms()
        for powers, coefficient in terms:
            value = mp.mpf(coefficient.p) / coefficient.q
            for i in range(width):
                value *= single(powers[i], powers[width + i])
            total += value
        return total

    def single(a: int, b: int) -> mp.mpf:
        if (a + b) % 2 and name != "relu":
            return mp.mpf(0)
        breaks = () if name == "erf" else (0.0,)
        return line_average(lambda x: x**a * PHI[name](x) ** b, variance, breaks, digits=20)

    first, second = over_layer(length), over_layer(length**2)
    net = ResNet(Branch(Activation(name), Linear(1.3, 0.2)), scale=0.7, depth=1)
    found = evaluate(exact_moments(net), K0=0.8, width=width)
    assert found["G_mean"][1] == pytest.approx(float(first), rel=1e-10)
    assert found["G_var"][1] == pytest.approx(float(second - first**2), rel=1e-9)


def test_brute_force_over_both_weights_around_a_relu() -> None:
    """Width 1: where the gate is open the block is linear, and it is open half of the time."""
    h, w, v = sp.symbols("h w v", real=True)
    variances = {h: K0, w: sp.Integer(2), v: sp.Integer(3)}
    length = (h + RHO * v * w * h) ** 2
    # Powers of w that survive are even, so the average over w h > 0 is half of that over all.
    first, second = (
        (average(length**k, variances) + average(h ** (2 * k), variances)) / 2 for k in (1, 2)
    )
    branch = Branch(Linear(2, 0), Activation("relu"), Linear(3, 0))
    found = exact_moments(network(branch)).unroll(1)
    assert same(found["G_mean"][1].subs(WIDTH, 1), first)
    assert same(found["G_var"][1].subs(WIDTH, 1), second - first**2)


# Limits and consistency


@pytest.mark.parametrize("name", SOLVABLE)
def test_infinite_width_is_the_kernel(name: str) -> None:
    net = network(SOLVABLE[name])
    given = {s.name: 0.9 for s in net.free_symbols if s != DEPTH}
    limit = evaluate(kernel(net), K0=1.1, depth=6, **given)
    found = evaluate(exact_moments(net), K0=1.1, depth=6, width=10**12, **given)
    np.testing.assert_allclose(found["G_mean"], limit["K"], rtol=1e-9)
    np.testing.assert_allclose(found["C_mean"], limit["C"], rtol=1e-9)
    assert (found["G_var"] < 1e-9 * limit["K"] ** 2).all()


@pytest.mark.parametrize("name", SOLVABLE)
def test_the_mean_grows_by_the_covariance(name: str) -> None:
    net = ResNet(SOLVABLE[name], scale=[0.3, 0.8, 0.5], depth=3)
    given = {s.name: 0.9 for s in net.free_symbols}
    found = evaluate(exact_moments(net), K0=1.1, width=4, **given)
    steps = np.array([0.3, 0.8, 0.5]) ** 2 * found["C_mean"][:3]
    np.testing.assert_allclose(np.diff(found["G_mean"]), steps, rtol=1e-12)
    assert np.linalg.eigvalsh(found["G_cov"]).min() > -1e-12
    np.testing.assert_allclose(np.diagonal(found["G_cov"]), found["G_var"], rtol=1e-12)


@pytest.mark.parametrize("name", ["identity", "sign"])
def test_by_its_length_or_by_its_neurons_one_block_is_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network(Branch(Activation(name), Linear()), 1)
    given = {"rho": 0.7, "sigma_w2": 1.1, "sigma_b2": 0.3, "K0": 0.9, "width": 6}
    by_length = evaluate(exact_moments(net), **given)
    monkeypatch.setattr(recursions, "_law_of_stream", lambda net: None)
    by_neurons = evaluate(exact_moments(net), **given)
    np.testing.assert_allclose(by_length["G_cov"], by_neurons["G_cov"], rtol=1e-11)
    assert float(by_neurons["C_var"]) == pytest.approx(by_length["C_var"][0], rel=1e-11, abs=1e-14)


def test_one_block_of_relu() -> None:
    """<relu^2> = K/2, <relu^4> = 3 K^2/2, Cov(h^2, relu^2) = K^2."""
    net = network(Branch(Activation("relu"), Linear()), 1)
    found = evaluate(exact_moments(net), rho=0.7, sigma_w2=1.1, sigma_b2=0.3, K0=0.9, width=6)
    assert float(found["C_var"]) == pytest.approx(1.1**2 * (1.5 - 0.25) * 0.9**2 / 6, rel=1e-12)
    slope = found["G_cov"][1, 0] / found["G_cov"][0, 0]
    assert slope == pytest.approx(1 + 0.49 * 1.1 / 2, rel=1e-12)


def test_read_out_closes_the_covariances() -> None:
    net = network(SOLVABLE["relu inside"], 3, read_out=Linear(0.9, 0.4))
    found = evaluate(exact_moments(net), rho=0.7, K0=1.2, width=5)
    assert found["C_mean"][-1] == pytest.approx(0.9 * found["G_mean"][-1] + 0.4)
    assert found["C_var"][-1] == pytest.approx(0.81 * found["G_var"][-1])
    plain = evaluate(exact_moments(network(SOLVABLE["relu inside"], 3)), rho=0.7, K0=1.2, width=5)
    assert plain["C_var"][-1] > found["C_var"][-1]


def test_widths_and_scales_make_a_grid() -> None:
    routine = compile_routine(exact_moments(network(LINEAR)))
    assert routine.signature == ("depth", "N", "rho", "sigma_b2", "sigma_w2", "K0")
    widths = np.array([1, 10, 100, 1000])
    given = {"sigma_w2": 1, "sigma_b2": 0.1, "K0": 1, "depth": 4}
    grid = routine(width=widths[:, None], rho=np.array([0.1, 0.2]), **given)
    assert grid["G_var"].shape == (4, 2, 5)
    assert grid["G_cov"].shape == (4, 2, 5, 5)
    single = routine(N=10, rho=0.2, **given)
    np.testing.assert_allclose(grid["G_cov"][1, 1], single["G_cov"], rtol=1e-14)


def test_latex() -> None:
    text = to_latex(exact_moments(network(LINEAR)), "document")
    assert r"\mathrm{Var}\, G^{0} &= \frac{2 (K^{0})^{2}}{N}" in text
    assert r"\mathrm{Cov}\, G^{l,m} / \mathrm{Cov}\, G^{m,m}" in text
    assert "corrections" not in text


# Controls


def wrong_moments(change: Callable[[tuple[sp.Expr, sp.Expr]], tuple[sp.Expr, sp.Expr]]):
    right = PowerLaw.moments
    return lambda self: change(right(self))


def test_control_averages_that_do_not_fluctuate_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PowerLaw, "moments", wrong_moments(lambda m: (m[0], m[0] ** 2)))
    with pytest.raises(AssertionError):
        test_relu_between_two_weights()
    with pytest.raises(AssertionError):
        test_brute_force_over_both_weights_around_a_relu()


def test_control_a_fixed_input_is_another_law() -> None:
    """With |h^0| given, Var G^0 = 0: the moments at layer 1 differ from those of a random input."""
    right = exact_moments(network(LINEAR))
    fixed = replace(right, initial=(K0, sp.Integer(0)))
    s, b = SIGMA_W2, SIGMA_B2
    given = (4 * R * K0 * (s * K0 + b) + 2 * R**2 * (s * K0 + b) ** 2) / WIDTH
    assert same(fixed.unroll(1)["G_var"][1], given)
    assert not same(right.unroll(1)["G_var"][1], given)


# Bad input


@pytest.mark.parametrize(
    ("branch", "why"),
    [
        (Branch(Activation("relu"), Linear()), "depends on more of the layer before"),
        (Branch(Activation("erf"), Linear()), "depends on more of the layer before"),
        (Branch(Linear(), Activation("tanh"), Linear()), "no polynomial"),
        (Branch(Linear(), Activation("relu")), "ends in an activation"),
    ],
)
def test_what_cannot_be_solved_says_what_can(branch: Branch, why: str) -> None:
    for depth in (2, DEPTH):
        with pytest.raises(UnsupportedError, match=why) as caught:
            exact_moments(network(branch, depth))
        assert "solvable are" in str(caught.value)


def test_correlated_layers_do_not_close() -> None:
    with pytest.raises(UnsupportedError, match=r"one of more factors.*independent layers"):
        exact_moments(ResNet(LINEAR, scale=1, depth=3, layers=Markov(0.5)))


@pytest.mark.parametrize("name", ["N", "width", "G_var"])
def test_symbols_called_like_quantities_are_refused(name: str) -> None:
    with pytest.raises(HyperparameterError, match=f"called {name}"):
        exact_moments(ResNet(LINEAR, scale=sp.Symbol(name, real=True), depth=2))


@pytest.mark.parametrize("width", [0, -3, 2.5, float("nan"), "many"])
def test_bad_widths(width: object) -> None:
    with pytest.raises(HyperparameterError, match=r"width|N = "):
        evaluate(exact_moments(ResNet(Branch(Linear(1, 0)), scale=1, depth=2)), K0=1, width=width)


def test_missing_width_zero_input_and_negative_input() -> None:
    moments = exact_moments(ResNet(Branch(Linear(1, 0.5)), scale=1, depth=2))
    with pytest.raises(HyperparameterError, match="N"):
        evaluate(moments, K0=1)
    with pytest.raises(KernelError):
        evaluate(moments, K0=-1, width=3)
    found = evaluate(moments, K0=0, width=3)
    assert found["G_var"][0] == 0
    assert found["G_cov"][1, 0] == 0
    assert found.status == "ok"
    for name in ("erf", "relu"):
        one = ResNet(Branch(Activation(name), Linear(1, 0.5)), scale=1, depth=1)
        assert evaluate(exact_moments(one), K0=0, width=3).status == "ok"
