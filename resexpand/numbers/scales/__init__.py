"""Residual scales of the literature side by side: `compare_scales`."""

from resexpand.numbers.scales.compare import compare_scales
from resexpand.numbers.scales.comparison import ScaleComparison

__all__ = ["ScaleComparison", "compare_scales"]
