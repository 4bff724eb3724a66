"""The kernels of routines, run by the simulator, against the compiled routines of the CPU."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from routine_cases import REGISTRY, network

from resexpand import compile_routine, evaluate, kernel

HYPER = {"sigma_w2": 1.2, "sigma_b2": 0.1}
PAIR = np.array([[1.0, 0.3], [0.3, 0.8]])
RHOS = np.array([[0.2], [0.7], [1.1]])
VARIANCES = np.array([0.5, 2.0])
EPS = 2.0**-52

DEFAULT = ("erf: kernel of two inputs", "erf: response of covariance", "relu: response")
TWO_SMOOTH = ("tanh", "gelu", "silu")


def given(name):
    """Return the hyperparameters of a case, on a small grid."""
    two = "two inputs" in name or "covariance" in name
    k0 = PAIR * VARIANCES[:, None, None] if two else VARIANCES
    if "per block" in name:
        scales = {f"rho_{k}": 0.3 * k + 0.1 * RHOS for k in range(3)}
        return {**scales, "sigma_w2": 1.2, "sigma_b2": 0.1, "K0": k0}
    width = {"width": 100} if "exact moments" in name else {}
    residual = {} if "curves" in name else {"depth": 3, "rho": RHOS}
    return {**HYPER, **residual, **width, "K0": k0}


def run_cases(names):
    """Run cases (one a line) on the simulated device."""
    found = {}
    for name in names.split("\n"):
        routine = compile_routine(REGISTRY[name](), "cuda")
        values = routine(**given(name))
        assert values.target.startswith("cuda (simulator)")
        found |= {f"{name}/{output}": array for output, array in values.items()}
    return found


def on_the_cpu(names):
    """Return what the CPU gives for the same cases."""
    found = {}
    for name in names:
        values = compile_routine(REGISTRY[name]())(**given(name))
        found |= {f"{name}/{output}": array for output, array in values.items()}
    return found


def worst(found, expected):
    """Return the largest difference, relative to the largest number of its array."""
    return max(
        float(np.max(np.abs(found[name] - value)) / (np.max(np.abs(value)) or 1.0))
        for name, value in expected.items()
    )


def test_simulated_routines_agree_with_the_cpu(simulator):
    expected = on_the_cpu(DEFAULT)
    found = simulator(run_cases, names="\n".join(DEFAULT))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].shape == value.shape
        assert found[name].dtype == np.float64
    assert worst(found, expected) < 20 * EPS
    chi = found["relu: response/chi"]
    assert_array_equal(np.triu(chi, 1), 0)
    assert_array_equal(np.diagonal(chi, axis1=-2, axis2=-1), 1)


def test_control_a_wrong_coefficient_is_caught(simulator):
    name = DEFAULT[2]
    expected = on_the_cpu([name])
    wrong = {
        k: v * (1 + 1e-13 * (np.arange(v.size).reshape(v.shape) == v.size - 1))
        for k, v in expected.items()
    }
    assert worst(wrong, expected) > 20 * EPS


def run_shared():
    """Run one quadrature with one, two and four threads per point, also without a block's last."""
    from resexpand.codegen.cuda import launch

    found = {}
    routine = compile_routine(REGISTRY["tanh: kernel"](), "cuda", ["K"])
    for threads in (1, 2, 4):
        launch.MOST_SIMULATED = threads
        # The second variance is one at which the nodes are mapped, and the first is not.
        values = routine(K0=[0.5, 9.0, 1.0], depth=1, rho=0.5, **HYPER)
        found |= {f"K/{threads}": values["K"], f"error/{threads}": values.quadrature_error["K"]}
    launch.THREADS = 8
    found["K/cut"] = routine(K0=[0.5, 9.0, 1.0], depth=1, rho=0.5, **HYPER)["K"]
    return found


def test_threads_that_share_a_quadrature_find_what_one_finds(simulator):
    kinds = {"K0": [0.5, 9.0, 1.0], "depth": 1, "rho": 0.5, **HYPER}
    expected = evaluate(kernel(network("tanh")), **kinds)["K"]
    found = simulator(run_shared)
    for threads in ("1", "2", "4", "cut"):
        assert_allclose(found[f"K/{threads}"], expected, rtol=1e-15)
    assert max(found[f"error/{threads}"] for threads in (1, 2, 4)) < 1e-12


def test_small_grids_get_more_threads_per_point():
    from resexpand.codegen.cuda.shares import threads_per_point

    assert [threads_per_point(n) for n in (1, 8192, 8193, 100_000, 10**6)] == [32, 32, 16, 2, 1]


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_simulated_registry_agrees_with_the_cpu(simulator, part):
    names = [name for name in REGISTRY if not _is_long(name)][part::4]
    expected = on_the_cpu(names)
    found = simulator(run_cases, names="\n".join(names))
    apart = {name: worst(found, {name: value}) for name, value in expected.items()}
    print({name: f"{error / EPS:.2g} eps" for name, error in apart.items()})
    assert max(apart.values()) < 20 * EPS


def _is_long(name):
    """Whether the simulator would take minutes: two nested quadratures in Python."""
    two = "two inputs" in name or "covariance" in name
    return two and name.startswith((*TWO_SMOOTH, "kinked bump"))


def run_nested(activation):
    """Run the nested quadrature of two inputs at one point of one layer."""
    routine = compile_routine(kernel(network(activation), inputs=2), "cuda", ["K"])
    values = routine(K0=PAIR, depth=1, rho=0.5, **HYPER)
    return {"K": values["K"], "error": values.quadrature_error["K"]}


@pytest.mark.slow
def test_nested_quadrature_agrees_with_the_cpu(simulator):
    expected = evaluate(kernel(network("tanh"), inputs=2), K0=PAIR, depth=1, rho=0.5, **HYPER)
    found = simulator(run_nested, activation="tanh")
    assert_allclose(found["K"], expected["K"], rtol=1e-14)
    assert found["error"] < 1e-12
