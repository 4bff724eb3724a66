"""Generated routines against the same recursions walked through in mpmath and NumPy.

The walk below is typed again: it knows the branch ``W phi(h) + b`` and nothing of the package.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mpmath as mp
import numba
import numpy as np
import pytest
import sympy as sp
from heavier import left_to_slow
from oracles import CONDITIONAL, PHI, PLANE, SLOPE, line_average, pair_average, plane_average

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    compile_routine,
    evaluate,
    kernel,
    response,
)
from resexpand.activations import ACTIVATIONS
from resexpand.codegen.store import load
from resexpand.codegen.values import Values, overflow_problem, relative_difference
from resexpand.conventions import DEPTH, RHO
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.theory.recursion import Recursion

U = sp.Symbol("u", real=True)
HYPER = {"rho": 0.6, "sigma_w2": 1.3, "sigma_b2": 0.1}
FLOOR = 1e-14
"""Rounding of a recursion of few layers; what quadrature states comes on top."""

CUSTOM: dict[str, tuple[sp.Expr, Callable, Callable, tuple[float, ...]]] = {
    "bump": (
        U * sp.exp(-(U**2)),
        lambda x: x * mp.exp(-(x**2)),
        lambda x: x * np.exp(-(x**2)),
        (),
    ),
    "abs": (sp.Abs(U), abs, np.abs, (0.0,)),
    "shifted": (
        sp.Max(0, U - 1),
        lambda x: max(x - 1, mp.mpf(0)),
        lambda x: np.maximum(x - 1, 0.0),
        (1.0,),
    ),
    "step": (
        sp.Heaviside(U - sp.Rational(1, 2)),
        lambda x: mp.mpf(x > 0.5),
        lambda x: (x > 0.5).astype(float),
        (0.5,),
    ),
}
KINKS = {
    "relu": (0.0,),
    "leaky_relu": (0.0,),
    "sign": (0.0,),
    **{n: c[3] for n, c in CUSTOM.items()},
}
NAMES = [*ACTIVATIONS, *CUSTOM]
CONTINUOUS = [name for name in NAMES if name not in ("sign", "step")]
MORE = ["identity", "erf_unit", "leaky_relu", "silu", "sin", "abs", "bump"]


def network(name: str | sp.Expr, **fields: object) -> ResNet:
    function = CUSTOM[name][0] if name in CUSTOM else name
    given = {"scale": RHO, "depth": DEPTH, **fields}
    return ResNet(Branch(Activation(function), Linear()), **given)  # type: ignore[arg-type]


def line(name: str) -> Callable[[mp.mpf], mp.mpf]:
    return CUSTOM[name][1] if name in CUSTOM else PHI[name]


def plane(name: str) -> Callable:
    return CUSTOM[name][2] if name in CUSTOM else PLANE[name]


def walk(name: str, start: float, depth: int, factor: float = 1.0) -> tuple[list, list]:
    """``K^0 .. K^L`` and ``C^1 .. C^{L+1}`` at 25 digits; `factor` spoils the weight variance."""
    rho, w, b = (mp.mpf(HYPER[key]) for key in ("rho", "sigma_w2", "sigma_b2"))
    kernels, covariances = [mp.mpf(start)], []
    for _ in range(depth + 1):
        moment = line_average(lambda x: line(name)(x) ** 2, kernels[-1], KINKS.get(name, ()), 25)
        covariances.append(w * factor * moment + b)
        kernels.append(kernels[-1] + rho**2 * covariances[-1])
    return kernels[:-1], covariances


def within(found: np.ndarray, expected: object, stated: float = 0.0, floor: float = FLOOR) -> None:
    np.testing.assert_allclose(found, np.array(expected, dtype=float), rtol=stated + floor, atol=0)


@pytest.mark.parametrize("name", left_to_slow(NAMES, ["step", "abs", "bump"]))
def test_kernel_of_one_input(name: str) -> None:
    found = evaluate(kernel(network(name)), K0=0.8, depth=2, **HYPER)
    kernels, covariances = walk(name, 0.8, 2)
    assert found.status == "ok"
    within(found["K"], kernels, found.quadrature_error.get("K", 0.0))
    within(found["C"], covariances, found.quadrature_error.get("C", 0.0))


def test_a_wrong_coefficient_is_caught() -> None:
    found = evaluate(kernel(network("tanh")), K0=0.8, depth=2, **HYPER)
    kernels, _ = walk("tanh", 0.8, 2, factor=1 + 1e-9)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        within(found["K"], kernels, found.quadrature_error["K"])


def pair_moment(name: str, covariance: tuple[float, float, float]) -> float:
    if name in CONDITIONAL:
        return float(pair_average(name, covariance, 20))
    phi = plane(name)
    return plane_average(lambda x, y: phi(x) * phi(y), covariance, (0.0, *KINKS.get(name, ())))


@pytest.mark.parametrize(
    "name",
    left_to_slow(NAMES, [*MORE, "step", "shifted"]),
)
def test_kernel_of_two_inputs(name: str) -> None:
    start = np.array([[0.9, 0.4], [0.4, 1.5]])
    found = evaluate(kernel(network(name), inputs=2), K0=start, depth=1, **HYPER)
    first = HYPER["sigma_w2"] * pair_moment(name, (0.9, 0.4, 1.5)) + HYPER["sigma_b2"]
    k12 = 0.4 + HYPER["rho"] ** 2 * first
    diagonal = [float(walk(name, k, 1)[0][1]) for k in (0.9, 1.5)]
    second = pair_moment(name, (diagonal[0], k12, diagonal[1]))
    within(found["K"], [start, [[diagonal[0], k12], [k12, diagonal[1]]]], 1e-13)
    within(found["C"][:, 0, 1], [first, HYPER["sigma_w2"] * second + HYPER["sigma_b2"]], 1e-12)
    np.testing.assert_array_equal(found["K"], found["K"].swapaxes(-1, -2))


@pytest.mark.parametrize("name", left_to_slow(CONTINUOUS, MORE))
def test_responses_at_depth_one(name: str) -> None:
    """``chi``, ``eta`` of the tangent, and ``chi`` of the variance by a difference at 25 digits."""
    net = network(name)
    rho, w = HYPER["rho"] ** 2, HYPER["sigma_w2"]
    slope = SLOPE.get(name)
    if slope is not None:
        kernels, _ = walk(name, 0.8, 1)
        moments = [
            line_average(lambda x: slope(x) ** 2, k, KINKS.get(name, ()), 25) for k in kernels
        ]
        tangent = evaluate(response(net, "tangent"), K0=0.8, depth=1, **HYPER)
        within(tangent["chi_0"], [1, 1 + rho * w * moments[0]], 1e-13)
        within(tangent["eta"], moments[1] * (1 + rho * w * moments[0]), 1e-13)
    with mp.workdps(25):
        step = mp.mpf(10) ** -6
        ends = [walk(name, mp.mpf(0.8) + s * step, 1)[0][1] for s in (-1, 1)]
        slope_of_kernel = (ends[1] - ends[0]) / (2 * step)
    variance = evaluate(response(net), K0=0.8, depth=1, **HYPER)
    within(variance["chi"], [[1, 0], [slope_of_kernel, 1]], 1e-11)


def test_hyperparameters_broadcast_and_points_do_not_mix() -> None:
    rho, w = np.linspace(-0.7, 0.9, 7)[:, None], np.array([0.5, 1.0, 1.7])
    start = np.array([0.1, 1.0])[:, None, None]
    routine = compile_routine(kernel(network("erf")))
    grid = routine(rho=rho, sigma_w2=w, sigma_b2=0.2, K0=start, depth=4)
    assert grid["K"].shape == grid["C"].shape == (2, 7, 3, 5)
    for a, i, j in [(0, 0, 0), (1, 6, 2), (0, 3, 1)]:
        point = routine(rho=rho[i, 0], sigma_w2=w[j], sigma_b2=0.2, K0=start[a, 0, 0], depth=4)
        np.testing.assert_array_equal(grid["K"][a, i, j], point["K"])
    assert routine(rho=np.zeros(0), sigma_w2=1, sigma_b2=0, K0=1.0, depth=4)["K"].shape == (0, 5)
    np.testing.assert_array_equal(routine(K0=2.0, depth=3, **{**HYPER, "rho": 0})["K"], [2.0] * 4)


@pytest.mark.parametrize("count", [1, 31, 32, 33, 100])
def test_grids_that_do_not_fill_the_lanes(count: int) -> None:
    routine = compile_routine(kernel(network("erf")))
    rho = np.linspace(0.0, 1.0, 100)
    whole = routine(K0=0.8, depth=3, **{**HYPER, "rho": rho})["K"]
    part = routine(K0=0.8, depth=3, **{**HYPER, "rho": rho[:count]})["K"]
    np.testing.assert_array_equal(part, whole[:count])


@pytest.mark.parametrize("name", ["erf", "tanh"])
def test_threads_do_not_change_a_bit(name: str) -> None:
    before, most = numba.get_num_threads(), numba.config.NUMBA_NUM_THREADS
    routine, rho = compile_routine(kernel(network(name))), np.linspace(0.0, 1.0, 203)
    results = []
    try:
        for threads in {1, most}:
            numba.set_num_threads(threads)
            results.append(routine(K0=0.8, depth=3, **{**HYPER, "rho": rho})["K"])
    finally:
        numba.set_num_threads(before)
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_any_number_of_inputs() -> None:
    points = np.random.default_rng(7).normal(size=(4, 3))
    start = points @ points.T / 3
    recursion = kernel(network("erf"), inputs=2)
    whole = evaluate(recursion, K0=start, depth=3, **HYPER)["K"]
    assert whole.shape == (4, 4, 4)
    for a, b in [(0, 1), (2, 3), (1, 3)]:
        pair = evaluate(recursion, K0=start[np.ix_([a, b], [a, b])], depth=3, **HYPER)["K"]
        np.testing.assert_array_equal(whole[:, [a, a, b], [a, b, b]], pair[:, [0, 0, 1], [0, 1, 1]])
    alone = evaluate(recursion, K0=start[:1, :1], depth=3, **HYPER)["K"]
    single = evaluate(kernel(network("erf")), K0=start[0, 0], depth=3, **HYPER)["K"]
    np.testing.assert_allclose(alone[:, 0, 0], single, rtol=1e-14)
    order = [2, 0, 3, 1]
    moved = evaluate(recursion, K0=start[np.ix_(order, order)], depth=3, **HYPER)["K"]
    np.testing.assert_allclose(moved, whole[:, order][:, :, order], rtol=1e-14)
    grid = evaluate(recursion, K0=start, depth=3, **{**HYPER, "rho": [[0.1], [0.6]]})["K"]
    assert grid.shape == (2, 1, 4, 4, 4)
    np.testing.assert_array_equal(grid[1, 0], whole)
    responses = evaluate(response(network("erf"), "covariance"), K0=start, depth=3, **HYPER)
    assert responses["chi"].shape == (4, 4, 4, 4)
    np.testing.assert_array_equal(responses["chi"][:, 0], responses["chi_0"])


def test_a_branch_with_means_takes_any_number_of_inputs() -> None:
    net = ResNet(Branch(Linear(1.2, 0.1), Activation("relu")), scale=0.4, depth=3)
    found = evaluate(kernel(net, inputs=2), K0=np.eye(3) + 0.2)["K"]
    assert found.shape == (4, 3, 3)
    single = evaluate(kernel(net), K0=1.2)
    np.testing.assert_allclose(found[:, 1, 1], single["K"], rtol=1e-14)
    assert single["m"].shape == (4,)


def test_scales_per_block() -> None:
    a, b = sp.symbols("a b")
    net = network("erf", scale=(a, 0.2, a * b), depth=None)
    given = {"sigma_w2": 1.3, "sigma_b2": 0.1, "K0": 0.8}
    found = evaluate(kernel(net), a=[0.3, 0.5], b=[[1.0], [2.0]], **given)
    assert found["K"].shape == (2, 2, 4)
    one = compile_routine(kernel(network("erf")))
    for i, factor in enumerate((1.0, 2.0)):
        for j, first in enumerate((0.3, 0.5)):
            k = 0.8
            for layer, rho in enumerate((first, 0.2, first * factor)):
                k = one(rho=rho, sigma_w2=1.3, sigma_b2=0.1, K0=k, depth=1)["K"][1]
                assert found["K"][i, j, layer + 1] == pytest.approx(k, rel=1e-14)
    fixed = evaluate(
        kernel(network("erf", scale=(0.5, 0.2, 0.5), depth=None), inputs=2),
        **{**given, "K0": [[0.8, 0.8], [0.8, 0.8]]},
    )
    np.testing.assert_allclose(fixed["K"][:, 0, 1], found["K"][0, 1], rtol=1e-13)


def test_chosen_outputs() -> None:
    recursion = response(network("erf"))
    full = evaluate(recursion, K0=0.8, depth=3, **HYPER)
    assert set(full) == {"chi", "chi_0", "eta", "eta_layers", "K"}
    some = compile_routine(recursion, outputs=["eta", "K"])(K0=0.8, depth=3, **HYPER)
    assert set(some) == {"eta", "K"}
    for name in some:
        np.testing.assert_allclose(some[name], full[name], rtol=1e-15)
    assert full["chi"].shape == (4, 4)
    np.testing.assert_array_equal(full["chi"][:, 0], full["chi_0"])
    np.testing.assert_array_equal(np.triu(full["chi"], 1), 0)
    np.testing.assert_array_equal(np.diag(full["chi"]), 1)
    np.testing.assert_allclose(full["chi"][3, 1] * full["chi"][1, 0], full["chi"][3, 0], rtol=1e-14)
    assert full["eta"] == full["eta_layers"][-1]
    with pytest.raises(HyperparameterError, match=r"output 'zeta'.*use one of"):
        compile_routine(recursion, outputs=["zeta"])
    with pytest.raises(UnsupportedError, match="target 'abacus'"):
        compile_routine(recursion, target="abacus")  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="evaluating str"):
        evaluate("erf")  # type: ignore[arg-type]


def test_the_routine_can_be_read() -> None:
    routine = compile_routine(response(network("erf")))
    assert "\ndef advance(" in routine.source
    assert "\ndef run(" in routine.source
    assert "variance response: chi, chi_0, eta, eta_layers, K" in routine.source
    assert routine.signature == ("depth", "rho", "sigma_b2", "sigma_w2", "K0")
    assert routine.operations > 0
    assert compile_routine(response(network("erf"))) is routine


SCRIPT = """
import sympy as sp
from resexpand import Activation, Branch, Linear, ResNet, compile_routine, kernel, response
from resexpand.codegen.store import load
U = sp.Symbol("u", real=True)
for f in ("erf", "relu", "tanh", sp.Max(0, U - 1)):
    net = ResNet(Branch(Activation(f), Linear()), scale=sp.Symbol("rho"), depth=sp.Symbol("L"))
    print(compile_routine(kernel(net, inputs=2)).source)
    print(compile_routine(response(net)).source)
    print(compile_routine(response(net, "covariance")).source)
