"""DeepNorm: ``h^l = norm(alpha h^{l-1} + f(h^{l-1}))``, the weights of f times ``beta``.

The authors' numbers for N layers of two blocks each, ``L = 2 N``, of an encoder or a decoder:

    alpha = (2 N)^(1/4) = L^(1/4),      beta = (8 N)^(-1/4) = (4 L)^(-1/4).

Weights of queries and keys keep their size; so it is in the authors' code, ``torchscale``.
"""

from __future__ import annotations

import sympy as sp

from resexpand.conventions import RHO
from resexpand.errors import UnsupportedError
from resexpand.network.layer_norm import LayerNorm
from resexpand.network.operation import Operation
from resexpand.network.resnet import Branch
from resexpand.numbers.scales.candidate import Choice, Setting, candidate


@candidate(
    "deep_norm",
    "DeepNorm",
    "post-norm blocks, two per layer; one update changes the output by a bound free of depth",
    "wang2022",
)
def deep_norm(setting: Setting) -> Choice:
    """Return ``beta``, with ``alpha`` in front of the stream, on post-norm."""
    if setting.normalises:
        raise UnsupportedError(
            "DeepNorm of a branch with a normalisation",
            "it is a rule for post-norm, and this branch normalises by itself",
        )
    alpha, beta = sp.root(setting.depth, 4), sp.root(4 * setting.depth, 4) ** -1
    given = setting.given
    kinds = [Branch(*(_times(op, beta) for op in branch.ops)) for branch in given.branches]
    norm = given.post_norm or LayerNorm()
    # The base holds ends and positions; the rest is what DeepNorm changes.
    base = given.with_scale(RHO, setting.depth)
    net = base.altered(branches=tuple(kinds), skip=alpha, post_norm=norm)
    added = "" if given.post_norm else ", with a LayerNorm behind every block"
    text = f"beta = (4 L)^(-1/4) of the weights; alpha = L^(1/4) in front of the stream{added}"
    return Choice(float(beta), 1.0, net, text)


def _times(op: Operation, factor: sp.Expr) -> Operation:
    """Return an operation whose weights, if it has a matrix of them, are larger by a factor."""
    if not op.contracts:
        return op
    first, *rest = op.values
    many = isinstance(first, tuple)
    scaled = tuple(v * factor**2 for v in first) if many else first * factor**2
    return op.with_values((scaled, *rest))
