r"""The gated path sum of networks with piecewise-linear activations, exact for every scale.

Where the activation has slope ``d`` and intercept ``c``, ``phi(h) = d h + c``. With the gates
``D_i = diag(phi'(h_{i-1}))`` on the actual trajectory, block ``i`` acts as ``h -> A_i h + c_i``
with ``A_i = W_i D_i``, and a network of n blocks is a sum over the subsets S that a path may pass:

    F(x) = sum_{S} prod_{i in S} lambda_i W_i D_i x,    later blocks on the left,

``binomial(n, k)`` paths of length ``k = |S|``. A bias or an intercept of block i starts paths of
its own, ``c_i``, which pass any later blocks: they count i as passed.

The gates depend on the scales; on the trajectory this is an identity, not a series in them.
"""

from resexpand.theory.gated_paths.path import Path
from resexpand.theory.gated_paths.path_sum import WHY_NOT_TAYLOR, GatedPathSum, gated_path_sum
from resexpand.theory.gated_paths.pieces import PiecewiseLinear, piecewise_linear

__all__ = [
    "WHY_NOT_TAYLOR",
    "GatedPathSum",
    "Path",
    "PiecewiseLinear",
    "gated_path_sum",
    "piecewise_linear",
]
