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
from resexpand.codegen.function_entry import FunctionEntry, Span
from resexpand.codegen.sound import Hypotenuse, Quotient

_NEAR = (Span(-3, 3), Span(-3, 3))
_SIZES = (Span(1e-150, 1e150, True, True), Span(1e-150, 1e150, True, True))
_MATRIX = (Span(1, 4), Span(1, 4), Span(-0.9, 0.9))
_PAIR = (*_MATRIX, Span(-2, -0.3), Span(-2, -0.3))

CLOSED_AVERAGES = (
    FunctionEntry(
        ExpCosh,
        "exp_cosh",
        "exponential",
        2,
        "exp(x) cosh(y): all real numbers; inf where the product is",
        lambda x, y: mp.exp(x) * mp.cosh(y),
        1.5,
        (_NEAR, (Span(-300, -200), Span(-300, 300))),
    ),
    FunctionEntry(
        ExpSinh,
        "exp_sinh",
        "exponential",
        2,
        "exp(x) sinh(y): all real numbers; infinite where the product is",
        lambda x, y: mp.exp(x) * mp.sinh(y),
        2.5,
        (_NEAR, (Span(-300, -200), Span(-300, 300)), (Span(-3, 3), Span(1e-300, 1e-3, True, True))),
    ),
    FunctionEntry(
        Hypotenuse,
        "hypotenuse",
        "bivariate",
        2,
        "sqrt(x^2 + y^2): all real numbers",
        mp.hypot,
        2.2,
        (_NEAR, _SIZES),
    ),
    FunctionEntry(
        Area,
        "area",
        "bivariate",
        3,
        "sqrt(a b - c^2); 0 where that is no covariance",
        lambda a, b, c: mp.sqrt(a * b - c * c),
        1.5,
        (_MATRIX,),
    ),
    FunctionEntry(
        Orthant,
        "orthant",
        "bivariate",
        5,
        "P(y_1 > t, y_2 > u) at a covariance a, b, c; the absolute error is below 4e-16",
        orthant_probability,
        8.0,
        (_PAIR,),
    ),
    FunctionEntry(
        ConditionalTail,
        "conditional_tail",
        "bivariate",
        5,
        "P(y_2 > u | y_1 = t) at a covariance a, b, c; 1/2 for equal variables and thresholds",
        conditional_probability,
        3.0,
        (_PAIR,),
    ),
    FunctionEntry(
        PairExponential,
        "pair_exponential",
        "bivariate",
        5,
        "exp(-(t, u) C^-1 (t, u) / 2) at a covariance a, b, c; below 1e-200 in places 0",
        pair_factor,
        25.0,
        (_PAIR,),
    ),
    FunctionEntry(
        Quotient,
        "quotient",
        "selection",
        2,
        "all real x, and y other than 0",
        lambda x, y: x / y,
        0.5,
        ((Span(1, 9), Span(1, 9)), _SIZES),
    ),
)
