"""What this machine has, and whether each target works on it."""
