"""Code generation: from SymPy expressions to compiled routines."""
