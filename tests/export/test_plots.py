"""Plots in one call: the curves are the numbers of the result, and every axis says what it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp
from matplotlib.figure import Figure

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    compare,
    evaluate,
    kernel,
    one_loop,
    order_profile,
    response,
    sample,
)
from resexpand.errors import UnsupportedError

RHO = sp.Symbol("rho")
NET = ResNet(Branch(Activation("erf"), Linear(1.2, 0.1)), scale=RHO, depth=4)
GRID = np.linspace(0.1, 1, 12)


def heights(axes: Any) -> list[np.ndarray]:
    return [np.asarray(line.get_ydata()) for line in axes.lines]


@pytest.fixture(scope="module")
def run() -> Any:
    return sample(NET, "kernel", 64, 300, K0=1.0, rho=0.5, seed=2)


def test_a_grid_is_the_horizontal_axis() -> None:
    values = evaluate(response(NET), rho=GRID, K0=1.0)
    axes = values.plot().axes[0]
    assert axes.get_xlabel() == r"$\rho$"
    assert axes.get_ylabel() == r"$\eta$"
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), GRID)
    np.testing.assert_array_equal(heights(axes)[0], values["eta"])
    layers = values.plot("eta_layers").axes[0]
    assert len(layers.lines) == 5
    np.testing.assert_array_equal(heights(layers)[3], values["eta_layers"][:, 3])


def test_pairs_are_drawn_once() -> None:
    values = evaluate(kernel(NET, inputs=2), rho=0.5, K0=np.array([[1.0, 0.3], [0.3, 0.7]]))
    axes = values.plot().axes[0]
    assert axes.get_xlabel() == "layer  $l$"
    shown = [text.get_text() for text in axes.texts]
    assert shown == ["11", "12", "22"]
    np.testing.assert_array_equal(heights(axes)[1], values["K"][:, 0, 1])


def test_orders_are_drawn_by_their_diagonal() -> None:
    values = evaluate(order_profile(NET, 3), rho=0.5, K0=1.0)
    axes = values.plot("profile").axes[0]
    assert [text.get_text() for text in axes.texts] == ["00", "11", "22", "33"]


def test_layers_begin_where_they_begin() -> None:
    values = evaluate(kernel(NET), rho=0.5, K0=1.0)
    assert values.plot("C").axes[0].lines[0].get_xdata()[0] == 1
    assert values.plot("K").axes[0].lines[0].get_xdata()[0] == 0


def test_a_width_has_a_band() -> None:
    values = evaluate(one_loop(NET), rho=0.5, K0=1.0, width=64)
    axes = values.plot().axes[0]
    (band,) = axes.collections
    (path,) = band.get_paths()
    top = values["K_width"][-1] + values["K_deviation"][-1]
    assert path.vertices[:, 1].max() == pytest.approx(top, rel=1e-12)


def test_points_and_lines(run: Any) -> None:
    theory = evaluate(response(NET), rho=0.5, K0=1.0)
    axes = run.plot(theory=theory).axes[0]
    np.testing.assert_array_equal(heights(axes)[0], theory["K"])
    np.testing.assert_array_equal(heights(axes)[1], run["kernel"].mean)
    assert len(run["kernel"].plot().axes[0].containers) == 1


def test_a_verdict_with_and_without_title(run: Any) -> None:
    verdict = compare({"K": evaluate(kernel(NET), rho=0.5, K0=1.0)["K"]}, [run])
    titled, plain = verdict.plot(), verdict.plot("K", title=False)
    np.testing.assert_array_equal(heights(titled.axes[1])[1], verdict.z["K"])
    texts = [[t.get_text() for t in figure.axes[0].texts] for figure in (titled, plain)]
    assert any("Monte Carlo" in text for text in texts[0])
    assert texts[1] == []


def test_into_axes_of_ones_own(run: Any) -> None:
    figure = Figure()
    left, middle, right = figure.subplots(1, 3)
    theory = evaluate(kernel(NET), rho=0.5, K0=1.0)
    assert theory.plot(ax=left) is figure
    run.plot(ax=middle)
    compare({"K": theory["K"]}, [run]).plot(ax=right)
    assert [bool(axes.lines) for axes in figure.axes] == [True, True, True]
    assert len(figure.axes) == 3


def test_a_notebook_shows_it(run: Any) -> None:
    assert run.plot()._repr_png_().startswith(b"\x89PNG")


def test_what_cannot_be_drawn(run: Any) -> None:
    values = evaluate(response(NET), rho=0.5, K0=1.0)
    with pytest.raises(UnsupportedError, match="neither layers nor a hyperparameter"):
        values.plot("eta")
    with pytest.raises(KeyError):
        values.plot("nothing")
    with pytest.raises(UnsupportedError, match="it has no layers"):
        compare({"eta": values["eta"]}, [sample(NET, "response", 64, 300, K0=1.0, rho=0.5)]).plot()
