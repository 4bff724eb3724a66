"""Cumulants of the output against exact ones and sampled outputs; the examples of the room run."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest

from resexpand import Activation, Branch, Linear, ResNet, evaluate, exact_moments, sample
from resexpand.errors import UnsupportedError
from resexpand.montecarlo.statistics.cumulants import output_cumulants

LINEAR = ResNet(Branch(Linear(1.3, 0.2)), scale=0.5, depth=3, read_out=Linear(0.9, 0.3))


def test_exact_cumulants_of_a_linear_network() -> None:
    """Forty runs: deviations from the exact cumulants, in their errors, are standard normal."""
    values = evaluate(exact_moments(LINEAR), K0=0.8, N=10)
    mean, variance = (np.asarray(values[name])[-1] for name in ("C_mean", "C_var"))
    exact = (mean, 3 * variance, 3 * variance / mean**2)
    scores, off = [], []
    for seed in range(40):
        run = sample(LINEAR, "output_variance", 10, 4000, K0=0.8, seed=seed)["output_variance"]
        found = output_cumulants(run)
        for k, value in enumerate(exact):
            scores.append((found[2 * k] - value) / found[2 * k + 1])
            off.append((found[2 * k] - 1.2 * value) / found[2 * k + 1])
    assert np.abs(np.mean(scores)) < 0.4
    assert 0.75 < np.std(scores) < 1.25
    assert np.abs(np.mean(off)) > 1


def test_sampled_outputs_have_these_cumulants(draw_rows) -> None:
    net = ResNet(Branch(Activation("erf"), Linear(1.4, 0.3)), scale=1.0, depth=3)
    y = draw_rows(net, "output", 6, 60_000)
    found = output_cumulants(sample(net, "output_variance", 6, 4000, K0=1.0)["output_variance"])
    second, fourth = np.mean(y**2), np.mean(y**4)
    error = np.std(y**4 - 6 * second * y**2) / np.sqrt(len(y))
    z = (fourth - 3 * second**2 - found.fourth) / np.hypot(error, found.fourth_stderr)
    assert abs(z) < 4
    assert found.fourth > 10 * found.fourth_stderr
    assert abs((second - found.second) / np.hypot(np.std(y**2) / 245, found.second_stderr)) < 4


def test_several_inputs_and_other_estimates() -> None:
    run = sample(LINEAR, ["output_variance", "kernel"], 10, 500, K0=np.diag([0.8, 0.2]))
    assert output_cumulants(run["output_variance"]).excess_kurtosis.shape == (2,)
    with pytest.raises(UnsupportedError, match="output_variance"):
        output_cumulants(run["kernel"])


@pytest.mark.parametrize(
    "name", ["observables.observable", "statistics.histogram", "statistics.cumulants"]
)
def test_examples_run(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"resexpand.montecarlo.{name}"))
    assert found.attempted > 3
    assert found.failed == 0
