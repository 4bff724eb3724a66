"""The residual network: one frozen description from which everything else is derived.

``ResNet(Branch(Activation("erf"), Linear()), scale=rho, depth=L)`` stands for

    h^l = h^{l-1} + rho * (W^l erf(h^{l-1}) + b^l),   l = 1 .. L:

the operations of a branch are listed in the order in which data flows through them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import sympy as sp

from resexpand.errors import DescriptionError, UnsupportedError
from resexpand.expressions.notebook import in_notebook
from resexpand.network.batch_norm import in_evaluation
from resexpand.network.branch import Branch, is_many
from resexpand.network.certain import check_variances
from resexpand.network.checks import (
    ARGUMENTS,
    check_blocks,
    check_head,
    check_layers,
    check_names,
    check_positions,
    check_post_norm,
    split_read_out,
)
from resexpand.network.depth import depth_from, scales_of, scales_per_block
from resexpand.network.layer_registry import layer_law
from resexpand.network.layers import LayerLaw
from resexpand.network.linear import Linear
from resexpand.network.operation import Map, Operation, Parameter, hyperparameter
from resexpand.network.positions import positions_of
from resexpand.network.shapes import Shapes, named, shapes_of
from resexpand.network.steps import Step, head_of, opening_of, without_noise

__all__ = ["ARGUMENTS", "Branch", "ResNet"]


@dataclass(frozen=True, init=False)
class ResNet:
    """A residual network of randomly drawn blocks.

    Parameters
    ----------
    branch : Branch or sequence of Branch
        The residual branch of every block, or those of several kinds of blocks that follow each
        other in a cycle: ``[a, b]`` at depth 5 is ``a b a b a``. A parameter of an operation may
        be a list of one value per block.
    scale : number, sympy.Expr, or sequence of these
        Residual scale: one for all blocks, one value per block, or one per kind of block; a number,
        an expression of SymPy, or its text, in which ``L`` is the depth: ``"c/sqrt(L)"``.
    depth : int or sympy.Symbol, optional
        Number of blocks, ``>= 1``. May be left out when `scale` is a sequence.
    read_in : Linear, optional
        First linear map: with it the kernel at layer 0 can be computed from data.
    read_out : Linear or sequence of Operation, optional
        Map behind the last block: ``Linear(...)`` acts on ``h^L`` itself, ``[Activation("relu"),
        Linear(...)]`` on ``relu(h^L)``. Without one, quantities of a read-out are those of unit
        weights on the argument of the `Linear` of a further block.
    skip : number or sympy.Expr, optional
        Factor in front of the stream in every block, ``h^l = skip h^{l-1} + rho (...)``; 0 is a
        plain network without skip connections. With `post_norm` it is the alpha of DeepNorm (Wang
        et al. 2022), ``h^l = norm(alpha h^{l-1} + rho (...))``.
    post_norm : Map, optional
        Normalisation of the stream behind every block, ``h^l = norm(skip h^{l-1} + rho (...))``:
        `LayerNorm`, `RMSNorm`, or another map that is linear given its averages.
    positions : int or tuple of int, optional
        Positions of every input (pixels of a row, tokens), or ``(rows, columns)`` of an image:
        needed by operations that couple them, such as `Conv`. All others act on each by itself.
    layers : LayerLaw or array_like, shape (L, L), optional
        Covariance of weights between the blocks: a law of `resexpand.network.layers`, or a matrix.
        Blocks are independent by default.

    Raises
    ------
    DescriptionError
        If the depth is not a positive integer, a scale is not finite, their lengths differ, or
        the covariance between layers is not positive semi-definite or not of their number.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet
    >>> ResNet(Branch(Activation("erf"), Linear(weight_variance=1.2)), scale=0.3, depth=20)
    ResNet(Branch(Activation("erf"), Linear(weight_variance=6/5, bias_variance=sigma_b2)), \
scale=3/10, depth=20)
    """

    branches: tuple[Branch, ...]
    scale: sp.Expr | tuple[sp.Expr, ...]
    depth: sp.Expr
    read_in: Linear | None
    read_out: Linear | None
    head_ops: tuple[Operation, ...] | None
    skip: sp.Expr
    post_norm: Map | None
    positions: tuple[int, ...]
    layers: LayerLaw | None

    def __init__(
        self,
        branch: Branch | Sequence[Branch],
        *,
        scale: object,
        depth: object = None,
        read_in: Linear | None = None,
        read_out: Linear | Sequence[Operation] | None = None,
        skip: object = 1,
        post_norm: Map | None = None,
        positions: int | tuple[int, ...] | None = None,
        layers: object = None,
    ):
        branches = tuple(branch) if isinstance(branch, list | tuple) else (branch,)
        for each in branches or (branch,):
            if not isinstance(each, Branch):
                raise DescriptionError(f"branch {each!r}", "it is not a Branch", "use Branch(...)")
        shape = positions_of(positions)
        branches = tuple(branch.placed(shape) for branch in branches)
        head, last = split_read_out(read_out)
        head = None if head is None else tuple(op.placed(shape) for op in head)
        for name, op in (("read_in", read_in), ("read_out", last)):
            if op is not None and not isinstance(op, Linear):
                raise DescriptionError(f"{name} {op!r}", "it is not linear", "use Linear(...)")
        scales = scales_of(scale)
        blocks = depth_from(depth, scales, len(branches))
        # In the order of the attributes.
        values = [branches, scales_per_block(scales, blocks), blocks, read_in, last, head]
        values += [hyperparameter(skip, "skip"), post_norm, shape, layer_law(layers)]
        for field, value in zip(fields(self), values, strict=True):
            object.__setattr__(self, field.name, value)
        check_post_norm(post_norm)
        check_positions(self)
        check_blocks(self)
        check_layers(self)
        check_head(self)
        check_names(self)
        check_variances(self)

    @cached_property
    def kinds(self) -> tuple[Branch, ...]:
        """The kinds of blocks that repeat in a cycle: those given, or one per block."""
        own = {len(v) for b in self.branches for op in b.ops for v in op.values if is_many(v)}
        if not own:
            return _shortest(self.branches)
        if own != {self.depth}:
            raise DescriptionError(
                f"{', '.join(map(str, sorted(own)))} values of a parameter at depth {self.depth}",
                "a list holds one value per block",
                "give as many values as blocks, or one for all",
            )
        cycle = [self.branches[k % len(self.branches)] for k in range(int(self.depth))]
        return _shortest(tuple(branch.at_block(k) for k, branch in enumerate(cycle)))

    @property
    def branch(self) -> Branch:
        """The residual branch, where all blocks have the same.

        Raises
        ------
        UnsupportedError
            If there are several kinds of blocks; the common error of theories of one kind.
        """
        if len(self.kinds) > 1:
            raise UnsupportedError(
                f"what is asked of a network of {len(self.kinds)} kinds of blocks",
                "it is known for blocks with one branch",
                "kernel(), response() and sample() take several kinds",
            )
        return self.kinds[0]

    def block(self, number: int) -> Branch:
        """Return the branch of a block, numbered from 1 as the layers behind them are.

        Block ``L + 1`` is the one that would come next.
        """
        return self.kinds[(number - 1) % len(self.kinds)]

    @property
    def next_block(self) -> Branch:
        """The branch of the block that would follow the last."""
        return self.kinds[0] if len(self.kinds) == 1 else self.block(int(self.depth) + 1)

    @cached_property
    def shapes(self) -> Shapes:
        """The blocks by shape: what theory walks through."""
        if len(self.kinds) == 1:
            return Shapes((self.kinds[0].steps,))
        return shapes_of([self.block(k + 1).ops for k in range(int(self.depth))])

    @cached_property
    def next_steps(self) -> tuple[Step, ...]:
        """The operations of the block that would follow the last, under the labels of theory."""
        if len(self.kinds) == 1:
            return self.kinds[0].steps
        known = (step for steps in self.shapes.steps for step in steps if step.label is not None)
        labels = {step.op.law: step.label for step in known}
        return tuple(named(step, "_next", labels) for step in self.next_block.steps)

    @property
    def openings(self) -> tuple[Step, ...]:
        """The maps that act on the stream itself, in blocks or in front of the read-out."""
        return (*(step for branch in self.kinds for step in branch.opening), *self.head)

    @property
    def is_gaussian(self) -> bool:
        """Whether the stream stays a centred Gaussian at infinite width."""
        shifted = self.post_norm is not None and not self.post_norm.is_linear
        return not shifted and all(branch.is_gaussian for branch in self.kinds)

    @property
    def post(self) -> tuple[Step, ...]:
        """The map of the stream behind every block, if there is one."""
        op = self.post_norm
        return () if op is None else (Step(0, op, 1, "_post", None),)

    @property
    def is_mixture(self) -> bool:
        """Whether masks make a mixture of Gaussians of the stream at infinite width."""
        return any(branch.is_mixture for branch in self.kinds)

    @cached_property
    def head(self) -> tuple[Step, ...]:
        """The maps in front of the read-out."""
        known = [step for steps in self.shapes.steps for step in steps]
        return head_of(self.next_steps, self.head_ops, known)

    @property
    def has_own_head(self) -> bool:
        """Whether the read-out acts elsewhere than the `Linear` of a further block would."""
        return self.head != opening_of(self.next_steps)

    @property
    def parts_equal_inputs(self) -> bool:
        """Whether every input draws noise of its own, so that equal ones do not stay equal."""
        ops = (*(op for branch in self.kinds for op in branch.maps), *(self.head_ops or ()))
        return any(not noise.shared for op in ops for noise in getattr(op, "random", ()))

    def scales(self, depth: int) -> tuple[sp.Expr, ...]:
        """Return the residual scale of every block, the depth being this number."""
        return self.scale if isinstance(self.scale, tuple) else (self.scale,) * depth

    def with_scale(self, scale: object, depth: object = None) -> ResNet:
        """Return the same network with another residual scale, and depth if given."""
        return ResNet(
            self.branches,
            scale=scale,
            depth=self.depth if depth is None else depth,
            read_in=self.read_in,
            read_out=None if self.read_out is None else (*(self.head_ops or ()), self.read_out),
            skip=self.skip,
            post_norm=self.post_norm,
            positions=self.positions or None,
            layers=self.layers,
        )

    def evaluation(self) -> ResNet:
        """Return the network in evaluation: every noise is replaced by its mean.

        Dropout and stochastic depth keep the mean, so the operations are left out. Where averages
        run over a batch, they become those of training batches (``mode="running"``): these meet the
        noise, which stays, and inputs of the evaluation do not.

        Raises
        ------
        UnsupportedError
            If an operation with noise is not the identity in the mean.
        """
        ends = self.head_ops or ()
        if any(op.over == "batch" for op in (*(o for b in self.branches for o in b.ops), *ends)):
            branches = tuple(Branch(*map(in_evaluation, branch.ops)) for branch in self.branches)
            return self.altered(
                branches=branches,
                head_ops=None if self.head_ops is None else tuple(map(in_evaluation, ends)),
            )
        branches = tuple(Branch(*without_noise(branch.ops)) for branch in self.branches)
        head = None if self.head_ops is None else without_noise(self.head_ops)
        return self.altered(branches=branches, head_ops=head)

    def at_equal_positions(self) -> ResNet:
        """Return the network of one column, for inputs of one variance at all their positions.

        Without its read-out. Itself if an operation couples positions in another way.
        """
        found = []
        for branch in self.branches:
            alone = [getattr(op, "at_equal_positions", lambda op=op: op)() for op in branch.ops]
            if None in alone:
                return self
            found.append(Branch(*alone))
        return self.altered(branches=tuple(found), positions=(), read_out=None, head_ops=None)

    def altered(self, **changes: object) -> ResNet:
        """Return the network with other values of some attributes, which are not checked."""
        other = object.__new__(type(self))
        for field in fields(self):
            value = changes.get(field.name, getattr(self, field.name))
            object.__setattr__(other, field.name, value)
        return other

    @property
    def parameters(self) -> tuple[tuple[Parameter, sp.Expr], ...]:
        """Every parameter of the operations and its value, read-in and read-out included."""
        ends = (self.read_in, *(self.head_ops or ()), self.read_out, self.post_norm, self.layers)
        ops = (*(op for branch in self.kinds for op in branch.ops), *filter(None, ends))
        return tuple(pair for op in ops for pair in op.pairs)

    @property
    def free_symbols(self) -> set[sp.Symbol]:
        """Symbols that need a value before anything can be evaluated."""
        values = [value for _, value in self.parameters]
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        return set().union(*(v.free_symbols for v in (*values, *scales, self.skip, self.depth)))

    def __repr__(self) -> str:
        single = len(self.branches) == 1
        branches = repr(self.branches[0] if single else [*self.branches])
        shape = self.positions[0] if len(self.positions) == 1 else self.positions or None
        said = {
            "scale": self.scale,
            "depth": self.depth,
            "read_in": self.read_in,
            "read_out": [*self.head_ops, self.read_out] if self.head_ops else self.read_out,
            "skip": None if self.skip == 1 else self.skip,
            "post_norm": self.post_norm,
            "positions": shape,
            "layers": self.layers,
        }
        named = [f"{name}={value}" for name, value in said.items() if value is not None]
        return f"ResNet({', '.join([branches, *named])})"

    def _repr_latex_(self) -> str:
        return in_notebook(self)


def _shortest(cycle: tuple[Branch, ...]) -> tuple[Branch, ...]:
    """Return one branch where a cycle repeats it."""
    return cycle[:1] if len(set(cycle)) == 1 else cycle
