"""The rule on a panel.

Gaussian averages are sums over panels on which the integrand is resolved
(`resexpand.gaussian.panels`). The rule on a panel comes in two resolutions; the difference of their
results is the stated error.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

ORDER = {"fine": 16, "coarse": 12, "lower": 11, "lowest": 9}
"""Nodes of a panel. Sums over four variables take the lower ones."""

Resolution = Literal["fine", "coarse", "lower", "lowest"]


def panel_rule(
    resolution: Resolution = "fine",
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return nodes and weights of the Gauss-Legendre rule on ``[0, 1]``."""
    nodes, weights = np.polynomial.legendre.leggauss(ORDER[resolution])
    return (nodes + 1) / 2, weights / 2
