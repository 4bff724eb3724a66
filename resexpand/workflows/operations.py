"""Which theory takes which operation: a table that the code makes by trying.

Every registered operation stands in a branch of its own at depth 2, ``[operation, identity,
Linear]`` or ``[identity, Linear, operation]``, and every theory derives its formulas for one of
these (every sampler writes its text). A theory that refuses both gives its reason by the package's
own error; nothing here knows what any of them can do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import sympy as sp

from resexpand.codegen.routine import compile_routine
from resexpand.errors import ResexpandError
from resexpand.montecarlo.observables.registry import needed_columns, select
from resexpand.montecarlo.source.blocks import Blocks
from resexpand.montecarlo.source.sampler import sampler_source
from resexpand.network.activation import Activation
from resexpand.network.batch_norm import BatchNorm
from resexpand.network.linear import Linear
from resexpand.network.operation import Operation
from resexpand.network.registry import OPERATIONS
from resexpand.network.resnet import Branch, ResNet
from resexpand.theory.exact_moments import exact_moments
from resexpand.theory.gated_paths import gated_path_sum
from resexpand.theory.gradients import gradient_moments
from resexpand.theory.growth import growth, implied_scale
from resexpand.theory.kernel import kernel
from resexpand.theory.one_loop import one_loop
from resexpand.theory.optimal_scale import optimal_scale
from resexpand.theory.order_profile import order_profile
from resexpand.theory.recursion import Recursion
from resexpand.theory.response import response

EXAMPLE = sp.Rational(1, 2)
"""Value of parameters without a default."""

SIZE = 2
"""Positions, where an operation couples them."""

PLAIN = Branch(Activation("identity"), Linear(1, 0))


def _behind_batch(net: ResNet) -> ResNet:
    """Return the network with a normalisation over the batch and a `Linear` in front."""
    ops = net.branch.ops
    if any(getattr(op, "over", "") == "batch" for op in ops):
        return net
    sheet = net.positions or None
    return ResNet(Branch(BatchNorm(), Linear(1, 0), *ops), scale=1, depth=2, positions=sheet)


def _as_post_norm(net: ResNet) -> ResNet:
    """Return a plain network with the first operation of another one behind every block."""
    return ResNet(PLAIN, scale=1, depth=2, post_norm=net.branch.ops[0])  # type: ignore[arg-type]


def _sampler(method: str, names: str) -> Callable[[ResNet], object]:
    """Return what writes the text of a sampler of some observables."""

    def write(net: ResNet) -> str:
        layout = needed_columns(select(names, 1), 1)
        layout.require(net.branch, dict.fromkeys(map(type, layout.groups), names))
        return sampler_source(Blocks.of(net.kinds, 2), method, layout)

    return write


ASKED: dict[str, Callable[[ResNet], object]] = {
    "kernel": kernel,
    "kernel, as post-norm": lambda net: kernel(_as_post_norm(net)),
    "kernel of pairs": lambda net: kernel(net, 2),
    "kernel over positions": lambda net: kernel(net.altered(positions=(SIZE,)), "positions").title,
    "kernel of a batch": lambda net: kernel(_behind_batch(net), "batch"),
    "kernel of masks": lambda net: kernel(net, "masks"),
    "variance response": response,
    "covariance response": lambda net: response(net, "covariance"),
    "tangent response": lambda net: response(net, "tangent"),
    "response over positions": lambda net: (
        response(net.altered(positions=(SIZE,)), inputs="positions").base.title
    ),
    "response of a batch": lambda net: response(_behind_batch(net), inputs="batch").base.title,
    "gradient moments": lambda net: getattr(gradient_moments(net), "tangent", None),
    "growth": growth,
    "implied scale": implied_scale,
    "optimal scale": optimal_scale,
    "one loop": one_loop,
    "one loop, as post-norm": lambda net: one_loop(_as_post_norm(net)),
    "exact moments": exact_moments,
    "order profile": lambda net: order_profile(net, 2),
    "gated path sum": gated_path_sum,
    "sampled kernel": _sampler("function-space", "kernel"),
    "sampled kernel, dense": _sampler("dense", "kernel"),
    "sampled gradient": _sampler("function-space", "gradient"),
    "sampled orders": _sampler("function-space", "order_profile(2)"),
}
"""Questions to a network, by name: the one place to add another."""


@dataclass(frozen=True)
class OperationTable:
    """Answers of every operation.

    Attributes
    ----------
    refusals : dict
        By operation and by what was asked: the error's text, empty where it is answered.
    """

    refusals: dict[str, dict[str, str]]

    def takes(self, operation: str, asked: str) -> bool:
        """Return whether what is asked is answered for an operation."""
        return not self.refusals[operation][asked]

    def __str__(self) -> str:
        names = list(self.refusals)
        asked = list(next(iter(self.refusals.values()), {}))
        wide = max(map(len, asked), default=0)
        rows = ["  ".join(["".ljust(wide), *names])]
        for question in asked:
            marks = ["yes" if self.takes(name, question) else "-" for name in names]
            cells = (mark.ljust(len(name)) for mark, name in zip(marks, names, strict=True))
            rows.append("  ".join([question.ljust(wide), *cells]).rstrip())
        return "\n".join([*rows, "", *self._reasons()])

    def _reasons(self) -> Iterable[str]:
        """Return every refusal once, with the operations it is about."""
        for name, answers in self.refusals.items():
            for question, why in answers.items():
                if why:
                    yield f"{name}, {question}: {why}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a record."""
        return {"operations": self.refusals}


def operations(names: Iterable[str] | None = None) -> OperationTable:
    """Try every theory and sampler on every registered operation.

    Parameters
    ----------
    names : iterable of str, optional
        Kinds of operations; all that are registered by default.

    Returns
    -------
    OperationTable
        It prints as a table of what is answered, and below it the refusals with their reasons.
    """
    kinds = list(OPERATIONS) if names is None else list(names)
    return OperationTable({name: _answers(OPERATIONS[name]) for name in kinds})


def _answers(kind: type[Operation]) -> dict[str, str]:
    """Return the refusals of one operation."""
    try:
        sheet = SIZE if kind.over == "positions" else None
        nets = [ResNet(b, scale=1, depth=2, positions=sheet) for b in _branches(kind)]
    except ResexpandError as error:
        return dict.fromkeys(ASKED, str(error))
    refusals = {name: [_refusal(ask, net) for net in nets] for name, ask in ASKED.items()}
    return {name: "" if "" in whys else whys[0] for name, whys in refusals.items()}


def _branches(kind: type[Operation]) -> list[Branch]:
    """Return the branches in which an operation is tried: in front, and behind if it is linear."""
    if kind is Activation:
        return [PLAIN]
    # A parameter for which no value stands, as `ghost` of a batch, has a word for it.
    asked = (p for p in kind.parameters if p.default is None and None not in dict(p.words))
    given = {p.name: EXAMPLE for p in asked}
    op = kind(**given)
    if getattr(op, "gates", None) is not None:
        return [Branch(Linear(1, 0), op, Linear(1, 0))]
    if not (op.contracts or op.is_linear):  # type: ignore[attr-defined]
        return [Branch(op, Linear(1, 0))]
    return [Branch(op, *PLAIN.ops), Branch(*PLAIN.ops, op)]


def _refusal(ask: Callable[[ResNet], object], net: ResNet) -> str:
    """Return why something is refused; empty if it is answered."""
    try:
        answer = ask(net)
        if isinstance(answer, Recursion):
            compile_routine(answer)
    except ResexpandError as error:
        return str(error)
    return ""
