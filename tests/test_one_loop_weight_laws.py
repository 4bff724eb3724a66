"""Weights of another law at order 1/N: which statements survive, and the fourth cumulant they add.

Dense networks of signs and of uniform weights, at two widths; the straight line through both meets
the coefficient at infinite width. The theory of Gaussian weights, and a fourth cumulant of the
wrong sign, must be refuted by the same samples where they differ, and agree where they do not.
"""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, ResNet, evaluate, one_loop, sample
from resexpand.errors import HyperparameterError
from resexpand.montecarlo.weights.law import LAWS
from resexpand.theory.one_loop.weight_laws import FOURTH_MOMENT

PAIR = np.array([[0.25, 0.1], [0.1, 0.3]])
NARROW, WIDE = (12, 24), (24, 48)
NETS = {
    "one linear": (
        ResNet(Branch(Activation("erf_unit"), Linear(6, 0.1)), scale=1.5, depth=2),
        0.2,
    ),
    "two linears": (
        ResNet(Branch(Linear(2, 0.1), Activation("erf_unit"), Linear(3, 0.1)), scale=1.2, depth=2),
        0.3,
    ),
    "two inputs": (
        ResNet(Branch(Activation("erf_unit"), Linear(6, 0.1)), scale=1.5, depth=1),
        PAIR,
    ),
}


def theory(name: str, kurtosis: float) -> dict[str, np.ndarray]:
    net, start = NETS[name]
    order = one_loop(net, inputs=2 if np.ndim(start) else 1)
    return evaluate(order, K0=start, weight_kurtosis=kurtosis)


