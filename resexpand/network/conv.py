r"""Convolution: a contraction over the neurons of neighbouring positions.

    (W x)_p = sum_o W^o x_{p+o} + b,      W^o_ij ~ N(0, sigma_w^2 v_o / N),   b_i ~ N(0, sigma_b^2),

with the same weights at every position p. Given x, neurons are independent Gaussians with the
covariance

    C_pq = sigma_w^2 sum_o v_o x_{p+o} . x_{q+o} / N + sigma_b^2,

exactly at every width: only columns at equal offsets meet. Positions go round, or end in zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import sympy as sp

from resexpand.conventions import SIGMA_B2, SIGMA_W2
from resexpand.errors import DescriptionError
from resexpand.network.linear import Linear
from resexpand.network.operation import Contraction, Operation, Parameter
from resexpand.network.positions import Array, Offset, OverPositions, neighbours, read_positions

ZEROS = "zeros"
"""Word of a structure for positions that end in zeros."""


class Conv(OverPositions, Contraction):
    """A convolution over the positions of every input, with Gaussian weights and biases.

    Parameters
    ----------
    offsets : sequence of int, or of (int, int)
        Neighbours that a position reads, ``(-1, 0, 1)`` by default; pairs on an image.
    weight_variance : number or sympy.Expr, optional
        Variance of a weight times N and the share of its offset, ``>= 0``: with equal shares the
        variance times the fan-in, as for `Linear`. The symbol ``sigma_w2`` by default.
    bias_variance : number or sympy.Expr, optional
        Variance of a bias, ``>= 0``. The symbol ``sigma_b2`` by default.
    shares : sequence of number or sympy.Expr, optional
        Shares ``v_o >= 0`` of the offsets in the weight variance; equal ones with the sum 1 by
        default. ``v_0 = 1`` alone is the kernel of delta-orthogonal initialisation.
    circular : bool, optional
        Whether positions go round (by default), or the outside is zero.

    Raises
    ------
    DescriptionError
        If an offset occurs twice or is no whole number, a variance or share is negative, or there
        is not one share per offset; in a network without positions, or with others of another
        dimension.

    References
    ----------
    Novak et al. (2019) for the covariance; Xiao et al. (2018) for circular ones.

    Examples
    --------
    >>> import numpy as np
    >>> from resexpand import Activation, Branch, Conv, ResNet, evaluate, kernel
    >>> net = ResNet(
    ...     Branch(Activation("relu"), Conv((-1, 0, 1), 2, 0)), scale=1, depth=2, positions=4
    ... )
    >>> evaluate(kernel(net, inputs="positions"), K0=np.eye(4))["K"][:, 0, 0]
    array([1., 2., 4.])
    """

    kind = "Conv"
    parameters = Linear.parameters

    def __init__(
        self,
        offsets: Sequence[int | Sequence[int]] = (-1, 0, 1),
        weight_variance: Any = SIGMA_W2,
        bias_variance: Any = SIGMA_B2,
        *,
        shares: Sequence[Any] | None = None,
        circular: bool = True,
    ):
        own = _offsets(offsets)
        given = [sp.Rational(1, len(own))] * len(own) if shares is None else list(shares)
        if len(given) != len(own):
            raise DescriptionError(
                f"{len(given)} shares of {len(own)} offsets", "every offset has one", "give as many"
            )
        if not isinstance(circular, bool | np.bool_):
            raise DescriptionError(f"circular = {circular!r}", "it is no truth value", "use True")
        symbols = (sp.Symbol(f"v_{k + 1}", nonnegative=True) for k in range(len(own)))
        listed = tuple(Parameter(s, f"share_{k + 1}", minimum=0) for k, s in enumerate(symbols))
        self.__dict__.update(
            offsets=own, circular=bool(circular), parameters=(*Linear.parameters, *listed)
        )
        super().__init__(weight_variance, bias_variance, *given)

    offsets: tuple[Offset, ...]
    circular: bool

    @property
    def structure(self) -> str:  # type: ignore[override]
        """Offsets, the word for zeros outside, and the positions: ``-1 0 1 zeros on 16``."""
        words = [",".join(map(str, offset)) for offset in self.offsets]
        ends = [] if self.circular else [ZEROS]
        return " ".join([*words, *ends, *filter(None, [super().structure])])

    @classmethod
    def of_structure(cls, structure: str, values: tuple[Any, ...], **named: Any) -> Self:
        """Return the convolution of a structure, variances and shares."""
        words, positions = read_positions(structure)
        circular = ZEROS not in words
        try:
            offsets = [tuple(map(int, w.split(","))) for w in words if w != ZEROS]
        except ValueError:
            raise DescriptionError(
                f"Conv[{structure}]", "offsets are whole numbers", "write Conv[-1 0 1](2, 0)"
            ) from None
        offsets = offsets or [(-1,), (0,), (1,)]
        shares = values[2 : 2 + len(offsets)] or None
        op = cls(offsets, *values[:2], shares=shares, circular=circular, **named)
        return op.placed(positions) if positions else op

    def placed(self, positions: tuple[int, ...]) -> Self:
        """Return the convolution over the positions of a network."""
        if positions and len(self.offsets[0]) != len(positions):
            raise DescriptionError(
                f"{self!r} over positions {positions}",
                f"its offsets have {len(self.offsets[0])} numbers, and positions {len(positions)}",
                "give offsets of as many numbers, such as (0, 1) on an image",
            )
        return super().placed(positions)

    def at_equal_positions(self) -> Operation | None:
        """Return the `Linear` of the summed shares; none where the outside is zero."""
        weight, bias, *shares = self.values
        listed = any(isinstance(value, tuple) for value in (weight, *shares))
        return Linear(weight * sum(shares), bias) if self.circular and not listed else None

    def gram(self, before: Array, at: Sequence[Array]) -> Array:
        """Return ``sigma_w^2 sum_o v_o S_o K S_o^T + sigma_b^2``."""
        weight, bias, *_ = at
        moved: Array = weight[..., None, None] * self._shifted(before, at[2:])
        return moved + bias[..., None, None]

    def gram_moved(self, before: Array, moved: Array, at: Sequence[Array]) -> Array:
        """Return the change of the covariance: it is linear in the second moments."""
        return np.asarray(at[0][..., None, None] * self._shifted(moved, at[2:]))

    def _shifted(self, gram: Array, shares: Sequence[Array]) -> Array:
        """Return the sum of the shifted Gram matrices, weighted by the shares."""
        size = gram.shape[-1]
        firsts = np.arange(0, size, self.count)[:, None]
        # One more row and column of zeros, for the neighbours that are not there.
        wide = np.pad(gram, [(0, 0)] * (gram.ndim - 2) + [(0, 1), (0, 1)])
        weights = [share[..., None, None] for share in shares]
        total = np.zeros(np.broadcast_shapes(gram.shape, *(w.shape for w in weights)))
        for offset, weight in zip(self.offsets, weights, strict=True):
            own = neighbours(self.positions, offset, self.circular)
            columns = np.where(own < self.count, firsts + own, size).ravel()
            total += weight * wide[..., columns[:, None], columns]
        return total

    def __repr__(self) -> str:
        shown = tuple(o[0] if len(o) == 1 else o for o in self.offsets)
        text = f"Conv({shown}, weight_variance={self.values[0]}, bias_variance={self.values[1]}"
        equal = sp.Rational(1, len(self.offsets))
        if any(share != equal for share in self.values[2:]):
            text += f", shares={self.values[2:]}"
        return text + (")" if self.circular else ", circular=False)")


def _offsets(given: Any) -> tuple[Offset, ...]:
    """Return offsets as tuples of whole numbers."""
    listed = list(given) if isinstance(given, Sequence | np.ndarray | range) else [given]
    found = [tuple(o) if isinstance(o, Sequence | np.ndarray) else (o,) for o in listed]
    whole = all(
        isinstance(n, int | np.integer) and not isinstance(n, bool)
        for offset in found
        for n in offset
    )
    if not found or not whole or len({len(o) for o in found}) > 1 or not 1 <= len(found[0]) <= 2:
        raise DescriptionError(
            f"offsets = {given!r}",
            "they are whole numbers, or pairs of these",
            "give (-1, 0, 1), or ((0, -1), (0, 0), (0, 1)) on an image",
        )
    offsets = [tuple(map(int, offset)) for offset in found]
    if len(set(offsets)) < len(offsets):
        raise DescriptionError(f"offsets = {given!r}", "one occurs twice", "give each once")
    return tuple(offsets)
