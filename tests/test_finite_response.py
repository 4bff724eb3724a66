"""Responses at finite width: exact networks, differences of inputs, samples; what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from heavier import left_to_slow
from scipy import special

from resexpand import (
    Activation,
    Branch,
    LayerNorm,
    Linear,
    ResNet,
    Scale,
    compare,
    evaluate,
    finite_response,
    gradient_moments,
    one_loop,
    response,
    sample,
)
from resexpand.errors import HyperparameterError, KernelError, UnsupportedError
from resexpand.numbers.one_loop import expansion as engine
from resexpand.numbers.one_loop.columns import Columns

S, B, RHO, K0 = 1.3, 0.1, 0.5, 0.8
KINDS = ("variance", "tangent", "gradient", "parameters")
LIMIT = 4.5
"""Largest z-score; a test has at most a few dozen."""


def net_of(*ops, depth: int = 3, scale=RHO, read_out=None) -> ResNet:
    return ResNet(Branch(*ops), scale=scale, depth=depth, read_out=read_out)


def plain(name: str, depth: int = 3) -> ResNet:
    return net_of(Activation(name), Linear(S, B), depth=depth)


LINEAR = net_of(Activation("identity"), Linear(S, 0), depth=4)


def test_tangents_of_a_linear_network_are_products_of_exact_factors() -> None:
    """|J v|^2/|v|^2 is a product of factors Q; E Q = 1 + a^2, Var Q = (4 a^2 + 2 a^4)/N."""
    values = evaluate(finite_response(LINEAR, "tangent"), K0=K0)
    a, layers = RHO**2 * S, np.arange(5)
    np.testing.assert_allclose(values["tangent"], (1 + a) ** layers)
    np.testing.assert_allclose(values["tangent_shift"], 0, atol=1e-12)
    exact = layers * (4 * a + 2 * a**2) * (1 + a) ** (2.0 * layers - 2)
    np.testing.assert_allclose(values["tangent_var"], exact, atol=1e-12)


def test_responses_of_a_linear_network_are_its_kernel() -> None:
    """Without bias G is proportional to K^0, and the tangent kernel is (L + 2) times y^2/K^0."""
    values, kernel = (evaluate(t, K0=K0) for t in (finite_response(LINEAR), one_loop(LINEAR)))
    layers = np.arange(5)
    np.testing.assert_allclose(values["chi_0_cov"], kernel["G_cov"] / K0**2)
    np.testing.assert_allclose(values["eta_layers"], kernel["K"] / K0)
    np.testing.assert_allclose(values["chi_0_shift"], 0, atol=1e-12)
    gradient = evaluate(finite_response(LINEAR, "gradient"), K0=K0)
    np.testing.assert_allclose(gradient["gradient"], (1 + RHO**2 * S) ** (4.0 - layers))
    np.testing.assert_allclose(gradient["gradient_shift"], 0, atol=1e-12)
    assert gradient["ratio_var"] == pytest.approx(
        evaluate(finite_response(LINEAR, "tangent"), K0=K0)["tangent_var"][-1]
    )


@pytest.mark.parametrize(
    "name",
    left_to_slow(["erf", "relu", "tanh", "gelu", "leaky_relu"], ["gelu", "leaky_relu"]),
)
def test_shift_of_the_response_is_the_derivative_of_that_of_the_kernel(name: str) -> None:
    net, step = plain(name), 2e-4
    values = evaluate(finite_response(net), K0=K0)
    high, low = (evaluate(one_loop(net), K0=K0 + d) for d in (step, -step))
    for own, other, factor in (("chi_0", "K", 1), ("eta_layers", "C", 1 / S)):
        slope = factor * (high[f"{other}_mean"] - low[f"{other}_mean"]) / (2 * step)
        np.testing.assert_allclose(values[f"{own}_shift"], slope, rtol=2e-5, atol=1e-8)
        slope = factor * (high[other] - low[other]) / (2 * step)
        np.testing.assert_allclose(values[own], slope, rtol=1e-7)


@pytest.mark.parametrize("name", left_to_slow(["erf", "relu"], ["erf"]))
def test_variance_of_the_response_is_that_of_a_difference_of_two_inputs(name: str) -> None:
    """G at the inputs (1 +- e) h^0, in the order 1/N of two inputs."""
    net, e = plain(name), 0.02
    ends = np.array([1 - e, 1 + e])
    pair = evaluate(one_loop(net, inputs=2), K0=K0 * np.outer(ends, ends))
    change = 4 * e * K0
    for own, other, factor in (("chi_0", "G_cov", 1.0), ("eta_layers", "C_cov", 1 / S)):
        cov = pair[other]
        each = np.arange(4)
        var = sum(
            s * t * cov[each, i, i, each, j, j]
            for i, s in ((0, -1), (1, 1))
            for j, t in ((0, -1), (1, 1))
        )
        found = evaluate(finite_response(net), K0=K0)[f"{own}_var"]
        np.testing.assert_allclose(found, factor**2 * var / change**2, rtol=3e-3)


def test_ratio_of_gradients_is_that_of_tangents() -> None:
    """Read out from ``h^L`` itself, a is independent of J, as a tangent is."""
    ops = (Linear(1.2, 0.1), Activation("tanh"), Linear(1.3, 0.1))
    net = net_of(*ops)
    one, other = (evaluate(finite_response(net, k), K0=K0) for k in ("gradient", "tangent"))
    for name in ("", "_shift", "_var"):
        np.testing.assert_allclose(one[f"ratio{name}"], other[f"tangent{name}"][-1], rtol=1e-10)


def test_responses_between_layers() -> None:
    """Without biases ``chi^{l,m} = G^l/K^m`` of relu, exactly; at m = 0 they are ``chi_0``."""
    net = ResNet(Branch(Activation("relu"), Linear(S, 0)), scale=[0.5, 0.3, 0.4], depth=3)
    values, kernel = (evaluate(t, K0=K0) for t in (finite_response(net, "layers"), one_loop(net)))
    below, limit = np.tril(np.ones((4, 4))), kernel["K"]
    shift, spread = kernel["K_mean"][:, None], np.diag(kernel["G_cov"])[:, None]
    np.testing.assert_allclose(values["chi_shift"], below * shift / limit, atol=1e-13)
    np.testing.assert_allclose(values["chi_var"], below * spread / limit**2, rtol=1e-12)
    net = plain("erf")
    layers = evaluate(response(net), K0=K0, width=100, outputs=["chi", "chi_mean", "chi_deviation"])
    first = evaluate(response(net), K0=K0, width=100)
    for name in ("", "_mean", "_deviation"):
        chi = layers[f"chi{name}"]
        np.testing.assert_allclose(chi[:, 0], first[f"chi_0{name}"], rtol=1e-12)


def test_responses_between_layers_against_dense_networks() -> None:
    """Mean and deviation of ``2 h.v/N`` of tangents that begin inside, N = 60."""
    width, count, rng = 60, 4000, np.random.default_rng(3)
    values = evaluate(finite_response(plain("erf"), "layers"), K0=K0, width=width)
    limit = evaluate(response(plain("erf")), K0=K0)["K"]
    h = rng.standard_normal((count, width, 1)) * np.sqrt(K0)
    columns = [h]
    for layer in range(1, 4):
        v = [2 / np.sqrt(np.pi) * np.exp(-(h**2)) * c for c in columns[1:]]
        read = np.concatenate([special.erf(h), *v], axis=2)
        drawn = np.sqrt(S / width) * rng.standard_normal((count, width, width)) @ read
        drawn[..., 0] += np.sqrt(B) * rng.standard_normal((count, width))
        h, *tangents = (RHO * np.split(drawn, layer, axis=2)[k] + c for k, c in enumerate(columns))
        columns = [h, *tangents, h / (2 * limit[layer])]
    for start in (1, 2):
        drawn = 2 * (h * columns[start]).sum(axis=(1, 2)) / width
        mean, deviation = (values[f"chi_{n}"][3, start] for n in ("mean", "deviation"))
        assert abs(drawn.mean() - mean) < 4 * deviation / np.sqrt(count)
        assert abs(drawn.std() / deviation - 1) < 0.06
        # With the input's kernel apart from the tangent before it begins, it would be sqrt(2/N).
        assert abs(np.sqrt(2 / width) / drawn.std() - 1) > 0.06


def test_shift_of_a_tangent_is_that_of_the_distance_of_two_inputs() -> None:
    net = plain("erf")
    found = evaluate(finite_response(net, "tangent"), K0=K0)["tangent_shift"]
    slopes = []
    for e in (0.05, 0.025):
        inputs = np.full((2, 2), K0) + e**2 / 4 * np.array([[1, -1], [-1, 1]])
        mean = evaluate(one_loop(net, inputs=2), K0=inputs)["K_mean"]
        slopes.append((mean[:, 0, 0] + mean[:, 1, 1] - 2 * mean[:, 0, 1]) / e**2)
    np.testing.assert_allclose((4 * slopes[1] - slopes[0]) / 3, found, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("name", left_to_slow(["erf", "relu"], ["relu"]))
def test_covariance_response(name: str) -> None:
    """Its shift is the derivative of that of the covariance; at layer 0 it is z_1^2 + ..."""
    net, kernel = plain(name, 2), np.array([[0.8, 0.3], [0.3, 0.6]])
    values = evaluate(finite_response(net, "covariance"), K0=kernel, width=200)
    limit = evaluate(response(net, "covariance"), K0=kernel)["chi_0"]
    np.testing.assert_allclose(values["covariance_response"], limit, rtol=1e-5)
    step = 1e-3 * np.array([[0, 1], [1, 0]])
    high, low = (evaluate(one_loop(net, inputs=2), K0=kernel + s)["K_mean"] for s in (step, -step))
    slope = (high[:, 0, 1] - low[:, 0, 1]) / 2e-3
    np.testing.assert_allclose(values["covariance_response_shift"], slope, rtol=1e-3, atol=1e-7)
    # h_1.v/N with v = z_1/sqrt(K_11) - K_12/(sqrt(K_11) s) z_2: the variances of z_1^2, z_1 z_2.
    ratio = kernel[0, 1] ** 2 / (kernel[0, 0] * kernel[1, 1] - kernel[0, 1] ** 2)
    assert values["covariance_response_var"][0] == pytest.approx(2 + ratio, rel=1e-4)
    assert values.quadrature_error["covariance_response"] < 1e-3
    run = sample(net, "covariance_response", 200, 4000, K0=kernel, seed=3, progress=False)
    assert compare(values, run, resolve=0.1).verdict == "agrees"


def test_first_layer_by_quadrature() -> None:
    """eta^0 = 2 s phi(h) phi'(h) v averages independent neurons: exact at every width."""
    z = np.linspace(-9, 9, 2001)
    weight = np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    h = np.sqrt(K0) * z
    f = 2 * special.erf(h) * 2 / np.sqrt(np.pi) * np.exp(-h * h) * h / (2 * K0)
    mean = weight @ f
    values = evaluate(finite_response(plain("erf")), K0=K0)
    assert values["eta_layers"][0] == pytest.approx(mean, rel=1e-10)
    assert values["eta_layers_var"][0] == pytest.approx(weight @ f**2 - mean**2, rel=1e-10)


