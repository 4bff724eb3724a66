"""Growth in closed form, the scale that a normalisation amounts to, and gradients over depth."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import sympy as sp
from uncompiled import evaluate

from resexpand import (
    Activation,
    Attention,
    BatchNorm,
    Branch,
    Conv,
    Dropout,
    LayerNorm,
    Linear,
    ResNet,
    RMSNorm,
    gradient_moments,
    growth,
    implied_scale,
    kernel,
    mlp,
    post_ln,
    pre_ln,
    response,
    to_latex,
)
from resexpand.conventions import K0
from resexpand.errors import UnsupportedError
from resexpand.theory.growth import LAYER

RELU = Activation("relu")
LAYERS = np.arange(7)
NETS = {
    "pre": pre_ln(6, weight_variance=(1.3, 2), bias_variance=(0.2, 0.1), scale=0.8),
    "erf": ResNet(Branch(RMSNorm(), Activation("erf"), Linear(1.9, 0.07)), scale=0.8, depth=6),
    "none": ResNet(Branch(RELU, Linear(1.9, 0.07)), scale=0.8, depth=6),
    "post": post_ln(6, activation="erf", weight_variance=(1.3, 2), scale=0.8),
}


@pytest.mark.parametrize("name", NETS)
def test_closed_laws_are_the_recursions(name: str) -> None:
    net, laws = NETS[name], growth(NETS[name])
    first = 1 if net.post else 0
    found = evaluate(kernel(net), K0=0.7)["K"][first:]
    at = [str(s) for s in laws.kernel.closed().free_symbols]
    values = {"l": LAYERS[first:], "K0": 0.7}
    own = laws.kernel.lambdify(*at)(*(np.asarray(values[s]) for s in at))
    np.testing.assert_allclose(np.broadcast_to(own, found.shape), found, rtol=1e-13)
    moments = evaluate(gradient_moments(net), K0=0.7)["gradient"]
    if laws.gradient is None:
        assert name == "none"  # a bias without a norm: no closed law of its gradients
        return
    at = [str(s) for s in laws.gradient.closed().free_symbols]
    profile = laws.gradient.lambdify(*at)(*(np.asarray(values[s]) for s in at))
    np.testing.assert_allclose(profile, (moments / moments[-1])[first:], rtol=1e-12)
    assert not np.allclose(profile, (moments / moments[-1])[first:] ** 1.01, rtol=1e-3)


def test_shares() -> None:
    laws = growth(NETS["pre"])
    K = evaluate(kernel(NETS["pre"]), K0=0.7)["K"]
    shares = np.diff(K) / K[1:]
    assert laws.share is not None
    assert laws.mean_share is not None
    own = laws.share.lambdify("l", "K0")(LAYERS[1:], np.asarray(0.7))
    np.testing.assert_allclose(own, shares, rtol=1e-13)
    mean = laws.mean_share.evalf(subs={"K0": sp.Rational(7, 10)})
    assert float(mean) == pytest.approx(shares.mean(), rel=1e-13)
    unit = growth(pre_ln(9)).share
    assert unit is not None
    assert sp.simplify(unit.rhs.subs("K0", 1) - 1 / (1 + sp.Symbol("l"))) != 1


def test_gradients_by_hand() -> None:
    """The products of the sheet, retyped: 1 + r g / K^{l-1} with g = w v <phi'^2>."""
    net = NETS["pre"]
    step, g = 0.64 * (2 * (1.3 + 0.2) / 2 + 0.1), 1.3 * 2 / 2
    K = 0.7 + step * LAYERS
    factors = 1 + 0.64 * g / K[:-1]
    profile = np.append(np.cumprod(factors[::-1])[::-1], 1.0)
    found = evaluate(gradient_moments(net), K0=0.7)["gradient"]
    np.testing.assert_allclose(found / found[-1], profile, rtol=1e-13)
    k, a = mpmath.mpf(0.7) / step, mpmath.mpf(0.64) * g / step
    gammas = [mpmath.gammaprod([k + 6 + a, k + n], [k + 6, k + n + a]) for n in range(7)]
    np.testing.assert_allclose(profile, [float(x) for x in gammas], rtol=1e-13)


def test_gradients_where_no_tangent_passes_are_flagged() -> None:
    found = {}
    for weight in (0, 2):  # a Linear of weights zero, without a skip, passes its bias alone
        net = ResNet(Branch(RELU, Linear(weight, 1)), scale=1, depth=3, skip=0)
        found[weight] = evaluate(gradient_moments(net), K0=1.0)
    assert np.isnan(found[0]["gradient"]).any()
    assert "no tangent of the input reaches all layers" in found[0].status
    assert found[2].status == "ok"
    assert np.isfinite(found[2]["gradient"]).all()


