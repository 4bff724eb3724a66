"""Targets: binding of functions, what is missing where, and what `auto` takes. No GPU is needed."""

from __future__ import annotations

import importlib.util
import math
import os
import subprocess
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    compile_routine,
    evaluate,
    kernel,
    one_loop,
)
from resexpand.codegen import targets
from resexpand.codegen.arguments import Arguments
from resexpand.codegen.cuda import device
from resexpand.codegen.cuda.device import Device, Machine, chosen, obstacle, require_cuda
from resexpand.codegen.elementary import exponential, polynomials
from resexpand.codegen.target import Target
from resexpand.codegen.targets import cpu
from resexpand.errors import DeviceError, HyperparameterError, UnsupportedError

NET = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=3)
H100 = Device("NVIDIA H100", (9, 0), 80 * 2**30)
WHOLE = Machine("0.30", (13, 0), (12, 1), (13, 0), "", (H100,))

BROKEN = {
    "no package": (Machine(), r"not installed; pip install 'resexpand\[cuda\]'$"),
    "no toolkit": (
        Machine("0.30", missing="libnvrtc is gone"),
        r"toolkit cannot be loaded \(libnvrtc is gone\); pip install",
    ),
    "old toolkit": (
        Machine("0.30", (11, 8), (9, 0), (13, 0), "", (H100,)),
        r"toolkit 11\.8 is older than 12\.0; pip install 'resexpand\[cuda\]' --upgrade",
    ),
    "no driver": (
        Machine("0.30", (13, 0), (12, 1), None, "libcuda is gone"),
        r"there is no NVIDIA driver \(libcuda is gone\); on a machine with an NVIDIA GPU: install",
    ),
    "old driver": (
        Machine("0.30", (13, 0), (12, 1), (12, 2), "", (H100,)),
        r"serves CUDA 12\.2, the toolkit is 13\.0; update .* or pip install "
        r"'numba-cuda\[cu12\]' 'cuda-toolkit\[nvcc\]==12\.\*'$",
    ),
    "very old driver": (
        Machine("0.30", (13, 0), (12, 1), (11, 4), "", (H100,)),
        r"serves CUDA 11\.4, the toolkit is 13\.0; update the NVIDIA driver \(see [^ ]*\)$",
    ),
    "fork": (
        replace(WHOLE, forked=True),
        r"this process was forked .*; use threads, .*get_context\('spawn'\)\)$",
    ),
    "no device": (
        Machine("0.30", (13, 0), (12, 1), (13, 0), "CUDA_ERROR_NO_DEVICE"),
        r"driver finds no device \(CUDA_ERROR_NO_DEVICE\); make .* or use target='cpu'$",
    ),
    "new device": (
        Machine("0.30", (12, 0), (9, 0), (13, 0), "", (Device("B200", (10, 0), 1),)),
        r"toolkit 12\.0 is too old for the B200.*up to 9\.0, not 10\.0",
    ),
}


@pytest.mark.parametrize(("machine", "message"), BROKEN.values(), ids=list(BROKEN))
def test_what_is_missing_is_said_and_what_would_help(machine, message):
    with pytest.raises(DeviceError, match=message) as caught:
        require_cuda("target='cuda'", machine)
    assert caught.value.asked == "target='cuda'"
    name, place = chosen(machine)
    assert name == "cpu"
    assert place == f"cpu ({caught.value.why})"


def test_a_whole_machine_has_no_obstacle():
    assert obstacle(WHOLE) is None
    assert require_cuda("anything", WHOLE) is H100
    assert chosen(WHOLE) == ("cuda", "cuda (NVIDIA H100)")


def test_a_fork_of_who_started_the_driver_has_none(monkeypatch):
    for process, forked in ((os.getpid(), False), (os.getppid(), True)):
        monkeypatch.setattr(device, "_looked_up", lambda process=process: (WHOLE, process))
        assert device.machine() == replace(WHOLE, forked=forked)
    # Where there is no driver, there is nothing to inherit.
    monkeypatch.setattr(device, "_looked_up", lambda: (BROKEN["no driver"][0], os.getppid()))
    assert not device.machine().forked


@pytest.fixture
def no_gpu(monkeypatch):
    """Let every machine be one with a toolkit and without a driver."""
    monkeypatch.setattr(device, "machine", lambda: BROKEN["no driver"][0])


def test_cuda_without_a_gpu_is_an_error_and_auto_is_the_cpu(no_gpu):
    with pytest.raises(DeviceError, match="no NVIDIA driver"):
        compile_routine(kernel(NET), target="cuda")
    with pytest.raises(DeviceError, match="no NVIDIA driver"):
        evaluate(kernel(NET), target="cuda", K0=1.0)
    values = evaluate(kernel(NET), target="auto", K0=1.0)
    np.testing.assert_array_equal(values["K"], [1, 2, 4, 8])
    assert values.target == "cpu (there is no NVIDIA driver (libcuda is gone))"
    assert evaluate(kernel(NET), K0=1.0).target == "cpu"


def test_without_the_extra_the_error_has_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr(device, "find_spec", lambda name: None)
    monkeypatch.setattr(device, "_looked_up", device._looked_up.__wrapped__)
    with pytest.raises(DeviceError, match=r"pip install 'resexpand\[cuda\]'$"):
        evaluate(kernel(NET), target="cuda", K0=1.0)
    assert evaluate(kernel(NET), target="auto", K0=1.0).target.startswith("cpu (numba-cuda and")


