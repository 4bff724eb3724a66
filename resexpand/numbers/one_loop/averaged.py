r"""Sources that averages in front of an activation add: they are shared by all neurons, too.

What is averaged is ``f_jr = c_1 u_r + c_2 u_r^2``; covariances with powers of a Gaussian are
averages of derivatives (Stein's identity): with ``X_qr = Cov(z_q, u_r)`` between a later ``z`` and
an earlier ``u``, for every function A of z

    Cov(A, u_r) = sum_q < d_q A > X_qr,    Cov(A, u_r^2) = sum_qs < d_q d_s A > X_qr X_sr.

A derivative by an average is ``ratio z_q d_q F + shift d_q F``, one by the covariance that is read
half of a second derivative (`resexpand.numbers.one_loop.chain`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from resexpand.numbers.one_loop.chain import Moments, slopes_of
from resexpand.numbers.one_loop.directions import directions
from resexpand.numbers.one_loop.tables import Site, entry_index

Array = NDArray[np.float64]
Integers = NDArray[np.intp]


def _sum(subscripts: str, *tables: Array) -> Array:
    return np.asarray(np.einsum(subscripts, *tables, optimize=True))


@dataclass(frozen=True)
class Averaged:
    """A site with averages at pairs of layers, arrays ``(G, pairs, ...)``; its own layers first.

    Attributes
    ----------
    site : Site
        The site.
    later, earlier : ndarray of int
        Blocks of each pair.
    """

    site: Site
    later: Integers
    earlier: Integers

    @cached_property
    def cross(self) -> Array:
        """Covariance of what is read at both layers, ``(G, pairs, D, D)``."""
        return self.site.raw[:, self.earlier]

    def add(self, shared: Array, moved: Array, covariance: Array) -> float:
        """Add to ``S`` and ``P`` of pairs of layers what concerns averages.

        Parameters
        ----------
        shared : ndarray, shape (G, pairs, n, n)
            ``S``: variable at the later layer, at the earlier one.
        moved : ndarray, shape (G, pairs, n, m, n)
            ``P``: variable, what it depends on, variable at the earlier layer.
        covariance : ndarray, shape (G, pairs, p, p)
            Covariances of the features.

        Returns
        -------
        float
            Relative error of the averages.
        """
        site, own = self.site, self.site.averages * self.site.inputs
        late, early = self._tables(self.later), self._tables(self.earlier)
        moments, slope = Moments(site), site.maps["slope"]
        forth = slope[:, self.later, :, None] * self.cross
        back = slope[:, self.earlier, :, None] * self.cross
        first, second = moments.first, moments.second
        shared[..., own:, :own] = self._with_powers(
            first[:, self.later], second[:, self.later], forth, early
        )
        shared[..., :own, own:] = self._with_powers(
            first[:, self.earlier], second[:, self.earlier], back, late
        ).swapaxes(-1, -2)
        shared[..., :own, :own] = self._powers(late["linear"], late["square"], early)
        self._conditioning(moved, late, early, forth)
        return self._with_features(moved, covariance, late)

    def _tables(self, blocks: Integers) -> dict[str, Array]:
        return {name: table[:, blocks] for name, table in self.site.maps.items()}

    def _with_powers(self, first: Array, second: Array, x: Array, early: dict[str, Array]) -> Array:
        """Return covariances of functions with averaged ones, ``(..., J D)``, from derivatives."""
        linear = _sum("gn...q,gnqr,gnrj->gn...jr", first, x, early["linear"])
        square = _sum("gn...qs,gnqr,gnsr,gnrj->gn...jr", second, x, x, early["square"])
        total = linear + square
        return total.reshape((*total.shape[:-2], total.shape[-2] * total.shape[-1]))

    def _powers(self, linear: Array, square: Array, early: dict[str, Array]) -> Array:
        """Return ``Cov(a u_q + b u_q^2, f_kr)`` for coefficients ``(..., D, i...)``."""
        k = self.cross
        total = _sum("gnqi,gnqr,gnrk->gniqkr", linear, k, early["linear"])
        total += 2 * _sum("gnqi,gnqr,gnrk->gniqkr", square, k * k, early["square"])
        count = k.shape[-1]
        return total.reshape((*total.shape[:2], total.shape[2] * count, total.shape[4] * count))

    def _conditioning(
        self, moved: Array, late: dict[str, Array], early: dict[str, Array], x: Array
    ) -> None:
        """Fill in ``P`` with averages at the earlier layer."""
        site, later = self.site, self.later
        inputs, entries, averages = site.inputs, site.entries, site.averages
        own = averages * inputs
        moments = Moments(site)
        first, second, third, fourth = (
            table[:, later]
            for table in (moments.first, moments.second, moments.third, moments.fourth)
        )
        k = site.reads[:, later]
        index = entry_index(inputs)
        pairs = np.array([[index[q, s] for s in range(inputs)] for q in range(inputs)])
        # By the covariance: < d_q dF/dk_c > and < d_q d_s dF/dk_c >.
        by = slopes_of(site)[:, later][:, :, None, :]
        drift = np.moveaxis(site.drift_response[:, later], 3, 4) * by[..., None]
        curved = site.curvature[:, later][..., pairs] * (1 + np.eye(inputs))
        moved[:, :, own:, :entries, :own] = self._with_powers(
            drift, curved * by[..., None, None], x, early
        )
        # By an average: A = d_q F and A = z_q d_q F, their derivatives by one input and by two.
        eye = np.eye(inputs)
        scaled_first = _sum("qs,gneq->gneqs", eye, first)
        scaled_first += _sum("gnqt,gneqst->gneqs", k, third)
        scaled_second = _sum("qs,gneqt->gneqst", eye, second)
        scaled_second += scaled_second.swapaxes(-1, -2)
        scaled_second += _sum("gnqv,gneqstv->gneqst", k, fourth)
        plain = self._with_powers(second, third, x, early)
        scaled = self._with_powers(scaled_first, scaled_second, x, early)
        moved[:, :, own:, entries:, :own] = self._by_averages(plain, scaled, late)
        # Averaged functions depend on averages before them, of the same input.
        for i in range(averages):
            linear, square = late["linears"][..., i], late["squares"][..., i]
            found = self._powers(linear, square, early)
            found = found.reshape((*found.shape[:2], averages, inputs, own))
            for q in range(inputs):
                rows, column = np.arange(averages) * inputs + q, entries + i * inputs + q
                moved[:, :, rows, column, :own] = found[:, :, :, q]

    def _by_averages(self, plain: Array, scaled: Array, late: dict[str, Array]) -> Array:
        """Return derivatives by averages from those along inputs, ``(..., p, J D, n)``."""
        total = _sum("gnqj,gneqk->gnejqk", late["shift"], plain)
        total += _sum("gnqj,gneqk->gnejqk", late["ratio"], scaled)
        size = total.shape[3] * total.shape[4]
        return total.reshape((*total.shape[:3], size, total.shape[-1]))

    def _with_features(self, moved: Array, covariance: Array, late: dict[str, Array]) -> float:
        """Fill in ``P`` by averages with features at an earlier layer; return the error."""
        site, own = self.site, self.site.averages * self.site.inputs
        apart = slice(site.weights.shape[1], None)
        later, earlier = self.later[apart], self.earlier[apart]
        self._of_averages(moved)
        if not later.size:
            return 0.0
        slope = site.maps["slope"]
        factors = slope[:, later, :, None] * slope[:, earlier, None, :]
        given = site.reads[:, later], site.reads[:, earlier], self.cross[:, apart] * factors
        count = given[0].shape[0] * later.size
        flat = [a.reshape((count, *a.shape[2:])) for a in (*given, covariance[:, apart])]
        found = directions(site.law, *flat)
        shape = (*given[0].shape[:2], *found.drift.shape[1:])
        weights = site.between(later, earlier)[..., :, None, :]
        part = {name: table[:, apart] for name, table in late.items()}
        moved[:, apart, own:, site.entries :, own:] = self._by_averages(
            weights * found.drift.reshape(shape), weights * found.scaled.reshape(shape), part
        )
        return found.error

    def _of_averages(self, moved: Array) -> None:
        """Fill in ``P`` of averaged functions with features at an earlier layer."""
        site = self.site
        inputs, entries, averages = site.inputs, site.entries, site.averages
        own = averages * inputs
        apart = slice(site.weights.shape[1], None)
        moments, early = Moments(site), self.earlier[apart]
        back = site.maps["slope"][:, early, :, None] * self.cross[:, apart]
        linear = _sum("gneq,gnqr->gner", moments.first[:, early], back)
        square = _sum("gneqs,gnqr,gnsr->gner", moments.second[:, early], back, back)
        maps = {k: site.maps[k][:, self.later[apart]] for k in ("linears", "squares")}
        for q in range(inputs):
            for i in range(averages):
                rows, column = np.arange(averages) * inputs + q, entries + i * inputs + q
                moved[:, apart, rows, column, own:] = (
                    maps["linears"][:, :, q, :, i, None] * linear[:, :, None, :, q]
                    + maps["squares"][:, :, q, :, i, None] * square[:, :, None, :, q]
                )
