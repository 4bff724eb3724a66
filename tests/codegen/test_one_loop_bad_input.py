"""The order 1/N where it is asked for what cannot be, or for what is singular."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from heavier import left_to_slow

from resexpand import Activation, Branch, Linear, ResNet, evaluate, kernel, one_loop
from resexpand.errors import DescriptionError, HyperparameterError, UnsupportedError

X = sp.Symbol("x")
VANISHING = [sp.Abs(X), sp.cos(3 * X), sp.Heaviside(X), 2 * sp.tanh(X)]
PAIR = np.array([[1.0, 0.3], [0.3, 1.0]])


def net_of(activation, depth=4, bias=0.05, **options) -> ResNet:
    return ResNet(Branch(Activation(activation), Linear(1.2, bias)), scale=0.3, depth=depth)


@pytest.mark.parametrize("wrong", ["net", None, 3, Branch(Linear(1, 0)), kernel(net_of("erf"))])
def test_not_a_network(wrong: object) -> None:
    with pytest.raises(DescriptionError, match=r"ResNet\(Branch"):
        one_loop(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "100", [100, 200], float("inf"), True])
def test_bad_widths(wrong: object) -> None:
    with pytest.raises(HyperparameterError, match="width"):
        evaluate(one_loop(net_of("erf")), K0=1.0, width=wrong)


@pytest.mark.parametrize(
    ("rate", "start", "fails"),
    left_to_slow(
        [(8, 1.0, True), (8, 0.5, True), (16, 0.5, False), (4, 1.0, True)],
        [(8, 1.0, True), (4, 1.0, True)],
    ),
)
def test_averages_that_do_not_exist(rate: int, start: float, fails: bool) -> None:
    """<phi^4> of exp(x^2/n) exists for variances below n/8."""
    theory = one_loop(net_of(sp.exp(X**2 / rate), depth=4 if start == 0.5 else 1))
    if fails and start >= rate / 8:
        with pytest.raises(UnsupportedError, match=rf"exp\({1 / rate:.4g} x\^2\).*block 1"):
            evaluate(theory, K0=start)
    elif fails:
        # The kernel grows over the edge on the way.
        deep = one_loop(net_of(sp.exp(X**2 / rate), depth=12))
        with pytest.raises(UnsupportedError, match=r"below 1 alone, and block [2-9]"):
            evaluate(deep, K0=start)
    else:
        found = evaluate(theory, K0=start)
        assert np.isfinite(found["C_mean"]).all()
        assert "grows faster than every power" in found.status


def test_no_average_exists() -> None:
    with pytest.raises(UnsupportedError, match=r"faster than any exp.*for no variance"):
        evaluate(one_loop(net_of(sp.exp(X**4))), K0=1e-3)


def test_numbers_that_leave_double_precision() -> None:
    """All averages of exp(x) exist; its kernel grows like a tower of exponentials."""
    found = evaluate(one_loop(net_of(sp.exp(X))), K0=1.0, width=100)
    assert np.isfinite(found["C_mean"][:2]).all()
    assert not np.isfinite(found["C_mean"][-1])
    assert "not finite everywhere, from layer 4 on" in found.status
    assert np.isnan(found["K_width"][2:]).all()


def test_rectifiers_beyond_double_precision() -> None:
    net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=1100)
    found = evaluate(one_loop(net), K0=1.0, width=50)
    assert "left the range of double precision" in found.status
    assert "not valid at width 50" in found.status
    assert np.isfinite(found["K_mean"][:300]).all()


def test_matrices_that_fit_into_no_memory() -> None:
    net = ResNet(Branch(Activation("erf"), Linear(1, 0)), scale=0.1, depth=10**6)
    with pytest.raises(UnsupportedError, match="GB"):
        evaluate(one_loop(net), K0=1.0)


def test_empty_grid() -> None:
    found = evaluate(one_loop(net_of("erf")), K0=np.array([]), width=20)
    assert found["C_cov"].shape == (0, 5, 5)
    assert found["K_width"].shape == (0, 5)


@pytest.mark.parametrize("activation", left_to_slow(VANISHING, VANISHING[2:]))
def test_what_vanishes_does_not_look_unresolved(activation: sp.Expr) -> None:
    """Responses and curvatures that vanish, or nearly so, have an error beside what they change."""
    found = evaluate(one_loop(net_of(activation, bias=0)), K0=1.0)
    assert found.status == "ok"
    assert max(found.quadrature_error.values(), default=0.0) < 1e-9


def test_what_is_not_resolved_does() -> None:
    found = evaluate(one_loop(net_of(sp.tanh(10**4 * X), bias=0)), K0=1.0)
    assert "did not converge" in found.status


def test_quick_sines_are_resolved() -> None:
    """The square of a quick sine has mean 1/2 and variance 1/8, whatever the argument is."""
    found = evaluate(one_loop(net_of(sp.sin(50 * X + 1), bias=0)), K0=1.0)
    C, square = 1.2 / 2, 1.2**2 / 8
    G = 2 + 4 * 0.3**2 * C + 0.3**4 * (2 * C**2 + square)
    assert found.status == "ok"
    np.testing.assert_allclose(np.diag(found["C_cov"]), square, rtol=1e-10)
    assert found["G_cov"][1, 1] == pytest.approx(G, rel=1e-10)
    assert found["G_cov"][1, 1] != pytest.approx(G - 0.3**4 * square, rel=1e-4)


def test_at_a_width() -> None:
    found = evaluate(one_loop(net_of("relu", depth=20)), K0=1.0, width=25)
    beyond = found["relative_error"] > 0.25
    assert beyond.any()
    assert not beyond.all()
    for name, spread in (("K", "G_cov"), ("C", "C_cov")):
        mean, deviation = found[f"{name}_width"], found[f"{name}_deviation"]
        np.testing.assert_array_equal(np.isnan(mean), beyond)
        np.testing.assert_array_equal(np.isnan(deviation), beyond)
        expected = found[name] + found[f"{name}_mean"] / 25
        np.testing.assert_allclose(mean[~beyond], expected[~beyond])
        own = np.sqrt(np.diagonal(found[spread]) / 25)
        np.testing.assert_allclose(deviation[~beyond], own[~beyond])
    assert "layer 15" in found.status


def test_at_a_width_of_two_inputs() -> None:
    found = evaluate(one_loop(net_of("erf"), inputs=2), K0=np.stack([PAIR, 2 * PAIR]), width=100)
    assert found["K_width"].shape == found["K_deviation"].shape == (2, 5, 2, 2)
    variance = found["G_cov"][1, 3, 0, 1, 3, 0, 1]
    assert found["K_deviation"][1, 3, 0, 1] == pytest.approx(np.sqrt(variance / 100))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) for n in ("gelu", "tanh")] + ["erf", "relu"]
)
def test_an_empty_input_beside_another(name: str) -> None:
    """It stays empty without biases, its covariances vanish, and the status is right."""
    empty = np.array([[1.0, 0.0], [0.0, 0.0]])
    found = evaluate(one_loop(net_of(name, bias=0), inputs=2), K0=empty)
    alone = evaluate(one_loop(net_of(name, bias=0)), K0=1.0)
    assert found.status == "ok"
    np.testing.assert_allclose(found["C_mean"][:, 0, 0], alone["C_mean"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found["C_mean"][:, 0, 1], 0, atol=1e-13)
    np.testing.assert_array_equal(found["K"][:, 1, 1], 0)
    np.testing.assert_allclose(
        found["G_cov"][:, 0, 0, :, 0, 0], alone["G_cov"], rtol=1e-9, atol=1e-12
    )
    assert found["validity"][-1] == pytest.approx(alone["validity"][-1], rel=1e-9)


@pytest.mark.slow
def test_variances_beyond_the_quadrature_of_pairs() -> None:
    with pytest.raises(UnsupportedError, match="its quadrature would not end"):
        evaluate(one_loop(net_of(X**3), inputs=2), K0=PAIR)


NEAR = np.array([1e-4, 1e-5, 1e-6, 1e-7])
"""Of inputs with the covariance ``1 - e``: what they differ by is of order ``e``."""


@pytest.mark.parametrize("name", ["relu", "erf", pytest.param(X**2, marks=pytest.mark.slow)])
def test_nearly_equal_inputs(name) -> None:
    """Deviations from equal inputs shrink with the distance, down to rounding."""
    theory, alone = one_loop(net_of(name), inputs=2), evaluate(one_loop(net_of(name)), K0=1.0)
    found = evaluate(theory, K0=np.array([[[1, 1 - e], [1 - e, 1]] for e in NEAR]))
    assert found.status == "ok"
    for key in ("C_mean", "C_cov", "G_cov"):
        own = found[key][:, :, 0, 1] if key == "C_mean" else found[key][:, :, 0, 1, :, 0, 1]
        scale = np.abs(alone[key]).max()
        away = np.abs(own - alone[key]).reshape(len(NEAR), -1).max(axis=1) / scale
        assert (away < 10 * NEAR + 1e-7).all(), (key, away)
        assert away[0] > 1e-6


def test_inputs_that_only_rounding_tells_apart() -> None:
    theory = one_loop(net_of("relu"), inputs=2)
    equal = evaluate(theory, K0=np.ones((2, 2)))
    near = evaluate(theory, K0=np.array([[1, 1 - 1e-12], [1 - 1e-12, 1]]))
    np.testing.assert_allclose(near["C_mean"], equal["C_mean"], rtol=1e-11)
    # On a grid with others, and for multiples of each other, the loss is stated.
    grid = evaluate(theory, K0=np.array([[[1, 1 - 1e-12], [1 - 1e-12, 1]], PAIR]))
    assert "did not converge" in grid.status
    assert np.abs(grid["C_mean"][0] - equal["C_mean"]).max() < 1e-3
    parallel = evaluate(theory, K0=np.array([[[1.0, 2.0], [2.0, 4.0]], PAIR]))
    assert parallel.status == "ok"
