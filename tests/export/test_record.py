"""Records: strict JSON, exact round trips, nothing private, one clear error each."""

from __future__ import annotations

import json
import math
import socket
import tempfile
from pathlib import Path

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from resexpand import compare
from resexpand.errors import HyperparameterError, StoreError
from resexpand.export.record import environment, read_record, write_record
from resexpand.montecarlo.statistics.estimate import Estimate
from resexpand.montecarlo.statistics.moments import Moments

rho = sympy.Symbol("rho")


def strict(path: Path) -> dict[str, object]:
    def refuse(name: str) -> float:
        raise AssertionError(name)

    loaded = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert isinstance(loaded, dict)
    return loaded


def test_environment_is_complete_and_private() -> None:
    seen = environment()
    assert set(seen) >= {"resexpand", "python", "numpy", "numba", "sympy", "system", "processors"}
    assert seen["numpy"] == np.__version__
    assert seen["processors"] >= 1
    text = json.dumps(seen)
    for private in (socket.gethostname(), str(Path.home()), "/"):
        assert private not in text


def test_every_kind_of_value(tmp_path: Path) -> None:
    path = write_record(
        tmp_path / "deep" / "run.json",
        settings={
            "expression": rho**2 / 3,
            rho: np.float64(0.1),
            "flag": np.bool_(True),
            "none": None,
        },
        results=[np.arange(3), (1, 2.5), "text é", np.array([[0.1, 0.2]])],
    )
    record = strict(path)
    assert record["schema"] == {"name": "resexpand-record", "version": 1}
    assert record["results"] == [[0, 1, 2], [1, 2.5], "text é", [[0.1, 0.2]]]
    assert record["settings"] == {
        "expression": "rho**2/3",
        "rho": 0.1,
        "flag": True,
        "none": None,
    }
    assert next(iter(record)) == "schema"
    assert record["environment"] == environment()
    assert record["not_finite"] == []


def test_keys_that_collide_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HyperparameterError, match="two keys"):
        write_record(tmp_path / "a.json", settings={"rho": 1, rho: 2})


def test_numbers_that_are_not_finite_are_null_and_named(tmp_path: Path) -> None:
    path = write_record(
        tmp_path / "a.json",
        results={"a/b~c": np.array([[1.0, np.nan], [np.inf, -np.inf]]), "fine": 1.0},
    )
    record = strict(path)
    assert record["results"] == {"a/b~c": [[1.0, None], [None, None]], "fine": 1.0}
    assert record["not_finite"] == [
        {"pointer": "/results/a~1b~0c/0/1", "reason": "nan"},
        {"pointer": "/results/a~1b~0c/1/0", "reason": "inf"},
        {"pointer": "/results/a~1b~0c/1/1", "reason": "-inf"},
    ]
    back = read_record(path)["results"]["a/b~c"]
    np.testing.assert_array_equal(back, [[1.0, np.nan], [np.inf, -np.inf]])


@given(st.lists(st.floats(), max_size=20))
def test_floats_come_back_bit_for_bit(values: list[float]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        back = read_record(write_record(Path(folder) / "a.json", values=np.array(values)))
    for one, other in zip(values, back["values"], strict=True):
        assert one == other or (math.isnan(one) and math.isnan(other))
        assert math.copysign(1, one) == math.copysign(1, other) or math.isnan(one)


def test_agreements_and_estimates_are_recorded_whole(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(1.0, 0.1, size=(1000, 2))
    rows[:, 1] = 2.0
    estimate = Estimate("kernel", Moments.of(rows), width=50, depth=1, seeds=(7,))
    agreement = compare({"K": [1.0, 2.5]}, {"kernel": estimate}, neglected=0)
    record = read_record(
        write_record(tmp_path / "a.json", agreement=agreement, estimates={"kernel": estimate})
    )
    assert record["agreement"]["verdict"] == "disagrees"
    assert record["agreement"]["rows"][1]["z"] == -math.inf
    assert record["estimates"]["kernel"]["seeds"] == [7]
    np.testing.assert_array_equal(record["estimates"]["kernel"]["mean"], estimate.mean)


def test_an_existing_record_is_replaced_or_left_whole(tmp_path: Path) -> None:
    path = write_record(tmp_path / "a.json", value=1)
    with pytest.raises(HyperparameterError, match="'/value/1'"):
        write_record(path, value=[1, object()])
    assert read_record(path)["value"] == 1
    write_record(path, value=2)
    assert read_record(path)["value"] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("value", [1j, {1, 2}, b"bytes", np.array([1j]), Path("x")])
def test_what_json_cannot_hold(tmp_path: Path, value: object) -> None:
    with pytest.raises(HyperparameterError, match="JSON cannot hold"):
        write_record(tmp_path / "a.json", value=value)
    assert not list(tmp_path.iterdir())


def test_reserved_names(tmp_path: Path) -> None:
    with pytest.raises(HyperparameterError, match="not_finite"):
        write_record(tmp_path / "a.json", not_finite=[])


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "taken").mkdir()
    for target in (tmp_path / "file" / "a.json", tmp_path / "taken"):
        with pytest.raises(StoreError, match="can be written"):
            write_record(target, value=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "taken"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "strict JSON"),
        ('{"schema": NaN}', "strict JSON"),
        ("[1]", "no record"),
        ('{"schema": {"name": "other", "version": 1}}', "no record"),
        ('{"schema": {"name": "resexpand-record", "version": 99}}', "schema version"),
        (
            '{"schema": {"name": "resexpand-record", "version": 1},'
            ' "not_finite": [{"pointer": "/a/0", "reason": "nan"}]}',
            "leads nowhere",
        ),
    ],
)
def test_what_is_no_record(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(StoreError, match=message):
        read_record(path)


def test_a_record_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        read_record(tmp_path / "absent.json")
