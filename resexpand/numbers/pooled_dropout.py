r"""Dropout in front of and behind global average pooling, in the head of a network.

A head ``y = w . a`` pools its features over S positions, ``a_i = (1/S) sum_s x_is``. Masks that
keep with probability p add to the variance of y, per ``|w|^2``,

    before pooling, one mask per position    (1/p - 1) (1/S^2) sum_s E x_s^2,
    behind pooling                           (1/p - 1) (1/S^2) sum_st E x_s x_t,

averages over the channels. One mask for all positions of a channel is the same in front of the
pooling as behind it. Features of an activation have a mean, so that the second sum grows as
``S^2`` and the first as S: for relu and independent positions their ratio is ``pi / (S + pi - 1)``.

Source: Kim et al. (2023) for the question; derived here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.network.activation import Activation
from resexpand.network.dropout import Dropout
from resexpand.network.inputs import validated_kernel
from resexpand.network.linear import Linear
from resexpand.network.resnet import Branch, ResNet
from resexpand.numbers.evaluation import evaluate
from resexpand.theory.kernel import kernel


@dataclass(frozen=True)
class PooledDropout:
    """Variance that masks add to the output of a head, per ``|w|^2``.

    Attributes
    ----------
    before : float
        With a mask for every position, in front of the pooling.
    behind : float
        With a mask behind the pooling, or one for all positions of a channel in front of it.
    signal : float
        Second moment of what is pooled, the output's own.
    """

    before: float
    behind: float
    signal: float

    @property
    def ratio(self) -> float:
        """Return the variance added in front of the pooling, over that added behind it."""
        return self.before / self.behind


def pooled_dropout(activation: Activation, dropout: Dropout, K: Any) -> PooledDropout:
    """Return what masks of a head add to its output, in front of and behind average pooling.

    Parameters
    ----------
    activation : Activation
        What makes the features of a wide layer.
    dropout : Dropout
        Its masks, with a number for the probability.
    K : array_like, shape (S, S)
        Covariance kernel of the S positions in front of the activation.

    Returns
    -------
    PooledDropout
        Exact at infinite width.

    Raises
    ------
    KernelError
        If K is no covariance matrix.
    UnsupportedError
        If the probability is a symbol, or one per block.

    Examples
    --------
    >>> import numpy as np
    >>> from resexpand import Activation, Dropout, pooled_dropout
    >>> found = pooled_dropout(Activation("relu"), Dropout(0.5), np.eye(49))
    >>> round(found.ratio, 6), round(np.pi / (49 + np.pi - 1), 6)
    (0.061429, 0.061429)
    """
    if not isinstance(dropout, Dropout) or not isinstance(activation, Activation):
        raise UnsupportedError(
            f"pooling {activation!r} behind {dropout!r}",
            "it takes an activation and a dropout",
            'give Activation("relu") and Dropout(0.9)',
        )
    keep = dropout.values[0]
    if not getattr(keep, "is_number", False):
        raise UnsupportedError(
            f"the head behind {dropout!r}", "it needs one number", "give Dropout(0.9)"
        )
    covariance, _ = validated_kernel(K, matrix=True)
    if covariance.ndim > 2:
        raise HyperparameterError(
            f"K of shape {covariance.shape}", "it is that of one layer", "give an S x S matrix"
        )
    # A block without a skip connection and with unit weights has the moments of its features.
    net = ResNet(Branch(activation, Linear(1, 0)), scale=1, depth=1, skip=0)
    moments = np.asarray(evaluate(kernel(net, 2), K0=covariance, outputs="K")["K"])[-1]
    excess, signal = 1 / float(keep) - 1, float(moments.mean())
    return PooledDropout(excess * float(np.trace(moments)) / moments.size, excess * signal, signal)
