"""Figures of orders: what is drawn is what was measured."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from resexpand import Activation, Branch, Linear, ResNet, measure_orders, measure_paths
from resexpand.errors import HyperparameterError
from resexpand.export.figures.orders import Neglect, neglect_figure, orders_figure
from resexpand.export.figures.picture_files import save_figure

DEPTH, WIDTH = 6, 20


def measured(function, inputs):
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((DEPTH, WIDTH, WIDTH)) / np.sqrt(WIDTH)
    x = rng.standard_normal((WIDTH, inputs) if inputs else WIDTH)
    net = ResNet(Branch(Activation(function), Linear()), scale=0.3, depth=DEPTH)
    return (
        measure_orders(net, weights, x, 4) if function == "erf" else measure_paths(net, weights, x)
    )


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


@pytest.mark.parametrize(("function", "letter"), [("erf", "T_k"), ("relu", "P_k")])
@pytest.mark.parametrize("inputs", [None, 3])
def test_every_energy_and_share_is_drawn(tmp_path, function, letter, inputs):
    found = measured(function, inputs)
    expected = np.ones(len(found.energies))
    figure = orders_figure(found, expected, subtitle="a network")
    main, lower = figure.axes
    energies = found.energies.reshape(len(found.energies), -1)
    *dots, bars = main.lines
    assert np.array_equal(np.array([line.get_ydata() for line in dots]).T, energies)
    assert np.array_equal(bars.get_ydata(), expected)
    heights = [patch.get_height() for patch in lower.patches]
    assert np.allclose(heights, found.shares.reshape(len(heights), -1).mean(axis=1))
    low, high = main.get_ylim()
    assert low < energies.min() < energies.max() < high
    assert letter in texts(figure)
    assert "a network" in texts(figure)
    assert all(path.stat().st_size for path in save_figure(figure, tmp_path / "orders"))


def test_what_cannot_be_seen_is_left_out():
    rng = np.random.default_rng(2)
    weights = 1e-4 * rng.standard_normal((30, 5, 5))
    net = ResNet(Branch(Activation("relu"), Linear()), scale=1, depth=30)
    figure = orders_figure(measure_paths(net, weights, rng.standard_normal(5)))
    assert len(figure.axes[1].patches) < 6


def test_expected_energies_of_another_length_are_refused():
    found = measured("erf", None)
    for expected in (np.ones(3), np.full(5, np.nan)):
        with pytest.raises(HyperparameterError, match="expected energies"):
            orders_figure(found, expected)


def test_curves_over_the_depth():
    depths = np.array([1.0, 10.0, 100.0])
    curves = {
        "erf": Neglect(depths, depths**-1, 0),
        "tanh": Neglect(depths, depths**-2, 1, dashed=True),
    }
    figure = neglect_figure(curves, [(10.0, 0.1, 0.01)], ylabel="left out", subtitle="below")
    solid, dashed = figure.axes[0].lines[:2]
    assert np.array_equal(solid.get_ydata(), depths**-1)
    assert solid.get_linestyle() != dashed.get_linestyle()
    assert {"erf", "tanh", "left out", "below"} <= set(texts(figure).split("\n"))
    with pytest.raises(HyperparameterError, match="curves"):
        neglect_figure({}, ylabel="")
