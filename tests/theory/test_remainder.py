"""Remainder of the expansion: the bound holds, is attained by the majorant, and can be violated.

Truth is the network itself at 40 digits, its orders from mpmath's Taylor coefficients in the common
factor of the scales: neither trees nor majorants enter.
"""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Majorant, majorant_of, remainder_bound, residual_expansion
from resexpand.combinatorics import trees, weighted_count
from resexpand.errors import DescriptionError, HyperparameterError, UnsupportedError
from resexpand.theory.remainder import RemainderBound
from resexpand.theory.remainder.derivative_laws import SHARP, derivative_law
from resexpand.theory.remainder.layers import fractions, orders_per_depth, unit_weights
from resexpand.theory.remainder.norms import row_norm

WIDTH, DEPTH = 3, 4
BIG, RADIUS, N, LAMBDA = (
    sp.Symbol("M", positive=True),
    sp.Symbol("R", positive=True),
    sp.Symbol("n", integer=True, positive=True),
    sp.Symbol("lambda", positive=True),
)
FUNCTIONS = {
    "tanh": mpmath.tanh,
    "sin": mpmath.sin,
    "erf": mpmath.erf,
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "gelu": lambda x: x * (1 + mpmath.erf(x / mpmath.sqrt(2))) / 2,
}


def truth(function, weights, biases, x, scales, orders):
    """Sup norm of F minus its expansion, for the orders 0, 1, ..., from the network itself."""

    def entry(t, place):
        h = [mpmath.mpf(value) for value in x]
        for scale, weight, bias in zip(scales, weights, biases, strict=True):
            phi = [function(value) for value in h]
            h = [
                h[i] + t * scale * (mpmath.fdot(map(mpmath.mpf, weight[i]), phi) + bias[i])
                for i in range(len(h))
            ]
        return h[place]

    with mpmath.workdps(40):
        errors = [mpmath.mpf(0)] * (orders + 1)
        for place in range(len(x)):
            series = mpmath.taylor(lambda t, p=place: entry(t, p), 0, orders)
            whole = entry(mpmath.mpf(1), place)
            for k in range(orders + 1):
                errors[k] = max(errors[k], abs(whole - mpmath.fsum(series[: k + 1])))
    return errors


def blocks(seed):
    rng = np.random.default_rng(seed)
    weights = np.round(rng.normal(size=(DEPTH, WIDTH, WIDTH)) / math.sqrt(WIDTH), 3)
    biases = np.round(0.3 * rng.normal(size=(DEPTH, WIDTH)), 3)
    return weights, biases, np.round(rng.normal(size=WIDTH), 3)


# The bound on concrete blocks


@pytest.mark.parametrize("name", ["tanh", "sin", "erf", "silu", "gelu"])
@pytest.mark.parametrize("seed", [1, 2])
def test_bound_holds_on_vector_blocks(name: str, seed: int):
    weights, biases, x = blocks(seed)
    scales = [0.05, 0.02, 0.07, 0.04]
    majorant = majorant_of(name, weights, biases, x=x)
    errors = truth(FUNCTIONS[name], weights, biases, x, scales, 6)
    for order in range(1, 7):
        bound = remainder_bound(order, scale=scales, majorant=majorant)
        assert bound.converges
        closed, sharp = (float(f.rhs) for f in (bound.closed, bound.sharp))
        assert errors[order] <= bound.value <= sharp <= closed


def test_bound_is_violated_by_a_majorant_that_is_too_small():
    """The control: a tenth of M, or a radius far too large, is caught by the same blocks."""
    weights, biases, x = blocks(1)
    scales = [0.05, 0.02, 0.07, 0.04]
    honest = majorant_of("tanh", weights, biases, x=x)
    errors = truth(mpmath.tanh, weights, biases, x, scales, 3)
    tenth = tuple(bound / 10 for bound in honest.bounds)
    small = Majorant(honest.kind, honest.M / 10, honest.R, tenth)
    shrunk = tuple(bound / 100**m for m, bound in enumerate(honest.bounds))
    wide = Majorant(honest.kind, honest.M, honest.R * 100, shrunk)
    for wrong in (small, wide):
        assert remainder_bound(3, scale=scales, majorant=wrong).value < errors[3]


