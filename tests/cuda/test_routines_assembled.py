"""Every kernel of every routine, compiled for a GPU that is not there: all stays in registers.

Compiled to PTX for compute capability 9.0 and assembled by ``ptxas``; the table of what each kernel
takes is printed. The whole registry is marked ``slow``.
"""

from __future__ import annotations

import re

import pytest
from barriers import stray_barriers
from inspection import kernels_of, table, texts_of
from offline import assemble, linked_usage_of, ptx_of, usage_of
from routine_cases import REGISTRY

from resexpand.codegen.functions import FUNCTIONS

# What differs in kind: closed forms, propagators, two inputs, both rules of quadrature, layers.
REPRESENTATIVE = (
    "erf: response",
    "erf: response of covariance",
    "relu: kernel of two inputs",
    "sin: kernel",
    "tanh: kernel",
    "kinked bump: kernel of two inputs",
    "erf, a scale per block: kernel",
    "identity: exact moments",
)

BARRIER = "bar.sync"


def assembled(cases):
    """Return what the kernels of some cases take, and their text, by case and kernel."""
    texts = {
        f"{name}: {kernel}": text
        for name in cases
        for kernel, text in texts_of(REGISTRY[name]()).items()
    }
    return {name: assemble(text) for name, text in texts.items()}, texts


def shown(found, capsys):
    """Print the table past pytest's capture."""
    with capsys.disabled():
        print("\n" + table(found))


def outside_registers(found):
    """Return the kernels that keep something in local memory."""
    return {name: taken for name, taken in found.items() if not taken.in_registers}


def test_kernels_stay_in_registers(ptxas, capsys):
    found, texts = assembled(REPRESENTATIVE)
    shown(found, capsys)
    assert len(found) >= len(REPRESENTATIVE) + 3
    assert all(0 < taken.registers <= 255 for taken in found.values())
    assert outside_registers(found) == {}
    # Threads that share quadratures wait for each other: of one variable, and nested.
    waiting = {name: stray_barriers(text) for name, text in texts.items() if BARRIER in text}
    assert {"tanh: kernel: run", "kinked bump: kernel of two inputs: run"} <= set(waiting)
    assert [name for name, (count, stray) in waiting.items() if not count or stray] == []


def test_kernels_stay_in_registers_when_linked_as_for_a_launch(ptxas, capsys):

    found = {}
    for name in ("tanh: kernel", "erf: response"):
        for kernel, given in kernels_of(REGISTRY[name]()).items():
            found[f"{name}: {kernel}, linked"] = linked_usage_of(*given)
    shown(found, capsys)
    assert all(taken.registers > 0 for taken in found.values())
    assert outside_registers(found) == {}


def test_the_transposition_stays_in_registers(ptxas, capsys):
    from numba.cuda import types

    from resexpand.codegen.cuda.arrays import transposing

    matrix = types.Array(types.float64, 2, "C")
    found = {"transposed": usage_of(transposing(), types.void(matrix, matrix, types.int64))}
    shown(found, capsys)
    assert outside_registers(found) == {}
    assert found["transposed"].shared == 32 * 33 * 8


@pytest.mark.slow
def test_all_kernels_of_the_registry_stay_in_registers(ptxas, capsys):
    found, _ = assembled(REGISTRY)
    shown(found, capsys)
    assert outside_registers(found) == {}


def test_control_a_local_array_is_caught_as_stack(ptxas):
    from numba import cuda
    from numba.cuda import types

    def indexed(x, places, out):
        held = cuda.local.array(16, types.float64)
        i = cuda.grid(1)
        for k in range(16):
            held[k] = x[i + k]
        out[i] = held[places[i]] + held[places[i + 1]]

    vector = types.float64[::1]
    signature = types.void(vector, types.int64[::1], vector)
    found = usage_of(indexed, signature)
    assert found.stack >= 16 * 8
    assert linked_usage_of(indexed, signature).stack >= 16 * 8
    assert outside_registers({"indexed": found}) == {"indexed": found}


def test_control_too_few_registers_are_caught_as_spills(ptxas):
    from numba import cuda
    from numba.cuda import types

    def wide(x, out):
        i = cuda.grid(1)
        a, b, c, d = x[i], x[i + 1], x[i + 2], x[i + 3]
        for k in range(x.size):
            a, b, c, d = b * x[k] + c, c * x[k] + d, d * x[k] + a, a * x[k] + b
        out[i], out[i + 1], out[i + 2], out[i + 3] = a, b, c, d

    vector = types.float64[::1]
    ptx = ptx_of(wide, types.void(vector, vector))
    assert assemble(ptx).in_registers
    starved = ptx.replace(".address_size 64", ".address_size 64\n", 1)
    entry = starved.index(")\n", starved.index(".visible .entry"))
    starved = f"{starved[: entry + 1]}\n.maxnreg 16\n{starved[entry + 1 :]}"
    assert assemble(starved).spill_stores > 0


def test_nothing_is_relaxed_that_the_cpu_does_not_relax(ptxas):

    run, signature = kernels_of(REGISTRY["erf: kernel"]())["run"]
    ptx = ptx_of(run, signature)
    # Fused, rounded to nearest, subnormal numbers kept.
    assert "fma.rn.f64" in ptx
    assert ".approx" not in ptx.replace("rcp.approx.ftz.f64", "")
    assert ".ftz" not in ptx.replace("rcp.approx.ftz.f64", "")


def test_the_watch_for_what_is_not_finite_is_not_optimised_away(ptxas):

    ptx = ptx_of(*kernels_of(REGISTRY["relu: response"]())["run"])
    differences = re.findall(r"sub\.(?:rn\.)?f64\s+%fd\d+, (%fd\d+), (%fd\d+);", ptx)
    assert sum(left == right for left, right in differences) >= 3


def test_every_function_of_the_table_is_there(numba_cuda):
    from resexpand.codegen import targets

    for name in FUNCTIONS:
        assert callable(targets.cuda.function(name))
