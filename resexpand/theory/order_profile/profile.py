"""A profile as a recursion: its equations beside those of the covariance kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations_with_replacement

import sympy as sp

from resexpand.activations.activation_law import X
from resexpand.network.resnet import ResNet
from resexpand.references import REFERENCES, Citation
from resexpand.theory.order_profile.averages import Averages
from resexpand.theory.recursion import Output, Recursion, always_zero, needed


def profile_recursion(
    title: str,
    base: Recursion,
    averages: Averages,
    update: Mapping[sp.Symbol, sp.Expr],
    outputs: Sequence[Output],
    citations: Sequence[str],
    starts: Mapping[sp.Symbol, sp.Expr] | None = None,
) -> Recursion:
    """Put the equations of a profile beside those of the kernel.

    Parameters
    ----------
    title : str
        Its name.
    base : Recursion
        The kernel recursion of the network, whose outputs ``K`` is kept.
    averages : Averages
        Constants and definitions of the profile.
    update : mapping
        Symbols of the profile and their next values.
    outputs : sequence of Output
        Outputs of the profile.
    citations : sequence of str
        Keys of the papers the profile rests on.
    starts : mapping, optional
        Values at layer 0 other than zero.
    """
    both = dict(zip(base.state, base.update, strict=True)) | dict(update)
    initial = dict.fromkeys(update, sp.Integer(0)) | dict(starts or {})
    initial |= dict(zip(base.state, base.initial, strict=True))
    everything = replace(
        base,
        title=title,
        state=tuple(both),
        initial=tuple(initial[s] for s in both),
        update=tuple(both.values()),
        definitions=(*base.definitions, *averages.definitions),
        constants=tuple(averages.constants),
        outputs=(*outputs, base.output("K")),
        citations=tuple(
            dict.fromkeys([*(Citation(REFERENCES[key]) for key in citations), *base.citations])
        ),
    )
    return _without_unused(_without_zeros(everything))


def diagonal_output(orders: Sequence[sp.Expr], meaning: str) -> Output:
    """Return the profile of orthogonal orders: a diagonal matrix."""
    places = combinations_with_replacement(range(len(orders)), 2)
    entries = tuple(orders[j] if j == k else sp.Integer(0) for j, k in places)
    return Output("profile", "trajectory", entries, meaning=meaning)


def remainder_output(rests: Sequence[sp.Expr], *, finite: bool) -> Output:
    """Return what the orders up to ``k = 0, 1, ...`` leave out of the state.

    `finite` says that order ``l`` is the last one at layer ``l``.
    """
    meaning = "$R_k$: second moment of what the orders up to $k$ leave out"
    return Output(
        "remainder",
        "trajectory",
        tuple(rests),
        meaning=meaning,
        vector=True,
        difference=True,
        finite=finite,
    )


def is_linear(net: ResNet) -> bool:
    """Return whether all activations are linear."""
    laws = [step.op.law for step in net.branch.steps if step.label is not None]
    return all(sp.diff(law.expression, X, 2) == 0 for law in laws)


def _without_zeros(recursion: Recursion) -> Recursion:
    """Leave out what is zero in all layers: overlaps of orders of different parity, say."""
    at = always_zero(
        dict(zip(recursion.state, recursion.initial, strict=True)),
        dict(zip(recursion.state, recursion.update, strict=True)),
        recursion.definitions,
    )
    kept = [index for index, symbol in enumerate(recursion.state) if symbol not in at]
    return replace(
        recursion,
        state=tuple(recursion.state[i] for i in kept),
        initial=tuple(recursion.initial[i] for i in kept),
        update=tuple(recursion.update[i].xreplace(at) for i in kept),
        definitions=tuple((s, v.xreplace(at)) for s, v in recursion.definitions if s not in at),
        outputs=tuple(
            replace(o, entries=tuple(e.xreplace(at) for e in o.entries)) for o in recursion.outputs
        ),
    )


def _without_unused(recursion: Recursion) -> Recursion:
    """Leave out constants and definitions that nothing is made of."""
    everything = (*recursion.constants, *recursion.definitions)
    read = [entry for output in recursion.outputs for entry in output.entries]
    used = {symbol for symbol, _ in needed(everything, [*recursion.update, *read])}
    constants = tuple(d for d in recursion.constants if d[0] in used)
    definitions = tuple(d for d in recursion.definitions if d[0] in used)
    return replace(recursion, constants=constants, definitions=definitions)
