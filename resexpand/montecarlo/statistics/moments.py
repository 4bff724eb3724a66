"""Partial sums of an ensemble that merge: counts and central moments up to order four.

For `n` draws of a component with mean `m`, `M_k = sum (x - m)^k`. Two sets `a`, `b` merge without
the draws, `d = m_b - m_a`, `n = n_a + n_b`:

    m   = m_a + d n_b/n
    M_2 = M_2a + M_2b + d^2 n_a n_b/n
    M_3 = M_3a + M_3b + d^3 n_a n_b (n_a - n_b)/n^2 + 3 d (n_a M_2b - n_b M_2a)/n
    M_4 = M_4a + M_4b + d^4 n_a n_b (n_a^2 - n_a n_b + n_b^2)/n^3
          + 6 d^2 (n_a^2 M_2b + n_b^2 M_2a)/n^2 + 4 d (n_a M_3b - n_b M_3a)/n

No large numbers cancel, unlike in raw sums of squares. The rounding depends on the order of the
merges, so runs merge their chunks in the order of the draws.

All moments are kept in units of a power of two, `x = 2^e x'` with `|x'| <= 1`, one exponent per
component: scaling by powers of two is exact, and fourth powers of kernels that grew to 1e150
still fit. Draws that are infinite or NaN are counted and left out of the sums.

Source: T. F. Chan, G. H. Golub, R. J. LeVeque, Amer. Statist. 37 (1983) 242,
doi:10.1080/00031305.1983.10483115 (order two); P. Pébay, Sandia report SAND2008-6212 (2008),
equations 1.1-1.6 (orders three and four).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
LARGEST_EXPONENT = 1022


@dataclass(frozen=True, eq=False)
class Moments:
    """Counts and central moments of draws, component by component.

    Attributes
    ----------
    draws : int
        Draws seen, finite or not.
    finite : ndarray of int64
        Draws that enter the sums.
    exponent : ndarray of int64
        The unit of the moments is `2**exponent`.
    mean, m2, m3, m4 : ndarray of float64
        Mean and central sums in that unit.
    """

    draws: int
    finite: Integers
    exponent: Integers
    mean: Floats
    m2: Floats
    m3: Floats
    m4: Floats

    @classmethod
    def of(cls, rows: Floats) -> Moments:
        """Return the moments of draws along the first axis."""
        good = np.isfinite(rows)
        finite = np.asarray(good.sum(axis=0), dtype=np.int64)
        bad = None if good.all() else ~good
        kept = rows if bad is None else np.where(good, rows, 0.0)
        _, power = np.frexp(np.maximum(kept.max(axis=0), -kept.min(axis=0)))
        exponent = np.asarray(power, dtype=np.int64)
        count = np.maximum(finite, 1)
        # Rows of wide observables are large: from here on there are two arrays of their size.
        deviation = _times_power_of_two(kept, -exponent)
        rough = deviation.sum(axis=0) / count
        deviation -= rough
        if bad is not None:
            deviation[bad] = 0.0
        # A long sum of nearly equal numbers rounds; the mean of what is left over mends it.
        correction = deviation.sum(axis=0) / count
        deviation -= correction
        if bad is not None:
            deviation[bad] = 0.0
        square = deviation * deviation
        m2 = np.asarray(square.sum(axis=0))
        deviation *= square
        square *= square
        return cls(
            draws=len(rows),
            finite=finite,
            exponent=exponent,
            mean=np.asarray(rough + correction),
            m2=m2,
            m3=np.asarray(deviation.sum(axis=0)),
            m4=np.asarray(square.sum(axis=0)),
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one draw."""
        return self.mean.shape

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both sets of draws."""
        exponent = np.maximum(
            np.where(self.finite > 0, self.exponent, other.exponent),
            np.where(other.finite > 0, other.exponent, self.exponent),
        )
        a, b = self._in_unit(exponent), other._in_unit(exponent)
        na, nb = a.finite.astype(float), b.finite.astype(float)
        n = np.maximum(na + nb, 1.0)
        fa, fb = na / n, nb / n
        d = np.where((na > 0) & (nb > 0), b.mean - a.mean, 0.0)
        cross = d * d * na * fb
        m3 = a.m3 + b.m3 + cross * d * (fa - fb) + 3 * d * (fa * b.m2 - fb * a.m2)
        m4 = a.m4 + b.m4 + cross * d * d * (fa * fa - fa * fb + fb * fb)
        m4 += 6 * d * d * (fa * fa * b.m2 + fb * fb * a.m2) + 4 * d * (fa * b.m3 - fb * a.m3)
        return Moments(
            draws=a.draws + b.draws,
            finite=a.finite + b.finite,
            exponent=exponent,
            mean=np.where(na > 0, a.mean, b.mean) + d * fb,
            m2=a.m2 + b.m2 + cross,
            m3=m3,
            m4=m4,
        )

    def _in_unit(self, exponent: Integers) -> Moments:
        """Return the same moments in the unit `2**exponent`."""
        shift = self.exponent - exponent
        powers = (np.ldexp(m, k * shift) for k, m in enumerate(self._sums(), start=1))
        return Moments(self.draws, self.finite, exponent, *powers)

    def _sums(self) -> tuple[Floats, Floats, Floats, Floats]:
        return self.mean, self.m2, self.m3, self.m4

    def to_bytes(self) -> bytes:
        """Return the exact state as bytes: little-endian 64-bit words, `draws` first."""
        arrays = [getattr(self, field.name) for field in fields(self)[1:]]
        head = np.array([self.draws], dtype="<i8").tobytes()
        return head + b"".join(a.astype(a.dtype.newbyteorder("<")).tobytes() for a in arrays)

    @classmethod
    def from_bytes(cls, data: bytes, shape: tuple[int, ...]) -> Moments:
        """Rebuild the state written by `to_bytes`.

        Raises
        ------
        ValueError
            If the bytes do not hold six arrays of the given shape.
        """
        size = int(np.prod(shape, dtype=np.int64))
        if len(data) != 8 * (1 + 6 * size):
            raise ValueError(f"{len(data)} bytes do not hold the moments of {size} components")
        draws = int(np.frombuffer(data, "<i8", 1)[0])
        whole = np.frombuffer(data, "<i8", 2 * size, offset=8).astype(np.int64)
        real = np.frombuffer(data, "<f8", 4 * size, offset=8 + 16 * size).astype(np.float64)
        finite, exponent = whole.reshape(2, *shape)
        mean, m2, m3, m4 = real.reshape(4, *shape)
        return cls(draws, finite, exponent, mean, m2, m3, m4)


def _times_power_of_two(rows: Floats, exponent: Integers) -> Floats:
    """Return `ldexp(rows, exponent)`, by a product where the power is a normal number."""
    if np.all(np.abs(exponent) < LARGEST_EXPONENT):
        return np.asarray(rows * np.ldexp(1.0, exponent))
    return np.asarray(np.ldexp(rows, exponent))
