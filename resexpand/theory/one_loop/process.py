r"""The random variables of a residual network, as one process of single neurons.

Number all linear operations ("draws") ``a`` in the order of computation. Given the Gram matrices
``C_a`` of all draws, the rows of every draw are independent Gaussians ``g_a ~ N(0, C_a)``, and a
neuron is the process ``u_a = sum_c M_ac g_c`` of what each draw reads. Its features ``phi_a(u_a)``,
averaged over the neurons, make the next Gram matrix,

    C_a = sigma_a^2 (1/N) sum_i phi_a(u_a,i) phi_a(u_a,i)^T + b_a^2.

The first draw of a block reads the stream, ``u = h^{l-1} = g_0 + sum_{m<l} rho_m g_m``; every
further one reads the draw before it; only the last of a block enters the stream. Normalisations in
front of an activation make ``phi_a`` a function of averages over the neurons as well
(`resexpand.theory.one_loop.affine`), which are then collective variables beside the ``C_a``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw
from resexpand.errors import UnsupportedError
from resexpand.network.batch_norm import require_no_batch
from resexpand.network.linear import Linear
from resexpand.network.positions import require_no_coupling
from resexpand.network.requirements import require_sums
from resexpand.network.resnet import ResNet
from resexpand.network.steps import Step
from resexpand.theory.one_loop.affine import refuse, require_affine
from resexpand.theory.one_loop.masks import mask_of, without_masks
from resexpand.theory.one_loop.post_norm import require_post_norm


@dataclass(frozen=True)
class LinearLayer:
    """One linear operation and what it reads.

    Attributes
    ----------
    position : int
        Place among the linear operations of its block, from 1; 0 for the read-out.
    number : int
        Place among all draws of a network, from 1.
    shape : int
        Shape of the blocks that it stands in, from 0 (`resexpand.network.shapes`).
    suffix : str
        Suffix of its hyperparameters.
    linear : Linear
        The operation.
    label : sympy.Symbol or None
        Label of the activation in front of it; None if it reads a linear quantity.
    law : ActivationLaw or None
        That activation.
    maps : tuple of Step
        Linear maps in front of that activation, which may hold averages over the neurons.
    mask : Step or None
        Random factor of every neuron behind it (`resexpand.theory.one_loop.masks`).
    """

    position: int
    linear: Linear
    label: sp.Symbol | None
    law: ActivationLaw | None
    maps: tuple[Step, ...] = ()
    mask: Step | None = None
    number: int = 1
    shape: int = 0
    suffix: str = ""

    @property
    def averages(self) -> int:
        """Number of averages over the neurons that the maps in front hold."""
        return sum(len(step.op.averages) for step in self.maps)

    @property
    def reads_stream(self) -> bool:
        """Whether it reads the stream, and not the draw before it."""
        return self.position <= 1


@dataclass(frozen=True)
class Process:
    """The draws of one block of every shape, in order, and the read-out.

    Attributes
    ----------
    draws : tuple of LinearLayer
        Of every block; of one shape after the other. A read-out that does not read what a next
        block would is the last of them: it stands behind every layer, and nothing reads it.
    read_out : LinearLayer or None
        It takes the place of block ``L + 1``.
    behind : tuple of Step
        Factors behind the last draw.
    post : Step or None
        Normalisation of the stream behind every block, which the first draw of a block reads
        (`resexpand.theory.one_loop.post_norm`).
    shapes : tuple of int
        Shape of the blocks ``1 .. L + 1``; empty if all have the same.
    next : tuple of LinearLayer
        Draws of block ``L + 1``, where its parameters are not those of every block.
    """

    draws: tuple[LinearLayer, ...]
    read_out: LinearLayer | None
    behind: tuple[Step, ...] = ()
    post: Step | None = None
    shapes: tuple[int, ...] = ()
    next: tuple[LinearLayer, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether the draws of one block are all there is: no other block, no map without a law."""
        mapped = any(draw.maps or draw.mask for draw in self.draws)
        return not (self.behind or mapped or self.next or self.probe)

    @property
    def probe(self) -> LinearLayer | None:
        """The draw that stands behind every layer, if there is one."""
        return None if self.draws[-1].position else self.draws[-1]

    def mixing(self, depth: int, scales: tuple[sp.Expr, ...] | sp.Expr) -> sp.Matrix:
        """Return the matrix ``M`` of ``u_a = sum_c M_ac g_c`` for a number of blocks.

        Parameters
        ----------
        depth : int
            Number of blocks L, ``>= 1``.
        scales : sympy.Expr or tuple of sympy.Expr
            Residual scale, or one per block.

        Returns
        -------
        sympy.Matrix
            Rows: draws of the blocks ``1 .. L`` and of block ``L + 1`` (or the read-out). Columns:
            ``g_0`` of the input first, then the draws.
        """
        size = len(self.draws)
        last = 1 if self.read_out else size
        matrix = sp.zeros(depth * size + last, 1 + depth * size + last)
        rho = scales if isinstance(scales, tuple) else (scales,) * depth
        for row in range(matrix.rows):
            block, place = divmod(row, size)
            if place:
                matrix[row, row] = 1
                continue
            matrix[row, 0] = 1
            for m in range(block):
                matrix[row, (m + 1) * size] = rho[m]
        return matrix