def test_inner_weights_enter_with_their_power():
    """``V phi(W h)`` is ``W phi`` with its radius divided by the norm of ``W``."""
    rng = np.random.default_rng(3)
    outer, inner = (np.round(rng.normal(size=(1, 2, 2)), 2) for _ in range(2))
    found = majorant_of("sin", outer, inner=inner)
    assert found.R * row_norm(inner, "") == 1
    assert found.derivative_bound(2) == row_norm(outer, "") * row_norm(inner, "") ** 2


# Activations


@pytest.mark.parametrize(
    "function",
    [
        *FUNCTIONS,
        "erf_unit",
        sp.cos(sp.Symbol("x")),
        1 / (1 + sp.exp(-sp.Symbol("x"))),
        2 - 3 * sp.tanh(sp.Symbol("x") / 2 + 1),
    ],
    ids=str,
)
def test_bounds_of_derivatives_hold_and_are_nearly_attained(function):
    activation = Activation(function)
    law = derivative_law(activation)
    family = Majorant(law.kind, law.M, law.R)
    grid = np.linspace(-8, 8, 401)
    for order in range(1, 7):
        derivative = sp.lambdify(activation.variable, activation.derivative(order), "mpmath")
        largest = max(abs(derivative(mpmath.mpf(x))) for x in grid)
        bound = float(law.bound(order))
        assert largest <= bound * (1 + 1e-12)
        assert bound <= float(family.derivative_bound(order)) * (1 + 1e-12)
        # The slope is where every order of the expansion begins: its bound is sharp.
        if order == 1:
            assert bound <= 1.001 * float(largest)


@pytest.mark.parametrize(
    ("name", "orders"),
    [("tanh", (1, 3, 5, 7)), ("erf", (1, 3, 5, 7)), ("silu", (2, 4, 6)), ("gelu", (2, 4, 6))],
)
def test_bounds_of_derivatives_are_attained_at_the_origin(name: str, orders: tuple[int, ...]):
    activation = Activation(name)
    for order in orders:
        there = sp.diff(activation.expression, activation.variable, order)
        value = abs(there.subs(activation.variable, 0))
        assert abs(sp.N(value - derivative_law(activation).bound(order), 30)) < 1e-25


def test_bounds_of_high_derivatives_stay_below_the_family():
    for name in (*FUNCTIONS, "erf_unit"):
        law = derivative_law(Activation(name))
        family = Majorant(law.kind, law.M, law.R)
        for order in range(1, 4 * SHARP):
            assert sp.N(law.bound(order) / family.derivative_bound(order)) <= 1 + 1e-12


def test_what_is_not_proved_is_refused():
    x = sp.Symbol("x")
    with pytest.raises(UnsupportedError, match="gated_path_sum"):
        majorant_of("relu", np.eye(2))
    with pytest.raises(UnsupportedError, match=r"Majorant\.analytic"):
        majorant_of(Activation(x * sp.tanh(x)), np.eye(2))
    with pytest.raises(UnsupportedError, match=r"x=\.\.\."):
        majorant_of("silu", np.eye(2))


@pytest.mark.parametrize("weights", [[], "ab", [[math.nan]], [1.0, 2.0]])
def test_weights_that_are_none(weights):
    with pytest.raises(DescriptionError):
        majorant_of("tanh", weights)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"weights": np.ones((2, 3))}, "square weights"),
        ({"weights": np.ones((2, 3)), "inner": np.ones((2, 3))}, r"transposed shape"),
        ({"weights": np.ones((2, 2)), "biases": [1.0, 2.0, 3.0]}, "give 2 entries"),
        ({"weights": np.ones((4, 2, 2)), "x": [1.0]}, "give 2 entries"),
    ],
)
def test_shapes_that_do_not_fit(arguments, match):
    with pytest.raises(DescriptionError, match=match):
        majorant_of("tanh", **arguments)