def test_what_is_for_the_host_says_so(no_gpu):
    net = ResNet(Branch(Activation("erf"), Linear(1.2, 0.1)), scale=0.3, depth=2)
    with pytest.raises(UnsupportedError, match=r"1/N on target 'cuda'.*use target='cpu'"):
        evaluate(one_loop(net), target="cuda", K0=1.0)


class OnDevice:
    """Array interfaces that a caller may hold on a device."""

    __cuda_array_interface__: dict = {}  # noqa: RUF012


def test_an_array_on_a_device_needs_the_gpu():
    with pytest.raises(HyperparameterError, match=r"K0 on a device.*use target='cuda'"):
        evaluate(kernel(NET), K0=OnDevice())


def test_asking_loads_neither_cuda_nor_its_package():
    script = (
        "import sys; import resexpand.codegen.targets as t, resexpand.codegen.routine; t.cpu; "
        "assert not [m for m in sys.modules if m.startswith(('numba.cuda', 'numba_cuda', 'cuda'))]"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed"
)
def test_this_machine_is_described_without_a_driver():
    found = device.machine()
    assert found.package is not None
    if not found.devices and not found.simulated:
        assert obstacle(found) is not None


class Noted(Target):
    """A target that compiles nothing and notes what it was asked to."""

    def __init__(self, exchanged):
        super().__init__("noted", exchanged)
        self.roles = {}

    def _noted(self, role):
        def noted(function):
            self.roles[function.__name__] = role
            return function

        return noted

    def scalar(self, function):
        return self._noted("scalar")(function)

    def chunk(self, function):
        return self._noted("chunk")(function)

    def reduction(self, function):
        return self._noted("reduction")(function)

    def driver(self, function):
        return self._noted("driver")(function)


def half(x):
    """Return half of a number."""
    return 0.5 * x


def count_down(x):
    """Call itself, and another function."""
    return x if x < 1.0 else count_down(half(x))


def test_binding_replaces_callees_and_leaves_the_functions_alone():
    target = Noted({half: lambda x: 0.0})
    # Functions of this package alone are followed; these live in a test.
    bound = target.bind(count_down)
    assert bound is not count_down
    assert bound(5.0) == 0.0
    assert count_down(5.0) == 0.625
    assert target.bind(count_down) is bound


def test_callees_of_the_package_are_bound_with_their_callers():
    target = Noted({})
    exp = target.bind(exponential.exp)
    assert target.roles.keys() >= {"exp", "exp_of_sum", "two_to", "exp_tail", "as_int"}
    inner = target.bind(exponential.reduced_expm1)
    assert inner.__globals__["exp_tail"] is target.bind(polynomials.exp_tail)
    assert inner.__globals__["exp_tail"] is not polynomials.exp_tail
    assert exponential.reduced_expm1.__globals__["exp_tail"] is polynomials.exp_tail
    assert exp(0.3) == exponential.exp(0.3)


def test_an_exchanged_function_is_found_behind_its_compiled_form():
    target = Noted({})
    target.exchange(cpu.function("exp"), half)
    assert target.bind(exponential.exp) is half


def test_a_module_is_bound_with_its_roles():
    module = ModuleType(__name__)
    module.half, module.count_down, module.one = half, count_down, 1.0
    target = Noted({})
    bound = target.bound(module, {"count_down": target.driver})
    assert set(bound) == {"half", "count_down"}
    assert target.roles == {"half": "scalar", "count_down": "driver"}


def test_closures_are_bound_too():
    tanh = exponential.tanh

    def around(x):
        return tanh(x) + 1.0

    target = Noted({exponential.tanh: half})
    assert target.bind(around)(3.0) == 2.5
    assert around(0.0) == 1.0


def test_the_same_functions_on_the_cpu():
    assert cpu.bind(exponential.tanh) is cpu.function("tanh")
    assert cpu.function("tanh")(0.7) == pytest.approx(math.tanh(0.7), rel=1e-15)


def test_a_missing_function_is_named():
    with pytest.raises(UnsupportedError, match=r"'zeta'.*target 'cpu' has no such function"):
        cpu.function("zeta")


def test_a_missing_function_is_named_with_its_target(numba_cuda):
    with pytest.raises(UnsupportedError, match=r"'zeta'.*target 'cuda' has no such function"):
        targets.cuda.function("zeta")
    with pytest.raises(AttributeError, match="no attribute 'abacus'"):
        targets.abacus  # noqa: B018


GRID = (3, 4, 5)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (4, 1), (3, 1, 1), (3, 1, 5), (3, 4, 5)])
def test_a_block_is_sent_one_value_or_one_per_point(numba_cuda, shape):
    from resexpand.codegen.cuda.launch import sent

    value = np.arange(np.prod(shape, dtype=int), dtype=float).reshape(shape)
    layered = np.stack([value, value + 0.5], axis=-1)
    points = np.arange(7, 31)
    own, rows = sent(Arguments(GRID, (value,), (layered,)), 7, 31)
    flat = np.broadcast_to(value, GRID).reshape(-1)[points]
    index = np.minimum(points - 7, own.size - 1)
    np.testing.assert_array_equal(own[index], flat)
    np.testing.assert_array_equal(rows[:, index], [flat, flat + 0.5])
    assert own.size == (1 if value.size == 1 else 24)
