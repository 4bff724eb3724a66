"""The benchmarks run, their records are complete, and the contenders agree. No time is asserted."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resexpand.export.record import read_record

ROOT = Path(__file__).resolve().parents[1]
AGREEMENT = 1e-10
PEERS = {"generated routine", "NumPy", "lambdify", "Numba, plain", "Numba, by hand"}


def record_of(script: str, folder: Path) -> dict[str, Any]:
    out = folder / f"{script}.json"
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, str(ROOT / "benchmarks" / f"{script}.py"), "--quick"]
    done = subprocess.run(
        [*command, "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return read_record(out)


def spreads(value: Any) -> list[dict[str, Any]]:
    """Return all medians with their spread, anywhere in a record."""
    if isinstance(value, dict):
        own = [value] if "median" in value else []
        return own + [found for part in value.values() for found in spreads(part)]
    return []


def assert_complete(record: dict[str, Any]) -> None:
    assert record["not_finite"] == []
    assert record["environment"]["numba"]
    found = spreads(record)
    assert found
    for numbers in found:
        low, high = numbers["quartiles"]
        assert numbers["smallest"] <= low <= numbers["median"] <= high <= numbers["largest"]
    text = json.dumps(record)
    assert str(Path.home()) not in text
    assert str(ROOT) not in text
    assert not re.search(rf"\b{re.escape(platform.node())}\b", text)


@pytest.mark.slow
def test_routine_and_its_peers_compute_the_same(tmp_path):
    record = record_of("routine", tmp_path)
    assert_complete(record)
    assert len(record["cases"]) == 4
    for case in record["cases"].values():
        assert set(case["largest_relative_difference"]) == PEERS
        assert max(case["largest_relative_difference"].values()) < AGREEMENT
        assert {label.split(" [")[0] for label in case["rates"]} == {
            *PEERS,
            "generated routine, call",
        }
        assert case["floor"]["operations_per_pair_layer"] > 0
    assert record["neural_tangents"] == {
        "available": False,
        "reason": "left out of a quick run",
    }


@pytest.mark.parametrize(
    ("wrong", "agrees"), [(1.0, True), (1.0 + 1e-8, False)], ids=["same", "wrong"]
)
def test_a_wrong_result_is_noticed(monkeypatch, wrong, agrees):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from cases import draw_case
    from routine import Contenders
    from vectorised import by_numpy

    contenders = Contenders(draw_case("relu", 1, points=50, depth=5))
    chi, kernel = by_numpy(contenders.case)()
    contenders.check("NumPy", (chi.T, wrong * kernel.T))
    assert (contenders.differences["NumPy"] < AGREEMENT) == agrees


@pytest.mark.slow
def test_startup(tmp_path):
    record = record_of("startup", tmp_path)
    assert_complete(record)
    assert set(record["startup"]) == set(record["contenders"])


@pytest.mark.slow
def test_first_contact(tmp_path):
    record = record_of("first_contact", tmp_path)
    assert_complete(record)
    (steps,) = record["first_contact"].values()
    assert len(steps) == 4
    assert record["compared"] is False


@pytest.mark.slow
def test_samplers(tmp_path):
    record = record_of("samplers", tmp_path)
    assert_complete(record)
    names = {name.split(",")[0] for name in record["rates"]}
    assert {"own normals", "NumPy loop", "function-space", "dense"} <= names
    assert set(record["exponents"]) == {"width", "depth", "draws"}


def test_store(tmp_path):
    record = record_of("store", tmp_path)
    assert_complete(record)
    assert 0 < record["results"]["coordinator_share_with_store"]["median"] < 1


@pytest.mark.slow
def test_trees_and_their_peers_make_the_same(tmp_path):
    record = record_of("trees", tmp_path)
    assert_complete(record)
    table = record["trees"]
    assert table["merged, sympy.ring"]["agrees"] is True
    assert table["labelled, merged"]["result"] != table["labelled"]["result"]
    if "unlabelled, kauri" in table:
        assert table["unlabelled, kauri"]["agrees"] is True
    assert all(row.get("order", 1) < 9 for row in table.values())


def test_jets(tmp_path):
    record = record_of("jets", tmp_path)
    assert_complete(record)
    table = record["jets"]
    assert set(table["time_over_floor"]) == {"measure_orders", "forward pass"}
    assert table["forward_pass_relative_difference"] < AGREEMENT
    assert table["jax"] == {"available": False, "reason": "no interpreter given with --jax"}


@pytest.mark.slow
def test_kernels_of_a_data_set(tmp_path):
    record = record_of("gram", tmp_path)
    assert record["not_finite"] == []
    assert {row["activation"] for row in record["rows"]} >= {"relu", "gelu", "tanh"}
    for row in record["rows"]:
        assert row["status"] == "ok"
        assert row["stated_error"] < 1e-10
        assert row["seconds"]["resexpand"]["median"] > 0


@pytest.mark.slow
def test_tangent_kernels_of_a_data_set(tmp_path):
    record = record_of("tangent_kernel", tmp_path)
    assert record["not_finite"] == []
    assert {row["activation"] for row in record["rows"]} >= {"relu", "erf", "gelu", "tanh"}
    for row in record["rows"]:
        assert row["status"] == "ok"
        assert row["stated_error"] < 1e-10
        assert row["seconds"]["resexpand"]["median"] > 0


@pytest.mark.slow
def test_profiles_of_models(tmp_path):
    if find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    record = record_of("block_profile", tmp_path)
    assert_complete(record)
    for found in record["results"].values():
        assert found["blocks"] == 4
        assert found["additional_memory_in_activations"] < 1


def test_profiles_of_large_models_cost_little():
    record = read_record(ROOT / "benchmarks" / "results" / "block_profile.json")
    assert_complete(record)
    for found in record["results"].values():
        assert found["blocks"] == 24
        assert found["time_ratio"]["median"] < 1.3
        assert found["additional_memory_in_activations"] < 1


def test_committed_records_are_complete():
    for script in ("routine", "startup", "samplers", "trees", "jets", "one_loop"):
        assert_complete(read_record(ROOT / "benchmarks" / "results" / f"{script}.json"))


@pytest.mark.slow
def test_mean_correction(tmp_path):
    record = record_of("mean_correction", tmp_path)
    assert_complete(record)
    found = record["resolved"]
    assert found["relative_error"] <= record["wanted_relative_error"] == 0.01
    assert abs(found["z"]) < 5 + found["next_order_relative"] / 0.01
    assert found["networks_without_control"] > 1000 * found["networks"]
    assert set(record["samplers"]) == {"controlled", "function-space", "dense"}


@pytest.mark.slow
def test_one_loop_and_the_obvious_way(tmp_path):
    record = record_of("one_loop", tmp_path)
    assert_complete(record)
    peers = [row["obvious_way"] for row in record["one_loop"].values() if "obvious_way" in row]
    assert len(peers) == 2
    assert all(peer["relative_difference"] < 1e-3 for peer in peers)
    assert all(row["status"] == "ok" for row in record["one_loop"].values())


@pytest.mark.slow
def test_columns_beside_neural_tangents(tmp_path):
    """The kept record agrees to rounding and tells wrong networks apart; ours are as they were."""
    kept = read_record(ROOT / "benchmarks" / "results" / "columns.json")
    assert len(kept["rows"]) == 6
    assert all(row["largest_difference"] < 1e-13 for row in kept["rows"])
    assert all(row["control"] > 1e-3 for row in kept["rows"])
    now = record_of("columns", tmp_path)
    for row, old in zip(now["rows"], kept["rows"], strict=True):
        assert row["network"] == old["network"]
        np.testing.assert_allclose(row["kernel"], old["kernel"], rtol=1e-12)


@pytest.mark.slow
def test_norms_beside_the_plain_branch(tmp_path):
    record = record_of("norms", tmp_path)
    assert_complete(record)
    assert record["neural_tangents"]["available"] is False
    assert {name.split(",")[0] for name in record["samplers"]} == {
        *("plain", "LayerNorm", "RMSNorm", "Dropout", "StochasticDepth", "BatchNorm")
    }
    assert len(record["kernels"]) == 8


@pytest.mark.slow
def test_infinite_depth_beside_its_normals(tmp_path):
    record = record_of("depth_limits", tmp_path)
    assert_complete(record)
    assert set(record["kernels"]) == {"relu", "erf"}
    assert "over floor" in record["sampler"]
    assert all("over normals" in way for way in record["equation"].values())


def test_the_loop_draws_the_networks_of_the_theory(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from norms import numpy_loop

    # K^l = K^0 + l rho^2 without bias, at rho = 0.1; exact at every width but for the mean.
    assert abs(numpy_loop(64, 5, 400)() - 1.05) < 4 * (2 / 64 / 400) ** 0.5 + 0.01
