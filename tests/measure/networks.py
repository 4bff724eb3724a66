"""Small networks with numbers in them, and their exact outputs by plain NumPy or mpmath."""

from __future__ import annotations

import numpy as np

from resexpand import Activation, Branch, Linear, ResNet


def network(function, scale=1, depth=None, linears=1):
    """``W phi(h)`` for one Linear, ``V phi(W h)`` for two."""
    opening = [Linear()] if linears == 2 else []
    branch = Branch(*opening, Activation(function), Linear())
    return ResNet(branch, scale=scale, **({} if depth is None else {"depth": depth}))


def gaussian(depth, width, seed, size=1.0):
    """Weights of variance size^2/N, biases and an input."""
    rng = np.random.default_rng(seed)
    weights = size * rng.standard_normal((depth, width, width)) / np.sqrt(width)
    return weights, 0.3 * rng.standard_normal((depth, width)), rng.standard_normal(width)


def forward(phi, weights, x, biases=None, scale=1.0):
    """h^L of ``h + scale (W phi(h) + b)``, by a loop."""
    h = np.array(x)
    for number, matrix in enumerate(weights):
        change = matrix @ phi(h)
        h = h + scale * (change if biases is None else change + biases[number])
    return h
