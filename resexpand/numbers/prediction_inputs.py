"""Input of a prediction: data, targets, times, and the kernels of the data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resexpand.codegen.values import Values
from resexpand.errors import HyperparameterError
from resexpand.network.files import array_file
from resexpand.network.inputs import rows_of, validated_kernel
from resexpand.network.numbers import real_array
from resexpand.numbers.evaluation import evaluate
from resexpand.theory.tangent_kernel import TangentKernel

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Blocks:
    """Kernels by name: over training inputs, to the test inputs, and over these."""

    own: dict[str, Array]
    cross: dict[str, Array]
    prior: dict[str, Array]
    error: float
    problems: tuple[str, ...]
    notes: tuple[str, ...]


class Inputs:
    """Training and test inputs, as data or as their kernel at layer 0."""

    def __init__(self, train: Any, test: Any, kernel: Any, count: int) -> None:
        self.count, self.kernel = count, None
        if kernel is not None:
            if train is not None or test is not None:
                raise HyperparameterError(
                    "a prediction from inputs and K0",
                    "both give the kernel at layer 0",
                    "pass train=None and test=None with K0, or leave K0 out",
                )
            self.kernel, _ = validated_kernel(kernel, matrix=True)
            self._require(self.kernel.shape[-1] >= count, f"K0 of shape {self.kernel.shape}")
            return
        if train is None:
            raise HyperparameterError(
                "a prediction without training inputs",
                "there is nothing to train on",
                "pass train=, or K0= with the kernel at layer 0",
            )
        self.train = rows_of(train, "train")
        self._require(len(self.train) == count, f"train of shape {self.train.shape}")
        self.test = None if test is None else rows_of(test, "test")
        if self.test is not None and self.test.shape[1] != self.train.shape[1]:
            raise HyperparameterError(
                f"test of shape {self.test.shape}",
                f"the training inputs have {self.train.shape[1]} numbers each",
                f"give T x {self.train.shape[1]}",
            )

    def _require(self, fits: bool, asked: str) -> None:
        if not fits:
            raise HyperparameterError(
                f"{asked} with {self.count} targets",
                "every training input has one target, a number or a row",
                f"give {self.count} training inputs, or targets for all",
            )

    def blocks(self, theory: TangentKernel, settings: dict[str, Any], *, whole: bool) -> Blocks:
        """Evaluate the kernels; those of pairs of test inputs only if they are needed."""
        n = self.count
        if self.kernel is not None or whole or self.test is None:
            given: dict[str, Any] = (
                {"inputs": self._all()} if self.kernel is None else {"K0": self.kernel}
            )
            runs = [evaluate(theory, **given, **settings)]
            own = {k: v[..., :n, :n] for k, v in runs[0].items()}
            rest = slice(n, None) if runs[0]["NNGP"].shape[-1] > n else slice(None)
            cross = {k: v[..., rest, :n] for k, v in runs[0].items()}
            prior = {k: v[..., rest, rest] for k, v in runs[0].items()}
        else:
            runs = [
                evaluate(theory, inputs=self.train, **settings),
                evaluate(theory, inputs=self.test, others=self.train, **settings),
            ]
            own, cross, prior = dict(runs[0]), dict(runs[1]), {}
        if cross["NNGP"].ndim != 2:
            raise HyperparameterError(
                "a prediction on a grid of hyperparameters",
                "the kernel of the training inputs is one matrix",
                "give one number each, and call predict() for every point",
            )
        return Blocks(own, cross, prior, _error(runs), *_said(runs))

    def _all(self) -> Array:
        return self.train if self.test is None else np.concatenate([self.train, self.test])


def _error(runs: list[Values]) -> float:
    return max((e for values in runs for e in values.quadrature_error.values()), default=0.0)


def _said(runs: list[Values]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    said = (tuple(p for v in runs for p in getattr(v, n)) for n in ("problems", "notes"))
    problems, notes = said
    return problems, notes


def targets_of(targets: Any) -> Array:
    """Return targets as an array, one per training input in the first axis."""
    if isinstance(targets, str | os.PathLike):
        array = array_file(targets, "targets")
        return array[:, 0] if array.shape[1] == 1 else array
    array = real_array(targets, "targets")
    if array.ndim not in (1, 2) or 0 in array.shape:
        raise HyperparameterError(
            f"targets of shape {array.shape}",
            "every training input has one target, a number or a row",
            "give (n,) or (n, outputs); class_codes() makes them of classes",
        )
    return array


def times_of(time: ArrayLike | None) -> Array:
    """Return the times in one axis."""
    if time is None:
        return np.array([np.inf])
    times = real_array(time, "time", finite=False)
    if times.ndim > 1 or np.isnan(times).any() or (times < 0).any() or not times.size:
        raise HyperparameterError(
            f"time = {time}", "a time is a number >= 0, or infinity", "give one, or a list of them"
        )
    return times.reshape(-1)


def ridge_of(ridge: float) -> float:
    """Return the ridge, a number that is not negative."""
    value = real_array(ridge, "ridge")
    if value.ndim or value < 0:
        raise HyperparameterError(f"ridge = {ridge}", "it is not a number >= 0", "give one")
    return float(value)
