r"""Batch normalisation: every neuron is centred and scaled over the inputs of a batch.

    BN(x)_a = (x_a - m) / sqrt(v + eps),   m = (1/B) sum_a x_a,   v = (1/B) sum_a (x_a - m)^2,

at each neuron by itself, with the biased variance (Ioffe & Szegedy 2015, algorithm 1). It couples
the inputs of a batch and not the neurons, where layer normalisation does the reverse. A gain and a
shift are one number each here: write them into the activation that follows.
"""

from __future__ import annotations

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.errors import DescriptionError, HyperparameterError, KernelError, UnsupportedError
from resexpand.network.operation import Map, Operation, Parameter, X
from resexpand.network.positions import positions_error

MEAN, VARIANCE = sp.Symbol("mean", real=True), sp.Symbol("variance", positive=True)
EPS = sp.Symbol("eps", nonnegative=True)
GHOST = sp.Symbol("ghost", integer=True, nonnegative=True)
RUNNING = sp.Symbol("mode", integer=True, nonnegative=True)

CONSTANT = 1e-13
"""Share of the mean variance below which the inputs of a batch count as equal."""


class BatchNorm(Map):
    """Normalisation of every neuron over a batch of inputs.

    Parameters
    ----------
    eps : number or sympy.Expr, optional
        Added to the variance, ``>= 0``; 0 by default (PyTorch: 1e-5).
    ghost : int, optional
        Inputs that share statistics, a divisor of the batch; all of them by default.
    mode : {"train", "running"}, optional
        Whether statistics are those of the batch, or averages of training batches: of the means,
        and of the unbiased variances. See the notes.

    Raises
    ------
    DescriptionError
        If `eps` is negative, `ghost` is no whole number above 1, or there is no such mode.

    Notes
    -----
    With running statistics a kernel of exchangeable inputs stands for many training batches of its
    size, and for inputs of an evaluation. A finite number of batches is described by `ghost` and
    a kernel of ``m ghost + t`` inputs, ``0 < t < ghost``: m batches, and behind them t inputs that
    meet the averages of their m statistics. `sample` draws such networks at any width.

    References
    ----------
    Ioffe & Szegedy (2015), algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from resexpand import Activation, BatchNorm, Branch, Linear, ResNet, evaluate, kernel
    >>> net = ResNet(Branch(BatchNorm(), Activation("relu"), Linear(2, 0)), scale=1, depth=2)
    >>> evaluate(kernel(net, inputs="batch"), K0=np.eye(4))["K"][:, 0, 0].round(12)
    array([1., 2., 3.])
    """

    kind = "BatchNorm"
    parameters = (
        Parameter(EPS, minimum=0, default=0, neutral=0),
        Parameter(GHOST, minimum=0, default=None, neutral=0, words=((None, 0),)),
        Parameter(RUNNING, default="train", neutral=0, words=(("train", 0), ("running", 1))),
    )
    over = "batch"
    group = GHOST
    running = RUNNING
    unbiased = frozenset({VARIANCE})
    averages = ((MEAN, X), (VARIANCE, (X - MEAN) ** 2))
    expression = (X - MEAN) / sp.sqrt(VARIANCE + EPS)

    def __init__(self, *given: object, **named: object):
        mode = given[2] if len(given) > 2 else named.get("mode", 0)
        # Stores hold the mode as a number.
        is_scalar = isinstance(mode, str | int | float | sp.Number)
        if not is_scalar or mode not in (0, 1, "train", "running"):
            raise DescriptionError(
                f"mode = {mode!r}", "there is no such mode", 'use "train" or "running"'
            )
        super().__init__(*given, **named)
        ghost = self.values[1]
        if not getattr(ghost, "is_Integer", False) or ghost == 1:
            raise DescriptionError(
                f"ghost = {ghost}",
                "statistics are those of at least two inputs, the same number at all blocks",
                "give a whole number, or leave it out",
            )


def is_running(op: Operation) -> bool:
    """Whether the statistics of a map are those of training, not of the batch it is given."""
    return op.by_symbol.get(RUNNING) == 1


def is_plain(op: Operation) -> bool:
    """Whether statistics are those of one batch, and nothing is added to the variance."""
    return all(op.by_symbol[symbol] == 0 for symbol in (EPS, GHOST, RUNNING))


def training_inputs(op: Operation, count: int) -> int:
    """Return how many of the inputs of a kernel train, in front of those of an evaluation.

    All, unless statistics are running ones and inputs are left behind whole ghost batches.
    """
    size = int(op.by_symbol[GHOST]) or count
    return count - count % size if is_running(op) else count


def in_evaluation(op: Operation) -> Operation:
    """Return a map over a batch with running statistics; others as they are."""
    if op.over != "batch":
        return op
    pairs = zip(op.parameters, op.values, strict=True)
    return op.with_values(tuple(sp.Integer(1) if p.symbol == RUNNING else v for p, v in pairs))


def require_batch(op: Map, values: tuple[float, ...], kernel: NDArray[np.float64]) -> None:
    """Raise if a batch has no statistics to normalise by.

    Parameters
    ----------
    op : Map
        A map with averages over the batch.
    values : tuple of float
        Its parameters.
    kernel : ndarray, shape (..., B, B)
        Covariance kernel of the batch at layer 0.

    Raises
    ------
    HyperparameterError
        If the batch is one input, or its ghost batches do not divide it.
    KernelError
        If all inputs that share statistics are equal, and eps is zero.
    """
    at = dict(zip((p.symbol for p in op.parameters), values, strict=False))
    count = kernel.shape[-1]
    size = int(at.get(GHOST, 0)) or count
    if count < 2:
        raise HyperparameterError(
            f"{op!r} of one input",
            "its statistics are those of a batch of inputs",
            'give K0 of shape (B, B), or inputs of B rows; kernel(net, inputs="batch")',
        )
    trains = bool(at.get(RUNNING, 0)) and count > size
    if count % size and not trains:
        raise HyperparameterError(
            f"ghost batches of {size} in a batch of {count}",
            f"{size} does not divide {count}",
            "choose a divisor of the batch",
        )
    for first in range(0, count - count % size, size):
        block = kernel[..., first : first + size, first : first + size]
        total = np.trace(block, axis1=-2, axis2=-1)
        centred = total - block.sum(axis=(-2, -1)) / size
        if at.get(EPS, 0.0) == 0 and (centred <= CONSTANT * total).any():
            raise KernelError(
                f"{op!r} of {size} equal inputs",
                "their variance over the batch is zero, and eps too",
                "give inputs that differ, or eps > 0",
            )


def require_no_batch(op: Map, asked: str) -> None:
    """Raise the common error of theories of one input or of pairs.

    Raises
    ------
    UnsupportedError
        If a map couples the inputs of a batch, or the positions of an input.
    """
    if op.over == "positions":
        raise positions_error(op, asked)
    if op.over == "batch":
        raise UnsupportedError(
            f"{asked} of a network with {op!r}",
            "it couples all inputs of a batch, so that nothing is known of one or two of them",
            'use kernel(net, inputs="batch"), or sample() with K0 of shape (B, B)',
        )
