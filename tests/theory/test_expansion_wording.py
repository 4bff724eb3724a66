"""Expansions as text: signs, zeros, names; and copies of them."""

from __future__ import annotations

import pickle

import pytest
import sympy as sp

from resexpand import remainder_bound, residual_expansion, to_latex

x, y, a = sp.symbols("x y a")
plain_n = sp.Symbol("n")


def test_minus_signs_replace_plus_signs():
    expansion = residual_expansion(2, 2, [-1, sp.Rational(-1, 2)])
    assert str(expansion) == "F(x) = x\n  - f_1\n  - 1/2 f_2\n  + 1/2 f_2'(f_1)"
    assert expansion._repr_latex_() == (
        r"$\displaystyle F(x) = x - f_{1} - \frac{1}{2} f_{2} + \frac{1}{2} f_{2}'(f_{1})$"
    )
    assert r"T_{1} = - f_{1} - \frac{1}{2} f_{2}" in to_latex(expansion)
    assert r"(1 - f_{1})" in to_latex(residual_expansion(1, 1, -1), "document")


def test_blocks_of_scale_zero_leave_no_terms():
    expansion = residual_expansion(3, 2, [0, a])
    assert str(expansion) == "F(x) = x\n  + a f_2"
    assert expansion._repr_latex_() == r"$\displaystyle F(x) = x + a f_{2}$"
    latex = to_latex(expansion)
    assert "T_{1} = a f_{2}" in latex
    assert "T_{2} = 0\n" in latex
    assert str(residual_expansion(3, 2, 0)) == "F(x) = x"


@pytest.mark.parametrize("name", ["i", "k"])
def test_no_index_has_the_name_of_a_scale(name):
    expansion = residual_expansion(3, None, sp.Symbol(name))
    for order in expansion:
        for term in expansion[order]:
            assert name not in term.sum.indices
    assert str(residual_expansion(1, None, sp.Symbol("i"))).endswith("i sum_{1<=j<=n} f_j")


def test_a_scale_written_in_n_depends_on_the_depth():
    expansion = residual_expansion(2, None, 1 / sp.sqrt(plain_n))
    assert expansion.scales == 1 / sp.sqrt(expansion.depth)
    assert sp.simplify(remainder_bound(expansion).time - sp.sqrt(expansion.depth)) == 0
    assert remainder_bound(2, scale=1 / plain_n).time == 1


def test_complex_scales_enter_the_remainder_by_their_size():
    assert remainder_bound(residual_expansion(2, 2, [sp.I, 3 + 4 * sp.I])).time == 6


def test_a_term_shows_itself_in_notebooks():
    (term,) = residual_expansion(2)[2]
    written = r"$\displaystyle \sum_{1 \le i < j \le n} \lambda_{i} \lambda_{j} f_{j}'(f_{i})$"
    assert term._repr_latex_() == written


@pytest.mark.parametrize(
    ("blocks", "options", "state"),
    [
        (2, {}, x),
        ([sp.sin, x**2, a * x], {"parameters": [a], "variables": x}, x),
        ([[x * y, sp.sin(x)]] * 2, {"variables": (x, y)}, sp.Matrix([x, y])),
    ],
)
def test_pickled_expansions_are_the_same(blocks, options, state):
    expansion = residual_expansion(3, blocks, **options)
    before = expansion.expression(state)
    copy = pickle.loads(pickle.dumps(expansion))  # noqa: S301 - written by this very test
    assert str(copy) == str(expansion)
    assert copy.expression(state) == before
