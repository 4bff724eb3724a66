"""`OneLoop`: the order 1/N of a network, as one immutable object."""

from __future__ import annotations

from dataclasses import dataclass

from resexpand.network.resnet import ResNet
from resexpand.references import Citation
from resexpand.theory.one_loop.process import Process
from resexpand.theory.recursion import Recursion


@dataclass(frozen=True)
class OneLoop:
    """The order 1/N of a network.

    Attributes
    ----------
    net : ResNet
        The network.
    inputs : int
        Number of inputs D.
    process : Process
        The principle: the draws, what they read, and the matrix that mixes them.
    kernel : Recursion
        Infinite width, of one input or of a pair.
    layers : Recursion
        The same, with the response and the curvature of every draw as outputs.
    neglects : str
        Order of what is neglected.
    citations : tuple of Citation
        Where the equations stand.
    """

    net: ResNet
    inputs: int
    process: Process
    kernel: Recursion
    layers: Recursion
    neglects: str = "O(1/N^2)"
    citations: tuple[Citation, ...] = ()
