r"""Rescaling: networks that outgrow float64, divided by powers of two as they grow.

Where every activation of the branch is positively homogeneous, `phi(c x) = c phi(x)` for c > 0
(identity, relu, leaky_relu, abs, and other functions with two slopes around 0), all columns of the
stream may be divided by one number without a change of anything else, if later biases are:

    h -> 2^-k h,        t -> 4^-k t  (bias variances).

Multiplying by powers of two is exact, so a rescaled network is the same network bit by
bit, until a number falls below the smallest normal one. Before layer l is read off, the stream is
brought back whenever a squared norm over N exceeds `LARGEST`, and `exponents[l]` keeps the sum E of
all k so far: Gram matrices are then in units of `4^E`, outputs in `2^E`. Logarithms and ratios of
the stream stay finite at any depth; a kernel beyond the range of float64 is infinite, as it should.

Other activations cannot be rescaled: their networks overflow, and the estimates say so. Nor are
networks that are propagated with gradients or with a control network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from resexpand.activations.traits import is_homogeneous
from resexpand.montecarlo.groups.group import ColumnGroup, Floats
from resexpand.network.resnet import Branch

SITE = "exponents"

PROLOGUE = """\
    exponent, shrink = 0, 1.0
"""

READING = """\
exponent = in_new_units(stream, states[n, layer - 1], exponent if layer > 1 else 0)
                exponents[n, layer - 1] = exponent
                shrink = 0.25**exponent"""


@dataclass(frozen=True)
class PowerOfTwoRescaling(ColumnGroup):
    """No columns of its own: it rescales those of the others."""

    name: ClassVar[str] = "units"
    rank: ClassVar[int] = 1
    follows_positions: ClassVar[bool] = True

    @property
    def sites(self) -> Mapping[str, tuple[int, ...]]:
        """The exponents in force at each layer."""
        return {SITE: ()}

    def prologue(self) -> str:
        """Return the exponent of the first network: none."""
        return PROLOGUE

    def reading(self, site: str) -> str:
        """Return the lines that bring the stream back; before any other group reads it."""
        return READING


def is_rescalable(branch: Branch) -> bool:
    """Whether networks with this branch can be rescaled by powers of two."""
    return not any(op.averages or op.gates is not None for op in branch.maps) and all(
        is_homogeneous(op.expression) for op in branch.maps
    )


def in_true_size(sites: Mapping[str, Floats], exponents: Floats) -> dict[str, Floats]:
    """Return the records of a sampler in true size; infinite beyond the range of float64.

    Parameters
    ----------
    sites : mapping
        Shapes (n, L+1, ...), and (n, D) for the outputs.
    exponents : ndarray, shape (n, L+1)
    """
    powers = exponents.astype(np.int64)
    found = {}
    for site, values in sites.items():
        if not values.size:
            found[site] = values
        elif site == "outputs":
            found[site] = np.ldexp(values, powers[:, -1:])
        else:
            padding = (1,) * (values.ndim - 2)
            found[site] = np.ldexp(values, 2 * powers.reshape(*powers.shape, *padding))
    return found
