"""Equipment of this machine, and whether each target works on it."""
