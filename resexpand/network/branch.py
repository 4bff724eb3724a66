"""The residual branch: operations in data-flow order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from resexpand.errors import DescriptionError, UnsupportedError
from resexpand.network.linear import Linear
from resexpand.network.operation import Contraction, Map, Operation
from resexpand.network.registry import OPERATIONS
from resexpand.network.steps import Step, opening_of, steps_of


@dataclass(frozen=True, init=False)
class Branch:
    """A residual branch: operations in data-flow order.

    Parameters
    ----------
    *ops : Operation
        At least one operation: `Linear`, `Activation`, or another registered kind. Two activations
        may not follow each other (write their composition as one expression), and a branch that
        ends in an activation must begin with a `Linear`, because its stream ``h`` is not Gaussian.

    Raises
    ------
    DescriptionError
        If the branch is empty or holds something that is not an operation.
    UnsupportedError
        If the order of operations is one this package has no theory for.
    """

    ops: tuple[Operation, ...]

    def __init__(self, *ops: Operation):
        if not ops:
            raise DescriptionError("Branch()", "a branch needs an operation", "add a Linear()")
        for op in ops:
            if not isinstance(op, Contraction | Map):
                known = ", ".join(OPERATIONS)
                raise DescriptionError(
                    f"{op!r} in a branch", "it is not an operation", f"use one of {known}"
                )
        _check_order(ops)
        object.__setattr__(self, "ops", tuple(ops))

    def at_block(self, block: int) -> Branch:
        """Return the branch with the values that its parameters have at a block, from 0."""
        values = ((v[block] if is_many(v) else v for v in op.values) for op in self.ops)
        pairs = zip(self.ops, values, strict=True)
        return Branch(*(op.with_values(tuple(own)) for op, own in pairs))

    def placed(self, positions: tuple[int, ...]) -> Branch:
        """Return the branch of a network with these positions."""
        ops = tuple(op.placed(positions) for op in self.ops)
        return self if all(a is b for a, b in zip(ops, self.ops, strict=True)) else Branch(*ops)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The operations with their places and names: what theory, samplers and printers read."""
        return steps_of(self.ops)

    @property
    def linears(self) -> tuple[Linear, ...]:
        """The linear operations, in data-flow order."""
        return tuple(step.op for step in self.steps if step.contracts)

    @property
    def activations(self) -> tuple[Map, ...]:
        """The maps that state a law of their averages: activations, in data-flow order."""
        return tuple(step.op for step in self.steps if step.label is not None)

    @property
    def maps(self) -> tuple[Map, ...]:
        """The operations that act on every neuron by itself, in data-flow order."""
        return tuple(step.op for step in self.steps if not step.contracts)

    @property
    def opening(self) -> tuple[Step, ...]:
        """The maps that act on the stream itself, in front of the first `Linear`."""
        return opening_of(self.steps)

    def followed_by(self, linear: Linear) -> tuple[Operation, ...]:
        """Return the read-out that acts where the first `Linear` of a further block would."""
        return (*(step.op for step in self.opening), linear)

    @property
    def is_gaussian(self) -> bool:
        """Whether the branch is a centred Gaussian at infinite width, given noise of whole blocks.

        Masks of neurons make a mixture of Gaussians of it (`is_mixture`).
        """
        return all(step.op.is_linear for step in self._ending)

    @property
    def is_mixture(self) -> bool:
        """Whether masks of the neurons make the branch a mixture of Gaussians."""
        return any(step.op.masks_neurons for step in self._ending)

    @property
    def _ending(self) -> tuple[Step, ...]:
        """The maps behind the last contraction."""
        last = max(step.position for step in self.steps if step.contracts)
        return self.steps[last + 1 :]

    def __repr__(self) -> str:
        return f"Branch({', '.join(map(repr, self.ops))})"


def _check_order(ops: tuple[Operation, ...]) -> None:
    curved = [isinstance(op, Map) and not op.is_linear for op in ops]
    if any(a and b for a, b in pairwise(curved)):
        raise UnsupportedError(
            "two activations in a row",
            "their composition is one activation",
            "write it as one expression in x",
        )
    if not any(op.contracts for op in ops):
        raise UnsupportedError(
            f"a branch of {len(ops)} activation and no Linear",
            "it has no random weights, so there is no law to derive",
            "add a Linear()",
        )
    _check_gates(ops)
    _check_gaussian(ops, curved)


def _check_gates(ops: tuple[Operation, ...]) -> None:
    """Raise if a gate has no Linear of its own, or the branch ends in a product."""
    last = max(j for j, op in enumerate(ops) if op.contracts)
    for j, op in enumerate(ops):
        if getattr(op, "gates", None) is None:
            continue
        before = ops[j - 1] if j else None
        if before is None or not before.contracts or before.over != "neurons" or j > last:
            raise UnsupportedError(
                f"{op!r} behind {before!r}" if j < last else f"a branch that ends in {op!r}",
                "its copy is a second draw of the Linear in front of it, and the product is not "
                "Gaussian",
                "write Linear(), Gate(), Linear()",
            )


def _check_gaussian(ops: tuple[Operation, ...], curved: list[bool]) -> None:
    """Raise if a nonlinear map would act on a signal that is not Gaussian at infinite width."""
    last = max(j for j, op in enumerate(ops) if op.contracts)
    gaussian = not any(curved[last:])
    for op, bends in zip(ops, curved, strict=True):
        if bends and not gaussian:
            raise UnsupportedError(
                "a branch that begins and ends with an activation"
                if op is ops[0]
                else f"{op!r} behind an activation, or on the stream of a branch that ends in one",
                "an activation would act on a stream that is not Gaussian at infinite width",
                "begin or end the branch with a Linear()",
            )
        gaussian = op.contracts or (gaussian and not bends)


def is_many(value: object) -> bool:
    """Return whether a parameter has one value per block."""
    return isinstance(value, tuple)
