"""The validation workflow: verdicts, controls, files, resumption, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, LayerNorm, response
from resexpand.errors import HyperparameterError, StoreError
from resexpand.export.record import read_record
from resexpand.workflows.results import check_writable, draw_responses, write
from resexpand.workflows.settings import Settings
from resexpand.workflows.validate import Validation, derive, validate

SMALL = Settings(
    depths=(3, 6),
    scales=(0.2, 0.5),
    widths=(100, 200),
    draws=4_000,
    dense_width=24,
    dense_draws=6_000,
)


def quiet(line: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def found() -> Validation:
    return validate(SMALL, say=quiet)


def test_the_default_theory_agrees(found: Validation) -> None:
    assert found.agreement.verdict == "agrees", str(found.agreement)
    assert found.exit_code == 0
    assert set(found.responses) == set(SMALL.scales)
    assert found.samplers
    assert found.kernels is None


def test_control_a_wrong_response_disagrees() -> None:
    right = derive(SMALL)
    wrong = replace(right, response=response(SMALL.network(), kind="tangent"))
    refuted = validate(SMALL, theory=wrong, say=quiet)
    assert refuted.agreement.verdict == "disagrees"
    assert refuted.exit_code == 1


def test_too_few_networks_decide_nothing() -> None:
    vague = validate(replace(SMALL, draws=64, dense_draws=64), say=quiet)
    assert vague.agreement.verdict == "inconclusive"
    assert vague.exit_code == 2


def test_the_report_shows_every_stage() -> None:
    lines: list[str] = []
    validate(replace(SMALL, draws=64, dense_draws=64), say=lines.append)
    text = "\n".join(lines)
    for word in ("network", "response", "optimum", "K* = 0.388848", "sampled", "every weight"):
        assert word in text


def test_threads_do_not_change_the_result(found: Validation) -> None:
    again = validate(replace(SMALL, workers=1), say=quiet)
    for scale in SMALL.scales:
        ours, theirs = found.responses[scale].rows, again.responses[scale].rows
        assert [row.estimate for row in ours] == [row.estimate for row in theirs]


def test_scales_have_independent_errors() -> None:
    seeds = {
        SMALL.seed_at(width, scale, part=part)
        for width in SMALL.widths
        for scale in SMALL.scales
        for part in range(5)
    }
    assert len(seeds) == len(SMALL.widths) * len(SMALL.scales) * 5


def test_the_folder(found: Validation, tmp_path: Path) -> None:
    written = write(found, tmp_path / "new" / "folder")
    names = {path.name for path in written.files}
    assert names == {
        "response.pdf",
        "response.png",
        "formulas.tex",
        "references.bib",
        "record.json",
    }
    record = read_record(tmp_path / "new" / "folder" / "record.json")
    assert record["verdict"]["verdict"] == "agrees"
    assert record["settings"]["seed"] == SMALL.seed
    assert record["environment"]["numba"]
    lines = np.array(record["theory"]["eta_layers"])
    np.testing.assert_array_equal(lines, found.theory.lines)
    assert len(record["responses"]["0.2"]["rows"]) == max(SMALL.depths) + 1


def test_the_figure_shows_the_theory(found: Validation) -> None:
    main = draw_responses(found).axes[0]
    drawn = [np.asarray(line.get_ydata()) for line in main.lines]
    for depth in SMALL.depths:
        expected = found.theory.lines[:, depth]
        assert any(y.shape == expected.shape and np.array_equal(y, expected) for y in drawn)


def test_the_kernel_of_data(tmp_path: Path) -> None:
    inputs = np.array([[1.0, 0.5, -0.2, 0.1], [0.3, -0.4, 0.9, 0.2], [0.1, 0.1, 0.1, 2.0]])
    settings = replace(SMALL, activation=Activation("relu"), inputs=inputs, scales=(0.3,))
    found = write(validate(settings, say=quiet), tmp_path)
    assert found.kernels is not None
    assert found.kernels.verdict == "agrees", str(found.kernels)
    assert (tmp_path / "kernel.png").stat().st_size > 10_000


def test_a_run_resumes_from_its_store(found: Validation, tmp_path: Path) -> None:
    kept = replace(SMALL, store=tmp_path / "samples")
    validate(kept, say=quiet)
    files = sorted((tmp_path / "samples").iterdir())
    assert len(files) == len(SMALL.scales) * (len(SMALL.widths) + 2)
    before = [path.read_bytes() for path in files]
    again = validate(kept, say=quiet)
    assert [path.read_bytes() for path in files] == before
    ours = [row.estimate for row in found.agreement.rows]
    np.testing.assert_array_equal(ours, [row.estimate for row in again.agreement.rows])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"depths": ()}, "no depths"),
        ({"depths": (0,)}, "depths start at 1"),
        ({"scales": (0.0,)}, "scales above 0"),
        ({"widths": (4,)}, "widths at 8"),
        ({"draws": 3}, "errors need more"),
        ({"seed": -1}, "room for one seed"),
        ({"widths": (2**18,)}, "widths below"),
    ],
)
def test_settings_that_cannot_be(change: dict[str, object], why: str) -> None:
    with pytest.raises(HyperparameterError, match=why):
        replace(SMALL, **change)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match=r"file/results: .* cannot be written"):
        check_writable(tmp_path / "file" / "results")
    with pytest.raises(StoreError, match="choose another folder"):
        replace(SMALL, store=tmp_path / "file").store_at("part")


def test_a_response_that_is_negative(tmp_path: Path) -> None:
    # <phi^2> = K / (1 + 4 K)^(3/2) falls from K = 1/2 on.
    bump = sp.Symbol("x") * sp.exp(-(sp.Symbol("x") ** 2))
    settings = replace(SMALL, activation=Activation(bump), K0=0.8, scales=(0.3,), resolve=0.15)
    found = write(validate(settings, say=quiet), tmp_path)
    assert (found.theory.lines < 0).all()
    assert found.agreement.verdict == "agrees", str(found.agreement)


def test_an_activation_without_optimum(tmp_path: Path) -> None:
    settings = replace(SMALL, activation=Activation("relu"), scales=(0.3,), resolve=0.1)
    found = write(validate(settings, say=quiet), tmp_path)
    assert "without bound" in found.theory.best[0].status
    assert found.agreement.verdict == "agrees", str(found.agreement)


def test_a_stream_that_is_normalised(tmp_path: Path) -> None:
    """The response to a displacement is compared; that of a stream without norm is not it."""
    settings = replace(SMALL, post_norm=LayerNorm(), K0=0.5, resolve=0.15)
    said: list[str] = []
    found = write(validate(settings, say=said.append), tmp_path)
    assert found.agreement.verdict == "agrees", found.agreement
    assert found.theory.optimum is None
    assert any("blocks that add to the stream" in line for line in said)
    record = read_record(tmp_path / "record.json")
    assert record["settings"]["post_norm"].startswith("LayerNorm")
    assert record["formulas"]["condition"] is None
    plain = derive(replace(settings, post_norm=None))
    wrong = replace(
        found.theory, response=response(replace(settings, post_norm=None).network(), "tangent")
    )
    assert plain.optimum is not None
    assert validate(settings, theory=wrong, say=quiet).agreement.verdict == "disagrees"
