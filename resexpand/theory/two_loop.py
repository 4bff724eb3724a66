r"""The order 1/N^2 of means: what `one_loop` neglects.

The Gram entry C of a layer is a functional of the empirical measure of N independent neurons. A von
Mises expansion about the law at infinite width gives its mean to every order from the derivatives
along mixtures with one neuron more, ``C(t, s) = b^2 + sigma^2 [(1 - t - s) V(K) + t f(u) + s
f(v)]``, ``f = phi^2``, u and v independent paths through the layers:

    E C = C_0 + c_1/N + c_2/N^2 + O(1/N^3),  c_1 = [t^2] E C,  c_2 = [t^3] E C + [t^2 s^2] E C/2.

Averages of products of Taylor coefficients close on finitely many functions of u and v, layer by
layer (`resexpand.numbers.two_loop`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from resexpand.errors import UnsupportedError
from resexpand.expressions.shown import Card, Tabled
from resexpand.network.requirements import require_no_noise
from resexpand.network.resnet import ResNet
from resexpand.references import Citation
from resexpand.theory.one_loop import OneLoop, one_loop


@dataclass(frozen=True, repr=False)
class TwoLoop(Tabled):
    """Means of a network to order 1/N^2, evaluated by `resexpand.evaluate`.

    Attributes
    ----------
    net : ResNet
        The network.
    one_loop : OneLoop
        The order 1/N.
    neglects : str
        Order of what is neglected.
    citations : tuple of Citation
        Where the equations stand.
    """

    net: ResNet
    one_loop: OneLoop
    neglects: str = "O(1/N^3)"
    citations: tuple[Citation, ...] = ()

    inputs: ClassVar[int] = 1
    takes_width: ClassVar[bool] = True

    def card(self) -> Card:
        """Return what it says about itself."""
        return Card(
            "TwoLoop: means to order 1/N^2",
            (
                ("network", repr(self.net)),
                ("neglects", self.neglects),
                ("next", "evaluate(..., K0=..., width=...)"),
            ),
        )


def two_loop(net: ResNet) -> TwoLoop:
    """Derive the means of kernel and covariances of one input to order 1/N^2.

    Parameters
    ----------
    net : ResNet
        The network, of blocks ``W phi(h) + b`` with one smooth activation and independent Gaussian
        weights; constant factors may stand in front of it. Hyperparameters may be symbolic.

    Returns
    -------
    TwoLoop
        Evaluate it. Arrays of shape ``grid + (L + 1,)``:

        - ``K``, ``C``: infinite width, of layers ``0 .. L`` and ``1 .. L + 1``, as `one_loop` has
          them;
        - ``K_mean``, ``C_mean``: coefficients of 1/N of ``E G^l`` and ``E C^l``; ``K_mean_2``,
          ``C_mean_2``: of ``1/N^2``.

        With ``width`` the means ``K_width`` and ``C_width`` at this width, all three orders
        together, and ``neglected``, the relative size of the last of them in ``C_width``. The order
        1/N^2 of a variance response is the derivative of ``K_mean_2`` by ``K0``.

    Raises
    ------
    UnsupportedError
        If a block is none of these, or draws masks: of activations with kinks the terms at the
        kinks are not known.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet, evaluate, two_loop
    >>> net = ResNet(Branch(Activation("tanh"), Linear(1, 0)), scale=0.5, depth=2)
    >>> print(evaluate(two_loop(net), K0=1.0, width=16)["C_mean_2"].round(5))
    [ 0.      -0.00167 -0.00481]
    """
    theory = one_loop(net)
    draws, asked = theory.process.draws, f"the order 1/N^2 of {net!r}"
    require_no_noise(net.branch.steps, asked)
    if theory.process.probe is not None and not net.shapes.of_block:
        raise UnsupportedError(
            asked,
            f"its read-out reads {[*net.head_ops] if net.head_ops else 'the stream'}, not what the "
            "Linear() of a further block would",
            "leave read_out out, which changes no K, or let it read what the block reads",
        )
    if len(draws) != 1 or draws[0].averages or theory.process.post is not None:
        raise UnsupportedError(
            asked,
            "it is derived for blocks with one linear operation and without normalisation",
            "take Branch(Activation(...), Linear(...)), or one_loop()",
        )
    law = draws[0].law
    if law is not None and not law.is_smooth:
        raise UnsupportedError(
            asked,
            f"{law.name} is not smooth, and what its kinks add to this order is not known",
            "take a smooth activation, or one_loop()",
        )
    return TwoLoop(net, theory, citations=theory.citations)
