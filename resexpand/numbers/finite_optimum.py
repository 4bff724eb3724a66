r"""How a finite width moves the residual scale at which a response of the output is largest.

With ``E eta = eta_0(rho) + eta_1(rho)/N`` the largest mean response is at

    rho*(N) = rho* + delta/N,    delta = -eta_1'(rho*) / eta_0''(rho*).

Among typical networks the logarithm counts, ``E ln eta = ln eta_0 + (eta_1/eta_0 - N Var eta /
(2 eta_0^2))/N``, so that ``eta_1 - N Var eta/(2 eta_0)`` takes the place of ``eta_1``. Derivatives
are differences on five scales next to the optimum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.values import Values
from resexpand.errors import UnsupportedError
from resexpand.numbers.one_loop import evaluate_finite_response
from resexpand.numbers.one_loop.validity import at_width
from resexpand.theory.finite_response import finite_response
from resexpand.theory.optimal_scale import OptimalScale

Array = NDArray[np.float64]

STEP = 0.01
"""Distance of two scales, relative to the optimum."""

SLOPE = np.array([1, -8, 0, 8, -1]) / 12
CURVATURE = np.array([-1, 16, -30, 16, -1]) / 12


def with_width(theory: OptimalScale, values: Values, width: int, given: dict[str, Any]) -> Values:
    """Return optimal scales with how a finite width moves them.

    Parameters
    ----------
    theory : OptimalScale
        Of the variance or of the tangent response.
    values : Values
        Of infinite width, with ``rho``.
    width : int
        Neurons per layer.
    given : dict
        The hyperparameters without width and scale.

    Returns
    -------
    Values
        Also ``rho_shift`` (``delta``), ``rho_width`` (``rho* + delta/N``), the same for typical
        networks, ``rho_typical_shift`` and ``rho_typical``, and ``relative_error``, the size of
        the next order at the optimum; scales at this width are NaN where it exceeds 0.25, and all
        where there is no interior optimum.

    Raises
    ------
    UnsupportedError
        For the covariance response.
    """
    if theory.kind == "covariance":
        raise UnsupportedError(
            "the optimal scale of the covariance response at a width",
            "how a width moves it is derived for responses of one input",
            "take the variance response, or leave out width=",
        )
    rho = np.asarray(values["rho"])
    inside = np.isfinite(rho) & (rho > 0)
    steps = np.arange(-2, 3).reshape((5, *(1,) * rho.ndim))
    scales = np.where(inside, rho, 1.0) * (1 + STEP * steps)
    found = evaluate_finite_response(
        finite_response(theory.net, theory.kind), **{**given, str(theory.net.scale): scales}
    )
    level, shift = found["eta"], found["eta_shift"]
    typical = shift - found["eta_var"] / (2 * level)
    with np.errstate(divide="ignore", invalid="ignore"):
        curvature = np.tensordot(CURVATURE, level, 1) / STEP
        deltas = [-rho * np.tensordot(SLOPE, s, 1) / curvature for s in (shift, typical)]
    error, beyond, marks = at_width(np.asarray(found["validity"])[2], width)
    lost = beyond[..., -1]
    arrays: dict[str, Array] = {"relative_error": np.where(inside, error[..., -1], np.nan)}
    for name, at, delta in zip(
        ("rho_shift", "rho_typical_shift"), ("rho_width", "rho_typical"), deltas, strict=True
    ):
        arrays[name] = np.where(inside, delta, np.nan)
        arrays[at] = np.where(inside & ~lost, rho + delta / width, np.nan)
    values.update({name: array[()] for name, array in arrays.items()})
    values.problems = (*values.problems, *(marks if (inside & lost).any() else ()))
    values.quadrature_error.update(
        dict.fromkeys(("rho_shift", "rho_typical_shift"), found.quadrature_error.get("eta", 0.0))
        if found.quadrature_error
        else {}
    )
    values.width = width
    return values
