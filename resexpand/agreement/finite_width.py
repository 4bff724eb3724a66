r"""Theories of a given width: what they state of a run, and what they neglect.

`resexpand.network.quantities` lists what `one_loop` at a width and `exact_moments` state. Of a mean
the order `1/N` neglects `m (v/N) r`, of a spread the part `v/N`; the exact theory neglects nothing.
`v/N` is `relative_error`, the parameter of the expansion, and `r` the relative size of the order
`1/N`: the largest shift up to each layer, tadpole and conditioning counted without their signs.
Where a theory comes without them, `v` is measured on the sample and `r = v/N`.

The spread of a run is that of its draws without control variate. Its error needs their kurtosis
`kappa`, and the law of that error the moments up to order eight: they are taken to be those of
squares whose law is of the gamma family, which is exact for normal draws. With `u = sqrt((kappa -
1)/n)/2` the skewness of the variance is then `4 u`, and its degrees of freedom `n/(1 + 12 n u^2)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from resexpand.agreement.budget import expansion_parameter, layer_axis, magnitude
from resexpand.agreement.extrapolation import Extrapolation
from resexpand.agreement.shape import Sampled, Shape, raw_variance, roughness
from resexpand.agreement.tails import Array
from resexpand.errors import HyperparameterError
from resexpand.montecarlo.statistics.estimate import HEAVY_TAIL
from resexpand.network.quantities import QUANTITIES, Quantity
from resexpand.numbers.one_loop.validity import judged

# Of these the means at a width are made: they are no statement of their own about a run.
PARTS = ("K", "C", "K_mean", "C_mean", "validity", "relative_error")
COARSE = {"deviation": 4.0, "variance": 8.0}
"""Factor on the resolution that is asked of a spread, beside that of a mean."""
RESPONSES = ("chi_0", "covariance_response", "eta_layers", "eta", "tangent", "gradient", "ntk")
SHARES = ("C_mean_tadpole", "C_mean_conditioning", "C_mean_weights")

Theory = Mapping[str, npt.ArrayLike]


@dataclass(frozen=True, eq=False)
class Spread:
    """Variance or standard deviation of an observable from draw to draw, as an estimate."""

    name: str
    mean: Array
    stderr: Array
    variance: Array
    stderr_uncertainty: Array
    shape: Shape
    n: int
    width: int
    status: str
    flags: tuple[str, ...]
    coarse: float

    @classmethod
    def of(cls, estimate: Sampled, kind: str) -> Spread:
        """Return the spread of an estimate, its ``"variance"`` or its ``"deviation"``."""
        plain = getattr(estimate, "plain", estimate)
        variance, u, n = raw_variance(estimate), roughness(plain), int(estimate.n)
        mean = variance if kind == "variance" else np.sqrt(variance)
        stderr = mean * u * (2.0 if kind == "variance" else 1.0)
        effective = n / (1.0 + 12.0 * n * u**2)
        shape = Shape(4.0 * u, np.full(u.shape, np.sqrt(6.0) / n), np.maximum(effective - 1.0, 1.0))
        rough = np.sqrt(0.5 / effective)
        heavy = bool(np.any((rough > np.sqrt(HEAVY_TAIL) / 2) & (variance > 0.0)))
        flags, status = tuple(plain.flags), str(plain.status)
        if heavy and status == "ok":
            flags, status = (
                ("heavy-tail",),
                "The spread of so few draws is too uncertain; draw more.",
            )
        spread = n * stderr**2
        return cls(
            *(estimate.name, mean, stderr, spread, rough, shape),
            *(n, int(estimate.width), status, flags, COARSE[kind]),
        )


def stated_by(theory: Theory, key: str) -> Quantity | None:
    """Return what a key is, if it belongs to a theory of a given width."""
    quantity = QUANTITIES.get(key)
    coefficient = key == "C_mean" and "G_mean" not in theory
    return None if quantity is None or quantity.width == "infinite" or coefficient else quantity


def completed(theory: Theory, run: Mapping[str, Sampled]) -> Theory:
    """Return a theory of order `1/N` with what it states at the width of a run; others as is.

    Raises
    ------
    HyperparameterError
        If coefficients of `1/N` meet runs at several widths.
    """
    sampled = [run[name] for name in ("kernel", "layer_covariance") if name in run]
    if not sampled or not _is_expansion(theory) or "relative_error" in theory:
        return theory
    require_width(theory, "C_mean", sampled[0])
    arrays = {name: np.asarray(values) for name, values in theory.items()}
    return {**theory, **judged(arrays, int(sampled[0].width), arrays["validity"].ndim - 1)[0]}


def asked_of(theory: Theory) -> list[str]:
    """Return the keys that state something of a run: all, but parts of a mean at a width."""
    made = "K_width" in theory or "C_width" in theory
    asked = [key for key in theory if not (made and key in (*PARTS, *SHARES))]
    if not _is_response(theory):
        return asked
    # Of a tangent the output response is no derivative by the variance of the input; what stands
    # at the last layer is in eta_layers, and the limit is no statement about a width.
    other = tuple(name for name in theory if "tangent" in theory and name.startswith("eta"))
    stated = [key for key in asked if stated_by(theory, key) and key not in other]
    return [
        key for key in stated if not (_of_last(key) and f"eta_layers_{_of_last(key)}" in theory)
    ]


def _is_response(theory: Theory) -> bool:
    """Whether means and deviations of a response at a width are given."""
    return any(f"{name}_mean" in theory for name in RESPONSES)


def _of_last(key: str) -> str:
    """Return which statistic of the output response at the last layer a key is, or nothing."""
    return key.removeprefix("eta_") if key in ("eta_mean", "eta_deviation") else ""


def require_width(theory: Theory, key: str, estimate: Sampled) -> None:
    """Refuse a theory of one width for a sample of another one, or of several."""
    asked = f"comparing {key!r} with the estimate {estimate.name!r}"
    if isinstance(estimate, Extrapolation):
        raise HyperparameterError(
            asked,
            f"it belongs to one width, and the runs are extrapolated from widths {estimate.widths}",
            'pass one run, or {"K": theory["K"]} for the theory at infinite width',
        )
    width = _width_of(theory)
    if np.isfinite(width) and abs(width / float(estimate.width) - 1.0) > 1e-6:
        raise HyperparameterError(
            asked,
            f"the theory was evaluated at width {width:.6g}, the networks have {estimate.width}",
            f"evaluate it with width={estimate.width}",
        )


def _width_of(theory: Theory) -> float:
    """Return the width that a theory was evaluated at, NaN if that is not known."""
    if "relative_error" in theory and "validity" in theory:
        parts = (np.ravel(np.asarray(theory[k], float)) for k in ("validity", "relative_error"))
        return float(np.divide(*(part[0] for part in parts)))
    width = getattr(theory, "width", None)
    return float("nan") if width is None else float(width)


def own_neglect(theory: Theory, key: str, run: Mapping[str, Sampled]) -> Array:
    """Bound what a theory of a given width neglects, in the shape and units of a key."""
    quantity = QUANTITIES[key]
    name = next(name for name in quantity.observables if name in run)
    value = np.asarray(theory[key], dtype=float)
    if quantity.width == "exact":
        return np.zeros(value.shape)
    width = float(run[name].width)
    measured = expansion_parameter(name, run) / width
    given = theory.get("relative_error")
    relative = measured if given is None else _layered(given, value.ndim)
    if value.ndim == 0:
        measured, relative = (np.asarray(np.ravel(part)[-1]) for part in (measured, relative))
    if quantity.statistic == "deviation":
        return np.asarray(np.abs(value) * relative)
    shift = _largest_shift(theory) / width if _is_expansion(theory) else measured
    return np.asarray(magnitude(value) * relative * shift)


def _is_expansion(theory: Theory) -> bool:
    return all(name in theory for name in ("C_mean", "C_mean_tadpole", "validity", "C_cov"))


def _layered(values: npt.ArrayLike, ndim: int) -> Array:
    """Return values of the layers such that they broadcast against entries of every layer."""
    array = np.asarray(values, dtype=float)
    return array.reshape(array.shape + (1,) * (ndim - array.ndim))


def _largest_shift(theory: Theory) -> Array:
    """Return the relative coefficient of `1/N` in a mean, its largest value up to each layer."""
    arrays = {k: np.asarray(theory[k], dtype=float) for k in (*PARTS, *SHARES) if k in theory}
    shares = np.asarray(sum(np.abs(arrays[k]) for k in SHARES if k in arrays))
    shift = shares / magnitude(arrays["C"])
    if "K_mean" in arrays:
        shift = np.fmax(np.abs(arrays["K_mean"]) / magnitude(arrays["K"]), shift)
    return np.asarray(np.fmax.accumulate(shift, axis=layer_axis(shift.shape)))
