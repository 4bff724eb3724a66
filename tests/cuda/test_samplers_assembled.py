"""The kernel of every sampler, compiled for a GPU that is not there: all stays in registers.

Compiled to PTX for compute capability 9.0 and assembled by ``ptxas``; the table of what each kernel
takes is printed. The whole registry is marked ``slow``.
"""

from __future__ import annotations

import pytest
from barriers import stray_barriers
from inspection import sampler_ptx
from offline import assemble, usage_of
from sampler_cases import REGISTRY, sampler

# One column in one pass, and several columns. Masks with the way back take most, and half a minute.
REPRESENTATIVE = ("one column, W erf", "function-space, W relu, pair")
SPILLED = {"function-space, attention": 128}
"""Bytes that a kernel may keep in memory: attention with tangents and the way back in one."""

OTHERS = [name for name in REGISTRY if name not in REPRESENTATIVE]


def shown(found, capsys) -> None:
    with capsys.disabled():
        width = max(map(len, found))
        print(f"\n{'':{width}}  registers  stack  spills")
        for name, taken in found.items():
            spills = taken.spill_stores + taken.spill_loads
            print(f"{name:{width}}  {taken.registers:9}  {taken.stack:5}  {spills:6}")


def assembled(names):
    """Return what the kernels take, and their text, by case."""
    texts = {name: sampler_ptx(sampler(name, 16, "cuda")) for name in names}
    return {name: assemble(text) for name, text in texts.items()}, texts


def test_kernels_stay_in_registers(ptxas, capsys) -> None:
    found, texts = assembled(REPRESENTATIVE)
    shown(found, capsys)
    # So few that 256 threads always find theirs.
    assert all(0 < taken.registers <= 255 for taken in found.values())
    assert [name for name, taken in found.items() if not taken.in_registers] == []
    for text in texts.values():
        # All threads of a block come to every barrier together.
        count, stray = stray_barriers(text)
        assert count > 0
        assert stray == []
        # Ten rounds of two products, each by one instruction.
        assert text.count("mul.wide.u32") >= 20
        assert "call.uni" not in text


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_all_kernels_stay_in_registers(ptxas, capsys, name: str) -> None:
    found, _ = assembled([name])
    shown(found, capsys)
    taken = found[name]
    assert taken.in_registers or 0 < taken.spill_stores <= SPILLED.get(name, 0)


def test_a_local_array_is_noticed(ptxas) -> None:
    from numba import cuda
    from numba.cuda import types

    def looked_up(places, out) -> None:
        local = cuda.local.array(64, types.float64)
        for i in range(64):
            local[i] = out[i]
        out[0] = local[places[0]] + local[places[1]]

    whole, real = (types.Array(kind, 1, "C") for kind in (types.int64, types.float64))
    assert not usage_of(looked_up, types.void(whole, real)).in_registers
