"""The expansion against differentiation of the network itself, which knows nothing of trees."""

from __future__ import annotations

import itertools
from functools import cache

import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from resexpand import Activation, residual_expansion
from resexpand.combinatorics import LabelledTree, Tree
from resexpand.theory.expansion import NestedSum

x, y, step = sp.symbols("x y t")
LAMBDAS = sp.symbols("lambda_1:6")
SMOOTH = ["tanh", "erf", "erf_unit", "gelu", "silu", "sin"]


@cache
def moving_block(order: int) -> list[sp.Expr]:
    """Return the derivatives of ``t g(u(t), w(t))`` at ``t = 0``, by differentiating it.

    The ``m``-th derivatives of ``u`` and ``w``, which start at ``x`` and ``y``, are ``u_m, w_m``.
    """
    path = [sp.Function(name)(step) for name in "uw"]
    known = {p.diff(step, m): sp.Symbol(f"{p.func}_{m}") for p in path for m in range(1, order + 1)}
    start = dict(zip(path, (x, y), strict=True))
    moving, found = step * sp.Function("g")(*path), []
    for _ in range(order + 1):
        found.append(moving.xreplace(known).xreplace(start).subs(step, 0))
        moving = sp.expand(moving.diff(step))
    return found


def derivatives_of_network(depth: int, order: int) -> list[tuple[sp.Expr, sp.Expr]]:
    """Return the derivatives in ``t`` of a network with scales ``t lambda_i`` at ``t = 0``.

    Blocks are undefined functions of two variables; every layer is differentiated as it stands.
    """
    found = [(x, y)] + [(sp.S.Zero, sp.S.Zero)] * order
    for i in range(1, depth + 1):
        values = {
            sp.Symbol(f"{name}_{m}"): found[m][a]
            for a, name in enumerate("uw")
            for m in range(1, order + 1)
        }
        found = [
            tuple(
                sp.expand(
                    before
                    + LAMBDAS[i - 1]
                    * branch.replace(sp.Function("g"), sp.Function(f"f_{i}_{a}")).xreplace(values)
                )
                for a, before in enumerate(entries, 1)
            )
            for entries, branch in zip(found, moving_block(order), strict=True)
        ]
    return found


def test_generic_blocks_of_two_entries_against_direct_differentiation():
    """Four blocks, orders 1 to 4, a scale per block."""
    direct = derivatives_of_network(4, 4)
    expansion = residual_expansion(4, 4)
    for order, terms in expansion.items():
        values = [term.value(sp.Matrix([x, y])) for term in terms]
        wanted = sp.Matrix(direct[order]) / sp.factorial(order)
        assert sp.expand(sum(values, sp.zeros(2, 1)) - wanted) == sp.zeros(2, 1)
        distinct = [
            value
            for term, value in zip(terms, values, strict=True)
            if len(set(term.labels)) == order
        ]
        # The sum over distinct labels alone is right to second order and wrong from the third on.
        rest = sp.expand(sum(distinct, sp.zeros(2, 1)) - wanted)
        assert (rest == sp.zeros(2, 1)) == (order < 3)


def test_without_the_symmetry_the_sum_is_wrong_from_order_three():
    direct = derivatives_of_network(2, 3)
    for order, terms in residual_expansion(3, 2).items():
        wrong = sum((t.value(sp.Matrix([x, y])) / t.coefficient for t in terms), sp.zeros(2, 1))
        rest = sp.expand(wrong - sp.Matrix(direct[order]) / sp.factorial(order))
        assert (rest == sp.zeros(2, 1)) == (order < 3)


def composed(functions, scales, state):
    for function, scale in zip(functions, scales, strict=True):
        state = state + scale * function(state)
    return state


def test_polynomial_blocks_to_the_last_order():
    """The composition of polynomials is a polynomial: all orders, and none beyond the last."""
    functions = [lambda z: z**2 - 1, lambda z: 2 * z**2 + z, lambda z: z**3 / 2 - z]
    whole = sp.Poly(sp.expand(composed(functions, LAMBDAS[:3], x)), *LAMBDAS[:3])
    last = whole.total_degree()
    expansion = residual_expansion(last, functions)
    assert sp.expand(expansion.expression(x) - whole.as_expr()) == 0
    assert sp.expand(expansion.truncate(last - 1).expression(x) - whole.as_expr()) != 0
    blocks = [f(x) for f in functions]
    again = residual_expansion(last, blocks, variables=x)
    assert sp.expand(again.expression(y) - whole.as_expr().subs(x, y)) == 0


coefficients = st.lists(st.fractions(-2, 2, max_denominator=4), min_size=3, max_size=3)


@given(st.lists(coefficients, min_size=1, max_size=3), st.fractions(-2, 2, max_denominator=3))
def test_random_quadratic_blocks_at_random_states(rows, state):
    """Nothing is neglected from the order of the last power of the common scale on."""
    lam, start = sp.Symbol("lambda"), sp.Rational(state.numerator, state.denominator)
    numbers = [[sp.Rational(c.numerator, c.denominator) for c in row] for row in rows]
    functions = [lambda z, abc=abc: abc[0] + abc[1] * z + abc[2] * z**2 for abc in numbers]
    whole = sp.expand(composed(functions, [lam] * len(functions), start))
    found = residual_expansion(2 ** len(functions) - 1, functions, lam).expression(start)
    assert sp.expand(found - whole) == 0


