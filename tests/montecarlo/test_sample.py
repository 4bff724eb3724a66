"""`sample`: shapes, symbolic hyperparameters, data as input, overflow, and every bad input."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, Observable, ResNet, sample
from resexpand.errors import HyperparameterError, KernelError, StoreError, UnsupportedError
from resexpand.montecarlo.groups.inputs import Inputs
from resexpand.montecarlo.groups.jets import Jets
from resexpand.montecarlo.groups.layout import Layout
from resexpand.montecarlo.groups.paths import Paths
from resexpand.montecarlo.groups.tangents import Tangents
from resexpand.montecarlo.observables import profiles
from resexpand.montecarlo.observables.registry import OBSERVABLES, select

RHO, L = sp.Symbol("rho", real=True), sp.Symbol("L", integer=True, positive=True)
SYMBOLIC = ResNet(Branch(Activation("erf"), Linear()), scale=RHO, depth=L)
VALUES = {"rho": 0.3, "depth": 2, "sigma_w2": 1.2, "sigma_b2": 0.1}
NET = ResNet(Branch(Activation("erf"), Linear(1.2, 0.1)), scale=0.3, depth=2)
PAIR = [[1.0, 0.3], [0.3, 1.0]]
ARGUMENTS = {"observables": "kernel", "width": 12, "draws": 64, "K0": 1.0}


def bytes_of(estimates) -> bytes:
    return estimates["kernel"].moments.to_bytes()


def test_symbols_by_name_are_the_numbers() -> None:
    given = sample(SYMBOLIC, **ARGUMENTS, **VALUES)
    assert bytes_of(given) == bytes_of(sample(NET, **ARGUMENTS))
    scaled = ResNet(SYMBOLIC.branch, scale=sp.Symbol("c") / sp.sqrt(L), depth=L)
    values = {k: v for k, v in VALUES.items() if k != "rho"} | {"c": 0.3 * np.sqrt(2)}
    np.testing.assert_allclose(
        sample(scaled, **ARGUMENTS, **values)["kernel"].mean, given["kernel"].mean, rtol=1e-12
    )


@pytest.mark.parametrize("name", list(OBSERVABLES))
def test_shapes(name: str) -> None:
    pair = name == "covariance_response"
    e = sample(NET, name, width=12, draws=40, K0=PAIR if pair else 1.0)[name]
    shapes = {"residual": (2,), "output": (), "ntk": (), "ntk_layers": (4,)}
    shape = shapes.get(name, shapes.get(name.partition("_")[0], (3,)))
    assert e.mean.shape == e.stderr.shape == e.variance.shape == shape
    assert (e.n, e.width, e.depth, e.seed, e.method) == (40, 12, 2, 0, "function-space")
    assert np.isfinite(e.mean).all()


def test_shapes_of_several_inputs() -> None:
    estimates = sample(
        NET, ["kernel", "layer_covariance", "output", "output_squared"], 12, 40, K0=np.eye(3)
    )
    shapes = [e.mean.shape for e in estimates.values()]
    assert shapes == [(3, 3, 3), (3, 3, 3), (3,), (3, 3)]
    np.testing.assert_array_equal(
        estimates["kernel"].mean, np.swapaxes(estimates["kernel"].mean, 1, 2)
    )


def test_data_become_a_kernel() -> None:
    net = ResNet(NET.branch, scale=0.3, depth=2, read_in=Linear(2.0, 0.5))
    X = np.random.default_rng(1).normal(size=(2, 7))
    by_data = sample(net, "kernel", 12, 64, inputs=X)
    by_kernel = sample(NET, "kernel", 12, 64, K0=2.0 * X @ X.T / 7 + 0.5)
    np.testing.assert_allclose(by_data["kernel"].mean, by_kernel["kernel"].mean, rtol=1e-12)


def test_numpy_integers_are_whole_numbers(tmp_path) -> None:
    """A store keeps settings as JSON, which knows no kinds of integers."""
    numbers = (np.int64(12), np.uint8(50))
    found = sample(NET, "kernel", *numbers, K0=1.0, seed=np.uint64(3), store=tmp_path / "a.sqlite")
    plain = sample(NET, "kernel", 12, 50, K0=1.0, seed=3, store=tmp_path / "a.sqlite")
    assert bytes_of(found) == bytes_of(plain)


def test_settings_are_plain() -> None:
    settings = dict(sample(NET, **ARGUMENTS).settings)
    assert json.loads(json.dumps(settings))["draws"] == 64


def test_overflow_is_a_result() -> None:
    net = ResNet(Branch(Activation("relu"), Linear(1e8, 0)), scale=1e3, depth=60)
    with np.errstate(all="raise"):
        e = sample(net, "kernel", 12, 64, K0=1.0)["kernel"]
    assert "overflow" in e.flags
    assert "overflowed" in e.status
    assert np.isfinite(e.mean[:10]).all()
    assert np.isnan(e.mean[-1])


def test_deep_relu_is_a_heavy_tail() -> None:
    net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1.0, depth=200)
    assert "heavy-tail" in sample(net, "kernel", 8, 500, K0=1.0)["kernel"].flags


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"observables": "kernels"}, HyperparameterError, "'kernels'.*choose from kernel"),
        ({"observables": []}, HyperparameterError, "no observable"),
        ({"observables": 3}, HyperparameterError, "observable 3: nothing of this name"),
        ({"observables": "kernel(2)"}, HyperparameterError, "nothing of this name"),
        ({"observables": "order_profile(-1)"}, HyperparameterError, "nothing of this name"),
        ({"width": 0}, HyperparameterError, "width=0"),
        ({"width": 2.5}, HyperparameterError, "width=2.5"),
        (
            {"width": 1, "K0": PAIR},
            HyperparameterError,
            "number from 2 .*the 2 columns propagated must fit",
        ),
        ({"net": "relu"}, HyperparameterError, "sampling 'relu': not a network"),
        ({"store": 5}, HyperparameterError, "store=5: not the path of a file"),
        ({"store": "."}, StoreError, "it is a folder; name a file in it"),
        ({"store": "a\0b"}, HyperparameterError, "not the path of a file"),
        ({"progress": "bar"}, HyperparameterError, "progress='bar'"),
        ({"weights": "gausian"}, UnsupportedError, "neither the name of a law nor an expression"),
        ({"draws": 1}, HyperparameterError, "draws=1"),
        ({"draws": True}, HyperparameterError, "draws=True"),
        ({"seed": -1}, HyperparameterError, "seed=-1"),
        ({"seed": 2**64}, HyperparameterError, "seed"),
        ({"workers": 0}, HyperparameterError, "workers=0"),
        ({"method": "exact"}, UnsupportedError, "'function-space' or 'dense'"),
        ({"target": "tpu"}, UnsupportedError, "use 'cpu', 'cuda' or 'auto'"),
        ({"K0": None}, HyperparameterError, "exactly one of K0 and inputs"),
        ({"inputs": [[1.0]]}, HyperparameterError, "exactly one of K0 and inputs"),
        ({"K0": None, "inputs": [[1.0]]}, HyperparameterError, "read_in=Linear"),
        ({"K0": np.nan}, KernelError, "NaN"),
        ({"K0": "one"}, KernelError, "not an array of numbers"),
        ({"K0": -1.0}, KernelError, "never negative"),
        ({"K0": [1.0, 2.0]}, KernelError, "shape"),
        ({"K0": [[1.0, 0.2], [0.3, 1.0]]}, KernelError, "not symmetric"),
        ({"K0": [[1.0, 2.0], [2.0, 1.0]]}, KernelError, "eigenvalue"),
        ({"observables": "chi", "K0": PAIR}, UnsupportedError, "chi of 2 inputs"),
        ({"observables": "covariance_response"}, UnsupportedError, "defined for 2"),
        (
            {"rho": 0.3},
            HyperparameterError,
            "'rho': the network leaves no symbol of this",
        ),
        ({"depth": 30}, HyperparameterError, "described with depth"),
    ],
)
def test_bad_calls(changed: dict, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        sample(**{"net": NET, **ARGUMENTS, **changed})


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"rho": None}, "not a|one real number"),
        ({"rho": [0.1, 0.2]}, "one real number"),
        ({"rho": np.inf}, "not finite"),
        ({"sigma_w2": -1.0}, "must not be below 0"),
        ({"depth": 0}, "whole number"),
        ({"depth": 2.5}, "whole number"),
        ({"sigma_w": 1.0}, "'sigma_w': .* mean sigma_w2.*it takes depth, rho, sigma_b2"),
    ],
)
def test_bad_hyperparameters(changed: dict, match: str) -> None:
    with pytest.raises(HyperparameterError, match=match):
        sample(SYMBOLIC, **ARGUMENTS, **{**VALUES, **changed})


def test_missing_hyperparameters_are_listed() -> None:
    with pytest.raises(
        HyperparameterError, match=r"pass depth=\.\.\., rho=\.\.\., sigma_w2=\.\.\."
    ):
        sample(SYMBOLIC, **ARGUMENTS, sigma_b2=0.1)


@pytest.mark.parametrize(
    ("inputs", "match"),
    [([1.0, 2.0], "shape"), ([[np.nan]], "NaN"), (np.zeros((0, 3)), "shape")],
)
def test_bad_data(inputs: object, match: str) -> None:
    net = ResNet(NET.branch, scale=0.3, depth=2, read_in=Linear(2.0, 0.5))
    with pytest.raises(HyperparameterError, match=match):
        sample(net, "kernel", 12, 64, inputs=inputs)


def growth(record) -> np.ndarray:
    kernel = record.of_inputs(record.sites["states"])
    return kernel[:, -1] / kernel[:, 0]


def test_an_observable_of_the_user() -> None:
    own = Observable("growth", growth, ("states",), inputs=1)
    found = sample(NET, [own, "kernel"], 12, 64, K0=1.0)
    assert found["growth"].mean.shape == ()
    assert found.settings["observables"] == ["growth", "kernel"]
    assert 1 < float(found["growth"].mean) < 1.5
    with pytest.raises(UnsupportedError, match="growth of 2 inputs"):
        sample(NET, own, 12, 64, K0=PAIR)


def test_observables_with_parameters_are_values() -> None:
    """Asked for twice they are one; they can be sent to another process."""
    made = profiles.order_profile(3)
    assert select(["order_profile(3)", made, " order_profile(3) "], 1) == (made,)
    assert pickle.dumps(made)
    assert made != profiles.order_profile(2)


def test_columns_are_placed_as_documented() -> None:
    layout = Layout.of(1, [Jets(2), Tangents(("variance",)), Tangents(("direction",)), Jets(1)])
    assert layout.places == {Inputs: (0,), Tangents: (1, 2), Jets: (3, 4, 5)}
    assert layout.added_to.tolist() == [0, 1, 2, 4, 5]
    two = Layout.of(1, [Paths(2), Jets(2)])
    assert two.places == {Inputs: (0,), Jets: (1, 2, 5), Paths: (3, 4, 6)}
    assert two.added_to.tolist() == [0, 2, 5, 4, 6]
    assert (two.columns, two.carried) == (7, 5)


def test_import_is_light() -> None:
    import subprocess
    import sys

    code = "import sys, resexpand.montecarlo.sample; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
