"""The kernel of two layers: limits, an independent evaluation, closed forms, refusals."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import sympy as sp
from heavier import left_to_slow

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    Dropout,
    FractionalBrownian,
    LayerMatrix,
    LayerNorm,
    Linear,
    Markov,
    ResNet,
    Smooth,
    compile_routine,
    evaluate,
    exact_moments,
    gradient_moments,
    growth,
    kernel,
    one_loop,
    optimal_scale,
    order_profile,
    response,
    tangent_kernel,
    to_latex,
    variance_shift,
)
from resexpand.errors import HostMemoryError, UnsupportedError
from resexpand.numbers.layer_kernel import back, forward

DEPTH = 5
TRIPLE = [[1, 0.3, 0.2], [0.3, 0.8, -0.4], [0.2, -0.4, 0.9]]
BRANCHES = {
    "res-1 relu": Branch(Activation("relu"), Linear(2, 0.1)),
    "res-1 erf": Branch(Activation("erf"), Linear(1.3, 0)),
    "res-3 relu": Branch(Linear(1.2, 0.05), Activation("relu"), Linear(2, 0)),
    "norm": Branch(LayerNorm(eps=0.1), Activation("erf"), Linear(1.3, 0.2)),
    "quadrature": Branch(Activation("tanh"), Linear(1.3, 0.1)),
}


SLOW = {"quadrature": pytest.mark.slow, "norm": pytest.mark.slow}
"""The same law, for branches that take longer to compile."""


@pytest.mark.parametrize(
    ("name", "read_out"),
    [
        *(pytest.param(name, None, marks=SLOW.get(name, ())) for name in BRANCHES),
        ("res-1 relu", Linear(0.7, 0.1)),
    ],
)
def test_independent_layers_are_the_known_theory(name: str, read_out: Linear | None) -> None:
    given = {"scale": [0.3, 0.5, 0.2, 0.4, 0.6], "depth": DEPTH, "read_out": read_out}
    free = ResNet(BRANCHES[name], **given)
    zero = ResNet(BRANCHES[name], **given, layers=Markov(0))
    tolerance = {"rtol": 1e-9 if name == "quadrature" else 1e-13}
    for derive, names in (
        (kernel, ["K", "C"]),
        (response, ["chi_0", "eta", "eta_layers"]),
        (lambda net: response(net, "tangent"), ["chi_0", "eta"]),
        (gradient_moments, ["gradient"]),
    ):
        known = evaluate(derive(free), K0=0.7, target="numpy")
        found = evaluate(derive(zero), K0=0.7)
        for each in names:
            np.testing.assert_allclose(found[each], known[each], **tolerance, err_msg=each)
        assert found.status == "ok"


def relu_kernel(a: mpmath.mpf, b: mpmath.mpf, c: mpmath.mpf) -> mpmath.mpf:
    r = min(max(b / mpmath.sqrt(a * c), -1), 1)
    return (
        mpmath.sqrt(a * c)
        * (mpmath.sqrt(1 - r * r) + r * (mpmath.pi - mpmath.acos(r)))
        / (2 * mpmath.pi)
    )


def slow_kernel(c: np.ndarray, scale: float, inner: bool, start: float) -> list[list[mpmath.mpf]]:
    """The double sum as it is written, in 40 digits, for relu with variances 1.2, 2 and 2."""
    depth = len(c)
    with mpmath.workdps(40):
        found = {(0, 0): mpmath.mpf(start)}
        sources: dict[tuple[int, int], mpmath.mpf] = {}

        def at(layer: int, other: int) -> mpmath.mpf:
            if (layer, other) not in found:
                found[layer, other] = start + mpmath.mpf(scale) ** 2 * sum(
                    source(a, b) for a in range(1, layer + 1) for b in range(1, other + 1)
                )
            return found[layer, other]

        def source(a: int, b: int) -> mpmath.mpf:
            if (a, b) not in sources:
                entries = [at(a - 1, a - 1), at(a - 1, b - 1), at(b - 1, b - 1)]
                shared = [mpmath.mpf(c[x - 1, y - 1]) for x, y in ((a, a), (a, b), (b, b))]
                if inner:
                    entries = [
                        mpmath.mpf("1.2") * s * k for s, k in zip(shared, entries, strict=True)
                    ]
                sources[a, b] = shared[1] * 2 * relu_kernel(*entries)
            return sources[a, b]

        return [[at(a, b) for b in range(depth + 1)] for a in range(depth + 1)]


LAWS = [
    Markov(0.6),
    Smooth("rbf", 0.02),
    FractionalBrownian(0.8, "published"),
    LayerMatrix(np.diag([1.0, 2, 0.5, 1, 3]) + 0.2),
]
SUMS = [(law, inner) for inner in (False, True) for law in LAWS]


@pytest.mark.parametrize(("law", "inner"), left_to_slow(SUMS, SUMS[1:4:2] + SUMS[4::2]))
def test_against_the_double_sum(law, inner: bool) -> None:
    operations = [Activation("relu"), Linear(2, 0)]
    branch = Branch(Linear(1.2, 0), *operations) if inner else Branch(*operations)
    net = ResNet(branch, scale=0.4, depth=DEPTH, layers=law)
    found = evaluate(kernel(net), K0=0.7)
    expected = np.array(slow_kernel(law.covariance(DEPTH), 0.4, inner, 0.7), dtype=float)
    np.testing.assert_allclose(found["K_layers"], expected, rtol=2e-14)
    np.testing.assert_array_equal(found["K"], np.diagonal(found["K_layers"]))
    # Control: layers of another law are seen.
    other = evaluate(kernel(ResNet(branch, scale=0.4, depth=DEPTH, layers=Markov(0.5))), K0=0.7)
    assert np.abs(other["K_layers"] / expected - 1).max() > 1e-2


@pytest.mark.parametrize("name", ["res-1 erf", "res-3 relu", "norm"])
def test_the_variance_response_is_the_derivative(name: str) -> None:
    net = ResNet(BRANCHES[name], scale=0.4, depth=DEPTH, layers=FractionalBrownian(0.8))
    step = 1e-4
    above, below = (evaluate(kernel(net), K0=0.7 + s, outputs="K")["K"] for s in (step, -step))
    found = evaluate(response(net), K0=0.7)["chi_0"]
    np.testing.assert_allclose(found, (above - below) / (2 * step), rtol=1e-7)
    tangent = evaluate(response(net, "tangent"), K0=0.7)["chi_0"]
    if name != "res-3 relu":
        assert np.abs(tangent / found - 1).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "read_out"),
    [
        ("res-3 relu", Linear(0.7, 0.1)),
        pytest.param("res-3 relu", None, marks=pytest.mark.slow),
        pytest.param("res-1 relu", None, marks=pytest.mark.slow),
        pytest.param("res-1 relu", Linear(0.7, 0.1), marks=pytest.mark.slow),
    ],
)
def test_the_covariance_response_is_the_derivative(name: str, read_out: Linear | None) -> None:
    given, K0 = {"scale": 0.4, "depth": DEPTH, "read_out": read_out}, np.array(TRIPLE)
    free = ResNet(BRANCHES[name], **given)
    for start in (K0, K0[:2, :2]):
        known = evaluate(response(free, "covariance"), K0=start)
        zero = ResNet(BRANCHES[name], **given, layers=Markov(0))
        same = evaluate(response(zero, "covariance"), K0=start)
        for each in ("chi_0", "eta", "eta_layers", "K"):
            np.testing.assert_allclose(same[each], known[each], rtol=1e-13, err_msg=each)
    net, step = ResNet(BRANCHES[name], **given, layers=FractionalBrownian(0.8)), np.zeros((3, 3))
    step[0, 1] = step[1, 0] = 1e-4
    theory = kernel(net, inputs=2)
    above, below = (evaluate(theory, K0=K0 + s, outputs="K")["K"] for s in (step, -step))
    found = evaluate(response(net, "covariance"), K0=K0)["chi_0"]
    np.testing.assert_allclose(found[:, 0, 1], (above - below)[:, 0, 1] / 2e-4, rtol=1e-7)
    # Of coinciding inputs it is that of a tangent.
    tangent = evaluate(response(net, "tangent"), K0=K0[0, 0])["chi_0"]
    np.testing.assert_allclose(found[:, 0, 0], tangent, rtol=1e-13)
    assert np.abs(found[:, 0, 1] / tangent - 1).max() > 0.01


def test_a_homogeneous_network_without_biases() -> None:
    """K is proportional to K0: the variance response is K / K0, and so is a linear tangent."""
    for branch in (Branch(Linear(1.5, 0)), Branch(Linear(1, 0), Activation("relu"), Linear(2, 0))):
        net = ResNet(branch, scale=0.4, depth=DEPTH, layers=Markov(0.7))
        found = evaluate(response(net), K0=0.7)
        np.testing.assert_allclose(found["chi_0"], found["K"] / 0.7, rtol=1e-13)
    linear = ResNet(Branch(Linear(1.5, 0)), scale=0.4, depth=DEPTH, layers=Markov(0.7))
    tangent = evaluate(response(linear, "tangent"), K0=0.7)
    np.testing.assert_allclose(tangent["chi_0"], tangent["K"] / 0.7, rtol=1e-13)
    # At layer 0 the gradient has passed all blocks: the same double sum from the other end.
    back = evaluate(gradient_moments(linear), K0=0.7)["gradient"]
    assert back[0] == pytest.approx(tangent["chi_0"][-1], rel=1e-13)
    assert back[-1] == 1


def test_one_set_of_weights_for_all_blocks() -> None:
    """Linear blocks with common weights: h^L = (1 + rho W)^L h^0, moments of W^k are known."""
    net = ResNet(Branch(Linear(1.5, 0)), scale=0.4, depth=6, layers=Markov(1))
    expected = sum((math.comb(6, k) * 0.4**k) ** 2 * 1.5**k for k in range(7))
    assert evaluate(kernel(net), K0=1.0)["K"][-1] == pytest.approx(expected, rel=1e-14)


def test_smooth_weights_approach_their_differential_equation() -> None:
    """Common weights and scale 1/L: K = I_0(2 sigma), L (K_L - K) -> -I_2(2 sigma)."""
    limit, slope = float(mpmath.besseli(0, 2)), -float(mpmath.besseli(2, 2))
    errors = []
    for depth in (100, 200):
        net = ResNet(
            Branch(Linear(1, 0)), scale=sp.Rational(1, depth), depth=depth, layers=Markov(1)
        )
        errors.append(depth * (evaluate(kernel(net), K0=1.0, outputs="K")["K"][-1] - limit))
    assert 2 * errors[1] - errors[0] == pytest.approx(slope, rel=2e-4)
    assert abs(errors[1] - slope) > 1e-3 * abs(slope)


def test_rough_and_smooth_limits() -> None:
    """Constants of an independent program: res-3 relu, scale 1/L, L -> infinity."""
    branch = Branch(Linear(1, 0), Activation("relu"), Linear(1, 0))
    for of, limit in (("increments", 0.040465), ("process", 0.094467)):
        found = []
        for depth in (100, 200):
            law = Smooth("rbf", 0.01, of)
            net = ResNet(branch, scale=sp.Rational(1, depth), depth=depth, layers=law)
            found.append(evaluate(kernel(net), K0=1.0, outputs="K")["K"][-1] - 1)
        assert 2 * found[1] - found[0] == pytest.approx(limit, rel=1e-3)


def test_grids() -> None:
    H, rho = np.array([0.3, 0.8]), np.array([[0.2], [0.4], [0.5]])
    scale = sp.Symbol("rho")
    net = ResNet(BRANCHES["res-1 erf"], scale=scale, depth=DEPTH, layers=FractionalBrownian())
    found = evaluate(kernel(net), K0=1.0, H=H, rho=rho)
    assert found["K"].shape == (3, 2, DEPTH + 1)
    assert found["K_layers"].shape == (3, 2, DEPTH + 1, DEPTH + 1)
    for i, r in enumerate(rho[:, 0]):
        for j, h in enumerate(H):
            one = evaluate(kernel(net), K0=1.0, H=h, rho=r)
            np.testing.assert_array_equal(found["K"][i, j], one["K"])
    assert len(np.unique(found["K"][..., -1])) == 6


def test_histories_are_double_sums() -> None:
    rng = np.random.default_rng(0)
    slope, scales = rng.normal(size=(4, 4)), rng.normal(size=4)
    slope = slope + slope.T
    expected = np.ones((5, 5))
    for a in range(1, 5):
        for b in range(1, a + 1):
            terms = [
                scales[i - 1] * scales[j - 1] * slope[i - 1, j - 1] * expected[i - 1, j - 1]
                for i in range(1, a + 1)
                for j in range(1, b + 1)
            ]
            expected[a, b] = expected[b, a] = 1 + sum(terms)
    whole = back(slope[::-1, ::-1], scales[::-1])[::-1, ::-1]
    np.testing.assert_allclose(whole, expected, rtol=1e-13)
    np.testing.assert_allclose(forward(slope, scales), np.diagonal(expected), rtol=1e-13)


NET = ResNet(BRANCHES["res-1 relu"], scale=0.3, depth=3, layers=Markov(0.5))
REFUSED = {
    "masks": lambda: kernel(NET, inputs="masks"),
    "batch": lambda: kernel(NET, inputs="batch"),
    "one loop": lambda: one_loop(NET),
    "optimum": lambda: optimal_scale(NET),
    "moments": lambda: exact_moments(NET),
    "orders": lambda: order_profile(NET, 2),
    "growth": lambda: growth(NET),
    "shift": lambda: variance_shift(
        ResNet(
            Branch(BatchNorm(), Activation("relu"), Dropout(0.5), Linear(2, 0)),
            scale=1,
            depth=1,
            layers=Markov(0.5),
        ),
        K0=[[1, 0.3], [0.3, 1]],
    ),
    "dropout": lambda: kernel(
        ResNet(Branch(Dropout(0.5), Linear()), scale=1, depth=2, layers=Markov(0.5))
    ),
    "batch norm": lambda: kernel(
        ResNet(Branch(BatchNorm(), Linear()), scale=1, depth=2, layers=Markov(0.5))
    ),
    "activation at the end": lambda: kernel(
        ResNet(Branch(Linear(), Activation("erf")), scale=1, depth=2, layers=Markov(0.5))
    ),
    "skip": lambda: kernel(
        ResNet(BRANCHES["res-1 erf"], scale=1, depth=2, skip=0.5, layers=Markov(0.5))
    ),
    "post": lambda: kernel(
        ResNet(BRANCHES["res-1 erf"], scale=1, depth=2, post_norm=LayerNorm(), layers=Markov(0.5))
    ),
    "read-out alone": lambda: tangent_kernel(NET, trained="read_out"),
    "parametrisation": lambda: tangent_kernel(NET, parametrisation="standard"),
    "ntk on a GPU": lambda: evaluate(tangent_kernel(NET), K0=1.0, target="cuda"),
    "routine": lambda: compile_routine(kernel(NET)),
    "cuda": lambda: evaluate(kernel(NET), K0=1.0, target="cuda"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_no_theory_takes_correlated_layers_for_independent_ones(case: str) -> None:
    with pytest.raises(UnsupportedError):
        REFUSED[case]()


def test_memory_is_asked_for_before_the_start() -> None:
    net = ResNet(BRANCHES["res-1 erf"], scale=0.1, depth=3_000_000, layers=Markov(0.5))
    with pytest.raises(HostMemoryError, match="at depth 3000000"):
        evaluate(kernel(net), K0=1.0)


def test_it_shows_itself() -> None:
    text = repr(kernel(NET))
    assert "c_lm*(sigma_b2 + sigma_w2*<phi(x_1)*phi(x_2)>_[K_ll, K_lm, K_mm])" in text


def test_latex() -> None:
    text = to_latex(kernel(NET), cite=False)
    assert r"C^{l,m} = c_{l,m} (\sigma_{b}^{2} + \sigma_{w}^{2}" in text or "C^{l,m} =" in text
    assert r"K^{l,m} = K^{0} + \sum_{a \le l,\, b \le m} \rho_{a} \rho_{b} B^{a,b}" in text
    deep = ResNet(BRANCHES["res-3 relu"], scale=0.3, depth=3, layers=Markov(0.5))
    for follows, line in ((response(deep, "tangent"), "T^{l,m} = "), (kernel(deep), "C_{1}^{l,m}")):
        assert line in to_latex(follows, closed=True)
    document = to_latex(gradient_moments(deep), "document")
    assert r"\rho_{a} \rho_{b} M^{a,b} P^{a,b}" in document
