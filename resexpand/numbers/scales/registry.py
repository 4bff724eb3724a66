"""The candidates of the package: one line each, in the order of the table."""

from __future__ import annotations

from importlib import import_module

from resexpand.numbers.scales.candidate import CANDIDATES

__all__ = ["CANDIDATES"]

FILES = (
    "as_described",
    "response_optimum",
    "inverse_root",
    "inverse",
    "batch_norm",
    "skip_init",
    "fixup",
    "deep_norm",
    "layer_scale",
    "depth_mup",
    "complete_p",
    "path_orders",
)
for _name in FILES:
    import_module(f"resexpand.numbers.scales.{_name}")
