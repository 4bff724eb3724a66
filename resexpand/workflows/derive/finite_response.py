"""Steps of a response at finite width: an input and a tangent, by the order 1/N of both."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import sympy as sp

from resexpand.agreement.comparison import compare
from resexpand.gaussian.expectation import GaussianExpectation
from resexpand.montecarlo.sample import sample
from resexpand.numbers.evaluation import evaluate
from resexpand.theory.derivation import Check, Derivation
from resexpand.theory.finite_response import FiniteKind, FiniteResponse, finite_response
from resexpand.theory.formula import Formula
from resexpand.theory.one_loop.column_formulas import ENTRIES
from resexpand.theory.one_loop.quantities import LayerQuantity
from resexpand.workflows.derive.one_loop import BLOCKS, TINY, reading, take_steps
from resexpand.workflows.derive.propagation import exact_start, kernel_steps
from resexpand.workflows.derive.witness import DOUBLE, Witness, rounded, slope

WIDTH, DRAWS, RESOLVE = 128, 4000, 0.2
"""Networks that are sampled, and the deviation that may stay unseen."""

OBSERVED = {
    "variance": ("chi", "response"),
    "tangent": ("tangent",),
    "gradient": ("gradient",),
    "parameters": ("ntk",),
}

VALUES = {
    "variance": ("chi_0", -1),
    "tangent": ("tangent", -1),
    "gradient": ("gradient", 0),
    "parameters": ("ntk", 0),
}
"""Array and place of the response from the first layer to the last, at infinite width."""

_WHOLE = "at infinite width, put together from the steps above, ratio to its value"

_TANGENT = (
    "A tangent $v$ is one more column of the network: given the layers before, what a linear "
    "operation makes of $\\varphi(h)$ and of $\\varphi'(h) v$ are normals, whose covariance is the "
    "Gram matrix of the two. Its entries hh, hv and vv replace the one of the input."
)


def finite_response_steps(derivation: Derivation, witness: Witness, kind: FiniteKind) -> None:
    """Take the steps of a response at finite width, that of the kernel first."""
    theory = finite_response(witness.net, kind)
    formulas = theory.formulas
    kernel_steps(derivation, witness)
    derivation.cite(theory.citations)
    checks = partial(_checks, theory=theory, witness=witness, derivation=derivation)
    take_steps(derivation, formulas, checks, _TANGENT)


def _checks(
    stem: str, theory: FiniteResponse, witness: Witness, derivation: Derivation
) -> Mapping[str, Check]:
    process = theory.one_loop.process
    several = len(process.draws) > 1 or process.draws[0].label is None
    at = _Point(theory, witness)
    if stem == "finite":
        checks = _sampled(theory, witness)
        return checks if several or witness.fixed else {_WHOLE: at.whole(derivation), **checks}
    if several:
        return {}
    smooth = all(activation.is_smooth for activation in theory.net.branch.activations)
    if stem == "covariance":
        return {f"{at.entry} of one block, against integrals": at.value("covariance")}
    if stem == "response":
        text = f"of {at.entry} to hh, against differences of integrals"
        return {text: at.value("response", order=1)}
    if stem == "source" and smooth:
        return {f"of {at.entry} at two layers, against integrals over both": at.source}
    return {}


class _Point:
    """Numbers at which formulas of an input and a tangent are read, and their integrals."""

    def __init__(self, theory: FiniteResponse, witness: Witness) -> None:
        self.kind, self.witness = theory.kind, witness
        self.entry = "hv" if theory.kind == "variance" else "vv"
        early = exact_start(witness)
        # Along the input itself for the variance; independent of it in all other cases.
        own = sp.Rational(1, 2) if theory.kind == "variance" else sp.Integer(0)
        self.early = {"hh": early, "hv": own, "vv": sp.Rational(7, 5)}
        self.late = {"hh": early * sp.Rational(5, 4), "hv": own, "vv": sp.Rational(9, 5)}

    def value(self, stem: str, order: int = 0) -> Check:
        """Return the check of a covariance of one block, or of its derivative by hh."""
        name = f"{stem}_{self.entry}" + "_hh" * order

        def check(shown: Mapping[str, Any]) -> tuple[Any, Any]:
            return self._read(shown[name], self.early, self.early), self._integrated(order)

        return check

    def _integrated(self, order: int) -> float:
        witness, start = self.witness, self.witness.start
        if self.kind == "variance":
            return slope(witness.drawn, start, 1 + order) / 2
        along = float(self.early["vv"])

        def value(variance: Any) -> Any:
            copies = witness.drawn(variance) if self.kind == "parameters" else 0
            return copies + along * witness.slopes(variance)

        return slope(value, start) if order else rounded(lambda: value(start))

    def source(self, shown: Mapping[str, Any]) -> tuple[float, float]:
        """Return both sides of the covariance of features at two layers, hv being zero."""
        late, early = ({**at, "hv": sp.Integer(0)} for at in (self.late, self.early))
        formula = shown[f"source_{self.entry}_{self.entry}"]
        return self._read(formula, late, early), rounded(lambda: self._shared(late, early))

    def whole(self, derivation: Derivation) -> Check:
        """Return the check of the value at infinite width, from the formulas of the first steps."""

        def check(shown: Mapping[str, Any]) -> tuple[float, float]:
            known = {
                name: formula
                for step in derivation.steps
                for name, formula in step.equations
                if isinstance(formula, Formula)
            }
            start, depth = exact_start(self.witness), self.witness.depth
            # The entry vv matters to no average of hv; it has to be large enough for a covariance.
            begin = {"variance": (sp.Rational(1, 2), 100 / start), "parameters": (0, start)}
            entries = dict(zip(ENTRIES, (start, *begin.get(self.kind, (0, 1))), strict=True))
            for _ in range(depth + 1):
                drawn = {
                    e: sp.Float(self._read(known[f"covariance_{e}"], entries, entries))
                    for e in ENTRIES
                    if f"covariance_{e}" in known
                }
                last = entries
                entries = last | {e: self._added(known["kernel"], last[e], drawn[e]) for e in drawn}
            at = {
                q: drawn[str(q.args[2][0])] if str(q.args[0]) == "C" else last[str(q.args[2][0])]
                for q in shown["finite"].rhs.atoms(LayerQuantity)
                if q.args[2]
            }
            values = evaluate(
                finite_response(self.witness.short(depth), self.kind), **self.witness.named()
            )
            name, place = VALUES[self.kind]
            value = float(self.witness.at(shown["finite"].rhs.xreplace(at)))
            return value / float(values[name].flat[place]), sp.Interval(1 - TINY, 1 + TINY)

        return check

    def _added(self, formula: Formula, before: sp.Expr, drawn: sp.Expr) -> sp.Expr:
        """Return an entry behind a block from that in front of it and what the block draws."""
        at = {
            q: drawn if str(q.args[0]) == "C" else before
            for q in formula.rhs.atoms(LayerQuantity)
            if q.args[2]
        }
        return self.witness.at(formula.rhs.xreplace(at))

    def _shared(self, late: Mapping[str, Any], early: Mapping[str, Any]) -> Any:
        phi, weight = self.witness.feature()
        spreads = float(late["hh"]), float(early["hh"])
        first, second = float(late["vv"]), float(early["vv"])
        square, alone = self.witness.together, self.witness.alone
        if self.kind == "variance":
            mixed = phi * phi.diff()
            return weight**2 * second * square(mixed, mixed, *spreads)
        slopes = phi.diff() ** 2
        copies = phi**2 if self.kind == "parameters" else sp.Integer(0)
        # E v^2 v'^2 of two tangents, the later of which is the earlier and independent normals.
        product = first * second + 2 * second**2
        means = [
            alone(copies, k) + v * alone(slopes, k)
            for k, v in zip(spreads, (first, second), strict=True)
        ]
        joint = (
            square(copies, copies, *spreads)
            + second * square(copies, slopes, *spreads)
            + first * square(slopes, copies, *spreads)
            + product * square(slopes, slopes, *spreads)
        )
        return weight**2 * (joint - means[0] * means[1])

    def _read(
        self, formula: Formula, late: Mapping[str, sp.Expr], early: Mapping[str, sp.Expr]
    ) -> float:
        """Return a formula at numbers for the entries of the later and the earlier layer."""
        here = reading(formula, late, early, self.witness)
        four = {
            node: _without_tangents(node)
            for node in here.atoms(GaussianExpectation)
            if len(node.variables) == 4
        }
        return float(self.witness.at(here.xreplace(four)).evalf(DOUBLE))


def _without_tangents(node: GaussianExpectation) -> sp.Expr:
    """Return an average over inputs and tangents, these independent of them, over inputs alone."""
    late, first, early, second = node.variables
    of_late, _, both, _, along, _, mixed, of_early, _, across = node.covariance
    terms = sp.Poly(sp.expand(node.integrand), first, second).terms()
    moments = {
        (0, 0): 1,
        (2, 0): along,
        (0, 2): across,
        (1, 1): mixed,
        (2, 2): along * across + 2 * mixed**2,
    }
    return sp.Add(
        *(
            moments[powers]
            * GaussianExpectation(coefficient, (late, early), (of_late, both, of_early))
            for powers, coefficient in terms
        )
    )


def _sampled(theory: FiniteResponse, witness: Witness) -> Mapping[str, Check]:
    """Return the check of means and deviations against random networks of one width."""

    def check() -> tuple[str, str]:
        net, numbers = witness.short(BLOCKS), witness.named()
        run = sample(net, OBSERVED[theory.kind], WIDTH, DRAWS, seed=1, progress=False, **numbers)
        values = evaluate(finite_response(net, theory.kind), width=WIDTH, **numbers)
        return compare(values, run, resolve=RESOLVE).verdict, "agrees"

    return {f"means and deviations at width {WIDTH} with random networks, the verdict": check}
