"""Compiled loops of the samplers: columns, products, forward and backward passes, control network."""
