"""Order profiles against exact laws, against the two-scale kernel itself, and against each other.

The oracle for Taylor and chaos profiles never expands anything: it runs the kernel recursion of two
replicas at complex parameters on a circle, with 30 digits, and reads the coefficients off a
discrete Fourier transform.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import comb

import numpy as np
import pytest
import sympy as sp
from heavier import left_to_slow
from mpmath import mp
from scipy.special import erf

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    Dropout,
    LayerNorm,
    Linear,
    ResNet,
    RMSNorm,
    Scale,
    evaluate,
    growth,
    kernel,
    order_profile,
)
from resexpand.conventions import DEPTH, K0, RHO, SIGMA_B2, SIGMA_W2
from resexpand.errors import DescriptionError, HyperparameterError, UnsupportedError

HOMOGENEOUS = {"identity": 1.0, "relu": 0.5, "leaky_relu": 0.50005}
BRANCHES = {
    "W phi": (Activation("erf"), Linear(1.2, 0.1)),
    "V phi W": (Linear(1.3, 0.2), Activation("erf"), Linear(1.1, 0.05)),
    "phi W": (Linear(0.9, 0.3), Activation("erf")),
    "W phi norm": (LayerNorm(0.2, gain=1.3), Activation("erf"), Linear(1.2, 0.1)),
    "W phi norm V": (Linear(1.3, 0.2), RMSNorm(), Scale(0.8), Activation("erf"), Linear(1.1, 0.05)),
}


def linear_net(**hyperparameters: object) -> ResNet:
    law = Linear(hyperparameters.pop("variance", SIGMA_W2), hyperparameters.pop("bias", 0))
    return ResNet(Branch(Activation("identity"), law), **hyperparameters)


# --- exact laws -----------------------------------------------------------------------------------


@pytest.mark.parametrize("basis", ["taylor", "chaos", "paths"])
def test_linear_blocks_follow_the_binomial_law_exactly(basis: str) -> None:
    n = 5
    net = linear_net(scale=RHO, depth=DEPTH)
    layers = order_profile(net, 4, basis).unroll(n)["profile"]
    for layer, profile in enumerate(layers):
        want = [comb(layer, k) * (RHO**2 * SIGMA_W2) ** k * K0 for k in range(5)]
        assert (profile - sp.diag(*want)).expand() == sp.zeros(5, 5)


@pytest.mark.parametrize("basis", ["taylor", "chaos", "paths"])
def test_biases_of_linear_blocks_start_paths(basis: str) -> None:
    # h^2 = (1 + W2)(h^1) + b2: b1, b2 are of order one, W2 b1 is of order two.
    net = linear_net(scale=1, depth=2, bias=SIGMA_B2)
    profile = order_profile(net, 2, basis).unroll(2)["profile"][-1]
    first = SIGMA_W2 * K0 + SIGMA_B2
    assert profile.expand() == sp.diag(K0, 2 * first, SIGMA_W2 * first).expand()


def test_deep_linear_networks_tend_to_the_poisson_law() -> None:
    s2 = 0.7
    poisson = [np.exp(-s2) * s2**k / sp.factorial(k) for k in range(6)]
    recursion = order_profile(linear_net(scale=RHO, depth=DEPTH, variance=s2), 5, "chaos")
    gaps = []
    for n in (1000, 4000):
        values = evaluate(recursion, depth=n, rho=n**-0.5, K0=1.0)
        shares = values["profile"][-1].diagonal() / values["K"][-1]
        gaps.append(max(abs(float(a - b)) for a, b in zip(shares, poisson, strict=True)))
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.01)  # the gap falls like 1/n


@pytest.mark.parametrize("name", left_to_slow(HOMOGENEOUS, ["identity", "relu"]))
def test_path_lengths_of_rectifiers_are_binomial(name: str) -> None:
    net = ResNet(Branch(Activation(name), Linear(1.5, 0)), scale=0.4, depth=7)
    values = evaluate(order_profile(net, 7, "paths"), K0=2.0)
    step = 0.16 * 1.5 * HOMOGENEOUS[name]
    want = [2 * comb(7, k) * step**k for k in range(8)]
    np.testing.assert_allclose(values["profile"][-1].diagonal(), want, rtol=1e-13)
    np.testing.assert_allclose(values["remainder"][-1, -1], 0, atol=1e-14)
    assert values.status == "ok"


# --- the oracle -----------------------------------------------------------------------------------


def erf_average(k11: mp.mpc, k12: mp.mpc, k22: mp.mpc) -> mp.mpc:
    q = 2
    return 2 / mp.pi * mp.asin(q * k12 / mp.sqrt((1 + q * k11) * (1 + q * k22)))


class Pair:
    """Second moments 11, 12, 22 and means of two replicas, carried through erf branches."""

    def __init__(self, branch: tuple[object, ...], rho: mp.mpf, start: mp.mpf):
        self.branch, self.rho, self.start = branch, rho, start

    def overlap(self, depth: int, scales: tuple[mp.mpc, mp.mpc], shared: mp.mpc) -> mp.mpc:
        """h.h'/N for the given factors of the scales and correlation of the weights."""
        k = [self.start] * 3
        factors = [scales[0] ** 2, scales[0] * scales[1], scales[1] ** 2]
        for _ in range(depth):
            f = list(k)
            for op in self.branch:
                if isinstance(op, Linear):
                    w, b = (
                        mp.mpf(str(sp.N(v, 30))) for v in (op.weight_variance, op.bias_variance)
                    )
                    f = [w * v + b for v in f]
                    f[1] *= shared
                elif isinstance(op, Scale):
                    f = [v * float(op.factor) ** 2 for v in f]
                elif not isinstance(op, Activation):
                    eps, gain = (mp.mpf(str(sp.N(v, 30))) for v in (op.eps, op.gain))
                    one, other = gain / mp.sqrt(f[0] + eps), gain / mp.sqrt(f[2] + eps)
                    f = [f[0] * one**2, f[1] * one * other, f[2] * other**2]
                else:
                    f = [
                        erf_average(f[0], f[0], f[0]),
                        erf_average(*f),
                        erf_average(f[2], f[2], f[2]),
                    ]
            k = [v + self.rho**2 * c * g for v, c, g in zip(k, factors, f, strict=True)]
        return k[1]


