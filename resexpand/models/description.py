"""`from_torch`: a PyTorch model as a description of this package, and what that leaves out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from resexpand.errors import UnsupportedError
from resexpand.expressions.shown import Card, Tabled, listed
from resexpand.measure.block_profile import Array
from resexpand.models.batches import Batch, batches_of
from resexpand.models.blocks import named, none_found
from resexpand.models.branch_parts import Map, Reading, number
from resexpand.models.laws import WeightLaw, law_of, overlap
from resexpand.models.library import torch_for
from resexpand.models.reading import read_branch
from resexpand.models.recording import Recording
from resexpand.models.replay import Rows, kept_rows, settle
from resexpand.models.state import looked_at, run, unwrapped
from resexpand.models.watching import Event, Place, Sum, watching
from resexpand.network.branch import Branch
from resexpand.network.layer_norm import LayerNorm
from resexpand.network.linear import Linear
from resexpand.network.numbers import hyperparameter
from resexpand.network.operation import Operation
from resexpand.network.resnet import ResNet

KEPT = 64
"""Tokens whose stream is kept for `measure_orders`."""

SAME = 0.01
"""Relative difference of sizes of the stream that a norm's eps or rounding may make."""

BESIDE = "branches beside each other are described one behind the other"
VARIES = 1.25
"""Ratio of the largest to the smallest variance of blocks, from which a note is made."""


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
    """

    net: ResNet
    names: tuple[str, ...]
    laws: tuple[WeightLaw, ...]
    notes: tuple[str, ...]
    weights: tuple[tuple[Array, ...], ...]
    biases: tuple[tuple[Array, ...], ...]
    stream: Array
    per_sum: tuple[int, ...] = ()

    @property
    def K0(self) -> Any:
        """Kernel in front of the first block: mean of the tokens, or of those of the first input.

        A matrix of its tokens where the description has positions, else a number.
        """
        if not self.net.positions:
            return float((self.stream**2).mean())
        tokens = self.stream[:, : self.net.positions[0]]
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
        operation for: convolutions, modules of other libraries.

    Notes
    -----
    Embeddings, and what follows the last block, are not described. Attention becomes an average
    over the tokens with uniform weights, what it is at initialisation while its logits are small.
    Every branch is carried out as it was read and compared with the model: rows of tokens, for
    causal attention the first token, which reads itself alone. A product of an activation and a
    second map is a `Gate`. Branches beside each other become blocks one behind the other.

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
        rows = kept_rows(torch, model, given)
    names = named(first)
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
    return replace(found, per_sum=tuple(max(len(sum_.terms), 1) for sum_ in own))


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
    return bool(torch.allclose(last[0][:, 0], before[:, 0], rtol=1e-4, atol=1e-6))


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
    notes += _law_notes(laws)
    kinds = _kinds(readings, laws, names, notes)
    shape = tuple(sums[0].branch)
    net = ResNet(
        kinds if len(kinds) > 1 else kinds[0],
        scale=1,
        depth=len(readings),
        skip=skip,
        post_norm=post,
        positions=shape[1] if mixes else None,
    )
    count = max(KEPT, shape[1]) if mixes else KEPT
    stream = sums[0].stream.reshape(-1, shape[-1])[:count].double().cpu().numpy().T / skip
    weights = tuple(tuple(_array(m.weight) for m in reading.maps) for reading in readings)
    biases = tuple(
        tuple(_array(m.bias) if m.bias is not None else np.zeros(len(m.weight)) for m in r.maps)
        for r in readings
    )
    short = tuple(dict.fromkeys(notes))
    return ModelDescription(net, tuple(names), tuple(laws), short, weights, biases, stream)


def _kinds(
    readings: list[Reading], laws: list[WeightLaw], names: list[str], notes: list[str]
) -> list[Branch]:
    """Return the branches of the shortest cycle of kinds, variances pooled over it."""
    forms = [[_form(part) for part in reading.parts] for reading in readings]
    period = next(
        p
        for p in range(1, len(forms) + 1)
        if all(form == forms[k % p] for k, form in enumerate(forms))
    )
    by_block = [[law for law in laws if law.block == name] for name in names]
    branches = []
    for start in range(period):
        same = list(range(start, len(forms), period))
        numbers = iter(zip(*(by_block[k] for k in same), strict=True))
        ops = [_pooled([readings[k].parts[j] for k in same], numbers, notes) for j in
               range(len(forms[start]))]  # fmt: skip
        branches.append(Branch(*filter(None, ops)))
    return branches


def _form(part: Any) -> str:
    """Return the kind of a part, and what its numbers do not say."""
    return "copy" * part.is_copy if isinstance(part, Map) else str(part.text)


def _pooled(parts: list[Any], numbers: Any, notes: list[str]) -> Operation | None:
    """Return one operation for those at the same place of several blocks; none for a copy."""
    if isinstance(parts[0], Map):
        laws: Sequence[WeightLaw] = next(numbers)
        if parts[0].is_copy:
            return None
        variances = [law.variance for law in laws]
        if max(variances) > VARIES * min(variances):
            notes.append(
                f"{laws[0].name} and its like: variances from {min(variances):.3g} to "
                f"{max(variances):.3g} are pooled"
            )
        biases = [law.bias_variance for law in laws]
        return Linear(number(float(np.mean(variances))), number(float(np.mean(biases))))
    first: Operation = parts[0]
    if all(part == first for part in parts):
        return first
    values = np.array([[float(v) for v in part.values] for part in parts])
    notes.append(f"{first.kind}: parameters of several blocks are pooled")
    means = zip(values.mean(axis=0), first.parameters, strict=True)
    return first.with_values(tuple(hyperparameter(number(v), p.name) for v, p in means))


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
            f"its size changes between blocks, by {min(found):.3g} to {max(found):.3g}",
            "describe a part of the model in which blocks follow each other",
        )
    return number(round(float(np.mean(found)), 4))


def _law_notes(laws: list[WeightLaw]) -> list[str]:
    notes = []
    for what, wrong in (
        ("are not Gaussian", [law for law in laws if not law.is_gaussian]),
        ("are not independent", [law for law in laws if not law.is_independent]),
    ):
        if wrong:
            notes.append(f"the weights of {len(wrong)} of {len(laws)} maps {what}, {wrong[0].name}")
    return notes


def _array(tensor: Any) -> Array:
    return np.asarray(tensor.detach().double().cpu().numpy())
