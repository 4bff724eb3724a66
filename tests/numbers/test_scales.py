"""`compare_scales`: every candidate against its formula, every number against a closed law.

Laws: a relu network of He's weights has ``K^L = (1 + rho^2)^L K^0``, gradients of the same ratio,
and a binomial law of path lengths; with a normalisation it grows by one per block.
"""

from __future__ import annotations

from math import comb
from pathlib import Path

import numpy as np
import pytest
from uncompiled import evaluate

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    LayerNorm,
    Linear,
    ResNet,
    cite,
    compare_scales,
    load,
    mlp,
    post_ln,
    pre_ln,
    response,
)
from resexpand.conventions import RHO
from resexpand.errors import DescriptionError, HyperparameterError, UnsupportedError
from resexpand.numbers.scales.advice import advice
from resexpand.numbers.scales.candidate import CANDIDATES, Candidate, Choice, Setting, candidate
from resexpand.numbers.scales.comparison import ScaleComparison
from resexpand.numbers.scales.registry import CANDIDATES as REGISTERED

RELU = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=12)
ERF = ResNet(Branch(Activation("erf_unit"), Linear(1, 0)), scale=1, depth=12)


@pytest.fixture(scope="module")
def relu() -> ScaleComparison:
    return compare_scales(RELU, [48, 12])


def tail(depth: int, square: float, order: int = 3) -> float:
    low = sum(comb(depth, k) * square**k for k in range(order))
    return 1 - low / (1 + square) ** depth


def test_depths_are_sorted_and_every_candidate_is_there(relu: ScaleComparison) -> None:
    assert relu.depths == (12, 48)
    assert relu.names == tuple(REGISTERED)
    assert {*relu.reasons} == {"response_optimum", "fixup"}
    assert {*map(len, (relu.titles, relu.assumptions, relu.sources))} == {len(relu.names)}


@pytest.mark.parametrize("depth", [12, 48])
@pytest.mark.parametrize("name", ["as_described", "inverse_root", "inverse", "complete_p"])
def test_numbers_are_the_closed_laws(relu: ScaleComparison, name: str, depth: int) -> None:
    row = relu.at(name, depth)
    scale = {"as_described": 1.0, "inverse_root": depth**-0.5, "inverse": 1 / depth}
    wanted = scale.get(name, 12 / depth)
    law = (1 + wanted**2) ** depth
    assert row.scale == pytest.approx(wanted, rel=1e-14)
    assert row.growth == pytest.approx(law, rel=1e-11)
    assert row.response == pytest.approx(law / 2, rel=1e-11)
    assert row.gradient_ratio == pytest.approx(law, rel=1e-11)
    assert row.tail == pytest.approx(tail(depth, wanted**2), rel=1e-7, abs=1e-13)
    # Control: the law of another scale is told apart.
    assert row.growth != pytest.approx((1 + 1.02 * wanted**2) ** depth, rel=1e-4)
    shares = [relu[f"order_{k}"][relu.names.index(name), relu.depths.index(depth)] for k in (0, 1)]
    assert shares == pytest.approx([1 / law, depth * wanted**2 / law], rel=1e-11)


@pytest.mark.parametrize("depth", [12, 48])
def test_the_scale_of_batch_norm_adds_one_per_block(relu: ScaleComparison, depth: int) -> None:
    row = relu.at("batch_norm", depth)
    assert row.scale == pytest.approx(depth**-0.5, rel=1e-13)
    assert row.growth == pytest.approx(1 + depth, rel=1e-12)
    squares = [1 / block for block in range(1, depth + 1)]
    low = np.array([1.0, 0, 0, 0])
    for square in squares:  # elementary symmetric functions of the blocks
        low[1:] += square * low[:-1]
    assert row.tail == pytest.approx(1 - low[:3].sum() / (1 + depth), rel=1e-9)


