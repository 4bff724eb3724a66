r"""The first-order fluctuation of a network, read off its control network.

Number the linear operations a of all layers in the order of computation. Each acts on features
whose Gram matrix F_a fluctuates around its average <F_a>, and its covariance C_a = s_a F_a + t_a
carries the fluctuation on, because the law of later features depends on it. To first order in
1/sqrt(N), with the neurons u of the control network in place of the network's,

    dC_a = s_a ( [mean_i F(u_a,i) - <F_a>] + T_a dK_a ),     dK_a = sum_{c < a} M_ac^2 dC_c,

where K_a is the covariance of the argument of the features and T_a = d<F_a>/dK_a (Price), so that
dC = (1 - s T M^2)^{-1} s (F(u) - <F>): the response of all that follows is summed.

The neurons of the control network are i.i.d. with exactly the law over which the averages are
taken, so each bracket has expectation zero at every width. Terms linear in brackets may be
subtracted from C without moving its mean, whatever the coefficients; with these coefficients it
takes away all that fluctuates at first order, and the variance falls from 1/N to 1/N^2.

For the kernel the sampler uses the exact E G^l = K^0 + sum_{m <= l} rho_m^2 E C^m beside it (given
h^{l-1}, what block l adds to h is independent of h): each G^l is replaced by that sum over its
controlled C^m, which drops the fluctuation of G around it, first order and second.

Source: control variates, Glasserman, *Monte Carlo Methods in Financial Engineering* (2003), section
4.1; the fluctuation of order 1/sqrt(N) is that of the one-loop theory of this package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resexpand.errors import UnsupportedError
from resexpand.montecarlo.concrete import ConcreteNet, Law
from resexpand.montecarlo.input_kernel import triangular_root
from resexpand.montecarlo.statistics.averages import Averages, averages
from resexpand.network.linear import Linear
from resexpand.network.resnet import Branch
from resexpand.network.steps import Step as BranchStep
from resexpand.network.steps import steps_of

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Step:
    """One linear operation at infinite width, with the activation in front of it, if any.

    Attributes
    ----------
    law : (float, float)
        Weight and bias variance.
    moment, covariance : ndarray, shape (D, D)
        <F> of what it acts on, and C.
    response : Averages or None
        The averages of the activation in front.
    """

    law: Law
    moment: Floats
    covariance: Floats
    response: Averages | None

    def moved(self, features: Floats, change: Floats) -> Floats:
        """Return dC from the Gram matrices of the features and dK, shape (n, D, D)."""
        moved = change if self.response is None else self.response.moved(change)
        return self.law[0] * (features - self.moment + moved)


Block = tuple[Step, ...]


@dataclass(frozen=True, eq=False)
class FirstOrder:
    """A network at infinite width, and how fluctuations propagate there.

    Attributes
    ----------
    scales : tuple of float
        Residual scale of each block.
    kernels : tuple of ndarray, shape (D, D)
        K^0 ... K^L.
    blocks : tuple of Block
        Layers 1 ... L + 1; the last is the branch read once more.
    read_out : Step or None
        The read-out behind layer L.
    """

    scales: tuple[float, ...]
    kernels: tuple[Floats, ...]
    blocks: tuple[Block, ...]
    read_out: Step | None

    @property
    def roots(self) -> Floats:
        """Upper triangular R with R^T R = C, shape (L + 1, linears, D, D)."""
        return np.array([[triangular_root(s.covariance).T for s in b] for b in self.blocks])

    def fluctuations(self, features: Floats, read_outs: Floats) -> Floats:
        """Return dC^1 ... dC^{L+1} of n networks from the Gram matrices of their control networks.

        Parameters
        ----------
        features : ndarray, shape (n, L + 1, linears, D, D)
            Of what the linear operations of the branch act on, layers 1 ... L + 1.
        read_outs : ndarray, shape (n, L + 1, D, D)
            Of what the read-out acts on; empty if C^{L+1} of a read-out is not wanted.

        Returns
        -------
        ndarray, shape (n, L + 1, D, D)
            Of the last linear operation of each block, C^{L+1} of the read-out if there is one.
        """
        change = np.zeros_like(features[:, 0, 0])
        found = np.zeros_like(features[:, :, 0])
        for layer, (block, scale) in enumerate(zip(self.blocks, self.scales, strict=False)):
            found[:, layer] = _moved(block, features[:, layer], change)
            change = change + scale**2 * found[:, layer]
        if self.read_out is None:
            found[:, -1] = _moved(self.blocks[-1], features[:, -1], change)
        elif read_outs.size:
            found[:, -1] = self.read_out.moved(read_outs[:, -1], change)
        return found


def _moved(block: Block, features: Floats, change: Floats) -> Floats:
    """Return dC of the last linear operation of a block from dK of the stream."""
    for k, step in enumerate(block):
        change = step.moved(features[:, k], change)
    return change


def first_order(
    branch: Branch,
    net: ConcreteNet,
    start: Floats,
    head: tuple[BranchStep, ...] | None = None,
) -> FirstOrder:
    """Compute a network at infinite width from its kernel at layer 0, shape (D, D).

    The branch must end in a `Linear`; `head` are the maps in front of the read-out,
    by default those that open the branch.

    Raises
    ------
    UnsupportedError
        If a response does not exist at infinite width, or the kernel overflows there.
    """
    kernels, blocks, own = [start], [], net.laws[: len(branch.ops)]
    for scale in net.scales:
        with np.errstate(over="ignore"):
            blocks.append(_block(branch.steps, own, kernels[-1]))
            kernels.append(kernels[-1] + scale**2 * blocks[-1][-1].covariance)
        if not np.isfinite(kernels[-1]).all():
            raise UnsupportedError(
                "the control network of infinite width",
                f"its kernel exceeds float64 in layer {len(blocks)}",
                "use a smaller scale, variance or depth, or sample without control",
            )
    blocks.append(_block(branch.steps, own, kernels[-1]))
    read_out = None
    if net.read_out is not None:
        head = branch.opening if head is None else head
        ops = (*(step.op for step in head), Linear())
        laws = (*(net.laws[step.position] for step in head), net.read_out)
        (read_out,) = _block(steps_of(ops), laws, kernels[-1])
    return FirstOrder(net.scales, tuple(kernels), tuple(blocks), read_out)


def _block(ops: Sequence[BranchStep], laws: Sequence[tuple[float, ...]], kernel: Floats) -> Block:
    """Return the linear operations of a chain that reads Gaussian inputs of this kernel."""
    steps: list[Step] = []
    covariance, response = kernel, None
    for step, law in zip(ops, laws, strict=True):
        if not step.contracts:
            response = averages(step.op, covariance)
            continue
        moment = covariance if response is None else response.average
        covariance = law[0] * moment + law[1]
        steps.append(Step((law[0], law[1]), moment, covariance, response))
        response = None
    return tuple(steps)
