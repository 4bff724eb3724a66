"""Activations as compiled functions of arrays, and the panels on which averages of them run."""

from __future__ import annotations

from functools import cache

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.codegen.exponentials import stable_exponentials
from resexpand.codegen.resolution import resolution_of
from resexpand.codegen.source import module_source, scalar_function
from resexpand.codegen.store import load
from resexpand.gaussian.panels import Resolved

Array = NDArray[np.float64]

LOOP = '''@driver
def features(x, out):
    """Rows of out: phi, phi', phi''/2."""
    for i in range(x.size):
        out[0, i], out[1, i], out[2, i] = feature(x[i])
'''


@cache
def _expressions(law: ActivationLaw) -> tuple[sp.Expr, sp.Expr, sp.Expr]:
    phi, slope, bend = (
        stable_exponentials(_with_secants(law.derivative(n)) if n else law.expression, (X,))
        for n in range(3)
    )
    return phi, slope, bend / 2


def _with_secants(expression: sp.Expr) -> sp.Expr:
    """Write ``1 - tanh(u)^2`` as ``1/cosh(u)^2``: it keeps its digits where it is small."""
    for node in sorted(expression.atoms(sp.tanh), key=sp.default_sort_key):
        t = sp.Dummy("t")
        inside = expression.xreplace({node: t})
        if not inside.is_polynomial(t):
            continue
        quotient, rest = sp.div(sp.Poly(inside, t), sp.Poly(1 - t**2, t))
        secant = 1 / sp.cosh(node.args[0]) ** 2
        expression = (quotient.as_expr() * secant + rest.as_expr()).xreplace({t: node})
    return expression


@cache
def features_source(law: ActivationLaw) -> str:
    """Return the text of the module with the routine ``features``."""
    return module_source([scalar_function("feature", [X], _expressions(law)), LOOP])


def features(law: ActivationLaw, x: Array) -> Array:
    """Return ``phi, phi', phi''/2`` (where they exist) of an array, shape ``(3, *x.shape)``."""
    flat = np.ascontiguousarray(x, dtype=np.float64).reshape(-1)
    out = np.empty((3, flat.size))
    load(features_source(law)).features(flat, out)
    return out.reshape((3, *x.shape))


@cache
def resolved_features(law: ActivationLaw) -> Resolved:
    """Return panels that resolve products of four features, or of derivatives of two of them."""
    phi, slope, bend = _expressions(law)
    wholes = (phi**4, (phi * slope) ** 2, phi**3 * bend)
    return resolution_of((phi, slope, bend, phi**2, *wholes), wholes)