RUNS = {"variance": (("chi_0", "chi"), ("eta_layers", "response")), "tangent": (("tangent",) * 2,)}
RUNS |= {"gradient": (("gradient", "gradient"),), "parameters": (("ntk", "ntk"),)}
WIDTH, DRAWS = 64, 3000


def scores(net: ResNet, run, width: int, kinds=tuple(RUNS)) -> dict[str, np.ndarray]:
    """Return z-scores of means, and of variances with their relative errors sqrt(2/n) or more."""
    found = {}
    for kind in kinds:
        values = evaluate(finite_response(net, kind), K0=K0, width=width)
        for name, observable in RUNS[kind]:
            estimate = run[observable]
            # The first entry of a quotient by itself is one.
            kept = np.atleast_1d(estimate.stderr) > 1e-12
            mean = values[name] + values[f"{name}_shift"] / width
            z = np.atleast_1d(estimate.mean - mean)[kept] / np.atleast_1d(estimate.stderr)[kept]
            found[name] = z
            spread = np.atleast_1d(width * estimate.variance)[kept]
            found[f"{name}_var"] = spread / np.atleast_1d(values[f"{name}_var"])[kept]
    return found


@pytest.mark.parametrize("name", ["erf", "relu"])
def test_against_samples(name: str) -> None:
    net = plain(name)
    observables = [o for rows in RUNS.values() for _, o in rows]
    run = sample(net, observables, WIDTH, DRAWS, K0=K0, seed=7, progress=False)
    for key, z in scores(net, run, WIDTH).items():
        if key.endswith("_var"):
            # Variance of squares: error about 5 %, the next order v/N < 0.1.
            np.testing.assert_allclose(z, 1, atol=0.25, err_msg=key)
        else:
            assert np.abs(z).max() < LIMIT, key


