r"""`describe`: what was done, as a paragraph for the methods of a paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import sympy as sp

from resexpand.agreement.outcome import Agreement
from resexpand.codegen.values import Values
from resexpand.errors import UnsupportedError
from resexpand.export.latex.paper import keys_of
from resexpand.export.latex.sections import prose
from resexpand.export.record import environment
from resexpand.montecarlo.statistics.estimate import Estimates
from resexpand.network.resnet import ResNet
from resexpand.references import Citation
from resexpand.theory.derivation import Derivation
from resexpand.theory.formula import Formula
from resexpand.theory.one_loop import OneLoop
from resexpand.theory.optimal_scale import OptimalScale
from resexpand.theory.recursion import Recursion

_VERDICTS = {
    "agrees": "Theory and samples agree",
    "disagrees": "Theory and samples disagree",
    "inconclusive": "The comparison is inconclusive",
}
LISTED = 6


def describe(*results: Any, latex: bool = False) -> str:
    r"""Write what was done as a paragraph, as for the methods section of a paper.

    Parameters
    ----------
    *results
        Networks, results of the theory, of `evaluate`, `sample` (or several of one kind in a
        list), and `compare`, in the order in which they are to be told.
    latex : bool, optional
        Write LaTeX, with ``\cite`` and the keys that `resexpand.cite` prints; otherwise plain
        text with authors and years.

    Returns
    -------
    str
        One paragraph: settings, seeds, versions, what is neglected, the verdict.

    Raises
    ------
    UnsupportedError
        If there is nothing to say of a result.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet, describe, kernel, sample
    >>> net = ResNet(Branch(Activation("erf"), Linear(1, 0)), scale=0.3, depth=5)
    >>> text = describe(kernel(net), sample(net, "kernel", 64, 1000, K0=1.0, seed=7))
    >>> print(text.split(". ")[1][:51])
    We drew 1000 networks of width 64 and depth 5 (func
    """
    sentences = [sentence for result in results for sentence in _told(result)]
    cited = dict.fromkeys(c for result in results for c in _citations(result))
    versions = environment()
    libraries = (("NumPy", "numpy"), ("Numba", "numba"), ("SymPy", "sympy"))
    others = ", ".join(f"{name} {versions[key]}" for name, key in libraries)
    sentences.append(f"We used resexpand {versions['resexpand']} with {others}")
    text = ". ".join(prose(s) if latex else s for s in sentences)
    if cited and latex:
        return f"{text}; formulas follow {keys_of(cited)}."
    papers = dict.fromkeys(citation.reference.short for citation in cited)
    return f"{text}; formulas follow {'; '.join(papers)}." if papers else f"{text}."


def _citations(result: Any) -> Iterable[Citation]:
    if isinstance(result, list | tuple):
        return tuple(c for item in result for c in _citations(item))
    return getattr(result, "citations", ())


def _told(result: Any) -> list[str]:
    if isinstance(result, list | tuple):
        if result and all(isinstance(run, Estimates) for run in result):
            return _runs(result)
        return [sentence for item in result for sentence in _told(item)]
    for kind, tell in _KINDS:
        if isinstance(result, kind):
            return tell(result)
    raise UnsupportedError(
        f"a description of an object of type {type(result).__name__}",
        "it is no result of this package",
        "pass networks, theories, values, estimates or agreements",
    )


def _theory(theory: Any) -> list[str]:
    title = {OptimalScale: "optimal residual scale", OneLoop: "order 1/N"}.get(
        type(theory), getattr(theory, "title", "")
    )
    neglects = getattr(theory, "neglects", "")
    order = f", up to {neglects}" if neglects else ""
    return [f"The {title} was derived symbolically for {theory.net!r}{order}"]


def _formula(formula: Formula) -> list[str]:
    order = f", up to {formula.neglects}" if formula.neglects else ""
    return [f"We used the formula {formula.name.replace('_', ' ')}{order}"]


def _derivation(derivation: Derivation) -> list[str]:
    checks = sum(len(step.verified) for step in derivation)
    return [
        f"The derivation ({derivation.title}) has {len(derivation)} steps, with {checks} checks by "
        "symbolic identities, independent integrals or sampled networks, all of which hold"
    ]


def _values(values: Values) -> list[str]:
    error = max(values.quadrature_error.values(), default=0.0)
    bound = f", with quadratures whose relative error is at most {error:.0e}" if error else ""
    told = [
        f"{_listed(values)} {'were' if len(values) > 1 else 'was'} evaluated in double precision "
        f"at {values.depths}{bound}"
    ]
    return told + [f"Of these numbers it must be known: {problem}" for problem in values.problems]


def _runs(runs: Any) -> list[str]:
    """Tell several samples of the same observables together."""
    settings = [run.settings for run in runs]
    first, estimates = settings[0], [next(iter(run.values())) for run in runs]
    draws, widths = _series(e.n for e in estimates), _series(e.width for e in estimates)
    seeds = _series(seed for e in estimates for seed in e.seeds)
    depth, method = _series(e.depth for e in estimates), _series(e.method for e in estimates)
    start = first.get("K0")
    kernel = f", input kernel {start:g}" if isinstance(start, int | float) else ""
    told = [
        f"We drew {draws} networks of width {widths} and depth {depth} ({method} sampling, seed "
        f"{seeds}{kernel}) and estimated {_listed(runs[0])}",
        "Errors are standard errors of the mean",
    ]
    flags = {flag: None for run in runs for own in run.flags.values() for flag in own}
    return told + ([f"Estimates were flagged: {_listed(flags)}"] if flags else [])


def _agreement(agreement: Agreement) -> list[str]:
    count, worst = len(agreement.judgement.z), agreement.worst
    verdict = _VERDICTS[agreement.verdict]
    if agreement.verdict == "inconclusive":
        return [f"{verdict}: {agreement.reason}"]
    seen = agreement.resolution
    resolved = f"; a relative deviation of {seen:.2g} would have been seen at every entry"
    entries = f"{count} entries" if count > 1 else "one entry"
    return [
        f"{verdict} at {entries} ({_listed(agreement.positions)}) at the family-wise level "
        f"{agreement.level:g}; the largest z-score is {worst.z:+.2f} ({worst.label})"
        + (resolved if math.isfinite(seen) else "")
    ]


def _series(values: Iterable[Any]) -> str:
    return " and ".join(map(str, dict.fromkeys(values)))


def _listed(names: Iterable[Any]) -> str:
    texts = list(map(str, names))
    rest = f" and {len(texts) - LISTED} more" if len(texts) > LISTED else ""
    return ", ".join(texts[:LISTED]) + rest


_KINDS: tuple[tuple[type, Callable[[Any], list[str]]], ...] = (
    (ResNet, lambda net: [f"The network is {net!r}"]),
    (Derivation, _derivation),
    (Formula, _formula),
    (OptimalScale, _theory),
    (OneLoop, _theory),
    (Recursion, _theory),
    (Values, _values),
    (Estimates, lambda run: _runs([run])),
    (Agreement, _agreement),
    (sp.Basic, lambda expression: [f"We used the expression {expression}"]),
)
