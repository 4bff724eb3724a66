r"""Streams that are normalised behind every block, as streams that blocks add to.

A normalisation that forgets the length of a vector takes factors out: with a stream U that nothing
normalises, of which ``h^l = norm(U^l)``,

    h^l = norm(alpha h^{l-1} + rho g^l)   is   U^l = U^{l-1} + (rho / alpha) s(U^{l-1}) g^l,

``s`` the inverse slope of the normalisation, such as the standard deviation of U over the neurons.
So post-norm is pre-norm, of the same averages, with a residual scale that is one of them. The first
block reads ``U^0 = h^0`` as it is, and ``s = 1`` there. At infinite width ``U^l = P^l h^l``,

    P^l = P^{l-1} (K_pre / K)^{1/2},    K_pre = K^{l-1} + (rho / alpha)^2 C,

so the recursion of the normalised kernel carries ``P``, and a switch that is off at layer 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import sympy as sp

from resexpand.errors import UnsupportedError
from resexpand.network.operation import X
from resexpand.network.resnet import ResNet
from resexpand.network.steps import Step
from resexpand.theory.one_loop.affine import Affine, require_affine
from resexpand.theory.one_loop.masks import is_mask
from resexpand.theory.recursion import Recursion
from resexpand.theory.signal import PLACES

Entries = tuple[sp.Expr, ...]

SWITCH = sp.Symbol("_normalised", nonnegative=True)
"""Zero in front of the first block, one elsewhere."""


def require_post_norm(net: ResNet, asked: str) -> None:
    """Raise the error of post-norm networks outside of what is derived.

    Raises
    ------
    UnsupportedError
        If the normalisation feels the length of the stream (eps > 0) or shifts it, if the stream
        changes its sign, or another map stands in front of the first `Linear` of a branch.
    """
    if not net.post:
        return
    (step,) = net.post
    opening = [s for s in net.branch.opening if s.label is None and not is_mask(s)]
    said, why, remedy = f"post_norm={step.op!r}", "", ""
    if not _forgets_length(step):
        why = "it is derived for normalisations that neither feel the length of the stream nor "
        why += "shift it"
        remedy = "use eps=0 and bias=0; kernel(), response() and sample() take any"
    elif net.skip.is_number and not net.skip.is_positive:
        said, why = f"{said} and skip={net.skip}", "it is derived for streams that keep their sign"
        remedy = "use skip > 0; sample() takes any"
    elif opening:
        why = f"with {opening[0].op!r} in front of the branch the stream has two scales"
        remedy = "leave it out: the stream is normalised already; sample() takes it"
    if why:
        raise UnsupportedError(f"{asked} of a network with {said}", why, remedy)
    require_affine(net.post, asked)


def _forgets_length(step: Step) -> bool:
    """Whether multiples of a vector, and shifts if it takes means out, have one image."""
    vector = [sp.Rational(n) for n in (1, -2, 4)]

    def image(entries: Sequence[sp.Expr]) -> list[sp.Expr]:
        at = dict(step.op.by_symbol)
        for symbol, function in step.op.averages:
            terms = [function.xreplace({**at, X: x}) for x in entries]
            at[symbol] = sp.Add(*terms) / len(entries)
        return [sp.simplify(step.op.expression.xreplace({**at, X: x})) for x in entries]

    def differ(one: list[sp.Expr], other: list[sp.Expr]) -> bool:
        return any(sp.simplify(a - b) != 0 for a, b in zip(one, other, strict=True))

    first = image(vector)
    # What shifts the stream does not map opposite vectors to opposite ones.
    if differ([-x for x in first], image([-x for x in vector])):
        return False
    if differ(first, image([3 * x for x in vector])):
        return False
    centres = sp.simplify(sum(first)) == 0
    return not (centres and differ(first, image([x + 1 for x in vector])))


def switched(affine: Affine) -> Affine:
    """Return a map that is the identity in front of the first block."""
    return Affine(affine.averages, SWITCH * affine.value + (1 - SWITCH) * X)


def unnormalised(base: Recursion, square: sp.Expr) -> tuple[Recursion, Entries]:
    """Return the recursion of a post-norm network with the stream U, and the covariance of U.

    Parameters
    ----------
    base : Recursion
        Of the normalised kernel.
    square : sympy.Expr
        Square of the residual scale over the factor of the stream.
    """
    covariance = base.output("C").entries
    size = len(covariance)
    places = PLACES[size]
    lengths = [sp.Symbol(f"_length_{q}", positive=True) for q in range(1 + (size > 1))]
    grown = []
    for entry, (p, q) in enumerate(places):
        if p == q:
            before = base.state[entry] + square * covariance[entry]
            grown.append(lengths[p] * sp.sqrt(before / base.update[entry]))
    one = sp.Integer(1)
    carried = replace(
        base,
        state=(*base.state, *lengths, SWITCH),
        initial=(*base.initial, *(one for _ in lengths), sp.Integer(0)),
        update=(*base.update, *grown, one),
    )
    stream = zip(base.state, places, strict=False)
    return carried, tuple(lengths[p] * lengths[q] * k for k, (p, q) in stream)
