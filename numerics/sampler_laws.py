"""Dense and function-space samplers draw the same law: every observable, many activations.

The dense sampler draws all weights and is right by construction. The function-space sampler draws
only what the weights do to the columns that meet them. Four claims:

- forward: every observable of the way forward has the same law in both, at small widths, where an
  error of order 1/N is large; Kolmogorov-Smirnov tests of the last component and energy tests of
  all together. Control: weights of a variance larger by a tenth.
- backward: the same for gradients and the tangent kernel. Control: the transposed weights are
  drawn afresh on the way back.
- chain: p^l . v^l does not depend on the layer, to rounding, in every network of both samplers.
  Control: fresh transposed weights.
- atoms: the images of relu features and their tangents. ReLU makes these columns parallel with
  positive probability, and then so are their images; the QR factorisation of the package keeps
  that. Control: an eigendecomposition of their Gram matrix, where rounding splits them.

Usage: ``python numerics/sampler_laws.py [--scale smoke|full|two-linears|larger] [--out FOLDER]``;
``two-linears`` takes branches of two linear operations and profiles, ``larger`` all. Exit code 0 if
all claims agree, 1 if one disagrees (or a control slips through), 2 if undecided.
"""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from resexpand import Activation, Branch, Linear, ResNet
from resexpand.codegen.store import load
from resexpand.errors import UnsupportedError
from resexpand.montecarlo.engine import Sampler, make_sampler
from resexpand.montecarlo.loops.factor import triangular_factor
from resexpand.montecarlo.observables.gradients import BACKWARD
from resexpand.montecarlo.observables.registry import OBSERVABLES, select
from resexpand.montecarlo.source.sampler import sampler_source
from resexpand.montecarlo.spec import SamplerSpec
from support.claims import Claim, Finding, Row, run_script
from support.two_samples import (
    Comparison,
    LawAgreement,
    compare_laws,
    judged_together,
)

PAIR = np.array([[1.2, 0.5], [0.5, 0.9]])
ONE = np.array([[0.8]])
WAY_BACK = [observable.name for observable in BACKWARD]


@dataclass(frozen=True)
class Scale:
    """How much is sampled: cases, networks of each, and networks for the claim on atoms."""

    activations: tuple[str, ...] = ("erf", "relu", "leaky_relu", "tanh", "gelu", "sin", "sign")
    shapes: tuple[str, ...] = ("W phi(h)", "V phi(W h)")
    widths: tuple[int, ...] = (8, 20, 64)
    inputs: tuple[int, ...] = (1, 2)
    draws: int = 20_000
    atoms: int = 40_000
    families: tuple[str, ...] = ("order_profile(3)", "path_profile(3)")


SETTINGS = {
    "smoke": Scale(("relu",), ("W phi(h)",), (8,), (1,), 3_200, 20_000, ()),
    "full": Scale(shapes=("W phi(h)",), families=()),
    "two-linears": Scale(("erf", "relu"), ("V phi(W h)",), (8, 20)),
    "larger": Scale(),
}


def network(activation: str, shape: str, variance: float = 1.4) -> ResNet:
    """Return a network of three blocks of different scales, with biases and a read-out."""
    phi, last = Activation(activation), Linear(variance, 0.3)
    branch = Branch(phi, last) if shape == "W phi(h)" else Branch(Linear(0.8, 0.1), phi, last)
    return ResNet(branch, scale=[0.9, 0.5, 0.7], read_out=branch.followed_by(Linear(0.7, 0.2)))


