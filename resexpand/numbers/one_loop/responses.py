r"""`evaluate_finite_response`: responses of networks of finite width in numbers.

Tangents are further columns of the tables (`resexpand.numbers.one_loop.tangents`), and the
expansion of all columns gives means and covariances of their Gram matrices; here responses are read
off them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.codegen.binding import Point
from resexpand.codegen.schedule import chosen_names
from resexpand.codegen.values import Values
from resexpand.errors import UnsupportedError
from resexpand.numbers.one_loop.atoms import require_derivatives
from resexpand.numbers.one_loop.evaluation import width_of
from resexpand.numbers.one_loop.pair_response import pair_differences
from resexpand.numbers.one_loop.points import bound, prepared
from resexpand.numbers.one_loop.response_kinds import KINDS, Found
from resexpand.numbers.one_loop.validity import at_width, measured, unhealthy
from resexpand.theory.finite_response import FiniteResponse
from resexpand.theory.one_loop import one_loop

Array = NDArray[np.float64]


DIFFERENCES = 1e-2
"""Error of differences of columns above which a result is flagged."""


def evaluate_finite_response(
    theory: FiniteResponse, *, outputs: str | Iterable[str] | None = None, **hyperparameters: Any
) -> Values:
    """Evaluate a response at finite width; see `resexpand.finite_response` for its arrays.

    Parameters
    ----------
    theory : FiniteResponse
        From `finite_response`.
    outputs : str or iterable of str, optional
        Names of the arrays that are returned; all by default.
    **hyperparameters
        As for `resexpand.evaluate`, and ``width``, one integer.

    Raises
    ------
    HyperparameterError, KernelError
        If the hyperparameters do not fit the network.
    UnsupportedError
        If an average does not exist, or an operation has none.
    """
    given = dict(hyperparameters)
    width = width_of(given)
    of = _of_pairs if theory.kind == "covariance" else _of_columns
    point, arrays, error, problems = of(theory, given)
    extra, marks = _at_width(arrays, width)
    found = {**arrays, **extra}
    names = chosen_names(outputs, list(found), "a response at finite width")
    values = Values(
        {name: found[name] for name in names},
        point.depth,
        (*problems, *marks),
        dict.fromkeys(names, error) if error else {},
        theory.citations,
        notes=point.notes,
    )
    values.width = width
    return values


Coefficients = tuple[Point, dict[str, Array], float, tuple[str, ...]]
"""Hyperparameters, coefficients by name with the validity, their error, and problems."""


def _of_columns(theory: FiniteResponse, given: dict[str, Any]) -> Coefficients:
    """Return a response of one input."""
    process = theory.one_loop.process
    for draw in process.draws:
        require_derivatives(draw.law)
        if draw.averages:
            raise UnsupportedError(
                f"the order 1/N of tangents of {theory.net!r}",
                "a tangent through the averages of a normalisation has features of another kind",
                "take a branch of Linear, Activation and Scale; one_loop() has the order 1/N of "
                "its kernel",
            )
    made = prepared(theory.one_loop, given)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        has_read_out = theory.net.read_out is not None
        parts = [KINDS[theory.kind](tables, has_read_out) for tables in made.batches]
        arrays = _joined(parts, made.point.grid)
        error = max(part[-1] for part in parts) + made.error
        problems = tuple(unhealthy(arrays, error, process))
    return made.point, arrays, error, problems


def _of_pairs(theory: FiniteResponse, given: dict[str, Any]) -> Coefficients:
    """Return the covariance response of two inputs."""
    point = bound(one_loop(theory.net, inputs=2), given)
    others = {name: value for name, value in given.items() if name not in ("K0", "inputs")}
    arrays, error, values = pair_differences(theory.net, point.kernel, others)
    error = max(error, *values.quadrature_error.values(), 0.0)
    problems = values.problems
    if error > DIFFERENCES:
        problems += (f"the differences of columns did not converge: their error is {error:.1g}",)
    return point, arrays, error, problems


def _joined(parts: list[Found], grid: tuple[int, ...]) -> dict[str, Array]:
    """Return coefficients by name, the validity last, in the shape of the grid."""
    flat: dict[str, list[Array]] = {}
    for responses, others, validity, _ in parts:
        for name, response in responses.items():
            flat.setdefault(name, []).append(response.value)
            flat.setdefault(f"{name}_shift", []).append(response.shift)
            flat.setdefault(f"{name}_var", []).append(response.variance)
        for name, array in {**others, "validity": validity}.items():
            flat.setdefault(name, []).append(array)
    whole = {name: np.concatenate(arrays) for name, arrays in flat.items()}
    return {name: array.reshape(grid + array.shape[1:])[()] for name, array in whole.items()}


def _at_width(
    arrays: Mapping[str, Array], width: int | None
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return means and deviations at a width, NaN where they are beyond validity."""
    if width is None:
        return {}, ()
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        error, beyond, marks = at_width(np.asarray(arrays["validity"]), width)
        found = {"relative_error": error}
        for name in [name.removesuffix("_var") for name in arrays if name.endswith("_var")]:
            value, shift, spread = (arrays[f"{name}{part}"] for part in ("", "_shift", "_var"))
            lost = beyond if np.ndim(value) >= beyond.ndim else beyond[..., -1]
            own = measured(value, shift, spread, width, lost)
            found[f"{name}_mean"], found[f"{name}_deviation"] = own
    return found, marks
