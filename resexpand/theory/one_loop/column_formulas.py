r"""The order 1/N of an input and its tangent as formulas.

Columns of one network are its input ``h`` and a tangent ``v``, whose features are ``phi(h)`` and
``phi'(h) v``. Gram matrices have the entries hh, hv and vv; what knows the activation is written
for these, and everything else is the chain of `resexpand.theory.one_loop.formulas`, whose entries
run over them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import sympy as sp

from resexpand.conventions import DEPTH
from resexpand.references import Citation
from resexpand.theory.formula import Formula
from resexpand.theory.one_loop.derived import LAYER, Columns, Derived
from resexpand.theory.one_loop.formulas import Chain
from resexpand.theory.one_loop.process import Process
from resexpand.theory.one_loop.quantities import quantity
from resexpand.theory.recursion import Recursion

ENTRIES = ("hh", "hv", "vv")

MOST = {"variance": 1, "tangent": 2, "gradient": 2, "parameters": 2}
"""How many tangents an entry holds at most, by kind of response."""


def column_formulas(
    base: Recursion, process: Process, kind: str, citations: tuple[Citation, ...]
) -> list[Formula]:
    """Derive all formulas of a response at finite width, each after those it needs.

    Parameters
    ----------
    base : Recursion
        The kernel recursion of one input.
    process : Process
        Of the same network, of one kind of block.
    kind : str
        One of `MOST`.
    citations : tuple of Citation
        Where the equations stand.
    """
    entries = tuple(e for e in ENTRIES if e.count("v") <= MOST[kind])
    both = tuple((first, second) for first, second in product(entries, repeat=2))
    variables, trained = sp.symbols("x_h x_v y_h y_v", real=True), kind == "parameters"
    rows = entries, entries, entries
    columns = Columns("hv", "hv", variables, *rows, both, len(entries), trained)
    made = Derived(base, process, columns, citations)
    return [*Chain(made).formulas(), *_responses(made, kind)]


def _responses(made: Derived, kind: str) -> Iterator[Formula]:
    """Yield the response, its shift and its variance, in terms of the entries."""
    end, first = DEPTH + 1, made.process.draws[0]
    at = made.at
    layers: tuple[sp.Expr, ...] = (DEPTH,)
    if kind == "variance":
        layers = (LAYER, sp.Integer(0))
        words = "of the tangent $v^0 = h^0 / (2 K^0)$: $K_{hv}^0 = 1/2$, $K_{vv}^0 = 1/(4K^0)$"
        value, shift = 2 * at("K", "hv", LAYER), 2 * at("kernel_mean", "hv", LAYER)
        spread = 4 * at("empirical_covariance", "hv hv", LAYER, LAYER)
    elif kind == "tangent":
        layers = (LAYER, sp.Integer(0))
        words = "of $|v^l|^2/|v^0|^2$ with a normal $v^0$: $K_{hv}^0 = 0$, $K_{vv}^0 = 1$"
        value, shift = at("K", "vv", LAYER), at("kernel_mean", "vv", LAYER)
        spread = at("empirical_covariance", "vv vv", LAYER, LAYER) - 2 * value**2
    else:
        words = (
            "of $|\\partial y/\\partial h^m|^2$: the tangent is normal and begins at layer m"
            if kind == "gradient"
            else "of the tangent kernel: $v$ goes along independent copies of all parameters, "
            "$K_{hv}^0 = 0$, $K_{vv}^0 = K^0$"
        )
        # What reads the stream: the read-out, or the first draw of a further block in its place.
        last, weight, bias = 0, sp.Integer(1), sp.Integer(0)
        if made.process.read_out is None:
            # It stands in for a read-out of unit weights and without biases.
            last, (weight, own) = made.place(first), made.variances(first)
            bias = own if made.columns.trained else bias
            words += "; read out by unit weights"
        value = (at("C", "vv", end, draw=last) - bias) / weight
        shift = at("gram_mean", "vv", end, draw=last) / weight
        spread = at("gram_covariance", "vv vv", end, end, draw=last) / weight**2
    for stem, rhs, what in (
        ("finite", value, "value at infinite width"),
        ("finite_shift", shift, "shift of the mean, times N,"),
        ("finite_variance", spread, "variance, times N,"),
    ):
        yield made.formula(stem, quantity(stem, *layers), rhs, f"{what} {words}")