def coefficients(
    function: Callable[[mp.mpc], mp.mpc], count: int, radius: float, points: int = 32
) -> list[mp.mpc]:
    """Taylor coefficients from values on a circle."""
    circle = [mp.expjpi(mp.mpf(2 * m) / points) for m in range(points)]
    values = [function(radius * z) for z in circle]
    return [
        mp.fsum(v * z**-k for v, z in zip(values, circle, strict=True))
        / points
        / mp.mpf(radius) ** k
        for k in range(count)
    ]


@pytest.mark.parametrize("name", left_to_slow(BRANCHES, ["phi W", "W phi norm"]))
def test_taylor_profile_and_remainder_against_the_two_scale_kernel(name: str) -> None:
    order, depth = 4, 3
    net = ResNet(Branch(*BRANCHES[name]), scale=0.4, depth=depth)
    values = evaluate(order_profile(net, order, remainder=True), K0=0.8)
    with mp.workdps(30):
        pair = Pair(BRANCHES[name], mp.mpf("0.4"), mp.mpf("0.8"))

        def row(lam: mp.mpc) -> list[mp.mpc]:
            # radius 0.3 with 32 points: aliasing below 1e-15
            return coefficients(lambda mu: pair.overlap(depth, (lam, mu), 1), order + 1, 0.3)

        points = 16
        circle = [mp.expjpi(mp.mpf(2 * m) / points) for m in range(points)]
        rows = [row(mp.mpf("0.1") * z) for z in circle]
        want = np.array(
            [
                [
                    float(
                        mp.re(
                            mp.fsum(r[k] * z**-j for r, z in zip(rows, circle, strict=True))
                            / points
                            / mp.mpf("0.1") ** j
                        )
                    )
                    for k in range(order + 1)
                ]
                for j in range(order + 1)
            ]
        )
        crossed = [float(mp.re(c)) for c in row(mp.mpf(1))]
    np.testing.assert_allclose(values["profile"][-1], want, atol=2e-12)
    whole = float(values["K"][-1])
    rest = [
        whole - 2 * sum(crossed[: k + 1]) + want[: k + 1, : k + 1].sum() for k in range(order + 1)
    ]
    np.testing.assert_allclose(values["remainder"][-1], rest, atol=2e-12)
    assert values.status == "ok"


