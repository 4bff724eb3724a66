"""Growth of the counts: against enumerated trees, and the limits that tame them."""

from __future__ import annotations

import pytest
import sympy as sp

from resexpand.combinatorics import class_count, labelled_trees, trees, weighted_count
from resexpand.errors import HyperparameterError
from resexpand.theory.count_growth import CONSTANT, count_growth, power_count, total_worst_case

N = sp.Symbol("n", integer=True, positive=True)


@pytest.mark.parametrize("order", range(1, 7))
@pytest.mark.parametrize("power", [0, 1, 2, 3])
def test_sums_over_classes_are_those_of_the_enumeration(order: int, power: int):
    for labels in range(1, 6):
        if class_count(order, labels) > 2000:
            break
        expected = sum(sp.Rational(1, t.symmetry**power) for t in labelled_trees(order, labels))
        assert power_count(order, labels, power) == expected


@pytest.mark.parametrize("order", range(1, 8))
def test_powers_zero_and_one_are_the_counts_known_otherwise(order: int):
    assert sp.expand(power_count(order, N, 0) - class_count(order, N)) == 0
    assert sp.expand(power_count(order, N, 1) - weighted_count(order, N)) == 0
    # The control: from order 3 on repeated labels tell the weights apart.
    differ = sp.expand(power_count(order, N, 2) - weighted_count(order, N)) != 0
    assert differ == (order >= 3)


@pytest.mark.parametrize("order", range(1, 9))
def test_all_three_have_the_leading_coefficient_one_over_the_order(order: int):
    growth = count_growth(order, N)
    for polynomial in (growth.worst, growth.square, growth.distinct):
        assert sp.Poly(polynomial, N).degree() == order
        assert sp.Poly(polynomial, N).LC() == sp.Rational(1, order)
    leading = sum(sp.Rational(1, t.factorial * t.symmetry) for t in trees(order))
    assert leading == sp.Rational(1, order)


@pytest.mark.parametrize("order", range(1, 7))
def test_formulas_are_limits_of_the_polynomials(order: int):
    growth = count_growth(order, N)
    plain, over_n, over_root, square = growth.formulas
    worst, squares = growth.worst, growth.square
    c = CONSTANT
    for formula, exact in (
        (plain, worst),
        (over_n, worst * (c / N) ** order),
        (over_root, worst * (c / sp.sqrt(N)) ** order),
        (square, squares * (c / sp.sqrt(N)) ** (2 * order)),
    ):
        assert sp.limit(sp.powsimp(exact / formula.rhs), N, sp.oo) == 1
        assert formula.neglects == "O(1/n)"
    # The neglected term is of relative order 1/n, not smaller.
    if order > 1:
        gap = sp.limit(N * (worst / plain.rhs - 1), N, sp.oo)
        assert gap.is_finite
        assert gap != 0


def test_worst_case_over_all_orders_is_their_sum():
    total = sp.series(total_worst_case().rhs, CONSTANT, 0, 7).removeO()
    orders = sum(count_growth(k, N).formulas[1].rhs for k in range(1, 7))
    assert sp.expand(total - orders) == 0


def test_large_depth_costs_nothing():
    assert float(power_count(8, 10**6, 2)) == pytest.approx(10**48 / 8, rel=1e-4)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "3"])
def test_wrong_orders_are_refused(wrong):
    with pytest.raises(HyperparameterError):
        count_growth(wrong)
    with pytest.raises(HyperparameterError):
        power_count(2, 3, -1)
