"""Samplers on NVIDIA GPUs: one block of threads per network."""