def test_few_orders_reach_their_share(relu: ScaleComparison) -> None:
    for depth in relu.depths:
        row = relu.at("path_orders", depth)
        assert tail(depth, row.scale**2) == pytest.approx(0.01, rel=1e-6)
    other = compare_scales(RELU, 12, candidates=["path_orders"], order=2, share=0.2)
    assert tail(12, other.at("path_orders").scale ** 2, 2) == pytest.approx(0.2, rel=1e-6)


def test_deep_norm_has_the_numbers_of_its_table() -> None:
    # Encoders of 6 and 100 layers: alpha = (2 N)^(1/4), beta = (8 N)^(-1/4), N = L/2.
    found = compare_scales(mlp(12, weight_variance=(1, 2)), [12, 200], candidates=["deep_norm"])
    assert found["scale"][0] == pytest.approx([48**-0.25, 800**-0.25], rel=1e-14)
    assert found["growth"][0] == pytest.approx([1, 1], rel=1e-12)
    assert "LayerNorm behind every block" in found.remarks["deep_norm"]
    # One block of alpha h + beta^2 f on K0 = 4: gradients of its input are those behind the norm
    # divided by the norm's variance, 4 (alpha^2 + beta^4), times alpha^2 + beta^4.
    far = compare_scales(mlp(1, weight_variance=(1, 2)), 1, candidates=["deep_norm"], K0=4.0)
    assert far.at("deep_norm").gradient_ratio == pytest.approx(1 / 4, rel=1e-12)


def test_deep_norm_multiplies_weights_and_stream() -> None:
    rule = CANDIDATES["deep_norm"].choose
    from resexpand.numbers.scales.candidate import Setting

    choice = rule(Setting(mlp(12), 16, 12, "variance", 3, 0.01, {"K0": 1.0}))
    assert choice.net is not None
    assert float(choice.net.skip) == 2.0
    assert [float(op.weight_variance) for op in choice.net.branch.linears] == [2 / 8, 2 / 8]


def test_rules_of_depth_alone() -> None:
    names = ["skip_init", "fixup", "layer_scale", "depth_mup", "complete_p"]
    found = compare_scales(mlp(12), [16, 36, 48, 50], candidates=names, base_depth=4)
    rows = dict(zip(names, found["scale"], strict=True))
    assert rows["skip_init"].tolist() == [0, 0, 0, 0]
    assert rows["fixup"] == pytest.approx(np.array([16, 36, 48, 50]) ** -0.5)
    assert rows["layer_scale"].tolist() == [1e-1, 1e-1, 1e-5, 1e-6]
    assert rows["depth_mup"] == pytest.approx(np.sqrt(4 / np.array([16, 36, 48, 50])))
    assert rows["complete_p"] == pytest.approx(4 / np.array([16, 36, 48, 50]))
    assert found.identities == ("skip_init", "fixup")
    assert (found["growth"][:2] == 1).all()


def test_the_optimum_has_the_largest_response() -> None:
    found = compare_scales(ERF, 20, candidates=["response_optimum", "inverse"], K0=0.1)
    best = found.at("response_optimum")

    def eta(scale: float) -> float:
        return float(evaluate(response(ERF.with_scale(RHO, 20)), K0=0.1, rho=scale)["eta"])

    assert best.response == pytest.approx(eta(best.scale), rel=1e-12)
    assert max(eta(0.97 * best.scale), eta(1.03 * best.scale)) < best.response
    assert found.recommendation.startswith("response optimum")
    late = compare_scales(ERF, 20, candidates=["response_optimum"], K0=0.5)
    assert late["scale"].item() == 0
    assert "K0 lies beyond K*" in late.remarks["response_optimum"]
    assert late.recommendation.startswith("none")


def test_a_scale_per_block_and_a_symbol_as_described() -> None:
    scales = [0.5, 0.25, 0.25]
    own = RELU.with_scale(scales, 3)
    row = compare_scales(own, candidates=["as_described"]).at("as_described")
    assert row.growth == pytest.approx(np.prod(1 + np.square(scales)), rel=1e-12)
    other = compare_scales(own, 4, candidates=["as_described", "inverse"])
    assert "one per block of its own depth" in other.reasons["as_described"]
    import sympy as sp

    free = RELU.with_scale(sp.Symbol("rho"), sp.Symbol("L"))
    assert "symbol rho" in compare_scales(free, 4).reasons["as_described"]


