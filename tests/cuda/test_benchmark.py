"""`benchmarks/gpu.py`: one line where there is no device; everything runs in the simulator."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resexpand.export.record import read_record

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"


def run(folder: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--out", str(folder / "gpu.json")]
    return subprocess.run(
        [*command, *options],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **variables},
        timeout=300,
    )


def test_without_a_device_it_says_so_in_one_line(tmp_path):
    done = run(tmp_path, CUDA_VISIBLE_DEVICES="-1")
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"nothing to measure: .+; .+\n", done.stderr)
    assert not list(tmp_path.iterdir())


def simulated(folder: Path, *options: str) -> dict[str, Any]:
    """Return what a simulated run writes."""
    done = run(folder, "--simulate", *options)
    assert done.returncode == 0, done.stderr
    found = read_record(folder / "gpu.json")
    assert found["failed"] == []
    assert found["machine"]["simulated"] is True
    assert found["machine"]["devices"]
    text = json.dumps(found)
    assert str(ROOT) not in text
    assert not re.search(rf"\b{re.escape(platform.node())}\b", text)
    return found


def test_sections_without_samplers(tmp_path, numba_cuda):
    found = simulated(tmp_path, "--only", "normals", "theory")
    assert found["not_measured"] == ["agreement", "dense", "function_space"]
    # A sum of normals over the square root of their number.
    assert 0.0 < abs(found["normals"]["deviation_of_the_mean"]) < 4.5
    (theory,) = found["theory"]["cases"].values()
    assert set(theory) == {"cuda", "cpu", "times_cpu"}


@pytest.mark.slow
def test_all_sections(tmp_path, numba_cuda):
    found = simulated(tmp_path)
    assert found["not_measured"] == []
    assert {"agreement", "normals", "dense", "function_space", "theory"} < set(found)
    compared = found["agreement"]
    assert compared["compared"] == len(compared["routines"]) + len(compared["samplers"]) == 2
    assert (compared["refused"], compared["undefined"], compared["disagree"]) == (0, 0, [])
    for row in [*compared["routines"].values(), *compared["samplers"].values()]:
        assert row["agrees"]
        assert max(row["difference"].values()) < 1e-12
    (dense,) = found["dense"].values()
    assert dense["cuda"]["share_beside_drawing"]["count"] == dense["cuda"]["seconds"]["count"]
    assert dense["drawing_over_roof"] > 0
    assert set(dense["torch"]) == {"float32", "float64"}


@pytest.fixture
def cases(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu_cases

    return gpu_cases


def test_every_routine_and_every_observable_is_a_case(cases):
    from resexpand.activations import ACTIVATIONS
    from resexpand.montecarlo.observables.registry import FAMILIES, OBSERVABLES

    routines, samplers = cases.routine_cases(True), cases.sampler_cases(True)
    assert {case.split(" | ")[1] for case in routines} == set(ACTIVATIONS)
    assert {case.split(" | ")[0] for case in routines} == set(cases.ROUTINES)
    for name in (*OBSERVABLES, *(f"{family}(2)" for family in FAMILIES)):
        assert {f"dense | {name}", f"function-space | {name}"} <= set(samplers)


def test_control_differences_are_seen(cases):
    values = np.array([1.0, -2.0, 0.0, np.inf, np.nan])
    assert cases.difference(values, values) == 0.0
    assert cases.difference(values * (1 + 1e-8), values) == pytest.approx(1e-8, rel=1e-3)
    near_zero = np.array([1.0, -2.0, 1e-9, np.inf, np.nan])
    assert cases.difference(near_zero, values) == pytest.approx(5e-7)
    missing = np.array([1.0, -2.0, np.nan, np.inf, np.nan])
    for wrong in (values[:4], np.nan_to_num(values), missing):
        assert cases.difference(wrong, values) == float("inf")
    assert cases.difference(np.array(["a"]), np.array(["b"])) == float("inf")


def test_control_a_wrong_target_disagrees(cases, monkeypatch):
    import gpu_agreement

    def wrong(case, sizes, target="cpu", **how):
        return {"K": np.array([1.0, 2.0 + 1e-8 * (target == "cuda")])}

    monkeypatch.setattr(cases, "networks", wrong)
    monkeypatch.setattr(cases, "routine", wrong)
    found = gpu_agreement.agreement(cases.TINY, every=False)
    assert len(found["disagree"]) == found["compared"] == 2


def test_arithmetic_of_a_loop_is_counted(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from gpu_operations import EXPANDED, slots_per_layer

    body = (
        "fma.rn.f64 %fd1, %fd2, %fd3, %fd4;\n div.rn.f64 %fd1, %fd2, %fd3;\n"
        "mov.f64 %fd1, %fd2;\n add.s64 %rd1, %rd2, 1;\n st.global.f64 [%rd1], %fd1;\n"
    )
    text = f"mul.f64 %fd1, %fd2, %fd3;\n$L__BB0_1:\n{body}{{}}@%p1 bra $L__BB0_1;\nret;\n"
    assert slots_per_layer(text.format(""), 1) == 1 + EXPANDED
    # Unrolled twice; two stores in a layer; another type; no loop.
    assert slots_per_layer(text.format(body), 1) == 1 + EXPANDED
    assert slots_per_layer(text.format(""), 2) == 2 * (1 + EXPANDED)
    assert slots_per_layer(text.format("").replace("f64", "f32"), 1) is None
    assert slots_per_layer(body, 1) is None


def test_a_peer_that_is_not_there_is_said_so(monkeypatch, numba_cuda):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    script = (
        "import json, sys, gpu_samplers as s, gpu_device as d\n"
        "pythons = None, 'no-such-python', sys.executable\n"
        "found = [s.peer(python, '8', 'float32', d.TINY) for python in pythons]\n"
        "print(json.dumps([row['not_measured'] for row in found]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(BENCHMARKS), str(ROOT)])},
    )
    missing, wrong, here = json.loads(done.stdout)
    assert missing == "no interpreter with PyTorch"
    assert wrong.startswith("the interpreter cannot be started")
    assert "torch" in here.lower()


def test_both_targets_agree_on_a_device(device, cases):
    import gpu_agreement

    found = gpu_agreement.agreement(cases.TINY, every=False)
    assert found["compared"] == 2
    assert found["disagree"] == []