class Case(NamedTuple):
    """An ensemble, drawn by both samplers."""

    activation: str
    shape: str
    inputs: int
    width: int

    @property
    def name(self) -> str:
        """Short name, used as a key."""
        return f"{self.activation}, {self.shape}, D = {self.inputs}, N = {self.width}"

    @property
    def kernel(self) -> np.ndarray:
        """Kernel of the inputs."""
        return ONE if self.inputs == 1 else PAIR

    def sampler(self, names: list[str], method: str, *, variance: float = 1.4) -> Sampler:
        """Return the sampler of some observables; every case and method has a seed of its own."""
        net = network(self.activation, self.shape, variance)
        how = {"width": self.width, "seed": zlib.crc32(f"{self.name}, {method}".encode())}
        return make_sampler(SamplerSpec.of(net, names, self.kernel, method=method, **how))

    def possible(self, names: list[str]) -> list[str]:
        """Return those observables that exist for the inputs and the activation."""
        net = network(self.activation, self.shape)
        found = []
        for name in names:
            try:
                (observable,) = select(name, self.inputs)
                for group in observable.groups:
                    group.require(net.branch, name)
            except UnsupportedError:
                continue
            found.append(name)
        return found


def cases(scale: Scale) -> Iterator[Case]:
    """Yield every case; widths share one compiled sampler."""
    for activation in scale.activations:
        for shape in scale.shapes:
            for inputs in scale.inputs:
                for width in scale.widths:
                    yield Case(activation, shape, inputs, width)


def with_fresh_transposes(sampler: Sampler, case: Case) -> Sampler:
    """Return a sampler whose way back forgets what the weights did on the way forward."""
    branch = network(case.activation, case.shape).branch
    right = sampler_source(branch, "function-space", sampler.layout)
    wrong = right.replace("transposed(source, g", "transposed(0.0 * source, g")
    if wrong == right:
        raise RuntimeError("the control does not find the text it is to change")
    return replace(sampler, text=load(wrong))


@dataclass
class Findings:
    """Comparisons by claim, right and wrong, and the worst breach of the chain rule."""

    right: dict[str, list[list[Comparison]]]
    wrong: dict[str, list[list[Comparison]]]
    breach: dict[str, float]
    fresh_breach: dict[str, float]

    def claim(self, name: str, statement: str, wrong: str) -> Claim:
        """Return the claim that two samplers draw one law."""
        right, control = judged_together(self.right[name]), judged_together(self.wrong[name])
        return Claim(name, statement, right, control, wrong)


def compared(case: Case, first: dict[str, Any], second: dict[str, Any]) -> list[Comparison]:
    """Compare all observables of two samples."""
    found = []
    for name, rows in first.items():
        found += compare_laws(f"{name}, {case.name}", rows, second[name])
    return found


def breach_of(slopes: np.ndarray) -> float:
    """Return by how much p^l . v^l changes over the layers, relative to its size."""
    return float(np.abs(slopes - slopes[:, -1:]).max() / np.abs(slopes).max())


def examine(case: Case, scale: Scale, findings: Findings) -> None:
    """Draw one case with both samplers and compare every observable."""
    forward = case.possible([n for n in [*OBSERVABLES, *scale.families] if n not in WAY_BACK])
    backward = case.possible(WAY_BACK)
    names = [*forward, *backward]
    dense = case.sampler(names, "dense").rows(0, scale.draws)
    function_space = case.sampler(names, "function-space")
    rows = function_space.rows(0, scale.draws)
    parts = {"forward": forward, "backward": backward}
    labels = {part: [n.partition("(")[0] for n in listed] for part, listed in parts.items()}
    for part, listed in labels.items():
        first, second = ({n: r[n] for n in listed} for r in (dense, rows))
        findings.right[part].append(compared(case, first, second))
    off = case.sampler(forward, "function-space", variance=1.54).rows(0, scale.draws)
    findings.wrong["forward"].append(compared(case, {n: dense[n] for n in off}, off))
    if not backward:
        return
    fresh = with_fresh_transposes(function_space, case).rows(0, scale.draws)
    different = {n: fresh[n] for n in labels["backward"]}
    findings.wrong["backward"].append(compared(case, {n: dense[n] for n in different}, different))
    if "directional_derivative" in backward:
        slopes = [r["directional_derivative"] for r in (dense, rows)]
        findings.breach[case.name] = max(map(breach_of, slopes))
        findings.fresh_breach[case.name] = breach_of(fresh["directional_derivative"])


