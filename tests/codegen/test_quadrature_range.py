"""Averages over two inputs keep their value wherever the kernels are doubles.

A saturating activation tends to a sign, whose average is an arcsine; silu to a rectifier. In a sum
the compiler may multiply two kernels first, and their product is no double beyond 1e154; and panels
must see a jump at zero whose scale is far below that of the inputs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from heavier import left_to_slow

from resexpand import Activation, Branch, Linear, ResNet, evaluate, kernel, response
from resexpand.codegen import quadrature
from resexpand.codegen.routine import _compiled

LARGE = [1e25, 1e40, 1e60, 1e140, 1e155, 1e300]
SIGNS = ["tanh", "atan(x)", "x/sqrt(1 + x**2)"]
CORRELATIONS = [0.5, 0.0, 0.999, 1 - 1e-9, -1 + 1e-9]


def ratio(activation: str, size: float, correlation: float, second: float = 1.0) -> float:
    """Return C_12/C_11 of inputs of variances `size` and `second**2 * size`."""
    net = ResNet(Branch(Activation(activation), Linear(1, 0)), scale=1, depth=1)
    start = size * np.array([[1.0, second * correlation], [second * correlation, second**2]])
    values = evaluate(kernel(net, inputs=2), K0=start, outputs="C")
    assert values.status == "ok"
    return float(values["C"][0, 0, 1] / values["C"][0, 0, 0])


@pytest.mark.parametrize("activation", left_to_slow(SIGNS, SIGNS[1:]))
@pytest.mark.parametrize("second", [1.0, 2.0])
def test_saturated_activations_are_signs(activation: str, second: float) -> None:
    for correlation in CORRELATIONS:
        right = 2 / math.pi * math.asin(correlation)
        for size in LARGE:
            found = ratio(activation, size, correlation, second)
            assert abs(found - right) < 1e-11, (size, correlation)


def test_silu_is_a_rectifier() -> None:
    angle = math.acos(0.5)
    right = (math.sin(angle) + (math.pi - angle) * 0.5) / math.pi
    for size in LARGE:
        assert abs(ratio("silu", size, 0.5) - right) < 1e-12


def test_panels_that_ignore_the_jump_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    pair, stop = quadrature._pair, "panel_smoothed_stop(start, reach, a, b, c, edges, points)"

    def ignoring(*given: Any) -> list[str]:
        texts = pair(*given)
        assert stop in texts[-1]
        return [
            text.replace(stop, "panel_line_stop(start, reach, 0.0, a, edges)") for text in texts
        ]

    monkeypatch.setattr(quadrature, "_pair", ignoring)
    _compiled.cache_clear()
    try:
        found = ratio("tanh", 1e140, 1 - 1e-9)
    finally:
        _compiled.cache_clear()
    assert abs(found - 2 / math.pi * math.asin(1 - 1e-9)) > 1e-6


def test_small_kernels_are_linear() -> None:
    for size in (1e-300, 1e-200, 1e-20):
        assert abs(ratio("tanh", size, 0.5) - 0.5) < 1e-12


@pytest.mark.parametrize(
    ("activation", "integral"),
    [("tanh", 4 / 3), ("1/(1 + exp(-x))", 1 / 6), ("x/(1 + Abs(x))", 2 / 3)],
)
def test_tangents_see_what_is_narrow_beside_the_inputs(activation: str, integral: float) -> None:
    net = ResNet(Branch(Activation(activation), Linear(1, 0)), scale=1, skip=0, depth=1)
    sizes = 10.0 ** np.array([28, 30, 60, 100, 200, 300])
    values = evaluate(response(net, "tangent"), K0=sizes, outputs="chi_0")
    assert values.status == "ok"
    right = integral / np.sqrt(2 * math.pi * sizes)
    np.testing.assert_allclose(values["chi_0"][:, 1], right, rtol=1e-12)
    assert abs(values["chi_0"][0, 1] / right[1] - 1) > 1


def test_many_inputs_see_what_is_narrow_beside_them() -> None:
    rows = np.random.default_rng(1).normal(size=(3, 5))
    steep = Activation("1/(1 + exp(-50*(x - 1)))")
    net = ResNet(Branch(steep, Linear(1, 0)), scale=1, skip=0, depth=1)
    for size in (1e3, 1e8):
        gram = size * (rows @ rows.T) / 5
        many = evaluate(response(net, "covariance"), K0=gram, outputs="chi_0")
        pair = evaluate(response(net, "covariance"), K0=gram[:2, :2], outputs="chi_0")
        assert many["chi_0"][1, 0, 1] == pytest.approx(pair["chi_0"][1], rel=1e-10)
        # The slope of a step, averaged over two inputs that it is narrow beside.
        density = 1 / (2 * math.pi * math.sqrt(np.linalg.det(gram[:2, :2])))
        assert pair["chi_0"][1] == pytest.approx(density, rel=20 / size)


def test_a_kink_that_is_smooth_on_a_small_scale_has_its_digits() -> None:
    rows = np.random.default_rng(1).normal(size=(3, 5))
    gram = rows @ rows.T / 5
    soft, hard = (
        kernel(ResNet(Branch(Activation(a), Linear(1, 0)), scale=1, depth=1), inputs=2)
        for a in ("sqrt(x**2 + 1/1000000)", "Abs(x)")
    )
    many = evaluate(soft, K0=gram, outputs="C")
    pair = evaluate(soft, K0=gram[:2, :2], outputs="C")["C"][0]
    assert many.status == "ok"
    np.testing.assert_allclose(many["C"][0, :2, :2], pair, rtol=1e-11)
    other = evaluate(hard, K0=gram[:2, :2], outputs="C")["C"][0]
    assert abs(many["C"][0, 0, 1] - other[0, 1]) > 1e-9
