"""Every kernel of every routine, compiled for a GPU that is not there: all stays in registers.

Compiled to PTX for compute capability 9.0 and assembled by ``ptxas``; the table of what each kernel
takes is printed. The whole registry, in both precisions, is marked ``slow``.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from routine_cases import REGISTRY

from resexpand.codegen.functions import FUNCTIONS

# What differs in kind: closed forms, propagators, two inputs, both rules of quadrature, layers.
REPRESENTATIVE = (
    ("erf: response", "double"),
    ("erf: response of covariance", "single"),
    ("relu: kernel of two inputs", "double"),
    ("sin: kernel", "single"),
    ("tanh: kernel", "double"),
    ("kinked bump: kernel of two inputs", "double"),
    ("erf, a scale per block: kernel", "double"),
    ("identity: exact moments", "double"),
)
EVERYTHING = [(name, precision) for name in REGISTRY for precision in ("double", "single")]


def assembled(cases):
    """Return what the kernels of some cases take, by case and kernel."""
    from resexpand.codegen.cuda.inspection import usage

    found = {}
    for name, precision in cases:
        for kernel, taken in usage(REGISTRY[name](), precision).items():
            found[f"{name} [{precision}] {kernel}"] = taken
    return found


def shown(found, capsys):
    """Print the table past pytest's capture."""
    from resexpand.codegen.cuda.inspection import table

    with capsys.disabled():
        print("\n" + table(found))


def outside_registers(found):
    """Return the kernels that keep something in local memory."""
    return {name: taken for name, taken in found.items() if not taken.in_registers}


def test_kernels_stay_in_registers(ptxas, capsys):
    found = assembled(REPRESENTATIVE)
    shown(found, capsys)
    assert len(found) >= len(REPRESENTATIVE) + 3
    assert all(0 < taken.registers <= 255 for taken in found.values())
    assert outside_registers(found) == {}


def test_kernels_stay_in_registers_when_linked_as_for_a_launch(ptxas, capsys):
    from resexpand.codegen.cuda.inspection import kernels_of
    from resexpand.codegen.cuda.offline import linked_usage_of

    found = {}
    for name, precision in (("tanh: kernel", "double"), ("erf: response", "single")):
        for kernel, given in kernels_of(REGISTRY[name](), precision).items():
            found[f"{name} [{precision}] {kernel}, linked"] = linked_usage_of(*given)
    shown(found, capsys)
    assert all(taken.registers > 0 for taken in found.values())
    assert outside_registers(found) == {}


def test_kernels_that_move_and_look_at_numbers_stay_in_registers(ptxas, capsys):
    from numba.cuda import types

    from resexpand.codegen.cuda import arrays, checks
    from resexpand.codegen.cuda.offline import usage_of

    found = {}
    whole, marks = types.int64, types.Array(types.int64, 1, "C")
    for number, typestr in ((types.float64, "<f8"), (types.float32, "<f4")):
        vector, matrix = types.Array(number, 1, "C"), types.Array(number, 2, "C")
        strided = types.Array(number, 1, "A")
        kernels = {
            "transposed": (arrays._transposed(typestr), (matrix, matrix, whole)),
            "taken": (arrays._taken(), (matrix, whole, matrix)),
            "flawed": (arrays._flawed(), (matrix, marks)),
            "signs": (checks._signs(), (strided, marks)),
            "indefinite": (checks._indefinite(), (vector, types.float64, marks)),
        }
        for name, (kernel, taken) in kernels.items():
            found[f"{name} [{number}]"] = usage_of(kernel, types.void(*taken))
    shown(found, capsys)
    assert outside_registers(found) == {}
    assert found["transposed [float64]"].shared == 32 * 33 * 8


@pytest.mark.slow
def test_all_kernels_of_the_registry_stay_in_registers(ptxas, capsys):
    found = assembled(EVERYTHING)
    shown(found, capsys)
    assert outside_registers(found) == {}


def test_control_a_local_array_is_caught_as_stack(ptxas):
    from numba import cuda
    from numba.cuda import types

    from resexpand.codegen.cuda.offline import linked_usage_of, usage_of

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

    from resexpand.codegen.cuda.offline import assemble, ptx_of

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


def test_single_precision_does_not_compute_in_double(ptxas):
    from resexpand.codegen.cuda.inspection import kernels_of
    from resexpand.codegen.cuda.offline import ptx_of

    for precision, expected in (("single", False), ("double", True)):
        run, signature = kernels_of(REGISTRY["erf: kernel of two inputs"](), precision)["run"]
        assert (".f64" in ptx_of(run, signature)) == expected


def test_nothing_is_relaxed_that_the_cpu_does_not_relax(ptxas):
    from resexpand.codegen.cuda.inspection import kernels_of
    from resexpand.codegen.cuda.offline import ptx_of

    run, signature = kernels_of(REGISTRY["erf: kernel"](), "double")["run"]
    ptx = ptx_of(run, signature)
    # Fused, rounded to nearest, subnormal numbers kept.
    assert "fma.rn.f64" in ptx
    assert ".approx" not in ptx.replace("rcp.approx.ftz.f64", "")
    single = ptx_of(*kernels_of(REGISTRY["relu: kernel"](), "single")["run"])
    assert ".ftz" not in single


def test_the_watch_for_what_is_not_finite_is_not_optimised_away(ptxas):
    from resexpand.codegen.cuda.inspection import kernels_of
    from resexpand.codegen.cuda.offline import ptx_of

    ptx = ptx_of(*kernels_of(REGISTRY["relu: response"](), "double")["run"])
    differences = re.findall(r"sub\.(?:rn\.)?f64\s+%fd\d+, (%fd\d+), (%fd\d+);", ptx)
    assert sum(left == right for left, right in differences) >= 3


@pytest.mark.parametrize("precision", ["double", "single"])
def test_every_function_of_the_table_is_there(numba_cuda, precision):
    from resexpand.codegen import targets

    target = targets.cuda if precision == "double" else targets.cuda_single
    assert target.number is (np.float64 if precision == "double" else np.float32)
    for name in FUNCTIONS:
        assert callable(target.function(name))
