"""Responses at finite width judged against runs, optimal scales at a width, the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sympy as sp

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    cli,
    compare,
    evaluate,
    finite_response,
    optimal_scale,
    response,
    sample,
    tangent_kernel,
)
from resexpand.errors import HyperparameterError, UnsupportedError

K0, WIDTH = 0.8, 96
NET = ResNet(Branch(Activation("erf"), Linear(1.3, 0.1)), scale=0.5, depth=3)
UNIT = ResNet(Branch(Activation("erf_unit"), Linear(1, 0)), scale=1, depth=5)


@pytest.fixture(scope="module")
def run():
    names = ["kernel", "chi", "response", "tangent", "gradient", "ntk"]
    return sample(NET, names, WIDTH, 6000, K0=K0, seed=5, progress=False)


@pytest.mark.parametrize("kind", ["variance", "tangent", "gradient", "parameters"])
def test_runs_judge_means_and_deviations(run, kind: str) -> None:
    values = evaluate(finite_response(NET, kind), K0=K0, width=WIDTH)
    assert compare(values, run, resolve=0.1).verdict == "agrees"
    # A tangent responds to no variance, even where both are sampled.
    other = {"tangent": 8, "variance": 16, "gradient": 8, "parameters": 2}[kind]
    assert len(compare(values, run).rows) == other
    judged = {"tangent": ["tangent"], "variance": ["chi_0", "eta_layers"]}
    for name in judged.get(kind, ["ntk" if kind == "parameters" else kind]):
        spread = f"{name}_deviation"
        assert compare({**values, spread: 1.25 * values[spread]}, run).verdict == "disagrees"


def test_the_last_layer_alone(run) -> None:
    values = evaluate(response(NET), K0=K0, width=WIDTH, outputs=["eta_mean", "eta_deviation"])
    found = compare(values, run, resolve=0.1)
    assert found.verdict == "agrees"
    assert len(found.rows) == 2
    wrong = {"eta_mean": values["eta_mean"], "eta_deviation": 1.25 * values["eta_deviation"]}
    assert compare(wrong, run).verdict == "disagrees"


def test_another_width_is_refused(run) -> None:
    values = evaluate(response(NET), K0=K0, width=64)
    with pytest.raises(HyperparameterError, match="width"):
        compare(values, run)


def test_a_width_moves_the_optimal_scale() -> None:
    """Against the largest mean response on a fine grid of scales."""
    width = 512
    values = evaluate(optimal_scale(UNIT), K0=0.1, width=width)
    assert values["rho_shift"] / values["rho"] == pytest.approx(0.7475, abs=2e-4)
    free = ResNet(UNIT.branch, scale=sp.Symbol("rho", positive=True), depth=5)
    scales = values["rho"] + np.linspace(-0.02, 0.02, 41)
    for name, level in (
        ("rho_width", lambda v: np.log(v["eta_mean"])),
        (
            "rho_typical",
            lambda v: np.log(v["eta_mean"]) - v["eta_deviation"] ** 2 / v["eta"] ** 2 / 2,
        ),
    ):
        found = evaluate(finite_response(free), K0=0.1, rho=scales, width=width)
        fit = np.polynomial.Polynomial.fit(scales, level(found), 6)
        roots = fit.deriv().roots()
        best = roots[np.abs(roots - values["rho"]).argmin()].real
        assert values[name] == pytest.approx(best, abs=2e-5)
        assert abs(best - values["rho"]) > 5e-4


def test_optimal_scales_of_a_grid_and_without_optimum() -> None:
    values = evaluate(optimal_scale(UNIT), K0=np.array([0.1, 2.0]), width=256)
    assert values["rho_width"].shape == (2,)
    assert np.isfinite(values["rho_width"][0])
    assert np.isnan(values["rho_width"][1])
    near = evaluate(optimal_scale(UNIT), K0=0.1, width=8)
    assert np.isnan(near["rho_width"])
    assert np.isfinite(near["rho_shift"])
    assert "not valid at width 8" in near.status
    with pytest.raises(UnsupportedError, match="covariance"):
        evaluate(optimal_scale(UNIT, "covariance"), K0=0.1, width=64)


def test_commands(capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--weight-variance", "1", "--bias-variance", "0", "--K0", "0.1", "--depth", "5"]
    net = ["--rho", "0.5", "--width", "128", "--json"]
    assert cli.main(["response", *common, *net]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["results"]
    half = ResNet(UNIT.branch, scale=sp.Rational(1, 2), depth=5)
    values = evaluate(response(half), K0=0.1, width=128)
    assert answer["eta_mean"] == pytest.approx(values["eta_mean"])
    assert answer["chi_0_deviation"] == pytest.approx(list(values["chi_0_deviation"]))
    assert cli.main(["optimal-scale", *common, "--width", "128", "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["results"]
    best = evaluate(optimal_scale(UNIT), K0=0.1, width=128)
    assert answer["rho_width"] == pytest.approx(best["rho_width"])


def test_the_tangent_kernel_takes_a_width() -> None:
    values = evaluate(tangent_kernel(NET), K0=K0, width=WIDTH)
    own = evaluate(finite_response(NET, "parameters"), K0=K0, width=WIDTH)
    assert values["NTK"] == pytest.approx(own["ntk"], rel=1e-10)
    assert values["ntk_mean"] == own["ntk_mean"]
    assert values.width == WIDTH
    assert {"NTK_layers", "ntk_deviation", "relative_error"} <= set(values)
    for theory in (tangent_kernel(NET, 2), tangent_kernel(NET, trained="weights")):
        with pytest.raises(UnsupportedError, match="one input and all parameters"):
            evaluate(theory, K0=np.eye(2) if theory.inputs == 2 else K0, width=WIDTH)
