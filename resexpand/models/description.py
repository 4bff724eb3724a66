"""`from_torch`: a PyTorch model as a description of this package, and what that leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from resexpand.errors import UnsupportedError
from resexpand.expressions.shown import Card, Tabled, listed
from resexpand.measure.block_profile import Array
from resexpand.models.batches import Batch, batches_of
from resexpand.models.blocks import named, none_found
from resexpand.models.branch_parts import Reading, number
from resexpand.models.columns import are_images, columns_of, positions_of
from resexpand.models.laws import WeightLaw, law_of, overlap
from resexpand.models.library import torch_for
from resexpand.models.pooling import kinds_of, law_notes
from resexpand.models.reading import read_branch
from resexpand.models.recording import Recording
from resexpand.models.replay import Rows, kept_rows, settle
from resexpand.models.state import draws_unseen, looked_at, run, unwrapped
from resexpand.models.watching import Event, Place, Sum, watching
from resexpand.network.layer_norm import LayerNorm
from resexpand.network.resnet import ResNet

KEPT = 64
"""Tokens whose stream is kept for `measure_orders`."""

SAME = 0.01
"""Relative difference of sizes of the stream that a norm's eps or rounding may make."""

UNMOVED = 1e-4
"""Relative change of the first token that rounding may make where the last one is another."""

UNSEEN = (
    "in training the model draws random numbers outside its dropout modules: blocks that a coin "
    "skips are described as always there"
)
BESIDE = "branches beside each other are described one behind the other"


@dataclass(frozen=True, eq=False, repr=False)
class ModelDescription(Tabled):
    """A model described.

    Attributes
    ----------
    net : ResNet
        The description: variances are those of the weights, pooled over blocks of one kind.
    names : tuple of str
        The blocks.
    laws : tuple of WeightLaw
        Of every linear map of the blocks.
    notes : tuple of str
        What was approximated, and what is not known.
    weights, biases : tuple of tuple of array
        Of every block, shapes (outputs, inputs) and (outputs,), as `measure_orders` and
        `measure_paths` take them.
    stream : array, shape (N, tokens)
        In front of the first block and its factor `skip`, of the first tokens of the batch.
    per_sum : tuple of int
        Blocks of the description for every block of the model: several where a block adds several
        functions of one stream.
    columns : int
        Columns of the stream that `K0` is the kernel of; 0 where it is their mean.
    """

    net: ResNet
    names: tuple[str, ...]
    laws: tuple[WeightLaw, ...]
    notes: tuple[str, ...]
    weights: tuple[tuple[Array, ...], ...]
    biases: tuple[tuple[Array, ...], ...]
    stream: Array
    per_sum: tuple[int, ...] = ()
    columns: int = 0

    @property
    def K0(self) -> Any:
        """Kernel in front of the first block: the mean of the tokens, or a matrix.

        The matrix is that of the first columns of the stream, where blocks couple columns: the
        tokens of the first input, or the positions of some images, or the inputs of a batch.
        """
        if not self.columns:
            return float((self.stream**2).mean())
        tokens = self.stream[:, : self.columns]
        return tokens.T @ tokens / len(tokens)

    def card(self) -> Card:
        """Return what there is to say."""
        words = [law.law for law in self.laws]
        counts = [f"{words.count(word)} {word}" for word in dict.fromkeys(words)]
        facts = (("net", repr(self.net)), ("weights", listed(counts)))
        head = f"ModelDescription: {len(self.names)} blocks, {self.stream.shape[0]} neurons"
        return Card(head, facts, tuple(f"! {note}" for note in self.notes))


