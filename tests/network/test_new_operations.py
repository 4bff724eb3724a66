"""An operation stated as data, here in the test, is taken by theory, samplers, stores and printers.

`HandNorm` divides by the root of one average over the neurons, `Centred` has an average of an
average. Like `Scale`, they state no law of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy as sp
from uncompiled import evaluate

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    RMSNorm,
    Scale,
    exact_moments,
    gated_path_sum,
    kernel,
    one_loop,
    optimal_scale,
    response,
    sample,
    to_latex,
)
from resexpand.cli import main
from resexpand.errors import DescriptionError, HyperparameterError, UnsupportedError
from resexpand.network.differentials import OTHER, AveragedMap, forward, gradient, tangent
from resexpand.network.operation import Map, Parameter, X
from resexpand.network.registry import OPERATIONS, register

C = sp.Symbol("c", real=True)
EPS = sp.Symbol("eps", nonnegative=True)
SQUARE, MEAN = sp.Symbol("s", positive=True), sp.Symbol("m", real=True)


class HandNorm(Map):
    """``x -> x / sqrt(mean x^2 + eps)``."""

    kind = "HandNorm"
    parameters = (Parameter(EPS, minimum=0, default=0.1),)
    averages = ((SQUARE, X**2),)
    expression = X / sp.sqrt(SQUARE + EPS)


class Centred(Map):
    """``x -> tanh(x - m) / sqrt(mean (x - m)^2 + eps)``: curved, with an average of an average."""

    kind = "Centred"
    parameters = (Parameter(EPS, minimum=0, default=0.1),)
    averages = ((MEAN, X), (SQUARE, (X - MEAN) ** 2))
    expression = sp.tanh(X - MEAN) / sp.sqrt(SQUARE + EPS)


MINE = (HandNorm, Centred)
NORMED = ResNet(
    Branch(HandNorm(0.1), Activation("tanh"), Linear(1.9, 0.07), Scale(0.8)), scale=0.65, depth=4
)
PAIR = np.array([[1.0, 0.3], [0.3, 0.7]])
LIMIT = 4.5
"""Largest deviation in standard errors; there are fewer than a hundred entries."""


@pytest.fixture(autouse=True, scope="module")
def _registered() -> Iterator[None]:
    for operation in MINE:
        register(operation)
    yield
    for operation in MINE:
        del OPERATIONS[operation.kind]


def by_hand(depth: int, kernel0: float) -> list[float]:
    """Return the kernel of `NORMED` for one input, averages by the trapezoidal rule."""
    nodes = np.linspace(-9, 9, 2001)
    weights = np.exp(-(nodes**2) / 2) / np.sqrt(2 * np.pi) * (nodes[1] - nodes[0])
    found = [kernel0]
    for _ in range(depth):
        k = found[-1]
        square = weights @ np.tanh(np.sqrt(k / (k + 0.1)) * nodes) ** 2
        found.append(k + (0.65 * 0.8) ** 2 * (1.9 * square + 0.07))
    return found


def largest_z(estimate: Any, theory: Any, skip: int = 0) -> float:
    """Return the largest deviation of means from the theory in standard errors."""
    z = (estimate.mean - theory)[skip:] / estimate.stderr[skip:]
    return float(np.abs(z).max())


def test_the_kernel_follows() -> None:
    expected = by_hand(4, 0.7)
    np.testing.assert_allclose(evaluate(kernel(NORMED), K0=0.7)["K"], expected, rtol=1e-12)
    pair = evaluate(kernel(NORMED, inputs=2), K0=PAIR)["K"]
    np.testing.assert_allclose(pair[:, 1, 1], expected, rtol=1e-12)
    assert not np.allclose(pair[1:, 1, 1], by_hand(4, 0.71)[1:], rtol=1e-4)


def test_a_scale_is_a_variance() -> None:
    plain = Branch(Activation("erf"), Linear(1.3 * 0.25, 0.1 * 0.25))
    scaled = Branch(Activation("erf"), Linear(1.3, 0.1), Scale(0.5))
    both = [ResNet(branch, scale=0.7, depth=3) for branch in (plain, scaled)]
    theory = [evaluate(response(net, "covariance"), K0=PAIR)["eta_layers"] for net in both]
    np.testing.assert_allclose(theory[1], theory[0], rtol=1e-13)
    names = ["kernel", "gradient", "order_profile(2)"]
    drawn = [sample(net, names, 16, 6, K0=0.9, seed=5) for net in both]
    for name in drawn[0]:
        np.testing.assert_allclose(drawn[1][name].mean, drawn[0][name].mean, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("kind", ["variance", "covariance"])
def test_responses_are_derivatives_of_the_kernel(kind: str) -> None:
    step, found = 1e-5, evaluate(response(NORMED, kind), K0=0.7 if kind == "variance" else PAIR)
    if kind == "variance":
        moved = [evaluate(kernel(NORMED), K0=0.7 + s)["K"] for s in (step, -step)]
    else:
        off = step * np.array([[0, 1], [1, 0]])
        moved = [evaluate(kernel(NORMED, 2), K0=PAIR + s * off)["K"][:, 0, 1] for s in (1, -1)]
    slope = (moved[0] - moved[1]) / (2 * step)
    np.testing.assert_allclose(found["chi_0"], slope, rtol=1e-8)
    assert not np.allclose(found["chi_0"], 1.01 * slope, rtol=1e-3)


@pytest.mark.parametrize("method", ["function-space", "dense"])
def test_networks_follow(method: str) -> None:
    names = ["kernel", "chi", "tangent", "gradient", "directional_derivative"]
    found = sample(NORMED, names, 200, 400, K0=0.7, seed=3, method=method)
    assert largest_z(found["kernel"], evaluate(kernel(NORMED), K0=0.7)["K"]) < LIMIT
    assert largest_z(found["chi"], evaluate(response(NORMED), K0=0.7)["chi_0"]) < LIMIT
    tangent_theory = evaluate(response(NORMED, "tangent"), K0=0.7)["chi_0"]
    assert largest_z(found["tangent"], tangent_theory, skip=1) < LIMIT
    other = ResNet(Branch(HandNorm(1), *NORMED.branch.ops[1:]), scale=0.65, depth=4)
    wrong = evaluate(kernel(other), K0=0.7)["K"]
    assert largest_z(found["kernel"], wrong) > LIMIT
    product = found["directional_derivative"].mean
    np.testing.assert_allclose(product, product[0], rtol=1e-9)


def test_curved_maps_with_averages_follow() -> None:
    net = ResNet(Branch(Linear(1.2, 0.1), Centred(0.3), Linear(0.9, 0)), scale=0.5, depth=3)
    found = sample(net, ["kernel", "directional_derivative"], 300, 400, K0=0.8, seed=2)
    theory = evaluate(kernel(net), K0=0.8)["K"]
    assert largest_z(found["kernel"], theory) < LIMIT
    assert largest_z(found["kernel"], 1.05 * theory) > LIMIT
    product = found["directional_derivative"].mean
    np.testing.assert_allclose(product, product[0], rtol=1e-9)


def test_a_normed_linear_network_is_exact_at_every_width() -> None:
    net = ResNet(Branch(HandNorm(0), Linear(1.5, 0.2)), scale=0.8, depth=5)
    expected = 0.4 + np.arange(6) * 0.64 * 1.7
    np.testing.assert_allclose(evaluate(kernel(net), K0=0.4)["K"], expected, rtol=1e-14)
    found = sample(net, "kernel", 8, 4000, K0=0.4, seed=1)["kernel"]
    assert largest_z(found, expected) < LIMIT


def numeric(averaged: AveragedMap, x: Any, v: Any, values: dict[sp.Symbol, float]) -> Any:
    """Run an averaged map on arrays."""
    at: dict[sp.Symbol, Any] = {X: x, OTHER: v, **values}

    def run(expression: sp.Expr) -> Any:
        symbols = list(at)
        return sp.lambdify(symbols, expression, "numpy")(*at.values())

    for symbol, term in averaged.averages:
        at[symbol] = np.mean(run(term) * np.ones_like(x))
    return run(averaged.value) * np.ones_like(x)


@pytest.mark.parametrize("op", [Scale(1.7), HandNorm(0.2), Centred(0.4)], ids=lambda op: op.kind)
def test_derivatives_are_derived(op: Map) -> None:
    rng = np.random.default_rng(8)
    x, v, g = rng.normal(size=(3, 50))
    values = {p.symbol: float(a) for p, a in zip(op.parameters, op.values, strict=True)}
    forth, back = numeric(tangent(op), x, v, values), numeric(gradient(op), x, g, values)
    assert g @ forth == pytest.approx(back @ v, rel=1e-13)
    step = 1e-6
    moved = [numeric(forward(op), x + s * step * v, v, values) for s in (1, -1)]
    np.testing.assert_allclose(forth, (moved[0] - moved[1]) / (2 * step), atol=1e-8)


def test_an_optimal_scale_needs_no_law() -> None:
    known = Branch(*(RMSNorm(0.1) if op.kind == "HandNorm" else op for op in NORMED.branch.ops))
    one, two = (
        evaluate(optimal_scale(ResNet(branch, scale=1, depth=4)), K0=1e-3, target="cpu")
        for branch in (NORMED.branch, known)
    )
    assert one["rho"] == pytest.approx(two["rho"], rel=1e-9)
    assert one["rho"] > 0


def test_what_needs_laws_says_so() -> None:
    for ask in (exact_moments, gated_path_sum):
        with pytest.raises(UnsupportedError, match="HandNorm states no law for it"):
            ask(NORMED)
    curved = ResNet(Branch(Centred(0.3), Linear(1, 0)), scale=1, depth=1)
    with pytest.raises(UnsupportedError, match="Centred states no law for it"):
        one_loop(curved)
    with pytest.raises(UnsupportedError, match="states no law for it"):
        sample(NORMED, "kernel", 16, 10, K0=1.0, control="infinite-width")
    with pytest.raises(UnsupportedError, match="its averages over the neurons couple"):
        sample(NORMED, "order_profile(2)", 16, 10, K0=1.0)


def test_printers_write_it() -> None:
    written = to_latex(NORMED)
    assert r"\operatorname{HandNorm}(h^{l-1})" in written
    assert r"\operatorname{HandNorm}(x) = \frac{x}{\sqrt{\frac{1}{10} + \overline{x^{2}}}}" in (
        written
    )
    assert r"\operatorname{Scale}(x) = \frac{4 x}{5}" in written
    assert r"\frac{K^{l-1}}{K^{l-1} + \varepsilon}" in to_latex(kernel(NORMED))
    assert repr(NORMED.branch.ops[0]) == "HandNorm(eps=1/10)"


def test_a_store_resumes_it(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    whole = sample(NORMED, "kernel", 16, 60, K0=0.7, seed=4)["kernel"].mean
    sample(NORMED, "kernel", 16, 30, K0=0.7, seed=4, store=path)
    resumed = sample(NORMED, "kernel", 16, 60, K0=0.7, seed=4, store=path)
    assert resumed["kernel"].mean.tobytes() == whole.tobytes()
    assert resumed.settings["branch"] == ["HandNorm", "tanh(x)", "Linear", "Scale"]


OPTIONS = ["--branch", "HandNorm(eps=0.1); tanh; Linear(1.9, 0.07); Scale(0.8)"]
OPTIONS += ["--rho", "0.65", "--depth", "4", "--K0", "0.7"]


def test_the_command_line_takes_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernel", *OPTIONS]) == 0
    assert f"{by_hand(4, 0.7)[-1]:.6g}" in capsys.readouterr().out
    assert main(["kernel", *OPTIONS, "--weight-variance", "1"]) == 2
    assert "the operations of the branch have their own" in capsys.readouterr().err
    assert main(["one-loop", *OPTIONS]) == 0
    assert "C_mean" in capsys.readouterr().out
    few = ["--width", "16", "--draws", "60", "--observables", "kernel"]
    assert main(["sample", *OPTIONS, *few]) == 0
    assert "kernel" in capsys.readouterr().out


@pytest.mark.slow
def test_validate_takes_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    few = ["--width", "16,32", "--draws", "64", "--dense-draws", "64", "--dense-width", "16"]
    assert main(["validate", *OPTIONS, *few, "--out", "out"]) in (0, 2)
    assert "response   chi^(l,0)" in capsys.readouterr().out


class Clip(Map):
    """``x -> min(max(x, -c), c)``: kinks that depend on a parameter."""

    kind = "Clip"
    parameters = (Parameter(C, minimum=0),)
    expression = sp.Max(-C, sp.Min(C, X))


def test_kinks_follow_a_parameter() -> None:
    assert Clip(2).kinks == (-2, 2)
    assert not Clip(2).jumps
    net = ResNet(Branch(Clip(sp.Symbol("a", positive=True)), Linear(1, 0)), scale=1, depth=2)
    with pytest.raises(UnsupportedError, match="a has no number here"):
        kernel(net)
    clipped = ResNet(Branch(Clip(2), Linear(1, 0)), scale=1, depth=2)
    with pytest.raises(UnsupportedError, match="it is not smooth, and Clip states no law"):
        kernel(clipped)
    function = sp.Max(-2, sp.Min(2, X))
    same = ResNet(Branch(Activation(function), Linear(1, 0)), scale=1, depth=2)
    drawn = [sample(n, ["kernel", "gradient"], 12, 6, K0=[[4.0]]) for n in (clipped, same)]
    for name in ("kernel", "gradient"):
        np.testing.assert_allclose(drawn[0][name].mean, drawn[1][name].mean, rtol=1e-12)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no kind": ({"expression": X}, "its kind is None"),
    "name taken": ({"kind": "Linear", "expression": X}, "the name is taken"),
    "stray symbol": ({"kind": "Stray", "expression": C * X}, "c in c\\*x is neither"),
    "late average": (
        {"kind": "Late", "averages": ((MEAN, SQUARE * X), (SQUARE, X**2)), "expression": MEAN * X},
        "s in s\\*x is neither",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_operations(case: str) -> None:
    body, message = BAD[case]
    with pytest.raises(DescriptionError, match=message):
        register(type("Bad", (Map,), body))


def test_bad_parameters() -> None:
    with pytest.raises(DescriptionError, match="eps = -1: it must not be below 0"):
        HandNorm(-1)
    with pytest.raises(DescriptionError, match="its parameters are eps"):
        HandNorm(0.1, 2)
    with pytest.raises(DescriptionError, match="factor = None: expected a number"):
        Scale()
    with pytest.raises(AttributeError, match="is frozen"):
        Scale(1).factor = 2
    net = ResNet(Branch(HandNorm(sp.Symbol("a", real=True)), Linear(1, 0)), scale=1, depth=2)
    with pytest.raises(HyperparameterError):
        evaluate(kernel(net), K0=1.0, a=-0.5)
    with pytest.raises(HyperparameterError, match="must not be below 0"):
        sample(net, "kernel", 8, 10, K0=1.0, a=-0.5)
    assert evaluate(kernel(net), K0=1.0, a=0.0)["K"][1] == pytest.approx(2.0)
