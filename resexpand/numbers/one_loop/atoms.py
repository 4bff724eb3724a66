r"""Averages of the atoms of features: ``f = phi^2``, ``g = phi'^2`` and their derivatives.

Products of an activation and its derivatives at one neuron are combinations of these, ``phi phi' =
f'/2``, ``phi phi'' = f''/2 - g``; derivatives are those of distributions, so that kinks count. What
is needed are means at one layer and covariances at two layers of one stream:

- smooth activations: sums over a lattice (`resexpand.gaussian.increments`);
- linear on either side of zero, ``f = even x^2 + odd x|x|``, ``f'' = 2 g``: closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Protocol

import numpy as np

from resexpand.activations.activation_law import ActivationLaw
from resexpand.errors import UnsupportedError
from resexpand.gaussian.increments import Array, Increments, Key, Lattice
from resexpand.numbers.one_loop.features import features, resolved_features

FINENESS = (1.5, 1.25)
"""How much finer than their steps need the two lattices are; the finer one counts."""

UNEQUAL = 1e-9
"""Relative difference of an earlier variance and the covariance with it above which a process has
no independent increments."""


class Means(Protocol):
    """Averages of atoms at one layer."""

    def mean(self, key: Key, variances: Array, side: int = 0) -> Array:
        """Return the mean of an atom at variances; 0 is the later side, 1 the earlier one."""


class Atoms(Means, Protocol):
    """Averages of atoms at pairs of layers."""

    @property
    def error(self) -> float:
        """Relative error of what was computed so far."""

    def covariance(self, late: Key, early: Key) -> Array:
        """Return the covariance of two atoms, for all pairs of layers."""


Laws = tuple[ActivationLaw | None, ActivationLaw | None]
"""Activations at a later layer and at an earlier one; None stands for none."""


def atoms(laws: Laws, late: Array, early: Array, cross: Array) -> Atoms:
    """Return the averages of activations at pairs of layers.

    Parameters
    ----------
    laws : (ActivationLaw or None, ActivationLaw or None)
        The activations.
    late, early, cross : ndarray, shape (n,)
        Variances and the covariance of what they act on.

    Raises
    ------
    UnsupportedError
        If one has jumps, or kinks and is not linear on either side of zero.
    """
    for law in laws:
        require_derivatives(law)
    ends = [_ends(law) for law in laws]
    curved = [law for law in laws if law is not None and law.ends is None]
    if not curved:
        squares = np.array(ends) ** 2
        parts = squares @ np.array([[0.5, 0.5], [0.5, -0.5]])
        return Kinked(late, early, cross, *parts.T)
    return Smooth(laws, late, early, cross)


def require_known(laws: Iterable[ActivationLaw | None], inputs: int) -> None:
    """Refuse activations that read one stream if averages of two of them are not known.

    Raises
    ------
    UnsupportedError
        If two differ and there are several inputs, or one has kinks and the other one curves.
    """
    distinct = [law for law in dict.fromkeys(laws) if law is not None]
    for one, two in combinations(distinct, 2):
        names = f"operations with {one.name} and {two.name} that read one stream"
        if inputs > 1:
            raise UnsupportedError(
                f"the order 1/N of several inputs of {names}",
                "averages of four variables under two functions are not known",
                "use one activation, or take one input",
            )
        if (one.ends is None) != (two.ends is None):
            raise UnsupportedError(
                f"the order 1/N of {names}",
                "averages of a function with kinks beside one that curves are not known",
                "use functions that are linear on either side of zero, or smooth ones, in all of "
                "them",
            )


def _ends(law: ActivationLaw | None) -> tuple[float, float]:
    """Return the slopes on the right and on the left of zero; no activation has slope one."""
    right, left = (1, 1) if law is None or law.ends is None else law.ends
    return float(right), float(left)


def require_derivatives(law: ActivationLaw | None) -> None:
    """Refuse an activation of which the order 1/N of tangents is not known.

    Raises
    ------
    UnsupportedError
        If it has jumps, or kinks and is not linear on either side of zero.
    """
    if law is None or law.is_smooth or (law.ends is not None and not law.jumps):
        return
    what = "jumps, where it has no phi'" if law.jumps else "kinks, where it has no phi''"
    raise UnsupportedError(
        f"the order 1/N of tangents through the activation {law.name}",
        f"its averages need phi' and the derivatives of phi'^2 up to the second, and it has {what}",
        "take a smooth activation, or one that is linear on either side of zero (relu, leaky_relu, "
        "abs); at infinite width response(net, kind=...) needs less",
    )


class Smooth:
    """Averages of smooth activations."""

    def __init__(self, laws: Laws, late: Array, early: Array, cross: Array) -> None:
        # Several points of a grid may have the same kernels.
        distinct, self._places = np.unique(late + 1j * early, return_inverse=True)
        pair = np.ascontiguousarray(distinct.real), np.ascontiguousarray(distinct.imag)
        self._pair = pair
        curved = [law for law in laws if law is not None]
        if np.any(np.abs(cross - early) > UNEQUAL * early):
            raise UnsupportedError(
                f"the order 1/N of tangents of blocks that read the stream by different factors "
                f"({', '.join(law.name for law in curved)})",
                "what they read is no process with independent increments",
                "give all blocks the same factor in front of the activation",
            )
        edges = [np.diff(resolved_features(law).edges) for law in curved]
        steps = [float(e[e > 0].min()) / 4 if e.size else 1.0 for e in edges]
        variances = np.concatenate(pair)

        def known(x: Array) -> dict[Key, Array]:
            found: dict[Key, Array] = {}
            for mark, law in zip(self._marks, laws, strict=True):
                g, s, b = features(law, x) if law else (x, np.ones_like(x), np.zeros_like(x))
                found |= {
                    (f"f{mark}", 0): g * g,
                    (f"f{mark}", 1): 2 * g * s,
                    (f"f{mark}", 2): 2 * s * s + 4 * g * b,
                    (f"g{mark}", 0): s * s,
                    (f"g{mark}", 1): 4 * s * b,
                }
            return found

        self._marks = ("", "") if laws[0] == laws[1] else ("", "'")
        self._fine, self._coarse = (
            Increments(Lattice.of(known, variances, min(steps), fineness), *pair)
            for fineness in FINENESS
        )
        self.error = 0.0

    def mean(self, key: Key, variances: Array, side: int = 0) -> Array:
        """Return the mean of an atom at variances."""
        return self._fine.mean((f"{key[0]}{self._marks[side]}", key[1]), variances)

    def covariance(self, late: Key, early: Key) -> Array:
        """Return the covariance of two atoms, for all pairs of layers."""
        keys = (late, (f"{early[0]}{self._marks[1]}", early[1]))
        fine, coarse = (found.covariance(*keys) for found in (self._fine, self._coarse))
        size = self._size(keys[0], 0) * self._size(keys[1], 1)
        if fine.size:
            # The larger of a number and NaN would be the number.
            error = float(np.max(np.abs(fine - coarse) / size))
            self.error = max(self.error, error) if np.isfinite(error) else np.inf
        found: Array = fine[self._places]
        return found

    def _size(self, key: Key, side: int) -> Array:
        """Return the natural size of an atom: its root mean square, derivatives in deviations."""
        values, order = self._fine.lattice.split(key)
        variances = self._pair[side]
        levels, places = np.unique(variances, return_inverse=True)
        square = self._fine.lattice.weights(levels, 0) @ values**2
        root = np.sqrt(np.maximum(square, np.finfo(float).tiny))[places]
        return np.asarray(root * np.where(variances > 0, variances, 1.0) ** (-order / 2))


@dataclass(frozen=True)
class Kinked:
    """Averages of functions ``f = even x^2 + odd x|x|`` at the later layer and the earlier one."""

    late: Array
    early: Array
    cross: Array
    evens: Array
    odds: Array
    error: float = field(default=0.0, init=False)

    def mean(self, key: Key, variances: Array, side: int = 0) -> Array:
        """Return the mean of an atom at variances."""
        factor, (name, order) = _reduced(key)
        own, other = float(self.evens[side]), float(self.odds[side])
        root = np.sqrt(np.where(variances > 0, variances, np.nan))
        per_order: dict[Key, Callable[[], Array]] = {
            ("f", 0): lambda: own * variances,
            ("f", 1): lambda: 2 * other * np.sqrt(2 / np.pi * variances),
            ("g", 0): lambda: np.full(variances.shape, own),
        }
        if (name, order) in per_order:
            return np.asarray(factor * per_order[name, order]())
        # The step has no mean derivative of even order.
        if order % 2 == 0 or other == 0:
            return np.zeros(variances.shape)
        if order > 1:
            raise ValueError(f"the mean of derivative {order} of a step is not needed")
        return np.asarray(factor * 2 * other / (np.sqrt(2 * np.pi) * root))

    def covariance(self, late: Key, early: Key) -> Array:
        """Return the covariance of two atoms, for all pairs of layers."""
        (first, own), (second, other) = _reduced(late), _reduced(early)
        a, b, x = self.late, self.early, self.cross
        if (own, other) in MIRRORED:
            own, other, a, b = other, own, b, a
        if (own, other) not in CLOSED:
            raise ValueError(f"the covariance of {late} and {early} is not known")
        safe_a, safe_b = np.where(a > 0, a, 1.0), np.where(b > 0, b, 1.0)
        product = safe_a * safe_b
        cosine = np.clip(x / np.sqrt(product), -1.0, 1.0)
        sine = np.sqrt(np.maximum((product - x * x) / product, 0.0))
        even, odd = CLOSED[own, other](safe_a, safe_b, sine, cosine)
        return np.asarray(first * second * (np.prod(self.evens) * even + np.prod(self.odds) * odd))


def _reduced(key: Key) -> tuple[float, Key]:
    """Return an atom in terms of lower derivatives: ``f'' = 2 g``."""
    name, order = key
    return (2.0, ("g", order - 2)) if name == "f" and order >= 2 else (1.0, key)


F0, F1, G0, G1, G2 = ("f", 0), ("f", 1), ("g", 0), ("g", 1), ("g", 2)
MIRRORED = {(F0, G0), (F1, G1), (F0, G2)}

Parts = Callable[[Array, Array, Array, Array], tuple[Array | float, Array | float]]

CLOSED: dict[tuple[Key, Key], Parts] = {
    (F0, F0): lambda a, b, s, c: (
        2 * a * b * c**2,
        2 / np.pi * a * b * (3 * s * c + (1 + 2 * c**2) * np.arctan2(c, s)),
    ),
    (F1, F1): lambda a, b, s, c: (
        4 * np.sqrt(a * b) * c,
        8 / np.pi * np.sqrt(a * b) * (s + c * np.arctan2(c, s) - 1),
    ),
    (G0, F0): lambda a, b, s, c: (0.0, 2 / np.pi * b * (s * c + np.arctan2(c, s))),
    (G0, G0): lambda a, b, s, c: (0.0, 2 / np.pi * np.arctan2(c, s)),
    (G1, F1): lambda a, b, s, c: (0.0, 4 / np.pi * np.sqrt(b / a) * (s - 1)),
    (G2, F0): lambda a, b, s, c: (0.0, -4 / np.pi * b / a * s * c),
}
"""Covariances for ``even = 1`` and for ``odd = 1``, at variances a, b and the angle's sine, cosine:
``f' = 2 even x + 2 odd |x|``, ``g = even + odd sgn(x)``, and ``sgn' = 2 delta``."""
