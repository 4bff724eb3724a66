"""Observables: what is read off a sampled network, and the registry of their names."""
