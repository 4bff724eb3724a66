"""The part of the table of functions that closed Gaussian averages are made of."""

from __future__ import annotations

from mpmath import mp

from resexpand.activations.arcsine import Area
from resexpand.activations.hyperbolic import ExpCosh, ExpSinh
from resexpand.activations.orthant import (
    ConditionalTail,
    Orthant,
    PairExponential,
    conditional_probability,
    orthant_probability,
    pair_factor,
)
from resexpand.codegen.function_entry import Span, entry
from resexpand.codegen.sound import Hypotenuse, Quotient

_NEAR = (Span(-3, 3), Span(-3, 3))
_SIZES = (Span(1e-150, 1e150, True, True), Span(1e-150, 1e150, True, True))
_MATRIX = (Span(1, 4), Span(1, 4), Span(-0.9, 0.9))
_PAIR = (*_MATRIX, Span(-2, -0.3), Span(-2, -0.3))

_FAR, _SMALL = Span(-300, -200), (Span(-3, 3), Span(1e-300, 1e-3, True, True))

# fmt: off
CLOSED_AVERAGES = (
    entry("exponential", "exp_cosh", "exp(x) cosh(y): all real numbers; inf where the product is",
          1.5, _NEAR, (_FAR, Span(-300, 300)),
          head=ExpCosh, reference=lambda x, y: mp.exp(x) * mp.cosh(y)),
    entry("exponential", "exp_sinh", "exp(x) sinh(y): all real; infinite where the product is",
          2.5, _NEAR, (_FAR, Span(-300, 300)), _SMALL,
          head=ExpSinh, reference=lambda x, y: mp.exp(x) * mp.sinh(y)),
    entry("bivariate", "hypotenuse", "sqrt(x^2 + y^2): all real numbers", 2.2, _NEAR, _SIZES,
          head=Hypotenuse, reference=mp.hypot),
    entry("bivariate", "area", "sqrt(a b - c^2); 0 where that is no covariance", 1.5, _MATRIX,
          head=Area, reference=lambda a, b, c: mp.sqrt(a * b - c * c)),
    entry("bivariate", "orthant", "P(y_1 > t, y_2 > u) at a covariance a, b, c; the absolute error "
          "is below 4e-16", 8.0, _PAIR, head=Orthant, reference=orthant_probability),
    entry("bivariate", "conditional_tail", "P(y_2 > u | y_1 = t) at a covariance a, b, c; 1/2 for "
          "equal variables and thresholds", 3.0, _PAIR,
          head=ConditionalTail, reference=conditional_probability),
    entry("bivariate", "pair_exponential", "exp(-(t, u) C^-1 (t, u) / 2) at a covariance a, b, c; "
          "below 1e-200 in places 0", 25.0, _PAIR, head=PairExponential, reference=pair_factor),
    entry("selection", "quotient", "all real x, and y other than 0", 0.5,
          (Span(1, 9), Span(1, 9)), _SIZES, head=Quotient, reference=lambda x, y: x / y),
)
# fmt: on
