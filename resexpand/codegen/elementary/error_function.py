r"""Error function and its complement in double precision, without branches.

:math:`\mathrm{erf}\,x = x + x P(x^2)` up to 3/4 and :math:`1 - 2^{P(x - 3/4)}` beyond, where the
polynomial is that of :math:`\log_2 \mathrm{erfc}`, from which whole numbers are split off without
rounding; both pieces are computed and one is selected.
The complement keeps its relative accuracy down to the smallest numbers by
:math:`\mathrm{erfc}\,x = e^{-x^2} P(t)/(1 + 2x)`, :math:`t = (x - 4)/(x + 4)`, with the square held
in two parts, and near the origin as 1 - erf.
"""

from __future__ import annotations

from resexpand.codegen.elementary.bits import as_float, as_int
from resexpand.codegen.elementary.exponential import exp2_of_bounded, exp_of_sum, with_sign_of
from resexpand.codegen.elementary.polynomials import erf_inner, erf_outer, erfc_tail

LOW_27_BITS_OFF = -134217728


def erf(x: float) -> float:
    """Return the error function."""
    a = abs(x)
    inner = a + a * erf_inner(a * a)
    bounded = 6.0 if a > 6.0 else a
    outer = 1.0 - exp2_of_bounded(erf_outer(bounded - 0.75))
    return with_sign_of(x, inner if a < 0.75 else outer)


def erfc(x: float) -> float:
    """Return the complementary error function, accurate down to the smallest numbers."""
    a = abs(x)
    a = 28.0 if a > 28.0 else a
    short = as_float(as_int(a) & LOW_27_BITS_OFF)
    gauss = exp_of_sum(-short * short, -(a - short) * (a + short))
    y = gauss * (erfc_tail((a - 4.0) / (a + 4.0)) / (1.0 + 2.0 * a))
    y = 2.0 - y if x < 0.0 else y
    return 1.0 - (x + x * erf_inner(x * x)) if a < 0.47 else y
