"""Which theory array is compared with which estimate, and the entries that follow.

Which belong together is listed in `resexpand.network.quantities`; any other key of a theory belongs
to the estimate of the same name. For theories of a given width see
`resexpand.agreement.finite_width`.

Covariance matrices are symmetric: the entries `(a, b)` and `(b, a)` are judged once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from resexpand.agreement.budget import (
    is_symmetric,
    layer_axis,
    magnitude,
    neglected_order,
    rounding_bound,
)
from resexpand.agreement.extrapolation import Extrapolation
from resexpand.agreement.finite_width import (
    Spread,
    asked_of,
    own_neglect,
    require_width,
    stated_by,
)
from resexpand.agreement.health import not_finite, unhealthy, unjudged
from resexpand.agreement.shape import (
    Sampled,
    raw_variance,
    shape_of,
    shape_of_sum,
)
from resexpand.agreement.tails import Array
from resexpand.agreement.verdict import Entries
from resexpand.errors import HyperparameterError
from resexpand.network.quantities import QUANTITIES, quantity_of

REPEATS = (("eta_layers", "eta"), ("chi", "chi_0"))
"""The same numbers twice: the second is left out where both have an estimate."""

Index = npt.NDArray[np.intp]
Labels = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, eq=False)
class Pair:
    """A theory key, the compared array, the estimate's name, and what is taken of the estimate.

    `neglect` is what a theory of a given width itself states to neglect.
    """

    key: str
    theory: Array
    name: str
    take: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
    estimate: Sampled
    neglect: Array | None = None


def pair_up(
    theory: Mapping[str, npt.ArrayLike],
    estimates: Mapping[str, Sampled],
    names: Mapping[str, str] | None,
) -> tuple[list[Pair], tuple[str, ...]]:
    """Pair the theory with the estimates; return also the theory keys that found no estimate."""
    keys = asked_of(theory)
    asked = dict(names) if names is not None else {k: _named(k, theory, estimates) for k in keys}
    if names is None:
        asked = {k: k if k in estimates else name for k, name in asked.items()}
        for kept, repeated in REPEATS:
            if asked.get(kept) in estimates and asked.get(repeated) == asked[kept]:
                del asked[repeated]
    else:
        missing = [k for k in asked if k not in theory] + [
            n for n in asked.values() if n not in estimates
        ]
        if missing:
            raise HyperparameterError(
                f"comparing {asked}",
                f"there is no {', '.join(map(repr, missing))}",
                f"theory has {sorted(theory)}, the estimates {sorted(estimates)}",
            )
    pairs = [
        _pair(key, theory, name, estimates) for key, name in asked.items() if name in estimates
    ]
    if not pairs:
        raise HyperparameterError(
            f"comparing theory {sorted(theory)} with estimates {sorted(estimates)}",
            "no theory key has an estimate",
            "sample the observable, or pass names={theory key: estimate name}",
        )
    return pairs, tuple(key for key, name in asked.items() if name not in estimates)


def _named(key: str, theory: Mapping[str, npt.ArrayLike], estimates: Mapping[str, Sampled]) -> str:
    """Return the estimate a theory key stands for, as far as its name says."""
    known = QUANTITIES.get(key)
    if known is None or (known.width != "infinite" and stated_by(theory, key) is None):
        return key
    names = known.observables
    return next((name for name in names if name in estimates), names[0])


# Entries that are not finite are left to `not_finite`: here they only must not warn.
@np.errstate(invalid="ignore", over="ignore", divide="ignore")
def entries_of(
    pair: Pair,
    estimates: Mapping[str, Sampled],
    *,
    neglected: object,
    level: float,
    labels: Labels | None,
    scale: float | Mapping[str, npt.ArrayLike] | None,
) -> tuple[Entries, Index]:
    """Build the entries of one pair and their budget, and where each stands in the array."""
    estimate = pair.estimate
    request = neglected.get(pair.key, "auto") if isinstance(neglected, Mapping) else neglected
    bound = pair.neglect
    if bound is None or not isinstance(request, str) or request not in ("auto", "1/N^2"):
        bound = neglected_order(pair.name, request, {**estimates, pair.name: estimate}, pair.take)
    shape, raw = shape_of(estimate), raw_variance(estimate)
    mean, stderr, variance, lean, doubt, freedom = (
        pair.take(np.asarray(values, dtype=float))
        for values in (
            *(estimate.mean, estimate.stderr, raw),
            *(shape.lean, shape.doubt, shape.freedom),
        )
    )
    rounding = rounding_bound(estimate, pair.theory, pair.take)
    reasons, rejectable = unjudged(estimate, pair.take, level)
    size = magnitude(pair.theory, np.where(np.isfinite(variance), variance, 0.0))
    return _build(
        labels_of(pair.key, pair.theory.shape, labels, pair.name),
        theory=pair.theory,
        estimate=mean,
        stderr=stderr,
        neglected=bound,
        rounding=rounding,
        size=_chosen_scale(pair.key, scale, size),
        dof=freedom,
        lean=lean,
        doubt=doubt,
        constant=np.sqrt(variance) <= rounding,
        coarse=estimate.coarse if isinstance(estimate, Spread) else 1.0,
        order=_order(request, pair),
        draws=float(estimate.n),
        width=float(estimate.width),
        unjudged=reasons,
        rejectable=rejectable,
    )


@np.errstate(invalid="ignore", over="ignore", divide="ignore")
def sides_of(
    a: Sampled,
    b: Sampled,
    labels: Labels | None,
    scale: float | Mapping[str, npt.ArrayLike] | None = None,
) -> tuple[Entries, Index]:
    """Build the entries of a two-sample comparison of one observable."""
    asked = f"comparing two samples of {a.name!r}"
    left, right = np.asarray(a.mean, dtype=float), np.asarray(b.mean, dtype=float)
    if left.shape != right.shape or int(a.width) != int(b.width):
        raise HyperparameterError(
            asked,
            f"shapes {left.shape} and {right.shape}, widths {a.width} and {b.width}",
            "sample the same network at the same width",
        )
    errors = [np.asarray(e.stderr, dtype=float) for e in (a, b)]
    spread = np.maximum(raw_variance(a), raw_variance(b))
    variance = np.where(np.isfinite(spread), spread, 0.0)
    rounding = np.maximum(rounding_bound(a, right, _whole), rounding_bound(b, left, _whole))
    shape = shape_of_sum([-errors[0], errors[1]], [shape_of(a), shape_of(b)])
    (why, may), (other, other_may) = (unhealthy(e) for e in (a, b))
    own = np.maximum(magnitude(left, variance), magnitude(right, variance))
    return _build(
        labels_of(a.name, left.shape, labels, a.name),
        theory=left,
        estimate=right,
        stderr=np.hypot(*errors),
        neglected=np.zeros(left.shape),
        rounding=rounding,
        size=_chosen_scale(a.name, scale, own),
        dof=shape.freedom,
        lean=shape.lean,
        doubt=shape.doubt,
        constant=np.sqrt(spread) <= rounding,
        coarse=1.0,
        order=np.zeros(left.shape),
        draws=np.full(left.shape, float(min(a.n, b.n))),
        width=np.full(left.shape, float(a.width)),
        unjudged=np.where(why != "", why, other),
        rejectable=((why == "") | may) & ((other == "") | other_may),
    )


def labels_of(
    key: str, shape: tuple[int, ...], labels: Labels | None, name: str
) -> npt.NDArray[np.object_]:
    """Label each entry: `K^3` per layer (`C` counts from 1), `K^3_12` per pair of inputs.

    Inputs count from 1, orders from 0.
    """
    given = (labels or {}).get(key)
    if given is not None and not isinstance(given, str):
        if len(given) != int(np.prod(shape)):
            raise HyperparameterError(
                f"labels of {key!r}",
                f"{len(given)} labels for {int(np.prod(shape))} entries",
                "pass one label per entry",
            )
        return np.array(list(given), dtype=object).reshape(shape)
    quantity, first = quantity_of(key), quantity_of(name).first
    symbol = given if given is not None else quantity.symbol
    out = np.empty(shape, dtype=object)
    axis = layer_axis(shape) if shape and quantity.part != "sum" else None
    for index in np.ndindex(*shape):
        layer = "" if axis is None else f"^{index[axis] + first}"
        inputs = [str(i + quantity.lowest) for k, i in enumerate(index) if k != axis]
        joint = "," if any(len(text) > 1 for text in inputs) else ""
        out[index] = symbol + layer + (f"_{joint.join(inputs)}" if inputs else "")
    return out


def _pair(
    key: str,
    theory: Mapping[str, npt.ArrayLike],
    name: str,
    estimates: Mapping[str, Sampled],
) -> Pair:
    """Bring a theory array and an estimate to the same shape."""
    estimate = estimates[name]
    array, shape = np.asarray(theory[key], dtype=float), np.shape(estimate.mean)
    part = quantity_of(key).part
    if part == "first column" and array.ndim == len(shape) + 1 and array.shape[:-1] == shape:
        return Pair(key, array[..., 0], name, _whole, estimate)
    last = part == "last" and shape != () and array.shape == shape[:-1]
    take = _last if last else _whole
    if array.shape != shape and not last:
        raise HyperparameterError(
            f"comparing theory {key!r} of shape {array.shape} with estimate {name!r}",
            f"its shape is {shape}",
            "evaluate and sample the same network, one set of hyperparameters at a time",
        )
    stated = stated_by(theory, key)
    if stated is None:
        return Pair(key, array, name, take, estimate)
    require_width(theory, key, estimate)
    kind = stated.statistic
    sampled = estimate if kind == "mean" else Spread.of(estimate, kind)
    return Pair(key, array, name, take, sampled, own_neglect(theory, key, estimates))


def _whole(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return values


def _last(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray(values[..., -1])


def _build(labels: npt.NDArray[np.object_], **arrays: object) -> tuple[Entries, Index]:
    """Flatten, keeping of symmetric matrices the entries on and above the diagonal."""
    shape = labels.shape
    index = np.arange(labels.size).reshape(shape)
    sides = [np.asarray(arrays[side]) for side in ("theory", "estimate")]
    if all(is_symmetric(side) for side in sides):
        index = np.minimum(index, np.swapaxes(index, -1, -2))
    kept, position = np.unique(index, return_inverse=True)
    unjudged = np.asarray(arrays.pop("unjudged"), dtype=object).ravel()[kept]
    flat = {
        name: np.broadcast_to(np.asarray(value, dtype=float), shape).ravel()[kept]
        for name, value in arrays.items()
    }
    reasons = tuple(
        str(why) or not_finite({name: values[i] for name, values in flat.items()})
        for i, why in enumerate(unjudged)
    )
    texts = tuple(str(label) for label in labels.ravel()[kept])
    entries = Entries(labels=texts, unjudged=reasons, **flat)
    return entries, position.reshape(shape).astype(np.intp)


def _order(request: object, pair: Pair) -> float:
    """Return the power of `1/N` with which the bound falls; 0 where it was given as a number."""
    if not isinstance(request, str):
        return 0.0
    if pair.neglect is not None and isinstance(pair.estimate, Spread):
        return 1.0
    second = request == "1/N^2" or pair.neglect is not None
    return 2.0 if second or isinstance(pair.estimate, Extrapolation) else 1.0


def _chosen_scale(
    key: str, scale: float | Mapping[str, npt.ArrayLike] | None, size: Array
) -> Array:
    """Return the magnitude to which the resolution is relative."""
    given = scale.get(key) if isinstance(scale, Mapping) else scale
    if given is None:
        return size
    chosen = np.asarray(given, dtype=float)
    if not np.all(np.isfinite(chosen)) or np.any(chosen <= 0.0):
        raise HyperparameterError(
            f"scale of {key!r}", "a magnitude is finite and positive", "pass e.g. max |theory|"
        )
    return np.broadcast_to(chosen, size.shape)
