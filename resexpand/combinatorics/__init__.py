r"""Rooted trees, their layer labels, and how many there are.

A rooted tree ``T`` is a root with a multiset of subtrees. Its *symmetry* ``|Aut T|`` is the number
of permutations of vertices that keep the root and the edges, its *factorial* ``T!`` the product of
the sizes of the subtrees at all vertices.

A labelling ``l`` of ``n`` blocks gives each vertex a label from ``1 .. n`` that is smaller than the
label of its parent. Vertices that are not above one another may share a label. Labelled trees are
counted up to isomorphism (*classes*), with weight ``1/|Aut(T, l)|`` (*weighted*) or only where all
labels differ (*distinct*). The number of labellings of a fixed tree is its strict order polynomial
``Omega(T, n)``, of degree ``|T|`` in ``n`` with leading coefficient ``1/T!``.
"""

from resexpand.combinatorics.counting import (
    class_count,
    distinct_count,
    order_polynomial,
    tree_count,
    weighted_count,
)
from resexpand.combinatorics.labelled import LabelledTree, labelled_trees
from resexpand.combinatorics.tree import Tree, trees

__all__ = [
    "LabelledTree",
    "Tree",
    "class_count",
    "distinct_count",
    "labelled_trees",
    "order_polynomial",
    "tree_count",
    "trees",
    "weighted_count",
]
