r"""Gradients of an exchangeable batch at infinite width, on the way back through every block.

With ``p_a`` the derivative of the sum of the outputs of the batch by the state of input a,
``P_11 = N E p_a^2`` and ``P_12 = N E p_a p_b`` travel back through

    Linear        P -> sigma_w^2 P
    an activation P_11 -> <phi'(x_1)^2> P_11,   P_12 -> <phi'(x_1) phi'(x_2)> P_12
    psi(BN(u))    P_11 - P_12 -> (kappa_B alpha + tau_B beta) / (K_11 - K_12),   the sum over b of
                  P_ab -> 0;   alpha = P_11 - P_12,  beta = P_11 + (B-1) P_12.

The last line is the Jacobian ``sqrt(B)/|Gu| (G - t t^T) D``, ``G = 1 - 11^T/B``, t the unit vector
along Gu and D the diagonal matrix of psi': direction and length of Gu are independent, ``E |Gu|^-2
= 1/((K_11 - K_12) (B - 3))``, and with averages over the sphere

    kappa_B = B (A_1 - A_2) / (B - 3),        A_1 = E psi'(u_1)^2 (1 - 1/B - u_1^2/B),
    tau_B = B (A_1/(B-1) + A_2) / (B - 3),    A_2 = -E psi'(u_1) psi'(u_2) (1 + u_1 u_2)/B.

For B <= 3 the mean is infinite, for B <= 5 the variance of a sampled gradient.

Source: derived here; without skip connections, Yang et al. (2019).
"""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from resexpand.conventions import PAIR
from resexpand.errors import UnsupportedError
from resexpand.gaussian.expectation import pair_moment, slope_moment
from resexpand.network.steps import Step
from resexpand.theory.batch import BatchRecursion, BatchSignal, Normalised
from resexpand.theory.hyperparameters import Hyperparameters
from resexpand.theory.recursion import Output

SIZE = sp.Symbol("B", positive=True, integer=True)
FACTORS = "J"
"""Output with the matrices of the blocks, and of the read-out at the end."""


def with_gradients(base: BatchRecursion) -> BatchRecursion:
    """Return the kernel recursion of a batch with what takes gradients back.

    Statistics are those of one batch, without eps (`resexpand.network.batch_norm.is_plain`).
    """
    net = base.net
    hyper = Hyperparameters(net, dict(base.bindings), dict(base.layer_bindings))
    rho, skip = hyper.scale(), hyper.skip()
    stream = BatchSignal(base.state, [])
    block = _back(hyper, net.branch.steps, stream)
    own = skip**2 * sp.eye(2) + rho**2 * block
    amplitude = sp.Integer(1) if net.read_out is None else hyper.variances(net.read_out, "_out")[0]
    end = amplitude * _back(hyper, net.head, stream)
    back = Output(
        FACTORS,
        "layer",
        tuple(own),
        at_end=tuple(end),
        vector=True,
        meaning="matrix of a block that takes P_11 and P_12 back, row by row; then the read-out's",
    )
    used = set().union(*(e.free_symbols for e in (*own, *end))) | set(dict(base.bindings))
    bindings = {s: value for s, value in hyper.bindings.items() if s in used}
    opened = [s for stage in base.stages for s in (stage.centred, stage.common)]
    bindings |= {s: s for s in (SIZE, *opened) if s in used}
    return replace(
        base,
        title="gradients of an exchangeable batch",
        outputs=(back, base.output("K")),
        bindings=tuple(bindings.items()),
    )


def _back(hyper: Hyperparameters, steps: tuple[Step, ...], stream: BatchSignal) -> sp.Matrix:
    """Return the matrix that takes ``(P_11, P_12)`` back through some operations."""
    product = sp.eye(2)
    signal: BatchSignal | Normalised = stream
    for step in steps:
        if step.contracts:
            weight, bias = hyper.variances(step.op, step.suffix)
            factor = sp.eye(2) * weight
            moments = tuple(weight * moment + bias for moment in signal.moments)
            out: BatchSignal | Normalised = signal.contracted(moments)
        else:
            out = signal.mapped(step, hyper.of_step(step))
            factor = _of_map(step, signal, out)
        product, signal = product * factor, out
    return product


def _of_map(
    step: Step, signal: BatchSignal | Normalised, out: BatchSignal | Normalised
) -> sp.Matrix:
    if isinstance(signal, Normalised):
        return sp.eye(2)
    if isinstance(out, Normalised):
        stage = out.stage
        centred = sp.Matrix([[1, -1]]) * stage.centred
        common = sp.Matrix([[1, SIZE - 1]]) * stage.common
        return sp.Matrix([SIZE - 1, -1]) / SIZE * (centred + common) / stage.spread
    return sp.diag(*_slopes(step, signal, out))


def _slopes(step: Step, before: BatchSignal, behind: BatchSignal) -> tuple[sp.Expr, sp.Expr]:
    """Return what a map multiplies the entries of gradients by."""
    own, pair = before.moments[:2]
    if step.label is not None:
        both = pair_moment(step.label, PAIR).diff(PAIR[1])
        at = dict(zip(PAIR, (own, pair, own), strict=True))
        return slope_moment(step.label, own), both.xreplace(at)
    if not step.op.is_linear:
        raise UnsupportedError(
            f"gradients at infinite width through {step.op!r}",
            "it states no law of its averages",
            'use Activation() of an expression in x alone; kernel(net, inputs="batch") takes it',
        )
    square = behind.moments[0] / own
    return square, square
