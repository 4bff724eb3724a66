"""Only what is asked for is computed, and what does not fit into memory is refused."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    Dropout,
    Linear,
    ResNet,
    evaluate,
    exact_moments,
    gradient_moments,
    kernel,
    one_loop,
    optimal_scale,
    order_profile,
    response,
    tangent_kernel,
    weight_scaling,
)
from resexpand.codegen import memory
from resexpand.errors import HostMemoryError, HyperparameterError, UnsupportedError

RELU = ResNet(Branch(Activation("relu"), Linear(1.5, 0)), scale=0.3, depth=4)
LINEAR = ResNet(Branch(Activation("identity"), Linear(1, 0)), scale=0.5, depth=3)
ERF = ResNet(Branch(Activation("erf"), Linear(1.5, 0.1)), scale=sp.Symbol("rho"), depth=5)
MASKED = ResNet(Branch(Activation("relu"), Dropout(0.5), Linear(2, 0)), scale=1, depth=2)
BATCHED = ResNet(Branch(BatchNorm(), Activation("relu"), Linear(2, 0)), scale=1, depth=2)
ALIKE = 0.8 * np.eye(4) + 0.2
DEEP = ResNet(RELU.branch, scale=0.3, depth=2, read_in=Linear(1, 0), read_out=Linear(1, 0))

THEORIES = {
    "kernel": (kernel(RELU), ["C"], {}),
    "gradients": (gradient_moments(RELU), ["gradient"], {}),
    "kernel of gradients": (gradient_moments(RELU), ["K"], {}),
    "gradients at a width": (gradient_moments(RELU), ["ratio_mean"], {"width": 100}),
    "response at a width": (response(RELU), ["eta_deviation"], {"width": 100}),
    "tangent kernel": (tangent_kernel(DEEP), ["NTK"], {"K0": ALIKE}),
    "masks": (weight_scaling(MASKED), ["error"], {}),
    "batch": (kernel(BATCHED, "batch"), ["C"], {"K0": ALIKE}),
    "gradients of a batch": (gradient_moments(BATCHED), ["gradient"], {"K0": ALIKE}),
    "kernel of gradients of a batch": (gradient_moments(BATCHED), ["K"], {"K0": ALIKE}),
    "response": (response(RELU), ["eta", "chi_0"], {}),
    "one_loop": (one_loop(RELU), ["C_cov", "K_width", "log_mean"], {"width": 100}),
    "optimal_scale": (optimal_scale(ERF), ["c"], {}),
    "exact_moments": (exact_moments(LINEAR), None, {"width": 16}),
    "order_profile": (
        order_profile(LINEAR, 2),
        ["profile"],
        {},
    ),
}


@pytest.mark.parametrize("name", THEORIES)
def test_chosen_outputs_are_the_same_numbers(name):
    theory, names, given = THEORIES[name]
    given = {"K0": 0.1, **given}
    full = evaluate(theory, **given)
    names = names or list(full)[:1]
    some = evaluate(theory, outputs=names, **given)
    assert set(some) == set(names) < set(full)
    for output in names:
        np.testing.assert_array_equal(some[output], full[output])


@pytest.mark.parametrize("name", THEORIES)
@pytest.mark.parametrize("outputs", ["nothing", ["K", 3], [], 7])
def test_unknown_outputs_are_named(name, outputs):
    with pytest.raises(HyperparameterError, match="output"):
        evaluate(THEORIES[name][0], outputs=outputs, **{"K0": 0.1, **THEORIES[name][2]})


@pytest.mark.parametrize("outputs", [None, "gradient", ["K", "gradient"]])
def test_gradients_of_a_small_batch_that_is_not_exchangeable_are_refused(outputs):
    with pytest.raises(UnsupportedError, match="more than 5 inputs that are independent"):
        evaluate(gradient_moments(BATCHED), K0=np.diag([1.0, 2, 3, 4]), outputs=outputs)


def test_what_does_not_fit_is_refused_before_it_is_filled(monkeypatch):
    deep = ResNet(Branch(Activation("relu"), Linear(1.5, 0)), scale=0.01, depth=40_000)
    monkeypatch.setattr(memory, "available_bytes", lambda: 8e9)
    with pytest.raises(HostMemoryError, match=r"12\.8 GB .* 8 GB are free"):
        evaluate(response(deep), K0=1.0)
    # Not asked for, it takes nothing: (1 + rho^2 sigma_w2 / 2)^L.
    eta = evaluate(response(deep), K0=1.0, outputs="eta")["eta"]
    assert eta == pytest.approx(0.5 * (1 + 1e-4 * 0.75) ** 40_000, rel=1e-9)


def test_a_large_data_set_is_refused_before_it_is_filled(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1e6)
    monkeypatch.setattr(memory, "ALWAYS_GRANTED", 0)
    data = np.random.default_rng(0).standard_normal((200, 3))
    net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=4, read_in=Linear(1, 0))
    with pytest.raises(HostMemoryError, match="200 x 200 pairs of inputs at depth 4"):
        evaluate(kernel(net, 2), inputs=data)


def test_free_memory_is_read(tmp_path, monkeypatch):
    (tmp_path / "info").write_text("MemTotal: 9 kB\nMemAvailable:   2048 kB\n")
    for name, text in (("max", "1000000"), ("current", "600000"), ("stat", "inactive_file 1000")):
        (tmp_path / f"memory.{name}").write_text(text)
    monkeypatch.setattr(memory, "MEMORY_INFO", tmp_path / "info")
    monkeypatch.setattr(memory, "CONTROL_GROUP", tmp_path)
    assert memory.available_bytes() == 401_000
    (tmp_path / "memory.max").write_text("max")
    assert memory.available_bytes() == 2048 * 1024
    monkeypatch.setattr(memory, "MEMORY_INFO", tmp_path / "none")
    assert memory.available_bytes() > 0
