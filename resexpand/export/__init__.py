"""Formulas as LaTeX, figures, and JSON records of runs."""
