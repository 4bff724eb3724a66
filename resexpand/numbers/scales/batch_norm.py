"""The residual scale that a batch normalisation in the branch amounts to, block by block."""

from __future__ import annotations

from resexpand.network.resnet import Branch, ResNet
from resexpand.network.rms_norm import RMSNorm
from resexpand.numbers.evaluation import evaluate
from resexpand.numbers.scales.candidate import Choice, Setting, candidate
from resexpand.theory.growth import implied_scale


@candidate(
    "batch_norm",
    "implied by BatchNorm",
    "a large batch whose features have mean zero, so that the norm divides by sqrt(K); "
    "shown is the last block, the first has 1/sqrt(K0)",
    "de2020",
)
def batch_norm(setting: Setting) -> Choice:
    """Return the scales of the blocks that add what normalised ones would; the last is shown."""
    setting.require_no_norm("the scale implied by BatchNorm")
    kinds = [Branch(RMSNorm(), *branch.ops) for branch in setting.given.kinds]
    net = ResNet(kinds, scale=1, depth=setting.depth, positions=setting.given.positions or None)
    implied = evaluate(implied_scale(net), outputs="scale", **setting.values)["scale"]
    scales = tuple(map(float, implied[: setting.depth]))
    return Choice(scales[-1], scales)
