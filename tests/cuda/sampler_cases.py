"""Samplers of every kind, by name: what is drawn, how, and what is read off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from resexpand import (
    Activation,
    Attention,
    BatchNorm,
    Branch,
    Conv,
    Dropout,
    GlobalAvgPool,
    LayerNorm,
    Linear,
    ResNet,
    StochasticDepth,
)
from resexpand.montecarlo.engine import Sampler, make_sampler
from resexpand.montecarlo.input_kernel import input_kernel
from resexpand.montecarlo.spec import SamplerSpec
from resexpand.montecarlo.weights.quantile import weight_law

W, V = Linear(1.4, 0.3), Linear(0.8, 0.0)
ONE, PAIR = 0.8, ((1.2, 0.5), (0.5, 0.9))
TRIPLE = ((1.2, 0.5, 0.1), (0.5, 0.9, 0.2), (0.1, 0.2, 0.7))
FUNCTION_SPACE, DENSE = "function-space", "dense"
BRANCHES = {
    "W erf": Branch(Activation("erf"), W),
    "W relu": Branch(Activation("relu"), W),
    "V tanh W": Branch(W, Activation("tanh"), V),
    "relu W": Branch(W, Activation("relu")),
}
BATCH = Branch(BatchNorm(), Activation("relu"), W)
# No slope vanishes and few neurons are masked, so that no gradient is zero at small widths.
MASKED = Branch(Dropout(0.8), Activation("leaky_relu"), W, StochasticDepth(0.7))
NORMED = Branch(LayerNorm(0.1), Activation("tanh"), Dropout(0.8), W, StochasticDepth(0.7))
CONV = Branch(Activation("tanh"), Conv((0, 1), 1.2, 0.1), GlobalAvgPool())
ATTENTION = Branch(Attention(0.7, causal=True), W)
READ = ("kernel", "layer_covariance", "output", "output_squared", "output_variance")
DERIVED = ("chi", "response")
GROWTH = ("tangent", "distance", "distance_squared", "residual_ratio", "residual_share")
LOGARITHMS = ("log_kernel", "log_growth", "log_tangent")
BACKWARD = ("gradient", "log_gradient", "directional_derivative", "ntk", "ntk_layers")
JETS = ("order_profile(3)", "order_remainder(3)")
PATHS = ("path_profile(3)", "path_remainder(3)")
COPIED = ("ntk_moments", "gradient_moments(1)")


@dataclass(frozen=True)
class Case:
    """Network and observables of a case."""

    branch: str
    names: tuple[str, ...]
    K0: Any = ONE
    method: str = FUNCTION_SPACE
    weights: str = "gaussian"
    control: bool = False


def _registry() -> Iterator[tuple[str, Case]]:
    for branch in ("W erf", "W relu"):
        yield f"one column, {branch}", Case(branch, READ)
    yield "one column, norm and masks", Case("norm and masks", READ)
    for method in (FUNCTION_SPACE, DENSE):
        for branch in BRANCHES:
            at, series = f"{method}, {branch}", PATHS if "relu" in branch else JETS
            for columns, names, K0 in (
                ("pair", (*READ, "covariance_response"), PAIR),
                ("tangents", (*READ, *DERIVED), ONE),
                ("growth", (*GROWTH, *LOGARITHMS), ONE),
                ("series", series, ONE),
                ("backward", BACKWARD, ONE),
                ("backward, pair", ("gradient", "ntk"), PAIR),
                ("copies", COPIED, PAIR),
            ):
                yield f"{at}, {columns}", Case(branch, names, K0, method)
        for columns, K0 in (("one", ONE), ("pair", PAIR)):
            rotated = ("kernel", "output", "ntk")
            yield (
                f"{method}, rotations, {columns}",
                Case("W erf", rotated, K0, method, "orthogonal"),
            )
        for columns, names, K0 in (
            ("pair", READ, PAIR),
            ("backward", (*BACKWARD, *PATHS, "tangent"), ONE),
        ):
            yield f"{method}, masks, {columns}", Case("masks", names, K0, method)
        coupled = ("kernel", "gradient", "directional_derivative")
        yield f"{method}, batch", Case("batch", coupled, TRIPLE, method)
        for branch in ("conv", "attention"):
            yield f"{method}, {branch}", Case(branch, coupled, PAIR, method)
    for law in ("uniform", "rademacher", "log(u/(1 - u))"):
        yield f"dense, {law} weights", Case("W erf", ("kernel", "ntk"), ONE, DENSE, law)
    for columns, K0 in (("one", ONE), ("pair", PAIR)):
        yield f"twin, {columns}", Case("W erf", READ[:2], K0, control=True)


REGISTRY = dict(_registry())


def sampler(name: str, width: int, target: str, depth: int = 2) -> Sampler:
    """Return the sampler of a case."""
    case = REGISTRY[name]
    further = {"masks": MASKED, "batch": BATCH, "norm and masks": NORMED}
    over_positions = {"conv": CONV, "attention": ATTENTION}
    branch = {**BRANCHES, **further, **over_positions}[case.branch]
    ends = {"read_out": branch.followed_by(Linear(1.1, 0.2)), "positions": 2}
    net = ResNet(branch, scale=0.6, depth=depth, **ends)
    how = {"method": case.method, "control": case.control, "law": weight_law(case.weights)}
    kernel = input_kernel(case.K0, None, None)
    return make_sampler(
        SamplerSpec.of(net, case.names, kernel, width=width, seed=11, target=target, **how)
    )
