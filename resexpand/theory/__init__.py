"""Theory of residual networks: formulas, recursions, and how they are derived."""
