"""Steps of the kernel recursion and of the response functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp

from resexpand.agreement.comparison import compare
from resexpand.conventions import PAIR, K
from resexpand.gaussian.expectation import GaussianExpectation
from resexpand.montecarlo.sample import sample
from resexpand.numbers.evaluation import evaluate
from resexpand.theory.closure import close_elementary
from resexpand.theory.derivation import Check, Derivation
from resexpand.theory.kernel import Inputs, kernel
from resexpand.theory.recursion import Recursion
from resexpand.theory.response import ResponseKind, response
from resexpand.workflows.derive.witness import Witness, slope

WIDTHS, DRAWS = (128, 256), 4000
SAMPLED_DEPTH = 4
ERRORS = 5
"""Networks that are sampled where there are no integrals to check by."""


def kernel_steps(derivation: Derivation, witness: Witness, inputs: Inputs = 1) -> Any:
    """Take the steps of the kernel of one or several inputs."""
    recursion = kernel(witness.net, inputs=inputs)
    witness.bind(recursion)
    derivation.cite(recursion.citations)
    weights = "fresh" if witness.net.layers is None else "correlated"
    derivation.step(
        _WEIGHTS[weights] + _COLUMNS[inputs],
        recursion,
        check=_sampled(witness, "kernel", inputs)
        if witness.reason or inputs != 1
        else {
            f"kernel behind {witness.depth} blocks, against integrals": lambda shown: (
                last(shown[""], "K", witness),
                witness.kernel(),
            )
        },
    )
    return recursion


def response_steps(derivation: Derivation, witness: Witness, kind: ResponseKind) -> Recursion:
    """Take the steps of a response function, those of the kernel first."""
    base = kernel_steps(derivation, witness)
    theory = response(witness.net, kind=kind)
    witness.bind(theory)
    derivation.cite(theory.citations)
    if witness.reason:
        derivation.step(_WORDS[kind], theory, check=_sampled(witness, kind))
        return theory
    _price_step(derivation, base, witness)
    chi = theory.output("chi").matrix
    if chi is not None and chi.rows == 1:
        checks = _factor_checks(theory, witness, kind)
        derivation.step(_WORDS[kind], {"f": chi[0, 0]}, check=checks)
    derivation.step(
        "It is passed on from block to block, and the read-out adds its own slope.",
        theory,
        check=_response_checks(witness, kind),
    )
    return theory


_WEIGHTS = {
    "fresh": "In a wide network the neurons of a layer are independent, because the weights of "
    "every layer are drawn afresh. Their second moment, the covariance kernel $K$, obeys a "
    "recursion.",
    "correlated": "In a wide network the neurons of a layer are independent and, over the layers, "
    "jointly Gaussian: what two layers add is correlated as their weights are. The covariance of "
    "two layers obeys a recursion over both.",
}
_COLUMNS: dict[Inputs, str] = {
    1: "",
    2: " Of several inputs every pair obeys it.",
    "batch": " The normalisation couples the inputs of a batch at every neuron; in an exchangeable "
    "batch one variance and one covariance are left.",
    "positions": " The positions of an input are columns; an operation that couples them "
    "transforms the kernel of all columns at once.",
    "masks": " Two draws of the masks on one input are two columns.",
}

_WORDS = {
    "variance": "The response of a layer to an earlier one is the derivative of its kernel. By the "
    "chain rule it is a product over the blocks between them, here of the factors $f$.",
    "covariance": "The covariance of two inputs responds with the averaged product of two slopes, "
    "by the factor $f$ of every block.",
    "tangent": "A tangent vector that does not depend on the input grows with the averaged square "
    "of the slopes, by the factor $f$ of every block.",
}


def _price_step(derivation: Derivation, base: Recursion, witness: Witness) -> None:
    """Take the step of Price's theorem, where a branch depends on one kernel."""
    if len(base.state) != 1 or not base.definitions:
        return
    growth = base.flat(base.definitions[-1][0])
    start, laws = witness.start, base.laws
    here = {K.name: exact_start(witness)}
    derivation.step(
        "Price's theorem turns the derivative of a Gaussian average with respect to its variance "
        "into an average of derivatives: integration by parts. What the last linear operation of a "
        "block draws has the variance $C(K)$.",
        {"C(K)": growth, "C'(K)": growth.diff(K)},
        check={
            "variance, against an integral": lambda shown: (
                witness.at(close_elementary(shown["C(K)"], laws), **here),
                witness.drawn(start),
            ),
            "its derivative, against differences of integrals": lambda shown: (
                witness.at(close_elementary(shown["C'(K)"], laws), **here),
                slope(witness.drawn, start),
            ),
        },
    )


