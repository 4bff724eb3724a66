r"""The profile that theory expects of a described network at initialisation.

At infinite width a block with fresh weights adds what is uncorrelated with its stream: with
``K^l`` the second moment of the stream of a token,

    |f| / |x + f| = sqrt(1 - skip^2 K^{l-1} / K^l),      cos(x, f) = 0.

With positions ``K^l`` is that of each token, and the prediction is the median over tokens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from resexpand.errors import UnsupportedError
from resexpand.measure.block_profile import Array, BlockProfile
from resexpand.network.resnet import ResNet
from resexpand.numbers.evaluation import evaluate
from resexpand.theory.kernel import kernel


def ratio_profile(net: ResNet, K0: Any) -> Array:
    """Return the residual ratio of every block at infinite width.

    Parameters
    ----------
    net : ResNet
        With numbers as parameters.
    K0 : float, or array of shape (tokens, tokens)
        Kernel at layer 0: of one input, or of the tokens of one where the network has positions.

    Returns
    -------
    array, shape (L,), or (L, tokens)

    Raises
    ------
    UnsupportedError
        If branches do not end in fresh weights, or the stream is normalised behind a block.
    """
    _require_fresh(net)
    theory: Any = kernel(net, inputs="positions") if net.positions else kernel(net)
    K: Array = np.asarray(evaluate(theory, K0=K0)["K"], dtype=float)
    if net.positions:
        K = np.diagonal(K, axis1=-2, axis2=-1)
    kept: Array = K[:-1] * float(net.skip) ** 2 / K[1:]
    return np.asarray(np.sqrt(np.maximum(1 - kept, 0)))


def predicted_ratios(found: BlockProfile, net: ResNet, K0: Any = None) -> BlockProfile:
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

    Raises
    ------
    UnsupportedError
        If the numbers of blocks differ.
    """
    if int(net.depth) != len(found):
        raise UnsupportedError(
            f"a prediction of {net.depth} blocks", f"the model has {len(found)}", "give such a net"
        )
    if found.settings.get("mode") == "evaluation":
        net = net.evaluation()
    energy = float(found.energy[0])
    if K0 is None:
        count = int(np.prod(net.positions)) if net.positions else 0
        K0 = energy * np.eye(count) if count else energy
    ratios = ratio_profile(net, K0)
    return replace(found, prediction=np.median(ratios, axis=-1) if ratios.ndim > 1 else ratios)


def _require_fresh(net: ResNet) -> None:
    """Refuse what correlates a branch with its stream, so that norms do not add in squares."""
    if net.post_norm is not None:
        raise UnsupportedError(
            "the residual ratios of a post-norm network",
            "its stream is normalised behind every block",
            "leave the prediction out",
        )
    if net.layers is not None or not net.is_gaussian:
        raise UnsupportedError(
            "residual ratios of branches that are correlated with the stream",
            "they end in an activation, or their weights are correlated between blocks",
            "end them in a Linear with independent weights",
        )