@pytest.mark.parametrize("name", left_to_slow(BRANCHES, ["phi W", "W phi norm"]))
def test_chaos_profile_against_correlated_weights(name: str) -> None:
    order, depth = 5, 4
    net = ResNet(Branch(*BRANCHES[name]), scale=0.7, depth=depth)
    values = evaluate(order_profile(net, order, "chaos"), K0=0.5)
    with mp.workdps(30):
        pair = Pair(BRANCHES[name], mp.mpf("0.7"), mp.mpf("0.5"))
        found = coefficients(lambda p: pair.overlap(depth, (1, 1), p), order + 1, 0.2)
        want = [float(mp.re(c)) for c in found]
    np.testing.assert_allclose(values["profile"][-1].diagonal(), want, atol=1e-13)
    assert np.all(values["remainder"] > -1e-14)
    assert np.all(np.diff(values["remainder"][-1]) < 1e-14)  # orthogonal: each order takes its part


def test_orders_of_normalised_networks_against_networks() -> None:
    """T_k is read off networks at complex scales on a circle inside the radius of convergence.

    The norm frozen at the kernel of the network, as in the chaos and path profiles, is the control.
    """
    net = ResNet(Branch(LayerNorm(), Activation("erf"), Linear(1, 0)), scale=0.7, depth=3)
    width, draws, points, factor = 200, 60, 16, 0.4
    assert growth(net).radius.rhs.subs(K0, 1) > 2 * factor
    rng = np.random.default_rng(4)
    circle = factor * np.exp(2j * np.pi * np.arange(points) / points)[:, None]
    rows = []
    for _ in range(draws):
        h = np.broadcast_to(rng.normal(size=width), (points, width)).astype(complex)
        for _ in range(3):
            weights = rng.normal(size=(width, width)) / width**0.5
            centred = h - h.mean(axis=1, keepdims=True)
            normed = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True))
            h = h + 0.7 * circle * (erf(normed) @ weights.T)
        orders = (np.fft.fft(h, axis=0).real / points)[:4] / factor ** np.arange(4)[:, None]
        rows.append(orders @ orders.T / width)
    mean, error = np.mean(rows, axis=0), np.std(rows, axis=0) / draws**0.5
    values = evaluate(order_profile(net, 3), K0=1.0)["profile"][-1]
    # Finite widths move the means by O(1/N), below a fifth of these errors.
    assert np.abs((mean - values) / error)[np.triu_indices(4)].max() < 4
    frozen = evaluate(order_profile(net, 3, "chaos"), K0=1.0)["profile"][-1]
    assert np.abs((mean - frozen) / error)[1, 1] > 10


def test_paths_through_normalised_rectifiers_against_networks() -> None:
    net = ResNet(Branch(RMSNorm(0.3), Activation("relu"), Linear(2, 0.1)), scale=0.8, depth=3)
    width, draws = 200, 60
    rng = np.random.default_rng(5)
    rows = []
    for _ in range(draws):
        paths = np.zeros((4, width))
        paths[0] = rng.normal(size=width)
        for _ in range(3):
            h = paths.sum(axis=0)
            gated = paths * (h > 0) / np.sqrt((h**2).mean() + 0.3)
            image = gated @ rng.normal(size=(width, width)).T * (2 / width) ** 0.5
            image[0] += 0.1**0.5 * rng.normal(size=width)
            paths[1:] += 0.8 * image[:-1]
        rows.append(paths @ paths.T / width)
    mean, error = np.mean(rows, axis=0), np.std(rows, axis=0) / draws**0.5
    values = evaluate(order_profile(net, 3, "paths"), K0=1.0)
    z = (mean - values["profile"][-1])[1:, 1:] / error[1:, 1:]
    assert np.abs(z).max() < 4
    assert np.trace(values["profile"][-1]) == pytest.approx(values["K"][-1], rel=1e-13)
    bare = ResNet(Branch(Activation("relu"), Linear(2, 0.1)), scale=0.8, depth=3)
    wrong = evaluate(order_profile(bare, 3, "paths"), K0=1.0)["profile"][-1]
    assert np.abs((mean - wrong)[1:, 1:] / error[1:, 1:]).max() > 20


