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
from resexpand.gaussian.panel_sums import Resolved

Array = NDArray[np.float64]

LOOP = '''@driver
def features(x, out):
    """Rows of out: phi, phi', phi''/2."""
    for i in range(x.size):
        out[0, i], out[1, i], out[2, i] = feature(x[i])
'''


@cache
def _expressions(law: ActivationLaw) -> tuple[sp.Expr, sp.Expr, sp.Expr]:
    phi, slope, bend = (stable_exponentials(law.derivative(n), (X,)) for n in range(3))
    return phi, slope, bend / 2


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
