r"""Exact moments at finite width, where a network can be solved.

Notation: ``G^l = |h^l|^2 / N`` at width ``N``, ``C^l`` the covariance of the last `Linear` of block
``l`` given the layer before, ``r = rho^2``. Rows of ``h^0`` are independent ``N(0, K0)``, so
``G^0`` is ``K0`` times a chi-square of ``N`` degrees over ``N``.

One fact holds at every width: given the features it acts on, the rows of a `Linear` are independent
Gaussians. Hence, given ``h^{l-1}`` and ``C^l``,

    G^l = G^{l-1} + 2 rho sqrt(G^{l-1} C^l / N) z + r C^l (z^2 + X) / N,

``z`` standard normal (the direction along ``h^{l-1}``), ``X`` chi-square of ``N - 1`` degrees (all
others). Moments of ``G^l`` follow by averaging this polynomial, if ``C^l`` is a polynomial of
``G^{l-1}`` and of averages that know nothing of it. That is so

- if every activation of the branch has ``phi(x)^2 = s_+ |x|^{2d}`` for ``x > 0`` and ``s_-`` times
  the same for ``x < 0``, ``d`` 0 or 1 (identity, relu, leaky_relu, sign, absolute value), one that
  acts on the stream itself with ``s_+ = s_-``, and the branch ends in a `Linear`: all depths;
- if another activation acts on the stream itself, and only those follow: one block.

Elsewhere ``C^l`` depends on more than ``G^{l-1}``, and no finite set of moments is closed.
"""

from __future__ import annotations

from resexpand.theory.exact_moments.recursions import exact_moments

__all__ = ["exact_moments"]
