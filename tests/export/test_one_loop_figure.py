"""Figures of a finite width: what is drawn, and what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resexpand.errors import HyperparameterError
from resexpand.export.figures.one_loop import (
    Fluctuation,
    Sampled,
    fluctuation_figure,
    terms_figure,
)
from resexpand.export.figures.picture_files import save_figure

LAYERS = np.arange(6)
LIMIT = 1 + 0.3 * LAYERS


def profile(width: int, **changed: Any) -> Fluctuation:
    parts = {
        "layer": LAYERS,
        "limit": LIMIT,
        "mean": LIMIT - LAYERS / width,
        "deviation": LIMIT * np.sqrt(2 / width),
        "valid": np.ones(6),
    }
    return Fluctuation(**(parts | changed), width=width)


SAMPLED = Sampled([1, 3], [1.28, 1.85], [0.02, 0.02])


def test_band_is_one_standard_deviation_where_the_expansion_holds() -> None:
    figure = fluctuation_figure([profile(32, valid=LAYERS < 4), profile(128)])
    main, below = figure.axes
    narrow, wide = main.collections
    spread = LIMIT[:4] * np.sqrt(2 / 32)
    heights = narrow.get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx((LIMIT - LAYERS / 32)[:4].max() + spread.max())
    assert narrow.get_paths()[0].vertices[:, 0].max() == 3
    assert wide.get_paths()[0].vertices[:, 0].max() == 5
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[0] == r"$N = \infty$"
    assert "expansion fails" in texts
    shifts = [line.get_ydata() for line in below.get_lines()]
    assert any(np.allclose(y, -LAYERS / 128 / LIMIT) for y in shifts if len(y) == 6)


def test_no_key_for_what_is_not_there() -> None:
    figure = fluctuation_figure([profile(128)], {128: SAMPLED})
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "expansion fails" not in texts
    assert "Monte Carlo" in texts


def test_scores_of_every_theory() -> None:
    theories = {"all": LIMIT, "part": LIMIT + 0.1}
    figure = terms_figure(LAYERS, theories, SAMPLED, subtitle="erf")
    _, sigma = figure.axes
    drawn = np.concatenate([line.get_ydata() for line in sigma.get_lines()])
    for expected in (-1.0, -2.5, -6.0, -7.5):
        assert np.isclose(drawn, expected).any()


def test_files(tmp_path: Path) -> None:
    written = save_figure(fluctuation_figure([profile(64)], subtitle="a"), tmp_path / "f")
    assert [path.suffix for path in written] == [".pdf", ".png"]
    assert all(path.stat().st_size > 1000 for path in written)


@pytest.mark.parametrize(("profiles", "samples"), [([], {}), ([profile(32)], {64: SAMPLED})])
def test_profiles_and_samples_must_meet(profiles: list[Fluctuation], samples: dict) -> None:
    with pytest.raises(HyperparameterError, match="no profile"):
        fluctuation_figure(profiles, samples)


def test_theories_and_samples_must_meet() -> None:
    with pytest.raises(HyperparameterError, match="another shape"):
        terms_figure(LAYERS, {"short": LIMIT[1:]}, SAMPLED)
    with pytest.raises(HyperparameterError, match="has no theory"):
        terms_figure(LAYERS, {"all": LIMIT}, Sampled([9], [1.0], [0.1]))
    with pytest.raises(HyperparameterError, match="theories"):
        terms_figure(LAYERS, {}, SAMPLED)
