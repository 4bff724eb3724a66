"""Slots: functions given by address, so that one driver serves many.

Laws: (1) one compiled driver calls any functions of the right types; (2) arguments of other types
are calls of their own; (3) machine code from the disk fits its slots, or is not used; (4) a driver
of the samplers does not depend on the activation.
"""

from __future__ import annotations

import errno
import os
from types import ModuleType

import numpy as np
import pytest

from resexpand import Activation, Branch, Linear
from resexpand.codegen import store
from resexpand.codegen.slots import Slots, addresses
from resexpand.codegen.store import CacheWarning, load
from resexpand.montecarlo.groups.inputs import Inputs
from resexpand.montecarlo.groups.layout import Layout
from resexpand.montecarlo.jit import library_digest
from resexpand.montecarlo.source.sampler import sampler_text

DRIVER = '''"""A driver of two slots."""

from resexpand.codegen.slots import Slots
from resexpand.codegen.targets import cpu as _t

driver = _t.driver
slots = Slots()
moved = slots.add("moved")
value = slots.add("value", 1)
pair = slots.add("pair", 2)


@driver
def run(maps, x):
    moved(maps, x, 2.0)
    moved(maps, x, 3)
    first, second = pair(maps, x)
    return value(maps, x) + 100.0 * first + 1000.0 * second
'''

MAPS = '''"""Functions."""

from resexpand.codegen.targets import cpu as _t


@_t.chunk
def moved(x, by):
    for i in range(x.size):
        x[i] += by * {factor}


@_t.scalar
def value(x):
    return {whole}


@_t.reduction
def pair(x):
    return x[0], x[1]


moved, value, pair = map(_t.kept, (moved, value, pair))
'''


def maps(factor: float, whole: int) -> ModuleType:
    return load(MAPS.format(factor=factor, whole=whole))


def called(functions: ModuleType, driver: ModuleType) -> float:
    x = np.zeros(2)
    where = addresses(driver.run, driver.slots, vars(functions), (x,))
    return float(driver.run(where, x))


@pytest.fixture
def driver(tmp_path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(store, "_MODULES", {})
    return load(DRIVER)


def test_one_driver_calls_any_functions(driver: ModuleType) -> None:
    assert called(maps(1.0, 7), driver) == 5500 + 7
    assert called(maps(10.0, 8), driver) == 55000 + 8
    assert len(driver.run.overloads) == 1
    assert [name for name, _ in driver.slots.calls] == ["moved", "moved", "pair", "value"]


def test_machine_code_from_the_disk_fits_its_slots(
    driver: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert called(maps(1.0, 7), driver) == 5507
    monkeypatch.setattr(store, "_MODULES", {})
    again = load(DRIVER)
    assert again.slots.calls == []
    assert called(maps(1.0, 7), again) == 5507
    assert sum(again.run.stats.cache_hits.values()) == 1
    monkeypatch.setattr(store, "_MODULES", {})
    other = load(DRIVER)
    other.slots.calls = driver.slots.calls[::-1]  # as if something else had been compiled first
    assert called(maps(1.0, 7), other) == 5507
    assert sum(other.run.stats.cache_hits.values()) == 0


def test_a_full_disk_costs_no_number(driver: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    functions = maps(1.0, 7)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(CacheWarning, match="cannot be kept"):
        assert called(functions, driver) == 5507


def test_slots_are_restored_once() -> None:
    slots = Slots()
    assert slots.restore([("a", "x")])
    assert slots.restore([("a", "x")])
    assert not slots.restore([("b", "x")])


@pytest.mark.parametrize("method", ["function-space", "dense"])
@pytest.mark.parametrize("inputs", [1, 2])
def test_drivers_do_not_depend_on_the_activation(method: str, inputs: int) -> None:
    layout = Layout((Inputs(inputs),))
    texts = [
        sampler_text(Branch(Activation(name), Linear(1, 0)), method, layout).divided()
        for name in ("relu", "erf")
    ]
    assert texts[0][0] == texts[1][0]
    assert texts[0][1] != texts[1][1]
    # Machine code on the disk belongs to one state of the library.
    assert all(library_digest() in text for driver, maps in texts for text in (driver, *maps))