def test_without_conditioning_or_mixed_columns_the_shift_is_another(monkeypatch) -> None:
    net = plain("erf")
    shift = evaluate(finite_response(net, "tangent"), K0=K0)["tangent_shift"]
    with monkeypatch.context() as patched:
        patched.setattr(engine, "_conditioning", lambda tables, *_: np.zeros((1, 4, tables.size)))
        without = evaluate(finite_response(net, "tangent"), K0=K0)["tangent_shift"]
    followed = Columns.followed.fget
    with monkeypatch.context() as patched:
        unmixed = property(lambda self: [e for e in followed(self) if e[1] != (0, 1)])
        patched.setattr(Columns, "followed", unmixed)
        alone = evaluate(finite_response(net, "tangent"), K0=K0)["tangent_shift"]
    assert abs(without[-1] / shift[-1] - 1) > 0.3
    assert abs(alone[-1] / shift[-1] - 1) > 0.3


def test_two_linear_operations_and_scales() -> None:
    """V phi(W h): the shift of tangents is zero for relu; a factor is absorbed by the weights."""
    relu = net_of(Linear(1.2, 0.1), Activation("relu"), Linear(S, B))
    for kind in ("tangent", "gradient", "parameters"):
        values = evaluate(finite_response(relu, kind), K0=K0)
        for name in [name for name in values if name.endswith("_shift") and "ratio" not in name]:
            np.testing.assert_allclose(values[name], 0, atol=1e-10)
    scaled = net_of(Scale(2.0), Activation("tanh"), Linear(S, B))
    absorbed = net_of(Activation("tanh(2*x)"), Linear(S, B))
    for kind in KINDS:
        first, second = (evaluate(finite_response(n, kind), K0=K0) for n in (scaled, absorbed))
        for name in first:
            np.testing.assert_allclose(first[name], second[name], rtol=1e-6, atol=1e-9)


