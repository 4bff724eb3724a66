"""One contender of the tree benchmark in a process of its own: nothing is cached between rounds.

    python benchmarks/trees_worker.py NAME SIZE

writes one line: the seconds it took, without imports, and a digest of what came out. Contenders
whose digests belong together must give the same.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

BLOCKS = 10

Work = Callable[[int], Callable[[], Any]]


def unlabelled(order: int) -> Callable[[], Any]:
    """Return our trees of all orders, each with its symmetry and factorial."""
    from resexpand.combinatorics import trees

    return lambda: sorted((t.symmetry, t.factorial) for k in range(1, order + 1) for t in trees(k))


def unlabelled_by_kauri(order: int) -> Callable[[], Any]:
    """Return the same from kauri."""
    import kauri

    return lambda: sorted(
        (t.sigma(), t.factorial()) for k in range(1, order + 1) for t in kauri.trees_of_order(k)
    )


def labelled(order: int) -> Callable[[], Any]:
    """Return the terms of 10 blocks as terms, with their coefficients: nothing is merged."""
    from resexpand import residual_expansion

    return lambda: [(t.labels, t.coefficient) for t in residual_expansion(order, BLOCKS).terms]


def merged_labelled(order: int) -> Callable[[], Any]:
    """Return the same terms merged into monomials, as the polynomial contenders must."""
    from resexpand.combinatorics import labelled_trees

    def work() -> dict[tuple[tuple[int, int], ...], Fraction]:
        total: dict[tuple[tuple[int, int], ...], Fraction] = {}
        for k in range(1, order + 1):
            for tree in labelled_trees(k, BLOCKS):
                degrees = (len(vertex.children) for vertex in tree.shape)
                key = tuple(sorted(zip(tree.labels, degrees, strict=True)))
                total[key] = total.get(key, Fraction(0)) + Fraction(1, tree.symmetry)
        return total

    return work


def composed(order: int, symbols: Any, product: Callable[[Any, Any], Any], one: Any) -> list[Any]:
    """Return the orders of ``S_i = S_{i-1} + sum_m y_im S_{i-1}^m / m!``, truncated.

    ``y_im`` stands for the ``m``-th derivative of block ``i``: the composition in one dimension.
    """
    state = [0 * one] * (order + 1)
    for derivatives in symbols:
        power = [one] + [0 * one] * order
        added = [0 * one] * (order + 1)
        for m, derivative in enumerate(derivatives):
            for k in range(order):
                added[k + 1] += product(derivative, power[k])
            power = [
                sum((product(power[i], state[k - i]) for i in range(k + 1)), 0 * one) / (m + 1)
                for k in range(order + 1)
            ]
        state = [a + b for a, b in zip(state, added, strict=True)]
    return state


def ring(order: int) -> Callable[[], Any]:
    """Return the merged monomials from `sympy.ring`."""
    import sympy as sp

    names = [f"y_{i}_{m}" for i in range(1, BLOCKS + 1) for m in range(order)]
    _, *generators = sp.ring(names, sp.QQ)
    one = generators[0] ** 0
    rows = [generators[i * order : (i + 1) * order] for i in range(BLOCKS)]

    def work() -> dict[tuple[tuple[int, int], ...], Fraction]:
        total = {}
        for polynomial in composed(order, rows, lambda a, b: a * b, one):
            for exponents, coefficient in polynomial.terms():
                powers = Counter(
                    {(j // order + 1, j % order): e for j, e in enumerate(exponents) if e}
                )
                key = tuple(sorted(powers.elements()))
                total[key] = Fraction(int(coefficient.numerator), int(coefficient.denominator))
        return total

    return work


def plain_sympy(order: int) -> Callable[[], Any]:
    """Return the same composition with SymPy expressions, expanded."""
    import sympy as sp

    rows = [sp.symbols(f"y_{i}_:{order}") for i in range(1, BLOCKS + 1)]
    return lambda: composed(order, rows, lambda a, b: sp.expand(a * b), sp.S.One)[order].args


WORKS: dict[str, Work] = {
    "unlabelled": unlabelled,
    "unlabelled, kauri": unlabelled_by_kauri,
    "labelled": labelled,
    "labelled, merged": merged_labelled,
    "merged, sympy.ring": ring,
    "merged, plain SymPy": plain_sympy,
}


def digest(result: Iterable[Any]) -> str:
    """Return a short digest of numbers and monomials, whatever their order."""
    entries = result.items() if isinstance(result, dict) else result
    lines = sorted(map(str, entries))
    return f"{len(lines)}:{hashlib.sha256('|'.join(lines).encode()).hexdigest()[:16]}"


def main() -> int:
    """Do the work of one contender."""
    work = WORKS[sys.argv[1]](int(sys.argv[2]))
    begin = time.perf_counter()
    result = work()
    print(f"{time.perf_counter() - begin!r} {digest(result)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
