"""Sampled networks: random numbers, samplers, estimates, and their agreement with a theory."""
