"""Panels on which quadrature resolves the integrands of a routine.

An integrand is split into factors of one variable, whose values determine the edges
(`resexpand.gaussian.panels`). Singular points of a factor are edges from the start; so are real
parts of the zeros of its argument, where narrow features lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.activations.rounding import lost_below
from resexpand.activations.singularities import branch_points
from resexpand.codegen.rewrite import Quadrature
from resexpand.codegen.separation import map_parts
from resexpand.expressions.arrays import array_values
from resexpand.gaussian.panels import Functions, Resolved, panel_edges, running_size

Array = NDArray[np.float64]

X = sp.Symbol("x", real=True)

PLAIN_DEGREE = 6
"""Degree up to which a polynomial needs no panels of its own."""

PLACES = np.concatenate([[0.0, 1e-8], np.geomspace(1e-4, 1e6, 4000), 10.0 ** np.arange(7, 155)])
SMALLEST = -1e30
"""The logarithm of zero, as a number."""

OUTSIDE = 1e300
"""Ends of every list of edges, beyond all arguments."""

BEYOND = 4.0 ** np.arange(27, 260)
"""Edges at arguments that are not looked at: a fall like ``1/x`` weighs every octave alike."""

POWERS = 4.0 ** np.arange(PLAIN_DEGREE + 1)


def resolution(quadratures: Sequence[Quadrature]) -> Resolved:
    """Return panels that resolve all integrands, and the sizes of the integrands."""
    factors: dict[sp.Expr, None] = {}
    wholes: dict[sp.Expr, None] = {}
    for quadrature in quadratures:
        powers = len(quadrature.variables)

        def note(part: sp.Expr, variable: sp.Symbol, powers: int = powers) -> sp.Expr:
            g = part.xreplace({variable: X})
            if not (g.is_polynomial(X) and sp.degree(g, X) <= PLAIN_DEGREE):
                factors.update(dict.fromkeys(g**power for power in range(1, powers + 1)))
            return part

        others = dict.fromkeys((*quadrature.covariance, *quadrature.parameters), sp.S.One)
        integrand = quadrature.integrand.xreplace(others)
        map_parts(integrand, frozenset(quadrature.variables), note)
        wholes[integrand.xreplace(dict.fromkeys(quadrature.variables, X))] = None
    resolved = resolution_of(tuple(factors), tuple(wholes))
    lost = max(map(lost_below, wholes), default=0.0)
    if not lost:
        return resolved
    # Integrands that are rounding there have no size, and their averages are no numbers.
    kept = resolved.places > lost
    places, sizes = resolved.places[kept], resolved.sizes[kept]
    return resolved._replace(places=np.append(lost, places), sizes=np.append(np.nan, sizes))


def resolution_of(factors: tuple[sp.Expr, ...], wholes: tuple[sp.Expr, ...]) -> Resolved:
    """Return panels and sizes of functions of `X`.

    Parameters
    ----------
    factors : tuple of sympy.Expr
        Functions that the panels resolve.
    wholes : tuple of sympy.Expr
        Integrands with all variables equal; their size determines where sums end.
    """
    return Resolved(*_resolved(factors), *_sizes(wholes))


@lru_cache(maxsize=256)
def _resolved(factors: tuple[sp.Expr, ...]) -> tuple[Array, Array]:
    ends = np.array([-OUTSIDE, OUTSIDE])
    if not factors:
        return ends, ends
    singular = sorted({float(p) for f in factors for p in branch_points(f, X)})
    centres = sorted({p for f in factors for p in _centres(f)})

    def values(x: Array) -> Array:
        return np.stack([array_values(f, X, x) for f in factors])

    edges = panel_edges(values, [*singular, *centres])
    points = np.array([side * p for p in singular for side in (-1.0, 1.0)])
    beyond = np.append(-BEYOND, BEYOND) if _is_curved_beyond(values) else ends
    return np.unique(np.concatenate([ends, beyond, edges])), np.unique(np.append(ends, points))


def _is_curved_beyond(values: Functions) -> bool:
    """Whether a function is neither zero nor a power of whole exponent at large arguments."""
    with np.errstate(all="ignore"):
        near, far = (values(x * np.array([-BEYOND[0], BEYOND[0]])) for x in (1.0, 4.0))
        ratio = far / near
        plain = (np.abs(ratio[..., None] / POWERS - 1) < 1e-12).any(axis=-1)
    # A quotient 0/0 or inf/inf is no number: there is nothing to resolve.
    return bool((np.isfinite(ratio) & ~plain & (far != 0)).any())


@lru_cache(maxsize=256)
def _sizes(wholes: tuple[sp.Expr, ...]) -> tuple[Array, Array]:
    def values(x: Array) -> Array:
        return np.stack([array_values(f, X, x) for f in wholes])

    size = running_size(values, PLACES).max(axis=0)
    with np.errstate(divide="ignore"):
        sizes = np.maximum(np.log(size), SMALLEST)
    return np.append(PLACES[1:], OUTSIDE), np.append(sizes[1:], sizes[-1])


def _centres(expression: sp.Expr) -> set[float]:
    """Return real parts of the zeros of polynomial arguments of functions and denominators."""
    centres: set[float] = set()
    for node in expression.atoms(sp.Function, sp.Pow):
        argument = node.args[0]
        if isinstance(node, sp.Piecewise):
            continue
        if isinstance(node, sp.Pow) and not (node.exp.is_negative or not node.exp.is_Integer):
            continue
        if argument.has(X) and argument.is_polynomial(X):
            coefficients = [float(c) for c in sp.Poly(argument, X).all_coeffs()]
            if np.isfinite(coefficients).all():
                centres |= {float(r) for r in np.roots(coefficients).real}
    return centres
