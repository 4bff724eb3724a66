"""Kernels under masks and coins, against formulas retyped here for each outcome of the noise."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import sympy as sp
from uncompiled import evaluate

from resexpand import (
    Activation,
    Branch,
    Dropout,
    LayerNorm,
    Linear,
    ResNet,
    SharedDropout,
    StochasticDepth,
    exact_moments,
    gated_path_sum,
    growth,
    kernel,
    mask_correlation,
    one_loop,
    optimal_scale,
    order_profile,
    residual_expansion,
    response,
    to_latex,
    weight_scaling,
)
from resexpand.cli import main
from resexpand.errors import UnsupportedError
from resexpand.network.operation import Map, X
from resexpand.theory.signal import Signal

W, B, RHO, DEPTH, START = 1.7, 0.1, 0.8, 4, 0.7
PAIR = np.array([[1.0, 0.3], [0.3, 0.7]])
Average = Callable[[float, float, float], float]


def erf_pair(k11: float, k12: float, k22: float) -> float:
    return 2 / np.pi * np.arcsin(2 * k12 / np.sqrt((1 + 2 * k11) * (1 + 2 * k22)))


def relu_pair(k11: float, k12: float, k22: float) -> float:
    if k11 * k22 == 0:
        return 0.0
    c = min(k12 / np.sqrt(k11 * k22), 1.0)
    return np.sqrt(k11 * k22) * (np.sqrt(1 - c**2) + (np.pi - np.arccos(c)) * c) / (2 * np.pi)


def cos_pair(k11: float, k12: float, k22: float) -> float:
    return np.exp(-(k11 + k22) / 2) * np.cosh(k12)


PAIRS: dict[Any, Average] = {"erf": erf_pair, "relu": relu_pair, sp.cos(X): cos_pair}
PROBABILITIES = [(0.6, 1.0), (1.0, 0.6), (0.9, 0.5)]


def masked(average: Average, K: np.ndarray, p: float, together: bool) -> np.ndarray:
    """Return ``<phi phi>`` behind masks of probability p, outcome by outcome."""
    found = np.zeros((2, 2))
    for (a, b), xi in product(np.ndindex(2, 2), product((0, 1), repeat=2)):
        same = a == b or together
        if same and xi[0] != xi[1]:
            continue
        chance = np.prod([p if x else 1 - p for x in (xi[:1] if same else xi)])
        one, two = np.array(xi) / p
        found[a, b] += chance * average(one**2 * K[a, a], one * two * K[a, b], two**2 * K[b, b])
    return found


def by_hand(name: Any, before: float, after: float, K: np.ndarray, together: bool) -> np.ndarray:
    """Return the kernel of ``W D(phi(D(h))) + b`` over the layers for two inputs."""
    layers = [K]
    same = np.full((2, 2), together) | np.eye(2, dtype=bool)
    for _ in range(DEPTH):
        feature = masked(PAIRS[name], layers[-1], before, together)
        layers.append(layers[-1] + RHO**2 * (W * np.where(same, feature / after, feature) + B))
    return np.array(layers)


def network(name: Any, before: Any, after: Any, kind: Any = Dropout) -> ResNet:
    branch = Branch(kind(before), Activation(name), kind(after), Linear(W, B))
    return ResNet(branch, scale=RHO, depth=DEPTH)


@pytest.mark.parametrize("name", PAIRS, ids=str)
def test_kernels_of_every_position(name: Any) -> None:
    p, q = sp.symbols("p_1 p_2", positive=True)
    for kind, together in ((Dropout, False), (SharedDropout, True)):
        net = network(name, p, q, kind)
        for before, after in PROBABILITIES:
            given = {"p_1": before, "p_2": after}
            expected = by_hand(name, before, after, PAIR, together)
            found = evaluate(kernel(net, inputs=2), K0=PAIR, **given)["K"]
            np.testing.assert_allclose(found, expected, rtol=1e-12)
            other = by_hand(name, before, after, PAIR, not together)[:, 0, 1]
            assert not np.allclose(found[1:, 0, 1], other[1:], rtol=1e-3)
            if kind is Dropout:
                single = evaluate(kernel(net), K0=0.7, **given)["K"]
                np.testing.assert_allclose(single, expected[:, 1, 1], rtol=1e-12)
    # Masks of one input in front of relu act as behind it; in front of erf they do not.
    swapped = by_hand(name, *PROBABILITIES[1], PAIR, False)
    same = np.allclose(by_hand(name, *PROBABILITIES[0], PAIR, False), swapped, rtol=1e-6)
    assert same == (name == "relu")


@pytest.mark.parametrize("kind", [Dropout, SharedDropout], ids=lambda kind: kind.kind)
def test_two_masks_on_one_input(kind: type[Dropout]) -> None:
    net, ones = network("erf", 0.6, 0.8, kind), np.full((2, 2), START)
    found = evaluate(kernel(net, inputs="masks"), K0=START)
    assert found["K"].shape == (DEPTH + 1, 2, 2)
    np.testing.assert_allclose(found["K"], by_hand("erf", 0.6, 0.8, ones, False), rtol=1e-12)
    # Equal inputs stay equal only if their masks are.
    pair = evaluate(kernel(net, inputs=2), K0=ones)["K"]
    together = kind is SharedDropout
    np.testing.assert_allclose(pair, by_hand("erf", 0.6, 0.8, ones, together), rtol=1e-12)
    three = evaluate(kernel(net, inputs=2), K0=np.full((3, 3), START), outputs="K")["K"]
    np.testing.assert_allclose(three[:, 0, 2], pair[:, 0, 1], rtol=1e-12)
    np.testing.assert_allclose(three[:, 2, 2], pair[:, 1, 1], rtol=1e-12)


def test_keep_one_is_no_operation() -> None:
    plain = ResNet(Branch(Activation("cos(x)"), Linear(W, B)), scale=RHO, depth=DEPTH)
    ones = network("cos(x)", 1, 1)
    asks: list[tuple[Callable[[ResNet], Any], Any]] = [
        (kernel, START),
        (lambda net: kernel(net, 2), PAIR),
        (response, START),
        (lambda net: response(net, "covariance"), PAIR),
        (lambda net: response(net, "tangent"), START),
    ]
    for ask, start in asks:
        values = [evaluate(ask(net), K0=start) for net in (plain, ones)]
        for key in values[0]:
            np.testing.assert_array_equal(values[0][key], values[1][key])
    p = sp.Symbol("keep", positive=True)
    values = [
        evaluate(kernel(network("cos(x)", k, k)), K0=START, **a)
        for k, a in ((1, {}), (p, {"keep": 1.0}))
    ]
    np.testing.assert_allclose(values[1]["K"], values[0]["K"], rtol=1e-15)


def test_responses_are_derivatives() -> None:
    step, net = 1e-5, network("erf", 0.6, 0.8)
    moved = [evaluate(kernel(net), K0=START + s)["K"] for s in (step, -step)]
    chi = evaluate(response(net), K0=START)["chi_0"]
    np.testing.assert_allclose(chi, (moved[0] - moved[1]) / (2 * step), rtol=1e-8)
    off = step * np.array([[0, 1], [1, 0]])
    both = [evaluate(kernel(net, 2), K0=PAIR + s * off)["K"][:, 0, 1] for s in (1, -1)]
    crossed = evaluate(response(net, "covariance"), K0=PAIR)["chi_0"]
    np.testing.assert_allclose(crossed, (both[0] - both[1]) / (2 * step), rtol=1e-8)


def test_a_tangent_shares_the_masks_of_its_input() -> None:
    k, growth = START, 1.0
    chi = evaluate(response(network("erf", 0.6, 0.8), "tangent"), K0=k)["chi_0"]
    for found in chi:
        assert found == pytest.approx(growth, rel=1e-12)
        # <phi'^2> at variance K/p^2, 1/p^2 from the mask in front, p from its probability.
        slope = 4 / np.pi / np.sqrt(1 + 4 * k / 0.36)
        growth *= 1 + RHO**2 * W * slope / 0.6 / 0.8
        k = by_hand("erf", 0.6, 0.8, np.full((2, 2), k), False)[1, 0, 0]


SHEET = {1.0: 1.0, 0.95: 0.744817, 0.9: 0.627146, 0.8: 0.472799, 0.5: 0.217234}


@pytest.mark.parametrize("p", SHEET)
def test_the_fixed_correlation(p: float) -> None:
    branch = Branch(Activation("relu"), Dropout(p), Linear(2 * p, 0))
    assert mask_correlation(ResNet(branch, scale=0.3, depth=2)) == pytest.approx(SHEET[p], abs=1e-6)
    K = evaluate(kernel(ResNet(branch, scale=1, depth=80, skip=0), "masks"), K0=1.0)["K"][-1]
    if p < 0.95:
        assert K[0, 1] / K[0, 0] == pytest.approx(SHEET[p], abs=1e-6)


def test_fixed_correlations_that_do_not_exist() -> None:
    for name in ("erf", "tanh"):
        with pytest.raises(UnsupportedError, match=r"depends on the size|no closed form"):
            mask_correlation(network(name, 0.5, 1))
    assert mask_correlation(
        ResNet(Branch(Dropout(0.5), Linear(2, 0)), scale=1, depth=1)
    ) == pytest.approx(0, abs=1e-15)


def test_training_against_evaluation() -> None:
    p, net = (
        0.5,
        ResNet(Branch(Activation("relu"), Dropout(0.5), Linear(W, B)), scale=RHO, depth=DEPTH),
    )
    values = evaluate(weight_scaling(net), K0=START)
    aa = ab = at = tt = START
    for layer in range(DEPTH + 1):
        found = [values["K"][layer, 0, 0], values["K"][layer, 0, 1]]
        found += [values[name][layer] for name in ("K_cross", "K_test", "error")]
        np.testing.assert_allclose(found, [aa, ab, at, tt, ab - 2 * at + tt], atol=1e-12)
        add = (aa / 2 / p, relu_pair(aa, ab, aa), relu_pair(aa, at, tt), tt / 2)
        aa, ab, at, tt = (
            k + RHO**2 * (W * a + B) for k, a in zip((aa, ab, at, tt), add, strict=True)
        )
    np.testing.assert_array_equal(
        values["K_test"], evaluate(kernel(net.evaluation()), K0=START)["K"]
    )
    assert values["error"][-1] > 0.01
    linear = ResNet(Branch(Linear(1, 0), Dropout(p), Linear(W, B)), scale=RHO, depth=DEPTH)
    np.testing.assert_allclose(evaluate(weight_scaling(linear), K0=START)["error"], 0, atol=1e-14)


def test_the_error_of_weight_scaling_in_numpy() -> None:
    random, n, p, draws = np.random.default_rng(5), 300, 0.5, 60
    net = ResNet(Branch(Activation("relu"), Dropout(p), Linear(W, 0)), scale=RHO, depth=3)
    theory = evaluate(weight_scaling(net), K0=START)
    cross, test = np.zeros((2, draws))
    for draw in range(draws):
        a = t = random.normal(size=n) * np.sqrt(START)
        for _ in range(3):
            weights = random.normal(size=(n, n)) * np.sqrt(W / n)
            mask = (random.random(n) < p) / p
            a = a + RHO * weights @ (mask * np.maximum(a, 0))
            t = t + RHO * weights @ np.maximum(t, 0)
        cross[draw], test[draw] = a @ t / n, t @ t / n
    for found, name in ((cross, "K_cross"), (test, "K_test")):
        error = found.std() / np.sqrt(draws)
        assert abs(found.mean() - theory[name][-1]) < 4 * error
    assert abs(cross.mean() - theory["K"][-1, 0, 0]) > 9 * cross.std() / np.sqrt(draws)


LAST = Branch(Activation("relu"), Linear(W, B), Dropout(0.5))
INNER = Branch(Linear(1.1, 0), Activation("erf"), Linear(W, B), Dropout(0.5))


def test_masks_behind_the_last_linear() -> None:
    """The stream is a mixture: what needs its variance alone, or meets a Linear first, is exact."""
    k, found = START, evaluate(kernel(ResNet(LAST, scale=RHO, depth=DEPTH)), K0=START)["K"]
    for value in found:
        assert value == pytest.approx(k, rel=1e-13)
        k += RHO**2 * (W * k / 2 + B) / 0.5
    pair = evaluate(kernel(ResNet(INNER, scale=RHO, depth=1), 2), K0=PAIR)["K"][1]
    assert pair[0, 1] == pytest.approx(0.3 + RHO**2 * (W * erf_pair(1.1, 0.33, 0.77) + B))
    assert pair[0, 0] == pytest.approx(1 + RHO**2 * (W * erf_pair(1.1, 1.1, 1.1) + B) / 0.5)
    for ask in (
        lambda: kernel(ResNet(LAST, scale=1, depth=2), 2),
        lambda: response(ResNet(LAST, scale=1, depth=2), "tangent"),
        lambda: kernel(ResNet(Branch(Activation("erf"), *LAST.ops[1:]), scale=1, depth=2)),
        lambda: kernel(ResNet(INNER, scale=1, depth=2, read_out=[Activation("erf"), Linear()])),
    ):
        with pytest.raises(UnsupportedError, match="not a centred Gaussian"):
            ask()


def test_no_theory_ignores_the_noise() -> None:
    net = ResNet(
        Branch(Activation("relu"), Dropout(0.5), Linear(1, 0)),
        scale=1,
        depth=2,
        read_out=Linear(1, 0),
    )
    inner = Branch(Linear(1, 0), Dropout(0.5), Activation("erf"), Linear(1, 0))
    last = Branch(LayerNorm(), Activation("erf"), Linear(1, 0), StochasticDepth(0.5))
    others = [ResNet(branch, scale=1, depth=2) for branch in (inner, last)]
    asks: list[Callable[[ResNet], Any]] = [
        exact_moments,
        optimal_scale,
        gated_path_sum,
        lambda n: order_profile(n, 2),
        lambda n: residual_expansion(2, n),
    ]
    head = ResNet(
        Branch(Activation("erf"), Linear(1, 0)),
        scale=1,
        depth=2,
        read_out=[Dropout(0.5), Linear(1, 0)],
    )
    for ask, each in product(asks, (net, head, *others)):
        with pytest.raises(
            UnsupportedError, match=r"noise|states no law|not differentiable|no sum over paths"
        ):
            ask(each)
    # The order 1/N knows masks directly in front of a Linear alone.
    for each in others:
        with pytest.raises(UnsupportedError, match="noise"):
            one_loop(each)
    with pytest.raises(UnsupportedError, match="it draws noise"):
        ResNet(Branch(Linear()), scale=1, depth=1, post_norm=Dropout(0.5))


def test_normalised_branches() -> None:
    """The sheet: ``E K = K0 + r C sum 1/p``, ``Var K = r^2 C^2 sum (1 - p)/p^3``, C/p for masks."""
    survival = np.array([0.9, 0.7, 0.5, 1.0])
    ops = (LayerNorm(), Activation("erf"), Dropout(0.8), Linear(W, B))
    net = ResNet(Branch(*ops, StochasticDepth(survival)), scale=RHO, depth=DEPTH)
    added = RHO**2 * (W * erf_pair(1, 1, 1) / 0.8 + B)
    values = evaluate(kernel(net), K0=START)
    mean = START + added * np.cumsum([0, *(1 / survival)])
    np.testing.assert_allclose(values["K"], mean, rtol=1e-13)
    spread = added**2 * np.cumsum([0, *((1 - survival) / survival**3)])
    np.testing.assert_allclose(values["K_var"], spread, rtol=1e-12)
    law = growth(ResNet(Branch(*ops, StochasticDepth(0.5)), scale=RHO, depth=DEPTH)).kernel.rhs
    start, layer = sp.Symbol("K0", positive=True), sp.Symbol("l", integer=True, nonnegative=True)
    assert float(law.subs({start: START, layer: 3})) == pytest.approx(START + 3 * added / 0.5)
    # Masks in front of the norm: relu meets two Gaussians, erf other ones than without the norm.
    moved = ResNet(Branch(Dropout(0.8), LayerNorm(), *ops[1:2], ops[3]), scale=RHO, depth=1)
    feature = 0.8 * erf_pair(*(1 / 0.8,) * 3)
    expected = START + RHO**2 * (W * feature + B)
    assert evaluate(kernel(moved), K0=START)["K"][1] == pytest.approx(expected, rel=1e-12)
    relu = Branch(LayerNorm(), Activation("relu"), Dropout(0.5), Linear(1, 0))
    found = mask_correlation(ResNet(relu, scale=1, depth=1))
    assert found == pytest.approx(SHEET[0.5], abs=1e-6)


class Shifted(Map):
    """``x -> x + 1``."""

    kind = "Shifted"
    expression = X + 1


def test_a_shift_behind_masks_is_no_mixture_of_centred_gaussians() -> None:
    ops = (Linear(1, 0), Dropout(0.5), Shifted(), Linear(W, B))
    found = evaluate(kernel(ResNet(Branch(*ops), scale=1, depth=1)), K0=START)["K"][1]
    assert found == pytest.approx(START + W * (START / 0.5 + 1) + B)
    signal = Signal.gaussian((sp.Symbol("k", positive=True),))
    for step in Branch(*ops[1:]).steps[:2]:
        signal = signal.mapped(step, {Dropout.parameters[0].symbol: sp.Rational(1, 2)})
    assert signal.mixture is None


class Gate(Map):
    """``x -> tanh(xi x / p)`` in one expression: the same as dropout in front of tanh."""

    kind = "Gate"
    parameters, noise = Dropout.parameters, Dropout.noise
    expression = sp.tanh(Dropout.expression)


def test_noise_inside_a_curved_map() -> None:
    values = [
        evaluate(kernel(ResNet(Branch(*ops, Linear(W, B)), scale=RHO, depth=2), inputs), K0=start)
        for ops in ((Gate(0.6),), (Dropout(0.6), Activation("tanh")))
        for inputs, start in ((1, START), (2, PAIR))
    ]
    np.testing.assert_allclose(values[0]["K"], values[2]["K"], rtol=1e-12)
    np.testing.assert_allclose(values[1]["K"], values[3]["K"], rtol=1e-12)
    gate, apart = (
        evaluate(weight_scaling(ResNet(Branch(*ops, Linear(W, B)), scale=RHO, depth=2)), K0=START)
        for ops in ((Gate(0.6),), (Dropout(0.6), Activation("tanh")))
    )
    for name in ("K", "K_cross", "K_test"):
        np.testing.assert_allclose(gate[name], apart[name], rtol=1e-12)
    assert not np.allclose(gate["K_test"][1:], gate["K"][1:], rtol=1e-3)


def test_printers_and_commands(capsys: pytest.CaptureFixture[str]) -> None:
    net = ResNet(
        Branch(Dropout(0.5), Activation("erf"), Linear(2, 0), StochasticDepth(0.8)),
        scale=1,
        depth=2,
    )
    written = to_latex(net)
    assert (
        r"\operatorname{Dropout}(x) = 2 \xi_{i} x, \qquad P(\xi_{i} = 1) = \frac{1}{2}" in written
    )
    assert r"P(b^{l} = 1) = \frac{4}{5}" in written
    average = r"\left\langle \phi^{2} \right\rangle_{\frac{K^{l-1}}{p_{1}^{2}}}"
    assert average in to_latex(kernel(network("erf", 0.5, 1)))
    both = to_latex(weight_scaling(net.with_scale(1).evaluation()))
    assert r"K_{\mathrm{test}}^{l} = K_{\mathrm{test}}^{l-1}" in both
    ops = "relu; Dropout(0.5); Linear(2, 0)"
    options = ["--branch", ops, "--rho", "1", "--depth", "2", "--K0", "1"]
    assert main(["kernel", *options]) == 0
    assert " 9" in capsys.readouterr().out
    assert main(["kernel", *options[:1], ops.replace("0.5", "0"), *options[2:]]) == 2
    assert "must be above 0" in capsys.readouterr().err
