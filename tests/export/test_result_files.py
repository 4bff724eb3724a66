"""Results are saved, loaded, and handed on with the names of their axes.

Laws: (1) what is loaded says and holds what was saved, bit by bit; (2) every other file is refused
by one `StoreError`; (3) the axes of a dataset are those along which the numbers were computed.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp

from resexpand import (
    Activation,
    Branch,
    Conv,
    Linear,
    Markov,
    ResNet,
    compare,
    evaluate,
    finite_response,
    kernel,
    load,
    one_loop,
    optimal_scale,
    order_profile,
    response,
    sample,
)
from resexpand.errors import StoreError, UnsupportedError

PHI, RHO = Activation("erf"), sp.Symbol("rho")
NET = ResNet(Branch(PHI, Linear(1.2, 0.1)), scale=0.5, depth=3)
SWEPT = ResNet(Branch(PHI, Linear(1.2, sp.Symbol("b"))), scale=RHO, depth=3)
PAIR = np.array([[1.0, 0.3], [0.3, 0.7]])


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    runs = [sample(NET, "kernel", n, 200, K0=1.0, seed=n) for n in (32, 64)]
    with_control = sample(
        NET, "kernel", 32, 200, K0=1.0, control="infinite-width", histograms={"kernel": [0.5, 1, 2]}
    )
    grid = {"rho": np.linspace(0, 1, 4), "b": np.array([[0.0], [0.2]])}
    theory = evaluate(kernel(NET), K0=1.0)
    return {
        "kernel": evaluate(response(SWEPT), K0=1.0, **grid),
        "pair": evaluate(kernel(NET, inputs=2), K0=PAIR),
        "order": evaluate(order_profile(NET, 3, remainder=True), K0=1.0),
        "width": evaluate(one_loop(NET, inputs=2), K0=PAIR, width=64),
        "optimum": evaluate(optimal_scale(SWEPT), K0=0.1, b=0.05),
        "sample": with_control,
        "verdict": compare({"K": theory["K"]}, runs),
    }


NAMES = ("kernel", "pair", "order", "width", "optimum", "sample", "verdict")


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_result_comes_back(results: dict[str, Any], name: str, tmp_path: Path) -> None:
    result = results[name]
    path = result.save(tmp_path / "a.npz")
    again = load(path)
    assert type(again) is type(result)
    assert repr(again) == repr(result)
    assert again.save(tmp_path / "b.npz").read_bytes() == path.read_bytes()
    assert getattr(again, "citations", ()) == getattr(result, "citations", ())


def test_a_loaded_sample_can_be_merged(results: dict[str, Any], tmp_path: Path) -> None:
    run = results["sample"]["kernel"]
    other = sample(
        NET, "kernel", 32, 200, K0=1.0, seed=9, control="infinite-width",
        histograms={"kernel": [0.5, 1, 2]},
    )["kernel"]  # fmt: skip
    again = load(results["sample"].save(tmp_path / "a.npz"))["kernel"]
    for one, two in ((run.merge(other), again.merge(other)),):
        np.testing.assert_array_equal(one.mean, two.mean)
        np.testing.assert_array_equal(one.plain.variance, two.plain.variance)
        np.testing.assert_array_equal(one.histogram.counts, two.histogram.counts)


def test_a_loaded_verdict_is_judged_anew(results: dict[str, Any], tmp_path: Path) -> None:
    path = results["verdict"].save(tmp_path / "a.npz")
    with np.load(path) as file:
        parts = {name: file[name] for name in file.files}
    parts["entry_theory"] = 1.5 * parts["entry_theory"]
    stream = io.BytesIO()
    np.savez(stream, **parts)
    path.write_bytes(stream.getvalue())
    assert results["verdict"].verdict != "disagrees"
    assert load(path).verdict == "disagrees"


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def _text(path: Path) -> None:
    path.write_text("K, C\n1, 2\n")


def _other(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, K=np.ones(3))


def _pickled(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, K=np.array([{}], dtype=object))


def _part_missing(path: Path) -> None:
    about = {"kind": "Values", "names": ["K"], "depth": 3}
    with path.open("wb") as stream:
        np.savez(stream, resexpand=np.array(json.dumps(about)))


@pytest.mark.parametrize("harm", [_cut, _text, _other, _pickled, _part_missing, Path.unlink])
def test_other_files_are_refused(results: dict[str, Any], harm: Any, tmp_path: Path) -> None:
    path = results["pair"].save(tmp_path / "a.npz")
    harm(path)
    with pytest.raises(StoreError, match=r"reading 'a\.npz'"):
        load(path)


def test_an_unknown_suffix_is_refused(results: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"use \.csv, \.npz, \.nc"):
        results["pair"].save(tmp_path / "a.txt")


@pytest.mark.parametrize("name", NAMES)
def test_csv_has_a_row_per_entry(results: dict[str, Any], name: str, tmp_path: Path) -> None:
    result = results[name]
    rows = result.save(tmp_path / "a.csv").read_text().splitlines()
    if name == "sample":
        count = result["kernel"].mean.size
    elif name == "verdict":
        count = len(result.rows)
    else:
        count = sum(np.size(array) for array in result.values())
        last = np.asarray(result[list(result)[-1]]).ravel()[-1]
        assert float(rows[-1].split(",")[-1]) == pytest.approx(last, rel=0, abs=0, nan_ok=True)
    assert len(rows) == 1 + count


def test_axes_have_names(results: dict[str, Any]) -> None:
    swept, width, order = (results[name].to_xarray() for name in ("kernel", "width", "order"))
    assert swept["eta_layers"].dims == ("b", "rho", "layer")
    assert swept["eta"].dims == ("b", "rho")
    assert swept["chi"].dims == ("b", "rho", "layer", "other_layer")
    assert width["K"].dims == ("layer", "input", "other_input")
    assert width["C_cov"].dims[3:] == ("layer_b", "input_b", "other_input_b")
    assert order["profile"].dims == ("layer", "order", "other_order")
    assert order["remainder"].dims == ("layer", "order")
    assert results["optimum"].to_xarray()["rho"].dims == ()
    at = swept["eta"].sel(rho=1 / 3, b=0.2, method="nearest").item()
    assert at == results["kernel"]["eta"][1, 1]


def test_sizes_that_agree_do_not_confuse_axes() -> None:
    """Four inputs and four layers: the axes are told by what they are, not by their sizes."""
    net = ResNet(Branch(PHI, Linear(1, 0)), scale=0.5, depth=3)
    values = evaluate(response(net, "covariance"), K0=np.eye(4), outputs=["K", "eta", "chi"])
    assert values.dims("K") == ("layer", "input", "other_input")
    assert values.dims("eta") == ("input", "other_input")
    assert values.dims("chi") == ("layer", "other_layer", "input", "other_input")


def test_matrices_of_a_call_are_no_grid() -> None:
    net = ResNet(Branch(Activation("relu"), Conv((0, 1), 2, 0)), scale=0.5, depth=2, positions=2)
    moved = evaluate(kernel(net, inputs="positions"), K0=np.eye(4), dK0=np.eye(4))
    assert moved.dims("dK") == ("layer", "input", "other_input")
    pair = evaluate(finite_response(NET, "covariance"), K0=PAIR, width=64)
    assert pair.dims("covariance_response_mean") == ("layer",)


def test_layers_of_all_theories() -> None:
    net = ResNet(Branch(PHI, Linear(1, 0)), scale=0.5, depth=2, layers=Markov(0.5))
    assert evaluate(kernel(net), K0=1.0).dims("K_layers") == ("layer", "other_layer")
    found = evaluate(optimal_scale(SWEPT), K0=0.1, b=np.array([0.0, 0.05]), width=64)
    assert {found.dims(name) for name in found} == {("b",)}
    assert found.to_xarray()["rho_width"].dims == ("b",)


def test_layers_are_counted_from_where_they_begin(results: dict[str, Any]) -> None:
    dataset = results["width"].to_xarray()
    assert dataset["C"].dropna("layer")["layer"].values[0] == 1
    assert dataset["K"].dropna("layer")["layer"].values[0] == 0


def test_tables(results: dict[str, Any]) -> None:
    frame = results["verdict"].to_dataframe()
    assert list(frame["layer"]) == [0, 1, 2, 3]
    np.testing.assert_array_equal(frame["K_z"], results["verdict"].z["K"])
    assert results["kernel"].to_dataframe("eta").shape == (8, 3)
    assert results["sample"].to_dataframe("kernel")["kernel_mean"].shape == (4,)
    with pytest.raises(UnsupportedError, match="different dimensions"):
        results["kernel"].to_dataframe()
    with pytest.raises(KeyError):
        results["kernel"].to_dataframe("nothing")


def test_a_copy_keeps_the_status(results: dict[str, Any]) -> None:
    values = results["pair"].copy()
    values.problems = ("late",)
    assert results["pair"].status == "ok" != values.status
    np.testing.assert_array_equal(
        np.asarray(results["sample"]["kernel"]), results["sample"]["kernel"].mean
    )
