"""Kernels and responses of many inputs: all pairs of a data set at once."""

from resexpand.codegen.gram.evaluation import GramArrays, gram_arrays

__all__ = ["GramArrays", "gram_arrays"]