def process(net: ResNet) -> Process:
    """Return the process of single neurons of a network.

    Raises
    ------
    UnsupportedError
        If inputs or positions couple; if the branch ends in an activation: its stream is not
        Gaussian given the Gram matrices; if an operation states no law of its averages; or if
        operations that differ read a stream through normalisations.
    """
    asked = "the order 1/N"
    require_no_coupling(net, asked)
    for op in (op for branch in net.kinds for op in branch.maps):
        require_no_batch(op, asked)
    require_post_norm(net, asked)
    post = next(iter(net.post), None)
    if net.post:
        net = net.altered(post_norm=None, skip=sp.Integer(1))
    require_sums(without_masks(net), asked)
    draws: list[LinearLayer] = []
    behind: set[tuple[Step, ...]] = set()
    for shape, steps in enumerate(net.shapes.steps):
        own, left = _draws(steps, shape, len(draws), asked)
        draws += own
        behind.add(left)
    if not net.is_gaussian:
        raise UnsupportedError(
            "the order 1/N of a branch that ends in an activation",
            "its stream is not Gaussian given the Gram matrices of the linear operations",
            "end the branch with a Linear(); kernel() and sample() take it as it is",
        )
    if len(behind) > 1:
        raise UnsupportedError(
            f"{asked} of blocks with different factors behind their last Linear()",
            "one factor of all blocks is derived",
            "put the factor into the residual scale of each block",
        )
    after: tuple[LinearLayer, ...] = ()
    shapes: tuple[int, ...] = ()
    if len(net.kinds) > 1:
        last = net.next_block.ops
        key = [(op.kind, op.text) for op in last]
        keys = [[(step.op.kind, step.op.text) for step in steps] for steps in net.shapes.steps]
        shape = keys.index(key)
        first = next(k for k, draw in enumerate(draws) if draw.shape == shape)
        after = _draws(net.next_steps, shape, first, asked)[0]
        shapes = (*net.shapes.of_block, shape) if net.shapes.of_block else ()
    read_out = None
    if net.read_out is not None:
        read_out = _draw(0, net.read_out, list(net.head), asked)
    if post is not None:
        draws[0] = replace(draws[0], maps=(post,))
    if net.has_own_head or len(net.shapes.steps) > 1:
        draws.append(_probe(net, len(draws) + 1, asked))
        _require_no_averages(draws, post, asked)
    (left,) = behind
    return Process(tuple(draws), read_out, left, post, shapes, after)


def _draws(
    steps: Sequence[Step], shape: int, before: int, asked: str
) -> tuple[tuple[LinearLayer, ...], tuple[Step, ...]]:
    """Return the draws of a branch, and the maps behind the last of them."""
    draws: list[LinearLayer] = []
    waiting: list[Step] = []
    for step in steps:
        if step.contracts:
            own = _draw(step.number, step.op, waiting, asked)
            number = before + len(draws) + 1
            draws.append(replace(own, number=number, shape=shape, suffix=step.suffix))
            waiting = []
        else:
            waiting.append(step)
    require_affine([step for step in waiting if step.label is None], asked, averages=False)
    return tuple(draws), tuple(step for step in waiting if step.label is None)


def _probe(net: ResNet, number: int, asked: str) -> LinearLayer:
    """Return the read-out, or one of unit weights, as a draw behind every layer."""
    linear = Linear(1, 0) if net.read_out is None else net.read_out
    return replace(_draw(0, linear, list(net.head), asked), number=number, suffix="_out")


def _require_no_averages(draws: Sequence[LinearLayer], post: Step | None, asked: str) -> None:
    """Refuse operations that differ and read a stream through averages over the neurons."""
    for draw in draws:
        if draw.reads_stream and (draw.averages or post is not None):
            op = draw.maps[0].op if draw.maps else post and post.op
            raise UnsupportedError(
                f"{asked} of a network with {op!r} whose stream is read in different ways",
                "how the averages of a normalisation fluctuate with what another operation reads "
                "is not derived",
                "use one kind of block, and a read-out that reads what the first Linear() of a "
                "block does; kernel(), response() and sample() take it as it is",
            )


def _draw(position: int, linear: Linear, before: list[Step], asked: str) -> LinearLayer:
    """Return the draw of a linear operation from the steps in front of it."""
    mask = mask_of(before)
    before = before[:-1] if mask else before
    labelled = [k for k, step in enumerate(before) if step.label is not None]
    first = labelled[0] if labelled else len(before)
    maps, last = tuple(before[:first]), before[first] if labelled else None
    require_affine(maps, asked)
    if before[first + 1 :]:
        refuse(before[first + 1], asked)
    label, law = (None, None) if last is None else (last.label, last.op.law)
    return LinearLayer(position, linear, label, law, maps, mask)