def _factor_checks(theory: Recursion, witness: Witness, kind: ResponseKind) -> Mapping[str, Check]:
    start, number = witness.start, exact_start(witness)

    def value(shown: Any, **entries: Any) -> Any:
        closed = witness.at(close_elementary(theory.flat(shown["f"]), theory.laws), **entries)
        # Integrals over two variables have the digits of a double.
        several = any(len(n.variables) > 1 for n in closed.atoms(GaussianExpectation))
        return float(closed.evalf()) if several else closed

    if kind == "variance":
        return {
            "of one block, against differences of integrals": lambda shown: (
                value(shown, K=number),
                slope(lambda k: witness.kernel(k, 1), start),
            )
        }
    if kind == "tangent":
        return {
            "against the integral of the squared slope": lambda shown: (
                value(shown, K=number),
                witness.tangent(start),
            )
        }
    names = [s.name for s in PAIR]
    return {
        "at coinciding inputs, against the integral of the squared slope": lambda shown: (
            value(shown, **dict.fromkeys(names, number)),
            witness.tangent(start),
        ),
        "at independent inputs, against the squared integral of the slope": lambda shown: (
            value(shown, **dict(zip(names, (number, sp.Integer(0), number), strict=True))),
            witness.tangent(start, power=1),
        ),
    }


def _response_checks(witness: Witness, kind: ResponseKind) -> Mapping[str, Check]:
    start, depth = witness.start, witness.depth
    if kind == "covariance":
        return {}
    if kind == "tangent":
        return {
            f"over {depth} blocks, against integrals": lambda shown: (
                last(shown[""], "chi_0", witness),
                witness.tangents(),
            )
        }
    return {
        f"over {depth} blocks, against differences of integrals": lambda shown: (
            last(shown[""], "chi_0", witness),
            slope(witness.kernel, start),
        ),
        "of the output, against differences of integrals": lambda shown: (
            last(shown[""], "eta", witness),
            slope(lambda k: witness.moment(witness.kernel(k)), start),
        ),
    }


def last(recursion: Any, output: str, witness: Witness) -> Any:
    """Return the last entry of an output; to fifty digits where blocks can be unrolled."""
    if not witness.fixed:
        return witness.at(recursion.unroll(witness.depth)[output][-1])
    return float(np.ravel(evaluate(recursion, **witness.named())[output])[-1])


def exact_start(witness: Witness) -> sp.Expr:
    """Return the kernel at layer 0 as an exact number."""
    return next(value for symbol, value in witness.values.items() if symbol.name == "K0")


_SAMPLED = {
    "kernel": ("kernel", "K"),
    "variance": ("response", "eta"),
    "covariance": ("covariance_response", "chi_0"),
    "tangent": ("tangent", "chi_0"),
}


def _sampled(witness: Witness, of: str, inputs: Inputs = 1) -> Mapping[str, Check]:
    """Return the check against random networks of two widths."""
    observable, output = _SAMPLED[of]

    def check(shown: Mapping[str, Any]) -> tuple[Any, Any]:
        net, numbers = witness.short(SAMPLED_DEPTH), witness.named()
        drawn = dict(numbers)
        if inputs == "masks":
            drawn["K0"] = np.full((2, 2), numbers["K0"])
        elif inputs != 1 or of == "covariance":
            drawn["K0"] = numbers["K0"] = witness.columns(inputs)
        runs = [sample(net, observable, n, DRAWS, seed=n, **drawn) for n in WIDTHS]
        values = witness.evaluate(shown[""], SAMPLED_DEPTH, numbers)[output]
        if not np.any(values):  # what has no size has no relative deviation
            run = runs[-1][observable]
            return np.max(np.abs(run.mean) - ERRORS * run.stderr) <= 0, True
        verdict = compare({output: values}, runs, names={output: observable}).verdict
        return verdict, "agrees"

    narrow, wide = WIDTHS
    return {f"with random networks of the widths {narrow} and {wide}, the verdict": check}