def test_gradients_of_erf_behind_a_norm() -> None:
    slope = 4 / (math.pi * math.sqrt(1 + 4))
    image = 2 / math.pi * math.asin(2 / 3)
    K = 0.7 + 0.64 * (1.9 * image + 0.07) * LAYERS
    factors = 1 + 0.64 * 1.9 * slope / K[:-1]
    found = evaluate(gradient_moments(NETS["erf"]), K0=0.7)["gradient"]
    np.testing.assert_allclose(found[:-1] / found[1:], factors, rtol=1e-13)


def test_post_norm_is_flat_for_relu_without_bias() -> None:
    flat = evaluate(gradient_moments(post_ln(12)), K0=1.0)["gradient"]
    np.testing.assert_allclose(flat / flat[-1], 1.0, rtol=1e-13)
    erf = evaluate(gradient_moments(post_ln(12, activation="erf")), K0=1.0)["gradient"]
    assert erf[0] > 1.1 * erf[-1]
    biased = evaluate(gradient_moments(post_ln(12, bias_variance=0.3)), K0=1.0)["gradient"]
    assert biased[0] < 0.9 * biased[-1]


@pytest.mark.parametrize("eps", [0, 0.1])
def test_implied_scales(eps: float) -> None:
    """Of a homogeneous branch: the block without the norm does the same."""
    net = ResNet(Branch(LayerNorm(eps), RELU, Linear(1.9, 0)), scale=0.8, depth=5)
    found = evaluate(implied_scale(net), K0=0.7)
    np.testing.assert_allclose(found["scale"], 0.8 / np.sqrt(found["K"] + eps), rtol=1e-13)
    free = ResNet(Branch(RELU, Linear(1.9, 0)), scale=list(found["scale"][:-1]), depth=5)
    np.testing.assert_allclose(evaluate(kernel(free), K0=0.7)["K"], found["K"], rtol=1e-13)
    chis = [evaluate(response(n, "tangent"), K0=0.7)["chi_0"] for n in (net, free)]
    np.testing.assert_allclose(chis[0], chis[1], rtol=1e-13)


def test_implied_scales_of_a_cycle() -> None:
    kinds = [
        Branch(LayerNorm(), RELU, Linear(1.9, 0)),
        Branch(LayerNorm(), Linear(1.1, 0), RELU, Linear(1.2, 0)),
    ]
    net = ResNet(kinds, scale=[0.9, 0.5], depth=3)
    found = evaluate(implied_scale(net), K0=0.7)
    scales = np.array([0.9, 0.5, 0.9, 0.5])
    np.testing.assert_allclose(found["scale"], scales / np.sqrt(found["K"]), rtol=1e-13)


def test_laws_print_and_refuse() -> None:
    text = to_latex(growth(NETS["pre"]))
    assert r"K^{l} = K^{0} + " in text
    assert r"P^{l} / P^{L}" in text
    assert r"\rho_{\mathrm{eff}}^{l} = \rho" in to_latex(implied_scale(NETS["erf"]))
    assert r"\chi" in to_latex(gradient_moments(NETS["erf"]))
    with pytest.raises(UnsupportedError, match="no linear recursion"):
        growth(ResNet(Branch(Activation("erf"), Linear(1, 0)), scale=1, depth=2))
    with pytest.raises(UnsupportedError, match="its blocks differ"):
        growth(ResNet(Branch(LayerNorm(), RELU, Linear(1, 0)), scale=[1, 2]))
    with pytest.raises(UnsupportedError, match="no branch has a normalisation"):
        implied_scale(mlp(3))


def test_ready_made() -> None:
    assert mlp(3).branch == Branch(Linear(2, 0), RELU, Linear(2, 0))
    assert pre_ln(3, norm=RMSNorm(0.1)).branch.ops[0] == RMSNorm(0.1)
    deep = post_ln(3, skip=sp.sqrt(6))
    assert (deep.skip, deep.post_norm) == (sp.sqrt(6), LayerNorm())
    final = pre_ln(4, read_out=[LayerNorm(), Linear(1, 0)])
    K = evaluate(kernel(final), K0=1.0)["K"]
    np.testing.assert_allclose(evaluate(gradient_moments(final), K0=1.0)["gradient"], 1 / K)


def test_the_series_in_a_factor_of_the_scale_ends_where_the_variance_vanishes() -> None:
    factor = sp.Symbol("factor", positive=True)
    branch = Branch(LayerNorm(), Activation("erf"), Linear(2, sp.Rational(1, 10)))
    for depth in (2, 5):
        radius = growth(ResNet(branch, scale=sp.Rational(3, 5), depth=depth)).radius
        assert radius is not None
        moving = growth(ResNet(branch, scale=factor * sp.Rational(3, 5), depth=depth)).kernel.rhs
        before = moving.subs(sp.Symbol("l", integer=True, nonnegative=True), depth - 1)
        before = before.subs({s: depth - 1 for s in before.free_symbols if s.name == "l"})
        assert sp.simplify(before.subs(factor, sp.I * radius.rhs)) == 0
        assert sp.simplify(before.subs(factor, sp.I * radius.rhs * sp.Rational(11, 10))) != 0
    assert growth(ResNet(Branch(Linear(2, 0)), scale=1, depth=3)).radius is None


