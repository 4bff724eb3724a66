r"""Infinite width with averages over a batch: what is exchangeable closes on a few numbers.

A batch of B exchangeable inputs has one variance ``K_11`` and one covariance ``K_12``; with
``K_13``, the covariance with an input of another batch, that is all a block needs:

    x = BN(h) of a Gaussian stream:   <psi(x_1)^2> = V_B,  <psi(x_1) psi(x_2)> = J_B,
                                      <psi(x_1) psi(x_3)> = mu_B^2,

numbers of B and psi alone where eps = 0, psi being the maps between the normalisation and the next
`Linear` (`resexpand.gaussian.sphere`). Masks of a dropout among them draw psi, for every input by
itself: ``V_B`` is the average of its square, ``J_B`` and ``mu_B`` are those of the mean over masks.
Centring removes the part that two batches have in common.
So the kernel grows by the same in every block: ``K_11`` by ``rho^2 (sigma_w^2 V_B + sigma_b^2)``,
the biased variance over the batch, ``(1 - 1/B) (K_11 - K_12)``, by ``rho^2 sigma_w^2 (1 - 1/B) (V_B
- J_B)``.

With running statistics, inputs 4 and 5 are those of an evaluation: they meet no masks, but the
mean and variance of training batches, masked, at the same weights. They stay Gaussian, with the
covariance

    q_45 = (K_45 - 2 K_14 + K_13) / (K_11 - K_12 + eps).

Source: De & Smith (2020) for the growth, Yang et al. (2019) for BSB1 matrices; derived here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

import sympy as sp

from resexpand.conventions import PAIR0
from resexpand.errors import UnsupportedError
from resexpand.network.batch_norm import EPS, is_running
from resexpand.network.noise import Outcomes
from resexpand.network.operation import Map, Noise, Operation, X
from resexpand.network.resnet import ResNet
from resexpand.network.steps import Step, without_noise
from resexpand.references import REFERENCES, Citation
from resexpand.theory.noise import Columns, images
from resexpand.theory.recursion import Output, Recursion
from resexpand.theory.signal import Entries, Signal, Values, entry_symbols

TRAINING, RUNNING = ("11", "12", "13"), ("44", "45", "14")
"""Entries of the kernel: inputs 1 and 2 of a batch, 3 of another, 4 and 5 of a test."""

OWN = {"12": ("11", "11"), "13": ("11", "11"), "45": ("44", "44"), "14": ("11", "44")}
"""Variances that belong to each covariance."""


@dataclass(frozen=True)
class Stage:
    """A normalisation and the maps behind it, up to the next `Linear`.

    Attributes
    ----------
    op : Map
        The normalisation.
    functions : Outcomes
        Images of a normalised entry `X` under the maps, in the symbols of their parameters, with
        probabilities: one function for each outcome of their masks.
    spread : sympy.Expr
        Variance over the population of the batch, ``K_11 - K_12`` of what is normalised.
    eps : sympy.Expr
        Symbol of what is added to it.
    square, product, mean : sympy.Expr
        ``V_B``, ``J_B`` and ``mu_B``: symbols, or functions of the spread where eps is not zero.
    centred, common : sympy.Symbol
        ``kappa_B`` and ``tau_B`` of gradients, `resexpand.theory.batch_gradients`.
    """

    op: Map
    functions: Outcomes
    spread: sp.Expr
    eps: sp.Expr
    square: sp.Expr
    product: sp.Expr
    mean: sp.Expr
    centred: sp.Symbol
    common: sp.Symbol

    @property
    def symbols(self) -> tuple[sp.Expr, ...]:
        """The averages it needs."""
        return self.square, self.product, self.mean

    @property
    def open_symbols(self) -> set[sp.Symbol]:
        """Symbols that need a number before the averages can be taken."""
        return set().union(
            self.eps.free_symbols, *(e.free_symbols for p in self.functions for e in p)
        )


@dataclass(frozen=True)
class BatchRecursion(Recursion):
    """The recursion of an exchangeable batch, in symbols for what is averaged over the sphere.

    Attributes
    ----------
    stages : tuple of Stage
        The normalisations, each once.
    """

    stages: tuple[Stage, ...] = field(default=())


@dataclass(frozen=True)
class BatchSignal:
    """An exchangeable batch at infinite width: a `Signal` of its entries.

    Attributes
    ----------
    moments : tuple of sympy.Expr
        Of the entries in `TRAINING`, and in `RUNNING` if statistics are those.
    stages : list of Stage
        Those met so far, shared by all signals of a recursion.
    means : tuple of sympy.Expr
        Of an input of a batch, and of a test input.
    """

    moments: Entries
    stages: list[Stage]
    means: Entries = (sp.Integer(0), sp.Integer(0))
    is_gaussian: bool = True
    coins: ClassVar[tuple[Noise, ...]] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Inputs that each second moment belongs to."""
        return tuple(self.entries)

    def contracted(self, covariance: Entries) -> BatchSignal:
        """Return the centred Gaussian of a covariance."""
        return BatchSignal(covariance, self.stages)

    @cached_property
    def entries(self) -> dict[str, sp.Expr]:
        """Moments by the inputs they belong to."""
        return dict(zip((*TRAINING, *RUNNING), self.moments, strict=False))

    def mapped(self, step: Step, values: Values) -> BatchSignal | Normalised:
        """Return what a map makes of the batch."""
        if step.op.over == "batch":
            return self._normalised(step, values)
        at: dict[str, sp.Expr] = {}
        means: dict[str, sp.Expr] = {}
        for entry, own in OWN.items():
            if entry not in self.entries:
                continue
            moments = (self.entries[own[0]], self.entries[entry], self.entries[own[1]])
            given = tuple(self.means[variance == "44"] for variance in own)
            columns: Columns = "test" if entry == "14" else "inputs"
            if entry == "45" and step.op.noise:
                columns = "evaluation"
            out = Signal(moments, given, self.is_gaussian, columns).mapped(step, values)
            if out.coins:
                raise _noisy(step.op, "a batch", "it draws one coin for all neurons of a block")
            at |= dict(zip((own[0], entry, own[1]), out.moments, strict=True))
            means |= dict(zip(own, out.means, strict=True))
        return replace(
            self,
            moments=tuple(at[entry] for entry in self.entries),
            means=(means["11"], means.get("44", sp.Integer(0))),
            is_gaussian=out.is_gaussian,
        )

    def _normalised(self, step: Step, values: Values) -> Normalised:
        if not self.is_gaussian:
            raise UnsupportedError(
                f"the theory of {step.op!r} behind an activation",
                "it normalises what is not Gaussian at infinite width",
                "put it in front of the activation, or a Linear() between; sample() takes it",
            )
        eps = values[EPS]
        e = self.entries
        spread, test = e["11"] - e["12"], None
        if "44" in e:
            variance, shift = spread + eps, e["13"] - 2 * e["14"]
            moments = ((e["44"] + shift) / variance, (e["45"] + shift) / variance)
            test = Signal.gaussian((*moments, moments[0]))
        return Normalised(self, step, spread, eps, ((X, sp.Integer(1)),), test)


