r"""Correlated layers: the covariance of weights between the blocks of a network, as data.

    Cov(W^l_ij, W^m_ij) = c(l, m) sigma_w2 / N,     Cov(b^l_i, b^m_i) = c(l, m) sigma_b2

for each `Linear` of the branch with itself in another block; different ones, read-in and read-out
are independent. All laws but a matrix have c(l, l) = 1 and depend on the lag k = l - m alone:

    FractionalBrownian(H)   increments: c = (|k+1|^{2H} + |k-1|^{2H} - 2 |k|^{2H}) / 2
    Smooth(kernel, v)       increments of a smooth process on [0, 1] in steps of 1/L
    Markov(r)               c = r^|k|
    LayerMatrix(c)          any positive semi-definite matrix of size L x L

A law is a class with parameters, as an operation has them, and the method `lags`; the registry is
`resexpand.network.layer_registry.LAYER_LAWS`.

Source: Marion, Fermanian, Biau & Vert, arXiv:2206.06929, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.errors import DescriptionError
from resexpand.network.operation import Operation, Parameter

Array = NDArray[np.float64]


class LayerLaw(Operation):
    """A law of c(l, m); its parameters are numbers or symbols."""

    @property
    def is_normalised(self) -> bool:
        """Whether c(l, l) = 1."""
        return True

    def __init__(self, *given: object, **named: object):
        super().__init__(*given, **named)
        if many := [p.name for p, v in self.pairs if isinstance(v, tuple)]:
            raise DescriptionError(
                f"{self.kind} with a list as {many[0]}", "it is one law for all blocks", "give one"
            )

    def lags(self, depth: int, count: int) -> Array:
        """Return c at the lags below a count, in a network of this depth.

        The parameters must be numbers (`at`).
        """
        raise NotImplementedError

    def covariance(self, depth: int, further: int = 0) -> Array:
        """Return the matrix c of all blocks, and of some further ones.

        Parameters
        ----------
        depth : int
            Blocks of the network.
        further : int
            Blocks behind the last.

        Returns
        -------
        ndarray, shape (depth + further, depth + further)
        """
        count = depth + further
        places = np.arange(count)
        return np.asarray(self.lags(depth, count)[np.abs(places[:, None] - places)])

    @property
    def exponent(self) -> sp.Expr | None:
        """H, where sums over n blocks have variances of order ``n^(2H)``; None if unknown."""
        return None

    def smooth(self, distance: sp.Expr) -> sp.Expr | None:
        """Return c at a distance of shares ``l / L``, in infinite depth, if weights are smooth."""
        return None

    def thinned(self, fine: int, depth: int) -> Array | None:
        """Return the matrix that makes weights of a depth from those of a multiple of it.

        Parameters
        ----------
        fine, depth : int
            Blocks of the deeper and of the other network.

        Returns
        -------
        ndarray, shape (depth, fine + 1), or None
            M with ``M c M^T = c_depth``, c of the deeper network with one more block in front, of
            weights that are one process over the depth.
        """
        return None

    def middles(self, fine: int) -> Array | None:
        """Return, as a matrix like `thinned`, the process in the middle of every block."""
        return self.thinned(fine, fine)

    def at(self, numbers: Sequence[Any]) -> Self:
        """Return the law with numbers as parameters."""
        return type(self)(*numbers)

    def check_depth(self, depth: sp.Expr) -> None:
        """Raise if the law is of networks of another depth."""

    @property
    def record(self) -> list[Any]:
        """Kind and parameters as JSON values; `law_of_record` of the registry reads them."""
        return [self.kind, *map(float, self.values)]


class FractionalBrownian(LayerLaw):
    """Weights that are increments of a fractional Brownian motion.

    Parameters
    ----------
    H : number or sympy.Expr, optional
        Hurst index, ``0 < H < 1``; 1/2 is independent. The symbol ``H`` by default.
    generator : str
        ``"exact"``: fractional Gaussian noise. ``"published"``: what the code of the paper draws.
        Its circulant embedding of size 2L takes the eigenvalue 0 at the Nyquist frequency, too,
        which adds ``(-1)^k (lambda_0 - lambda_L) / 2L``, and leaves out negative eigenvalues. For
        H = 0.8, 0.9 at L = 1000 variances are 1.050, 1.226; for H <= 1/2 the difference is O(1/L).

    Raises
    ------
    DescriptionError
        If H is outside of (0, 1).
    """

    kind = "FractionalBrownian"
    H: sp.Expr
    generator: sp.Expr
    parameters = (
        Parameter(
            sp.Symbol("H", positive=True), above=0, below=1, default=sp.Symbol("H", positive=True)
        ),
        Parameter(
            sp.Symbol("generator"), words=(("exact", 0), ("published", 1)), default=0, maximum=1
        ),
    )

    @property
    def is_normalised(self) -> bool:
        """Whether c(l, l) = 1, which the published generator misses."""
        return bool(self.generator == 0)

    @property
    def exponent(self) -> sp.Expr | None:
        """H itself."""
        return self.H

    def lags(self, depth: int, count: int) -> Array:
        """Return c; that of the published generator has the period 2L."""
        power = 2 * float(self.H)
        k = np.arange(count if self.generator == 0 else depth, dtype=np.float64)
        exact: Array = (np.abs(k + 1) ** power + np.abs(k - 1) ** power) / 2 - k**power
        if self.generator == 0:
            return exact
        circulant = np.concatenate([exact, [0.0], exact[:0:-1]])
        spectrum: Array = np.fft.rfft(circulant).real
        spectrum[-1] = spectrum[0]
        drawn: Array = np.fft.irfft(np.maximum(spectrum, 0.0), 2 * depth)[
            np.arange(count) % (2 * depth)
        ]
        return drawn


def _rbf(a: float, k: Array) -> Array:
    return np.asarray(np.exp(-a * k**2))


def _cosine(a: float, k: Array) -> Array:
    return np.asarray(np.cos(np.sqrt(2 * a) * k))


def _rbf_increments(a: float, k: Array) -> Array:
    """Return c of the increments, ``e^{-a k^2} (1 - e^{-a} cosh(2 a k)) / (1 - e^{-a})``.

    For small steps that is a small difference, which makes c indefinite unless it is written as
    one of small terms.
    """
    if a > 0.5:
        direct: Array = _rbf(a, k) - (_rbf(a, k + 1) + _rbf(a, k - 1)) / 2
        return direct / float(-np.expm1(-a))
    least = float(-np.expm1(-a))
    level = least * (np.exp(-a * k * (k - 2)) + np.exp(-a * k * (k + 2))) / 2
    bend = np.exp(-a * k * (k - 2)) * np.expm1(-2 * a * k) ** 2 / 2
    return np.asarray((level - bend) / least)


KERNELS = {
    "rbf": (_rbf, _rbf_increments),
    # Increments of a cosine have the same correlations as the process.
    "cosine": (_cosine, _cosine),
}
"""Correlations of smooth processes and of their increments, functions of ``a = 1 / (2 v L^2)``
and the lag, by name: the one place to add another."""


SMOOTH = (
    lambda d, v: sp.exp(-(d**2) / (2 * v)),
    lambda d, v: sp.cos(d / sp.sqrt(v)),
)
"""The processes of `KERNELS` as expressions in the distance and the variance."""


class Smooth(LayerLaw):
    """Weights that are smooth functions of the place ``l / L``, or increments of such.

    Parameters
    ----------
    kernel : str
        Correlations at distance d: ``"rbf"``, ``exp(-d^2 / 2 v)``; ``"cosine"``,
        ``cos(d / sqrt(v))``.
    variance : number or sympy.Expr, optional
        v, ``> 0``: square of the distance over which weights change. The symbol ``v`` by default.
    of : str
        ``"increments"`` of the process, normalised, as in the paper: deep networks have
        ``(1 - d^2 / v) exp(-d^2 / 2 v)`` for ``"rbf"``. ``"process"``: the process itself.

    Raises
    ------
    DescriptionError
        If the kernel is unknown or the variance is not positive.
    """

    kind = "Smooth"
    kernel: sp.Expr
    variance: sp.Expr
    of: sp.Expr
    parameters = (
        Parameter(
            sp.Symbol("kernel"),
            words=tuple((name, number) for number, name in enumerate(KERNELS)),
            default=0,
            minimum=0,
            maximum=len(KERNELS) - 1,
        ),
        Parameter(
            sp.Symbol("v", positive=True),
            "variance",
            above=0,
            default=sp.Symbol("v", positive=True),
        ),
        Parameter(sp.Symbol("of"), words=(("increments", 0), ("process", 1)), default=0, maximum=1),
    )

    @property
    def exponent(self) -> sp.Expr | None:
        """One: all blocks add up."""
        return sp.Integer(1)

    def smooth(self, distance: sp.Expr) -> sp.Expr | None:
        """Return c; of increments it is that of the derivative of the process, normalised."""
        d = sp.Dummy("d", real=True)
        process = SMOOTH[int(self.kernel)](d, self.variance)
        bent = process.diff(d, 2)
        found = process if self.of == 1 else sp.simplify(bent / bent.subs(d, 0))
        return found.subs(d, distance)

    def thinned(self, fine: int, depth: int) -> Array:
        """Return a choice of places, or normalised sums of increments."""
        every, behind = fine // depth, np.eye(fine, fine + 1, 1)
        if self.of == 1:
            return np.asarray(behind[every - 1 :: every])
        window = self.lags(fine, every)[np.abs(np.subtract.outer(range(every), range(every)))]
        summed: Array = behind.reshape(depth, every, fine + 1).sum(axis=1)
        summed /= math.sqrt(float(window.sum()))
        return summed

    def middles(self, fine: int) -> Array:
        """Return increments as they are, and averages of neighbouring places of a process."""
        ends: Array = np.eye(fine, fine + 1, 1)
        return ends if self.of == 0 else (ends + np.eye(fine, fine + 1)) / 2

    def lags(self, depth: int, count: int) -> Array:
        """Return c of the process or of its increments."""
        process, increments = list(KERNELS.values())[int(self.kernel)]
        a = 1 / (2 * float(self.variance) * depth**2)
        return (increments if self.of == 0 else process)(a, np.arange(count, dtype=np.float64))


class Markov(LayerLaw):
    """Weights that forget at a constant rate, an autoregression of order one.

    Parameters
    ----------
    r : number or sympy.Expr, optional
        Correlation of neighbouring blocks, ``-1 <= r <= 1``; 0 is independent, 1 one set of weights
        for all blocks. The symbol ``r`` by default.

    Raises
    ------
    DescriptionError
        If r is outside of [-1, 1].
    """

    kind = "Markov"
    r: sp.Expr
    parameters = (
        Parameter(
            sp.Symbol("r", real=True), minimum=-1, maximum=1, default=sp.Symbol("r", real=True)
        ),
    )

    @property
    def exponent(self) -> sp.Expr | None:
        """One half where blocks forget; one for common weights."""
        if not self.r.is_number:
            return None
        return sp.Integer(1) if self.r == 1 else sp.Rational(1, 2) if self.r != -1 else None

    def lags(self, depth: int, count: int) -> Array:
        """Return the powers of r."""
        return np.asarray(float(self.r) ** np.arange(count), dtype=np.float64)
