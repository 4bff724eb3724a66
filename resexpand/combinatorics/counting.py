"""Closed counts of trees and labelled trees; nothing is enumerated.

Every count is a polynomial in the number of labels ``n``, of degree `order`, and costs the same at
``n = 10**6`` as at ``n = 4``.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from math import prod
from typing import Any

import sympy as sp

from resexpand.combinatorics.arguments import check_count, check_countable, check_order
from resexpand.combinatorics.counting_series import (
    class_values,
    rooted_tree_numbers,
    weighted_values,
)
from resexpand.combinatorics.polynomials import polynomial_at
from resexpand.combinatorics.tree import Tree
from resexpand.conventions import is_symbolic
from resexpand.errors import DescriptionError


def tree_count(order: int) -> int:
    """Return the number of unlabelled rooted trees of an order.

    Raises
    ------
    HyperparameterError
        If the order is not an integer of 1 or more.
    UnsupportedError
        If the order is above 150.

    Examples
    --------
    >>> tree_count(12)
    4766
    """
    return rooted_tree_numbers(check_countable(order))[order]


def class_count(order: int, n: Any) -> Any:
    """Return the number of classes of labelled trees, up to isomorphism.

    Parameters
    ----------
    order : int
        Number of vertices, from 1.
    n : int or sympy.Expr
        Number of labels.

    Returns
    -------
    int or sympy.Expr
        For a symbol, a polynomial of degree `order`.

    Raises
    ------
    HyperparameterError
        If the order or the number of labels is not an integer that makes sense.
    UnsupportedError
        If the order is above 150.

    Examples
    --------
    >>> [class_count(order, 4) for order in range(1, 6)]
    [4, 6, 14, 32, 75]
    """
    return polynomial_at(class_values(check_countable(order)), n)


def weighted_count(order: int, n: Any) -> Any:
    """Return the number of labelled trees, each with the weight ``1/|Aut(T, l)|``.

    Parameters
    ----------
    order : int
        Number of vertices, from 1.
    n : int or sympy.Expr
        Number of labels.

    Returns
    -------
    sympy.Expr
        A rational number; for a symbol, a polynomial of degree `order`.

    Raises
    ------
    HyperparameterError
        If the order or the number of labels is not an integer that makes sense.
    UnsupportedError
        If the order is above 150.

    Examples
    --------
    >>> [weighted_count(order, 4) for order in range(1, 6)]
    [4, 6, 11, 21, 161/4]
    """
    return polynomial_at(weighted_values(check_countable(order)), n)


def distinct_count(order: int, n: Any) -> Any:
    """Return the number of trees whose labels all differ: ``binomial(n, k) (k - 1)!``.

    Parameters
    ----------
    order : int
        Number of vertices ``k``, from 1.
    n : int or sympy.Expr
        Number of labels.

    Returns
    -------
    int or sympy.Expr

    Raises
    ------
    HyperparameterError
        If the order or the number of labels is not an integer that makes sense.

    Examples
    --------
    >>> [distinct_count(order, 4) for order in range(1, 6)]
    [4, 6, 8, 6, 0]
    """
    size = check_order(order)
    if is_symbolic(n, "number of labels"):
        return sp.Mul(*(n - i for i in range(size))) / size
    count = check_count(n)
    # Zero as soon as one factor is: there are fewer labels than vertices.
    return 0 if count < size else prod(range(count - size + 1, count + 1)) // size


def order_polynomial(tree: Tree, n: Any) -> Any:
    """Return the number of labellings of a tree that strictly decrease from parent to child.

    Vertices count as distinguishable: the strict order polynomial ``Omega(T, n)``. It is the number
    of addends of the nested sum that belongs to the tree, and tends to ``n^k / T!``.

    Parameters
    ----------
    tree : Tree
        A rooted tree.
    n : int or sympy.Expr
        Number of labels.

    Returns
    -------
    int or sympy.Expr
        For a symbol, a polynomial of degree `tree.order`.

    Raises
    ------
    HyperparameterError
        If the number of labels is not an integer of 0 or more.
    DescriptionError
        If `tree` is not a `Tree`.

    Examples
    --------
    >>> import sympy as sp
    >>> from resexpand.combinatorics import Tree
    >>> order_polynomial(Tree([Tree(), Tree()]), sp.Symbol("n"))
    n*(n - 1)*(2*n - 1)/6
    """
    if not isinstance(tree, Tree):
        raise DescriptionError(
            f"order polynomial of {tree!r}",
            f"it is of type {type(tree).__name__}",
            "give a Tree; a labelled tree has one as its shape",
        )
    return polynomial_at(labelling_values(tree, tree.order + 1), n)


@lru_cache(maxsize=2**16)
def labelling_values(tree: Tree, length: int) -> tuple[int, ...]:
    """Return the strict order polynomial of a tree at 0, 1, ..., ``length - 1``.

    With root label ``r`` the children have the labels below: ``sum_r prod_c Omega(T_c, r - 1)``.
    """
    below = [labelling_values(child, length) for child in tree.children]
    rooted = (prod(values[r] for values in below) for r in range(length - 1))
    return tuple(accumulate(rooted, initial=0))