@dataclass(frozen=True)
class Normalised:
    """A normalised batch, and what maps made of its entries: a `Signal`, too."""

    before: BatchSignal
    norm: Step
    spread: sp.Expr
    eps: sp.Expr
    functions: Outcomes
    test: Signal | None
    is_gaussian: bool = False
    coins: ClassVar[tuple[Noise, ...]] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Inputs that each second moment belongs to."""
        return self.before.names

    def contracted(self, covariance: Entries) -> BatchSignal:
        """Return the centred Gaussian of a covariance."""
        return self.before.contracted(covariance)

    def mapped(self, step: Step, values: Values) -> Normalised:
        """Return what a further map makes of the entries."""
        if step.op.averages:
            raise _noisy(step.op, repr(self.norm.op), "its averages meet what is not Gaussian")
        if any(each.shared or each.over == "block" for each in step.op.noise):
            raise _noisy(step.op, repr(self.norm.op), "two batches draw the same noise")
        test = self.test
        # In evaluation there are no masks.
        if test is not None and without_noise((step.op,)):
            test = test.mapped(step, values)
        return replace(self, functions=images(step.op, self.functions, values), test=test)

    @cached_property
    def stage(self) -> Stage:
        """The normalisation with its averages, noted among the stages."""
        suffix, op = self.norm.suffix, self.norm.op
        if op.values[0] == 0:
            positive = (sp.Symbol(f"V_B{suffix}", positive=True),)
            others = (sp.Symbol(f"{name}_B{suffix}", real=True) for name in ("J", "mu"))
            averages: Entries = (*positive, *others)
        else:
            functions = (sp.Function(f"{name}_B{suffix}") for name in ("V", "J", "mu"))
            averages = tuple(function(self.spread, self.eps) for function in functions)
        back = (sp.Symbol(f"{name}_B{suffix}", real=True) for name in ("kappa", "tau"))
        found = Stage(op, self.functions, self.spread, self.eps, *averages, *back)
        if not any(stage.symbols == averages for stage in self.before.stages):
            self.before.stages.append(found)
        return found

    @property
    def moments(self) -> Entries:
        """Moments of the entries."""
        stage = self.stage
        training = (stage.square, stage.product, stage.mean**2)
        if self.test is None:
            return training
        own, pair, _ = self.test.moments
        return (*training, own, pair, self.test.means[0] * stage.mean)

    @property
    def means(self) -> Entries:
        """Means of an input of a batch, and of a test input."""
        test = sp.Integer(0) if self.test is None else self.test.means[0]
        return self.stage.mean, test


def _noisy(op: Map, behind: str, why: str) -> UnsupportedError:
    remedy = "put a Linear() between them; sample() takes it"
    return UnsupportedError(f"the theory of {op!r} behind {behind}", why, remedy)


def batch_stream(net: ResNet) -> tuple[BatchSignal, Entries]:
    """Return the stream of an exchangeable batch, its moments as symbols, and those at layer 0.

    Raises
    ------
    UnsupportedError
        If nothing is averaged over a batch, or only some of what is has running statistics.
    """
    norms = [op for branch in net.kinds for op in (*branch.maps, *(net.head_ops or ())) if _is(op)]
    if not norms or not net.is_gaussian or net.is_mixture:
        raise UnsupportedError(
            'inputs="batch" of this network',
            "nothing in it is averaged over a batch"
            if not norms
            else "its stream is not Gaussian at infinite width",
            "use inputs=2 for any number of inputs" if not norms else "end the branch in a Linear",
        )
    running = {is_running(op) for op in norms}
    if len(running) > 1:
        raise UnsupportedError(
            "running statistics of some normalisations",
            "the others would need the batch",
            "use one mode for all",
        )
    names = (*TRAINING, *RUNNING) if running.pop() else TRAINING
    first, pair, _ = PAIR0
    initial = tuple(first if name in ("11", "44") else pair for name in names)
    return BatchSignal(entry_symbols("K", names), []), initial


def _is(op: Operation) -> bool:
    return isinstance(op, Map) and op.over == "batch"


def batch_recursion(base: Recursion, stream: BatchSignal) -> BatchRecursion:
    """Return the kernel recursion of a batch, its outputs those of two of its inputs.

    The averages over the sphere are open symbols of it, which `evaluate` fills in.
    """
    fields = {name: getattr(base, name) for name in Recursion.__dataclass_fields__}
    open_ones = [s for stage in stream.stages for s in stage.symbols if isinstance(s, sp.Symbol)]
    across = (
        Output(symbol.name, "trajectory", (symbol,), meaning=meaning)
        for symbol, meaning in zip(base.state[2:], MEANINGS, strict=False)
        if symbol.name not in ("K_44", "K_45")
    )
    pairs = (replace(o, entries=_shown(o.entries), at_end=_shown(o.at_end)) for o in base.outputs)
    used = set(PAIR0).union(*(s.free_symbols for s in sp.flatten([base.update, base.initial])))
    used |= set().union(*(e.free_symbols for _, e in base.definitions))
    used |= set().union(*(stage.open_symbols for stage in stream.stages))
    used |= set().union(*(e.free_symbols for o in base.outputs for e in o.at_end))
    fields |= {
        "outputs": (*pairs, *across),
        "bindings": (
            *((s, value) for s, value in base.bindings if s in used),
            *((s, s) for s in open_ones),
        ),
        "citations": (*(Citation(REFERENCES[key]) for key in SOURCES), *base.citations),
    }
    return BatchRecursion(**fields, stages=tuple(stream.stages))


MEANINGS = (
    "covariance of inputs of two batches",
    "",
    "",
    "covariance of a training input and a test input",
)
SOURCES = ("de2020", "yang2019")


def _shown(entries: Entries) -> Entries:
    """Return the entries of two inputs: of the test, if there is one."""
    if not entries:
        return ()
    first, pair = entries[3:5] if len(entries) > len(TRAINING) else entries[:2]
    return first, pair, first
