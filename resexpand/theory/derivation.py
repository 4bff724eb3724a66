r"""Derivations: steps in words and equations, each with a check that runs as the step is taken.

A derivation is a list of frozen `Step` records. A step may carry checks, and a step whose check
fails cannot be taken: `DerivationError` names it. Equality is decided by
`resexpand.theory.verification`. A step keeps its checks: a check that is a function of one
argument reads the equations of the step, so that it judges those that replace them.

Words may hold formulas between dollar signs; `report` shows them as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from textwrap import wrap
from typing import Any, TypeAlias

import mpmath
import sympy as sp

from resexpand.errors import ResexpandError
from resexpand.expressions.notebook import as_page
from resexpand.expressions.shown import WIDTH, Card
from resexpand.expressions.shown import Shown as Showing
from resexpand.references import Citation
from resexpand.theory.formula import Formula
from resexpand.theory.layer_kernel import LayerKernel
from resexpand.theory.recursion import Recursion
from resexpand.theory.verification import DIGITS, compare_sides

Pair = tuple[Any, Any]
Check = Pair | Callable[..., Pair]
Shown: TypeAlias = Formula | Recursion | LayerKernel | sp.Basic


class DerivationError(ResexpandError, ArithmeticError):
    """A step whose check fails."""


@dataclass(frozen=True)
class Verified:
    """One check that held.

    Attributes
    ----------
    what : str
        The comparison in words; empty if the step has one check that needs none.
    how : str
        The kind of comparison and its tolerance.
    result : str
        The result.
    """

    what: str
    how: str
    result: str

    def __str__(self) -> str:
        found = f"{self.result} ({self.how})"
        return f"{plain(self.what)}: {found}" if self.what else found


@dataclass(frozen=True, repr=False)
class Step:
    """One step of a derivation.

    Attributes
    ----------
    number : int
        Place in the derivation, from 1.
    text : str
        The step in words.
    equations : tuple of (str, Formula, Recursion or sympy.Basic)
        Equations, each with a name for its left side (empty if it brings its own).
    verified : tuple of Verified
        Checks: their subject, method and result.
    checks : tuple of (str, pair or callable)
        The checks themselves, which run again when the step is replaced.
    """

    number: int
    text: str
    equations: tuple[tuple[str, Shown], ...]
    verified: tuple[Verified, ...]
    checks: tuple[tuple[str, Check], ...] = field(default=(), compare=False)

    def __getitem__(self, name: str) -> Shown:
        """Return the equation of a name; of the only one the name is empty."""
        return dict(self.equations)[name]

    def __str__(self) -> str:
        return _step_text(self)

    def __repr__(self) -> str:
        return _step_text(self)

    def _repr_html_(self) -> str:
        return as_page(self)


@dataclass(repr=False)
class Derivation(Showing):
    """A derivation that grows step by step.

    Parameters
    ----------
    title : str
        Title of the derivation.
    citations : tuple of Citation, optional
        Sources it follows.
    announce : callable, optional
        Called with the text of every step as it is taken; `print` narrates to a terminal.

    Examples
    --------
    >>> import sympy as sp
    >>> x = sp.Symbol("x", positive=True)
    >>> derivation = Derivation("A logarithm")
    >>> _ = derivation.step(
    ...     "It is an integral.", {"F": sp.log(x)}, check=(sp.log(x).diff(x), 1 / x)
    ... )
    >>> print(derivation.report())
    A logarithm
    <BLANKLINE>
    1. It is an integral.
         F = log(x)
       [ok] the two sides are identical (symbolic identity)
    """

    title: str
    citations: tuple[Citation, ...] = ()
    announce: Callable[[str], None] | None = None
    steps: list[Step] = field(default_factory=list)

    def step(
        self,
        text: str,
        equations: Shown | Sequence[Shown] | Mapping[str, Shown] = (),
        check: Check | Mapping[str, Check] | None = None,
    ) -> Step:
        """Take a step; its checks run now.

        Parameters
        ----------
        text : str
            The step in words.
        equations : Formula, Recursion, sympy.Basic, or a sequence or mapping of them, optional
            Equations. A mapping gives the left sides.
        check : pair, callable, or mapping of these, optional
            Two sides that must be equal, or a function that returns them: of no argument, or of
            the equations by name. A mapping names several.

        Returns
        -------
        Step

        Raises
        ------
        DerivationError
            If a check fails; the step is not taken.
        """
        step = self._verified(len(self.steps) + 1, text, _named(equations), _checks(check))
        self.steps.append(step)
        if self.announce is not None:
            self.announce(_step_text(step) + "\n")
        return step

    def cite(self, citations: Iterable[Citation]) -> None:
        """Add the sources that it follows, each once."""
        self.citations = tuple(dict.fromkeys((*self.citations, *citations)))

    def replace(
        self,
        number: int,
        equations: Shown | Sequence[Shown] | Mapping[str, Shown] | None = None,
        *,
        text: str | None = None,
        check: Check | Mapping[str, Check] | None = None,
    ) -> Step:
        """Replace a step; what is not given stays, and all its checks run again.

        Parameters
        ----------
        number : int
            Which step, from 1.
        equations : as for `step`, optional
            Its equations; of a mapping those that it names.
        text : str, optional
            Its words.
        check : as for `step`, optional
            Its checks, instead of those it has.

        Returns
        -------
        Step

        Raises
        ------
        DerivationError
            If a check fails, with the step as it was; or if there is no such step.

        Examples
        --------
        >>> from resexpand import Activation, Branch, Linear, ResNet, derive
        >>> net = ResNet(Branch(Activation("relu"), Linear()), scale=1, depth=2)
        >>> derivation = derive(net, "response")
        >>> factor = derivation[3]["f"]
        >>> derivation.replace(3, {"f": 2 * factor})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        resexpand.theory.derivation.DerivationError: step 3 of 'Response of the variance', ...
        """
        old = self[number]
        new = old.equations if equations is None else _named(equations)
        if isinstance(equations, Mapping):
            new = tuple((dict(old.equations) | dict(new)).items())
        checks = old.checks if check is None else _checks(check)
        step = self._verified(number, old.text if text is None else text, new, checks)
        self.steps[number - 1] = step
        return step

    def __getitem__(self, number: int) -> Step:
        """Return a step by its number, from 1."""
        if not isinstance(number, int) or not 1 <= number <= len(self.steps):
            raise DerivationError(
                f"step {number!r} of {self.title!r}",
                f"it has steps 1 to {len(self.steps)}",
                "give the number of one of them",
            )
        return self.steps[number - 1]

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def _verified(
        self,
        number: int,
        text: str,
        equations: tuple[tuple[str, Shown], ...],
        checks: tuple[tuple[str, Check], ...],
    ) -> Step:
        shown = dict(equations)
        found = tuple(self._verify(number, text, what, one, shown) for what, one in checks)
        return Step(number, text, equations, found, checks)

    def _verify(
        self, number: int, text: str, what: str, check: Check, shown: Mapping[str, Shown]
    ) -> Verified:
        with mpmath.workdps(DIGITS + 5):
            if callable(check):
                check = check(shown) if _asks(check) else check()
            holds, how, result = compare_sides(*check)
        if not holds:
            raise DerivationError(
                f"step {number} of {self.title!r}" + (f", {plain(what)}" if what else ""),
                f"{result} ({how}), at: {plain(text)}",
                "correct the equation or the check",
            )
        return Verified(what, how, result)

    def card(self) -> Card:
        """Return what it says about itself."""
        checks = sum(len(step.verified) for step in self.steps)
        steps = tuple((str(step.number), plain(step.text)) for step in self.steps)
        counts = f"{_count(len(steps), 'step')}, {_count(checks, 'check')} passed"
        return Card(f"Derivation: {self.title}, {counts}", steps)

    def _repr_html_(self) -> str:
        return as_page(self)

    def report(self) -> str:
        """Return the derivation as text."""
        return "\n\n".join([self.title, *map(_step_text, self.steps)])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _checks(check: Check | Mapping[str, Check] | None) -> tuple[tuple[str, Check], ...]:
    if isinstance(check, Mapping):
        return tuple(check.items())
    return () if check is None else (("", check),)


def _named(
    equations: Shown | Sequence[Shown] | Mapping[str, Shown],
) -> tuple[tuple[str, Shown], ...]:
    if isinstance(equations, Mapping):
        return tuple(equations.items())
    if isinstance(equations, Shown):
        return (("", equations),)
    return tuple(("", equation) for equation in equations)


def _step_text(step: Step) -> str:
    lines = wrap(f"{step.number}. {plain(step.text)}", WIDTH, subsequent_indent="   ")
    for name, shown in step.equations:
        head = f"{plain(f'${name}$')} = " if name else ""
        lines += [f"     {head}{text}" for text in _texts(shown)]
    for verified in step.verified:
        lines += wrap(
            f"[ok] {verified}",
            WIDTH,
            initial_indent="   ",
            subsequent_indent=" " * 8,
            break_long_words=False,
        )
    return "\n".join(lines)


def plain(text: str) -> str:
    """Return words with the formulas between dollar signs as plain text: ``rho* = c / sqrt(L)``."""
    words = text.split("$")
    words[1::2] = [_plain_formula(formula) for formula in words[1::2]]
    return "".join(words)


def _plain_formula(formula: str) -> str:
    formula = re.sub(r"\\frac{([^{}]*)}{([^{}]*)}", r"\1/\2", formula)
    formula = re.sub(r"\\sqrt{([^{}]*)}", r"sqrt(\1)", formula)
    formula = re.sub(r"\^{?\*}?", "*", formula)
    formula = formula.replace(r"\ge ", ">= ").replace(r"\le ", "<= ").replace(r"\ne ", "!= ")
    formula = re.sub(r"\\(?:mathrm|langle|rangle|,)|[{}]", "", formula)
    return " ".join(formula.replace("\\", "").split())


def _asks(check: Callable[..., Any]) -> bool:
    """Whether a check must be given the equations; parameters with a default are its own."""
    return any(p.default is p.empty for p in signature(check).parameters.values())


def _texts(shown: Shown) -> list[str]:
    """Return the equations of what is shown, one a line."""
    if isinstance(shown, Recursion):
        news = [(f"next {s}", u) for s, u in zip(shown.state, shown.update, strict=True)]
        return [f"{left} = {right}" for left, right in (*shown.definitions, *news)]
    if isinstance(shown, LayerKernel):
        return [text for formula in shown for text in _texts(formula)]
    text = f"{shown.lhs} = {shown.rhs}" if isinstance(shown, sp.Equality) else str(shown)
    return [text.replace("\\", "")]
