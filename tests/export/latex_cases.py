"""The results whose LaTeX is compared with golden files.

As a script it prints the texts as one JSON object, so that a test can run it under another hash
seed and other ground types of SymPy; with ``--write`` it writes the golden files anew, to be read
before they are committed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import sympy as sp

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    kernel,
    optimal_scale,
    order_profile,
    response,
    tangent_kernel,
    to_latex,
)
from resexpand.conventions import DEPTH, RHO
from resexpand.theory.expansion import residual_expansion
from resexpand.theory.gated_paths import gated_path_sum
from resexpand.theory.remainder import Majorant, majorant_of, remainder_bound

GOLDEN = Path(__file__).parent / "golden"


def network(activation: str) -> ResNet:
    return ResNet(Branch(Activation(activation), Linear()), scale=RHO, depth=DEPTH)


def numbers() -> ResNet:
    """Two linear operations with numbers, a scale per block, read-in and read-out."""
    branch = Branch(Linear(1, 0.5), Activation("erf"), Linear(2, 0.3))
    ends = {"read_in": Linear(1, 0), "read_out": Linear(0.7, 0.1)}
    return ResNet(branch, scale=[0.1, 0.2, 0.4], **ends)


def chain() -> ResNet:
    """Two activations, whose averages have averages as covariances."""
    branch = Branch(Activation("erf"), Linear(), Activation("relu"), Linear())
    return ResNet(branch, scale=RHO, depth=DEPTH)


def mean() -> ResNet:
    """A branch that ends in an activation: the response is a product of matrices."""
    return ResNet(Branch(Linear(), Activation("relu")), scale=0.1, depth=3, read_out=Linear(1, 0))


def unrolled() -> dict[str, sp.Expr]:
    layers = kernel(network("erf_unit")).unroll(2)["K"]
    return {f"K^{{{layer}}}": value for layer, value in enumerate(layers)}


def everything(net: ResNet) -> list[object]:
    kinds = ("variance", "covariance", "tangent")
    return [
        net,
        *(kernel(net, inputs) for inputs in (1, 2)),
        *(response(net, kind) for kind in kinds),
        *(optimal_scale(net, kind) for kind in kinds),
    ]


def profiles() -> list[object]:
    """The order profile in its three bases."""
    return [
        order_profile(network("tanh"), 3, remainder=True),
        order_profile(network("relu"), 2, "chaos"),
        order_profile(network("relu"), 2, "paths"),
    ]


def expansions() -> list[object]:
    """Classes of labelled trees: own scales, a common one, concrete blocks, a derivative."""
    x, y = sp.symbols("x y")
    vector = [[x * y, x], [sp.sin(x), y**2]]
    return [
        residual_expansion(3, 3),
        residual_expansion(4, 4, sp.Symbol("lambda")),
        residual_expansion(2, [sp.sin(x), x**2], [1, 2]),
        residual_expansion(2, vector, 0.5, variables=(x, y)),
        residual_expansion(3, 2).diff("lambda_1"),
        residual_expansion(5, 6).truncate(4),
    ]


def remainders() -> list[object]:
    """Symbols, and numbers of concrete weights."""
    weights = [[0.3, 0.2], [0.1, -0.25]]
    return [
        remainder_bound(3, majorant=Majorant.entire()),
        remainder_bound(1),
        remainder_bound(3, 10, 0.01, majorant_of("tanh", weights)),
    ]


def path_sums() -> list[object]:
    """Symbolic depth, biases, and more paths than are shown."""
    biased = ResNet(Branch(Activation("relu"), Linear()), scale=sp.Rational(1, 2), depth=3)
    return [gated_path_sum("relu"), gated_path_sum(biased), gated_path_sum("relu", 9, 0.1)]


CASES: dict[str, Callable[[], str]] = {
    "kernel_equation": lambda: to_latex(kernel(network("erf_unit"))),
    "kernel_pair_relu": lambda: to_latex(kernel(network("relu"), 2), "aligned", closed=True),
    "response_variance": lambda: to_latex(response(network("erf_unit")), "aligned"),
    "response_covariance_closed": lambda: to_latex(
        response(network("erf_unit"), "covariance"), "aligned", closed=True
    ),
    "response_gelu_closed": lambda: to_latex(response(network("gelu")), "aligned", closed=True),
    "condition": lambda: to_latex(optimal_scale(network("erf_unit")).condition, closed=True),
    "formulas": lambda: to_latex(
        [
            optimal_scale(network("erf_unit"), "covariance").kernel_star,
            optimal_scale(network("erf_unit")).simpson,
        ],
        "aligned",
    ),
    "tangent_kernel": lambda: to_latex(
        [tangent_kernel(numbers()), tangent_kernel(numbers(), 2, "biases", "standard")], "document"
    ),
    "unrolled": lambda: to_latex(unrolled(), "aligned", cite=False),
    "numbers": lambda: to_latex([numbers(), response(numbers(), "covariance")], "document"),
    "chain": lambda: to_latex([chain(), response(chain(), "covariance")], "document"),
    "mean": lambda: to_latex([mean(), kernel(mean(), 2), response(mean())], "document"),
    "profiles": lambda: to_latex(profiles(), "document"),
    "expansion": lambda: to_latex(residual_expansion(4), "document"),
    "expansions": lambda: to_latex(expansions(), "document"),
    "expansion_aligned": lambda: to_latex(residual_expansion(3, scales=1), "aligned"),
    "remainders": lambda: to_latex(remainders(), "document"),
    "path_sums": lambda: to_latex(path_sums(), "document"),
    "erf_unit": lambda: to_latex(everything(network("erf_unit")), "document"),
    "erf_unit_closed": lambda: to_latex(everything(network("erf_unit")), "document", closed=True),
    "relu_closed": lambda: to_latex(everything(network("relu")), "document", closed=True),
    "sin_closed": lambda: to_latex(everything(network("sin")), "document", closed=True),
}


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.tex").read_text(encoding="utf-8")


def main() -> None:
    texts = {name: build() for name, build in CASES.items()}
    if "--write" not in sys.argv:
        print(json.dumps(texts))
        return
    for name, text in texts.items():
        (GOLDEN / f"{name}.tex").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