def test_affine_blocks_need_no_bound():
    with pytest.raises(UnsupportedError, match="finite sum over chains"):
        majorant_of("identity", np.eye(2))


def test_norms_are_rounded_up():
    assert row_norm([[0.1, 0.2], [0.0, -0.25]], "") == sp.Rational(3, 10)
    assert row_norm(sp.Matrix([[sp.sqrt(2), -1], [0, 1]]), "") == 1 + sp.sqrt(2)
    values = np.random.default_rng(0).normal(size=(5, 40, 40))
    found = row_norm(values, "")
    assert found >= max(math.fsum(abs(row)) for row in values.reshape(-1, 40))
    assert found == pytest.approx(np.abs(values).sum(axis=2).max(), rel=1e-9)


def test_no_weights_leave_no_remainder():
    assert remainder_bound(1, 3, 1, majorant_of("tanh", np.zeros((2, 2)))).value < 1e-40


# The majorant itself


@pytest.mark.parametrize("order", range(1, 8))
def test_orders_of_the_entire_family_are_weighted_counts(order: int):
    bound = remainder_bound(1, majorant=Majorant.entire()).order_bound(order)
    expected = weighted_count(order, N) * BIG**order * LAMBDA**order / RADIUS ** (order - 1)
    assert sp.expand(bound - expected) == 0


@pytest.mark.parametrize("order", range(1, 8))
def test_orders_of_the_analytic_family_count_ordered_trees(order: int):
    """Each vertex with m children brings m!, so ``1/|Aut|`` becomes the number of orderings."""
    leading = sp.Poly(remainder_bound(1).order_bound(order).subs({BIG: 1, RADIUS: 1}), N).LC()
    expected = sum(
        sp.Rational(
            math.prod(math.factorial(len(vertex.children)) for vertex in tree),
            tree.symmetry * tree.factorial,
        )
        for tree in trees(order)
    )
    assert leading == expected * LAMBDA**order


@pytest.mark.parametrize("kind", ["entire", "analytic"])
def test_flow_is_where_the_layers_tend_to(kind: str):
    """Coefficients of the flow are the leading coefficients in the depth, and its own series."""
    majorant = getattr(Majorant, kind)(1, 1)
    family = majorant.family
    q = sp.Symbol("q")
    series = sp.series(family.flow(q), q, 0, 8).removeO()
    for j in range(1, 8):
        assert series.coeff(q, j) == family.coefficient(j)
        layers = sp.Poly(remainder_bound(1, N, 1, majorant).order_bound(j), N)
        assert layers.coeff_monomial(N**j) == family.coefficient(j) * family.pace**j
    derivative = sp.diff(family.flow(q), q) * family.pace
    assert sp.simplify(derivative - family.function(family.flow(q))) == 0


@pytest.mark.parametrize("kind", ["entire", "analytic"])
@pytest.mark.parametrize("order", [1, 3, 6])
def test_bound_is_attained_by_the_majorant_itself(kind: str, order: int):
    """A scalar network of blocks ``fhat``: equality at finite depth, closed in the limit."""
    function = {"entire": mpmath.exp, "analytic": lambda s: 1 / (1 - s)}[kind]
    majorant = getattr(Majorant, kind)(1, 1)
    scales = [0.03, 0.01, 0.05]
    with mpmath.workdps(40):
        error = truth_of_scalar(function, scales, order)
    bound = remainder_bound(order, scale=scales, majorant=majorant)
    assert bound.value == pytest.approx(float(error), rel=1e-12)
    ratios = []
    for depth in (10, 100, 1000):
        deep = remainder_bound(order, depth, sp.Rational(1, 4 * depth), majorant)
        ratios.append(deep.value / float(deep.sharp.rhs))
    assert ratios[0] < ratios[1] < ratios[2] < 1
    # The layers approach the flow like 1/n: a tenfold depth leaves a tenth of the difference.
    assert (1 - ratios[1]) / (1 - ratios[2]) == pytest.approx(10, rel=0.1)
    weak = [remainder_bound(order, 10, 10.0**-e, majorant) for e in (3, 5, 7)]
    gaps = [float(w.closed.rhs) / float(sp.N(w.sharp.rhs, 60)) - 1 for w in weak]
    assert gaps[0] > gaps[1] > gaps[2] >= 0
    assert gaps[2] < 1e-4


