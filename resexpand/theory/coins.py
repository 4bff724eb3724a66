r"""Kernels whose blocks are switched by coins: stochastic depth at infinite width.

One coin b acts on all neurons of a block, so ``K^l`` stays random at infinite width. Given the
coins, ``K^l = U_b(K^{l-1})``. Where every ``U_b = alpha_b K + beta_b`` is affine, as for a
normalised branch (C constant) and for homogeneous activations (C proportional to K),

    E K^l = E[alpha_b] E K^{l-1} + E beta_b,
    Var K^l = E[alpha_b^2] Var K^{l-1} + Var_b[alpha_b E K^{l-1} + beta_b].

Elsewhere the mean obeys no recursion of its own; `resexpand.numbers.coin_average` enumerates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import sympy as sp

from resexpand.conventions import K
from resexpand.errors import UnsupportedError
from resexpand.network.operation import Noise
from resexpand.theory.closure import close_elementary
from resexpand.theory.noise import averaged
from resexpand.theory.recursion import Output, Recursion

VARIANCE = sp.Symbol("K_var", nonnegative=True)


def over_coins(recursion: Recursion, coins: Sequence[Noise]) -> Recursion:
    """Return the recursion of the mean over the coins, and for one input that of the variance.

    Raises
    ------
    UnsupportedError
        If the state enters the update in a nonlinear way.
    """
    update = tuple(sp.expand(averaged(entry, coins)) for entry in recursion.update)
    mean = replace(recursion, title=f"mean {recursion.title}", update=update)
    slopes = [u.diff(s) for u in mean.flat_update for s in mean.state]
    require_constant(sp.Matrix(slopes), mean)
    if len(recursion.state) > 1:
        return mean
    (given,), (expected,) = recursion.update, update
    spread = sp.factor(averaged(sp.expand((given - expected) ** 2), coins))
    growth = sp.expand(averaged(recursion.flat(given).diff(K) ** 2, coins))
    output = Output("K_var", "trajectory", (VARIANCE,), meaning="variance of K over the coins")
    return replace(
        mean,
        state=(*mean.state, VARIANCE),
        initial=(*mean.initial, sp.Integer(0)),
        update=(*update, growth * VARIANCE + spread),
        outputs=(*mean.outputs, output),
    )


def require_constant(factors: sp.Expr | sp.Matrix, recursion: Recursion) -> None:
    """Raise if factors depend on the state: then an average over coins would not be exact.

    Raises
    ------
    UnsupportedError
        If they do.
    """
    numbers = dict(recursion.bindings)
    for factor in factors if isinstance(factors, sp.MatrixBase) else (factors,):
        closed = close_elementary(recursion.flat(factor), recursion.laws).xreplace(numbers)
        if any(sp.simplify(closed.diff(s)) != 0 for s in _held(closed, recursion.state)):
            raise UnsupportedError(
                f"the {recursion.title} of a network with stochastic depth",
                "the kernel is random at infinite width and enters a block in a nonlinear way, so "
                "its mean obeys no recursion of its own",
                "use coin_average(net, K0=...), which enumerates the coins, or sample()",
            )


def _held(expression: sp.Expr, state: Iterable[sp.Symbol]) -> list[sp.Symbol]:
    return [symbol for symbol in state if symbol in expression.free_symbols]
