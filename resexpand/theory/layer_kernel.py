r"""The kernel of two layers, for weights that are correlated between layers.

Let c(l, m) be the covariance of weights and biases of blocks l and m (`resexpand.network.layers`),
``h^l = h^{l-1} + rho_l g^l`` and ``K^{lm} = lim h^l.h^m / N``. At infinite width the pairs
``(g^l_i, g^m_i)`` are independent over the neurons and, for a branch that ends in a `Linear`,
jointly Gaussian, so that

    B^{lm} = lim g^l.g^m / N = c(l, m) (sigma_w2 <phi(h^{l-1}) phi(h^{m-1})> + sigma_b2)
    K^{lm} = K^{l-1,m} + rho_l sum_{b <= m} rho_b B^{lb},          K^{0m} = K^{l0} = K0

with the average over the Gaussian of covariance ``K^{l-1,l-1}, K^{l-1,m-1}, K^{m-1,m-1}``; each
`Linear` inside a branch contributes a factor c(l, m) of its own. ``h^l`` depends on weights that
are correlated with ``W^m``, but only through ``W phi``, never through a transpose: given earlier
``g``, ``W^m phi(h^{m-1})`` is Gaussian with a mean linear in them, and no response term appears at
infinite width. At fixed width there is one, of order L/N (`resexpand.theory.depth_limit`).

The state is the whole history: the cost is of order L^2. Beside the kernel, linear quantities are
followed, with the slopes of ``B^{lm}`` in the three entries of the kernel,

    variance   X^{lm} = dK^{lm}/dK0:     X^{lm} = 1 + sum rho_a rho_b dB^{ab}[X]
    pair       X^{lm} = dK_12^{lm}/dK0_12: as the tangent, M that of the two inputs
    tangent    T^{lm} = 1 + sum_{a<=l, b<=m} rho_a rho_b M^{ab} T^{a-1,b-1}
    gradient   P^{lm} = P^{LL} + sum_{a>l, b>m} rho_a rho_b M^{ab} P^{ab}

with ``M^{ab} = dB^{ab}/dK^{a-1,b-1}``, which is ``c(a, b) sigma_w2 <phi' phi'>`` for one
`Linear` and a product of such factors for several.

Source: derived here; the independent case is Fischer, Dahmen & Helias (2023).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import sympy as sp

from resexpand.conventions import K0
from resexpand.errors import UnsupportedError
from resexpand.expressions.notebook import in_notebook
from resexpand.expressions.shown import Card, Shown
from resexpand.network.layers import LayerLaw
from resexpand.network.requirements import require_independent_layers, require_sums
from resexpand.network.resnet import ResNet
from resexpand.references import REFERENCES, Citation
from resexpand.theory.closure import Laws
from resexpand.theory.formula import Formula
from resexpand.theory.hyperparameters import Hyperparameters
from resexpand.theory.notation import Written
from resexpand.theory.recursion import Bindings
from resexpand.theory.signal import Entries, Signal

Follows = Literal["kernel", "variance", "pair", "tangent", "gradient", "ntk"]

PLACES = ("ll", "lm", "mm")
"""Pairs of layers that the entries of a covariance belong to."""

TITLES = {
    "kernel": "covariance kernel of two layers",
    "variance": "variance response with correlated layers",
    "pair": "covariance response with correlated layers",
    "tangent": "tangent response with correlated layers",
    "gradient": "gradients with correlated layers",
    "ntk": "tangent kernel with correlated layers",
}


def layer_symbols(stem: str) -> tuple[sp.Symbol, sp.Symbol, sp.Symbol]:
    """Return the symbols of a covariance between layers l and m: entries ll, lm, mm."""
    first, both, last = (
        sp.Symbol(f"{stem}_{place}", **{"real" if place == "lm" else "nonnegative": True})
        for place in PLACES
    )
    return first, both, last


LAYERS = layer_symbols("K")
"""Kernel of the streams in front of blocks l and m."""

FACTORS = layer_symbols("c")
"""Covariance of the weights of blocks l and m."""

BEFORE = tuple(Written(f"K^{{{at}}}") for at in ("l-1,l-1", "l-1,m-1", "m-1,m-1"))
SHARED = tuple(Written(f"c_{{{at}}}") for at in ("l,l", "l,m", "m,m"))
ZERO = sp.Integer(0)
PAIRS = r"\sum_{a \le l,\, b \le m} \rho_{a} \rho_{b} "
SUM = Written(PAIRS + "B^{a,b}")
BACK = Written("P^{L,L}") + Written(r"\sum_{a > l,\, b > m} \rho_{a} \rho_{b} M^{a,b} P^{a,b}")
FOLLOWED = {
    "variance": ("X^{l,m}", 1 + Written(PAIRS + r"\mathrm{d}B^{a,b} / \mathrm{d}K^{0}")),
    "pair": ("X^{l,m}", 1 + Written(PAIRS + "M^{a,b} X^{a-1,b-1}")),
    "tangent": ("T^{l,m}", 1 + Written(PAIRS + "M^{a,b} T^{a-1,b-1}")),
    "gradient": ("P^{l,m}", BACK),
    "ntk": ("P^{l,m}", BACK),
}
"""Left and right sides of what is followed beside the kernel, as LaTeX."""

MEANINGS = {
    "covariance": "covariance behind a linear operation of blocks l and m",
    "branch": "covariance of the branches of blocks l and m",
    "kernel": "kernel of two layers",
    "slope": "its derivative in the kernel of the two layers in front",
    "variance": "derivative of the kernel of two layers in that of the input",
    "pair": "derivative of the kernel of two layers and two inputs in that of the inputs",
    "tangent": "products of a tangent at two layers",
    "gradient": "products of a gradient at two layers",
    "ntk": "products of a gradient at two layers; the tangent kernel is a sum over those of one",
}


def _written(symbol: sp.Symbol) -> str:
    """Return the LaTeX of a covariance in the branch."""
    stem, _, place = symbol.name.rpartition("_")
    return f"{stem[0]}{'_{' + stem[1:] + '}' if stem[1:] else ''}^{{{place[0]},{place[1]}}}"


@dataclass(frozen=True, repr=False)
class LayerKernel(Shown):
    """The kernel of two layers, and what follows from it; `resexpand.evaluate` computes it.

    Attributes
    ----------
    net : ResNet
        The network.
    follows : str
        ``"kernel"``, ``"variance"``, ``"pair"`` (the covariance response), ``"tangent"``,
        ``"gradient"`` or ``"ntk"``.
    definitions : tuple of (sympy.Symbol, sympy.Expr)
        Covariances behind every `Linear` of blocks l and m, entries ll, lm and mm, in terms of
        `LAYERS`, the kernel in front of the blocks, and `FACTORS`.
    branch : sympy.Expr
        ``B^{lm}``, covariance of the branches of blocks l and m.
    last : tuple of sympy.Symbol
        Covariance of the last `Linear`.
    scale : sympy.Symbol
        Residual scale, rho.
    bindings, layer_bindings, laws, citations
        As in `resexpand.theory.recursion.Recursion`.
    """

    net: ResNet
    follows: Follows
    definitions: Bindings
    branch: sp.Expr
    last: tuple[sp.Symbol, ...]
    scale: sp.Symbol
    bindings: Bindings
    layer_bindings: tuple[tuple[sp.Symbol, tuple[sp.Expr, ...]], ...]
    laws: Laws
    inputs: int = 1
    neglects: str = "O(1/N)"
    citations: tuple[Citation, ...] = field(default=())

    @property
    def title(self) -> str:
        """Return the name of the quantity."""
        return TITLES[self.follows]

    @property
    def law(self) -> LayerLaw:
        """The law of c(l, m)."""
        if self.net.layers is None:
            raise TypeError("a kernel of two layers needs their covariance")
        return self.net.layers

    def flat(self, expression: sp.Expr) -> sp.Expr:
        """Return an expression as one of `LAYERS` and `FACTORS`."""
        for symbol, value in reversed(self.definitions):
            expression = expression.xreplace({symbol: value})
        return expression

    @property
    def slopes(self) -> Entries:
        """Derivatives of ``B^{lm}`` in the kernel in front of the blocks: ll, lm (M), mm."""
        whole = self.flat(self.branch)
        return tuple(whole.diff(entry) for entry in LAYERS)

    @property
    def added(self) -> sp.Expr:
        """What the parameters of a block add to a tangent kernel: derivatives along all Linears."""
        found, branch = sp.Integer(0), self.branch
        for symbol, value in reversed(self.definitions):
            if symbol.name.endswith("_lm"):
                found += symbol * branch.diff(symbol)
            branch = branch.xreplace({symbol: value})
        return self.flat(found)

    def __iter__(self) -> Iterator[Formula]:
        """Iterate over the equations of a block pair, as printers take them."""
        given = {
            **dict(zip(LAYERS, BEFORE, strict=True)),
            **dict(zip(FACTORS, SHARED, strict=True)),
            **{s: Written(_written(s)) for s, _ in self.definitions},
            **dict(self.bindings),
        }
        for symbol, value in self.definitions:
            if symbol.name.endswith("_lm"):
                yield self._equation("covariance", given[symbol].name, value.xreplace(given))
        branch = self.branch.xreplace(given)
        yield self._equation("branch", "B^{l,m}", branch)
        yield self._equation("kernel", "K^{l,m}", given.get(K0, K0), SUM)
        if self.follows != "kernel":
            if self.follows != "variance":
                slope = self.slopes[1].xreplace(given)
                yield self._equation("slope", "M^{l,m}", slope)
            yield self._equation(self.follows, *FOLLOWED[self.follows])

    def _equation(self, name: str, left: str, value: sp.Expr, rest: sp.Expr = ZERO) -> Formula:
        whole, said = value + rest, MEANINGS[name]
        return Formula(name, Written(left), whole, said, self.neglects, self.citations, self.laws)

    def _repr_latex_(self) -> str:
        return in_notebook(self)

    def card(self) -> Card:
        """Return what it says about itself."""
        both = [(str(s), str(v)) for s, v in self.definitions if s.name.endswith("_lm")]
        return Card(
            f"LayerKernel: {self.title}",
            (
                ("network", repr(self.net)),
                *both,
                ("B_lm", str(self.branch)),
                ("K_lm", f"K0 + sum {self.scale}_a {self.scale}_b B_ab over a <= l, b <= m"),
                ("neglects", self.neglects),
            ),
        )


def layer_kernel(net: ResNet, follows: Follows = "kernel", inputs: int = 1) -> LayerKernel:
    """Derive the kernel of two layers of a network with correlated layers.

    Parameters
    ----------
    net : ResNet
        A network with ``layers=``; any hyperparameter may be symbolic.
    follows : str
        What is followed beside the kernel.
    inputs : int
        1, or 2 for pairs, which serve any number of inputs.

    Returns
    -------
    LayerKernel
        `evaluate` gives ``K`` (layers ``0 .. L``), ``K_layers``, shape (L + 1, L + 1), and ``C``,
        the covariance of the last `Linear`, layers ``1 .. L + 1``; following a response
        ``chi_0``, ``eta_layers`` and ``eta``; following gradients ``gradient``; following a tangent
        kernel ``NTK`` and ``NNGP``. For pairs, the two axes of the inputs come last. Exact at
        infinite width.

    Raises
    ------
    UnsupportedError
        If the stream is no sum of Gaussian branches, or operations draw noise or average over a
        batch.
    """
    free, asked = net.altered(layers=None), f"the {TITLES[follows]}"
    require_independent_layers(free, asked)
    require_sums(free, asked, "sample() takes it")
    if not free.is_gaussian:
        raise UnsupportedError(
            f"{asked} of {free.branch!r}",
            "the branch ends in an activation: the stream is not Gaussian",
            "end the branch in a Linear(); sample(method='dense') takes it as it is",
        )
    hyper = Hyperparameters(free)
    scale = hyper.scale()
    definitions, branch, last = _through_branch(net, free, hyper)
    steps = (*free.branch.steps, *free.head)
    return LayerKernel(
        net=net,
        follows=follows,
        definitions=definitions,
        branch=branch,
        last=last,
        scale=scale,
        bindings=tuple(hyper.bindings.items()),
        layer_bindings=tuple(hyper.layer_bindings.items()),
        laws=tuple({s.label: s.op.law for s in steps if s.label is not None}.items()),
        inputs=inputs,
        citations=(Citation(REFERENCES["marion2025"]), Citation(REFERENCES["fischer2023"])),
    )


def _through_branch(
    net: ResNet, free: ResNet, hyper: Hyperparameters
) -> tuple[Bindings, sp.Expr, tuple[sp.Symbol, ...]]:
    """Return the covariances in the branch, that of its result, and that of its last `Linear`."""
    definitions: list[tuple[sp.Symbol, sp.Expr]] = []
    law: Any = net.layers
    own = FACTORS if not law.is_normalised else (sp.Integer(1), FACTORS[1], sp.Integer(1))
    count = sum(step.contracts for step in free.branch.steps)
    signal, last = Signal.gaussian(LAYERS), LAYERS
    for step in free.branch.steps:
        if not step.contracts:
            signal = signal.mapped(step, hyper.of_step(step))
            continue
        weight, bias = hyper.variances(step.op, step.suffix)
        last = layer_symbols("C" if step.number == count else f"C{step.number}")
        moments = zip(last, own, signal.moments, strict=True)
        definitions += [(symbol, factor * (weight * m + bias)) for symbol, factor, m in moments]
        signal = signal.contracted(last)
    hyper.input_kernel((K0,))
    return tuple(definitions), signal.moments[1], last
