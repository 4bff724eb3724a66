"""A given network, measured: the orders of its expansion, and its sums over gated paths."""
