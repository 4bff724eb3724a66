"""Figures: what is drawn is what was given, files are written, nothing global is touched."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from resexpand import compare
from resexpand.agreement.comparison import Agreement
from resexpand.errors import HyperparameterError, StoreError
from resexpand.export.figures.agreement import kernel_figure, response_figure
from resexpand.export.figures.panels import label_ends, spread_apart, verdict_line
from resexpand.export.figures.picture_files import save_figure
from resexpand.export.figures.series import Curve, Optimum, Points, Profile
from resexpand.export.figures.style import SETTINGS, colour
from resexpand.montecarlo.statistics.estimate import Estimate
from resexpand.montecarlo.statistics.moments import Moments

RHO = np.linspace(0.01, 1.0, 50)
SOME = np.array([0.1, 0.5, 0.9])


def eta(depth: int, rho: np.ndarray) -> np.ndarray:
    return rho * np.exp(-0.5 * depth * rho**2)


def curves() -> list[Curve]:
    return [Curve(depth, RHO, eta(depth, RHO)) for depth in (5, 20)]


def points(depth: int = 5, sampler: str = "dense", z: float = 1.0) -> Points:
    error = np.full(3, 0.01)
    return Points(
        depth, SOME, eta(depth, SOME) + z * error, error, np.full(3, z), np.full(3, 0.02), sampler
    )


def sampled(shift: float = 0.0) -> Agreement:
    rows = 1.0 + 0.02 * np.random.default_rng(0).standard_normal((400, 6)) + shift
    estimate = Estimate("kernel", Moments.of(rows), width=1000, depth=5)
    return compare({"K": np.ones(6)}, {"kernel": estimate})


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))  # type: ignore[attr-defined]


def test_lines_points_and_scores_are_the_input() -> None:
    main, sigma = response_figure(curves(), [points()]).axes
    drawn = [line for line in main.lines if len(line.get_xdata()) == RHO.size]
    assert len(drawn) == 2
    for line, curve in zip(drawn, curves(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), curve.rho)
        np.testing.assert_array_equal(line.get_ydata(), curve.eta)
    marks = main.containers[0].lines[0]
    np.testing.assert_array_equal(marks.get_ydata(), points().eta)
    (bars,) = main.containers[0].lines[2]
    heights = [segment[1, 1] - segment[0, 1] for segment in bars.get_segments()]
    np.testing.assert_allclose(heights, 2 * points().error)
    scores = next(line for line in sigma.lines if line.get_marker() == "o")
    np.testing.assert_array_equal(scores.get_ydata(), points().z)
    allowed = sigma.collections[0].get_segments()
    np.testing.assert_allclose([segment[1, 1] for segment in allowed], 2.0)
    assert main.get_shared_x_axes().joined(main, sigma)
    assert marks.get_color() == drawn[0].get_color() == colour(0)


def test_optima_and_their_asymptote_are_marked() -> None:
    figure = response_figure(curves(), (), [Optimum(20, 0.22, 0.13)], 1.0)
    main = figure.axes[0]
    star = next(line for line in main.lines if line.get_marker() == "*")
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (0.22, 0.13)
    diamonds = [line for line in main.lines if line.get_marker() == "D"]
    np.testing.assert_allclose(
        [line.get_xdata()[0] for line in diamonds], [1 / math.sqrt(5), 1 / math.sqrt(20)]
    )
    assert r"$c/\sqrt{L}$" in texts(figure)


def test_an_asymptote_beyond_the_axis_is_not_drawn() -> None:
    main = response_figure(curves(), (), (), 30.0).axes[0]
    assert not [line for line in main.lines if line.get_marker() == "D"]


def test_an_optimum_beyond_its_curve_is_not_drawn() -> None:
    """And the legend does not speak of it, nor the axis reach there."""
    figure = response_figure(curves(), (), [Optimum(20, 3.0, 0.5)], 30.0)
    main = figure.axes[0]
    assert not [line for line in main.lines if line.get_marker() in ("*", "D")]
    assert main.get_xlim()[1] < 1.1
    assert "optimum" not in texts(figure)
    assert "sqrt" not in texts(figure)


def test_a_curve_that_leaves_the_axis_keeps_its_label() -> None:
    axes = Figure().subplots()
    axes.set_ylim(0, 1)
    label_ends(axes, [-5.0, math.nan, 7.0], ["a", "b", "c"], ["k"] * 3)
    assert all(-0.1 <= text.xy[1] <= 1.1 for text in axes.texts)
    cut = eta(20, RHO)
    cut[-5:] = np.nan
    figure = response_figure([curves()[0], Curve(20, RHO, cut)])
    label = next(t for t in figure.axes[0].texts if t.get_text() == "$L = 20$")
    whole = response_figure(curves())
    expected = next(t for t in whole.axes[0].texts if t.get_text() == "$L = 20$")
    assert label.xy[1] == pytest.approx(expected.xy[1], abs=0.1)


def test_samplers_differ_in_marker_and_are_named() -> None:
    figure = response_figure(curves(), [points(), points(20, "function-space")])
    main = figure.axes[0]
    assert [c.lines[0].get_marker() for c in main.containers] == ["o", "s"]
    assert {"dense", "function-space"} <= set(texts(figure).splitlines())


def test_the_verdict_is_the_title() -> None:
    assert "Theory and Monte Carlo agree" in texts(
        response_figure(curves(), agreement=sampled(), subtitle="erf")
    )
    off = sampled(0.5)
    assert "disagree" in texts(kernel_figure([Profile.of(off)], off))
    assert "6 of 6 off" in verdict_line(off)


def test_scores_far_off_are_arrows_within_the_panel() -> None:
    sigma = response_figure(curves(), [points(z=50.0)]).axes[1]
    arrows = [line for line in sigma.lines if line.get_marker() == "^" and len(line.get_xdata())]
    assert len(arrows) == 1
    assert np.all(arrows[0].get_ydata() < sigma.get_ylim()[1])
    exact = response_figure(curves(), [points(z=math.inf)]).axes[1]
    assert len(next(line for line in exact.lines if line.get_marker() == "^").get_xdata()) == 3


def test_the_axis_is_logarithmic_only_where_sensible() -> None:
    assert response_figure(curves()).axes[0].get_yscale() == "log"
    narrow = [Curve(5, RHO, 1.0 + RHO)]
    assert response_figure(narrow).axes[0].get_yscale() == "linear"
    crossing = [Curve(5, RHO, 100 * RHO - 5)]
    assert response_figure(crossing).axes[0].get_yscale() == "linear"


def test_profiles_come_from_an_agreement() -> None:
    agreement = sampled()
    profile = Profile.of(agreement, "K")
    np.testing.assert_array_equal(profile.layer, np.arange(6))
    np.testing.assert_array_equal(profile.z, agreement.z["K"])
    np.testing.assert_array_equal(profile.neglected, agreement.budget["K"].neglected)
    main, sigma = kernel_figure([profile], agreement).axes
    np.testing.assert_array_equal(main.lines[0].get_ydata(), profile.theory)
    assert all(float(tick).is_integer() for tick in sigma.get_xticks())


def test_pairs_and_points_come_from_agreements() -> None:
    gram = np.array([[1.0, 0.2], [0.2, 2.0]])
    rows = gram + 0.01 * np.random.default_rng(1).standard_normal((100, 1, 1, 1)) * np.ones(
        (1, 3, 1, 1)
    )
    estimate = Estimate("kernel", Moments.of(rows), 1000, 2)
    agreement = compare({"K": np.stack([gram] * 3)}, {"kernel": estimate})
    mixed = Profile.of(agreement, "K", pair=(1, 0), label="$K_{12}$")
    np.testing.assert_array_equal(mixed.theory, 0.2)
    figure = kernel_figure([Profile.of(agreement, "K", pair=(0, 0)), mixed])
    assert "$K_{12}$" in texts(figure)
    taken = Points.of(5, [0.1, 0.2], [sampled(), sampled(0.1)], "K", sampler="dense")
    assert taken.eta.shape == (2,)
    assert taken.z[1] > taken.z[0]


def test_files_are_written_and_equal_figures_give_equal_files(tmp_path: Path) -> None:
    first = save_figure(response_figure(curves(), [points()]), tmp_path / "a" / "rho0.1")
    assert [path.name for path in first] == ["rho0.1.pdf", "rho0.1.png"]
    assert first[0].read_bytes().startswith(b"%PDF")
    header = first[1].read_bytes()
    assert header.startswith(b"\x89PNG")
    assert int.from_bytes(header[16:20]) == 860
    second = save_figure(response_figure(curves(), [points()]), tmp_path / "b")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="can be written"):
        save_figure(response_figure(curves()), tmp_path / "file" / "figure")


@pytest.mark.parametrize(
    "draw",
    [
        lambda: response_figure([]),
        lambda: kernel_figure([]),
        lambda: Curve(5, np.empty(0), np.empty(0)),
        lambda: Points.of(5, [], []),
        lambda: Curve(5, RHO, RHO[:-1]),
        lambda: Curve(5, np.ones((2, 2)), np.ones((2, 2))),
        lambda: response_figure([*curves(), curves()[0]]),
        lambda: response_figure(curves(), [points(depth=7)]),
        lambda: response_figure(curves(), (), [Optimum(7, 0.1, 0.1)]),
    ],
)
def test_what_cannot_be_drawn(draw: object) -> None:
    with pytest.raises(HyperparameterError):
        draw()  # type: ignore[operator]


def test_labels_are_moved_apart_in_order() -> None:
    moved = spread_apart(np.array([0.5, 0.52, 0.1, 0.51]), 0.1)
    assert np.all(np.diff(moved[[2, 0, 3, 1]]) >= 0.1 - 1e-12)
    assert moved[2] == 0.1
    np.testing.assert_allclose(moved[[0, 1, 3]].mean(), 0.51)


def test_settings_of_the_user_are_left_alone(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    save_figure(response_figure(curves()), tmp_path / "a")
    assert dict(mpl.rcParams) == before
    assert SETTINGS["pdf.fonttype"] == 42


def test_importing_draws_in_neither_matplotlib_nor_numba() -> None:
    code = (
        "import sys, resexpand.export.figures.agreement, resexpand.export.record\n"
        "print(sorted({'matplotlib', 'numba'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    code = "import sys; from resexpand.export.figures.panels import two_panels; two_panels()\n"
    code += "print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
