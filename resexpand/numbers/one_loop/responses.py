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

from resexpand.codegen.schedule import chosen_names
from resexpand.codegen.track import untracked
from resexpand.codegen.values import Values
from resexpand.errors import UnsupportedError
from resexpand.numbers.one_loop.atoms import require_derivatives
from resexpand.numbers.one_loop.evaluation import width_of
from resexpand.numbers.one_loop.inputs import distinct_inputs
from resexpand.numbers.one_loop.pair_response import pair_differences
from resexpand.numbers.one_loop.points import batches_of, bound, require_room
from resexpand.numbers.one_loop.response_kinds import KINDS, Found
from resexpand.numbers.one_loop.validity import at_width, unhealthy
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
    if theory.kind == "covariance":
        return _of_pairs(theory, width, outputs, given)
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
    point = bound(theory.one_loop, given)
    problem = distinct_inputs(theory.one_loop, point)
    require_room(theory.one_loop, problem, point)
    with untracked():
        batches, mean_field_error = batches_of(theory.one_loop, problem, point)
    has_read_out = theory.net.read_out is not None
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        parts = [KINDS[theory.kind](tables, has_read_out) for tables in batches]
        arrays, validity = _joined(parts, point.grid)
        error = max(part[-1] for part in parts) + mean_field_error
        problems = tuple(unhealthy({**arrays, "validity": validity}, error, process))
        extra, marks = _at_width(arrays, validity, width)
    found = {**arrays, "validity": validity, **extra}
    names = chosen_names(outputs, list(found), "a response at finite width")
    quadrature = dict.fromkeys(names, error) if error else {}
    values = Values(
        {name: found[name] for name in names},
        point.depth,
        (*problems, *marks),
        quadrature,
        theory.citations,
        notes=point.notes,
    )
    values.width = width
    return values


def _of_pairs(
    theory: FiniteResponse,
    width: int | None,
    outputs: str | Iterable[str] | None,
    given: dict[str, Any],
) -> Values:
    """Return the covariance response of two inputs."""
    point = bound(one_loop(theory.net, inputs=2), given)
    others = {name: value for name, value in given.items() if name not in ("K0", "inputs")}
    arrays, validity, error, values = pair_differences(theory.one_loop, point.kernel, others)
    extra, marks = _at_width(arrays, validity, width)
    found = {**arrays, "validity": validity, **extra}
    names = chosen_names(outputs, list(found), "a response at finite width")
    error = max(error, *values.quadrature_error.values(), 0.0)
    problems = (*values.problems, *marks)
    if error > DIFFERENCES:
        problems += (f"the differences of columns did not converge: their error is {error:.1g}",)
    whole = {name: found[name] for name in names}
    quadrature = dict.fromkeys(names, error)
    result = Values(whole, values.depth, problems, quadrature, theory.citations, notes=point.notes)
    result.width = width
    return result


def _joined(parts: list[Found], grid: tuple[int, ...]) -> tuple[dict[str, Array], Array]:
    """Return coefficients by name, and the validity, in the shape of the grid."""
    flat: dict[str, list[Array]] = {}
    for responses, others, _, _ in parts:
        for name, response in responses.items():
            flat.setdefault(name, []).append(response.value)
            flat.setdefault(f"{name}_shift", []).append(response.shift)
            flat.setdefault(f"{name}_var", []).append(response.variance)
        for name, array in others.items():
            flat.setdefault(name, []).append(array)
    flat["validity"] = [part[2] for part in parts]
    whole = {name: np.concatenate(arrays) for name, arrays in flat.items()}
    shaped = {name: array.reshape(grid + array.shape[1:])[()] for name, array in whole.items()}
    return shaped, shaped.pop("validity")


def _at_width(
    arrays: Mapping[str, Array], validity: Array, width: int | None
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return means and deviations at a width, NaN where they are beyond validity."""
    if width is None:
        return {}, ()
    error, beyond, marks = at_width(validity, width)
    found = {"relative_error": error}
    for name in [name.removesuffix("_var") for name in arrays if name.endswith("_var")]:
        value = np.asarray(arrays[name])
        lost = beyond if value.ndim >= beyond.ndim else beyond[..., -1]
        lost = lost if value.ndim <= beyond.ndim else lost[..., None]
        mean = value + np.asarray(arrays[f"{name}_shift"]) / width
        deviation = np.sqrt(np.asarray(arrays[f"{name}_var"]) / width)
        found[f"{name}_mean"] = np.where(lost, np.nan, mean)[()]
        found[f"{name}_deviation"] = np.where(lost, np.nan, deviation)[()]
    return found, marks
