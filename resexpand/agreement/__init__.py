"""Judging whether theory and samples agree: pairing, error budget, extrapolation, verdict."""
