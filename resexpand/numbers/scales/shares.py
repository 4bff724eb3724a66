"""The basis in which the orders of a network are counted."""

from __future__ import annotations

from resexpand.errors import UnsupportedError
from resexpand.network.resnet import ResNet
from resexpand.theory.order_profile import Basis, order_profile
from resexpand.theory.recursion import Recursion

BASES: tuple[Basis, ...] = ("taylor", "paths", "chaos")
"""Powers of the scale where activations are smooth, else paths, else degrees in the weights."""


def profile_of(net: ResNet, order: int) -> Recursion:
    """Derive the order profile in the first basis that the network has.

    Raises
    ------
    UnsupportedError
        If it has none, with the reason of the first.
    """
    first: UnsupportedError | None = None
    for basis in BASES:
        try:
            return order_profile(net, order, basis, remainder=True)
        except UnsupportedError as error:
            first = first or error
    assert first is not None
    raise first
