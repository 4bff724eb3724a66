r"""The order 1/N of residual networks at initialisation, from one principle.

`one_loop` derives it for every branch of `Linear` and `Activation` operations that ends in a
`Linear`, with normalisations in front of them, for one or several inputs.
"""

from __future__ import annotations

from resexpand.errors import DescriptionError, HyperparameterError
from resexpand.network.resnet import ResNet
from resexpand.references import REFERENCES, Citation
from resexpand.theory.kernel import kernel
from resexpand.theory.one_loop.factors import folded
from resexpand.theory.one_loop.layers import layers
from resexpand.theory.one_loop.process import LinearLayer, Process, process
from resexpand.theory.one_loop.result import OneLoop

__all__ = ["LinearLayer", "OneLoop", "Process", "one_loop"]


def one_loop(net: ResNet, inputs: int = 1) -> OneLoop:
    """Derive means and covariances of the Gram matrices to first order in 1/N.

    Weights and biases are Gaussian. Covariances and responses hold for all independent weights of
    the same variance; means and four-point functions gain terms in ``E w^4``, which `evaluate`
    adds with ``weight_kurtosis=``. `OneLoop.weight_laws` says which statement holds for which law.

    Parameters
    ----------
    net : ResNet
        The network; any hyperparameter may be symbolic. Its branch must end in a `Linear`, or in
        constant factors behind it. Maps that are linear given averages of ``x`` and ``x^2``
        (`LayerNorm`, `RMSNorm`) may stand in front of any activation or `Linear`, not behind an
        activation; of such branches there are numbers, and no formulas. Masks (`Dropout`) may
        stand directly in front of a `Linear`; factors (`Scale`) between an activation and a
        `Linear` enlarge its weight variance. Of networks with ``post_norm`` the covariance of what
        blocks add is known: for eps = 0 and bias = 0.
    inputs : int
        Number of inputs D, ``>= 1``.

    Returns
    -------
    OneLoop
        The principle and its formulas; `evaluate` turns it into numbers.

    Raises
    ------
    DescriptionError
        If `net` is no network.
    HyperparameterError
        If `inputs` is not a positive integer.
    UnsupportedError
        If the branch ends in an activation, if a map stands where its averages have no law, or if
        the stream has a factor, or a post-norm that feels its length.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet, evaluate
    >>> net = ResNet(Branch(Activation("identity"), Linear(1, 0)), scale=1, depth=1)
    >>> evaluate(one_loop(net), K0=1.0)["G_cov"]
    array([[ 2.,  4.],
           [ 4., 14.]])
    """
    if not isinstance(net, ResNet):
        raise DescriptionError(
            f"the order 1/N of {net!r}",
            f"it is of type {type(net).__name__}",
            "give ResNet(Branch(...), scale=..., depth=...)",
        )
    if not isinstance(inputs, int) or isinstance(inputs, bool) or inputs < 1:
        raise HyperparameterError(
            f"one_loop() of {inputs!r} inputs",
            "their number is not a positive integer",
            "give inputs=1, 2, ...",
        )
    net = folded(net)
    draws = process(net)
    base = kernel(net, inputs=1 if inputs == 1 else 2)
    keys = ("kawase2026",)
    return OneLoop(
        net=net,
        inputs=inputs,
        process=draws,
        kernel=base,
        layers=layers(base, draws),
        citations=(*base.citations, *(Citation(REFERENCES[key]) for key in keys)),
    )