@pytest.mark.slow
def test_generic_blocks_at_order_five():
    direct = derivatives_of_network(5, 5)
    values = [term.value(sp.Matrix([x, y])) for term in residual_expansion(5, 5)[5]]
    wanted = sp.Matrix(direct[5]) / sp.factorial(5)
    assert sp.expand(sum(values, sp.zeros(2, 1)) - wanted) == sp.zeros(2, 1)


@pytest.mark.parametrize("name", SMOOTH)
def test_activations_to_order_four_at_fifty_digits(name):
    """Numerical Taylor coefficients in the common scale of a network of three blocks."""
    mpmath.mp.dps = 50
    try:
        activation = Activation(name)
        phi = sp.lambdify(activation.variable, activation.expression, "mpmath")
        start = mpmath.mpf(7) / 10
        network = lambda s: composed([phi] * 3, [s, 2 * s, -s], start)  # noqa: E731
        taylor = mpmath.taylor(network, 0, 4)
        lam = sp.Symbol("lambda")
        expansion = residual_expansion(4, [activation] * 3, [1, 2, -1])
        for order, terms in expansion.items():
            value = mpmath.fsum(term.value(start) for term in terms)
            assert abs(value - taylor[order]) < mpmath.mpf(10) ** -30
            wrong = value - terms[-1].value(start) / 100
            assert abs(wrong - taylor[order]) > mpmath.mpf(10) ** -10
        in_scale = residual_expansion(4, [activation] * 3, [lam, 2 * lam, -lam])
        assert in_scale[2][0].scale == 2 * lam**2
    finally:
        mpmath.mp.dps = 15


def tanh_network(width: int, depth: int):
    rng = np.random.default_rng(7)
    weights = [
        sp.Matrix(width, width, [sp.Rational(int(w), 8) for w in rng.integers(-8, 9, width**2)])
        for _ in range(depth)
    ]
    return [lambda state, w=w: w * state.applyfunc(sp.tanh) for w in weights], weights


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_neglected_rest_of_a_vector_network_falls_with_its_order(order):
    blocks, weights = tanh_network(2, 3)
    numbers = [np.array(w, dtype=float) for w in weights]
    start = np.array([0.3, -0.8])
    rest = []
    for scale in (2.0**-4, 2.0**-5):
        state = start
        for w in numbers:
            state = state + scale * w @ np.tanh(state)
        value = residual_expansion(order, blocks, scale).expression(start)
        assert value.dtype == float
        rest.append(np.abs(value - state).max())
    assert abs(np.log2(rest[0] / rest[1]) - (order + 1)) < 0.35


def test_symbolic_depth_written_out_is_the_explicit_expansion():
    block = sp.Function("f")
    for scales in (None, sp.Symbol("lambda"), 1):
        expansion = residual_expansion(4, None, scales)
        written = expansion.expression(x).subs(expansion.depth, 4).doit()
        blocks = [lambda z, i=i: block(i, z) for i in range(1, 5)]
        given_scales = sp.IndexedBase("lambda") if scales is None else scales
        explicit = residual_expansion(4, blocks, given_scales).expression(x)
        assert sp.expand(written - explicit) == 0
        assert written.subs(x, y) != explicit
    assert residual_expansion(1).expression(2 * x).subs(expansion.depth, 2).doit() != x


def test_nested_sums_of_order_four():
    assert [str(term) for term in residual_expansion(4, scales=1).terms] == [
        "sum_{1<=i<=n} f_i",
        "sum_{1<=i<j<=n} f_j'(f_i)",
        "sum_{1<=i<j<k<=n} f_k'(f_j'(f_i))",
        "1/2 sum_{1<=k<=n} sum_{i, j<k} f_k''(f_i, f_j)",
        "sum_{1<=i<j<k<l<=n} f_l'(f_k'(f_j'(f_i)))",
        "1/2 sum_{1<=k<l<=n} sum_{i, j<k} f_l'(f_k''(f_i, f_j))",
        "sum_{1<=l<=n} sum_{i<l, j<k<l} f_l''(f_i, f_k'(f_j))",
        "1/6 sum_{1<=l<=n} sum_{i, j, k<l} f_l'''(f_i, f_j, f_k)",
    ]


def test_nested_sums_as_data():
    depth = sp.Symbol("k", integer=True, positive=True)
    for term in residual_expansion(6, depth).terms:
        nested = term.sum
        assert len(set(nested.indices)) == term.order
        assert "k" not in nested.indices
        assert nested.indices[0] == max(nested.indices)
        below = zip(nested.indices, nested.parents, nested.bounds, strict=True)
        for name, parent, bound in below:
            assert bound == ("k" if parent < 0 else nested.indices[parent])
            assert parent < 0 or name < bound
        assert [level.is_outermost for level in nested.levels].count(True) == 1
        inside = itertools.chain.from_iterable(itertools.chain(*(v.chains for v in nested.levels)))
        assert sorted(inside) == sorted(nested.indices)
    chain = Tree()
    for _ in range(15):
        chain = Tree([chain])
    (level,) = NestedSum(chain, sp.Symbol("n")).levels
    assert level.chains == ((*"ijklmpqrstuvw", "i_1", "j_1", "k_1"),)


