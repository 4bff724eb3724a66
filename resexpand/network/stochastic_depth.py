r"""Stochastic depth: blocks that are left out at random.

``x -> b x / survival`` with one coin b for all neurons of a block, 1 with probability ``survival``
and 0 otherwise. As the last operation of a branch it leaves out the block.
"""

from __future__ import annotations

from typing import ClassVar

import sympy as sp

from resexpand.network.operation import Map, Noise, Parameter, X, bernoulli
from resexpand.network.positions import Placed

SURVIVAL = sp.Symbol("q", positive=True)
COIN = sp.Symbol("b", nonnegative=True)


class StochasticDepth(Map):
    """Stochastic depth with one coin per block for all inputs (the whole batch).

    Parameters
    ----------
    survival : number or sympy.Expr
        Probability that the block acts, in (0, 1]; or a list of one per block.

    Raises
    ------
    DescriptionError
        If `survival` is outside (0, 1].

    Notes
    -----
    The kernel of such a network is random at infinite width. `kernel` gives its mean over the coins
    where the recursion of the mean closes, `noise_average` by enumeration elsewhere.

    References
    ----------
    Huang, Sun, Liu, Sedra & Weinberger, ECCV (2016), arXiv:1603.09382.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet, StochasticDepth, evaluate, kernel
    >>> branch = Branch(Activation("relu"), Linear(2, 0), StochasticDepth(0.5))
    >>> found = evaluate(kernel(ResNet(branch, scale=1, depth=2)), K0=1.0)
    >>> found["K"], found["K_var"]
    (array([1., 3., 9.]), array([ 0.,  4., 88.]))
    """

    kind = "StochasticDepth"
    parameters = (Parameter(SURVIVAL, "survival", above=0, maximum=1),)
    noise: ClassVar[tuple[Noise, ...]] = (Noise(COIN, bernoulli(SURVIVAL), "block", shared=True),)
    expression = COIN * X / SURVIVAL

    def apart(self) -> StochasticDepth:
        """Return the stochastic depth of columns that share no coin."""
        return DropPath(*self.values)


class DropPath(Placed, StochasticDepth):
    """Stochastic depth with a coin of its own for every input; for one input `StochasticDepth`.

    All positions of an input share its coin.

    Parameters
    ----------
    survival : number or sympy.Expr
        As `StochasticDepth`.

    Raises
    ------
    DescriptionError
        If `survival` is outside (0, 1].
    """

    kind = "DropPath"
    noise = (Noise(COIN, bernoulli(SURVIVAL), "block"),)
