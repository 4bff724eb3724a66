"""Networks and rows of draws, shared by the tests of the samplers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from resexpand import ResNet
from resexpand.montecarlo.engine import Sampler, make_sampler
from resexpand.montecarlo.input_kernel import input_kernel
from resexpand.montecarlo.spec import SamplerSpec
from resexpand.montecarlo.weights.quantile import weight_law


def sampler(
    net: ResNet,
    observables: Sequence[str] | str,
    width: int,
    K0: Any = 1.0,
    method: str = "function-space",
    seed: int = 1,
    control: bool = False,
    weights: Any = "gaussian",
) -> Sampler:
    """Return the sampler of an ensemble, to look at single draws."""
    how = {"method": method, "control": control, "law": weight_law(weights)}
    kernel = input_kernel(K0, None, None)
    return make_sampler(SamplerSpec.of(net, observables, kernel, width=width, seed=seed, **how))


def draw_rows(
    net: ResNet, name: str, width: int, draws: int, first: int = 0, **options: Any
) -> np.ndarray:
    """Return one observable of networks first ... first + draws - 1, one row per network."""
    return sampler(net, name, width, **options).rows(first, draws)[name.partition("(")[0]]


@pytest.fixture(name="draw_rows")
def _draw_rows() -> Callable[..., np.ndarray]:
    return draw_rows


@pytest.fixture(name="make")
def _make() -> Callable[..., Sampler]:
    return sampler


def z_score(samples: np.ndarray, exact: Any) -> np.ndarray:
    """Return (mean - exact) / standard error along the first axis."""
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    return (samples.mean(axis=0) - exact) / error


@pytest.fixture(name="z_score")
def _z_score() -> Callable[..., np.ndarray]:
    return z_score
