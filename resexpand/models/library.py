"""PyTorch, loaded when a model is looked at: the package works without it."""

from __future__ import annotations

from typing import Any

from resexpand.errors import UnsupportedError


def torch_for(asked: str) -> Any:
    """Return the module ``torch``.

    Parameters
    ----------
    asked : str
        What it is needed for.

    Raises
    ------
    UnsupportedError
        If it is not installed.
    """
    try:
        import torch
    except ImportError:
        raise UnsupportedError(
            asked, "PyTorch is not installed", "pip install 'resexpand[torch]'"
        ) from None
    return torch
