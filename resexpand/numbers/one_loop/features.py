"""The feature ``f = phi^2`` of an activation as compiled functions of arrays."""

from __future__ import annotations

from functools import cache

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.codegen.source import module_source, scalar_function
from resexpand.codegen.store import load

Array = NDArray[np.float64]

LOOP = '''@driver
def features(x, square, bent):
    """Write f and f''/2 of every argument."""
    for i in range(x.size):
        square[i], bent[i] = feature(x[i])
'''


@cache
def features_source(law: ActivationLaw) -> str:
    """Return the text of the module with the routine ``features``."""
    phi, slope, bend = (law.derivative(order) for order in range(3))
    smooth = [_without_deltas(e) for e in (phi**2, slope**2 + phi * bend)]
    return module_source([scalar_function("feature", [X], smooth), LOOP])


def _without_deltas(expression: sp.Expr) -> sp.Expr:
    return expression.replace(sp.DiracDelta, lambda *args: sp.Integer(0))


def features(law: ActivationLaw, x: Array) -> tuple[Array, Array]:
    """Return ``f`` and ``f''/2`` (where it exists) of an array."""
    flat = np.ascontiguousarray(x, dtype=np.float64).reshape(-1)
    square, bent = np.empty_like(flat), np.empty_like(flat)
    load(features_source(law)).features(flat, square, bent)
    return square.reshape(x.shape), bent.reshape(x.shape)
