"""Sweeps: every point is what single calls return, stores resume, and axes are what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    evaluate,
    finite_response,
    kernel,
    one_loop,
    sample,
    sweep,
)
from resexpand.cli import main
from resexpand.errors import HyperparameterError, StoreError, UnsupportedError

RHO, DEPTH = sp.symbols("rho L")
NET = ResNet(Branch(Activation("erf"), Linear(1, 0)), scale=RHO, depth=DEPTH)
GRID: dict[str, Any] = {"rho": [0.1, 0.3], "depth": [2, 4], "width": [16, 32]}


@pytest.fixture(scope="module")
def swept() -> Any:
    theories = (kernel(NET), one_loop(NET))
    return sweep(NET, "kernel", theory=theories, draws=50, K0=1.0, **GRID)


def test_points_are_those_of_single_calls(swept: Any) -> None:
    assert len(swept) == 8
    assert swept.points[1] == {"rho": 0.1, "depth": 2, "width": 32}
    for point, (exact, order), runs in zip(
        swept.points, swept.theory, swept.estimates, strict=True
    ):
        numbers = {name: point[name] for name in ("rho", "depth")}
        np.testing.assert_array_equal(exact["K"], evaluate(kernel(NET), K0=1.0, **numbers)["K"])
        wide = evaluate(one_loop(NET), K0=1.0, width=point["width"], **numbers)
        np.testing.assert_array_equal(order["K_width"], wide["K_width"])
        again = sample(
            NET, "kernel", point["width"], 50, K0=1.0, seed=runs["kernel"].seed, **numbers
        )
        np.testing.assert_array_equal(again["kernel"].mean, runs["kernel"].mean)
    assert len({runs["kernel"].seed for runs in swept.estimates}) == 8


def test_every_order_one_is_evaluated_at_the_widths() -> None:
    theory = finite_response(NET)
    found = sweep(NET, theory=theory, rho=[0.3], depth=2, width=[32, 64], K0=1.0)
    for (values,), width in zip(found.theory, (32, 64), strict=True):
        single = evaluate(theory, rho=0.3, depth=2, width=width, K0=1.0)
        np.testing.assert_array_equal(values["eta_mean"], single["eta_mean"])
    assert found.theory[0][0]["eta_mean"] != found.theory[1][0]["eta_mean"]


def test_the_dataset_has_the_axes_of_the_grid(swept: Any) -> None:
    data = swept.to_xarray()
    assert data["K"].dims == ("rho", "depth", "width", "layer")
    assert data["K_cov"].dims[:3] == ("rho", "depth", "width")
    for k, point in enumerate(swept.points):
        here = data.sel(point)
        mean = swept.estimates[k]["kernel"].mean
        np.testing.assert_array_equal(here["kernel_mean"].dropna("layer"), mean)
        np.testing.assert_array_equal(here["K"].dropna("layer"), swept.theory[k][0]["K"])


def test_verdicts(swept: Any) -> None:
    assert len(swept.agreements) == 8
    assert set(swept.agreements[0].positions) == {"K_width", "K_deviation"}
    with pytest.raises(UnsupportedError, match="no theory, or no samples"):
        _ = sweep(NET, theory=kernel(NET), rho=[0.1], depth=2, K0=1.0).agreements


def test_a_sweep_is_resumed_and_extended(tmp_path: Path) -> None:
    store = tmp_path / "grid"
    seen: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 2 and total == 3:
            raise KeyboardInterrupt

    call = {"draws": 50, "K0": 1.0, "depth": 2, "width": 16, "store": store}
    with pytest.raises(KeyboardInterrupt):
        sweep(NET, "kernel", rho=[0.1, 0.2, 0.3], progress=stop, **call)
    kept = {path.name: path.stat().st_mtime_ns for path in store.glob("*.sqlite")}
    assert sorted(kept) == ["rho=0.1.sqlite", "rho=0.2.sqlite"]
    whole = sweep(NET, "kernel", rho=[0.3, 0.1, 0.2], progress=False, **call)
    assert {n: (store / n).stat().st_mtime_ns for n in kept} == kept
    fresh = sweep(NET, "kernel", rho=[0.1, 0.2, 0.3], progress=False, **call | {"store": None})
    np.testing.assert_array_equal(
        whole.estimates[0]["kernel"].mean, fresh.estimates[2]["kernel"].mean
    )
    assert seen == [(0, 3), (1, 3), (2, 3)]


def test_options_of_samples_are_passed_on() -> None:
    found = sweep(NET, "kernel", rho=[0.1], depth=2, width=32, K0=1.0, draws=50, method="dense")
    assert found.estimates[0]["kernel"].method == "dense"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"rho": [0.1], "depth": 2, "K0": 1.0}, "neither observables nor theory"),
        ({"rho": [0.1, 0.1], "depth": 2, "K0": 1.0, "theory": kernel(NET)}, "occurs twice"),
        ({"rho": [], "depth": 2, "K0": 1.0, "theory": kernel(NET)}, "no values"),
        ({"rho": [0.1], "depth": 2, "K0": 1.0, "observables": "kernel"}, "give width="),
        ({"rh": [0.1], "depth": 2, "K0": 1.0, "theory": kernel(NET)}, "no symbol of this name"),
    ],
)
def test_mistakes_are_named(call: dict[str, Any], message: str) -> None:
    with pytest.raises(HyperparameterError, match=message):
        sweep(NET, **call)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(StoreError, match="it is a file"):
        sweep(NET, "kernel", rho=[0.1], depth=2, width=16, K0=1.0, store=path)
    assert path.read_bytes() == b""


def test_the_store_of_a_grid_is_listed_point_by_point(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid: dict[str, Any] = {"rho": [0.1, 0.3], "depth": 2, "width": [16]}
    sweep(NET, "kernel", draws=50, K0=1.0, store=tmp_path / "grid", **grid)
    assert main(["runs", "list", str(tmp_path / "grid")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for line, rho in zip(lines[1:], grid["rho"], strict=True):
        assert f"branch erf(x) -> Linear, residual scale {rho}, K0 1" in line
