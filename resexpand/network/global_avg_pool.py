r"""Global average pooling: every position holds the mean over the positions of its input.

    y_p = (1/P) sum_q x_q,      K'_{ap,bq} = (1/P^2) sum_{st} K_{as,bt},

so that all P columns of an input are equal behind it: a read-out has P equal outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sympy as sp

from resexpand.network.operation import Map, X
from resexpand.network.positions import Array, OverPositions

MEAN = sp.Symbol("mean", real=True)


class GlobalAvgPool(OverPositions, Map):
    """The mean over the positions of an input, written to each of them.

    Examples
    --------
    >>> import numpy as np
    >>> from resexpand import Activation, Branch, Conv, GlobalAvgPool, Linear, ResNet
    >>> from resexpand import evaluate, kernel
    >>> branch, head = Branch(Activation("relu"), Conv((-1, 0, 1), 2, 0)), [GlobalAvgPool()]
    >>> net = ResNet(branch, scale=1, depth=2, positions=4, read_out=[*head, Linear(1, 0)])
    >>> float(evaluate(kernel(net, inputs="positions"), K0=np.ones((4, 4)))["C"][-1, 0, 0])
    4.0
    """

    kind = "GlobalAvgPool"
    averages = ((MEAN, X),)
    expression = MEAN

    def gram(self, before: Array, at: Sequence[Array]) -> Array:
        """Return the mean over the positions of each input, on both sides."""
        count, size = self.count, before.shape[-1]
        blocks = before.reshape(*before.shape[:-2], size // count, count, size // count, count)
        means = blocks.mean(axis=(-3, -1))
        return np.repeat(np.repeat(means, count, axis=-2), count, axis=-1)

    def gram_moved(self, before: Array, moved: Array, at: Sequence[Array]) -> Array:
        """Return the same of the change: it is linear."""
        return self.gram(moved, at)
