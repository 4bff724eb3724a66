"""Composition, derivatives in a scale, truncation: laws that hold for networks themselves."""

from __future__ import annotations

import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from resexpand import residual_expansion
from resexpand.combinatorics import LabelledTree
from resexpand.theory.expansion import composition

x = sp.Symbol("x")
LAMBDAS = sp.symbols("lambda_1:8")
small = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))


@given(small)
def test_two_networks_are_one(sizes):
    order, first, later = sizes
    whole = residual_expansion(order, later).after(residual_expansion(order, first))
    assert whole.depth == first + later
    assert whole.scales == LAMBDAS[: first + later]
    assert whole.weights == residual_expansion(order, first + later).weights
    assert (residual_expansion(order, later) @ residual_expansion(order, first)).order == order


def test_composition_is_associative_and_keeps_the_lower_order():
    a, b, c = residual_expansion(4, 2), residual_expansion(5, 1), residual_expansion(4, 2)
    left, right = (c @ b) @ a, c @ (b @ a)
    assert left.order == right.order == 4
    assert left.weights == right.weights


def test_composition_without_multiplicities_is_wrong(monkeypatch):
    """The divided multiplicities of the grafted trees are needed from order 3 on."""
    monkeypatch.setattr(composition, "factorial", lambda copies: 1)
    whole = residual_expansion(3, 1) @ residual_expansion(3, 1)
    right = residual_expansion(3, 2)
    for order in (1, 2, 3):
        wrong, good = (
            {t.labelled: t.coefficient * t.scale for t in expansion[order]}
            for expansion in (whole, right)
        )
        assert (wrong == good) == (order < 3)


@given(small, st.data())
def test_derivative_of_a_composition(sizes, data):
    """``d/dlambda`` passes through the later network, whose coefficients are then general."""
    order, first, later = sizes
    a, b = residual_expansion(order, first), residual_expansion(order, later)
    place = data.draw(st.integers(1, later))
    direct = (b @ a).diff(LAMBDAS[first + place - 1])
    assert (b.diff(LAMBDAS[place - 1]) @ a).weights == direct.weights
    assert direct.identity == 0


def test_derivatives_in_a_scale_are_those_of_the_expression():
    lam, mu = sp.symbols("lambda mu")
    for scales in (lam, [lam, mu], [lam, 2 * lam], [lam * mu, sp.exp(lam)]):
        expansion = residual_expansion(4, [sp.sin, sp.exp], scales)
        for symbol in (lam, "lambda"):
            once, twice = expansion.diff(symbol), expansion.diff(symbol).diff(symbol)
            value = expansion.expression(x)
            assert sp.expand(once.expression(x) - value.diff(lam)) == 0
            assert sp.expand(twice.expression(x) - value.diff(lam, 2)) == 0
    shared = residual_expansion(3, scales=lam)
    assert shared.diff(lam).expression(x).doit() == shared.expression(x).diff(lam)
    assert [str(term) for term in shared.diff(lam)[3]] == [
        "3 lambda**2 sum_{1<=i<j<k<=n} f_k'(f_j'(f_i))",
        "3/2 lambda**2 sum_{1<=k<=n} sum_{i, j<k} f_k''(f_i, f_j)",
    ]
    single = residual_expansion(3, 2).diff("lambda_1")
    assert str(single) == (
        "dF(x) = 0\n  + f_1\n  + lambda_2 f_2'(f_1)\n  + lambda_1*lambda_2 f_2''(f_1, f_1)"
    )


def test_concrete_blocks_compose_as_functions():
    lam = sp.Symbol("lambda")
    first = residual_expansion(5, [lambda z: z**2], lam)
    later = residual_expansion(5, [lambda z: z**3 - z], lam)
    inner = x + lam * x**2
    whole = sp.Poly(sp.expand(inner + lam * (inner**3 - inner)), lam)
    assert sp.expand((later @ first).expression(x) - whole.as_expr()) == 0
    assert sp.expand((first @ later).expression(x) - whole.as_expr()) != 0
    mixed = residual_expansion(3, 1) @ residual_expansion(3, [sp.sin], lam)
    formal = sp.Function("f_2")(x)
    assert mixed.scales == (lam, LAMBDAS[1])
    assert mixed[2][0].value(x) == lam * LAMBDAS[1] * sp.sin(x) * formal.diff(x)


def test_truncation():
    expansion = residual_expansion(5, 3)
    assert expansion.truncate(5).weights == expansion.weights
    short = expansion.truncate(2)
    assert short.weights == residual_expansion(2, 3).weights
    grown = (residual_expansion(4, 1) @ expansion).truncate(3)
    assert grown.weights == residual_expansion(3, 4).weights
    assert (residual_expansion(4, 1) @ short).weights == residual_expansion(2, 4).weights
    assert residual_expansion(4).truncate(2).counts().trees == {1: 1, 2: 1}


def test_mapping_and_printing():
    expansion = residual_expansion(6, 10)
    assert list(expansion) == [1, 2, 3, 4, 5, 6]
    assert len(expansion) == 6
    assert 7 not in expansion
    assert 0 not in expansion
    assert repr(expansion) == "Expansion(order=6, depth=10)"
    lines = str(expansion).splitlines()
    assert lines[0] == "F(x) = x"
    assert lines[-1] == "  + order 6: 96291 terms"
    assert len(lines) == 1 + 10 + 5
    assert expansion._repr_latex_().endswith(r"\cdots$")
    assert repr(expansion[1][0]) == "Term(lambda_1 f_1)"
    assert expansion != residual_expansion(6, 10)
    assert expansion.term(LabelledTree(9)).scale == sp.Symbol("lambda_9")
    assert [citation.reference.key for citation in expansion.citations] == ["dherin2025"]
    fourth = residual_expansion(5, scales=1).truncate(5)[5][-1]
    assert str(fourth) == "1/24 sum_{1<=m<=n} sum_{i, j, k, l<m} f_m^(4)(f_i, f_j, f_k, f_l)"
    assert residual_expansion(2)._repr_latex_() == (
        r"$\displaystyle F(x) = x + \sum_{1 \le i \le n} \lambda_{i} f_{i} + "
        r"\sum_{1 \le i < j \le n} \lambda_{i} \lambda_{j} f_{j}'(f_{i})$"
    )


@pytest.mark.parametrize("depth", [4, sp.Symbol("m"), 10**6])
def test_counts_of_another_depth(depth):
    counts = residual_expansion(3).counts(depth)
    assert counts.depth == depth
    assert list(counts.classes) == [1, 2, 3]
    assert str(counts).splitlines()[0] == f"depth {depth}"
    assert sum(counts.ordered_sums[2].values()) == counts.weighted[2] == counts.distinct[2]
