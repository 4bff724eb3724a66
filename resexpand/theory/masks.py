r"""One network with and without its masks: what training and evaluation have in common.

For one input, two draws a and b of the masks and the network t in evaluation, in which noise takes
its mean,

    K_ab   also the kernel of the network averaged over masks,
    K_at   between training and evaluation,
    K_tt   in evaluation,

``K_ab - 2 K_at + K_tt`` is the squared distance, over N, of the averaged network from the one in
evaluation: the error of weight scaling. It vanishes for linear networks.
"""

from __future__ import annotations

from dataclasses import replace

import sympy as sp

from resexpand.conventions import K0, PAIR, K
from resexpand.network.requirements import require_network
from resexpand.network.resnet import ResNet
from resexpand.theory.kernel import mean_kernel
from resexpand.theory.recursion import Output, Recursion

CROSS, TEST = sp.Symbol("K_cross", real=True), sp.Symbol("K_test", positive=True)


def weight_scaling(net: ResNet) -> Recursion:
    """Derive the kernels of one input in training and in evaluation, and the error of the latter.

    Parameters
    ----------
    net : ResNet
        A network with dropout, or other noise; any hyperparameter may be symbolic.

    Returns
    -------
    Recursion
        Outputs over the layers ``0 .. L``, normalised by the width, exact up to O(1/N): ``K``
        (2 x 2, two draws of the noise), ``K_cross`` (training and evaluation), ``K_test``
        (evaluation) and ``error``, the squared distance between the network averaged over its
        masks and the one in evaluation. With stochastic depth all are means over the coins.

    Raises
    ------
    HyperparameterError, UnsupportedError
        As `kernel`.

    References
    ----------
    Srivastava et al. (2014), where the network in evaluation stands for the average.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Dropout, Linear, ResNet, evaluate, weight_scaling
    >>> net = ResNet(Branch(Activation("relu"), Dropout(0.5), Linear(2, 0)), scale=1, depth=2)
    >>> evaluate(weight_scaling(net), K0=1.0)["K_test"]
    array([1., 2., 4.])
    """
    require_network(net, "weight scaling")
    masks = mean_kernel(net, "masks", "masks")
    test = mean_kernel(net, "test", "test")
    # The first column of both is the network in training; its mean is the same.
    names = {PAIR[0]: K, PAIR[1]: CROSS, PAIR[2]: TEST, K0: K0}
    names |= {s: sp.Symbol(f"{s.name}_test", real=True) for s in test.state[len(PAIR) + 1 :]}
    further = [
        (names.get(s, s), initial, update.xreplace(names))
        for s, initial, update in zip(test.state, test.initial, test.flat_update, strict=True)
        if names.get(s, s) not in masks.state
    ]
    symbols, initial, update = zip(*further, strict=True)
    return replace(
        masks,
        title="kernels in training and in evaluation",
        state=masks.state + symbols,
        initial=masks.initial + initial,
        update=masks.update + update,
        outputs=(
            masks.output("K"),
            Output("K_cross", "trajectory", (CROSS,), meaning="training and evaluation"),
            Output("K_test", "trajectory", (TEST,), meaning="kernel in evaluation"),
            Output(
                "error",
                "trajectory",
                (PAIR[1] - 2 * CROSS + TEST,),
                meaning="squared distance of evaluation from the average over masks",
            ),
        ),
    )