def test_papers_on_normalisation_are_cited_where_it_stands() -> None:
    def keys(found) -> set[str]:
        return {citation.reference.key for citation in found.citations}

    before, behind = NETS["pre"], NETS["post"]
    assert {"ba2016"} <= keys(kernel(before)) & keys(kernel(behind))
    assert "zhang2019" in keys(kernel(NETS["erf"]))
    assert not {"ba2016", "zhang2019"} & keys(kernel(NETS["none"]))
    laws = {name: growth(net) for name, net in NETS.items() if name != "erf"}
    assert all("xiong2020" in keys(laws[name].gradient) for name in ("pre", "post"))
    assert "xiong2020" not in keys(laws["none"].gradient) | keys(laws["pre"].kernel)


@pytest.mark.parametrize("ops", [(RELU,), (Activation("leaky_relu"), Dropout(0.6))], ids=str)
def test_growth_of_batches(ops: tuple[object, ...]) -> None:
    net = ResNet(Branch(BatchNorm(), *ops, Linear(1.9, 0.07)), scale=0.8, depth=6)
    laws = growth(net)
    start = {"K0_11": 1.5, "K0_12": 0.5}
    for size in (2, 5, 8):
        batch = np.full((size, size), 0.5) + np.eye(size)
        K = evaluate(kernel(net, "batch"), K0=batch, outputs="K")["K"]
        moment = np.trace(K, axis1=1, axis2=2) / size
        variance = moment - K.sum(axis=(1, 2)) / size**2
        for law, expected in ((laws.kernel, moment), (laws.batch_variance, variance)):
            assert law is not None
            at = {s: {**start, "B": size}.get(s.name) for s in law.rhs.free_symbols - {LAYER}}
            found = [float(law.rhs.subs({**at, LAYER: layer})) for layer in LAYERS]
            np.testing.assert_allclose(found, expected, rtol=1e-12)
            if law is laws.batch_variance:  # control: the second moment is not the variance
                assert np.abs(np.array(found) - moment).max() > 0.1


def test_growth_by_one_and_by_one_minus_one_over_pi() -> None:
    laws = growth(ResNet(Branch(BatchNorm(), RELU, Linear(2, 0)), scale=1, depth=4))
    assert laws.kernel.rhs.diff(LAYER) == 1
    assert laws.large_batch is not None
    assert sp.simplify(laws.large_batch.rhs.diff(LAYER) - (1 - 1 / sp.pi)) == 0
    bare = growth(ResNet(Branch(RELU, Linear(2, 0)), scale=1, depth=4))
    assert bare.kernel.rhs.subs(LAYER, 5).subs(K0, 1) == 2**5
    for branch in (
        Branch(BatchNorm(), Activation("erf"), Linear(2, 0)),
        Branch(BatchNorm(0.1), RELU, Linear(2, 0)),
        Branch(BatchNorm(), RELU, Linear(2, 0), RELU, Linear(1, 0.1)),
        Branch(Linear(1, 0), RELU, Linear(1, 0), BatchNorm(), RELU, Linear(2, 0)),
    ):
        try:
            laws = growth(ResNet(branch, scale=1, depth=3))
        except UnsupportedError:
            continue
        K = evaluate(kernel(ResNet(branch, scale=1, depth=3), "batch"), K0=np.eye(4) + 1)["K"]
        at = {s: {"K0_11": 2.0}.get(s.name) for s in laws.kernel.rhs.free_symbols - {LAYER}}
        assert float(laws.kernel.rhs.subs({**at, LAYER: 3})) == pytest.approx(K[3, 0, 0])


def test_growth_of_convolutions_is_that_of_one_position() -> None:
    conv, shape = Conv((-1, 0, 1), 1.9, 0.07, shares=(0.2, 0.5, 0.4)), {"scale": 0.8, "depth": 6}
    net = ResNet(Branch(RMSNorm(), Activation("erf"), conv), positions=4, **shape)
    law = growth(net)
    K = evaluate(kernel(net, "positions"), K0=0.7 * np.eye(4) + 0.3, outputs="K")["K"]
    for layer in LAYERS:
        value = law.kernel.rhs.subs({K0: 1, LAYER: layer})
        assert float(value) == pytest.approx(K[layer, 2, 2], rel=1e-12)
    one = ResNet(Branch(RMSNorm(), Activation("erf"), Linear(1.9 * 1.1, 0.07)), **shape)
    scales = [evaluate(implied_scale(each), K0=1.0)["scale"] for each in (net, one)]
    np.testing.assert_allclose(scales[0], scales[1], rtol=1e-12)
    ended = ResNet(Branch(RELU, Conv((0, 1), 2, 0, circular=False)), scale=1, depth=2, positions=3)
    tokens = ResNet(Branch(Attention(1), Linear(1, 0)), scale=1, depth=2, positions=3)
    for other in (ended, tokens):
        with pytest.raises(UnsupportedError, match="couples the positions"):
            growth(other)
