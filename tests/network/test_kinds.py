"""Several kinds of blocks in a cycle, and parameters with one value per block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
from heavier import left_to_slow
from uncompiled import evaluate

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    exact_moments,
    kernel,
    order_profile,
    response,
    sample,
    to_latex,
)
from resexpand.errors import DescriptionError, UnsupportedError
from resexpand.montecarlo.engine import make_sampler
from resexpand.montecarlo.runs.settings import spec_of
from resexpand.montecarlo.runs.stored import look

A = Branch(Activation("erf"), Linear(1.2, 0.1))
B = Branch(Linear(1.1, 0.2), Activation("relu"), Linear(0.8, 0))
NET = ResNet([A, B], scale=[0.9, 0.5], depth=5)
PAIR = np.array([[1.0, 0.3], [0.3, 0.7]])


def covariance(block: int, k: float) -> float:
    """Return what the branch of a block, from 0, makes of the variance of the stream."""
    if block % 2:
        return 0.8 * (1.1 * k + 0.2) / 2
    return 1.2 * 2 / np.pi * np.arcsin(2 * k / (1 + 2 * k)) + 0.1


def test_kinds_follow_each_other() -> None:
    values, k = evaluate(kernel(NET), K0=0.7), 0.7
    for block, scale in enumerate([0.9, 0.5, 0.9, 0.5, 0.9]):
        assert values["K"][block] == pytest.approx(k, rel=1e-14)
        assert values["C"][block] == pytest.approx(covariance(block, k), rel=1e-14)
        k += scale**2 * covariance(block, k)
    assert values["K"][-1] == pytest.approx(k, rel=1e-14)
    # The block that would come next is of the other kind than the last.
    assert values["C"][-1] == pytest.approx(covariance(5, k), rel=1e-14)
    assert values["C"][-1] != pytest.approx(covariance(4, k), rel=1e-2)
    unrolled = kernel(NET).unroll(5)["K"][-1].subs(sp.Symbol("K0", positive=True), 0.7)
    assert float(unrolled) == pytest.approx(k, rel=1e-13)


def test_responses_are_derivatives() -> None:
    step = 1e-5
    moved = [evaluate(kernel(NET), K0=0.7 + s)["K"] for s in (step, -step)]
    slope = (moved[0] - moved[1]) / (2 * step)
    np.testing.assert_allclose(evaluate(response(NET), K0=0.7)["chi_0"], slope, rtol=1e-9)
    off = step * np.array([[0, 1], [1, 0]])
    both = [evaluate(kernel(NET, inputs=2), K0=PAIR + s * off)["K"] for s in (1, -1)]
    crossed = (both[0] - both[1])[:, 0, 1] / (2 * step)
    found = evaluate(response(NET, "covariance"), K0=PAIR)["chi_0"]
    np.testing.assert_allclose(found, crossed, rtol=1e-9)


def test_one_kind_is_the_network_itself() -> None:
    plain = ResNet(A, scale=0.6, depth=4, read_out=Linear(1, 0))
    cycle = ResNet([A, A], scale=[0.6, 0.6], depth=4, read_out=Linear(1, 0))
    for name in ("K", "C"):
        one, two = (evaluate(kernel(net), K0=0.7)[name] for net in (plain, cycle))
        np.testing.assert_array_equal(one, two)


def test_parameters_with_a_value_per_block() -> None:
    a = sp.Symbol("a", positive=True)
    net = ResNet(Branch(Activation("erf"), Linear([1, 2 * a, 3], 0.1)), scale=0.5, depth=3)
    assert net.free_symbols == {a}
    assert [net.block(k).linears[0].weight_variance for k in (1, 2, 3)] == [1, 2 * a, 3]
    assert not kernel(net).definitions[0][1].has(sp.Piecewise)
    values, k = evaluate(kernel(net), K0=0.7, a=0.9), 0.7
    for block, weight in enumerate([1, 1.8, 3]):
        own = weight * 2 / np.pi * np.arcsin(2 * k / (1 + 2 * k)) + 0.1
        assert values["C"][block] == pytest.approx(own, rel=1e-14)
        k += 0.25 * own
    assert values["K"][-1] == pytest.approx(k, rel=1e-14)


WITH_HEAD = ResNet(
    [A, B], scale=[0.9, 0.5], depth=5, read_out=[Activation("tanh"), Linear(0.7, 0.1)], skip=0.9
)
GROWING = ResNet(Branch(Activation("erf"), Linear([1, 2, 3], 0.1)), scale=0.5, depth=3)


def test_every_activation_keeps_its_label() -> None:
    names = [law.name for _, law in kernel(WITH_HEAD).laws]
    assert names == ["erf", "relu", "tanh"]
    k = 0.8
    for block, got in enumerate(evaluate(kernel(WITH_HEAD), K0=0.8)["K"]):
        assert got == pytest.approx(k, rel=1e-13)
        k = 0.81 * k + (0.9, 0.5)[block % 2] ** 2 * covariance(block, k)
    twice = Branch(Linear(1, 0), Activation("erf"), Linear(1, 0), Activation("erf"), Linear(1, 0))
    net = ResNet(twice, scale=1, depth=1, read_out=[Activation("tanh"), Linear(1, 0)])
    laws = [(str(label), law.name) for label, law in kernel(net).laws]
    assert laws == [("phi", "erf"), ("phi_2", "erf"), ("phi_3", "tanh")]


@pytest.mark.parametrize(
    ("net", "method"),
    left_to_slow(
        [(WITH_HEAD, "function-space"), (WITH_HEAD, "dense"), (GROWING, "function-space")],
        [(WITH_HEAD, "dense")],
    ),
    ids=["kinds", "kinds, every weight", "a value per block"],
)
def test_networks_follow(net: ResNet, method: str, tmp_path: Path) -> None:
    names = ["kernel", "layer_covariance", "response", "directional_derivative"]
    path = tmp_path / "runs.sqlite"
    found = sample(net, names, 100, 400, K0=0.8, seed=2, method=method, store=path)
    theory = evaluate(kernel(net), K0=0.8)
    expected = {
        "kernel": theory["K"],
        "layer_covariance": theory["C"],
        "response": evaluate(response(net), K0=0.8)["eta_layers"],
    }
    for name, value in expected.items():
        z = (found[name].mean - value) / found[name].stderr
        assert np.abs(z).max() < 4.5
        # What blocks do is not what others do: a shift by one block is seen.
        assert np.abs((found[name].mean - np.roll(value, 1)) / found[name].stderr).max() > 9
    product = found["directional_derivative"].mean
    np.testing.assert_allclose(product, product[0], rtol=1e-9)
    # The store is read again: it knows every kind of block and the maps behind the last.
    rows = make_sampler(spec_of(look(path).plan.settings, "a run")).rows(0, 400)
    np.testing.assert_allclose(rows["kernel"].mean(axis=0), found["kernel"].mean, rtol=1e-12)


def test_scales_of_kinds_and_of_blocks() -> None:
    assert NET.scale == tuple(map(sp.Rational, ("9/10", "1/2", "9/10", "1/2", "9/10")))
    assert ResNet([A, B], scale=[1, 2, 3]).scale == (1, 2, 3)
    assert ResNet([A, B], scale=0.5, depth=3).scale == sp.Rational(1, 2)
    assert repr(NET).startswith('ResNet([Branch(Activation("erf")')
    assert r"\begin{cases}" in to_latex(kernel(NET))
    written = to_latex(NET)
    assert r"W_{1}^{l} \phi(h^{l-1}) + b_{1}^{l} \right], \qquad l = 1, 3, 5" in written
    assert r"\phi_{2}(W_{21}^{l} h^{l-1} + b_{21}^{l})" in written
    assert written.count("{") == written.count("}")
    assert r"\left(1, 2, 3\right)_{l} / N" in to_latex(GROWING)
    assert r"\qquad l = 1, 3, 5" in NET._repr_latex_()


def test_what_is_known_for_one_kind_says_so() -> None:
    for ask in (exact_moments, lambda net: order_profile(net, 2), lambda n: n.branch):
        with pytest.raises(UnsupportedError, match="known for blocks with one branch"):
            ask(NET)


ENDS = Branch(Linear(), Activation("erf"))
BAD: dict[str, tuple[Any, dict[str, Any], str]] = {
    "empty": ([], {"scale": 1, "depth": 2}, "it is not a Branch"),
    "no branch": ([A, Linear()], {"scale": 1, "depth": 2}, "it is not a Branch"),
    "symbolic depth": ([A, B], {"scale": 1, "depth": sp.Symbol("L")}, "give the depth as a number"),
    "scales": ([A, B], {"scale": [1, 2, 3], "depth": 5}, "one scale per block"),
    "values": (
        Branch(Activation("erf"), Linear([1, 2], 0)),
        {"scale": 1, "depth": 3},
        "a list holds one value per block",
    ),
    "mean": ([A, ENDS], {"scale": 1, "depth": 2}, "not Gaussian at infinite width"),
}


def test_bad_values_per_block() -> None:
    with pytest.raises(DescriptionError, match="weight_variance = -2: it must not be below 0"):
        Linear([1, -2], 0)


@pytest.mark.parametrize("case", BAD)
def test_bad_kinds(case: str) -> None:
    branches, more, message = BAD[case]
    with pytest.raises((DescriptionError, UnsupportedError), match=message):
        ResNet(branches, **more)
