"""The infinite-width twin: its law, unbiasedness of the control, its gain, negative controls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from resexpand import (
    Activation,
    Branch,
    Linear,
    Observable,
    ResNet,
    evaluate,
    kernel,
    one_loop,
    sample,
)
from resexpand.errors import UnsupportedError
from resexpand.montecarlo.concrete import concrete
from resexpand.montecarlo.groups.control import ControlNetwork
from resexpand.montecarlo.observables.registry import OBSERVABLES
from resexpand.montecarlo.statistics.first_order import first_order

CONTROL = "infinite-width"
NAMES = ["kernel", "layer_covariance"]
W, B = Linear(1.4, 0.3), Linear(0.8, 0.1)
BRANCHES = {
    "W h": lambda phi: Branch(W),
    "W phi(h)": lambda phi: Branch(phi, W),
    "V phi(W h)": lambda phi: Branch(W, phi, B),
    "V phi(W phi(h))": lambda phi: Branch(phi, B, phi, W),
}
LONGEST = "V phi(W phi(h))"
SHAPES = [LONGEST, *(pytest.param(s, marks=pytest.mark.slow) for s in BRANCHES if s != LONGEST)]
PAIR = np.array([[1.1, 0.5], [0.5, 0.8]])
EQUAL = np.array([[1.0, 1.0, 0.2], [1.0, 1.0, 0.2], [0.2, 0.2, 0.5]])
ERF_20 = ResNet(Branch(Activation("erf_unit"), Linear(1, 0)), scale=0.3, depth=20)


def net_of(shape: str, activation: str = "erf", read_out: Linear | None = None) -> ResNet:
    branch = BRANCHES[shape](Activation(activation))
    ending = None if read_out is None else branch.followed_by(read_out)
    return ResNet(branch, scale=(0.5, 0.3, 0.4), read_out=ending)


def both_z(first, second) -> np.ndarray:
    """Return z-scores of the difference of two estimates; zero where nothing fluctuates."""
    error = np.hypot(first.stderr, second.stderr)
    difference = first.mean - second.mean
    size = np.abs(second.mean) + 1e-300
    assert np.all(np.abs(difference)[error < 1e-13 * size] < 1e-11 * size.max())
    return np.divide(difference, error, out=np.zeros_like(error), where=error >= 1e-13 * size)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("read_out", [None, Linear(0.7, 0.2)])
def test_recursion_is_that_of_the_theory(shape: str, read_out) -> None:
    net = net_of(shape, read_out=read_out)
    exact = evaluate(kernel(net, inputs=2), K0=PAIR)
    found = first_order(net.branch, concrete(net, {}), PAIR)
    np.testing.assert_allclose(found.kernels, exact["K"], rtol=1e-13)
    last = found.blocks[-1][-1] if found.read_out is None else found.read_out
    covariances = [block[-1].covariance for block in found.blocks[:-1]]
    np.testing.assert_allclose([*covariances, last.covariance], exact["C"], rtol=1e-13)
    roots = np.swapaxes(found.roots, -1, -2) @ found.roots
    for layer, block in enumerate(found.blocks):
        for k, step in enumerate(block):
            np.testing.assert_allclose(roots[layer, k], step.covariance, rtol=1e-12)


@pytest.mark.parametrize(
    ("shape", "activation", "K0"),
    [
        ("V phi(W phi(h))", "erf", PAIR),
        pytest.param("W phi(h)", "relu", PAIR, marks=pytest.mark.slow),
        pytest.param("W h", "erf", 0.8, marks=pytest.mark.slow),
        pytest.param("W phi(h)", "erf", 0.8, marks=pytest.mark.slow),
        pytest.param("V phi(W h)", "erf", PAIR, marks=pytest.mark.slow),
        pytest.param("V phi(W h)", "relu", EQUAL, marks=pytest.mark.slow),
    ],
)
def test_fluctuations_have_expectation_zero(shape: str, activation: str, K0, make, z_score) -> None:
    """The subtracted part averages to zero at a width where 1/N is far from small."""
    net = net_of(shape, activation, read_out=Linear(0.7, 0.2))
    K0 = np.atleast_2d(K0)
    rows = make(net, NAMES, 6, K0=K0, control=True).rows(0, 20_000)
    for name in NAMES:
        known = rows[name] - rows[f"{name}, controlled"]
        moving = known.std(axis=0) > 1e-12
        assert moving.mean() > 0.5
        assert np.abs(z_score(known[:, moving], 0.0)).max() < 4.5


@pytest.mark.parametrize("shape", SHAPES)
def test_controlled_and_plain_agree(shape: str) -> None:
    net = net_of(shape)
    for K0 in (0.8, PAIR):
        arguments = {"width": 30, "draws": 4000, "K0": K0}
        controlled = sample(net, NAMES, **arguments, control=CONTROL, seed=1)
        plain = sample(net, NAMES, **arguments, seed=2)
        for name in NAMES:
            assert np.abs(both_z(controlled[name], plain[name])).max() < 4.5
            assert np.median(controlled[name].gain) > 20


def test_the_network_is_the_same() -> None:
    controlled = sample(ERF_20, "kernel", 50, 60, K0=1.0, control=CONTROL, seed=5)["kernel"]
    plain = sample(ERF_20, "kernel", 50, 60, K0=1.0, seed=5)["kernel"]
    np.testing.assert_allclose(controlled.plain.mean, plain.mean, rtol=1e-13)
    np.testing.assert_allclose(controlled.plain.variance, plain.variance, rtol=1e-10)
    assert controlled.plain.plain is not None
    assert (plain.gain == 1).all()


def test_gain_of_the_erf_network() -> None:
    """N = 100, L = 20: one controlled draw is worth hundreds of plain ones, for G thousands."""
    found = sample(ERF_20, NAMES, 100, 2000, K0=1.0, control=CONTROL, seed=3)
    for name, least in zip(NAMES, (10_000, 300), strict=True):
        assert found[name].gain.min() > least
        ratio = found[name].plain.stderr[2:] / found[name].stderr[2:]
        np.testing.assert_allclose(ratio**2, found[name].gain[2:], rtol=1e-9)


def test_what_is_left_is_of_second_order() -> None:
    """Doubling the width divides the variance by four, not by two."""
    spread = [sample(ERF_20, NAMES, width, 3000, K0=1.0, control=CONTROL) for width in (100, 400)]
    for name in NAMES:
        ratio = spread[0][name].variance[-1] / spread[1][name].variance[-1]
        assert 11 < ratio < 23


def test_sign_is_controlled_without_a_rest() -> None:
    """G^l = K^l chi^2_N/N: the twin is the network, and its fluctuation the whole of it."""
    net = ResNet(Branch(Activation("sign"), W), scale=0.5, depth=3)
    found = sample(net, NAMES, 9, 50, K0=0.8, control=CONTROL)
    exact = evaluate(kernel(net), K0=0.8)
    for name, key in (("kernel", "K"), ("layer_covariance", "C")):
        np.testing.assert_allclose(found[name].mean, exact[key], rtol=1e-12)
        assert found[name].stderr.max() < 1e-13


def test_linear_law_at_width_five() -> None:
    """E G^l = (1 + rho^2 s)^l K0 + bias, exactly; the control removes all but order two."""
    net = ResNet(Branch(Linear(1.3, 0.4)), scale=0.5, depth=4)
    found = sample(net, "kernel", 5, 20_000, K0=0.7, control=CONTROL)["kernel"]
    p, exact = 1 + 0.25 * 1.3, [0.7]
    for _ in range(4):
        exact.append(p * exact[-1] + 0.25 * 0.4)
    z = (found.mean - exact)[1:] / found.stderr[1:]
    assert np.abs(z).max() < 4.5
    wrong = (found.mean - 1.01 * np.array(exact))[1:] / found.stderr[1:]
    assert np.abs(wrong).max() > 5


def test_a_twin_of_other_normals_gains_nothing(make) -> None:
    """Negative control: the fluctuation of network n + 1 subtracted from network n."""
    for name in NAMES:
        rows = make(ERF_20, name, 100, control=True).rows(0, 2000)
        known = rows[name] - rows[f"{name}, controlled"]
        other = rows[name] - np.roll(known, 1, axis=0)
        ratio = rows[name].var(axis=0)[1:] / other.var(axis=0)[1:]
        assert ratio.max() < 0.6


@pytest.mark.parametrize(("factor", "loss"), [(0.0, 50), (1.1, 1.6)])
def test_wrong_propagation_loses_the_gain(factor: float, loss: float, make) -> None:
    """Negative control: no response T, or one ten percent off; the mean stays unbiased."""
    right = make(ERF_20, "kernel", 800, control=True)
    blocks = tuple(
        tuple(
            replace(step, response=replace(step.response, cross=factor * step.response.cross))
            for step in block
        )
        for block in right.first_order.blocks
    )
    bad = replace(right, first_order=replace(right.first_order, blocks=blocks))
    good, poor = (s.rows(0, 1000)["kernel, controlled"] for s in (right, bad))
    assert poor.var(axis=0)[-1] / good.var(axis=0)[-1] > loss
    difference = (poor - good)[:, -1]
    assert abs(difference.mean()) < 4.5 * difference.std() / np.sqrt(1000)


def test_mean_correction_of_order_one_over_n() -> None:
    """N (E K^20 - K^20) of the one-loop theory, computed by quadrature outside the package."""
    exact = evaluate(kernel(ERF_20), K0=1.0)["K"]
    found = sample(ERF_20, "kernel", 400, 4000, K0=1.0, control=CONTROL)["kernel"]
    correction, error = 400 * (found.mean - exact), 400 * found.stderr
    for layer, value in ((2, -0.00113942), (5, -0.0109493), (20, -0.16794518)):
        assert abs(correction[layer] - value) < 4.5 * error[layer]
    assert error[20] < 0.02 * 0.168
    assert abs(correction[20]) > 30 * error[20]


def crossed(rows: np.ndarray) -> np.ndarray:
    return rows[:, :, None] * rows[:, None, :]


@pytest.mark.parametrize("shape", SHAPES[:1] + SHAPES[2:])
def test_covariance_of_the_fluctuations_is_one_loop_at_every_width(shape: str, make) -> None:
    """N Cov(dC^l, dC^m) = R S R^T without a correction: dC is a mean of i.i.d. neurons."""
    net = net_of(shape)
    exact = evaluate(one_loop(net), K0=0.8)["C_cov"]
    rows = make(net, "layer_covariance", 6, K0=0.8, control=True).rows(0, 20_000)
    products = 6 * crossed(rows["layer_covariance"] - rows["layer_covariance, controlled"])
    z = (products.mean(axis=0) - exact) / (products.std(axis=0) / np.sqrt(20_000))
    assert np.abs(z).max() < 4.5
    off = (products.mean(axis=0) - 1.15 * exact) / (products.std(axis=0) / np.sqrt(20_000))
    assert np.abs(off).max() > 5


def test_an_observable_of_the_user_may_bring_its_control() -> None:
    """Products of deviations less those of dC, whose mean is known: what lies beyond one loop."""
    net = net_of("W phi(h)")
    centre = evaluate(kernel(net), K0=0.8)["C"]
    exact = evaluate(one_loop(net), K0=0.8)["C_cov"] / 100
    deviation = OBSERVABLES["layer_covariance"].read
    own = Observable(
        "products",
        lambda record: crossed(deviation(record) - centre),
        ("features",),
        control=lambda record, change: crossed(record.of_inputs(change)) - exact,
    )
    found = sample(net, own, 100, 4000, K0=0.8, control=CONTROL)["products"]
    assert found.gain[1:, 1:].min() > 50
    z = (found.mean - exact)[1:, 1:] / found.stderr[1:, 1:]
    assert np.abs(z).max() < 4.5
    assert np.abs((found.mean - 0.97 * exact)[1:, 1:] / found.stderr[1:, 1:]).max() > 5


@pytest.mark.slow
def test_other_columns_beside_the_twin() -> None:
    """Jets and tangents are drawn beside it, as they are; the network does not change."""
    names = ["kernel", "order_profile(2)", "tangent"]
    both = sample(ERF_20, names, 30, 40, K0=1.0, control=CONTROL)
    plain = sample(ERF_20, names, 30, 40, K0=1.0)
    for name in ("order_profile", "tangent"):
        np.testing.assert_allclose(both[name].mean, plain[name].mean, rtol=1e-10, atol=1e-14)
        assert both[name].uncontrolled is None
    np.testing.assert_allclose(both["kernel"].plain.mean, plain["kernel"].mean, rtol=1e-12)
    assert "gain" in repr(both["kernel"])
    assert "gain" not in repr(plain["kernel"])


def test_stores_and_merging(tmp_path) -> None:
    store = tmp_path / "run.sqlite"
    arguments = {"width": 20, "draws": 600, "K0": 1.0, "control": CONTROL}
    first = sample(ERF_20, NAMES, **arguments, store=store)
    again = sample(ERF_20, NAMES, **arguments, store=store)
    assert first["kernel"].plain.moments.to_bytes() == again["kernel"].plain.moments.to_bytes()
    assert first["kernel"].moments.to_bytes() == again["kernel"].moments.to_bytes()
    other = sample(ERF_20, NAMES, **arguments, seed=9)
    merged = first.merge(other)["kernel"]
    assert merged.n == merged.plain.n == 1200
    plain = sample(ERF_20, NAMES, 20, 600, K0=1.0, seed=8)
    with pytest.raises(UnsupportedError, match=r"control variate.*\.plain"):
        first.merge(plain)


@pytest.mark.parametrize(
    ("net", "changed", "match"),
    [
        (ERF_20, {"method": "dense"}, r"dense.*use method=\"function-space\""),
        (ERF_20, {"control": "twin"}, "there is no such control"),
        (ERF_20, {"observables": "chi"}, 'ask for "kernel"'),
        (
            ResNet(Branch(W, Activation("erf")), scale=0.3, depth=2),
            {},
            "ends in an activation",
        ),
        (
            ResNet(Branch(Activation("sign"), W), scale=0.3, depth=2),
            {"K0": np.ones((2, 2))},
            "coinciding inputs",
        ),
        (
            ResNet(Branch(Activation("relu"), Linear(1e8, 0)), scale=1e3, depth=40),
            {},
            "exceeds float64 in layer 23",
        ),
    ],
)
def test_refusals(net, changed: dict, match: str) -> None:
    arguments = {"observables": "kernel", "width": 12, "draws": 40, "K0": 1.0, "control": CONTROL}
    with pytest.raises(UnsupportedError, match=match):
        sample(net, **{**arguments, **changed})


def test_the_twin_is_one_column_per_input() -> None:
    assert ControlNetwork(3, 1).carried == 3
