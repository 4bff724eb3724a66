"""The operations by their old address."""

from resexpand.network.activation import Activation
from resexpand.network.linear import Linear

__all__ = ["Activation", "Linear"]
