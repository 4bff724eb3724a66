"""`evaluate` with an array of depths: every entry is that of a call with its depth alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
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
    compare,
    describe,
    evaluate,
    gradient_moments,
    kernel,
    load,
    one_loop,
    optimal_scale,
    response,
    sample,
    tangent_kernel,
)
from resexpand.codegen.values import Values
from resexpand.errors import HyperparameterError

RHO, DEPTH = sp.symbols("rho L", positive=True)
BRANCH = Branch(Activation("relu"), Linear(sp.Rational(3, 2), 0))
NET = ResNet(BRANCH, scale=RHO, depth=DEPTH)
SMOOTH = ResNet(Branch(Activation("erf_unit"), Linear(1, 0)), scale=RHO, depth=DEPTH)
DEPTHS = [3, 5, 3, 2]
RESPONSE = response(NET)

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "kernel": (kernel(NET), {"rho": 0.3, "K0": 1.0}),
    "two inputs": (kernel(NET, inputs=2), {"rho": 0.3, "K0": np.array([[1, 0.5], [0.5, 2]])}),
    "response": (RESPONSE, {"rho": 0.3, "K0": 1.0}),
    "at a width": (RESPONSE, {"rho": 0.3, "K0": 1.0, "width": 100}),
    "gradient": (gradient_moments(NET), {"rho": 0.3, "K0": 1.0}),
    "tangent kernel": (tangent_kernel(NET), {"rho": 0.3, "K0": 1.0}),
    "order 1/N": (one_loop(NET), {"rho": 0.3, "K0": 1.0}),
    "optimum": (optimal_scale(SMOOTH), {"K0": 0.1}),
}


def agrees(several: np.ndarray, alone: np.ndarray) -> bool:
    """Whether the leading part is the same to the bit, and the rest empty."""
    inside = tuple(slice(size) for size in np.shape(alone))
    rest = np.ones(np.shape(several), dtype=bool)
    rest[inside] = False
    same = np.array_equal(several[inside], np.asarray(alone), equal_nan=True)
    return bool(same and np.isnan(several[rest]).all())


@pytest.mark.parametrize("case", CASES)
def test_every_depth_is_that_of_its_own_call(case: str) -> None:
    theory, given = CASES[case]
    several = evaluate(theory, depth=DEPTHS, **given)
    assert several.depth == max(DEPTHS)
    for k, depth in enumerate(DEPTHS):
        alone = evaluate(theory, depth=depth, **given)
        assert several.keys() == alone.keys()
        for name, array in several.items():
            assert agrees(array[k], alone[name]), name
            if np.ndim(alone[name]):
                assert not agrees(array[1 - k], alone[name]), name


def test_depths_broadcast_against_the_other_arrays() -> None:
    rho, start = np.array([[0.1], [0.2], [0.4]]), np.array([1.0, 2.0])
    grid = evaluate(RESPONSE, rho=rho, depth=[2, 4], K0=start)
    assert grid["eta"].shape == (3, 2)
    assert grid["chi"].shape == (3, 2, 5, 5)
    assert grid.dims("chi") == ("rho", "depth", "layer", "other_layer")
    for i, k in itertools.product(range(3), range(2)):
        alone = evaluate(RESPONSE, rho=rho[i, 0], depth=[2, 4][k], K0=start[k])
        assert all(agrees(array[i, k], alone[name]) for name, array in grid.items())


def test_a_scale_that_falls_with_the_depth_has_a_limit() -> None:
    """The kernel of ReLU at rho = 1/sqrt(L) is K0 (1 + 3/4L)^L, so it tends to exp(3/4)."""
    net = ResNet(BRANCH, scale=1 / sp.sqrt(DEPTH), depth=DEPTH)
    depths = np.array([10, 100, 1000])
    kernels = evaluate(kernel(net), depth=depths, K0=1.0, outputs="K")["K"]
    last = kernels[np.arange(3), depths]
    assert last == pytest.approx((1 + 0.75 / depths) ** depths, rel=1e-12)
    assert abs(last[-1] / np.exp(0.75) - 1) < 1e-3


def test_axes_files_words_and_problems() -> None:
    values = evaluate(RESPONSE, rho=0.3, depth=[2, 4], K0=1.0)
    assert repr(values).startswith("<Values: depths up to 4, cpu, ok>")
    assert "at depths up to 4" in describe(values)
    assert "depth 4," in repr(evaluate(RESPONSE, rho=0.3, depth=4, K0=1.0))
    high = evaluate(RESPONSE, rho=1e80, depth=[1, 5], K0=1.0)
    assert high.problems
    assert all(problem.startswith("depth 5: ") for problem in high.problems)


def test_a_dataset_has_the_depth_as_coordinate() -> None:
    pytest.importorskip("xarray")
    data = evaluate(RESPONSE, rho=0.3, depth=[2, 4], K0=1.0).to_xarray()
    assert data["eta"].dims == ("depth",)
    assert data["depth"].values.tolist() == [2, 4]
    assert np.isnan(data["K"].sel(depth=2, layer=3))
    assert np.isfinite(data["K"].sel(depth=4, layer=3))


def test_a_file_keeps_them(tmp_path: Path) -> None:
    values = evaluate(RESPONSE, rho=0.3, depth=[2, 4], K0=1.0)
    back = load(values.save(tmp_path / "depths.npz"))
    assert back.dims("K") == values.dims("K") == ("depth", "layer")
    assert all(np.array_equal(back[name], values[name], equal_nan=True) for name in values)


def test_one_depth_of_several_is_judged() -> None:
    values = evaluate(kernel(NET), rho=0.3, depth=[2, 3], K0=1.0)
    run = sample(NET, "kernel", 64, 400, rho=0.3, depth=3, K0=1.0, seed=3)
    assert compare({"K": values["K"][1]}, run).verdict != "disagrees"
    with pytest.raises(HyperparameterError, match="one set of hyperparameters at a time"):
        compare(values, run)
    assert compare({"K": 1.5 * values["K"][1]}, run).verdict == "disagrees"


def test_a_figure_names_every_curve() -> None:
    figure = evaluate(kernel(NET), rho=0.3, depth=[2, 4], K0=1.0).plot("K")
    (axes,) = figure.axes
    texts = [text.get_text() for text in axes.texts]
    assert [text[-2:] for text in texts] == ["2$", "4$"]


FAULTS: dict[str, tuple[Callable[[], Values], str]] = {
    "shapes": (lambda: evaluate(RESPONSE, rho=[1, 2, 3], depth=[2, 3], K0=1), "do not broadcast"),
    "a half": (lambda: evaluate(RESPONSE, rho=1, depth=[2, 2.5], K0=1), "not a positive integer"),
    "none": (lambda: evaluate(RESPONSE, rho=1, depth=[], K0=1), "the array is empty"),
    "text": (lambda: evaluate(RESPONSE, rho=1, depth=["a"], K0=1), "depth"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_is_refused(fault: str) -> None:
    call, why = FAULTS[fault]
    with pytest.raises(HyperparameterError, match=why):
        call()
