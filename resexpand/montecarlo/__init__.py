"""Sampled networks: random numbers, samplers, observables, estimates, and runs that survive."""
