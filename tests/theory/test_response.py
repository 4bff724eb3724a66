"""Responses are derivatives of the kernel recursion, for every activation, kind and branch.

The recursion is walked in mpmath and differentiated by differences there: nothing here knows
Price's theorem, and averages of two variables are done exactly in the second of them.
"""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from oracles import CONDITIONAL, PHI, PLANE, SLOPE, line_average, pair_average, plane_average
from uncompiled import evaluate

from resexpand import Activation, Branch, Linear, ResNet, response
from resexpand.activations import ACTIVATIONS
from resexpand.errors import HyperparameterError, UnsupportedError

RHO, W, B, W2, B2 = (mp.mpf(x) for x in ("0.5", "1.25", "0.125", "0.75", "0.0625"))
BRANCHES = ("AL", "LAL", "L", "LA")


def case(name: str, branch: str) -> object:
    """Every activation in the usual branch; in the others all of them only where there is time."""
    quick = branch in ("AL", "L") or name == "relu" or (name, branch) == ("tanh", "LAL")
    return pytest.param(name, branch, marks=[] if quick else [pytest.mark.slow])


CASES = [
    case(name, branch)
    for name in ACTIVATIONS
    for branch in BRANCHES
    if branch != "L" or name == "identity"
]
BREAKS = {"relu": (0.0,), "leaky_relu": (0.0,), "sign": (0.0,)}
DIGITS = 30


def network(name: str, branch: str) -> ResNet:
    first, second = Linear(1.25, 0.125), Linear(0.75, 0.0625)
    ops = {
        "AL": (Activation(name), first),
        "LAL": (first, Activation(name), second),
        "L": (first,),
        "LA": (first, Activation(name)),
    }
    return ResNet(Branch(*ops[branch]), scale=0.5, depth=2)


def square(name: str, k: mp.mpf) -> mp.mpf:
    return line_average(lambda x: PHI[name](x) ** 2, k, BREAKS.get(name, ()), DIGITS)


def mean(name: str, k: mp.mpf) -> mp.mpf:
    return line_average(PHI[name], k, BREAKS.get(name, ()), DIGITS)


def walk_variance(name: str, branch: str, start: mp.mpf) -> list[mp.mpf]:
    k, m, kernels = start, mp.mpf(0), [start]
    for _ in range(2):
        if branch == "AL":
            step, drift = W * square(name, k) + B, mp.mpf(0)
        elif branch == "LAL":
            step, drift = W2 * square(name, W * k + B) + B2, mp.mpf(0)
        elif branch == "L":
            step, drift = W * k + B, mp.mpf(0)
        else:
            step, drift = square(name, W * k + B), mean(name, W * k + B)
        k, m = k + RHO**2 * step + 2 * RHO * m * drift, m + RHO * drift
        kernels.append(k)
    return kernels


@pytest.mark.parametrize(("name", "branch"), CASES)
def test_variance_response(name: str, branch: str) -> None:
    found = evaluate(response(network(name, branch)), K0=0.75)
    with mp.workdps(DIGITS):
        start, h = mp.mpf("0.75"), mp.mpf(10) ** -8
        up, down = (walk_variance(name, branch, start + s * h) for s in (1, -1))
        expected = [(a - b) / (2 * h) for a, b in zip(up, down, strict=True)]
        ends = [square(name, k[-1]) if branch == "AL" else k[-1] for k in (up, down)]
        eta = (ends[0] - ends[1]) / (2 * h)
    np.testing.assert_allclose(found["chi_0"], [float(x) for x in expected], rtol=1e-12)
    np.testing.assert_allclose(found["chi"][:, 0], found["chi_0"], rtol=1e-14)
    assert found["eta"] == pytest.approx(float(eta), rel=1e-11, abs=1e-14)


def pair(name: str, covariance: tuple[mp.mpf, mp.mpf, mp.mpf]) -> mp.mpf:
    if name in CONDITIONAL:
        return pair_average(name, covariance, 20)
    phi = PLANE[name]
    entries = tuple(float(x) for x in covariance)
    return mp.mpf(plane_average(lambda x, y: phi(x) * phi(y), entries))