def truth_of_scalar(function, scales, order):
    def network(t):
        s = mpmath.mpf(0)
        for scale in scales:
            s += t * mpmath.mpf(repr(scale)) * function(s)
        return s

    series = mpmath.taylor(network, 0, order)
    return network(mpmath.mpf(1)) - mpmath.fsum(series)


def test_first_bounds_are_used_and_enveloped():
    majorant = Majorant.analytic(1, 1, bounds=[3, sp.Rational(1, 2)])
    assert [majorant.derivative_bound(m) for m in range(4)] == [3, sp.Rational(1, 2), 2, 6]
    s = sp.Symbol("s")
    series = sp.series(majorant.function(s), s, 0, 4).removeO()
    assert [series.coeff(s, m) * math.factorial(m) for m in range(4)] == [
        3,
        sp.Rational(1, 2),
        2,
        6,
    ]
    assert majorant.envelope() == Majorant.analytic(3, 1)
    assert Majorant.entire(2, 3).envelope() == Majorant.entire(2, 3)
    # With a sharper slope the bound is smaller, and so it is layer by layer.
    plain = remainder_bound(2, 5, 0.05, Majorant.analytic(3, 1)).value
    assert remainder_bound(2, 5, 0.05, majorant).value < plain


def test_symbolic_first_bounds_give_the_terms_of_the_theorem():
    b0, b1, b2 = sp.symbols("B_0 B_1 B_2", nonnegative=True)
    bound = remainder_bound(1, majorant=Majorant.analytic(bounds=[b0, b1, b2]))
    third = b1**2 * b0 * sp.binomial(N, 3) + b2 * b0**2 * (
        sp.binomial(N, 3) + sp.binomial(N, 2) / 2
    )
    difference = bound.order_bound(3) / LAMBDA**3 - sp.expand_func(third)
    assert sp.expand(difference) == 0


def test_scales_of_their_own_and_of_an_expansion():
    scales = sp.symbols("lambda_1:4", positive=True)
    one, two, three = scales
    found = remainder_bound(2, scale=scales, majorant=Majorant.entire(1, 1))
    assert sp.expand(found.order_bound(2) - (one * two + one * three + two * three)) == 0
    assert found.time == one + two + three
    derived = remainder_bound(residual_expansion(2, 3, scales))
    assert (derived.order, derived.depth, derived.scales) == (2, 3, scales)
    indexed = remainder_bound(residual_expansion(4))
    assert indexed.time.has(sp.Sum)
    with pytest.raises(HyperparameterError, match="flow_order_bound"):
        indexed.order_bound(2)


def test_derivatives_in_a_scale_are_refused_and_compositions_not():
    expansion = residual_expansion(2, 2)
    with pytest.raises(UnsupportedError, match="differentiated"):
        remainder_bound(expansion.diff("lambda_1"))
    assert remainder_bound(expansion @ expansion).depth == 4


def test_closed_form_bounds_the_layers_at_every_depth():
    majorant = Majorant.analytic(1, 2)
    for depth in (1, 2, 3, 10, 200):
        for order in (1, 2, 5):
            bound = remainder_bound(order, depth, sp.Rational(1, 2 * depth), majorant)
            assert bound.value <= float(bound.sharp.rhs) <= float(bound.closed.rhs)
    assert remainder_bound(1, 1, 5, majorant).value == 0


