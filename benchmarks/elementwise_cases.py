"""The elementwise layers of neural-tangents with their parameters, and the same as expressions.

Each case is the name of a layer, its arguments there, and the function in ``x``.
"""

from __future__ import annotations

from collections.abc import Iterator

import sympy as sp

X = sp.Symbol("x", real=True)
R = sp.Rational
Case = tuple[str, dict[str, object], sp.Expr]


def exact(number: object) -> sp.Expr:
    """Return a decimal as the fraction that is written."""
    return sp.Rational(str(number))


def waves() -> Iterator[Case]:
    """Return the layers that are sums of exponentials."""
    for a, b, c in ((1, 1, 0), (2, 1.5, 0.3), (-0.5, 3, -1)):
        argument = exact(b) * X + exact(c)
        parameters = {"a": a, "b": b, "c": c}
        yield "Sin", parameters, exact(a) * sp.sin(argument)
        yield "Cos", parameters, exact(a) * sp.cos(argument)
    for gamma in (0.3, 1, 2):
        wave = sp.sin(sp.sqrt(2 * exact(gamma)) * X + sp.pi / 4)
        yield "Rbf", {"gamma": gamma}, sp.sqrt(2) * wave
    for a, b in ((1, 1), (0.5, -0.7)):
        yield "Exp", {"a": a, "b": b}, exact(a) * sp.exp(exact(b) * X)
    for a, b in ((1, -1), (0.5, -2)):
        yield "Gaussian", {"a": a, "b": b}, exact(a) * sp.exp(exact(b) * X**2)
    yield "Gabor", {}, sp.exp(-(X**2)) * sp.sin(X)


def polynomials() -> Iterator[Case]:
    """Return monomials, polynomials and Hermite polynomials."""
    for degree in range(6):
        yield "Monomial", {"degree": degree}, X**degree if degree else sp.Integer(1) + 0 * X
    for coefficients in ([0.5, -1, 2], [1, 0, -0.3, 0.2]):
        total = sum((exact(c) * X**n for n, c in enumerate(coefficients)), sp.Integer(0))
        yield "Polynomial", {"coef": coefficients}, total
    for degree in range(1, 6):
        hermite = 2 ** R(-degree, 2) * sp.hermite(degree, X / sp.sqrt(2))
        yield "Hermite", {"degree": degree}, sp.expand(hermite / sp.sqrt(sp.factorial(degree)))


def steps() -> Iterator[Case]:
    """Return piecewise polynomials and error functions."""
    for a, b in ((0, 1), (-0.3, 0.5), (1, -1)):
        yield "ABRelu", {"a": a, "b": b}, exact(a) * sp.Min(X, 0) + exact(b) * sp.Max(X, 0)
    yield "Relu", {}, sp.Max(0, X)
    yield "LeakyRelu", {"alpha": 0.1}, sp.Max(X, X / 10)
    yield "Abs", {}, sp.Abs(X)
    yield "Sign", {}, sp.sign(X)
    for degree in range(6):
        yield "RectifiedMonomial", {"degree": degree}, X**degree * sp.Heaviside(X)
    for a, b, c in ((1, 1, 0), (2, 0.5, -0.3), (-0.7, 3, 1)):
        yield "Erf", {"a": a, "b": b, "c": c}, exact(a) * sp.erf(exact(b) * X) + exact(c)
    yield "Sigmoid_like", {}, sp.erf(X / exact(2.4020563531719796)) / 2 + R(1, 2)
    yield "Gelu", {}, X * (1 + sp.erf(X / sp.sqrt(2))) / 2


def cases() -> list[Case]:
    """Return the grid; constants, which no neuron computes, are left out."""
    return [case for case in (*waves(), *polynomials(), *steps()) if case[2].has(X)]


COVARIANCES = ((1.0, 0.3, 2.0), (0.5, -0.6, 1.5), (3.0, 1.2, 0.8), (1e-3, 4e-4, 2e-3))
UNIT = ((1.0, 0.3, 1.0), (1.0, -0.7, 1.0), (1.0, 0.9, 1.0))
"""Covariances of Hermite polynomials, which neural-tangents has at unit variance alone."""


def covariances(name: str) -> tuple[tuple[float, float, float], ...]:
    """Return the covariances at which a layer is compared."""
    return UNIT if name == "Hermite" else COVARIANCES
