"""LayerScale: a trainable vector behind every branch, small at first.

The authors take 0.1 up to 18 layers, 1e-5 at 24 and 1e-6 beyond; their models of 24, 36 and 48
layers (``cait_models.py`` of the repository ``deit``) have the last two.
"""

from __future__ import annotations

from resexpand.numbers.scales.candidate import Choice, Setting, candidate

SMALL = ((18, 1e-1), (24, 1e-5))
"""Largest number of layers and the entries that go with it; beyond, `SMALLEST`."""

SMALLEST = 1e-6
BLOCKS = 2
"""Residual blocks per layer of the authors: attention and feed-forward."""


@candidate(
    "layer_scale",
    "LayerScale",
    "the vectors are trained; image transformers, the depth counted in layers of two blocks",
    "touvron2021",
)
def layer_scale(setting: Setting) -> Choice:
    """Return the entries for this depth, all equal at initialisation."""
    layers = setting.depth / BLOCKS
    value = next((entry for most, entry in SMALL if layers <= most), SMALLEST)
    return Choice(value, value)