def test_very_deep_networks_use_the_flow():
    deep = remainder_bound(3, 10**6, sp.Rational(1, 4 * 10**6), Majorant.entire(1, 1))
    assert deep.value == pytest.approx(float(deep.sharp.rhs), rel=1e-12)
    near = remainder_bound(3, 10**4, sp.Rational(1, 4 * 10**4), Majorant.entire(1, 1))
    assert near.value == pytest.approx(deep.value, rel=2e-3)


# Where it converges


def test_convergence_is_not_claimed_where_it_fails():
    """Two blocks ``1/(1 - s)``: the second has its pole at ``S_1 = lambda = 1``."""
    majorant = Majorant.analytic(1, 1)
    inside = remainder_bound(3, 2, 0.9, majorant)
    assert inside.condition == sp.false  # q = 3.6
    assert inside.closed.rhs == inside.sharp.rhs == sp.oo
    assert inside.converges
    assert math.isfinite(inside.value)
    for scale in (1, 1.5):
        beyond = remainder_bound(3, 2, scale, majorant)
        assert beyond.converges is None
        assert beyond.value == math.inf
        assert f"no bound is found, q = {4 * scale:g}" in str(beyond)
    assert remainder_bound(3, 2, 10, Majorant.entire(1, 1)).converges
    assert remainder_bound(3, 10**6, 1, majorant).converges is None
    assert remainder_bound(3).converges is None


def test_statement_says_that_the_condition_is_only_sufficient():
    for majorant in (Majorant.entire(), Majorant.analytic()):
        statement = remainder_bound(3, majorant=majorant).statement
        assert "sufficient" in statement
        assert "beyond" in statement
    assert "entire functions" in remainder_bound(3, majorant=Majorant.entire()).statement


# Calls


def test_formulas_are_in_the_symbols_of_the_reader():
    bound = remainder_bound(3)
    assert bound.closed.free_symbols == {BIG, RADIUS, N, LAMBDA}
    assert sp.simplify(bound.load.rhs - 2 * BIG * N * LAMBDA / RADIUS) == 0
    assert bound.closed.rhs.atoms(sp.Float) == set()
    assert r"\le \frac{5 R q^{4}}{128 (1 - q)}" in bound._repr_latex_()
    assert isinstance(bound, RemainderBound)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: remainder_bound(0), "order = 0"),
        (lambda: remainder_bound("3"), "order"),
        (lambda: remainder_bound(3, 0), "depth = 0"),
        (lambda: remainder_bound(3, 2, [0.1]), "1 scales for 2 blocks"),
        (lambda: remainder_bound(3, 2, "a"), "scale = 'a'"),
        (lambda: remainder_bound(3, 2, math.nan), "finite"),
        (lambda: remainder_bound(3, majorant=3), "Majorant.analytic"),
        (lambda: Majorant.analytic(-1, 1), "M > 0"),
        (lambda: Majorant.entire(1, 0), "R > 0"),
        (lambda: Majorant.entire(1, "R"), "R = 'R'"),
        (lambda: Majorant.entire(1, 1, bounds=[-1]), "never negative"),
        (lambda: Majorant.entire(1, 1, bounds=3), "no list"),
        (lambda: remainder_bound(3).value, "symbols"),
    ],
)
def test_wrong_input_is_said(call, match):
    with pytest.raises(HyperparameterError, match=match):
        call()


def test_orders_per_depth_agree_with_the_recursion_written_out():
    """Two layers by hand: ``u_2 = z w_0 + z (w_0 + w_1 z w_0 + w_2 z^2 w_0^2 + ...)``."""
    weights = fractions(unit_weights(Majorant.entire(1, 1), 4))
    orders = orders_per_depth(weights)
    assert [orders[j][2] for j in range(5)] == [0, 2, 1, sp.Rational(1, 2), sp.Rational(1, 6)]


def test_a_numpy_array_of_scales_gives_the_depth():
    assert remainder_bound(2, scale=np.array([0.1, 0.2])).depth == 2


def test_complex_weights_lose_no_part_silently():
    with pytest.raises(DescriptionError, match="real numbers"):
        majorant_of("tanh", np.eye(2) * 1j)