def shifts(
    name: str, law: str, draws: int, widths: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficient of 1/N of the mean of C by a straight line, and its error."""
    net, start = NETS[name]
    limit, found = theory(name, 3.0)["C"], []
    for width in widths:
        run = sample(
            net, "layer_covariance", width, draws, K0=start, seed=width, weights=law, progress=False
        )["layer_covariance"]
        found.append((width * (run.mean - limit), width * run.stderr))
    (near, own), (far, other) = found
    return 2 * far - near, np.sqrt(4 * other**2 + own**2)


def worst(name: str, kurtosis: float, sampled: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the largest z-score behind the first block, whose mean is not shifted."""
    mean, error = sampled
    expected = theory(name, kurtosis)["C_mean"]
    return float(np.abs((mean - expected) / error)[1:].max())


@pytest.mark.parametrize("name", NETS)
def test_signs_shift_the_mean_by_their_fourth_cumulant(name: str) -> None:
    sampled = shifts(name, "rademacher", 150_000, NARROW)
    assert worst(name, LAWS["rademacher"].kurtosis, sampled) < 3.5
    assert worst(name, 3.0, sampled) > 6
    assert worst(name, 5.0, sampled) > 12


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_uniform_weights(name: str) -> None:
    sampled = shifts(name, "uniform", 800_000, WIDE)
    assert worst(name, LAWS["uniform"].kurtosis, sampled) < 3.5
    assert worst(name, 3.0, sampled) > 4.5


def test_fluctuations_survive() -> None:
    """N Cov(C) and N Cov(G) of signs are those of Gaussian weights, to leading order."""
    net, start = NETS["one linear"]
    gauss, signs = theory("one linear", 3.0), theory("one linear", 1.0)
    for name in ("C_cov", "G_cov", "K_cov", "validity", "C_mean_tadpole", "C_mean_conditioning"):
        np.testing.assert_array_equal(gauss[name], signs[name])
    for name, spread in (("layer_covariance", "C_cov"), ("kernel", "G_cov")):
        run = sample(net, name, 400, 6000, K0=start, seed=5, weights="rademacher", progress=False)[
            name
        ]
        variance, expected = 400 * run.variance, np.diagonal(gauss[spread])
        error = np.sqrt(3 / run.n) * variance + gauss["validity"].max() / 400 * expected
        assert (np.abs(variance - expected) < 4 * error).all(), name
        # Noise that blocks do not share is refuted by the same samples.
    source = np.diagonal(gauss["C_cov"])[0]
    assert variance[-1] > 2 * source


def test_kurtosis_of_the_outputs() -> None:
    """Outputs of a read-out of signs: 3 Var C + Q, far from 3 Var C."""
    width, draws = 24, 300_000
    net = ResNet(
        Branch(Activation("erf_unit"), Linear(1, 0.1)),
        scale=0.5,
        depth=1,
        read_out=[Activation("erf_unit"), Linear(1, 0)],
    )
    run = sample(
        net, "output_squared", width, draws, K0=1.0, seed=9, weights="rademacher", progress=False
    )["output_squared"]
    squares = float(np.squeeze(run.mean))
    found = width * (float(np.squeeze(run.variance)) / squares**2 - 2)
    error = width * np.sqrt(80 / draws)
    signs, gauss = (
        float(evaluate(one_loop(net), K0=1.0, weight_kurtosis=m)["kurtosis"]) for m in (1.0, 3.0)
    )
    assert abs(found - signs) < 3 * error
    assert abs(found - gauss) > 5 * error


def test_kinks_and_linear_branches_gain_nothing() -> None:
    """Their curvature vanishes, for one input."""
    for branch in (
        Branch(Activation("relu"), Linear(2, 0.1)),
        Branch(Linear(1.3, 0.1)),
        Branch(Linear(1, 0.1), Activation("relu"), Linear(2, 0.1)),
    ):
        net = ResNet(branch, scale=0.7, depth=3)
        one, other = (evaluate(one_loop(net), K0=0.6, weight_kurtosis=m) for m in (3.0, 1.0))
        np.testing.assert_allclose(one["C_mean"], other["C_mean"], rtol=1e-13, atol=1e-15)
        assert other["kurtosis"] < one["kurtosis"]


def test_polynomials_exactly() -> None:
    """phi = x^2 and width 2: every weight averaged by itself, in symbols."""
    weight, bias, start, rho, mu = sp.symbols("s b K0 rho mu", positive=True)
    h, w, shift = sp.symbols("h1 h2"), sp.symbols("w1 w2"), sp.Symbol("t")
    row = (h[0] + rho * (w[0] * h[0] ** 2 + w[1] * h[1] ** 2 + shift)) ** 4

    def averaged(fourth: sp.Expr) -> sp.Expr:
        total = sp.Integer(0)
        variances = dict.fromkeys(w, weight / 2) | {shift: bias} | dict.fromkeys(h, start)
        for powers, coefficient in sp.Poly(sp.expand(row), *variances).terms():
            if any(power % 2 for power in powers):
                continue
            factor = sp.Integer(1)
            for power, (symbol, variance) in zip(powers, variances.items(), strict=True):
                moment = sp.factorial2(power - 1) if symbol not in w or power < 4 else fourth
                factor *= moment * variance ** (power // 2)
            total += coefficient * factor
        return sp.expand(weight * total)

    added = sp.expand(averaged(mu) - averaged(sp.Integer(3)))
    x = sp.Symbol("x")
    net = ResNet(Branch(Activation(x**2), Linear(2, 0)), scale=sp.Rational(1, 2), depth=1)
    given = evaluate(one_loop(net), K0=0.5, weight_kurtosis=1.0)["C_mean_weights"][1]
    values = {weight: 2, bias: 0, start: sp.Rational(1, 2), rho: sp.Rational(1, 2), mu: 1}
    assert given == pytest.approx(2 * float(added.subs(values)), rel=1e-12)
    assert given != 0


def test_statements_and_formulas() -> None:
    net = ResNet(Branch(Linear(), Activation("erf"), Linear()), scale=0.3, depth=3)
    theory_of_net = one_loop(net)
    holds = [statement.holds_for for statement in theory_of_net.weight_laws]
    assert {"independent", "symmetric", "gaussian"} == set(holds)
    names = [formula.name for formula in theory_of_net.weight_formulas]
    assert names == [
        "fourth_cumulant_1",
        "fourth_cumulant_2",
        "weights_1",
        "weights_2",
        "weights_kurtosis",
    ]
    for formula in theory_of_net.weight_formulas[:2]:
        assert formula.rhs.subs(FOURTH_MOMENT, 3) == 0


@pytest.mark.parametrize("wrong", [0.5, -1, "3", True, float("inf"), float("nan"), [3.0], None])
def test_bad_kurtosis(wrong: object) -> None:
    net = NETS["one linear"][0]
    with pytest.raises(HyperparameterError, match="weight_kurtosis"):
        evaluate(one_loop(net), K0=1.0, weight_kurtosis=wrong)
