"""PyTorch models: their residual blocks, what each contributes, and their descriptions."""