def from_torch(model: Any, batch: Any) -> ModelDescription:
    """Describe a PyTorch model as a residual network of random weights.

    Parameters
    ----------
    model : torch.nn.Module
        The model; it is run a few times and left as it was.
    batch : tensor, tuple, dict, or iterable of these
        As for `profile`; the first batch is used.

    Returns
    -------
    ModelDescription
        With the network ``.net``, the laws of the weights, and ``.notes``: what the description
        leaves out.

    Raises
    ------
    UnsupportedError
        If no residual block is found, one is called twice, or one holds what this package has no
        operation for, such as a strided or grouped convolution, or modules of other libraries.

    Notes
    -----
    Embeddings, and what follows the last block, are not described. Attention becomes an average
    over the tokens with uniform weights, what it is at initialisation while its logits are small.
    Every branch is carried out as it was read and compared with the model: rows of tokens, for
    causal attention the first token, which reads itself alone. A product of an activation and a
    second map is a `Gate`. Branches beside each other become blocks one behind the other.
    Convolutions keep their positions; the kernel of the first images is that of all their columns.

    Examples
    --------
    >>> from resexpand import from_torch
    >>> from_torch.__module__
    'resexpand.models.description'
    """
    torch = torch_for("the description of a model")
    model, _ = unwrapped(torch, model, "the description")
    sums: dict[Place, Sum] = {}
    energies: dict[Place, list[float]] = {}
    last: list[Any] = []

    def measured(place: Place, sum_: Sum) -> Any:
        kept = sum_.stream.clone() if not sums else None
        sums[place] = replace(sum_, stream=kept, branch=sum_.stream.shape)
        energies[place] = [_energy(sum_.stream)]
        if sum_.branch.ndim == 3:
            last[:] = [sum_.branch]
        return lambda output: energies[place].append(_energy(output))

    with looked_at(torch, model, 0):
        given = next(batches_of(torch, batch, model))
        with watching(torch, model, measured, Recording) as counts:
            run(torch, model, given)
            if not sums:
                raise none_found(model, counts)
            first, levels = dict(sums), list(energies.values())
            # The last branch with tokens, at the first one, does not know the last, or it does.
            causal = _is_causal(torch, model, given, last)
    # Running statistics are those of before again.
    with looked_at(torch, model, 0):
        rows = kept_rows(torch, model, given)
    with looked_at(torch, model, 0):
        unseen = draws_unseen(torch, model, given)
    names = named(first)
    _require_one_shape(names, first)
    for place, name in names.items():
        if place.turn:
            raise UnsupportedError(
                f"a description of {name!r}",
                "the block is called more than once, so blocks share their weights",
                "profile(model, batch) needs no description",
            )
    terms = list(_terms(names, first, rows))
    with torch.no_grad():
        readings = [
            read_branch(torch, model, term.name, term.events, term.factor, causal) for term in terms
        ]
    for reading, term in zip(readings, terms, strict=True):
        reading.notes += [BESIDE] * term.is_beside
    own = list(first.values())
    found = _described(torch, model, terms, own, readings, levels)
    if found.net.post_norm is None:
        _require_streams(names, rows, float(found.net.skip))
    notes = (*found.notes, *[UNSEEN] * unseen)
    return replace(found, notes=notes, per_sum=tuple(max(len(sum_.terms), 1) for sum_ in own))


@dataclass(frozen=True)
class Term:
    """What becomes a block of the description: a branch, or a term of one."""

    name: str
    events: tuple[Event, ...]
    factor: float
    rows: Rows
    is_beside: bool


def _terms(
    names: dict[Place, str], sums: dict[Place, Sum], rows: dict[Place, list[Rows]]
) -> Iterator[Term]:
    """Yield the blocks of the description, with what each is compared with."""
    stream = None
    for place, sum_ in sums.items():
        kept = rows[place]
        if len(kept) < len(sum_.terms):
            raise UnsupportedError(
                f"a description of {names[place]}",
                "it adds several functions of the stream in a way that cannot be taken apart",
                "profile(model, batch) needs no description",
            )
        # What stands beside the block before reads the stream that this one read.
        stream = stream if sum_.is_parallel and stream is not None else kept[0].stream
        several = len(sum_.terms) > 1
        for k, (events, own) in enumerate(zip(sum_.terms, kept, strict=True), start=1):
            name = f"{names[place]} (term {k})" if several else names[place]
            is_beside = sum_.is_parallel or (several and k > 1)
            yield Term(name, events, sum_.factor, replace(own, stream=stream), is_beside)


def _require_one_shape(names: dict[Place, str], sums: dict[Place, Sum]) -> None:
    """Raise where a stream changes its width, or the positions of its images."""
    images = are_images([*sums.values()])
    shapes = [tuple(sum_.branch)[1 if images else -1 :] for sum_ in sums.values()]
    for place, shape in zip(sums, shapes, strict=True):
        if shape != shapes[0]:
            raise UnsupportedError(
                "a description of a stream that changes its shape between blocks",
                f"it is {shapes[0]} at {names[next(iter(sums))]} and {shape} at {names[place]}",
                "describe a part of one shape: from_torch(model.stage, what the stage is given)",
            )


def _require_streams(names: dict[Place, str], rows: dict[Place, list[Rows]], skip: float) -> None:
    """Raise unless the stream of every block is the sum before it, up to the factor `skip`."""
    for (place, own), (after, (behind, *_)) in pairwise(rows.items()):
        whole = skip * sum((term.branch for term in own), own[0].stream)
        same = whole.shape == behind.stream.shape
        if not same or (behind.stream - whole).norm() > 2 * behind.bound * whole.norm():
            raise UnsupportedError(
                "a description of the stream",
                f"between {names[place]} and {names[after]} it is changed otherwise than by a "
                "factor, as by an activation behind the sum",
                "describe a part of the model in which blocks follow each other",
            )


def _energy(tensor: Any) -> float:
    return float((tensor.detach().double() ** 2).mean())


