"""Compiled loops of the samplers: columns, forward and backward passes, control network."""
