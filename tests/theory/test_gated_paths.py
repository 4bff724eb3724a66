"""Gated path sums: every path added up is the network, at every scale; frozen gates are not."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, ResNet, gated_path_sum
from resexpand.errors import DescriptionError, HyperparameterError, UnsupportedError
from resexpand.theory.gated_paths import piecewise_linear

X = sp.Symbol("x", real=True)
HARD_TANH = sp.Max(-1, sp.Min(1, X))
TENT = sp.Piecewise((1 - sp.Abs(X), sp.Abs(X) < 1), (0, True))
KNEE = sp.Max(X / 3, 2 * X - 1)
DEPTH, WIDTH = 5, 4
SCALES = (0.3, -0.5, 2, 0.7, 1.1)


def network(activation, weights, biases, x, scales):
    """The network itself, with NumPy; returns all states and its blocks as affine maps."""
    phi = sp.lambdify(activation.variable, activation.expression, "numpy")
    pieces = piecewise_linear(activation)
    h, maps, offsets = np.array(x), [], []
    for scale, weight, bias in zip(scales, weights, biases, strict=True):
        maps.append(weight * pieces.slope(h))
        offsets.append(weight @ pieces.intercept(h) + bias)
        h = h + scale * (weight @ np.array([phi(value) for value in h], dtype=float) + bias)
    return h, maps, offsets


def draw(seed, *, biased):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(DEPTH, WIDTH, WIDTH))
    biases = rng.normal(size=(DEPTH, WIDTH)) if biased else np.zeros((DEPTH, WIDTH))
    return weights, biases, rng.normal(size=WIDTH)


@pytest.mark.parametrize(
    "function", ["identity", "relu", "leaky_relu", sp.Abs(X), HARD_TANH, TENT, KNEE], ids=str
)
@pytest.mark.parametrize("biased", [False, True])
def test_all_paths_together_are_the_network(function, biased: bool):
    activation = Activation(function)
    weights, biases, x = draw(1, biased=biased)
    h, maps, offsets = network(activation, weights, biases, x, SCALES)
    branch = Branch(activation, Linear(1, 1 if biased else 0))
    paths = gated_path_sum(ResNet(branch, scale=SCALES))
    total = sum(p.value(maps, offsets, x) for length in paths for p in paths[length])
    np.testing.assert_allclose(total, h, rtol=1e-12, atol=1e-12 * np.abs(h).max())
    assert paths.has_offsets == (biased or not piecewise_linear(activation).is_homogeneous)
    for length in paths:
        assert len(paths[length]) == paths.count(length)


def test_gates_of_the_input_are_right_until_the_first_one_flips():
    """The control, and the reason: the Taylor form fails as soon as a gate differs."""
    relu = Activation("relu")
    weights, biases, x = draw(2, biased=False)
    pieces = piecewise_linear(relu)
    frozen = [weight * pieces.slope(x) for weight in weights]
    errors = []
    for scale in (1e-3, 1e-2, 1.0):
        scales = (scale,) * DEPTH
        h, maps, offsets = network(relu, weights, biases, x, scales)
        paths = gated_path_sum("relu", scales=scales)
        taylor = sum(p.value(frozen, offsets, x) for k in paths for p in paths[k])
        exact = sum(p.value(maps, offsets, x) for k in paths for p in paths[k])
        np.testing.assert_allclose(exact, h, rtol=1e-12)
        errors.append(np.abs(taylor - h).max())
    assert errors[0] < 1e-14
    assert errors[2] > 0.1
    assert "first gate" in gated_path_sum("relu").why_not_taylor


def test_two_linear_maps_per_block():
    """``V relu(W h)``: the gates stand between the two matrices."""
    rng = np.random.default_rng(3)
    inner, outer = rng.normal(size=(2, DEPTH, WIDTH, WIDTH))
    h = x = rng.normal(size=WIDTH)
    maps = []
    for w, v, scale in zip(inner, outer, SCALES, strict=True):
        maps.append(v @ np.diag((w @ h > 0).astype(float)) @ w)
        h = h + scale * v @ np.maximum(w @ h, 0)
    paths = gated_path_sum(
        ResNet(Branch(Linear(1, 0), Activation("relu"), Linear(1, 0)), scale=SCALES)
    )
    total = sum(p.value(maps, [], x) for length in paths for p in paths[length])
    np.testing.assert_allclose(total, h, rtol=1e-11)
    assert paths.words == ("V", "D", "W")
    assert paths[1][0].text(paths.words) == "3/10 V_1 D_1 W_1 x"


def test_paths_are_the_subsets_of_blocks():
    paths = gated_path_sum("relu", 4)
    assert list(paths) == [0, 1, 2, 3, 4]
    assert len(paths) == 5
    for length in paths:
        found = [path.blocks for path in paths[length]]
        assert found == list(combinations((1, 2, 3, 4), length))
        assert all(path.length == length for path in paths[length])
    assert paths[2][0].scale == sp.Symbol("lambda_1") * sp.Symbol("lambda_2")
    with pytest.raises(KeyError):
        paths[5]


def test_counts_are_binomial_and_enumerate_nothing():
    assert gated_path_sum("relu", 10**6, 1, longest=2).count(10) == math.comb(10**6, 10)
    n = sp.Symbol("n", integer=True, positive=True)
    assert sp.expand(gated_path_sum("relu").count(2) - n * (n - 1) / 2) == 0
    biased = ResNet(Branch(Activation("relu"), Linear(1, 1)), scale=1, depth=7)
    counts = [gated_path_sum(biased).count(k) for k in range(8)]
    assert counts == [1, *(2 * math.comb(7, k) for k in range(1, 8))]
    with pytest.raises(UnsupportedError, match="paths of length 500"):
        gated_path_sum("relu", 1000, 1)[500]


def test_pieces():
    assert [(p.lower, p.upper, p.slope, p.intercept) for p in piecewise_linear(
        Activation(HARD_TANH)
    ).pieces] == [(-sp.oo, -1, 0, -1), (-1, 1, 1, 0), (1, sp.oo, 0, 1)]  # fmt: skip
    leaky = piecewise_linear(Activation("leaky_relu"))
    assert [p.slope for p in leaky.pieces] == [sp.Rational(1, 100), 1]
    assert leaky.is_homogeneous
    assert piecewise_linear(Activation("identity")).is_linear
    tent = piecewise_linear(Activation(TENT))
    np.testing.assert_array_equal(tent.slope([-2.0, -0.5, 0.5, 2.0]), [0, 1, -1, 0])
    np.testing.assert_array_equal(tent.intercept([-2.0, -0.5, 0.5, 2.0]), [0, 1, 1, 0])
    nested = piecewise_linear(Activation(sp.Abs(sp.Abs(X) - 1)))
    assert [p.slope for p in nested.pieces] == [-1, 1, -1, 1]


def test_switching_points_without_a_kink_make_no_piece():
    assert piecewise_linear(Activation(sp.Max(X, 0) + sp.Min(X, 0))).is_linear


@pytest.mark.parametrize(
    ("function", "match"),
    [
        ("tanh", r"curved: .* residual_expansion"),
        ("gelu", "curved"),
        (sp.Max(X, 0) ** 2, r"curved: on \(0, oo\) it equals x\*\*2"),
        (sp.Abs(X**2 - 1), "curved"),
        ("sign", "jumps at 0"),
        (sp.Heaviside(X) + X, "jumps at 0"),
    ],
    ids=str,
)
def test_what_is_not_piecewise_linear_is_refused(function, match: str):
    with pytest.raises(UnsupportedError, match=match):
        gated_path_sum(Activation(function))


def test_symbolic_depth_is_a_nested_sum():
    paths = gated_path_sum("relu")
    n = paths.depth
    assert list(paths) == [0, 1, 2, 3]
    (pair,) = paths[2]
    i, j = pair.blocks
    lam = paths.scales
    a, x = sp.Function("A", commutative=False), sp.Symbol("x", commutative=False)
    expected = sp.Sum(lam[i] * lam[j] * a(j) * a(i) * x, (i, 1, j - 1), (j, 1, n))
    assert expected in paths.formula.rhs.args
    assert str(paths.formula.lhs) == "F_3"
    assert "up to length 3" in paths.formula.meaning
    assert paths.lines(latex=True)[2] == (
        r"\sum_{1 \le i < j \le n} \lambda_{i} \lambda_{j} \, W_{j} D_{j} \, W_{i} D_{i} \, x"
    )


def test_formula_multiplies_out_the_blocks():
    """(1 + A_2)(1 + A_1) x, in maps that do not commute."""
    formula = gated_path_sum("relu", 2, 1).formula
    a, x = sp.Function("A", commutative=False), sp.Symbol("x", commutative=False)
    assert sp.expand(formula.rhs - ((1 + a(2)) * (1 + a(1)) * x).expand()) == 0
    assert formula.neglects == ""
    assert formula.citations
    wrong = sp.expand((1 + a(1)) * (1 + a(2)) * x)
    assert sp.expand(formula.rhs - wrong) != 0


def test_text():
    biased = ResNet(Branch(Activation("relu"), Linear(1, 1)), scale=1, depth=2)
    assert str(gated_path_sum(biased)) == (
        "F(x) = x\n     + W_1 D_1 x + c_1 + W_2 D_2 x + c_2\n     + W_2 D_2 W_1 D_1 x + W_2 D_2 c_1"
    )
    assert "(4950 paths)" in str(gated_path_sum("relu", 100, longest=2))
    assert gated_path_sum("relu", 2)._repr_latex_().startswith(r"$\displaystyle F(x) = x + ")


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: gated_path_sum("relu", 0), HyperparameterError, "depth = 0"),
        (lambda: gated_path_sum("relu", 2.5), HyperparameterError, "2.5"),
        (lambda: gated_path_sum("relu", 2, [1]), HyperparameterError, "1 scales for 2 blocks"),
        (lambda: gated_path_sum("relu", 2, longest=3), HyperparameterError, "at most once"),
        (lambda: gated_path_sum(3), DescriptionError, "type int"),
        (lambda: gated_path_sum("nothing"), DescriptionError, "'nothing'"),
        (
            lambda: gated_path_sum(
                ResNet(Branch(Activation("relu"), Linear()), scale=1, depth=2), depth=3
            ),
            DescriptionError,
            "has its own",
        ),
    ],
)
def test_wrong_input_is_said(call, error, match: str):
    with pytest.raises(error, match=match):
        call()


def test_scales_are_read_and_written_as_a_reader_would():
    signs = gated_path_sum("relu", scales=np.array([-1.0, 0.5]))
    assert str(signs) == (
        "F(x) = x\n     - W_1 D_1 x + 1/2 W_2 D_2 x\n     - 1/2 W_2 D_2 W_1 D_1 x"
    )
    assert "x - W_{1} D_{1}" in signs._repr_latex_().replace(r" \, ", " ")
    assert str(gated_path_sum("relu", 2, [0, 1])) == "F(x) = x\n     + W_2 D_2 x"
    assert gated_path_sum("relu", scales=sp.Symbol("i")).indices(2) == (
        sp.Symbol("j", integer=True, positive=True),
        sp.Symbol("k", integer=True, positive=True),
    )


def test_lengths_may_be_integers_of_numpy():
    paths = gated_path_sum("relu", 3)
    assert paths[np.int64(2)] == paths[2]
    for length in (2.0, "2", 4, -1):
        assert length not in paths
