"""Numbers from results of the theory: `evaluate`, the order 1/N, the optimal residual scale."""
