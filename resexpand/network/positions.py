r"""Positions of an input, and operations that couple them.

An input may be a row of positions (pixels of a line, tokens of a text) or an image of
``rows x columns``. Every position is a column of neurons: position p of input a is column
``a P + p``, positions of an image row by row. Most operations act on each column by itself. One
that couples the columns of an input (`OverPositions`) states how the Gram matrix of all columns
changes, exactly at infinite width; for a convolution, with shifts ``S_o`` of the columns,

    K'  =  sigma_w^2 sum_o v_o S_o K S_o^T + sigma_b^2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from resexpand.errors import DescriptionError, KernelError, UnsupportedError
from resexpand.network.operation import Operation

Array = NDArray[np.float64]
Offset = tuple[int, ...]


class Placed(Operation):
    """An operation that knows the positions of a network, ``(P,)`` or ``(rows, columns)``."""

    def placed(self, positions: tuple[int, ...]) -> Self:
        """Return the operation on the positions of a network, which may be none."""
        if positions == self.positions:
            return self
        other = copy(self)
        other.__dict__["positions"] = positions
        return other

    @property
    def count(self) -> int:
        """Number P of positions of an input."""
        return math.prod(self.positions)

    @property
    def structure(self) -> str:  # type: ignore[override]
        """The positions, where they are known: ``on 16`` or ``on 4x4``."""
        return f"on {'x'.join(map(str, self.positions))}" if self.positions else ""

    @classmethod
    def of_structure(cls, structure: str, values: tuple[Any, ...], **named: Any) -> Self:
        """Return the operation of a structure and parameters; further values are ignored."""
        words, positions = read_positions(structure)
        if words:
            raise DescriptionError(
                f"{cls.kind}[{structure}]", f"{' '.join(words)} says nothing", "leave it out"
            )
        op = cls(*values[: len(cls.parameters)], **named)
        return op.placed(positions) if positions else op


class OverPositions(Placed):
    """An operation that couples the positions of every input."""

    over: ClassVar[Literal["neurons", "batch", "positions"]] = "positions"

    def placed(self, positions: tuple[int, ...]) -> Self:
        """Return the operation on the positions of a network.

        Raises
        ------
        DescriptionError
            If the network has none, or they do not fit the operation.
        """
        if not positions:
            raise DescriptionError(
                f"{self!r} in a network without positions",
                "it couples the positions of every input",
                "give positions=16, or (rows, columns), to the ResNet",
            )
        return super().placed(positions)

    def require_limit(self) -> None:
        """Refuse an operation without a limit of infinite width, by an `UnsupportedError`."""

    def at_equal_positions(self) -> Operation | None:
        """Return what it is for a column whose neighbours have the same second moment, if known.

        The second moment of a column behind it depends on those of columns alone then.
        """
        return None

    def gram(self, before: Array, at: Sequence[Array]) -> Array:
        """Return the second moments behind the operation, at infinite width.

        Parameters
        ----------
        before : ndarray, shape (..., D P, D P)
            Second moments of the columns.
        at : sequence of ndarray
            Values of its parameters, of shapes that broadcast to the leading axes.

        Returns
        -------
        ndarray, shape (..., D P, D P)
        """
        raise NotImplementedError

    def gram_moved(self, before: Array, moved: Array, at: Sequence[Array]) -> Array:
        """Return the derivative of `gram` along a change of the second moments."""
        raise NotImplementedError


def read_positions(structure: str) -> tuple[list[str], tuple[int, ...]]:
    """Return the words of a structure in front of its positions, and these.

    Raises
    ------
    DescriptionError
        If the positions are none.
    """
    words = structure.split()
    if "on" not in words:
        return words, ()
    place = words.index("on")
    shape = words[place + 1].split("x") if len(words) == place + 2 else []
    if not shape or not all(size.isdecimal() for size in shape):
        raise DescriptionError(f"positions in [{structure}]", "they are none", "write on 4x4")
    return words[:place], positions_of(tuple(map(int, shape)))


def positions_of(given: object) -> tuple[int, ...]:
    """Return the shape of an input as a tuple; empty if there is none.

    Raises
    ------
    DescriptionError
        If it is neither a positive whole number nor two of them.
    """
    if given is None:
        return ()
    sizes = tuple(given) if isinstance(given, tuple | list) else (given,)
    whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in sizes)
    if not whole or not 1 <= len(sizes) <= 2 or min(sizes) < 1:
        raise DescriptionError(
            f"positions = {given!r}",
            "an input has a number of positions, or (rows, columns)",
            "give a whole number >= 1, or two",
        )
    return tuple(map(int, sizes))


def neighbours(positions: tuple[int, ...], offset: Offset, circular: bool) -> NDArray[np.int64]:
    """Return the position at an offset from every position; P where there is none.

    Parameters
    ----------
    positions : tuple of int
        Shape of an input.
    offset : tuple of int
        One number per axis.
    circular : bool
        Whether positions go round, or the outside is empty.

    Returns
    -------
    ndarray, shape (P,)
    """
    axes = np.indices(positions)
    moved = [axis + step for axis, step in zip(axes, offset, strict=True)]
    outside = np.zeros(positions, dtype=bool)
    for axis, size in zip(moved, positions, strict=True):
        if not circular:
            outside |= (axis < 0) | (axis >= size)
    inside = [axis % size for axis, size in zip(moved, positions, strict=True)]
    flat = np.ravel_multi_index(inside, positions)
    return np.where(outside, math.prod(positions), flat).ravel()


def inputs_of(kernel: Array, count: int) -> int:
    """Return the number of inputs of a kernel over columns.

    Raises
    ------
    KernelError
        If its size is no multiple of the number P of positions.
    """
    size = kernel.shape[-1] if kernel.ndim > 1 else 1
    if size % count:
        raise KernelError(
            f"K0 of {size} columns",
            f"every input has {count} positions, and {size} is no multiple of {count}",
            f"give K0 of shape (D*{count}, D*{count}), position p of input a at a*{count} + p",
        )
    return size // count


def coupling(net: Any) -> Operation | None:
    """Return the first operation of a network that couples positions, None if none does."""
    ends = (*(net.head_ops or ()), *(op for op in (net.post_norm,) if op is not None))
    ops = (*(op for branch in net.branches for op in branch.ops), *ends)
    return next((op for op in ops if op.over == "positions"), None)


def require_no_coupling(net: Any, asked: str = "the theory of single inputs or pairs") -> None:
    """Raise the common error of theories that treat every column by itself.

    Raises
    ------
    UnsupportedError
        If an operation couples the positions of an input.
    """
    if (op := coupling(net)) is not None:
        raise positions_error(op, asked)


def positions_error(op: Operation, asked: str) -> UnsupportedError:
    """Return the common error of what treats every column by itself."""
    return UnsupportedError(
        f"{asked} of a network with {op!r}",
        "it couples the positions of an input, so that nothing is known of one or two of them",
        'use kernel(net, inputs="positions"), or sample() with K0 of shape (D*P, D*P)',
    )
