"""Synthetic estimates: Gaussian sample means with a known truth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Fake:
    """The attributes of an estimate that a comparison reads."""

    name: str
    mean: NDArray[np.float64]
    stderr: NDArray[np.float64]
    variance: NDArray[np.float64]
    n: int = 1000
    width: int = 1000
    status: str = "ok"
    flags: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    method: str = "function-space"

    def but(self, **changes: object) -> Fake:
        return replace(self, **changes)  # type: ignore[arg-type]


def drawn(
    name: str,
    truth: ArrayLike,
    v: ArrayLike,
    rng: np.random.Generator | None = None,
    *,
    width: int = 1000,
    n: int = 1000,
    seeds: tuple[int, ...] = (),
) -> Fake:
    """A sample mean of `truth` whose single draw has relative variance `v/width`.

    Without a generator the mean is the truth itself.
    """
    truth = np.asarray(truth, dtype=float)
    variance = truth**2 * np.asarray(v, dtype=float) / width
    stderr = np.sqrt(variance / n)
    noise = 0.0 if rng is None else stderr * rng.standard_normal(truth.shape)
    return Fake(name, truth + noise, stderr, variance, n=n, width=width, seeds=seeds)
