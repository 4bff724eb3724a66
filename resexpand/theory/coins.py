r"""Kernels whose blocks are switched by coins: stochastic depth at infinite width.

One coin b acts on all neurons of a block, so ``K^l`` stays random at infinite width. Given the
coins, ``K^l = U_b(K^{l-1})``. Where every ``U_b = alpha_b K + beta_b`` is affine, as for a
normalised branch (C constant) and for homogeneous activations (C proportional to K),

    E K^l = E[alpha_b] E K^{l-1} + E beta_b,
    Var K^l = E[alpha_b^2] Var K^{l-1} + Var_b[alpha_b E K^{l-1} + beta_b].

Elsewhere the mean obeys no recursion of its own; `resexpand.numbers.noise_average` enumerates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product

import sympy as sp

from resexpand.conventions import K
from resexpand.errors import UnsupportedError
from resexpand.gaussian.expectation import GaussianExpectation
from resexpand.network.operation import Noise
from resexpand.theory.closure import close_elementary
from resexpand.theory.noise import averaged
from resexpand.theory.recursion import Output, Recursion

VARIANCE = sp.Symbol("K_var", nonnegative=True)
GENERAL, DIGITS, ZERO = 61, 40, 1e-25
"""Point at which an expression is tested to be zero, in how many digits, and zero there."""


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
        slopes = (closed.diff(symbol) for symbol in _held(closed, recursion.state))
        if not all(_vanishes(slope, recursion) for slope in slopes):
            raise UnsupportedError(
                f"the {recursion.title} of a network with stochastic depth",
                "the kernel is random at infinite width and enters a block in a nonlinear way, so "
                "its mean obeys no recursion of its own",
                "use noise_average(net, K0=...), which enumerates the coins, or sample()",
            )


def _vanishes(expression: sp.Expr, recursion: Recursion) -> bool:
    """Return whether an expression is zero for every state and every hyperparameter.

    It is analytic, so that one point in general position tells; to simplify it can take for ever.
    """
    if expression.has(GaussianExpectation):
        return bool(sp.simplify(expression) == 0)
    symbols = sorted(expression.free_symbols, key=sp.default_sort_key)
    # Covariances small against variances: every point is a kernel.
    point = {
        symbol: sp.Rational(GENERAL + k, 97) if symbol.is_positive else sp.Rational(7 + k, 997)
        for k, symbol in enumerate(symbols)
        if not symbol.is_integer
    }
    listed = dict(recursion.layer_bindings)
    numbers = [symbol for symbol in symbols if symbol.is_integer]
    for chosen in product(*(dict.fromkeys(listed[symbol]) for symbol in numbers)):
        at = {**point, **dict(zip(numbers, chosen, strict=True))}
        if abs(sp.N(expression.xreplace(at), DIGITS)) > ZERO:
            return False
    return True


def _held(expression: sp.Expr, state: Iterable[sp.Symbol]) -> list[sp.Symbol]:
    return [symbol for symbol in state if symbol in expression.free_symbols]
