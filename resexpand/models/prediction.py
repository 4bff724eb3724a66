r"""The profile that theory expects of a described network at initialisation.

At infinite width a block with fresh weights adds what is uncorrelated with its stream: with
``K^l`` the second moment of the stream of a token,

    |f| / |x + f| = sqrt(1 - skip^2 K^{l-1} / K^l),      cos(x, f) = 0.

Where the stream is normalised behind a block, the denominator is that of the sum in front of the
normalisation. With positions ``K^l`` is that of each token, or for images their mean over the
positions of each sample, and the prediction is the median.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from resexpand.errors import UnsupportedError
from resexpand.measure.block_profile import Array, BlockProfile
from resexpand.network.resnet import ResNet
from resexpand.numbers.evaluation import evaluate
from resexpand.theory.kernel import kernel

MOST = 640
"""Columns of a batch, beyond which averages take minutes and gigabytes."""


def ratio_profile(net: ResNet, K0: Any, per_sum: Sequence[int] = (), per: str = "token") -> Array:
    """Return the residual ratio of every block at infinite width.

    Parameters
    ----------
    net : ResNet
        With numbers as parameters.
    K0 : float, or array of shape (columns, columns)
        Kernel at layer 0: of one input, of the inputs of a batch where blocks normalise over it,
        of the tokens of some inputs where the network has positions.
    per_sum : sequence of int, optional
        Numbers of blocks that count as one: those of branches beside each other.
    per : {"token", "sample"}
        Whether norms are those of columns, or of all columns of an input together.

    Returns
    -------
    array, shape (L,), or (L, columns), or (L, inputs) per sample

    Raises
    ------
    UnsupportedError
        If branches do not end in fresh weights, or blocks that count as one are normalised.
    """
    _require_fresh(net)
    K = _kernel(net, K0)
    if net.post_norm is not None:
        if any(count > 1 for count in per_sum):
            raise UnsupportedError(
                "the residual ratios of a post-norm network with branches beside each other",
                "its description normalises between them",
                "leave the prediction out",
            )
        ends = np.array([_sum_of(net, block, K[block])[1] for block in range(len(K) - 1)])
        kept = _of_tokens(net, K[:-1], per) * float(net.skip) ** 2
        return _ratios(kept, _of_tokens(net, ends, per))
    K = _of_tokens(net, K, per)
    counts = np.array(per_sum or [1] * (len(K) - 1))
    ends = np.concatenate([[0], np.cumsum(counts)])
    skips = float(net.skip) ** (2 * counts.reshape(-1, *[1] * (K.ndim - 1)))
    return _ratios(K[ends[:-1]] * skips, K[ends[1:]])


def _ratios(kept: Array, whole: Array) -> Array:
    return np.asarray(np.sqrt(np.maximum(1 - kept / whole, 0)))


def _kernel(net: ResNet, K0: Any) -> Array:
    inputs: Any = "positions" if net.positions else "batch" if _has_batches(net) else 1
    theory: Any = kernel(net, inputs=inputs)
    return np.asarray(evaluate(theory, K0=K0)["K"], dtype=float)


def _has_batches(net: ResNet) -> bool:
    return any(op.over == "batch" for kind in net.kinds for op in kind.ops)


def _of_tokens(net: ResNet, K: Array, per: str) -> Array:
    """Return the kernel of each token, or its mean over those of each input."""
    if not net.positions and not _has_batches(net):
        return K
    own = np.diagonal(K, axis1=-2, axis2=-1)
    count = int(np.prod(net.positions)) if per == "sample" else 1
    return np.asarray(own.reshape(len(own), -1, count).mean(axis=-1))


def _sum_of(net: ResNet, block: int, K0: Any) -> Array:
    """Return the kernels in front of a block, and behind its sum."""
    branch = net.kinds[block % len(net.kinds)]
    scale = net.scale[block] if isinstance(net.scale, tuple) else net.scale
    sheet = net.positions or None
    return _kernel(ResNet(branch, scale=scale, depth=1, skip=net.skip, positions=sheet), K0)


def predicted_ratios(
    found: BlockProfile, net: ResNet, K0: Any = None, per_sum: Sequence[int] = ()
) -> BlockProfile:
    """Return a profile with the prediction beside it.

    Parameters
    ----------
    found : BlockProfile
        What was measured.
    net : ResNet
        The description, a block for each of the model.
    K0 : float or array, optional
        Kernel at layer 0; by default the mean energy of the stream in front of the first block,
        tokens being uncorrelated.
    per_sum : sequence of int, optional
        Blocks of the description for every block of the model.

    Raises
    ------
    UnsupportedError
        If the numbers of blocks differ.
    """
    if (len(per_sum) or int(net.depth)) != len(found):
        raise UnsupportedError(
            f"a prediction of {net.depth} blocks", f"the model has {len(found)}", "give such a net"
        )
    # A described batch stands for what running statistics were gathered on.
    if found.settings.get("mode") == "evaluation" and not (_has_batches(net) and K0 is not None):
        net = net.evaluation()
    energy = float(found.energy[0])
    if K0 is None:
        count = int(np.prod(net.positions)) if net.positions else 0
        if _has_batches(net):
            count = max(count, 1) * int(found.evaluations[0] // found.settings["batches"])
        K0 = energy * np.eye(count) if count else energy
    if _has_batches(net) and len(K0) > MOST:
        raise UnsupportedError(
            f"a prediction of normalisation over {len(K0)} columns",
            f"its averages take all columns at once, {MOST} at most",
            "give smaller images, or leave the prediction out",
        )
    ratios = ratio_profile(net, K0, per_sum, found.settings["per"])
    return replace(found, prediction=np.median(ratios, axis=-1) if ratios.ndim > 1 else ratios)


def _require_fresh(net: ResNet) -> None:
    """Refuse what correlates a branch with its stream, so that norms do not add in squares."""
    if net.layers is not None or not net.is_gaussian:
        raise UnsupportedError(
            "residual ratios of branches that are correlated with the stream",
            "they end in an activation, or their weights are correlated between blocks",
            "end them in a Linear with independent weights",
        )
