"""What leaves the package: formulas as LaTeX, figures, and JSON records of runs."""
