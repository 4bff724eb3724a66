r"""Kernels of networks with masks and coins behind the last `Linear`: all outcomes, one by one.

Masks of the neurons make a mixture of Gaussians of the stream, one for every string of their
outcomes in the blocks so far; an activation is averaged over each of them. Coins of whole blocks
leave the kernel random at infinite width: every string of them has a kernel of its own. So with
coins s and masks m, per block of residual scale rho and the covariance C of its last `Linear`,

    Sigma'_{sb,mx}  =  alpha^2 Sigma_{sm} + rho^2 b b^T x x^T C_s,    K_s = sum_m p_m Sigma_{sm},

where columns p, q of the factors ``x_p x_q`` share an outcome or have outcomes of their own, and
C_s is made of ``sum_m p_m <phi phi>_{Sigma_sm}``. This is exact at infinite width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.network.inputs import validated_kernel
from resexpand.network.linear import Linear
from resexpand.network.operation import X
from resexpand.network.positions import require_no_coupling
from resexpand.network.requirements import require_independent_layers, require_network
from resexpand.network.resnet import Branch, ResNet
from resexpand.network.values import read_values, value_of
from resexpand.numbers.evaluation import evaluate
from resexpand.theory.kernel import kernel

Array = NDArray[np.float64]
Values = Mapping[sp.Symbol, Any]
MOST_STRINGS = 2**16
UNIT = Linear(1, 0)
NOTHING = ((sp.Integer(1), sp.Integer(1)),)
"""Outcome of no noise, and its chance."""


@dataclass(frozen=True)
class NoiseAverage:
    """Moments of the kernel over masks and coins, exact up to O(1/N).

    Attributes
    ----------
    K, K_var : ndarray, shape (L+1,) or (L+1, D, D)
        Mean of the kernel, and its variance over the coins, entry by entry.
    strings : int
        Number of coin strings with a positive probability.
    components : int
        Number of Gaussians that the stream in front of the last block is a mixture of.
    """

    K: Array
    K_var: Array
    strings: int
    components: int


def noise_average(
    net: ResNet, *, K0: Any, replicas: bool = False, **hyperparameters: Any
) -> NoiseAverage:
    """Return the kernel of a network with masks or coins behind the last `Linear` of its branches.

    Parameters
    ----------
    net : ResNet
        `Dropout`, `SharedDropout`, `StochasticDepth` and `DropPath` close the branches, in any
        order and number; masks may also stand in front of a `Linear`. Any activation.
    K0 : float or array_like, shape (D, D)
        Kernel at layer 0.
    replicas : bool, optional
        Whether the D columns are draws of masks and coins of their own, whatever inputs of one
        network share; equal inputs, by ``K0=[[k, k], [k, k]]``, are two draws for one input.
    **hyperparameters : float
        One value per symbol of the network.

    Returns
    -------
    NoiseAverage
        Mean and variance of the kernel by layer, normalised by the width.

    Raises
    ------
    HyperparameterError
        If more than 2^16 outcomes must be told apart, or values are missing.
    UnsupportedError
        If coins stand elsewhere, or a branch ends in an activation.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Dropout, Linear, ResNet, noise_average
    >>> branch = Branch(Activation("tanh"), Linear(2, 0), Dropout(0.5))
    >>> found = noise_average(ResNet(branch, scale=1, depth=3), K0=[[1, 0.5], [0.5, 1]])
    >>> found.components, found.K[-1].round(4)
    (16, array([[7.0911, 1.4936],
           [1.4936, 7.0911]]))
    """
    require_network(net, "the average over masks and coins")
    require_independent_layers(net, "the average over masks and coins")
    given = read_values(net, hyperparameters, net.free_symbols)
    if not net.depth.is_Integer:
        raise HyperparameterError(
            f"noise at depth {net.depth}", "every block has its own", "give the depth as a number"
        )
    require_no_coupling(net, "the average over masks and coins")
    start = validated_kernel(K0, matrix=np.ndim(K0) > 0)[0]
    if start.ndim not in (0, 2):
        raise HyperparameterError(
            f"K0 of shape {start.shape}", "it is that of one set of inputs", "give (D, D)"
        )
    walk = _Walk(given, 1 if start.ndim == 0 else len(start), replicas)
    mixture, chances = np.reshape(start, (1, 1, walk.size, walk.size)), [np.ones(1), np.ones(1)]
    layers: list[tuple[Array, Array]] = [(mixture[:, 0], chances[0])]
    components = 1
    depth = int(net.depth)
    for number, rho in enumerate(net.scales(depth), start=1):
        components = mixture.shape[1]
        front, ending = _split(net.block(number))
        covariance = walk.covariance(front, mixture, chances[1])[:, None]
        squares = [float(value_of(s, given)) ** 2 for s in (net.skip, rho)]
        coins, masks = (walk.outcomes(ending, over) for over in ("block", "neurons"))
        if number == depth:  # of the last masks their average is all that is asked
            mixture, chances[1] = np.einsum("m,smij->sij", chances[1], mixture)[:, None], np.ones(1)
            masks = np.tensordot(masks[1], masks[0], 1)[None], np.ones(1)
        new = (coins[1], masks[1])
        _check(*(len(old) * len(fresh) for old, fresh in zip(chances, new, strict=True)))
        factors = squares[1] * coins[0][:, None, None] * masks[0]
        grown = squares[0] * mixture[:, None, :, None] + factors * covariance[:, None, :, None]
        mixture = grown.reshape(-1, mixture.shape[1] * len(masks[1]), *mixture.shape[2:])
        pairs = zip(chances, new, strict=True)
        chances = [np.outer(old, fresh).ravel() for old, fresh in pairs]
        if net.post_norm is not None:
            mixture = walk.scaled((net.post_norm,), mixture, chances[1])
        layers.append((np.einsum("m,smij->sij", chances[1], mixture), chances[0]))
    shape = start.shape
    means = [np.tensordot(p, k, 1) for k, p in layers]
    spreads = [np.tensordot(p, (k - m) ** 2, 1) for (k, p), m in zip(layers, means, strict=True)]
    K, K_var = (np.reshape(each, (depth + 1, *shape)) for each in (means, spreads))
    return NoiseAverage(K, K_var, len(chances[0]), components)


@dataclass(frozen=True)
class _Walk:
    """Values of the symbols, number of columns, and whether these have noise of their own."""

    values: Values
    size: int
    replicas: bool

    def covariance(self, ops: Sequence[Any], mixture: Array, chances: Array) -> Array:
        """Return the covariance of the last `Linear`, one per string of coins."""
        first = next(k for k, op in enumerate(ops) if op.contracts)
        norms = 0
        while norms < first and ops[norms].is_linear and not ops[norms].noise:
            norms += 1
        if norms:
            mixture = self.scaled(ops[:norms], mixture, chances)
        if norms < first:
            mixture = self._through((*ops[norms:first], UNIT), mixture)
        return self._through(ops[first:], np.einsum("m,smij->sij", chances, mixture))

    def scaled(self, ops: Sequence[Any], mixture: Array, chances: Array) -> Array:
        """Return the mixture behind maps that multiply by averages over all of it."""
        before = np.einsum("m,smij->sij", chances, mixture)
        behind = self._through((*ops, UNIT), before)
        slopes = np.sqrt(np.einsum("sii->si", behind) / np.einsum("sii->si", before))[:, None]
        return np.asarray(mixture * slopes[..., :, None] * slopes[..., None, :])

    def _through(self, ops: Sequence[Any], kernels: Array) -> Array:
        """Return second moments behind the last of some operations."""
        kept = (op.apart() if self.replicas and not op.contracts else op for op in ops)
        net = ResNet(Branch(*kept), scale=1, depth=1, skip=0)
        single = self.size == 1
        own = {s.name: self.values[s] for s in net.free_symbols}
        K0 = kernels[..., 0, 0] if single else kernels
        moments = evaluate(kernel(net, 1 if single else 2), outputs="K", K0=K0, **own)["K"]
        return np.asarray(moments[..., 1, None, None] if single else moments[..., 1, :, :])

    def outcomes(self, ops: Sequence[Any], over: str) -> tuple[Array, Array]:
        """Return products of the factors of two columns for every outcome, and its chance."""
        factors, chances = np.ones((1, self.size)), np.ones(1)
        for op in ops:
            if (op.noise[0].over if op.noise else "neurons") != over:
                continue
            shared = not self.replicas and all(noise.shared for noise in op.noise)
            table = self._table(op)
            drawn = list(product(table, repeat=1 if shared else self.size))
            own = np.array([[factor for factor, _ in each] for each in drawn])
            weights = np.array([np.prod([chance for _, chance in each]) for each in drawn])
            factors = (factors[:, None] * own).reshape(-1, self.size)
            chances = np.outer(chances, weights).ravel()
        return factors[:, :, None] * factors[:, None, :], chances

    def _table(self, op: Any) -> list[tuple[float, float]]:
        """Return what an operation multiplies by for every outcome, and its chance."""
        (symbol, outcomes), *rest = [(n.symbol, n.outcomes) for n in op.noise] or [(X, NOTHING)]
        if rest:
            raise UnsupportedError(
                f"the average over the noise of {op!r}", "it draws several numbers", "use sample()"
            )
        factor = sp.cancel(op.expression / X)
        table = [(factor.xreplace({symbol: value}), chance) for value, chance in outcomes]
        numbers = [
            tuple(float(value_of(part.xreplace(op.by_symbol), self.values)) for part in pair)
            for pair in table
        ]
        return [(f, p) for f, p in numbers if p > 0]


def _split(branch: Branch) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the operations up to the noise that closes a branch, and the others."""
    last = max(step.position for step in branch.steps if step.contracts)
    steps = branch.steps[last + 1 :]
    first = next((step.position for step in steps if step.op.noise), len(branch.ops))
    front: tuple[Any, ...] = branch.ops[:first]
    ending: tuple[Any, ...] = branch.ops[first:]
    curved = [step.op for step in steps if not step.op.is_linear]
    stray = [op for op in front for noise in getattr(op, "noise", ()) if noise.over == "block"]
    mixed = [op for op in ending if op.averages or not (op.noise or op.is_linear)]
    why = "an activation closes its branch" if curved else "it does not close its branch"
    for op in (*curved, *stray, *mixed):
        raise UnsupportedError(
            f"the average over masks and coins beside {op!r}",
            why,
            "use masks and coins behind the last Linear, or sample()",
        )
    return front, ending


def _check(strings: int, components: int) -> None:
    if strings * components > MOST_STRINGS:
        raise HyperparameterError(
            f"the average over {strings} strings of coins and {components} of masks",
            f"at most {MOST_STRINGS} are enumerated",
            "use fewer blocks, or sample()",
        )
