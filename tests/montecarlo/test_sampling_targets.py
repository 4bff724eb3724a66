"""Where networks are drawn: choosing, refusing, and what is the same on every target."""

from __future__ import annotations

import numpy as np
import pytest

from resexpand import Activation, Branch, Linear, ResNet, sample
from resexpand.codegen.cuda.device import machine, obstacle
from resexpand.errors import DeviceError, UnsupportedError
from resexpand.montecarlo import lanes
from resexpand.montecarlo.runs.plan import together
from resexpand.montecarlo.source.target import with_bindings

NET = ResNet(Branch(Activation("relu"), Linear(1, 0)), scale=0.5, depth=2)
HOW = {"width": 5, "draws": 8, "K0": 1.0, "seed": 1, "progress": False}


@pytest.mark.parametrize("target", ["gpu", "CUDA", None, 3, ["cuda"]])
def test_there_is_no_other_target(target: object) -> None:
    with pytest.raises(UnsupportedError, match="'cpu', 'cuda' or 'auto'"):
        sample(NET, "kernel", target=target, **HOW)


def test_the_result_says_where_auto_drew_it() -> None:
    found = sample(NET, "kernel", target="auto", **HOW)
    works = obstacle(machine()) is None
    assert found.settings["target"] == ("cuda" if works else "cpu")
    assert found.settings["target_reason"].startswith(found.settings["target"])
    plain = sample(NET, "kernel", **HOW)
    assert "target" not in plain.settings
    np.testing.assert_allclose(found["kernel"].mean, plain["kernel"].mean, rtol=1e-12)


def test_without_a_device_cuda_says_what_is_missing() -> None:
    missing = obstacle(machine())
    if missing is None:
        assert sample(NET, "kernel", target="cuda", **HOW).settings["target"] == "cuda"
        return
    with pytest.raises(DeviceError) as raised:
        sample(NET, "kernel", target="cuda", **HOW)
    assert missing.why in str(raised.value)
    assert missing.remedy in str(raised.value)


def test_neighbouring_chunks_are_drawn_together() -> None:
    chunks = [(0, 8), (8, 8), (16, 8), (32, 8), (40, 4)]
    assert together(chunks, 16) == [[(0, 8), (8, 8)], [(16, 8)], [(32, 8), (40, 4)]]
    assert together(chunks, 100) == [[(0, 8), (8, 8), (16, 8)], [(32, 8), (40, 4)]]
    assert together(chunks, 1) == [[chunk] for chunk in chunks]
    assert together([(8, 8), (0, 8)], 100) == [[(8, 8)], [(0, 8)]]  # not neighbours in this order
    assert together([], 4) == []


def test_first_buffers_lie_in_shared_memory() -> None:
    shapes = ((2, 8), (3, 8), (1, 4))
    assert lanes.memory_for(0, shapes) == (0, 44)
    assert lanes.memory_for(16, shapes) == (16, 28)
    assert lanes.memory_for(20, shapes) == (20, 24)  # the second does not fit, the third does
    assert lanes.memory_for(100, shapes) == (44, 0)
    shared, remote = np.full(20, 7.0), np.full(24, 7.0)
    taken = []
    for shape in shapes:
        array, shared, remote = lanes.buffer(shared, remote, shape)
        assert array.shape == shape
        assert not array.any()
        taken.append(array)
    assert shared.size == remote.size == 0
    for k, array in enumerate(taken):
        array[...] = k
    assert [float(array.mean()) for array in taken] == [0, 1, 2]  # none covers another


def test_memory_begins_with_a_line_of_the_cache() -> None:
    for size in (1, 5, 64, 1001):
        memory = lanes.aligned_row(size)
        assert memory.shape == (1, size)
        assert memory.ctypes.data % lanes.CACHE_LINE == 0


def test_every_function_of_the_library_is_bound() -> None:
    texts = (
        "from resexpand.montecarlo.loops.columns import LANES, gram\n"
        "from resexpand.montecarlo.lanes import (\n    group, buffer,\n)\n"
        "from resexpand.montecarlo.loops.dense import dense_sampler, workspace\n"
        "from resexpand.montecarlo.weights.entries import gaussian as entries\n"
        "from resexpand.codegen.store import load",
        "",
        "linear, read_out = dense_sampler(entries, products)",
    )
    names = ("buffer", "gram", "group", "linear", "read_out", "workspace")
    for target, binding in (("cpu", "outlined"), ("cuda", "_t.bind")):
        *given, lines = with_bindings(texts, target)
        assert given == [texts[0], texts[2]]
        assert lines.splitlines()[1:] == [f"{name} = {binding}({name})" for name in names]