def walk_covariance(name: str, branch: str, start: mp.mpf) -> mp.mpf:
    """``K_12`` at depth 1 for ``K_11 = 0.75, K_22 = 1.5``."""
    first = [mp.mpf("0.75"), start, mp.mpf("1.5")]
    inner = [W * k + B for k in first]
    if branch == "AL":
        step = W * pair(name, tuple(first)) + B
    elif branch == "LAL":
        step = W2 * pair(name, tuple(inner)) + B2
    elif branch == "L":
        step = inner[1]
    else:
        step = pair(name, tuple(inner))
    return start + RHO**2 * step


@pytest.mark.parametrize(("name", "branch"), CASES)
def test_covariance_response(name: str, branch: str) -> None:
    found = evaluate(response(network(name, branch), "covariance"), K0=[[0.75, 0.25], [0.25, 1.5]])
    exact = name in CONDITIONAL
    with mp.workdps(DIGITS):
        h = mp.mpf(10) ** (-3 if exact else -2)
        values = [walk_covariance(name, branch, mp.mpf("0.25") + s * h) for s in (-2, -1, 1, 2)]
        expected = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
    assert found["chi"][1, 0] == pytest.approx(float(expected), rel=1e-12 if exact else 1e-7)
    np.testing.assert_allclose(
        found["chi"][2, 1] * found["chi"][1, 0], found["chi"][2, 0], rtol=1e-13
    )
    np.testing.assert_allclose(found["chi_0"], found["chi"][:, 0], rtol=1e-13)


@pytest.mark.parametrize(("name", "branch"), [c for c in CASES if c.values[0] in SLOPE])
def test_tangent_response(name: str, branch: str) -> None:
    """The squared norm of a tangent grows by the average of the squared slopes it meets."""
    found = evaluate(response(network(name, branch), "tangent"), K0=0.75)
    with mp.workdps(DIGITS):
        kernels = walk_variance(name, branch, mp.mpf("0.75"))

        def slopes(k: mp.mpf) -> mp.mpf:
            return line_average(lambda x: SLOPE[name](x) ** 2, k, BREAKS.get(name, ()), DIGITS)

        growth = {
            "AL": lambda k: W * slopes(k),
            "LAL": lambda k: W * W2 * slopes(W * k + B),
            "L": lambda k: W,
            "LA": lambda k: W * slopes(W * k + B),
        }[branch]
        expected = [mp.mpf(1)]
        for k in kernels[:-1]:
            expected.append(expected[-1] * (1 + RHO**2 * growth(k)))
        amplitude = slopes(kernels[-1]) if branch == "AL" else 1
    np.testing.assert_allclose(found["chi_0"], [float(x) for x in expected], rtol=1e-13)
    assert found["eta"] == pytest.approx(float(amplitude * expected[-1]), rel=1e-13)


def test_what_has_no_response() -> None:
    with pytest.raises(HyperparameterError, match="kind 'angle': it is unknown; use one of"):
        response(network("erf", "AL"), "angle")  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="an activation without jumps has it"):
        evaluate(response(network("sign", "AL"), "tangent"), K0=1.0)


def test_sign_has_no_variance_response_but_one_of_covariance() -> None:
    net = network("sign", "AL")
    assert evaluate(response(net), K0=1.0)["eta"] == 0
    pairs = evaluate(response(net, "covariance"), K0=[[1, 0.5], [0.5, 1]])
    # d/dK12 (2/pi) arcsin K12 = (2/pi) / sqrt(1 - K12^2)
    expected = 1 + 0.25 * 1.25 * 2 / np.pi / np.sqrt(0.75)
    assert pairs["chi"][1, 0] == pytest.approx(expected, rel=1e-14)
    singular = evaluate(response(net, "covariance"), K0=[[1, 1], [1, 1]])
    assert "infinite" in singular.status


def test_every_case_is_covered() -> None:
    assert set(PHI) == set(ACTIVATIONS)
    assert {str(s) for s in response(network("erf", "LA")).state} == {"K", "m", "chi_K", "chi_m"}
    titles = [
        response(network("erf", "AL"), kind).title for kind in ("variance", "covariance", "tangent")
    ]
    assert titles == ["variance response", "covariance response", "tangent response"]
    assert response(network("erf", "AL"), "tangent").state[-1] == sp.Symbol("chi_K", real=True)
