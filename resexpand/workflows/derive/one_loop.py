"""Steps of the order 1/N: responses, sources, covariances and means, by the formulas' own order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mpmath
import sympy as sp

from resexpand.agreement.comparison import compare
from resexpand.montecarlo.sample import sample
from resexpand.numbers.evaluation import evaluate
from resexpand.theory.closure import close_elementary
from resexpand.theory.derivation import Check, Derivation
from resexpand.theory.formula import Formula
from resexpand.theory.one_loop import OneLoop, one_loop
from resexpand.theory.one_loop.derived import LAYER, OTHER
from resexpand.theory.one_loop.quantities import LayerQuantity
from resexpand.theory.one_loop.words import GROUPS, group
from resexpand.workflows.derive.propagation import exact_start, kernel_steps
from resexpand.workflows.derive.witness import DOUBLE, Witness, rounded, slope

WIDTH, DRAWS, BLOCKS = 256, 20000, 3
"""Networks that are sampled at a width."""

TINY = sp.Rational(1, 10**7)


def one_loop_steps(derivation: Derivation, witness: Witness) -> None:
    """Take the steps of the order 1/N of one input, that of the kernel first."""
    theory = one_loop(witness.net)
    kernel_steps(derivation, witness)
    derivation.cite(theory.citations)
    if not theory.process.is_plain:
        derivation.step(
            "Branches with normalisations have numbers at the order $1/N$, and no formulas.",
            check=_sampled(theory, witness),
        )
        return
    take_steps(derivation, theory.formulas, lambda stem: _checks(stem, theory, witness, derivation))


def take_steps(
    derivation: Derivation,
    formulas: Sequence[Formula],
    checks: Callable[[str], Mapping[str, Check]],
    opening: str = "",
) -> None:
    """Take one step per group of formulas.

    Parameters
    ----------
    derivation : Derivation
        It gets the steps.
    formulas : sequence of Formula
        All of them.
    checks : callable
        Takes the first name of a group.
    opening : str
        What the first step says, in place of its own words.
    """
    for number, (stems, text) in enumerate(GROUPS):
        own = {f.name: f for f in formulas if group(f.name) == number}
        if own:
            derivation.step(text if number else opening or text, own, checks(stems[0]))


def _checks(
    group: str, theory: OneLoop, witness: Witness, derivation: Derivation
) -> Mapping[str, Check]:
    draws = len(theory.process.draws)
    if group == "response":
        names = [(f"_{i}" if draws > 1 else "", i) for i in range(1, draws + 1)]
        return {
            f"{stem}{name}, against differences of integrals": _slope(
                witness, stem + name, i, order
            )
            for name, i in names
            for stem, order in (("response", 1), ("curvature", 2))
        }
    smooth = all(activation.is_smooth for activation in theory.net.branch.activations)
    if group == "source" and draws == 1 and smooth:
        return {
            "at two layers, against integrals over both": _source(witness),
            "response at one with features at the other, ratio to their differences": _conditioning(
                witness
            ),
        }
    if group == "kernel_covariance" and draws == 1 and smooth:
        return {
            f"{name} of block 2, put together from the steps above": _together(
                theory, witness, derivation, name, output
            )
            for name, output in (("kernel_covariance", "K_cov"), ("gram_covariance", "C_cov"))
        }
    if group == "tadpole":
        return _sampled(theory, witness)
    return {}


def reading(
    formula: Formula, late: Mapping[str, Any], early: Mapping[str, Any], witness: Witness
) -> sp.Expr:
    """Return a formula with numbers for the entries at the later and the earlier layer.

    A single input has the entry of no name.
    """
    closed = close_elementary(formula.rhs, formula.laws)
    at = {
        q: (early if OTHER in q.free_symbols else late)["".join(map(str, q.args[2]))]
        for q in closed.atoms(LayerQuantity)
        if str(q.args[0]) in ("K", "C")
    }
    return witness.at(closed.xreplace(at))


def _slope(witness: Witness, name: str, place: int, order: int) -> Check:
    number, start = exact_start(witness), witness.start

    def check(shown: Mapping[str, Any]) -> tuple[Any, Any]:
        own = slope(lambda k: witness.drawn(k, place), start, order)
        return reading(shown[name], {"": number}, {"": number}, witness), own

    return check


def _layers(witness: Witness) -> tuple[sp.Expr, sp.Expr]:
    return exact_start(witness) * sp.Rational(5, 4), exact_start(witness)


def _source(witness: Witness) -> Check:
    late, early = _layers(witness)

    def check(shown: Mapping[str, Any]) -> tuple[float, float]:
        formula = reading(shown["source"], {"": late}, {"": early}, witness)
        own = rounded(lambda: witness.shared(*map(_mpf, (late, early))))
        return float(formula.evalf(DOUBLE)), own

    return check


def _conditioning(witness: Witness) -> Check:
    late, early = _layers(witness)

    def check(shown: Mapping[str, Any]) -> tuple[float, sp.Interval]:
        formula = reading(shown["conditioning_source"], {"": late}, {"": early}, witness)
        step, at = float(late) / 500, float(late)
        shifts = {-2: 1, -1: -8, 1: 8, 2: -1}
        own = sum(w * witness.shared(at + s * step, float(early)) for s, w in shifts.items())
        ratio = float(formula.evalf(DOUBLE)) / (float(own) / (12 * step))
        return ratio, sp.Interval(1 - TINY, 1 + TINY)

    return check


def _mpf(number: sp.Rational) -> Any:
    return mpmath.mpf(number.p) / number.q


def _sampled(theory: OneLoop, witness: Witness) -> Mapping[str, Check]:
    """Return the check of means and deviations against random networks of one width."""

    def check() -> tuple[str, str]:
        net, numbers = witness.short(BLOCKS), witness.named()
        run = sample(
            net,
            ["kernel", "layer_covariance"],
            WIDTH,
            DRAWS,
            seed=1,
            control="infinite-width",
            **numbers,
        )
        found = evaluate(one_loop(net), width=WIDTH, **numbers)
        wanted = {name: found[name] for name in ("K_width", "C_width", "K_deviation")}
        return compare(wanted, run).verdict, "agrees"

    return {f"means and deviations at width {WIDTH} with random networks, the verdict": check}


def _together(
    theory: OneLoop, witness: Witness, derivation: Derivation, name: str, output: str
) -> Check:
    """Return the check of formulas that are made of those of the steps before."""

    def check(shown: Mapping[str, Any]) -> tuple[Any, Any]:
        before = [
            f for step in derivation.steps for _, f in step.equations if isinstance(f, Formula)
        ]
        values = _Layers({f.name: f for f in (*before, *shown.values())}, witness)
        layer = 2
        values_at = evaluate(one_loop(witness.short(layer)), **witness.named())[output]
        place = layer if output == "K_cov" else layer - 1
        ratio = values.at(name, layer, layer) / float(values_at[place, place])
        return float(ratio), sp.Interval(1 - TINY, 1 + TINY)

    return check


class _Layers:
    """Numbers of formulas at layers, each made of those it names."""

    def __init__(self, formulas: Mapping[str, Formula], witness: Witness):
        self.formulas = {str(f.lhs.args[0]): f for f in formulas.values() if f.lhs.args}
        self.names = {name: str(f.lhs.args[0]) for name, f in formulas.items() if f.lhs.args}
        self.witness, self.known = witness, dict[tuple[Any, ...], sp.Expr]()

    def at(self, name: str, *layers: int) -> float:
        return float(self._value(self.names[name], *map(sp.Integer, layers)))

    def _value(self, head: str, *layers: sp.Integer) -> sp.Expr:
        key = (head, *layers)
        if key not in self.known:
            self.known[key] = self._computed(head, layers)
        return self.known[key]

    def _computed(self, head: str, layers: tuple[sp.Integer, ...]) -> sp.Expr:
        if head == "K" and layers == (0,):
            return exact_start(self.witness)
        if 0 in layers or (head in ("B", "R", "chi") and layers[0] < layers[1]):
            return sp.Integer(0)
        if head == "S" and layers[0] < layers[1]:
            layers = layers[::-1]
        formula = self.formulas[head]
        closed = close_elementary(formula.rhs, formula.laws)
        here = closed.subs(
            dict(zip((LAYER, OTHER), layers, strict=False)), simultaneous=True
        ).doit()
        at = {q: self._value(str(q.args[0]), *q.args[3:]) for q in here.atoms(LayerQuantity)}
        return self.witness.at(here.xreplace(at)).evalf(DOUBLE)
