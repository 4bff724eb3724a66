"""Errors of the package: each says what was asked, why it cannot be, and what would work.

Every error raised on purpose derives from `ResexpandError` and from the built-in exception a
Python user would expect (`ValueError`, `TypeError`, ...), so that both ways of catching work.
"""

from __future__ import annotations


class ResexpandError(Exception):
    """Base class of all errors raised on purpose by the package.

    Parameters
    ----------
    asked : str
        The request.
    why : str
        Why it cannot be done.
    remedy : str
        A request that would work instead.
    """

    def __init__(self, asked: str, why: str = "", remedy: str = "") -> None:
        self.asked, self.why, self.remedy = asked, why, remedy
        head = f"{asked}: {why}" if why else asked
        super().__init__(f"{head}; {remedy}" if remedy else head)


class DescriptionError(ResexpandError, ValueError):
    """A network, branch or operation that cannot exist (negative variance, depth 0, ...)."""


class ExpressionError(ResexpandError, ValueError):
    """An expression text that is malformed, unsafe, or uses what is not supported."""


class HyperparameterError(ResexpandError, ValueError):
    """A hyperparameter is missing, unknown, of wrong shape, or outside its range."""


class KernelError(ResexpandError, ValueError):
    """A covariance kernel that is not symmetric positive semi-definite, or not finite."""


class UnsupportedError(ResexpandError, ValueError):
    """A combination that has a meaning but that the asked method cannot handle."""


class StoreError(ResexpandError, OSError):
    """A file or folder that cannot be read, written, or does not belong to this run."""


class WorkerError(ResexpandError, RuntimeError):
    """Workers failed: a chunk raised twice, or the executor itself is gone."""


class DeviceError(ResexpandError, RuntimeError):
    """No GPU can be used: a package, a driver or a device is missing, or too old."""


class DeviceMemoryError(ResexpandError, MemoryError):
    """The memory of a GPU does not hold even the smallest piece of the work."""


class HostMemoryError(ResexpandError, MemoryError):
    """Results that would not fit into the memory of this machine; nothing was filled."""
