r"""The Residual Expansion Theorem at every order.

A residual network ``F = (1 + lambda_n f_n) o ... o (1 + lambda_1 f_1)`` with smooth blocks is

    F(x) = x + sum_{(T, l)} [ prod_v lambda_{l(v)} / |Aut(T, l)| ] F_T^l(x)

over classes of rooted trees ``T`` whose labels ``l`` strictly decrease from parent to child
(`resexpand.combinatorics`). The elementary differential ``F_T^l`` applies at each vertex with label
``i`` and ``m`` children the ``m``-th derivative of ``f_i`` to the differentials of the children.
Labels may repeat on vertices that are not comparable: ``f_3''(f_1, f_1)/2`` is a term of order 3,
and ``F`` is not linear in ``lambda_1``.

Source: Dherin & Munn (2025), who give the orders 1 and 2.
"""

from resexpand.theory.expansion.build import residual_expansion
from resexpand.theory.expansion.counts import Counts
from resexpand.theory.expansion.expansion import Expansion
from resexpand.theory.expansion.sums import Level, NestedSum
from resexpand.theory.expansion.term import Term

__all__ = ["Counts", "Expansion", "Level", "NestedSum", "Term", "residual_expansion"]
