"""Attention: sums over the tokens of an input, with weights made of products of queries.

Queries are the images of the columns under one matrix, which serves for keys, too. Their products
over N are the logits, so that weights are numbers common to all neurons.
"""

from __future__ import annotations

import math

from resexpand.montecarlo.jit import inlined, loop
from resexpand.montecarlo.lanes import barrier, is_leader, lane_entry, lane_share
from resexpand.montecarlo.loops.columns import Columns, dot


@loop
def write_weights(
    queries: Columns, weights: Columns, width: int, softmax: bool, causal: bool
) -> None:
    """Write the weights of every token of the inputs, shape (inputs, tokens)."""
    tokens = weights.shape[1]
    for c in range(weights.shape[0]):
        first = c - c % tokens
        count = c - first + 1 if causal else tokens
        for s in range(tokens):
            logit = dot(queries[c], queries[first + s], width) / width
            if is_leader():
                weights[c, s] = logit if s < count else 0.0
        if is_leader() and softmax:
            most, total = weights[c, 0], 0.0
            for s in range(count):
                most = max(most, weights[c, s])
            for s in range(count):
                weights[c, s] = math.exp(weights[c, s] - most)
                total += weights[c, s]
            for s in range(count):
                weights[c, s] /= total
    barrier()


@inlined
def through_softmax(weights: Columns, moved: Columns, count: int) -> None:
    """Multiply by the derivative of weights by their logits, a symmetric matrix."""
    mean = 0.0
    for s in range(count):
        mean += weights[s] * moved[s]
    for s in range(count):
        moved[s] = weights[s] * (moved[s] - mean)


@loop
def attend(source: Columns, target: Columns, weights: Columns) -> None:
    """Write the weighted sums over the tokens of every input."""
    tokens = weights.shape[1]
    for c in range(weights.shape[0]):
        first = c - c % tokens
        for turn in range(lane_share(target.shape[1])):
            i = lane_entry(turn)
            total = 0.0
            for s in range(tokens):
                total += weights[c, s] * source[first + s, i]
            target[c, i] = total
    barrier()


@loop
def attend_moved(
    columns: tuple[Columns, Columns, Columns],
    first_tangent: int,
    weights: Columns,
    moved: Columns,
    width: int,
    softmax: bool,
    causal: bool,
) -> None:
    """Write what becomes of one tangent per column of the inputs.

    Parameters
    ----------
    columns : tuple of ndarray
        Source, queries and target.
    first_tangent : int
        Column of the first tangent.
    weights, moved : ndarray, shape (inputs, tokens)
        Weights of the inputs; scratch for their derivatives.
    """
    source, queries, target = columns
    tokens = weights.shape[1]
    for c in range(weights.shape[0]):
        first = c - c % tokens
        count = c - first + 1 if causal else tokens
        for s in range(tokens):
            one = dot(queries[first_tangent + c], queries[first + s], width)
            other = dot(queries[c], queries[first_tangent + first + s], width)
            if is_leader():
                moved[c, s] = (one + other) / width if s < count else 0.0
        if is_leader() and softmax:
            through_softmax(weights[c], moved[c], count)
    barrier()
    for c in range(weights.shape[0]):
        first = c - c % tokens
        for turn in range(lane_share(target.shape[1])):
            i = lane_entry(turn)
            total = 0.0
            for s in range(tokens):
                total += weights[c, s] * source[first_tangent + first + s, i]
                total += moved[c, s] * source[first + s, i]
            target[first_tangent + c, i] = total
    barrier()


@loop
def attend_back(
    columns: tuple[Columns, Columns],
    gradients: Columns,
    image: Columns,
    weights: Columns,
    moved: Columns,
    width: int,
    softmax: bool,
    causal: bool,
) -> None:
    """Take gradients back to the columns that were summed, and to their queries.

    Parameters
    ----------
    columns : tuple of ndarray
        Source and queries.
    gradients : ndarray, shape (inputs, P)
        With respect to the sums; overwritten by those with respect to the queries.
    image : ndarray, shape (inputs, P)
        Written: gradients with respect to the source at fixed weights.
    weights, moved : ndarray, shape (inputs, tokens)
        Weights; scratch for gradients with respect to the logits.
    """
    source, queries = columns
    tokens = weights.shape[1]
    for c in range(weights.shape[0]):
        first = c - c % tokens
        count = c - first + 1 if causal else tokens
        for s in range(tokens):
            product = dot(gradients[c], source[first + s], width)
            if is_leader():
                moved[c, s] = product if s < count else 0.0
        if is_leader() and softmax:
            through_softmax(weights[c], moved[c], count)
    barrier()
    for c in range(weights.shape[0]):
        first, place = c - c % tokens, c % tokens
        for turn in range(lane_share(width)):
            i = lane_entry(turn)
            total = 0.0
            for t in range(tokens):
                total += weights[first + t, place] * gradients[first + t, i]
            image[c, i] = total
    barrier()
    for c in range(weights.shape[0]):
        first, place = c - c % tokens, c % tokens
        for turn in range(lane_share(width)):
            i = lane_entry(turn)
            total = 0.0
            for s in range(tokens):
                total += (moved[c, s] + moved[first + s, place]) * queries[first + s, i]
            gradients[c, i] = total / width
    barrier()


@loop
def add_image(gradients: Columns, image: Columns, width: int) -> None:
    """Add the gradients at fixed weights to those through the queries."""
    for c in range(image.shape[0]):
        for turn in range(lane_share(width)):
            i = lane_entry(turn)
            gradients[c, i] += image[c, i]
    barrier()
