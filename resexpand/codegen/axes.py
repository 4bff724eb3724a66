"""Names of the axes of the arrays that a theory returns.

Hyperparameters given as arrays broadcast to a grid, whose axes come first and are named after the
hyperparameters; layers, inputs and orders follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resexpand.conventions import is_on_device
from resexpand.network.quantities import quantity_of
from resexpand.theory.recursion import Recursion

Array = NDArray[np.float64]

TRAILING = {"inputs": 2, "others": 2, "dK0": 2}
"""Hyperparameters whose last axes are no axes of a grid."""

UNUSUAL = {"kurtosis": 0, "four_point": 0, "K_layers": 2}
"""Axes of layers of theories that are no recursions, where they have not the usual one."""

LAYER_AXES = {"final": 0, "trajectory": 1, "layer": 1, "propagator": 2}


@dataclass(frozen=True, eq=False)
class Axes:
    """Meaning of the axes of the arrays of one evaluation.

    Attributes
    ----------
    grid : tuple of str
        A name per axis of the grid: the hyperparameter that varies along it, or ``grid_0``.
    varied : mapping of str to ndarray
        Hyperparameters that were given as arrays; they broadcast to the grid.
    layers : mapping of str to int
        Number of axes of layers by array, where the theory states it.
    """

    grid: tuple[str, ...] = ()
    varied: Mapping[str, Array] = field(default_factory=dict)
    layers: Mapping[str, int] = field(default_factory=dict)

    def of(self, name: str, axes: int) -> tuple[str, ...]:
        """Return a name per axis of an array.

        Parameters
        ----------
        name : str
            Key of the array.
        axes : int
            Number of its axes.
        """
        inner = axes - len(self.grid)
        pairs = name.endswith("_cov")
        # What is read off the last layer alone is a number.
        layers = min(self.layers.get(name, UNUSUAL.get(name, 1 + pairs)), inner)
        rest = inner - layers
        if pairs and layers == 2:
            once = ("layer", *inner_dims(name, rest // 2))
            return (*self.grid, *once, *(f"{dim}_b" for dim in once))
        return (*self.grid, *("layer", "other_layer")[:layers], *inner_dims(name, rest))


def axes_of(theory: object, hyperparameters: Mapping[str, Any]) -> Axes:
    """Return the meaning of the axes of what `evaluate` returns for these hyperparameters.

    Parameters
    ----------
    theory : object
        What was evaluated.
    hyperparameters : mapping
        By name, as they were given.
    """
    sizes = grid_axes(theory, hyperparameters)
    grid = max(0, *sizes.values()) if sizes else 0
    varied = {
        name: np.asarray(value, dtype=float)
        for name, value in hyperparameters.items()
        if 0 < sizes[name] == np.ndim(value) and not is_on_device(value)
    }
    layers = dict(getattr(theory, "layer_axes", {}))
    if isinstance(theory, Recursion):
        layers = {o.name: LAYER_AXES[o.kind] for o in theory.outputs}
    return Axes(tuple(_grid_name(axis, grid, varied) for axis in range(grid)), varied, layers)


def grid_axes(theory: object, hyperparameters: Mapping[str, Any]) -> dict[str, int]:
    """Return how many axes of every hyperparameter are axes of the grid; not above 0 if none is."""
    trailing = TRAILING | ({"K0": 2} if getattr(theory, "inputs", 1) != 1 else {})
    return {n: np.ndim(value) - trailing.get(n, 0) for n, value in hyperparameters.items()}


def _grid_name(axis: int, grid: int, varied: Mapping[str, Array]) -> str:
    """Return the first hyperparameter that varies along an axis alone."""
    for name, array in varied.items():
        before = grid - array.ndim
        if [k + before for k, size in enumerate(array.shape) if size > 1] == [axis]:
            return name
    return f"grid_{axis}"


def inner_dims(name: str, axes: int) -> tuple[str, ...]:
    """Return a name per axis behind the layers of an array: its inputs or its orders."""
    if axes > 2:
        return tuple(f"{name}_{k}" for k in range(axes))
    kind = "order" if quantity_of(name).lowest == 0 else "input"
    return (kind, f"other_{kind}")[:axes]