def test_a_normalised_identity_is_exact_in_every_basis() -> None:
    # h^2 = h^1 + W2 h^1 / s1 with s1^2 = K0 + (K0/K0 = 1) is the path sum at scales 1/s_l.
    net = ResNet(Branch(RMSNorm(), Linear(1, 0)), scale=1, depth=2)
    paths = order_profile(net, 2, "paths").unroll(2)["profile"][-1].applyfunc(sp.simplify)
    second = K0 / (K0 + 1)
    assert sp.simplify(paths - sp.diag(K0, 1 + second, 1 / (K0 + 1))) == sp.zeros(3, 3)
    chaos = order_profile(net, 2, "chaos").unroll(2)["profile"][-1]
    assert sp.simplify(chaos - paths) == sp.zeros(3, 3)


@pytest.mark.parametrize(
    ("branch", "options", "said"),
    [
        ((Linear(1, 0), Activation("erf"), LayerNorm(), Linear(1, 0)), {}, "a mean"),
        ((RMSNorm(), Linear(1, 0), Activation("erf")), {}, "ends in Linear"),
        ((Activation("erf"), Linear(1, 0)), {"post_norm": LayerNorm()}, "rescales all orders"),
        ((BatchNorm(), Activation("erf"), Linear(1, 0)), {}, "states no law"),
        ((Activation("erf"), Dropout(0.5), Linear(1, 0)), {}, "without the noise"),
    ],
)
def test_where_orders_are_not_derived(branch: tuple, options: dict, said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        order_profile(ResNet(Branch(*branch), scale=1, depth=2, **options), 2)


def test_a_wrong_coefficient_is_caught() -> None:
    net = ResNet(Branch(Activation("erf"), Linear(1.2, 0.1)), scale=0.4, depth=3)
    good = order_profile(net, 3)
    spoilt = replace(
        good,
        constants=tuple((s, 2 * v if s.name == "moment_0_2" else v) for s, v in good.constants),
    )
    right, wrong = (evaluate(r, K0=0.8)["profile"][-1] for r in (good, spoilt))
    assert abs(right[1, 3] - wrong[1, 3]) > 1e-3
    np.testing.assert_array_equal(right[:3, :3], wrong[:3, :3])


# --- other activations ----------------------------------------------------------------------------


@pytest.mark.slow
def test_quadrature_agrees_with_polynomial_moments() -> None:
    # phi = x - x^3/10: the averages are polynomials in the variance, by Isserlis' theorem.
    x = sp.Symbol("x")
    net = ResNet(Branch(Activation(x - x**3 / 10), Linear(1, 0)), scale=1, depth=2)
    values = evaluate(order_profile(net, 3), K0=0.5)
    lam, mu = sp.symbols("lam mu")

    def overlap(a: sp.Expr, c: sp.Expr, b: sp.Expr) -> sp.Expr:
        cubic = 9 * a * b * c + 6 * c**3
        return c - (3 * c * a + 3 * c * b) / 10 + cubic / 100

    half = sp.Rational(1, 2)
    first = overlap(half, half, half)
    second = overlap(half + lam**2 * first, half + lam * mu * first, half + mu**2 * first)
    poly = sp.Poly(sp.expand(half + lam * mu * first + lam * mu * second), lam, mu)
    want = [[float(poly.coeff_monomial(lam**j * mu**k)) for k in range(4)] for j in range(4)]
    np.testing.assert_allclose(values["profile"][-1], want, atol=1e-12)


@pytest.mark.parametrize("name", left_to_slow(["relu", "tanh"], ["tanh"]))
def test_degrees_sum_to_the_kernel(name: str) -> None:
    net = ResNet(Branch(Activation(name), Linear(1, 0.1)), scale=0.3, depth=3)
    values = evaluate(order_profile(net, 6, "chaos"), K0=1.0)
    np.testing.assert_allclose(values["K"], evaluate(kernel(net), K0=1.0)["K"], rtol=1e-12)
    assert np.all(values["profile"][-1].diagonal() > 0)
    # relu is not analytic at coinciding replicas: its degrees fall like a power, not geometrically
    assert 0 < values["remainder"][-1, -1] < {"relu": 5e-4, "tanh": 1e-6}[name]
    assert values.status == "ok"


def test_one_scale_per_block_and_a_grid() -> None:
    scales = (0.2, 0.5, 0.3)
    blocks = ResNet(Branch(Activation("erf"), Linear(1, 0)), scale=scales, depth=3)
    profile = evaluate(order_profile(blocks, 2), K0=np.array([0.5, 1.0]))["profile"]
    assert profile.shape == (2, 4, 3, 3)
    variance = 2 / np.pi * np.arcsin(2 * np.array([0.5, 1.0]) / (1 + 2 * np.array([0.5, 1.0])))
    np.testing.assert_allclose(
        profile[:, -1, 1, 1], variance * np.sum(np.square(scales)), rtol=1e-14
    )


def test_symbolic_at_small_depth() -> None:
    net = ResNet(Branch(Activation("sin"), Linear()), scale=RHO, depth=DEPTH)
    profile = order_profile(net, 2).unroll(2)["profile"][-1]
    first = RHO**2 * (SIGMA_W2 * sp.exp(-K0) * sp.sinh(K0) + SIGMA_B2)
    slope = SIGMA_W2 * sp.exp(-K0) * sp.cosh(K0)
    rewritten = (profile[1, 1] - 2 * first).rewrite(sp.exp)
    assert sp.simplify(rewritten.expand()) == 0
    assert sp.simplify((profile[2, 2] - RHO**2 * slope * first).rewrite(sp.exp).expand()) == 0


# --- what cannot be asked -------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0, -1, 13, 2.0, True, "2"])
def test_orders_that_do_not_exist(order: object) -> None:
    with pytest.raises(HyperparameterError, match="order"):
        order_profile(linear_net(scale=1, depth=2), order)


def test_orders_may_be_integers_of_numpy_or_sympy() -> None:
    net = linear_net(scale=1, depth=2)
    for order in (np.int64(2), sp.Integer(2)):
        assert order_profile(net, order).update == order_profile(net, 2).update


@pytest.mark.parametrize("basis", ["taylor", "chaos", "paths"])
def test_what_is_no_network(basis: str) -> None:
    with pytest.raises(DescriptionError, match="str"):
        order_profile("erf", 2, basis)


def test_bases_that_do_not_exist() -> None:
    relu = ResNet(Branch(Activation("relu"), Linear()), scale=1, depth=2)
    with pytest.raises(UnsupportedError, match="gated path sum"):
        order_profile(relu, 2)
    with pytest.raises(HyperparameterError, match="fourier"):
        order_profile(relu, 2, "fourier")
    smooth = ResNet(Branch(Activation("erf"), Linear()), scale=1, depth=2)
    with pytest.raises(UnsupportedError, match="two slopes"):
        order_profile(smooth, 2, "paths")
    ending = ResNet(Branch(Linear(), Activation("relu")), scale=1, depth=2)
    with pytest.raises(UnsupportedError, match="ends in an activation"):
        order_profile(ending, 2, "paths")
    with pytest.raises(HyperparameterError, match="kappa_1_1"):
        order_profile(linear_net(scale=sp.Symbol("kappa_1_1"), depth=2), 1)
