r"""Dropout: masks that switch neurons off, and the kept ones amplified.

``y_i = xi_i x_i / keep`` with independent ``xi_i``, 1 with probability ``keep`` and 0 otherwise, so
that ``E y = x`` and ``E y^2 = x^2 / keep`` ("inverted" dropout: evaluation leaves it out).
"""

from __future__ import annotations

from typing import ClassVar

import sympy as sp

from resexpand.network.operation import Map, Noise, Parameter, X, bernoulli

KEEP = sp.Symbol("p", positive=True)
MASK = sp.Symbol("xi", nonnegative=True)


class Dropout(Map):
    """Dropout with a mask of its own for every input: one forward pass over a batch.

    Parameters
    ----------
    keep : number or sympy.Expr
        Probability that a neuron is kept, in (0, 1]; or a list of one per block.

    Raises
    ------
    DescriptionError
        If `keep` is outside (0, 1].

    References
    ----------
    Srivastava et al., JMLR 15 (2014) 1929.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Dropout, Linear, ResNet, evaluate, kernel
    >>> branch = Branch(Activation("relu"), Dropout(0.5), Linear(2, 0))
    >>> evaluate(kernel(ResNet(branch, scale=1, depth=2)), K0=1.0)["K"]
    array([1., 3., 9.])
    """

    kind = "Dropout"
    parameters = (Parameter(KEEP, "keep", above=0, maximum=1),)
    noise: ClassVar[tuple[Noise, ...]] = (Noise(MASK, bernoulli(KEEP)),)
    expression = MASK * X / KEEP


class SharedDropout(Dropout):
    """Dropout with one mask for all inputs of a network: training on one draw of the mask.

    Parameters
    ----------
    keep : number or sympy.Expr
        As `Dropout`.

    Raises
    ------
    DescriptionError
        If `keep` is outside (0, 1].

    Examples
    --------
    Equal inputs stay equal:

    >>> import numpy as np
    >>> from resexpand import Activation, Branch, Linear, ResNet, SharedDropout, evaluate, kernel
    >>> branch = Branch(Activation("relu"), SharedDropout(0.5), Linear(2, 0))
    >>> evaluate(kernel(ResNet(branch, scale=1, depth=2), 2), K0=np.ones((2, 2)))["K"][:, 0, 1]
    array([1., 3., 9.])
    """

    kind = "SharedDropout"
    noise = (Noise(MASK, bernoulli(KEEP), shared=True),)

    def apart(self) -> Dropout:
        """Return the dropout of columns that share no mask."""
        return Dropout(*self.values)