def test_at_a_width() -> None:
    net = plain("tanh")
    limit = evaluate(response(net), K0=K0)
    values = evaluate(response(net), K0=K0, width=256)
    assert set(limit) <= set(values)
    np.testing.assert_array_equal(values["chi"], limit["chi"])
    finite = evaluate(finite_response(net), K0=K0)
    assert values["eta_mean"] == pytest.approx(finite["eta"] + finite["eta_shift"] / 256)
    assert values["eta_deviation"] == pytest.approx(np.sqrt(finite["eta_var"] / 256))
    assert values.width == 256
    assert values.status == "ok"
    only = evaluate(response(net), K0=K0, width=256, outputs=["eta_mean"])
    assert list(only) == ["eta_mean"]
    gradients = evaluate(gradient_moments(net), K0=K0, width=256)
    own = evaluate(finite_response(net, "gradient"), K0=K0, width=256)
    np.testing.assert_allclose(gradients["gradient"], own["gradient"], rtol=1e-8)
    np.testing.assert_array_equal(gradients["gradient_mean"], own["gradient_mean"])


def test_grids_and_symbols() -> None:
    free = net_of(Activation("erf"), Linear(S, B), scale=sp.Symbol("rho", positive=True))
    grid = evaluate(finite_response(free), K0=np.array([[0.5], [K0]]), rho=np.array([0.3, RHO]))
    assert grid["chi_0_cov"].shape == (2, 2, 4, 4)
    alone = evaluate(finite_response(plain("erf")), K0=K0)
    for name in alone:
        np.testing.assert_allclose(grid[name][1, 1], alone[name], rtol=1e-9, atol=1e-12)


def test_beyond_validity() -> None:
    values = evaluate(finite_response(plain("relu", 6)), K0=K0, width=8)
    assert "not valid at width 8" in values.status
    assert np.isnan(values["eta_mean"])
    assert np.isfinite(values["eta_shift"])


def test_what_is_refused() -> None:
    for name, match in (("sign", "jumps"), ("hardtanh(x)", "kinks")):
        with pytest.raises(UnsupportedError, match=match):
            evaluate(finite_response(plain(name)), K0=K0)
    normed = net_of(LayerNorm(), Activation("relu"), Linear(S, B))
    with pytest.raises(UnsupportedError, match="normalisation"):
        evaluate(finite_response(normed), K0=K0)
    with pytest.raises(HyperparameterError, match="unknown"):
        finite_response(plain("erf"), "chi")
    with pytest.raises(KernelError, match="dependent"):
        evaluate(response(plain("erf"), "covariance"), K0=np.ones((2, 2)), width=8)
    with pytest.raises(UnsupportedError, match="target"):
        evaluate(finite_response(plain("erf")), K0=K0, target="cuda")