def test_the_optimum_of_a_normalised_network_is_a_number() -> None:
    """Its condition, brought to one denominator, would have 780,000 operations."""
    branch = Branch(LayerNorm(0.1), Linear(1, 0.1), Activation("gelu"), Linear(1, 0.1))
    net = ResNet(branch, scale=1, depth=10)
    found = compare_scales(net, [10], candidates=["response_optimum"], K0=0.05)
    best = float(found["scale"][0, -1])
    scales = best * np.array([0.9, 1.0, 1.1])
    law = response(net.with_scale(RHO), "tangent")
    low, top, high = evaluate(law, K0=0.05, rho=scales)["eta"]
    assert top > max(low, high)
    assert found["response"][0, -1] == pytest.approx(top, rel=1e-12)


def test_normalised_networks_say_what_does_not_apply() -> None:
    names = ["response_optimum", "inverse_root", "batch_norm", "deep_norm"]
    pre = compare_scales(pre_ln(12), [12], candidates=names)
    assert pre.response_kind == "tangent"
    # A block adds rho^2 <relu'^2> sigma_w^2 sigma_v^2 = 1/L: two at the last layer.
    assert pre.at("inverse_root").gradient_ratio == pytest.approx(2, rel=1e-12)
    assert set(pre.reasons) == {"response_optimum", "batch_norm", "deep_norm"}
    assert "is the same at every" in pre.reasons["response_optimum"]
    # Each block adds 1/L to a kernel of 1 + l/L; paths through blocks are products of these shares.
    shares = 1 / (12 + np.arange(12))
    first, second = shares.sum(), (shares.sum() ** 2 - (shares**2).sum()) / 2
    assert pre.at("inverse_root").tail == pytest.approx((1 - first - second) / 2, rel=1e-9)
    assert pre.missing == ()
    post = compare_scales(post_ln(12), [12], candidates=["inverse_root", "inverse", "deep_norm"])
    assert post.recommendation.startswith("none: kernel, tangent response and gradients")
    batch = ResNet(Branch(BatchNorm(), Activation("relu"), Linear(2, 0)), scale=1, depth=4)
    found = compare_scales(batch, candidates=["inverse_root"], K0=0.5 * np.eye(4) + 0.5)
    assert found.at("inverse_root").growth == pytest.approx(2, rel=1e-9)
    assert np.isnan(found.at("inverse_root").response)


def test_files_tables_pages_and_pictures(relu: ScaleComparison, tmp_path: Path) -> None:
    again = load(relu.save(tmp_path / "scales.npz"))
    assert str(again) == str(relu)
    assert again.citations == relu.citations
    assert all(np.array_equal(again[n], relu[n], equal_nan=True) for n in relu)
    lines = relu.save(tmp_path / "scales.csv").read_text().splitlines()
    assert len(lines) == 1 + len(relu.rows)
    frame = relu.to_dataframe()
    assert frame[frame.candidate == "inverse"]["scale"].tolist() == [1 / 12, 1 / 48]
    page = relu._repr_html_()
    assert page.count("<table>") == 2
    assert "does not apply" in page
    figure = relu.plot()
    assert len(figure.axes) == 5
    assert next(t.get_text() for t in figure.axes[0].get_yticklabels()) == "as described"
    assert len(relu.plot("tail").axes) == 1
    assert "dey2025" in cite(relu)
    assert "2 candidates" in str(relu) or relu.recommendation in str(relu)


class Numbers(dict):
    """A table of numbers made up for the rule."""

    names, titles, depths, response_kind = ("a", "b", "c"), ("A", "B", "C"), (8,), "variance"
    identities: tuple[str, ...] = ()


def table(growth: list[float], responses: list[float]) -> Numbers:
    column = {"growth": growth, "response": responses, "gradient_ratio": [1, 1, 1]}
    column["scale"] = [0.1, 0.2, 0.3]
    return Numbers({k: np.array(v, dtype=float)[:, None] for k, v in column.items()})


