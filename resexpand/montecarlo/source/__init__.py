"""Source text of the samplers: one straight line of operations per shape of a block."""