def _is_causal(torch: Any, model: Any, given: Batch, last: list[Any]) -> bool:
    """Whether the first token does not depend on the last; False where there are no tokens."""
    before = last[0].clone() if last else None
    inputs = given.args[0] if given.args else next(iter(given.kwargs.values()))
    if before is None or not isinstance(inputs, torch.Tensor) or inputs.ndim < 2:
        return False
    if inputs.shape[1] < 2:
        return False
    other = inputs.clone()
    other[:, -1] = inputs.flip(0)[:, 0] if inputs.is_floating_point() else inputs[:, 0]
    if torch.equal(other, inputs):
        return False
    if given.args:
        changed = replace(given, args=(other, *given.args[1:]))
    else:
        name = next(iter(given.kwargs))
        changed = replace(given, kwargs={**given.kwargs, name: other})
    run(torch, model, changed)
    moved = float((last[0] - before)[:, 0].norm())
    return moved <= UNMOVED * float(before[:, 0].norm())


def _described(
    torch: Any,
    model: Any,
    terms: list[Term],
    sums: list[Sum],
    readings: list[Reading],
    levels: list[list[float]],
) -> ModelDescription:
    post, names = _post_norm(torch, model, sums), [term.name for term in terms]
    skip = _skip(levels, post)
    with torch.no_grad():
        for term, reading in zip(terms, readings, strict=True):
            settle(term.name, reading, term.rows, skip)
    laws, notes = [], [note for reading in readings for note in reading.notes]
    for name, reading in zip(names, readings, strict=True):
        for position, part in enumerate(reading.maps):
            found = law_of(torch, part.name, name, part.weight, part.bias)
            others = [
                overlap(part.weight, other.maps[position].weight)
                for other in readings
                if other is not reading and len(other.maps) > position
            ]
            known = [abs(score) for score in others if not np.isnan(score)]
            laws.append(replace(found, overlap_score=max(known, default=np.nan)))
    mixes = [reading.spread for reading in readings if reading.spread is not None]
    spreads = [spread for spread in mixes if not np.isnan(spread)]
    if mixes:
        span = f"{min(spreads):.2g} to {max(spreads):.2g}" if spreads else "an unknown size"
        notes.append(
            f"attention of {len(mixes)} blocks is described by uniform weights; with normalised "
            f"inputs its logits have a standard deviation of {span}"
        )
    notes += law_notes(laws)
    kinds = kinds_of(readings, laws, names, notes)
    columns = columns_of(sums, readings, notes)
    net = ResNet(
        kinds if len(kinds) > 1 else kinds[0],
        scale=1,
        depth=len(readings),
        skip=skip,
        post_norm=post,
        positions=positions_of(sums, readings),
    )
    stream = sums[0].stream.movedim(1, -1) if are_images(sums) else sums[0].stream
    stream = stream.reshape(-1, stream.shape[-1])[: max(KEPT, columns)].double().cpu()
    stream = stream.numpy().T / skip
    weights = tuple(tuple(_array(m.weight) for m in reading.maps) for reading in readings)
    biases = tuple(
        tuple(_array(m.bias) if m.bias is not None else np.zeros(len(m.weight)) for m in r.maps)
        for r in readings
    )
    short = tuple(dict.fromkeys(notes))
    return ModelDescription(
        net, tuple(names), tuple(laws), short, weights, biases, stream, columns=columns
    )


def _post_norm(torch: Any, model: Any, sums: list[Sum]) -> LayerNorm | None:
    """Return the normalisation behind every block, if the stream of all but the first is one."""
    modules = dict(model.named_modules())
    readers = [sum_.reader for sum_ in sums[1:]]
    norms = [m for m in map(modules.get, readers) if isinstance(m, torch.nn.LayerNorm)]
    if not readers or len(norms) < len(readers) or len(set(readers)) < len(readers):
        return None
    gains = [1.0 if m.weight is None else _energy(m.weight) ** 0.5 for m in norms]
    return LayerNorm(number(norms[0].eps), number(float(np.mean(gains))), 0)


def _skip(levels: list[list[float]], post: Any) -> float:
    """Return the factor of the stream, by what the stream of a block is of what came before.

    Raises
    ------
    UnsupportedError
        If something else happens between blocks.
    """
    before = [float(post.gain) ** 2 if post else own[-1] for own in levels[:-1]]
    found = [
        (own[0] / level) ** 0.5 for own, level in zip(levels[1:], before, strict=True) if level
    ]
    if not found or max(abs(factor - 1) for factor in found) < SAME:
        return 1
    if max(found) > min(found) * (1 + SAME):
        raise UnsupportedError(
            "a description of the stream",
            f"its size changes between blocks, by {min(found):.3g} to {max(found):.3g}, as by an "
            "activation behind the sum or a layer between blocks",
            "describe a part of the model in which blocks follow each other",
        )
    return number(round(float(np.mean(found)), 4))


def _array(tensor: Any) -> Array:
    return np.asarray(tensor.detach().double().cpu().numpy())
