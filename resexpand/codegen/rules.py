"""Rules for each kind of SymPy node: the one door out of SymPy.

Negative powers become a single division, powers with whole exponents become
repeated multiplication that shares its squares, exponents in halves and quarters become square
roots, and the branches of a Piecewise are computed and selected. Any
other head must be in the table of functions, or the caller's helper of that name computes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import sympy as sp
from sympy.core.function import AppliedUndef
from sympy.logic.boolalg import BooleanAtom

from resexpand.codegen.functions import entry_of, unsupported
from resexpand.codegen.literals import constant, nearest_double

ATOM, PRODUCT, SUM = 3, 2, 1
# Longer sums and products are nested in groups: few values wait at a time, and rounding errors
# grow with the logarithm of the length.
WIDEST = 16
GROUPS = 8
HALF = sp.Rational(1, 2)

RELATIONS: Mapping[type[sp.Basic], str] = {
    sp.StrictLessThan: "<",
    sp.LessThan: "<=",
    sp.StrictGreaterThan: ">",
    sp.GreaterThan: ">=",
    sp.Equality: "==",
    sp.Unequality: "!=",
}


@dataclass(frozen=True)
class Operand:
    """The text of a value, how tightly it binds, and its operations not yet in a statement."""

    text: str
    binding: int = ATOM
    operations: int = 0

    def at(self, binding: int) -> str:
        """Return the text, in parentheses where it binds more loosely than asked."""
        return self.text if self.binding >= binding else f"({self.text})"


class Low(Protocol):
    """Methods of the lowering that a rule may call."""

    known: dict[sp.Basic, Operand]
    helpers: Mapping[str, str]

    def is_constant(self, node: sp.Basic) -> bool:
        """Whether no symbol occurs below a node."""

    def named(self, node: sp.Basic) -> str:
        """Return the name of a lowered value."""


@dataclass(frozen=True)
class Rule:
    """The nodes that a node is computed from, and its operand once those are known."""

    parts: Callable[[Low, sp.Basic], tuple[sp.Basic, ...]]
    operand: Callable[[Low, sp.Basic], Operand]


def rule_of(node: sp.Basic) -> Rule:
    """Return the rule of a node; the general one looks its head up in the table of functions."""
    for kinds, rule in RULES:
        if isinstance(node, kinds):
            return rule
    return TABLE_RULE


def _arguments(low: Low, node: sp.Basic) -> tuple[sp.Basic, ...]:
    return tuple(node.args)


def _call(low: Low, function: str, arguments: Sequence[sp.Basic]) -> Operand:
    parts = [low.known[a] for a in arguments]
    text = ", ".join(part.text for part in parts)
    return Operand(f"{function}({text})", ATOM, 1 + sum(p.operations for p in parts))


def _checked_arguments(low: Low, node: sp.Basic) -> tuple[sp.Basic, ...]:
    # An unknown head is named before its arguments are looked at.
    entry_of(node)
    return tuple(node.args)


def _from_table(low: Low, node: sp.Basic) -> Operand:
    return _call(low, f"fn_{entry_of(node).name}", node.args)


def _undefined(low: Low, node: sp.Basic) -> Operand:
    name = node.func.__name__
    if name not in low.helpers:
        given = ", ".join(sorted(low.helpers)) or "none"
        raise unsupported(node, f"no helper computes the function {name} (given: {given})")
    return _call(low, low.helpers[name], node.args)


def _terms(low: Low, node: sp.Expr) -> tuple[sp.Expr, list[tuple[str, sp.Expr]]]:
    """Split a sum into its constant and its terms with their signs."""
    if groups := _groups(node):
        return sp.S.Zero, [("+", group) for group in groups]
    fixed, terms = [], []
    for term in node.args:
        if low.is_constant(term):
            fixed.append(term)
        elif isinstance(term, sp.Mul) and term.args[0].is_Number and term.args[0] < 0:
            terms.append(("-", -term))
        else:
            terms.append(("+", term))
    terms.sort(key=lambda term: term[0] == "-")
    return sp.Add(*fixed), terms


def _groups(node: sp.Expr) -> tuple[sp.Expr, ...]:
    """Nest a long sum or product as one of a few shorter ones; nothing for a short one."""
    count = len(node.args)
    if count <= WIDEST:
        return ()
    size = -(-count // GROUPS)
    cuts = range(0, count, size)
    return tuple(node.func(*node.args[i : i + size], evaluate=False) for i in cuts)


def _add_parts(low: Low, node: sp.Expr) -> tuple[sp.Basic, ...]:
    return tuple(part for _, part in _terms(low, node)[1])


def _mul_parts(low: Low, node: sp.Expr) -> tuple[sp.Basic, ...]:
    _, above, below = _factors(low, node)
    return (*above, *below)


def _add(low: Low, node: sp.Expr) -> Operand:
    fixed, terms = _terms(low, node)
    pieces = [(sign, low.known[part]) for sign, part in terms]
    if fixed != 0:
        sign = "-" if fixed.is_negative and pieces[0][0] == "+" else "+"
        literal = Operand(constant(-fixed if sign == "-" else fixed))
        pieces.insert(len(pieces) if sign == "-" else 0, (sign, literal))
    first_sign, first = pieces[0]
    text = first.at(SUM) if first_sign == "+" else f"-{first.at(PRODUCT)}"
    for sign, piece in pieces[1:]:
        text += f" {sign} {piece.at(PRODUCT)}"
    operations = len(pieces) - (first_sign == "+") + sum(p.operations for _, p in pieces)
    return Operand(text, SUM, operations)


def _factors(low: Low, node: sp.Expr) -> tuple[sp.Expr, list[sp.Expr], list[sp.Expr]]:
    """Split a product into its constant, its numerator and its denominator."""
    if groups := _groups(node):
        return sp.S.One, list(groups), []
    fixed, above, below = [], [], []
    for factor in node.args:
        if low.is_constant(factor):
            fixed.append(factor)
        elif _is_reciprocal(factor):
            below.append(sp.Pow(factor.base, -factor.exp))
        else:
            above.append(factor)
    return sp.Mul(*fixed), above, below


def _mul(low: Low, node: sp.Expr) -> Operand:
    fixed, above, below = _factors(low, node)
    negative = bool(fixed.is_negative)
    magnitude = -fixed if negative else fixed
    top = [low.known[part] for part in above]
    if magnitude != 1 or not top:
        top.insert(0, Operand(constant(magnitude)))
    bottom = [low.known[part] for part in below]
    operations = sum(p.operations for p in (*top, *bottom)) + len(top) + len(bottom) - 1
    text = " * ".join(_factor(p, first=i == 0) for i, p in enumerate(top))
    if bottom:
        divisor = " * ".join(_factor(p, first=i == 0) for i, p in enumerate(bottom))
        lone = len(bottom) == 1 and bottom[0].binding == ATOM
        text = f"{text} / {divisor if lone else f'({divisor})'}"
    return Operand(f"-{text}" if negative else text, PRODUCT, operations + negative)


def _is_reciprocal(factor: sp.Expr) -> bool:
    """Whether a factor belongs under the fraction bar."""
    if not isinstance(factor, sp.Pow) or not isinstance(factor.exp, sp.Rational):
        return False
    return bool(factor.exp < 0)


def _factor(operand: Operand, *, first: bool = False) -> str:
    """Return the text of a factor; only the first may be a product without parentheses."""
    return operand.at(PRODUCT if first else ATOM)


def _power(node: sp.Expr) -> tuple[str, tuple[sp.Basic, ...]]:
    """Return how a power is computed and from which nodes."""
    base, exponent = node.base, node.exp
    if not isinstance(exponent, sp.Rational):
        return "general", (base, exponent)
    if exponent < 0:
        return "reciprocal", (sp.Pow(base, -exponent),)
    if exponent.q in (1, 2, 4):
        return _dyadic(base, exponent)
    return "rational", (base,)


def _dyadic(base: sp.Expr, exponent: sp.Rational) -> tuple[str, tuple[sp.Basic, ...]]:
    """Return the first step towards a positive power in wholes, halves or quarters."""
    if exponent.q == 1 and exponent % 2 == 0:
        return "square", (sp.Pow(base, exponent / 2),)
    if exponent.q > 1 and exponent.p == 1:
        return "root", (sp.Pow(base, 2 * exponent),)
    if exponent > 1:
        whole = exponent - 1 if exponent.q == 1 else sp.Integer(exponent.p // exponent.q)
        return "product", (sp.Pow(base, whole), sp.Pow(base, exponent - whole))
    return "product", (sp.Pow(base, HALF), sp.Pow(base, exponent - HALF))


def _pow(low: Low, node: sp.Expr) -> Operand:
    kind, parts = _power(node)
    if kind == "square":
        name = low.named(parts[0])
        return Operand(f"{name} * {name}", PRODUCT, 1)
    if kind == "product":
        left, right = (low.known[part] for part in parts)
        text = f"{_factor(left, first=True)} * {_factor(right)}"
        return Operand(text, PRODUCT, 1 + left.operations + right.operations)
    if kind == "reciprocal":
        inner = low.known[parts[0]]
        return Operand(f"1.0 / {_factor(inner)}", PRODUCT, 1 + inner.operations)
    if kind == "rational":
        return _rational_power(low.known[parts[0]], node.exp)
    return _call(low, "fn_sqrt" if kind == "root" else "fn_power", parts)


def _rational_power(base: Operand, exponent: sp.Rational) -> Operand:
    """Return a power whose exponent is no double, hence handed over in two parts."""
    high = nearest_double(exponent)
    rest = constant(exponent - sp.Rational(*high.as_integer_ratio()))
    text = f"fn_power_of_two_parts({base.text}, {high!r}, {rest})"
    return Operand(text, ATOM, 1 + base.operations)


def _sorted_arguments(low: Low, node: sp.Basic) -> tuple[sp.Basic, ...]:
    # SymPy keeps these arguments in a set, whose order follows the hash seed.
    return tuple(sorted(node.args, key=sp.default_sort_key))


def _extremum(low: Low, node: sp.Expr) -> Operand:
    function = f"fn_{entry_of(node).name}"
    first, *others = (low.known[part] for part in _sorted_arguments(low, node))
    for other in others:
        operations = 1 + first.operations + other.operations
        first = Operand(f"{function}({first.text}, {other.text})", ATOM, operations)
    return first


def _heaviside(low: Low, node: sp.Expr) -> Operand:
    step = _call(low, "fn_heaviside", node.args[:1])
    if node.args[1] == sp.Rational(1, 2):
        return step
    at_zero = node.args[1]
    if not low.is_constant(at_zero):
        raise unsupported(node, "the value of Heaviside at the step must be a number")
    name = low.named(node.args[0])
    text = f"({constant(at_zero)} if {name} == 0.0 else fn_heaviside({name}))"
    return Operand(text, ATOM, 2)


def _piecewise(low: Low, node: sp.Expr) -> Operand:
    # Values get names first, so that each choice is a select and no branch is left.
    values = [low.named(value) for value, _ in node.args]
    text, operations = "nan", 0
    for value, branch in zip(reversed(values), reversed(node.args), strict=True):
        condition = low.known[branch.args[1]]
        certain = branch.args[1] == sp.true
        text = value if certain else f"({value} if {condition.text} else {text})"
        operations += 0 if certain else 1 + condition.operations
    return Operand(text, ATOM, operations)


def _truth(low: Low, node: sp.Basic) -> Operand:
    return Operand("True" if node == sp.true else "False")


def _relation(low: Low, node: sp.Basic) -> Operand:
    left, right = (low.known[part] for part in node.args)
    text = f"({left.at(SUM)} {RELATIONS[type(node)]} {right.at(SUM)})"
    return Operand(text, ATOM, 1 + left.operations + right.operations)


def _logic(low: Low, node: sp.Basic) -> Operand:
    parts = [low.known[part] for part in node.args]
    operations = len(parts) - 1 + sum(part.operations for part in parts)
    if isinstance(node, sp.Not):
        return Operand(f"(not {parts[0].text})", ATOM, operations + 1)
    word = " and " if isinstance(node, sp.And) else " or "
    return Operand(f"({word.join(part.text for part in parts)})", ATOM, operations)


def _if_then_else(low: Low, node: sp.Basic) -> Operand:
    parts = [low.known[part] for part in node.args]
    condition, yes, no = (part.text for part in parts)
    operations = 1 + sum(part.operations for part in parts)
    return Operand(f"({yes} if {condition} else {no})", ATOM, operations)


RULES: tuple[tuple[type | tuple[type, ...], Rule], ...] = (
    (sp.Add, Rule(_add_parts, _add)),
    (sp.Mul, Rule(_mul_parts, _mul)),
    (sp.Pow, Rule(lambda low, node: _power(node)[1], _pow)),
    (AppliedUndef, Rule(_arguments, _undefined)),
    ((sp.Max, sp.Min), Rule(_sorted_arguments, _extremum)),
    (sp.Heaviside, Rule(lambda low, node: node.args[:1], _heaviside)),
    (sp.Piecewise, Rule(lambda low, node: tuple(p for b in node.args for p in b.args), _piecewise)),
    (tuple(RELATIONS), Rule(_arguments, _relation)),
    ((sp.And, sp.Or, sp.Not), Rule(_arguments, _logic)),
    (sp.ITE, Rule(_arguments, _if_then_else)),
    (BooleanAtom, Rule(_arguments, _truth)),
)
TABLE_RULE = Rule(_checked_arguments, _from_table)
