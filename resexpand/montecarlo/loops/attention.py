"""Attention: sums over the tokens of an input, with weights made of products of queries and keys.

Queries and keys are images of the columns under two matrices, or under one. Head h has the neurons
``h d ... (h + 1) d - 1``: products over them are its logits, and its weights are numbers common to
them. Heads follow each other in the loops, so that one table holds the weights of one head.
"""

from __future__ import annotations

import math

from resexpand.montecarlo.jit import inlined, loop
from resexpand.montecarlo.lanes import barrier, is_leader, lane_entry, lane_share
from resexpand.montecarlo.loops.columns import Columns, dot

Form = tuple[int, bool, bool, bool]
"""Number of heads; whether logits are over the root of d; softmax; whether tokens see no later."""

KEYS = 2**22
"""Added to the layer in the counters of the key matrices; networks are not that deep."""


@inlined
def factor_of(size: int, root: bool) -> float:
    """Return the factor of the products of queries and keys of so many neurons."""
    return 1.0 / math.sqrt(size) if root else 1.0 / size


@loop
def write_weights(
    queries: Columns, keys: Columns, weights: Columns, first: int, size: int, form: Form
) -> None:
    """Write the weights of every token of the inputs in one head, shape (inputs, tokens).

    Parameters
    ----------
    queries, keys : ndarray
        Images of the columns.
    weights : ndarray, shape (inputs, tokens)
        The result.
    first, size : int
        First neuron of the head, and their number.
    form : tuple
        See `Form`.
    """
    _, root, softmax, causal = form
    tokens, factor = weights.shape[1], factor_of(size, root)
    for c in range(weights.shape[0]):
        start = c - c % tokens
        count = c - start + 1 if causal else tokens
        for s in range(tokens):
            logit = factor * dot(queries[c][first:], keys[start + s][first:], size)
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
def attend(
    columns: tuple[Columns, Columns, Columns, Columns], weights: Columns, width: int, form: Form
) -> None:
    """Write the weighted sums over the tokens of every input.

    Parameters
    ----------
    columns : tuple of ndarray
        Source, queries, keys and target.
    weights : ndarray, shape (inputs, tokens)
        Scratch for the weights of a head.
    width : int
        Number N of neurons, a multiple of the number of heads.
    form : tuple
        See `Form`.
    """
    source, queries, keys, target = columns
    tokens, size = weights.shape[1], width // form[0]
    for first in range(0, width, size):
        write_weights(queries, keys, weights, first, size, form)
        # What lies behind the last neuron stays finite.
        many = size if first + size < width else target.shape[1] - first
        for c in range(weights.shape[0]):
            start = c - c % tokens
            for turn in range(lane_share(many)):
                i = first + lane_entry(turn)
                total = 0.0
                for s in range(tokens):
                    total += weights[c, s] * source[start + s, i]
                target[c, i] = total
        barrier()


@loop
def attend_moved(
    columns: tuple[Columns, Columns, Columns, Columns],
    first_tangent: int,
    weights: Columns,
    moved: Columns,
    width: int,
    form: Form,
) -> None:
    """Write what becomes of one tangent per column of the inputs.

    Parameters
    ----------
    columns : tuple of ndarray
        Source, queries, keys and target.
    first_tangent : int
        Column of the first tangent.
    weights, moved : ndarray, shape (inputs, tokens)
        Scratch for the weights of a head, and for their derivatives.
    width, form
        As in `attend`.
    """
    source, queries, keys, target = columns
    heads, root, softmax, causal = form
    tokens, size = weights.shape[1], width // heads
    factor, t = factor_of(size, root), first_tangent
    for first in range(0, width, size):
        write_weights(queries, keys, weights, first, size, form)
        for c in range(weights.shape[0]):
            start = c - c % tokens
            count = c - start + 1 if causal else tokens
            for s in range(tokens):
                one = dot(queries[t + c][first:], keys[start + s][first:], size)
                other = dot(queries[c][first:], keys[t + start + s][first:], size)
                if is_leader():
                    moved[c, s] = factor * (one + other) if s < count else 0.0
            if is_leader() and softmax:
                through_softmax(weights[c], moved[c], count)
        barrier()
        many = size if first + size < width else target.shape[1] - first
        for c in range(weights.shape[0]):
            start = c - c % tokens
            for turn in range(lane_share(many)):
                i = first + lane_entry(turn)
                total = 0.0
                for s in range(tokens):
                    total += weights[c, s] * source[t + start + s, i]
                    total += moved[c, s] * source[start + s, i]
                target[t + c, i] = total
        barrier()


@loop
def attend_back(
    columns: tuple[Columns, Columns, Columns],
    gradients: tuple[Columns, Columns, Columns],
    weights: Columns,
    moved: Columns,
    width: int,
    form: Form,
) -> None:
    """Take gradients back to the columns that were summed, and to their queries and keys.

    Parameters
    ----------
    columns : tuple of ndarray
        Source, queries and keys.
    gradients : tuple of ndarray, shape (inputs, P)
        With respect to the sums, overwritten by those with respect to the queries; written: those
        with respect to the keys; those with respect to the source at fixed weights.
    weights, moved : ndarray, shape (inputs, tokens)
        Scratch for the weights of a head, and for gradients with respect to its logits.
    width, form
        As in `attend`.
    """
    source, queries, keys = columns
    asking, answering, image = gradients
    heads, root, softmax, causal = form
    tokens, size = weights.shape[1], width // heads
    factor = factor_of(size, root)
    for first in range(0, width, size):
        write_weights(queries, keys, weights, first, size, form)
        for c in range(weights.shape[0]):
            start = c - c % tokens
            count = c - start + 1 if causal else tokens
            for s in range(tokens):
                product = dot(asking[c][first:], source[start + s][first:], size)
                if is_leader():
                    moved[c, s] = factor * product if s < count else 0.0
            if is_leader() and softmax:
                through_softmax(weights[c], moved[c], count)
        barrier()
        for c in range(weights.shape[0]):
            start, place = c - c % tokens, c % tokens
            for turn in range(lane_share(size)):
                i = first + lane_entry(turn)
                total = 0.0
                for t in range(tokens):
                    total += weights[start + t, place] * asking[start + t, i]
                image[c, i] = total
        barrier()
        for c in range(weights.shape[0]):
            start, place = c - c % tokens, c % tokens
            for turn in range(lane_share(size)):
                i = first + lane_entry(turn)
                asked, answered = 0.0, 0.0
                for s in range(tokens):
                    asked += moved[c, s] * keys[start + s, i]
                    answered += moved[start + s, place] * queries[start + s, i]
                asking[c, i] = asked
                answering[c, i] = answered
        barrier()


@loop
def add_image(gradients: Columns, image: Columns, width: int) -> None:
    """Add gradients to others."""
    for c in range(image.shape[0]):
        for turn in range(lane_share(width)):
            i = lane_entry(turn)
            gradients[c, i] += image[c, i]
    barrier()