@pytest.mark.parametrize("order", range(1, 6))
def test_nested_sums_have_as_many_addends_as_the_order_polynomial_says(order):
    expansion = residual_expansion(order, scales=1)
    sizes = expansion.counts(5).ordered_sums[order]
    for term in expansion[order]:
        ones = term.sum.over([sp.S.One] * order).subs(expansion.depth, 5).doit()
        assert ones == sizes[term.tree]


def test_terms_of_two_networks_of_a_reader():
    first, second, twin, chain, mixed = (
        residual_expansion(4, 3).term(tree)
        for tree in (
            LabelledTree(1),
            LabelledTree(2, [LabelledTree(1)]),
            LabelledTree(3, [LabelledTree(1), LabelledTree(1)]),
            LabelledTree(3, [LabelledTree(2, [LabelledTree(1)])]),
            LabelledTree(3, [LabelledTree(2), LabelledTree(1)]),
        )
    )
    l1, l2, l3 = LAMBDAS[:3]
    f1, f2, f3 = (sp.Function(f"f_{i}")(x) for i in (1, 2, 3))
    assert (twin.coefficient, twin.scale, twin.labels) == (sp.Rational(1, 2), l1**2 * l3, (3, 1, 1))
    assert twin.tree is Tree([Tree(), Tree()])
    assert first.value(x) == l1 * f1
    assert second.value(x) == l1 * l2 * f2.diff(x) * f1
    assert twin.value(x) == l1**2 * l3 * f3.diff(x, 2) * f1**2 / 2
    assert chain.value(x) == l1 * l2 * l3 * f3.diff(x) * f2.diff(x) * f1
    assert mixed.value(x) == l1 * l2 * l3 * f3.diff(x, 2) * f1 * f2
    assert str(twin) == "1/2 lambda_1**2*lambda_3 f_3''(f_1, f_1)"
    assert twin.text(latex=True) == (
        r"\frac{1}{2} \lambda_{1}^{2} \lambda_{3} f_{3}''(f_{1}, f_{1})"
    )


def test_affine_blocks_leave_chains_alone():
    """``2^n`` paths, one per set of layers: all other differentials vanish."""
    slopes, shifts = sp.symbols("a1:5"), sp.symbols("b1:5")
    blocks = [a * x + b for a, b in zip(slopes, shifts, strict=True)]
    expansion = residual_expansion(5, blocks, variables=x, parameters=[*slopes, *shifts])
    alive = [term for term in expansion.terms if term.value(x) != 0]
    assert len(alive) + 1 == 2**4
    for term in alive:
        assert sorted(term.labels, reverse=True) == list(term.labels)
        assert str(term.tree) == "[" * term.order + "]" * term.order
    whole = x
    for block, scale in zip(blocks, LAMBDAS[:4], strict=True):
        whole = whole + scale * block.subs(x, whole)
    assert sp.expand(expansion.expression(x) - whole) == 0


@given(st.integers(1, 4), st.integers(1, 5))
def test_sizes_are_the_counts(order, depth):
    expansion = residual_expansion(order, depth)
    counts = expansion.counts()
    for k, terms in expansion.items():
        assert len(terms) == counts.classes[k] == expansion.size(k)
        assert sum(term.coefficient for term in terms) == counts.weighted[k]
        assert sum(len(set(t.labels)) == k for t in terms) == counts.distinct[k]
    symbolic = residual_expansion(order)
    assert {k: len(v) for k, v in symbolic.items()} == dict(counts.trees)
    polynomials = symbolic.counts()
    assert polynomials.classes[order].subs(symbolic.depth, depth) == counts.classes[order]


def test_values_have_the_form_of_the_state():
    blocks = [sp.tanh, sp.sin]
    expansion = residual_expansion(3, blocks, 0.25)
    number = expansion.expression(0.5)
    assert isinstance(number, float)
    array = expansion.expression(np.array([0.5, 0.7]))
    assert array.shape == (2,)
    assert array.dtype == float
    assert array[0] == number
    exact = expansion.expression(sp.Rational(1, 2))
    assert abs(exact.evalf(20) - number) < 1e-15
    column = expansion.expression(sp.Matrix([x, y]))
    assert column.shape == (2, 1)
    assert column[1] == expansion.expression(y)
    assert expansion.expression(sp.Matrix([[x, y]])).shape == (1, 2)
    half = residual_expansion(3, blocks, sp.Symbol("r")).expression(0.5)
    assert half.subs(sp.Symbol("r"), 0.25) == pytest.approx(number, abs=1e-15)
    many = residual_expansion(2, [[x * y, x + y]], variables=(x, y)).expression(np.array([1.0, 2]))
    assert list(many) == [1.0 + 2.0 * LAMBDAS[0], 2.0 + 3.0 * LAMBDAS[0]]
