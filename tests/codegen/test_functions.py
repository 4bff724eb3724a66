"""The table of functions: every stated error is measured, plain and compiled."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import sympy as sp
from mpmath import mp
from ulp import measure_ulp, ulp_error

from resexpand.codegen.functions import FUNCTIONS, HEADS, entry_of
from resexpand.codegen.targets import cpu
from resexpand.errors import UnsupportedError


def share(name: str, count: int) -> int:
    """Return fewer points for functions whose reference is an integral at high precision."""
    return count // 12 if FUNCTIONS[name].arity > 3 else count


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_plain_error_is_as_stated(name):
    measured = measure_ulp(FUNCTIONS[name], share(name, 600), 1)
    assert measured.largest <= FUNCTIONS[name].max_ulp, measured


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_compiled_error_is_as_stated(name):
    measured = measure_ulp(FUNCTIONS[name], share(name, 900), 2, cpu.function(name))
    assert measured.largest <= FUNCTIONS[name].max_ulp, measured


@pytest.mark.fullscale
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_error_at_many_points(name):
    measured = measure_ulp(FUNCTIONS[name], 200_000, 3, cpu.function(name))
    assert measured.largest <= FUNCTIONS[name].max_ulp, measured


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_reduction_survives_the_multiples_of_half_pi(name):
    # The doubles nearest to multiples of pi/2 leave remainders of 1e-10 to 1e-17.
    function, reference = cpu.function(name), FUNCTIONS[name].reference
    with mp.workdps(50):
        for n in [1, 2, 3, 710, 3712, 355, 104348, 833719, 5419351, 6366197]:
            x = n * math.pi / 2
            assert ulp_error(function(x), reference(mp.mpf(x))) <= FUNCTIONS[name].max_ulp


def test_ulp_error_counts_units():
    assert ulp_error(1.0, mp.mpf(1)) == 0.0
    assert ulp_error(math.nextafter(1.0, 2.0), mp.mpf(1)) == 1.0
    assert ulp_error(math.inf, mp.mpf(10) ** 400) == 0.0
    assert ulp_error(1.0, mp.mpf(10) ** 400) == math.inf
    assert ulp_error(math.nan, mp.mpf(1)) == math.inf
    assert ulp_error(math.nan, mp.nan) == 0.0


def test_a_wrong_function_is_measured_as_wrong():
    assert measure_ulp(FUNCTIONS["exp"], 50, 0, lambda x: math.nan).largest == math.inf
    assert measure_ulp(FUNCTIONS["exp"], 50, 0, lambda x: math.exp(x) * (1 + 1e-12)).largest > 1e3


def test_heads_choose_the_direct_function():
    assert HEADS[sp.exp].name == "exp"
    assert HEADS[sp.log].name == "log"
    assert len(FUNCTIONS) == 31


def test_unknown_head_is_named_with_what_is_supported():
    x = sp.Symbol("x")
    with pytest.raises(UnsupportedError, match=r"besselj\(0, x\).*erfc"):
        entry_of(sp.besselj(0, x))


def test_table_and_source_do_not_import_numba():
    code = (
        "import sys; from resexpand.codegen import functions, source, store;"
        "sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
