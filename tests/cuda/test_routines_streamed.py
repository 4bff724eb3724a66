"""Grids larger than the memory, memory that runs out, and arrays that stay on the device.

All simulated: memory is that of the host, and an allocation fails when the test says so.
"""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from routine_cases import RHO, network

from resexpand import compile_routine, evaluate, kernel, response
from resexpand.errors import DeviceMemoryError, HyperparameterError, KernelError

HYPER = {"depth": 2, "sigma_w2": 1.2, "sigma_b2": 0.1}
RHOS = np.linspace(0.1, 1.0, 10)
VARIANCES = np.linspace(0.2, 2.0, 7)[:, None]
PER_POINT = np.linspace(1.0, 1.5, 70).reshape(7, 10)


OVERFLOWING = {**HYPER, "depth": 9, "rho": np.array([0.5, 1e40]), "K0": 1.0}


def grid(**changes):
    """Return hyperparameters of which one varies down, one across, and one everywhere."""
    return {**HYPER, "rho": RHOS, "K0": VARIANCES, "sigma_w2": PER_POINT, **changes}


class Held:
    """An array on the simulated device, as another package would hold it."""

    def __init__(self, array):
        self.array = np.array(array)

    @property
    def __cuda_array_interface__(self):
        interface = dict(self.array.__array_interface__)
        return {**interface, "version": 3, "strides": None}


def in_blocks(sizes):
    """Run one grid in blocks of several sizes; return the results and the blocks that were run."""
    from resexpand.codegen.cuda import launch, memory

    sent, found, blocks = launch.sent, {}, []

    def noted(arguments, low, high):
        blocks.append((low, high))
        return sent(arguments, low, high)

    launch.sent = noted
    routine = compile_routine(response(network("relu")), "cuda")
    for size in sizes:
        memory.block_size = lambda *given, **named: int(size)  # noqa: B023
        del blocks[:]
        values = routine(**grid())
        found |= {f"{size}/{name}": array for name, array in values.items()}
        found[f"{size}/blocks"] = np.array(blocks)
        assert values.status == "ok"
    found["overflow"] = routine(**OVERFLOWING).status
    return found


def test_a_grid_is_streamed_in_blocks(simulator):
    expected = evaluate(response(network("relu")), **grid())
    found = simulator(in_blocks, sizes=np.array([70, 32, 7]))
    for size, count in ((70, 1), (32, 3), (7, 10)):
        assert len(found[f"{size}/blocks"]) == count
        for name, value in expected.items():
            array = found[f"{size}/{name}"]
            assert_allclose(array, value, rtol=1e-14, atol=0)
            assert_array_equal(array, found[f"70/{name}"])
    assert found["32/blocks"].tolist() == [[0, 32], [32, 64], [64, 70]]
    # What is not finite is found on the device, and said as on the CPU.
    assert found["overflow"] == evaluate(response(network("relu")), **OVERFLOWING).status != "ok"


def when_memory_runs_out(room):
    """Run a grid on a device that holds a few numbers; return the result and the sizes tried."""
    import weakref

    from resexpand.codegen.cuda import memory

    allocate, used, sizes = memory.device_array, [], []

    def limited(shape):
        held = [ref for ref in used if ref() is not None]
        total = sum(ref().size for ref in held)
        size = int(np.prod(shape, dtype=int))
        sizes.append(shape)
        if total + size > room:
            raise MemoryError("simulated")
        array = allocate(shape)
        used.append(weakref.ref(array))
        return array

    memory.device_array = limited
    routine = compile_routine(kernel(network("relu")), "cuda", ["K"])
    try:
        values = routine(**grid(rho=np.linspace(0.1, 1.0, 40), sigma_w2=1.2))
    except DeviceMemoryError as error:
        return {"message": str(error), "asked": error.asked}
    workspace_sizes = sorted({shape[1] for shape in sizes if len(shape) == 2})
    return {"K": values["K"], "sizes": np.array(workspace_sizes)}


def test_memory_that_runs_out_means_smaller_blocks(simulator):
    given = grid(rho=np.linspace(0.1, 1.0, 40), sigma_w2=1.2)
    expected = evaluate(kernel(network("relu")), **given)["K"]
    # 280 points; a block holds 3 rows and their transposes.
    found = simulator(when_memory_runs_out, room=6 * 70 + 8)
    assert_allclose(found["K"], expected, rtol=1e-14)
    assert found["sizes"].tolist() == [70, 140, 280]


def test_memory_too_small_for_anything_is_an_error_with_the_sizes(simulator):
    found = simulator(when_memory_runs_out, room=50)
    assert found["asked"] == "280 points"
    assert "32 of them need 2,048 bytes on the device" in found["message"]
    assert "use target='cpu'" in found["message"]


