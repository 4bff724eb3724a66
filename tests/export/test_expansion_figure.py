"""The counting plot draws the counts, and their limits where they have one."""

from __future__ import annotations

import numpy as np
import pytest

from resexpand.combinatorics import weighted_count
from resexpand.errors import HyperparameterError
from resexpand.export.figures.expansion import counting_figure
from resexpand.export.figures.picture_files import save_figure
from resexpand.theory.count_growth import power_count


def test_curves_are_the_counts():
    figure = counting_figure(3, 1000, points=13)
    growing, tamed, rooted, squares = figure.axes
    solid = [line for line in growing.lines if line.get_linestyle() == "-"]
    assert len(solid) == 3
    low, high = growing.get_ylim()
    assert low == 1  # there is no half a term
    assert high > 1e8
    depths = solid[0].get_xdata()
    assert depths[0] == 1
    assert depths[-1] == 1000
    for k, line in enumerate(solid, start=1):
        expected = np.array([float(weighted_count(k, int(n))) for n in depths])
        drawn = np.nan_to_num(line.get_ydata())
        np.testing.assert_array_equal(drawn, expected)
        for axes, power in ((tamed, k), (rooted, k / 2)):
            curve = [one for one in axes.lines if one.get_linestyle() == "-"][k - 1]
            np.testing.assert_allclose(
                np.nan_to_num(curve.get_ydata()), expected / depths**power, rtol=1e-14
            )
        curve = [one for one in squares.lines if one.get_linestyle() == "-"][k - 1]
        expected = np.array([float(power_count(k, int(n), 2)) for n in depths])
        np.testing.assert_allclose(np.nan_to_num(curve.get_ydata()), expected / depths**k)


def test_limits_are_drawn_on_the_right_alone():
    figure = counting_figure(4, 100, points=5)
    for place, axes in enumerate(figure.axes):
        dotted = [float(one.get_ydata()[0]) for one in axes.lines if one.get_linestyle() == ":"]
        assert dotted == ([] if place % 2 == 0 else [1, 1 / 2, 1 / 3, 1 / 4])


def test_figure_is_saved_as_it_stands(tmp_path):
    written = save_figure(counting_figure(2, 100, points=5), tmp_path / "counts")
    assert [path.name for path in written] == ["counts.pdf", "counts.png"]


@pytest.mark.parametrize("call", [(0, 100), (7, 100), (3, 5), (3, 2.5), (3, 10**30)])
def test_wrong_ranges_are_said(call):
    with pytest.raises(HyperparameterError):
        counting_figure(*call)
