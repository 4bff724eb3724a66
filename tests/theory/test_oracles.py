"""The formula sheet of mean-field theory, typed again and walked through the layers in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sympy as sp
from uncompiled import evaluate

from resexpand import Activation, Branch, Linear, ResNet, kernel, response
from resexpand.conventions import DEPTH, RHO

W, B, SCALE, LAYERS = 1.4, 0.07, 0.55, 6
GIVEN = {"rho": SCALE, "sigma_w2": W, "sigma_b2": B, "depth": LAYERS}
SLOPES = {"erf": 1.0, "erf_unit": np.sqrt(np.pi) / 2}


def network(name: str, **fields: object) -> ResNet:
    return ResNet(Branch(Activation(name), Linear()), scale=RHO, depth=DEPTH, **fields)  # type: ignore[arg-type]


def arcsine(name: str) -> dict[str, Callable]:
    q = 2 * SLOPES[name] ** 2
    return {
        "V": lambda k: 2 / np.pi * np.arcsin(q * k / (1 + q * k)),
        "V'": lambda k: 2 * q / np.pi / ((1 + q * k) * np.sqrt(1 + 2 * q * k)),
        "pair": lambda a, b, c: 2 / np.pi * np.arcsin(q * b / np.sqrt((1 + q * a) * (1 + q * c))),
        "slopes": lambda a, b, c: 2 * q / np.pi / np.sqrt((1 + q * a) * (1 + q * c) - q**2 * b**2),
    }


def arccosine() -> dict[str, Callable]:
    def angle(a: float, b: float, c: float) -> float:
        return float(np.arccos(b / np.sqrt(a * c)))

    def pair(a: float, b: float, c: float) -> float:
        t = angle(a, b, c)
        return float(np.sqrt(a * c) / (2 * np.pi) * (np.sin(t) + (np.pi - t) * np.cos(t)))

    return {
        "V": lambda k: k / 2,
        "V'": lambda k: 0.5,
        "pair": pair,
        "slopes": lambda a, b, c: (np.pi - angle(a, b, c)) / (2 * np.pi),
    }


ORACLE = {"erf": arcsine("erf"), "erf_unit": arcsine("erf_unit"), "relu": arccosine()}


def variances(name: str, start: float) -> tuple[np.ndarray, np.ndarray]:
    kernels, covariances = [start], []
    for _ in range(LAYERS):
        covariances.append(W * ORACLE[name]["V"](kernels[-1]) + B)
        kernels.append(kernels[-1] + SCALE**2 * covariances[-1])
    covariances.append(W * ORACLE[name]["V"](kernels[-1]) + B)
    return np.array(kernels), np.array(covariances)


@pytest.mark.parametrize("name", ORACLE)
def test_kernel_and_covariance(name: str) -> None:
    found = evaluate(kernel(network(name)), K0=0.6, **GIVEN)
    kernels, covariances = variances(name, 0.6)
    np.testing.assert_allclose(found["K"], kernels, rtol=1e-14)
    np.testing.assert_allclose(found["C"], covariances, rtol=1e-14)


@pytest.mark.parametrize("name", ORACLE)
def test_variance_response_is_a_product(name: str) -> None:
    found = evaluate(response(network(name)), K0=0.6, **GIVEN)
    kernels, _ = variances(name, 0.6)
    factors = np.array([1 + SCALE**2 * W * ORACLE[name]["V'"](k) for k in kernels[:-1]])
    for layer in range(LAYERS + 1):
        for start in range(LAYERS + 1):
            expected = np.prod(factors[start:layer]) if start <= layer else 0.0
            assert found["chi"][layer, start] == pytest.approx(expected, rel=1e-14)
    etas = [ORACLE[name]["V'"](k) * np.prod(factors[:n]) for n, k in enumerate(kernels)]
    np.testing.assert_allclose(found["eta_layers"], etas, rtol=1e-14)
    assert found["eta"] == pytest.approx(etas[-1], rel=1e-14)


@pytest.mark.parametrize("name", ORACLE)
def test_covariance_and_tangent_response_are_products(name: str) -> None:
    a, b, c = 0.6, -0.25, 1.1
    found = evaluate(response(network(name), "covariance"), K0=[[a, b], [b, c]], **GIVEN)
    first, last = variances(name, a)[0], variances(name, c)[0]
    growth, k12 = [1.0], b
    for k11, k22 in zip(first[:-1], last[:-1], strict=True):
        growth.append(growth[-1] * (1 + SCALE**2 * W * ORACLE[name]["slopes"](k11, k12, k22)))
        k12 += SCALE**2 * (W * ORACLE[name]["pair"](k11, k12, k22) + B)
    np.testing.assert_allclose(found["chi_0"], growth, rtol=1e-13)
    np.testing.assert_allclose(found["K"][-1, 0, 1], k12, rtol=1e-13)
    eta = ORACLE[name]["slopes"](first[-1], k12, last[-1]) * growth[-1]
    assert found["eta"] == pytest.approx(eta, rel=1e-13)

    tangent = evaluate(response(network(name), "tangent"), K0=a, **GIVEN)
    norms = np.cumprod([1 + SCALE**2 * W * ORACLE[name]["slopes"](k, k, k) for k in first[:-1]])
    np.testing.assert_allclose(tangent["chi_0"][1:], norms, rtol=1e-13)


def test_a_wrong_formula_is_noticed() -> None:
    # V' with the factor q forgotten: right for no activation.
    found = evaluate(response(network("erf")), K0=0.6, **GIVEN)
    kernels, _ = variances("erf", 0.6)
    wrong = np.prod([1 + SCALE**2 * W * ORACLE["erf"]["V'"](k) / 2 for k in kernels[:-1]])
    assert found["chi"][-1, 0] != pytest.approx(wrong, rel=1e-3)


def test_read_out() -> None:
    net = network("erf", read_out=[Activation("erf"), Linear(2.5, 0.3)])
    kernels, _ = variances("erf", 0.6)
    found = evaluate(kernel(net), K0=0.6, **GIVEN)
    assert found["C"][-1] == pytest.approx(2.5 * ORACLE["erf"]["V"](kernels[-1]) + 0.3, rel=1e-14)
    np.testing.assert_allclose(found["C"][:-1], variances("erf", 0.6)[1][:-1], rtol=1e-14)
    plain = evaluate(response(network("erf")), K0=0.6, **GIVEN)
    with_out = evaluate(response(net), K0=0.6, **GIVEN)
    assert with_out["eta"] == pytest.approx(2.5 * plain["eta"], rel=1e-14)


def test_relu_between_two_linears_grows_by_one_factor() -> None:
    # h + rho V relu(W h) without bias: every second moment grows by 1 + rho^2 s_v s_w / 2.
    net = ResNet(Branch(Linear(1.5, 0), Activation("relu"), Linear(0.8, 0)), scale=0.7, depth=5)
    factor = 1 + 0.49 * 1.5 * 0.8 / 2
    found = evaluate(kernel(net), K0=2.0)
    np.testing.assert_allclose(found["K"], 2 * factor ** np.arange(6), rtol=1e-14)
    np.testing.assert_allclose(evaluate(response(net), K0=2.0)["chi_0"], factor ** np.arange(6))


def test_a_linear_branch_of_numbers() -> None:
    net = ResNet(Branch(Linear(1.5, 0.2)), scale=0.7, depth=5)
    k = [2.0]
    for _ in range(5):
        k.append(k[-1] + 0.49 * (1.5 * k[-1] + 0.2))
    np.testing.assert_allclose(evaluate(kernel(net), K0=2.0)["K"], k, rtol=1e-14)


def test_a_stream_with_a_mean() -> None:
    # h + rho relu(W h), K0 normalised; u ~ N(0, s_w K): <relu> = sqrt(s_w K / 2 pi).
    net = ResNet(Branch(Linear(1.5, 0), Activation("relu")), scale=0.7, depth=4)
    found = evaluate(kernel(net), K0=2.0)
    k, m = [2.0], [0.0]
    for _ in range(4):
        mean, square = np.sqrt(1.5 * k[-1] / (2 * np.pi)), 1.5 * k[-1] / 2
        k.append(k[-1] + 0.49 * square + 2 * 0.7 * m[-1] * mean)
        m.append(m[-1] + 0.7 * mean)
    np.testing.assert_allclose(found["K"], k, rtol=1e-14)
    np.testing.assert_allclose(found["m"], m, rtol=1e-14)


def test_second_derivative_of_the_variance() -> None:
    q, k = sp.pi / 2, sp.Symbol("K", positive=True)
    moment = Activation("erf_unit").law.variance
    assert moment is not None
    first = 2 * q / sp.pi / ((1 + q * k) * sp.sqrt(1 + 2 * q * k))
    second = -q * first * (1 / (1 + q * k) + 1 / (1 + 2 * q * k))
    assert sp.simplify(sp.diff(first, k) - second) == 0
