r"""Remainders of truncated expansions: bounds by majorant series.

Let every block satisfy ``|D^m f_i(x)| <= B_m`` at the input ``x`` for all ``m``, in one norm and
the operator norm it induces on multilinear maps. Replacing each block by the scalar function

    fhat(s) = sum_m B_m s^m / m!

replaces every elementary differential by a number that bounds its norm, so that the coefficients of

    S_i = S_{i-1} + |lambda_i| fhat(S_{i-1}),   S_0 = 0,

in powers of the scales bound the orders of ``F(x) - x``. The remainder after order ``k`` is at
most ``S_n`` minus its own first ``k`` orders. Two families have closed forms:

    analytic   B_m = M m! / R^m    fhat(s) = M / (1 - s/R)    poles at distance R
    entire     B_m = M / R^m       fhat(s) = M exp(s/R)       sines and exponentials

``S_i`` is Euler's method for the flow ``s' = fhat(s)``, ``s(0) = 0``, whose later Taylor terms are
all positive: order by order it stays below the flow at time ``t = |lambda_1| + ... + |lambda_n|``,
which depends on the depth through ``t`` alone.
"""

from resexpand.theory.remainder.blocks import majorant_of
from resexpand.theory.remainder.bound import RemainderBound
from resexpand.theory.remainder.build import remainder_bound
from resexpand.theory.remainder.majorant import Majorant

__all__ = ["Majorant", "RemainderBound", "majorant_of", "remainder_bound"]
