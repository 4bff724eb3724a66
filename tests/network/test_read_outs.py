"""A read-out reads what it says, and a stream may skip its blocks with a factor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from heavier import left_to_slow
from uncompiled import evaluate

from resexpand import (
    Activation,
    Branch,
    LayerNorm,
    Linear,
    ResNet,
    exact_moments,
    kernel,
    one_loop,
    order_profile,
    response,
    sample,
    to_latex,
)
from resexpand.errors import DescriptionError, UnsupportedError
from resexpand.montecarlo.engine import make_sampler
from resexpand.montecarlo.runs.settings import spec_of

RELU, END = Activation("relu"), Linear(0.7, 0.1)
BRANCH = Branch(RELU, Linear(2, 0.3))
PLAIN = ResNet(BRANCH, scale=0.5, depth=3, read_out=END)
BEHIND = ResNet(BRANCH, scale=0.5, depth=3, read_out=[RELU, END])
OTHER = ResNet(
    Branch(Linear(1.1, 0.1), Activation("erf"), Linear(1.5, 0.2)),
    scale=0.5,
    depth=3,
    read_out=[Activation("tanh"), END],
    skip=0.6,
)
LIMIT = 4.5


def largest_z(estimate: Any, theory: Any) -> float:
    """Return the largest deviation of means from the theory in standard errors."""
    return float(np.abs((estimate.mean - theory) / estimate.stderr).max())


def test_a_linear_read_out_reads_the_stream() -> None:
    values, found = evaluate(kernel(PLAIN), K0=0.8), evaluate(response(PLAIN), K0=0.8)
    assert values["C"][-1] == pytest.approx(0.7 * values["K"][-1] + 0.1, rel=1e-14)
    assert found["eta"] == pytest.approx(0.7 * found["chi"][-1, 0], rel=1e-14)
    behind = evaluate(kernel(BEHIND), K0=0.8)
    assert behind["C"][-1] == pytest.approx(0.35 * values["K"][-1] + 0.1, rel=1e-14)
    assert BEHIND.read_out == PLAIN.read_out
    assert BEHIND != PLAIN
    linear = evaluate(exact_moments(ResNet(Branch(Linear(1, 0)), scale=1, depth=1)), K0=1, width=8)
    sign = Branch(Activation("sign"), Linear(1, 0))
    own = ResNet(sign, scale=1, depth=2, read_out=Linear(2, 0.5))
    moments = evaluate(exact_moments(own), K0=1.0, width=8)
    assert moments["C_mean"][-1] == pytest.approx(2 * moments["G_mean"][-1] + 0.5, rel=1e-14)
    assert moments["C_var"][-1] == pytest.approx(4 * moments["G_var"][-1], rel=1e-14)
    assert linear["C_mean"][-1] == pytest.approx(2.0)


@pytest.mark.parametrize("method", left_to_slow(["function-space", "dense"], ["dense"]))
def test_sampled_read_outs_read_it_too(method: str) -> None:
    names = ["kernel", "layer_covariance", "response", "directional_derivative"]
    for net in (PLAIN, OTHER):
        found = sample(net, names, 100, 400, K0=0.8, seed=2, method=method)
        theory = evaluate(kernel(net), K0=0.8)
        assert largest_z(found["kernel"], theory["K"]) < LIMIT
        assert largest_z(found["layer_covariance"], theory["C"]) < LIMIT
        assert largest_z(found["response"], evaluate(response(net), K0=0.8)["eta_layers"]) < LIMIT
        product = found["directional_derivative"].mean
        np.testing.assert_allclose(product, product[0], rtol=1e-9)
    wrong = evaluate(kernel(BEHIND), K0=0.8)["C"]
    assert largest_z(sample(PLAIN, names, 100, 400, K0=0.8, seed=2)["layer_covariance"], wrong) > 9


def test_gradients_are_compared_with_those_at_the_end() -> None:
    names = ["gradient", "gradient_overlap"]
    found = sample(PLAIN, names, 30, 2000, K0=0.8, seed=4)
    square, overlap = found["gradient"].mean, found["gradient_overlap"].mean
    assert overlap[-1] == square[-1]
    # With fresh weights each block adds to a gradient what is orthogonal to it on average.
    assert largest_z(found["gradient_overlap"], 0.7) < LIMIT
    difference = square - 2 * overlap + square[-1]
    assert difference[-1] == 0
    np.testing.assert_allclose(difference[0] / square[-1], (1 + 0.25) ** 3 - 1, rtol=0.1)


def test_a_factor_of_the_stream() -> None:
    plain = ResNet(BRANCH, scale=1, depth=3, skip=0)
    expected = 0.8
    for k in evaluate(kernel(plain), K0=0.8)["K"]:
        assert k == pytest.approx(expected, rel=1e-14)
        expected = expected + 0.3
    assert evaluate(response(plain), K0=0.8)["chi_0"] == pytest.approx(np.ones(4), rel=1e-14)
    k, erf = 0.8, lambda c: 2 / np.pi * np.arcsin(2 * c / (1 + 2 * c))
    for got in evaluate(kernel(OTHER), K0=0.8)["K"]:
        assert got == pytest.approx(k, rel=1e-13)
        k = 0.36 * k + 0.25 * (1.5 * erf(1.1 * k + 0.1) + 0.2)


def test_columns_follow_the_factor() -> None:
    net = ResNet(BRANCH, scale=0.5, depth=3, skip=0.6)
    found = sample(net, ["path_remainder(3)", "distance_squared", "kernel"], 20, 2000, K0=0.8)
    assert np.abs(found["path_remainder"].mean[:, -1]).max() < 1e-25
    assert found["path_remainder"].mean[3, 2] > 1e-6
    first = 0.16 + 0.25 * (1 + 0.3 / 0.8)
    assert found["distance_squared"].mean[1] == pytest.approx(first, rel=0.1)


def test_a_store_knows_read_out_and_factor(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    whole = sample(OTHER, "layer_covariance", 12, 40, K0=0.8, seed=3, store=path)
    settings = dict(whole.settings)
    assert (settings["head"], settings["skip"]) == (["tanh(x)"], 0.6)
    rows = make_sampler(spec_of(settings, "a run")).rows(0, 40)["layer_covariance"]
    np.testing.assert_array_equal(
        rows.mean(axis=0).round(12), whole["layer_covariance"].mean.round(12)
    )
    assert "head" not in sample(BEHIND, "kernel", 8, 2, K0=1.0).settings


def test_what_follows_and_what_says_so() -> None:
    plain = ResNet(BRANCH, scale=1, depth=3, skip=0)
    for ask in (one_loop, exact_moments, lambda net: order_profile(net, 2)):
        with pytest.raises(UnsupportedError, match="skip=0"):
            ask(plain)
    with pytest.raises(UnsupportedError, match="skip=3/5"):
        sample(OTHER, "kernel", 12, 10, K0=1.0, control="infinite-width")
    assert r"h^{l} = W^{l} \phi(h^{l-1}) + b^{l}" in to_latex(plain)
    assert r"y = W_{\mathrm{out}} \phi_{2}(h^{3})" in to_latex(OTHER)
    assert repr(OTHER).endswith(
        'read_out=[Activation("tanh"), Linear(weight_variance=7/10, bias_variance=1/10)], skip=3/5)'
    )


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "two linears": ([END, END], DescriptionError, "it is no map"),
    "no linear": ([RELU], DescriptionError, "it is not linear"),
    "empty": ([], DescriptionError, "it is not linear"),
    "values": ([LayerNorm([0, 1]), END], DescriptionError, "one value per block"),
    "no values": ([Linear([1, 2], 0)], DescriptionError, "one value per block"),
    "two activations": ([RELU, RELU, END], UnsupportedError, "not Gaussian at infinite width"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_read_outs(case: str) -> None:
    read_out, error, message = BAD[case]
    with pytest.raises(error, match=message):
        ResNet(BRANCH, scale=1, depth=2, read_out=read_out)


def test_an_activation_behind_a_stream_with_a_mean() -> None:
    with pytest.raises(UnsupportedError, match="not Gaussian at infinite width"):
        ResNet(Branch(Linear(), RELU), scale=1, depth=2, read_out=[RELU, END])
