"""resexpand: derive, compile, sample and judge the theory of deep residual networks.

Names are loaded when they are first used, so that ``import resexpand`` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resexpand.network.ops import Activation, Linear
    from resexpand.network.resnet import Branch, ResNet

__version__ = "0.1.0"

_HOMES = {
    "Activation": "resexpand.network.ops",
    "Linear": "resexpand.network.ops",
    "Branch": "resexpand.network.resnet",
    "ResNet": "resexpand.network.resnet",
}

__all__ = ["Activation", "Branch", "Linear", "ResNet", "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