def stay_on_the_device(rhos, variances, per_point):
    """Run routines on arrays that lie on the device; return copies of the results."""
    found = {}
    routine = compile_routine(response(network("relu")), "cuda")
    held = Held(rhos)
    values = routine(**grid(rho=held, K0=Held(variances), sigma_w2=Held(per_point)))
    for name, shown in values.items():
        found[name] = shown.copy_to_host()
        assert not isinstance(shown, np.ndarray)
    found["status"], found["target"] = values.status, values.target
    found["mixed"] = routine(**grid(rho=held))["K"].copy_to_host()
    single = routine(**{**HYPER, "rho": Held(np.float32([0.5, 0.25])), "K0": 1.0})
    found["float32"] = single["K"].copy_to_host()
    alone = routine(**{**HYPER, "rho": 0.5, "K0": Held(np.array(1.0))})
    found["alone"] = alone["K"].copy_to_host()
    pair = compile_routine(kernel(network("erf"), inputs=2), "cuda")
    gram = np.array([[1.0, 0.3], [0.3, 0.8]]) * variances[..., None]
    found["pair"] = pair(**{**HYPER, "rho": 0.5, "K0": Held(gram)})["K"].copy_to_host()
    smooth = compile_routine(kernel(network("tanh")), "cuda", ["K"])
    values = smooth(**{**HYPER, "depth": 1, "rho": Held([0.5, 0.6]), "K0": 1.0})
    found["smooth"] = values["K"].copy_to_host()
    found["smooth error"] = values.quadrature_error["K"]
    found["overflow"] = routine(**{**OVERFLOWING, "rho": Held(OVERFLOWING["rho"])}).status
    empty = routine(**{**HYPER, "rho": Held(np.empty(0)), "K0": 1.0})
    found["empty"] = empty["K"].copy_to_host()
    # Numbers of the network that the host makes from what lies on the device.
    scaled = compile_routine(kernel(network("relu", scale=RHO / 2)), "cuda", ["K"])
    found["scaled"] = scaled(**{**HYPER, "rho": Held([0.5, 0.6]), "K0": 1.0})["K"].copy_to_host()
    return found


def test_arrays_on_the_device_stay_there(simulator):
    net = network("relu")
    found = simulator(stay_on_the_device, rhos=RHOS, variances=VARIANCES, per_point=PER_POINT)
    expected = evaluate(response(net), **grid())
    for name, value in expected.items():
        assert found[name].shape == value.shape
        assert_allclose(found[name], value, rtol=1e-14)
    assert found["status"] == "ok"
    assert found["target"] == "cuda (simulator)"
    assert_array_equal(found["mixed"], found["K"])
    point = {**HYPER, "rho": 0.5}
    halves = {**HYPER, "rho": [0.5, 0.25], "K0": 1.0}
    assert_allclose(found["float32"], evaluate(kernel(net), **halves)["K"], rtol=1e-15)
    assert_allclose(found["alone"], evaluate(kernel(net), **point, K0=1.0)["K"], rtol=1e-15)
    gram = np.array([[1.0, 0.3], [0.3, 0.8]]) * VARIANCES[..., None]
    pair = evaluate(kernel(network("erf"), inputs=2), **point, K0=gram)["K"]
    assert found["pair"].shape == pair.shape == (7, 3, 2, 2)
    assert_allclose(found["pair"], pair, rtol=1e-14)
    smooth = {**HYPER, "depth": 1, "rho": [0.5, 0.6]}
    assert_allclose(found["smooth"], evaluate(kernel(network("tanh")), **smooth, K0=1.0)["K"])
    assert 0 <= found["smooth error"] < 1e-12
    assert found["overflow"] == evaluate(response(net), **OVERFLOWING).status
    assert found["empty"].shape == (0, 3)
    scaled = evaluate(kernel(net), **{**HYPER, "rho": [0.25, 0.3], "K0": 1.0})["K"]
    assert_allclose(found["scaled"], scaled, rtol=1e-14)


def refused(variances):
    """Return what is said of arrays on the device that cannot be used."""
    routine = compile_routine(kernel(network("sign")), "cuda")
    pair = compile_routine(kernel(network("relu"), inputs=2), "cuda")
    given = {**HYPER, "rho": 0.5, "K0": 1.0}
    cases = {
        "not finite": (routine, {**given, "rho": Held([0.5, np.nan])}),
        "negative variance": (routine, {**given, "sigma_w2": Held([1.0, -1.0])}),
        "negative kernel": (routine, {**given, "K0": Held([1.0, -1.0])}),
        "indefinite": (pair, {**given, "K0": Held([[1.0, 2.0], [2.0, 1.0]])}),
        "three inputs": (pair, {**given, "K0": Held(np.eye(3))}),
        "unknown": (routine, {**given, "sigma": Held([2.0])}),
    }
    said = {}
    for name, (called, hyperparameters) in cases.items():
        for where in ("device", "host"):
            shown = {k: getattr(v, "array", v) for k, v in hyperparameters.items()}
            try:
                called(**(hyperparameters if where == "device" else shown))
            except (HyperparameterError, KernelError) as error:
                said[f"{name}/{where}"] = str(error)
            else:
                said[f"{name}/{where}"] = "nothing"
    return said


def test_what_the_host_refuses_is_refused_on_the_device(simulator):
    said = simulator(refused, variances=VARIANCES)
    assert said["three inputs/device"].startswith("K0 of 3 inputs on a device")
    assert said["three inputs/host"] == "nothing"
    for name in ("not finite", "negative variance", "negative kernel", "indefinite"):
        assert said[f"{name}/device"] == said[f"{name}/host"] != "nothing"
    assert "no symbol of this name" in said["unknown/device"]
