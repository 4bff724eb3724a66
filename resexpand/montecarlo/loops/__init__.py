"""Compiled loops of the samplers: columns, products of weights, both passes, control network."""