@dataclass(frozen=True)
class Rounding(Finding):
    """Whether deviations stay below a bound of rounding, network by network."""

    found: dict[str, float]
    bound: float = 1e-12

    @property
    def worst(self) -> Row:
        """The case with the largest deviation."""
        label = max(self.found, key=self.found.__getitem__)
        return Row(label, self.found[label] / self.bound)

    @property
    def resolution(self) -> float:
        """Deviation that would have been seen."""
        return self.bound

    @property
    def verdict(self) -> str:
        """``"agrees"`` if all deviations are below the bound."""
        return "agrees" if self.worst.z <= 1 else "disagrees"

    @property
    def reason(self) -> str:
        """Why, in one sentence."""
        worst = self.found[self.worst.label]
        cases = f"of {len(self.found)} cases ({self.worst.label})"
        return f"largest deviation {worst:.1e} {cases}, bound {self.bound:.0e}"

    @property
    def rows(self) -> dict[str, float]:
        """Every deviation."""
        return self.found


def parallel(images: np.ndarray) -> np.ndarray:
    """Return log10 of the sine of the angle between two columns, formed neuron by neuron.

    `images` has shape (n, N, 2). Below 1e-12, which is rounding, all is one atom.
    """
    first, second = images[..., 0], images[..., 1]
    norms = np.sum(first**2, axis=1)
    share = np.divide(
        np.sum(first * second, axis=1), norms, out=np.zeros(len(norms)), where=norms > 0
    )
    rest = np.linalg.norm(second - share[:, None] * first, axis=1)
    size = np.linalg.norm(second, axis=1)
    sine = np.divide(rest, size, out=np.zeros(len(size)), where=size > 0)
    return np.log10(np.maximum(sine, 1e-12))[:, None]


def atoms_claim(draws: int, width: int = 5) -> Claim:
    """Compare images of relu features and tangents under three ways to draw them."""
    random = np.random.default_rng(3)
    h, v = random.normal(size=(2, 3, draws, width))
    features = np.stack([np.maximum(h, 0.0), (h > 0) * v], axis=-1)
    by_weights = random.normal(size=(draws, width, width)) @ features[0]
    by_qr = np.empty((draws, width, 2))
    for n, columns in enumerate(features[1]):
        basis, triangle = np.ascontiguousarray(columns.T), np.empty((2, 2))
        triangular_factor(basis, width, triangle)
        by_qr[n] = random.normal(size=(width, 2)) @ triangle
    gram = np.swapaxes(features[2], 1, 2) @ features[2]
    values, vectors = np.linalg.eigh(gram)
    root = np.sqrt(np.maximum(values, 0.0))[:, :, None] * np.swapaxes(vectors, 1, 2)
    by_eigen = random.normal(size=(draws, width, 2)) @ root
    dense, right, wrong = map(parallel, (by_weights, by_qr, by_eigen))
    return Claim(
        "atoms",
        "images of relu features and tangents are parallel as often as with all weights",
        LawAgreement(tuple(compare_laws("angle", dense, right))),
        LawAgreement(tuple(compare_laws("angle", dense, wrong))),
        "eigendecomposition of the Gram matrix instead of QR",
    )


def claims_of(_: Any, scale: Scale) -> tuple[list[Claim], dict[str, Any]]:
    """Examine every case and return the claims."""
    parts = ("forward", "backward")
    findings = Findings({p: [] for p in parts}, {p: [] for p in parts}, {}, {})
    for case in cases(scale):
        begun = time.perf_counter()
        examine(case, scale, findings)
        print(f"{case.name}: {time.perf_counter() - begun:.1f} s", flush=True)
    claims = [
        findings.claim(
            "forward",
            "both samplers draw the same law on the way forward",
            "weight variance larger by a tenth",
        ),
        findings.claim(
            "backward",
            "both samplers draw the same law of gradients and the tangent kernel",
            "fresh transposed weights",
        ),
        Claim(
            "chain",
            "p^l . v^l does not depend on the layer",
            Rounding(findings.breach),
            Rounding(findings.fresh_breach),
            "fresh transposed weights",
        ),
        atoms_claim(scale.atoms),
    ]
    return claims, {}


main = partial(run_script, __doc__, SETTINGS, claims_of)

if __name__ == "__main__":
    sys.exit(main())
