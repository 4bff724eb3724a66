"""The orders of the residual expansion, theory against networks.

Dherin & Munn (2025) expand a residual network in the scales of its branches, ``h = sum_k T_k``, and
argue from the first two orders. Three claims about all orders:

- truncation: on vector tanh blocks, what the orders up to k leave falls like the power k + 1 of the
  scale, k up to 6. Control: terms of distinct blocks only, without repeated labels; wrong from
  order 3 on.
- profile: energies and overlaps ``E[T_j . T_k]/N`` follow from the two-scale kernel, for erf and
  tanh, and for relu by path length, at scales 1/n and 1/sqrt(n). Control: one coefficient of the
  two-scale kernel is wrong.
- rest: what the orders up to 0, 1, 2 leave of the stream is as derived. Control: orders are taken
  to be orthogonal.

With ``--out`` also a table and a figure: how large the orders from 3 on are, over the depth.

Usage: ``python numerics/dherin_2025.py [--scale smoke|full] [--out FOLDER]``. Exit code 0 if all
claims agree, 1 if one disagrees (or a control slips through), 2 if undecided.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain, combinations
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    compare,
    evaluate,
    measure_orders,
    order_profile,
    sample,
)
from resexpand.agreement.comparison import combine
from resexpand.agreement.outcome import Agreement
from resexpand.conventions import DEPTH, RHO
from resexpand.export.figures.orders import Neglect, neglect_figure
from resexpand.export.figures.picture_files import save_figure
from resexpand.measure.radius import ConvergenceWarning
from resexpand.montecarlo.observables import profiles
from resexpand.montecarlo.statistics.estimate import Estimate
from resexpand.montecarlo.statistics.moments import Moments
from resexpand.theory.recursion import Recursion
from support.claims import Claim, run_script

Array = NDArray[np.float64]

K0 = 1.0
SCALINGS = {"1/n": 1.0, "1/sqrt(n)": 0.5}
DEPTHS = (3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


@dataclass(frozen=True)
class Scale:
    """How much is measured and sampled."""

    networks: int = 400
    blocks: int = 6
    size: int = 8
    inputs: int = 32
    highest: int = 6
    activations: tuple[str, ...] = ("erf", "tanh", "relu")
    order: int = 4
    depths: tuple[int, ...] = (5, 20, 100)
    widths: tuple[int, ...] = (128, 256, 512, 1024)
    draws: int = 16_000
    resolve: float = 0.3


SETTINGS = {
    "smoke": Scale(
        networks=200,
        activations=("erf", "relu"),
        order=3,
        depths=(5,),
        widths=(128, 256, 512),
        draws=3_000,
    ),
    "full": Scale(),
}


# --- the truncation error -----------------------------------------------------------------------


def orders_of(weights: Array, x: Array, scale: float, order: int) -> Any:
    """Measure the orders of a tanh network."""
    net = ResNet(Branch(Activation("tanh"), Linear()), scale=scale, depth=len(weights))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return measure_orders(net, weights, x, order)


def distinct_orders(weights: Array, x: Array, scale: float, order: int) -> Array:
    """Return the sums over terms whose blocks are all distinct.

    The terms of order k in which exactly the blocks S appear, k of them, are those of distinct
    labels; they follow from the orders of the networks made of the subsets of S.
    """
    depth = len(weights)
    subsets = chain.from_iterable(combinations(range(depth), m) for m in range(1, depth + 1))
    total = np.zeros((order + 1, *x.shape))
    total[0] = x
    for blocks in subsets:
        terms = orders_of(weights[list(blocks)], x, scale, order).terms
        for k in range(len(blocks), min(order, depth) + 1):
            missing = k - len(blocks)
            total[k] += (-1) ** missing * comb(depth - len(blocks), missing) * terms[k]
    return total


def powers(weights: Array, x: Array, terms: Array, scale: float) -> Array:
    """Return with which power of the scale the truncation error falls, for every order.

    The error is that of all inputs together. The scale is halved twice; the two powers found are
    extrapolated to scale zero.
    """
    errors = []
    for factor in (1.0, 0.5, 0.25):
        exact = orders_of(weights, x, factor * scale, 1).output
        sums = np.cumsum(factor ** np.arange(len(terms))[:, None, None] * terms, axis=0)
        errors.append(np.linalg.norm(exact - sums, axis=(1, 2)))
    first, second = np.log2(errors[0] / errors[1]), np.log2(errors[1] / errors[2])
    return np.asarray(2 * second - first)


def truncation_claim(settings: Scale) -> Claim:
    """Test how the truncation error falls, with all terms and with distinct labels only."""
    rng = np.random.default_rng(1)
    scale, order = 1 / 16, settings.highest
    found: dict[str, list[Array]] = {"right": [], "wrong": []}
    for _ in range(settings.networks):
        shape = (settings.blocks, settings.size, settings.size)
        weights = rng.standard_normal(shape) / np.sqrt(settings.size)
        x = rng.standard_normal((settings.size, settings.inputs))
        right = orders_of(weights, x, scale, order).terms
        found["right"].append(powers(weights, x, right, scale))
        wrong = distinct_orders(weights, x, scale, order)
        found["wrong"].append(powers(weights, x, wrong, scale))
    theory = {"power": np.arange(1.0, order + 2)}
    right_found, wrong_found = (
        # The extrapolation to scale zero leaves a part of order scale^2.
        compare(
            theory, {"power": measured_powers(rows, settings)}, neglected=scale**2, resolve=0.05
        )
        for rows in found.values()
    )
    return Claim(
        "truncation",
        f"what the orders up to k leave falls like the power k + 1 of the scale, k = 0 ... {order}",
        right_found,
        wrong_found,
        "terms of distinct blocks only",
    )


def measured_powers(rows: list[Array], settings: Scale) -> Estimate:
    """Return the average over networks as an estimate."""
    return Estimate("power", Moments.of(np.array(rows)), settings.size, settings.blocks)


# --- the profile --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """An activation, a depth, and how the scale falls with the depth."""

    activation: str
    depth: int
    scaling: str

    @property
    def rho(self) -> float:
        """The residual scale."""
        return float(self.depth ** -SCALINGS[self.scaling])

    @property
    def name(self) -> str:
        """Key of the case."""
        return f"{self.activation}, n = {self.depth}, {self.scaling}"

    def values(self, recursion: Recursion) -> Any:
        """Evaluate a recursion of this network."""
        return evaluate(recursion, depth=self.depth, rho=self.rho, K0=K0)


def cases(settings: Scale) -> Iterator[Case]:
    """Yield every case."""
    for depth in settings.depths:
        for activation in settings.activations:
            for scaling in SCALINGS:
                yield Case(activation, depth, scaling)


def network(activation: str) -> ResNet:
    """Return ``h + rho W phi(h)`` with symbolic depth and scale."""
    return ResNet(Branch(Activation(activation), Linear(1, 0)), scale=RHO, depth=DEPTH)


def basis_of(activation: str) -> str:
    """Return the orders that exist: powers of the scale, or path lengths."""
    return "taylor" if Activation(activation).law.is_smooth else "paths"


@cache
def profile(activation: str, order: int, remainder: bool = False) -> Recursion:
    """Derive the profile of an activation, once."""
    basis: Any = basis_of(activation)
    return order_profile(network(activation), order, basis, remainder=remainder)


@cache
def wrong_profile(activation: str, order: int) -> Recursion:
    """Return the profile with one coefficient wrong, from order 3 or from paths of length 2 on.

    Smooth: of the three pairings in ``<x^4> = 3 <x^2>^2`` only two are counted in the curvature
    ``<phi''(x)^2>``. Paths: the second gate of a path passes a tenth too little.
    """
    right = profile(activation, order)
    if basis_of(activation) == "taylor":
        wanted, factor, first = "moment_2_2", sp.Rational(2, 3), 0
    else:
        wanted, factor, first = "gate_0", sp.Rational(9, 10), 2
    symbol = next(s for s, _ in right.constants if s.name == wanted)
    update = [
        value.xreplace({symbol: factor * symbol}) if index >= first else value
        for index, value in enumerate(right.update)
    ]
    return replace(right, update=tuple(update))


def last_layer(name: str, order: int, activation: str) -> Any:
    """Return the observable of a profile or of what is left, at the last layer."""
    kind = "order" if basis_of(activation) == "taylor" else "path"
    every = getattr(profiles, f"{kind}_{name}")(order)
    return replace(every, name=name, read=lambda record: every.read(record)[:, -1])


def sampled(case: Case, settings: Scale) -> list[Any]:
    """Sample a case at all widths: energies, overlaps, and what the orders up to 2 leave."""
    observables = [
        last_layer("profile", settings.order, case.activation),
        last_layer("remainder", 2, case.activation),
    ]
    number = list(cases(settings)).index(case)
    return [
        sample(
            network(case.activation),
            observables,
            width,
            settings.draws * settings.widths[0] // width,
            K0=K0,
            depth=case.depth,
            rho=case.rho,
            seed=1000 * number + width,
            progress=False,
        )
        for width in settings.widths
    ]


def profile_claims(settings: Scale) -> list[Claim]:
    """Test the profile and what it leaves, in all cases."""
    judged: dict[str, dict[str, Agreement]] = {
        name: {} for name in ("profile", "wrong profile", "rest", "wrong rest")
    }
    for case in cases(settings):
        runs = sampled(case, settings)
        values = case.values(profile(case.activation, settings.order))
        wrong = case.values(wrong_profile(case.activation, settings.order))["profile"][-1]
        left = case.values(profile(case.activation, 2, remainder=True))["remainder"][-1]
        theories = {
            "profile": {"profile": values["profile"][-1]},
            "wrong profile": {"profile": wrong},
            "rest": {"remainder": left},
        }
        if basis_of(case.activation) == "taylor":
            # Paths of different length are orthogonal: for them this would be no control.
            energies = np.cumsum(values["profile"][-1].diagonal()[:3])
            theories["wrong rest"] = {"remainder": values["K"][-1] - energies}
        for name, theory in theories.items():
            judged[name][case.name] = compare(theory, runs, resolve=settings.resolve)
    combined = {name: combine(agreements) for name, agreements in judged.items()}
    return [
        Claim(
            "profile",
            f"energies and overlaps of the orders up to {settings.order} are as derived",
            combined["profile"],
            combined["wrong profile"],
            "one coefficient of the two-scale kernel",
        ),
        Claim(
            "rest",
            "what the orders up to 0, 1 and 2 leave of the stream is as derived",
            combined["rest"],
            combined["wrong rest"],
            "orders are taken to be orthogonal",
        ),
    ]


# --- how large the orders from 3 on are -----------------------------------------------------------


def left_by_two(case: Case) -> tuple[float, float, list[float]]:
    """Return what the orders 0, 1, 2 leave, relative to the change and to K, and the energies."""
    values = case.values(profile(case.activation, 2, remainder=True))
    left, kernel = float(values["remainder"][-1, 2]), float(values["K"][-1])
    energies = [float(e) / kernel for e in values["profile"][-1].diagonal()]
    return left / (kernel - K0), left / kernel, energies


def table(settings: Scale) -> list[dict[str, Any]]:
    """Return the rows of the table: what orders 1 and 2 carry, and what is left from 3 on."""
    rows = []
    for scaling in SCALINGS:
        for activation in settings.activations:
            for depth in (10, 100, 1000, 10000):
                case = Case(activation, depth, scaling)
                of_change, of_kernel, energies = left_by_two(case)
                rows.append(
                    {
                        "scale": scaling,
                        "activation": activation,
                        "depth": depth,
                        "order 1 / K": energies[1],
                        "order 2 / K": energies[2],
                        "orders >= 3 / K": of_kernel,
                        "orders >= 3 / change": of_change,
                    }
                )
    return rows


def shown(rows: list[dict[str, Any]]) -> str:
    """Return the table as text."""
    names = list(rows[0])
    lines = ["  ".join(f"{name:>20}" for name in names)]
    for row in rows:
        cells = [f"{v:20.3e}" if isinstance(v, float) else f"{v!s:>20}" for v in row.values()]
        lines.append("  ".join(cells))
    return "\n".join(lines)


def figure(settings: Scale, out: Path) -> None:
    """Draw what the orders 0, 1, 2 leave of the change, over the depth."""
    curves = {}
    for family, activation in enumerate(settings.activations):
        for scaling, label in (("1/sqrt(n)", r"1/\sqrt{n}"), ("1/n", "1/n")):
            of_change = [left_by_two(Case(activation, n, scaling))[0] for n in DEPTHS]
            curves[rf"{activation}, ${label}$"] = Neglect(
                np.array(DEPTHS, dtype=np.float64), np.array(of_change), family, scaling == "1/n"
            )
    drawn = neglect_figure(
        curves,
        ylabel=r"orders $\geq 3$, share of the change",
        subtitle=rf"$E|h^L - T_0 - T_1 - T_2|^2 \, / \, E|h^L - h^0|^2$, $K^0 = {K0:g}$",
    )
    save_figure(drawn, out / "neglected")


def examined(chosen: argparse.Namespace, settings: Scale) -> tuple[list[Claim], dict[str, Any]]:
    """Return the claims, and how large the orders from 3 on are."""
    rows = table(settings)
    print(f"how large the orders from 3 on are, K0 = {K0:g}:\n{shown(rows)}")
    if chosen.out is not None:
        figure(settings, chosen.out)
    return [truncation_claim(settings), *profile_claims(settings)], {"orders_from_three": rows}


main = partial(run_script, __doc__, SETTINGS, examined)

if __name__ == "__main__":
    sys.exit(main())
