"""The order 1/N in numbers: solvable networks to rounding, a second computation with full matrices,
and what must not depend on how it is asked."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from oracles import PHI, PLANE, line_average, plane_average

from resexpand import Activation, Branch, Linear, ResNet, evaluate, one_loop
from resexpand.errors import HyperparameterError, UnsupportedError

X = sp.Symbol("x")
PAIR = np.array([[0.7, 0.2], [0.2, 1.1]])
SMALL = sp.Symbol("e", positive=True)
"""1/N."""


def first_order(expression: sp.Expr) -> float:
    return float(sp.diff(expression, SMALL).subs(SMALL, 0))


def linear(bias: float, depth: int = 4, **options) -> ResNet:
    return ResNet(Branch(Linear(1.3, bias)), scale=0.4, depth=depth, **options)


def test_linear_networks_without_bias() -> None:
    """G^L = G^0 prod Q with E Q^2 = (1 + a^2)^2 + (4 a^2 + 2 a^4)/N, G^0 = K^0 chi^2_N/N."""
    values = evaluate(one_loop(linear(0)), K0=0.7)
    a2 = sp.Rational(16, 100) * sp.Rational(13, 10)
    square = (1 + a2) ** 2 + (4 * a2 + 2 * a2**2) * SMALL
    start = sp.Rational(49, 100) * (1 + 2 * SMALL)
    for layer in range(5):
        exact = first_order(start * square**layer)
        assert values["G_cov"][layer, layer] == pytest.approx(exact, rel=1e-14)
        crossed = first_order(start * square**layer * (1 + a2) ** (4 - layer))
        assert values["G_cov"][layer, 4] == pytest.approx(crossed, rel=1e-14)
    assert not values["K_mean"].any()
    assert not values["C_mean"].any()


def test_linear_networks_with_bias() -> None:
    values = evaluate(one_loop(linear(0.3)), K0=0.7)
    r, w, b = sp.Rational(16, 100), sp.Rational(13, 10), sp.Rational(3, 10)
    p, m1 = 1 + r * w, sp.Rational(7, 10)
    m2 = m1**2 * (1 + 2 * SMALL)
    for layer in range(5):
        exact = first_order(m2 - m1**2)
        assert values["G_cov"][layer, layer] == pytest.approx(exact, rel=1e-14)
        own = w**2 * m2 + 2 * w * b * m1 + b**2
        grown = p**2 * m2 + 2 * p * r * b * m1 + r**2 * b**2
        m2 = grown + SMALL * (4 * r * (w * m2 + b * m1) + 2 * r**2 * own)
        m1 = p * m1 + r * b
    assert not values["K_mean"].any()


@pytest.mark.parametrize("bias", [0, 0.3])
def test_pairs_of_a_linear_network(bias: float) -> None:
    """Sums and differences of inputs are inputs of a linear network."""
    net = linear(bias if bias == 0 else 0)
    values = evaluate(one_loop(net, inputs=2), K0=PAIR)
    total = PAIR.sum()
    alone = evaluate(one_loop(net), K0=total)["G_cov"]
    np.testing.assert_allclose(values["G_cov"].sum(axis=(1, 2, 4, 5)), alone, rtol=1e-13)
    alone = evaluate(one_loop(net), K0=total)["C_cov"]
    np.testing.assert_allclose(values["C_cov"].sum(axis=(1, 2, 4, 5)), alone, rtol=1e-13)


def test_rectifiers_in_the_middle() -> None:
    """V relu(W h): |h|^2 is a chain, E Q^2 = 1 + (N+2)c/N + (N+2)(N+5)c^2/(4N^2)."""
    net = ResNet(Branch(Linear(1.3, 0), Activation("relu"), Linear(0.9, 0)), scale=0.6, depth=3)
    values = evaluate(one_loop(net), K0=1.0)
    c = sp.Rational(36, 100) * sp.Rational(13, 10) * sp.Rational(9, 10)
    square = 1 + (1 + 2 * SMALL) * c + (1 + 2 * SMALL) * (1 + 5 * SMALL) * c**2 / 4
    for layer in range(4):
        exact = first_order((1 + 2 * SMALL) * square**layer)
        assert values["G_cov"][layer, layer] == pytest.approx(exact, rel=1e-13)
    np.testing.assert_allclose(values["K_mean"], 0, atol=1e-15)


def test_signs() -> None:
    """G^L = K^L chi^2_N/N, and the Gram matrices do not fluctuate."""
    net = ResNet(Branch(Activation("sign"), Linear(1.3, 0.2)), scale=0.6, depth=3)
    values = evaluate(one_loop(net), K0=1.0)
    own = np.minimum.outer(values["K"], values["K"])
    np.testing.assert_allclose(values["G_cov"], 2 * own**2, rtol=1e-14)
    assert not values["C_cov"].any()
    assert values["kurtosis"] == 0


@pytest.mark.parametrize("name", ["erf", "relu", pytest.param("tanh", marks=pytest.mark.slow)])
def test_one_block(name: str) -> None:
    """N Var C^1 = s^2 Var f, exactly at every width; its mean is not corrected."""
    net = ResNet(Branch(Activation(name), Linear(1.3, 0.2)), scale=0.6, depth=1)
    values = evaluate(one_loop(net), K0=0.8)
    mean, square = (
        plane_average(lambda x, _, n=n: PLANE[name](x) ** n, (0.8, 0, 1)) for n in (2, 4)
    )
    assert values["C_cov"][0, 0] == pytest.approx(1.69 * (square - mean**2), rel=1e-11)
    assert values["C_mean"][0] == values["K_mean"][1] == 0


def _of_erf(x):
    slope = 2 / np.sqrt(np.pi) * np.exp(-(x**2))
    return slope * (slope - 2 * x * PLANE["erf"](x))


BENT = {"erf": _of_erf, "tanh": lambda x: (1 - np.tanh(x) ** 2) * (1 - 3 * np.tanh(x) ** 2)}
"""Half of the second derivative of the square."""


def by_matrices(name: str, variance: float, scale: float, depth: int) -> dict[str, np.ndarray]:
    """The algorithm with full matrices and plain quadrature, weight variance 1.3, bias 0.2."""
    net = ResNet(Branch(Activation(name), Linear(1.3, 0.2)), scale=scale, depth=depth)
    f = lambda x: PLANE[name](x) ** 2  # noqa: E731

    bent = BENT[name]
    kernels, grams = [variance], []
    for _ in range(depth + 1):
        average = float(line_average(lambda x: PHI[name](x) ** 2, kernels[-1], digits=20))
        grams.append(1.3 * average + 0.2)
        kernels.append(kernels[-1] + scale**2 * grams[-1])
    squares = np.array(one_loop(net).mixing(depth).applyfunc(lambda e: e**2), float)[:, 1:]
    size = depth + 1

    def pair(g, h, a, b):
        cov = (kernels[a], kernels[min(a, b)], kernels[b])
        if a == b:
            both = plane_average(lambda x, _: g(x) * h(x), (cov[0], 0, 1))
        else:
            both = plane_average(lambda x, y: g(x) * h(y), cov)
        means = [
            plane_average(lambda x, _, u=u: u(x), (k, 0, 1)) for u, k in ((g, cov[0]), (h, cov[2]))
        ]
        return both - means[0] * means[1]

    def weighted(k, hermite):
        return plane_average(lambda x, _: f(x) * hermite(x / np.sqrt(k)), (k, 0, 1))

    read = kernels[:size]
    slopes = [1.3 * weighted(k, lambda z: z**2 - 1) / (2 * k) for k in read]
    curvatures = [1.3 * weighted(k, lambda z: z**4 - 6 * z**2 + 3) / (4 * k**2) for k in read]
    source = np.array([[1.69 * pair(f, f, a, b) for b in range(size)] for a in range(size)])
    response = np.linalg.inv(np.eye(size) - np.diag(slopes) @ squares)
    kernel = squares @ response
    spread = kernel @ source @ kernel.T
    tadpole = 0.5 * np.array(curvatures) * np.diag(spread)
    conditioning = np.array(
        [sum(1.69 * pair(bent, f, a, k) * kernel[a, k] for k in range(a)) for a in range(size)]
    )
    return {
        "C_cov": response @ source @ response.T,
        "K_cov": spread,
        "C_mean_tadpole": response @ tadpole,
        "C_mean_conditioning": response @ conditioning,
    }


@pytest.mark.parametrize("name", ["erf", pytest.param("tanh", marks=pytest.mark.slow)])
def test_against_full_matrices(name: str) -> None:
    net = ResNet(Branch(Activation(name), Linear(1.3, 0.2)), scale=1.0, depth=3)
    values, expected = evaluate(one_loop(net), K0=0.6), by_matrices(name, 0.6, 1.0, 3)
    for key, value in expected.items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(values[key], value, atol=1e-11 * scale, rtol=0, err_msg=key)
    total = values["C_mean_tadpole"] + values["C_mean_conditioning"]
    np.testing.assert_allclose(values["C_mean"], total, rtol=1e-14)
    # Without the covariances between layers nothing fits.
    assert np.abs(np.diag(np.diag(values["C_cov"])) - expected["C_cov"]).max() > 0.05


BRANCHES = {
    "erf": Branch(Activation("erf"), Linear(1.2, 0.05)),
    "relu": Branch(Activation("relu"), Linear(1.2, 0.05)),
    "leaky": Branch(Activation("leaky_relu"), Linear(1.2, 0)),
    "two linears": Branch(Linear(1.1, 0.1), Activation("erf"), Linear(1.2, 0.05)),
    "two activations": Branch(
        Activation("relu"), Linear(1.1, 0.1), Activation("erf"), Linear(1.2, 0.05)
    ),
}


def network(name: str, scale=(0.4, 0.7, 0.3)) -> ResNet:
    """One shape for all, so that little is compiled."""
    branch = BRANCHES[name]
    return ResNet(branch, scale=scale, read_out=branch.followed_by(Linear(1.7, 0.2)))


QUICK = ("erf",)


@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in BRANCHES],
)
def test_each_of_two_inputs_is_one_input(name: str) -> None:
    net = network(name)
    pair = evaluate(one_loop(net, inputs=2), K0=PAIR)
    for i in range(2):
        alone = evaluate(one_loop(net), K0=PAIR[i, i])
        for key in ("K", "C", "K_mean", "C_mean", "C_mean_tadpole"):
            np.testing.assert_allclose(pair[key][:, i, i], alone[key], rtol=1e-12, atol=1e-15)
        for key in ("K_cov", "C_cov", "G_cov"):
            np.testing.assert_allclose(pair[key][:, i, i, :, i, i], alone[key], rtol=1e-12)
        assert pair["kurtosis"][i] == pytest.approx(alone["kurtosis"], rel=1e-12)
    for key in ("C_mean", "K_mean"):
        np.testing.assert_array_equal(pair[key], pair[key].swapaxes(1, 2))
    swapped = evaluate(one_loop(net, inputs=2), K0=PAIR[::-1, ::-1])
    np.testing.assert_allclose(swapped["C_mean"], pair["C_mean"][:, ::-1, ::-1], rtol=1e-11)
    assert pair.status == "ok"


def test_three_inputs_are_their_pairs() -> None:
    net = network("erf")
    K0 = np.array([[0.7, 0.2, 0.1], [0.2, 1.1, -0.3], [0.1, -0.3, 0.9]])
    three = evaluate(one_loop(net, inputs=3), K0=K0)
    for chosen in ([0, 1], [0, 2], [1, 2]):
        two = evaluate(one_loop(net, inputs=2), K0=K0[np.ix_(chosen, chosen)])
        part = three["C_mean"][:, chosen][:, :, chosen]
        np.testing.assert_allclose(part, two["C_mean"], rtol=1e-12)
        part = three["four_point"][np.ix_(chosen, chosen, chosen, chosen)]
        np.testing.assert_allclose(part, two["four_point"], rtol=1e-12)
    # All index pairs of the four-point function may be exchanged.
    four = three["four_point"]
    np.testing.assert_allclose(four, four.transpose(1, 3, 0, 2), rtol=1e-12)


@pytest.mark.parametrize("name", ["erf", pytest.param("relu", marks=pytest.mark.slow)])
def test_singular_kernels(name: str) -> None:
    net = network(name)
    alone = evaluate(one_loop(net), K0=0.7)
    equal = evaluate(one_loop(net, inputs=2), K0=np.full((2, 2), 0.7))
    for key in ("C_mean", "K_mean"):
        np.testing.assert_array_equal(equal[key], np.repeat(alone[key], 4).reshape(4, 2, 2))
    assert equal["G_cov"].shape == (4, 2, 2, 4, 2, 2)
    empty = evaluate(one_loop(net, inputs=2), K0=np.diag([0.7, 0.0]))
    np.testing.assert_allclose(empty["C_mean"][:, 0, 0], alone["C_mean"], rtol=1e-12)
    twice = evaluate(one_loop(net, inputs=2), K0=[[0.7, 1.4], [1.4, 2.8]])
    np.testing.assert_allclose(twice["C_mean"][:, 0, 0], alone["C_mean"], rtol=1e-12)
    for values in (equal, empty, twice):
        assert values.status == "ok"
        assert all(np.isfinite(value).all() for value in values.values())


@pytest.mark.slow
def test_parallel_inputs_of_a_homogeneous_network() -> None:
    """Without bias a rectifier network takes 2x to twice what it takes x to."""
    net = ResNet(BRANCHES["leaky"], scale=[0.4, 0.7, 0.3])
    values = evaluate(one_loop(net, inputs=2), K0=[[0.7, 1.4], [1.4, 2.8]])
    factor = np.array([[1, 2], [2, 4]])
    for key in ("C_mean", "K_mean"):
        expected = values[key][:, :1, :1] * factor
        np.testing.assert_allclose(values[key], expected, rtol=1e-9, atol=1e-15)


@pytest.mark.slow
def test_nearly_equal_inputs_are_close_to_equal_ones() -> None:
    net = network("relu")
    equal = evaluate(one_loop(net, inputs=2), K0=np.full((2, 2), 0.7))
    near = evaluate(one_loop(net, inputs=2), K0=[[0.7, 0.7 - 1e-7], [0.7 - 1e-7, 0.7]])
    np.testing.assert_allclose(near["C_mean"], equal["C_mean"], rtol=2e-3)


def test_grids() -> None:
    rho, weight = sp.Symbol("rho", real=True), sp.Symbol("s", positive=True)
    net = ResNet(Branch(Activation("relu"), Linear(weight, 0.1)), scale=rho, depth=sp.Symbol("L"))
    given = {"rho": np.array([[0.1], [0.6]]), "s": np.array([0.5, 1.0, 2.0]), "depth": 4}
    whole = evaluate(one_loop(net), K0=0.7, **given)
    assert whole["C_cov"].shape == (2, 3, 5, 5)
    assert whole["kurtosis"].shape == (2, 3)
    one = evaluate(one_loop(net), K0=0.7, rho=0.6, s=2.0, depth=4)
    np.testing.assert_allclose(whole["G_cov"][1, 2], one["G_cov"], rtol=1e-14)


@pytest.mark.slow
def test_grids_of_pairs() -> None:
    rho, weight = sp.Symbol("rho", real=True), sp.Symbol("s", positive=True)
    net = ResNet(Branch(Activation("relu"), Linear(weight, 0.1)), scale=rho, depth=sp.Symbol("L"))
    given = {"rho": np.array([[0.1], [0.6]]), "s": np.array([0.5, 1.0, 2.0]), "depth": 4}
    pairs = evaluate(one_loop(net, inputs=2), K0=PAIR, **given)
    assert pairs["C_mean"].shape == (2, 3, 5, 2, 2)
    one = evaluate(one_loop(net, inputs=2), K0=PAIR, rho=0.6, s=2.0, depth=4)
    np.testing.assert_allclose(pairs["C_cov"][1, 2], one["C_cov"], rtol=1e-14)


def test_still_networks() -> None:
    net = network("erf", (0, 0, 0))
    values = evaluate(one_loop(net), K0=0.7)
    assert not values["K_cov"].any()
    np.testing.assert_allclose(values["G_cov"], 2 * 0.49)


def test_validity() -> None:
    net = ResNet(BRANCHES["relu"], scale=0.8, depth=20)
    theory = one_loop(net)
    values = evaluate(theory, K0=1.0, width=1000)
    np.testing.assert_allclose(values["relative_error"], values["validity"] / 1000)
    np.testing.assert_allclose(
        values["validity"], np.diag(values["G_cov"]) / values["K"] ** 2, rtol=1e-14
    )
    assert values.status == "ok"
    beyond = evaluate(theory, K0=1.0, width=20)
    assert "not valid at width 20 from layer" in beyond.status
    needed = int(beyond.status.rsplit(" ", 1)[1])
    assert evaluate(theory, K0=1.0, width=needed).status == "ok"
    assert evaluate(theory, K0=1.0, width=needed - 1).status != "ok"
    assert evaluate(theory, K0=1.0).status == "ok"


@pytest.mark.parametrize(("share", "depth"), [(0.05, 5), (0.05, 20), (0.2, 20), (1.0, 10)])
@pytest.mark.parametrize("width", [200, 2000])
def test_the_next_order_is_as_large_as_stated(share: float, depth: int, width: int) -> None:
    """Linear networks are exact at every width: what is neglected is 0.2 to 0.5 of v/N."""
    net = ResNet(Branch(Linear(1, 0)), scale=np.sqrt(share), depth=depth)
    values = evaluate(one_loop(net), K0=1.0, width=width)
    square = (1 + share) ** 2 + (4 * share + 2 * share**2) / width
    exact = (1 + 2 / width) * square**depth - (1 + share) ** (2 * depth)
    first = values["G_cov"][-1, -1] / width
    neglected = (exact - first) / first
    assert 0.2 < neglected / values["relative_error"][-1] < 0.5


@pytest.mark.parametrize("width", [0, -3, 2.5, "wide", True])
def test_widths_that_are_none(width) -> None:
    with pytest.raises(HyperparameterError, match="positive integer"):
        evaluate(one_loop(linear(0)), K0=1.0, width=width)


def test_what_cannot_be_asked() -> None:
    with pytest.raises(UnsupportedError, match="ends in an activation"):
        one_loop(ResNet(Branch(Linear(), Activation("relu")), scale=1, depth=2))
    for inputs in (0, -1, 1.5, "two", True):
        with pytest.raises(HyperparameterError, match="positive integer"):
            one_loop(linear(0), inputs=inputs)
    clipped = Branch(Activation(sp.Max(-1, sp.Min(1, X))), Linear(1, 0))
    with pytest.raises(UnsupportedError, match="delta functions"):
        evaluate(one_loop(ResNet(clipped, scale=1, depth=1), inputs=2), K0=PAIR)
    with pytest.raises(HyperparameterError, match="theory is of 2"):
        evaluate(one_loop(linear(0), inputs=2), K0=np.eye(3))


@pytest.mark.slow
def test_activations_by_expression() -> None:
    """An expression is treated as the registered activation that it equals."""
    for name, expression in (
        ("erf", 2 * sp.erf(X)),
        ("relu", 2 * sp.Max(X, 0)),
        ("sin", 2 * sp.sin(X)),
    ):
        plain = ResNet(Branch(Activation(name), Linear(4, 0.1)), scale=0.4, depth=2)
        double = ResNet(Branch(Activation(expression), Linear(1, 0.1)), scale=0.4, depth=2)
        first, second = (evaluate(one_loop(net), K0=0.7) for net in (plain, double))
        for key in ("C_mean", "C_cov"):
            np.testing.assert_allclose(first[key], second[key], rtol=1e-9, atol=1e-13)
