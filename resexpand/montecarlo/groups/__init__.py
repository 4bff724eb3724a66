"""Groups of columns that a sampler propagates: what each starts from and how it passes a block."""