net = ResNet(Branch(Activation("erf"), Linear(1, 0)), scale=1, depth=2)
routine = compile_routine(response(net))
routine(K0=1.0)
print(sum(load(routine.source).run.stats.cache_misses.values()))
"""


def run_script(seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=Path(__file__).parents[2],
    )
    return done.stdout


def test_the_source_does_not_depend_on_the_hash_seed_and_is_compiled_once() -> None:
    first, second = run_script("1"), run_script("2")
    assert first.splitlines()[:-1] == second.splitlines()[:-1]
    assert len(first.splitlines()) > 300
    # The first process may have found it compiled or not; the second must have.
    assert second.splitlines()[-1] == "0"


def test_numbers_and_grids_share_one_compiled_loop() -> None:
    scales = [sp.Symbol(f"rho_{k}", positive=True) for k in range(2)]
    net = ResNet(Branch(Activation("relu"), Linear()), scale=scales, depth=2)
    routine = compile_routine(kernel(net))
    fixed = {"sigma_w2": 2.0, "sigma_b2": 0.1}
    column = np.array([[0.5], [0.7]])
    column.flags.writeable = False
    for shape, grid in ((), 1.0), ((3,), np.linspace(0.1, 1.0, 3)), ((2, 3), column):
        K0 = np.broadcast_to(0.5, shape)
        values = routine(rho_0=grid, rho_1=0.3, K0=K0, **fixed)
        assert values["K"].shape == (*shape, 3)
    assert len(load(routine.source).run.signatures) == 1


LARGE = [1e2, 1e4, 1e8]


@pytest.mark.parametrize("name", ["tanh", "gelu", "silu"])
def test_saturated_activations_at_large_variance(name: str) -> None:
    given = {"rho": 0.0, "sigma_w2": 1.0, "sigma_b2": 0.0, "depth": 1}
    found = evaluate(kernel(network(name)), K0=LARGE, **given)
    assert found.status == "ok"
    phi = PLANE[name]
    edges = np.array([0.0, *np.geomspace(1e-3, 1e2, 60), *np.geomspace(1e2, 9e4, 60)[1:]])
    nodes, weights = np.polynomial.legendre.leggauss(20)
    half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    x = (middle[:, None] + half[:, None] * nodes).ravel()
    for variance, moment in zip(LARGE, found["C"][:, 0], strict=True):
        density = np.exp(-(x**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        expected = (half[:, None] * weights).ravel() @ ((phi(x) ** 2 + phi(-x) ** 2) * density)
        assert moment == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "covariance",
    [
        (0.5, 6.0, 100.0),
        pytest.param((400.0, 100.0, 300.0), marks=pytest.mark.slow),
        pytest.param((90.0, 75.0, 80.0), marks=pytest.mark.slow),
    ],
)
def test_pairs_at_large_variance(covariance: tuple[float, float, float]) -> None:
    a, b, c = covariance
    given = {"rho": 0.0, "sigma_w2": 1.0, "sigma_b2": 0.0, "depth": 1}
    found = evaluate(kernel(network("tanh"), inputs=2), K0=[[a, b], [b, c]], **given)

    def inner(x: float) -> float:
        mean, spread = b / a * x, np.sqrt(c - b * b / a)
        return float(
            line_average(
                lambda z: mp.tanh(mean + spread * z),
                1,
                tuple(np.clip([-mean / spread + s for s in (-1, -0.1, 0, 0.1, 1)], -8, 8)),
                16,
            )
        )

    nodes, weights = np.polynomial.legendre.leggauss(12)
    sharp = np.sqrt(a) / max(1.0, np.sqrt(a), abs(b) / np.sqrt(a))
    edges = np.array(
        [0, *np.sqrt(a) * np.array([0.5, 1, 2, 3.5, 5.5, 9]), sharp, sharp / 3, 3 * sharp]
    )
    edges = np.unique(edges)
    half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    x = (middle[:, None] + half[:, None] * nodes).ravel()
    values = np.array([np.tanh(v) * inner(v) for v in x])
    density = np.exp(-(x**2) / (2 * a)) / np.sqrt(2 * np.pi * a)
    # tanh is odd, so both halves contribute alike.
    expected = 2 * (half[:, None] * weights).ravel() @ (values * density)
    assert found["C"][0, 0, 1] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("correlation", [0.0, 0.9, 0.999, 0.99999])
def test_the_stated_error_of_a_kinked_pair_is_honest(correlation: float) -> None:
    # <|x_1| |x_2|> is known in closed form: the first arc-cosine kernel, folded.
    given = {"rho": 0.0, "sigma_w2": 1.0, "sigma_b2": 0.0, "depth": 1}
    start = [[1.0, correlation], [correlation, 1.0]]
    found = evaluate(kernel(network("abs"), inputs=2), K0=start, **given)
    exact = 2 / np.pi * (np.sqrt(1 - correlation**2) + correlation * np.arcsin(correlation))
    error = abs(found["C"][0, 0, 1] / exact - 1)
    assert error <= found.quadrature_error.get("C", 0.0) + FLOOR


def test_a_spike_is_resolved() -> None:
    # A thousand times sharper than the distribution of its argument.
    spike = network(sp.exp(-((1000 * U) ** 2)) / (1 + U**2 / 10**6))
    found = evaluate(kernel(spike), K0=1.0, depth=1, **HYPER)
    assert found.status == "ok"
    exact = 1.3 / np.sqrt(1 + 4e6) + 0.1
    assert abs(exact / found["C"][0] - 1) <= found.quadrature_error["C"] + FLOOR


def test_quadrature_that_fails_says_so() -> None:
    # Panels end before the oscillation does.
    wave = network(sp.tanh(sp.sin(10**4 * U)))
    found = evaluate(kernel(wave), K0=1.0, depth=1, **HYPER)
    assert "the quadrature in C is only good to" in found.status


@pytest.mark.parametrize("name", ["tanh", "gelu", "abs", "erf"])
def test_a_covariance_that_vanishes_is_no_failure(name: str) -> None:
    given = {**HYPER, "sigma_b2": 0.0}
    found = evaluate(kernel(network(name), inputs=2), K0=np.eye(2), depth=2, **given)
    assert found.status == "ok"
    if name in ("tanh", "erf"):
        assert abs(found["K"][:, 0, 1]).max() < 1e-16


@pytest.mark.parametrize("name", left_to_slow([n for n in NAMES if n != "sign"], MORE))
def test_singular_kernels_of_pairs(name: str) -> None:
    recursion = kernel(network(name), inputs=2)
    starts = np.array(
        [[[1, 1], [1, 1]], [[0, 0], [0, 1]], [[0, 0], [0, 0]], [[1, 2], [2, 4]]], float
    )
    found = evaluate(recursion, K0=starts, depth=2, **HYPER)
    single = evaluate(kernel(network(name)), K0=[0.0, 1.0, 4.0], depth=2, **HYPER)["K"]
    assert np.isfinite(found["K"]).all()
    # Equal inputs stay equal.
    np.testing.assert_allclose(
        found["K"][0], np.broadcast_to(single[1, :, None, None], (3, 2, 2)), rtol=1e-11
    )
    np.testing.assert_allclose(
        found["K"][2], np.broadcast_to(single[0, :, None, None], (3, 2, 2)), rtol=1e-11
    )
    np.testing.assert_allclose(found["K"][1, :, 0, 0], single[0], rtol=1e-13)
    np.testing.assert_allclose(found["K"][3, :, 1, 1], single[2], rtol=1e-13)
    # A zero input has phi(0) for sure: <phi(0) phi(x)> = phi(0) <phi(x)>.
    zero = float(line(name)(mp.mpf(0)))
    mean = float(line_average(line(name), 1.0, KINKS.get(name, ()), 20))
    expected = HYPER["rho"] ** 2 * (HYPER["sigma_w2"] * zero * mean + HYPER["sigma_b2"])
    assert found["K"][1, 1, 0, 1] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", left_to_slow(["erf", "relu", "sin", "tanh"], ["erf", "sin"]))
def test_the_covariance_response_at_equal_inputs_is_the_tangent_response(name: str) -> None:
    pair = evaluate(response(network(name), "covariance"), K0=np.ones((2, 2)), depth=3, **HYPER)
    tangent = evaluate(response(network(name), "tangent"), K0=1.0, depth=3, **HYPER)
    # A kernel rounded by 1e-16 is off by 1e-8 in the angle between two inputs.
    np.testing.assert_allclose(pair["chi"], tangent["chi"], rtol=1e-7)
    np.testing.assert_allclose(pair["eta"], tangent["eta"], rtol=1e-7)


def test_overflow_is_reported() -> None:
    net = network("relu")
    given = {"rho": 1.0, "sigma_w2": 2.0, "sigma_b2": 0.0, "depth": 2000}
    single = evaluate(kernel(net), K0=1.0, **given)
    # K doubles in every layer: 2^1024 is the first power that is no double.
    assert "K is infinite at 977 of 2001 entries, first at index 1024" in single.status
    np.testing.assert_array_equal(single["K"][:1024], 2.0 ** np.arange(1024))
    pair = evaluate(kernel(net, inputs=2), K0=[[1, 0.5], [0.5, 1]], **given)
    assert "K is" in pair.status
    assert np.isfinite(pair["K"][:400]).all()
    grown = evaluate(response(net), K0=1.0, **given)
    assert "eta is infinite" in grown.status
    assert evaluate(kernel(net), K0=1.0, **{**given, "depth": 1000}).status == "ok"


def test_values_and_their_problems() -> None:
    values = Values({"K": np.ones(2)}, depth=1, problems=("one", "two"))
    assert values.status == "one; two"
    assert Values({}, depth=1).status == "ok"
    array = np.array([[1.0, np.inf, np.inf], [1.0, 2.0, np.inf]])
    assert overflow_problem("K", np.ones(3), True) is None
    assert "infinite at 3 of 6 entries, first at index 1" in str(overflow_problem("K", array, True))
    assert "not a number at 1 of 2" in str(overflow_problem("C", np.array([1, np.nan]), False))
    one, two = np.array([1.0, np.inf]), np.array([1.5, 1.0])
    assert relative_difference(one, two, np.array([1.0, 1.0])) == 0.5
    assert relative_difference(one[1:], two[1:], one[:1]) == 0.0


def test_every_activation_is_covered() -> None:
    assert set(NAMES) == set(ACTIVATIONS) | {"bump", "abs", "shifted", "step"}
    recursions: list[Recursion] = [kernel(network(n), inputs=i) for n in NAMES for i in (1, 2)]
    assert len(recursions) == 28


def test_a_problem_is_seen_by_who_only_looks() -> None:
    healthy = Values({"K": np.ones(2)}, 1)
    assert repr(healthy) == "<Values: depth 1, cpu, ok>\n  K  1, 1"
    ailing = Values({"K": np.ones(2)}, 1, ("K is wrong",))
    assert repr(ailing).endswith("! K is wrong")
