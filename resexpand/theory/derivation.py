r"""Derivations: steps in words and equations, each with a check that runs as the step is taken.

A derivation is a list of frozen `Step` records. A step may carry checks, and a step whose check
fails cannot be taken: `DerivationError` names it. What counts as equal follows from what is
compared:

    symbolic expressions    identical after averages are put in normal form and SymPy simplifies
    exact numbers, mpmath   45 of the 50 digits that are carried
    a float on either side  12 digits, what is left of a double after a computation
    a text such as "0.3888" half a unit of the last digit written
    a SymPy interval        membership
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import mpmath
import sympy as sp

from resexpand.errors import ResexpandError
from resexpand.gaussian.expectation import GaussianExpectation
from resexpand.references import Citation
from resexpand.theory.formula import Formula
from resexpand.theory.recursion import Recursion

DIGITS = 50
"""Decimal digits carried in numerical checks."""

EXACT_TOLERANCE = mpmath.mpf(10) ** -45
FLOAT_TOLERANCE = mpmath.mpf(10) ** -12

Pair = tuple[Any, Any]
Check = Pair | Callable[[], Pair]
Shown = Formula | Recursion | sp.Basic


class DerivationError(ResexpandError, ArithmeticError):
    """A step whose check fails."""


@dataclass(frozen=True)
class Verified:
    """One check that held.

    Attributes
    ----------
    what : str
        What was compared, in words; empty if the step has one check that needs none.
    how : str
        The kind of comparison and its tolerance.
    result : str
        What came out.
    """

    what: str
    how: str
    result: str

    def __str__(self) -> str:
        return f"{self.what}: {self.result} ({self.how})" if self.what else f"{self.result} ({self.how})"


@dataclass(frozen=True)
class Step:
    """One step of a derivation.

    Attributes
    ----------
    number : int
        Place in the derivation, from 1.
    text : str
        What is done, in plain words.
    equations : tuple of (str, Formula, Recursion or sympy.Basic)
        What is shown, each with a name for its left side (empty if it brings its own).
    verified : tuple of Verified
        What was checked, how, and the result.
    """

    number: int
    text: str
    equations: tuple[tuple[str, Shown], ...]
    verified: tuple[Verified, ...]


@dataclass
class Derivation:
    """A derivation that grows step by step.

    Parameters
    ----------
    title : str
        What is derived.
    citations : tuple of Citation, optional
        What it follows.
    announce : callable, optional
        Called with the text of every step as it is taken; `print` narrates to a terminal.

    Examples
    --------
    >>> import sympy as sp
    >>> x = sp.Symbol("x", positive=True)
    >>> derivation = Derivation("A logarithm")
    >>> _ = derivation.step("It is an integral.", {"F": sp.log(x)}, check=(sp.log(x).diff(x), 1 / x))
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
            What is done, in plain words.
        equations : Formula, Recursion, sympy.Basic, or a sequence or mapping of them, optional
            What is shown. A mapping gives the left sides.
        check : pair, callable, or mapping of these, optional
            Two sides that must be equal, or a function that returns them. A mapping names several.

        Returns
        -------
        Step

        Raises
        ------
        DerivationError
            If a check fails; the step is not taken.
        """
        number = len(self.steps) + 1
        checks = check if isinstance(check, Mapping) else {"": check} if check is not None else {}
        verified = tuple(self._verify(number, text, what, one) for what, one in checks.items())
        step = Step(number, text, _named(equations), verified)
        self.steps.append(step)
        if self.announce is not None:
            self.announce(_step_text(step) + "\n")
        return step

    def _verify(self, number: int, text: str, what: str, check: Check) -> Verified:
        left, right = check() if callable(check) else check
        holds, how, result = compare_sides(left, right)
        if not holds:
            raise DerivationError(
                f"step {number} of {self.title!r}" + (f", {what}" if what else ""),
                f"{result} ({how}), at: {text}",
                "correct the equation or the check",
            )
        return Verified(what, how, result)

    def report(self) -> str:
        """Return the derivation as text."""
        return "\n\n".join([self.title, *map(_step_text, self.steps)])


def _named(
    equations: Shown | Sequence[Shown] | Mapping[str, Shown],
) -> tuple[tuple[str, Shown], ...]:
    if isinstance(equations, Mapping):
        return tuple(equations.items())
    if isinstance(equations, Formula | Recursion | sp.Basic):
        return (("", equations),)
    return tuple(("", equation) for equation in equations)


def _step_text(step: Step) -> str:
    lines = [f"{step.number}. {step.text}"]
    for name, shown in step.equations:
        lines += [f"     {name} = {text}" if name else f"     {text}" for text in _texts(shown)]
    return "\n".join(lines + [f"   [ok] {verified}" for verified in step.verified])


def _texts(shown: Shown) -> list[str]:
    """Return the equations of what is shown, one a line."""
    if isinstance(shown, Recursion):
        news = [(f"next {s}", u) for s, u in zip(shown.state, shown.update, strict=True)]
        return [f"{left} = {right}" for left, right in (*shown.definitions, *news)]
    return [f"{shown.lhs} = {shown.rhs}" if isinstance(shown, sp.Equality) else str(shown)]


def compare_sides(left: Any, right: Any) -> tuple[bool, str, str]:
    """Compare two sides by what they are.

    Returns
    -------
    tuple of (bool, str, str)
        Whether they agree, how they were compared, and what came out.
    """
    if isinstance(right, sp.Interval) and not _is_number(left):
        return False, "interval", f"{left} is not a number"
    if isinstance(right, sp.Interval):
        inside = bool(right.contains(sp.Float(str(left), DIGITS)))
        where = "lies" if inside else "does not lie"
        return inside, "interval", f"{_short(left)} {where} in [{right.start}, {right.end}]"
    if _is_number(left) and _is_number(right):
        return _compare_numbers(left, right)
    difference = normal_form(left) - normal_form(right)
    same = sp.expand(difference) == 0 or sp.simplify(difference) == 0
    sides = "the two sides are identical" if same else f"{left} differs from {right}"
    return bool(same), "symbolic identity", sides


def _compare_numbers(left: Any, right: Any) -> tuple[bool, str, str]:
    with mpmath.workdps(DIGITS):
        a, b = _number(left), _number(right)
        how, tolerance = _tolerance(left, right, max(abs(a), abs(b)))
        holds = bool(mpmath.isfinite(a) and mpmath.isfinite(b) and abs(a - b) <= tolerance)
        sign = "=" if holds else "is not"
        shown = right if isinstance(right, str) else _short(right)
        return holds, how, f"{_short(left)} {sign} {shown}"


def _tolerance(left: Any, right: Any, size: mpmath.mpf) -> tuple[str, mpmath.mpf]:
    texts = [side for side in (left, right) if isinstance(side, str)]
    if texts:
        decimals = min(len(text.partition(".")[2]) for text in texts)
        return f"to {decimals} decimals", mpmath.mpf(10) ** -decimals / 2
    if any(isinstance(side, float) for side in (left, right)):
        return "12 digits of double precision", FLOAT_TOLERANCE * size
    return "45 of 50 digits", EXACT_TOLERANCE * max(size, mpmath.mpf(1))


def _is_number(side: Any) -> bool:
    return isinstance(side, str | int | float | mpmath.mpf) or bool(getattr(side, "is_number", False))


def _number(side: Any) -> mpmath.mpf:
    if isinstance(side, sp.Basic):
        return mpmath.mpf(str(side.evalf(DIGITS + 5)))
    return mpmath.mpf(side)


def _short(side: Any) -> str:
    with mpmath.workdps(DIGITS):
        return str(mpmath.nstr(_number(side), 8))


def normal_form(expression: sp.Expr) -> sp.Expr:
    """Expand formal averages: Price's theorem carried out, sums of averages of products."""
    nodes = sorted(expression.atoms(GaussianExpectation), key=sp.default_sort_key)
    return sp.expand(expression.xreplace({node: _linear(node) for node in nodes}))


def _linear(node: GaussianExpectation) -> sp.Expr:
    total = sp.Integer(0)
    for term in sp.Add.make_args(node.integrand):
        coefficient, product = term.as_independent(*node.variables, as_Add=False)
        total += coefficient * GaussianExpectation(product, node.variables, node.covariance)
    return total