@pytest.mark.parametrize(
    ("growth", "responses", "first"),
    [
        ([2, 3, 20], [0.5, 0.4, 9], "A (scale 0.1 at depth 8)"),
        ([2, 3, 4], [0.5, 0.5, 0.5], "A (scale 0.1 at depth 8), because of the 3 candidates"),
        ([2, 3, 4], [0.4, 0.5, 0.51], "C (scale 0.3 at depth 8)"),
        ([2, 3, 4], [0.4, 0.508, 0.51], "B (scale 0.2 at depth 8)"),
        ([2, 30, 0.01], [0.5, 0.6, 0.7], "A (scale 0.1 at depth 8), because it is the only"),
        ([20, 30, np.inf], [1, 1, 1], "none: of candidates"),
        ([2, 2, 2], [0.5, 0.5, 0.5], "none: kernel"),
        ([2, 3, 4], [np.nan, np.nan, np.nan], "A"),
    ],
)
def test_the_rule_of_the_recommendation(
    growth: list[float], responses: list[float], first: str
) -> None:
    assert advice(table(growth, responses)).startswith(first)


def test_a_candidate_is_one_function() -> None:
    @candidate("constant", "constant", "none", "de2020", "section 4")
    def constant(setting: object) -> Choice:
        return Choice(0.5, 0.5)

    try:
        found = compare_scales(RELU, 2, candidates="constant")
        assert found["growth"].item() == pytest.approx(1.25**2)
        assert str(found.sources[0]) == "De & Smith 2020, section 4"
    finally:
        del CANDIDATES["constant"]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"net": 3}, DescriptionError, "no description"),
        ({"net": ResNet(RELU.branch, scale=1, depth=3, skip=0)}, UnsupportedError, "skip=0"),
        ({"depth": []}, HyperparameterError, "no depth"),
        ({"depth": [3, 0]}, HyperparameterError, "depth"),
        ({"depth": 2.5}, HyperparameterError, "depth"),
        ({"candidates": ["fix_up"]}, HyperparameterError, "fix_up"),
        ({"candidates": []}, HyperparameterError, "nothing to compare"),
        ({"candidates": ["fixup"]}, UnsupportedError, "m >= 2"),
        ({"kind": "size"}, HyperparameterError, "size"),
        ({"share": 1.5}, HyperparameterError, "between 0 and 1"),
        ({"order": 0}, HyperparameterError, "order"),
        ({"base_depth": 0}, HyperparameterError, "base_depth"),
    ],
)
def test_bad_input_is_one_clear_error(given: dict, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        compare_scales(**{"net": RELU, "depth": 3, **given})


def test_a_scale_that_is_no_number_is_a_reason() -> None:
    net = ResNet(Branch(Activation("relu"), Linear(2, 0.1)), scale=0.5, depth=4)
    found = compare_scales(net, 4, candidates=["batch_norm", "inverse"], K0=0)
    assert "no finite number" in found.reasons["batch_norm"]
    assert found.at("inverse").scale == 0.25


def test_a_candidate_that_is_refused_at_one_depth_stays_at_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def some(setting: Setting) -> Choice:
        if setting.depth > 20:
            raise UnsupportedError("half", "it ends at depth 20")
        return Choice(0.5, 0.5)

    rule = Candidate("half", "one half", "none", None, some)
    monkeypatch.setitem(CANDIDATES, "half", rule)
    names, seen = ["as_described", "half"], []
    found = compare_scales(
        mlp(12, weight_variance=(1, 2)),
        [12, 48],
        candidates=names,
        progress=lambda done, total: seen.append((done, total)),
    )
    text = str(found)
    first, second = text.split("depth 48\n", maxsplit=1)[0], text.split("depth 48\n")[1]
    assert "one half" in first
    assert "one half does not apply at depth 48: it ends at depth 20" in second
    assert "one half  " not in second
    assert found.plot().axes
    assert seen[0] == (0, 4)
    assert seen[-1] == (4, 4)
