"""Theories of one width are judged at that width: means, standard deviations, variances."""

from __future__ import annotations

import math

import numpy as np
import pytest
from synthetic import drawn

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    compare,
    evaluate,
    exact_moments,
    kernel,
    one_loop,
    sample,
)
from resexpand.agreement.finite_width import Spread
from resexpand.errors import HyperparameterError
from resexpand.montecarlo.statistics.estimate import Estimate, Estimates
from resexpand.montecarlo.statistics.moments import Moments

NAMES = ["kernel", "layer_covariance"]
LINEAR = ResNet(Branch(Linear(1.2, 0.1)), scale=0.4, depth=3)
ERF = ResNet(Branch(Activation("erf_unit"), Linear(1, 0)), scale=0.6, depth=6)
PAIR = np.array([[0.3, 0.1], [0.1, 0.5]])
WIDTH = 128


@pytest.fixture(scope="module")
def run() -> Estimates:
    return sample(ERF, NAMES, WIDTH, 12_000, K0=0.3, seed=2, control="infinite-width")


@pytest.fixture(scope="module")
def linear() -> Estimates:
    return sample(LINEAR, NAMES, 16, 20_000, K0=0.7, seed=4)


def test_the_order_one_over_width_is_judged(run: Estimates) -> None:
    values = evaluate(one_loop(ERF), K0=0.3, width=WIDTH)
    found = compare(values, run)
    assert found.verdict == "agrees", str(found)
    assert set(found.z) == {"K_width", "C_width", "K_deviation", "C_deviation"}
    # The shift is resolved: the infinite-width kernel at its place is caught.
    shifted = type(values)({**values, "K_width": values["K"]}, values.depth)
    assert compare(shifted, run).verdict == "disagrees"
    for key, factor in (("K_width", 1.01), ("C_width", 0.99), ("K_deviation", 1.2)):
        assert compare({**values, key: values[key] * factor}, run).verdict == "disagrees", key


def test_without_a_width_it_is_taken_at_that_of_the_run(run: Estimates) -> None:
    at = compare(evaluate(one_loop(ERF), K0=0.3, width=WIDTH), run)
    free = compare(evaluate(one_loop(ERF), K0=0.3), run)
    assert str(free) == str(at)


def test_what_it_neglects_covers_the_next_order() -> None:
    """At width 16 the next order is seen, and its size is that which is stated."""
    narrow = sample(ERF, NAMES, 16, 300_000, K0=0.3, seed=8, control="infinite-width")
    values = evaluate(one_loop(ERF), K0=0.3, width=16)
    means = {key: values[key] for key in ("K_width", "C_width")}
    assert compare(means, narrow, neglected=0).verdict == "disagrees"
    found = compare(values, narrow)
    assert found.verdict != "disagrees", str(found)
    budget = found.budget["K_width"].neglected
    assert np.all(budget <= values["relative_error"] ** 2 * values["K"])


def test_two_inputs() -> None:
    pair = sample(ERF, NAMES, WIDTH, 4000, K0=PAIR, seed=6, control="infinite-width")
    values = evaluate(one_loop(ERF, inputs=2), K0=PAIR, width=WIDTH)
    found = compare(values, pair)
    assert found.verdict != "disagrees", str(found)
    assert found.z["K_width"].shape == (7, 2, 2)
    moved = {**values, "K_width": values["K_width"] + 0.01}
    assert compare(moved, pair).verdict == "disagrees"


@pytest.mark.parametrize("net", [LINEAR], ids=["linear"])
def test_exact_moments_neglect_nothing(net: ResNet, linear: Estimates) -> None:
    values = evaluate(exact_moments(net), K0=0.7, width=16)
    found = compare(values, linear)
    assert found.verdict == "agrees", str(found)
    assert set(found.z) == {"G_mean", "G_var", "C_mean", "C_var"}
    assert all(np.all(part.neglected == 0) for part in found.budget.values())
    for key, factor in (("G_mean", 1.05), ("G_var", 1.3), ("C_mean", 0.95), ("C_var", 1.4)):
        assert compare({**values, key: values[key] * factor}, linear).verdict == "disagrees", key
    named = compare(values, linear, names={"C_var": "layer_covariance"})
    assert list(named.z) == ["C_var"]
    assert named.verdict != "disagrees"


def test_the_coefficient_and_the_exact_mean_are_told_apart(linear: Estimates) -> None:
    """`C_mean` is a coefficient of 1/N in one theory, and the mean in the other."""
    coefficient = {"C_mean": np.zeros(4)}
    with pytest.raises(HyperparameterError, match="no theory key has an estimate"):
        compare(coefficient, linear)


def test_another_width_is_refused(run: Estimates, linear: Estimates) -> None:
    with pytest.raises(HyperparameterError, match=f"evaluate it with width={WIDTH}"):
        compare(dict(evaluate(one_loop(ERF), K0=0.3, width=64)), run)
    with pytest.raises(HyperparameterError, match="evaluate it with width=16"):
        compare(evaluate(exact_moments(LINEAR), K0=0.7, N=32), linear)
    several = [{"kernel": drawn("kernel", np.ones(7), 2.0, width=n, seeds=(n,))} for n in (64, 128)]
    for width in ({}, {"width": 64}):
        values = evaluate(one_loop(ERF), K0=0.3, **width)
        with pytest.raises(HyperparameterError, match="belongs to one width"):
            compare(values, several)
    infinite = evaluate(kernel(ERF), K0=0.3)
    assert compare(infinite, run, names={"K": "kernel"}, resolve=0.1).verdict == "agrees"


def test_beyond_validity_nothing_is_judged() -> None:
    values = evaluate(one_loop(ERF), K0=0.3, width=4)
    assert np.isnan(values["K_width"]).any()
    fake = drawn("kernel", values["K"], 2.0, width=4)
    assert compare(values, {"kernel": fake}).verdict != "agrees"


@pytest.mark.parametrize("kind", ["variance", "deviation"])
def test_the_error_of_a_spread(kind: str) -> None:
    """Normal draws: the standard error and the scatter of many runs agree."""
    rng, runs, n = np.random.default_rng(3), 4000, 400
    moments = Moments.of(2.0 + 0.1 * rng.standard_normal((n, runs)))
    spread = Spread.of(Estimate("kernel", moments, 8, 0), kind)
    truth = 0.01 if kind == "variance" else 0.1
    z = (spread.mean - truth) / spread.stderr
    assert abs(float(np.std(z)) - 1) < 0.1
    # Squares of normal draws have skewness sqrt(8) and kurtosis 15.
    assert float(np.median(spread.shape.lean)) == pytest.approx(math.sqrt(8 / n), rel=0.1)
    assert float(np.median(spread.shape.freedom)) == pytest.approx(n / 7, rel=0.1)
