r"""Jets: the Taylor coefficients of ``phi(h(lambda))`` as a straight-line program.

For ``h(lambda) = h_0 + h_1 lambda + ... + h_k lambda^k`` the coefficients ``c_0 ... c_k`` of
``phi(h(lambda))`` follow from those of h by the differential equation of each function in phi
(`resexpand.series.recurrences`), in O(k^2) operations, and no derivative of phi is written out.

Switches (Abs, sign, Heaviside, Max, Min, Piecewise) follow the zeroth coefficients: the jet
is that of the side on which ``h_0`` lies, exact as long as lambda does not carry h across the
switch. At ``h_0`` exactly on a kink the coefficients ``c_1 ... c_k`` of Abs, Max and Min are the
mean of those of both sides, in agreement with ``phi'(0) = 1/2`` for relu; sign and Heaviside are
constant there; a Piecewise takes the branch whose condition holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral

import sympy as sp
from sympy.core.relational import Relational
from sympy.logic.boolalg import Boolean, BooleanAtom, BooleanFunction

from resexpand.errors import UnsupportedError
from resexpand.series.program import Program, Series
from resexpand.series.recurrences import (
    RECURRENCES,
    angle,
    logistic,
    power,
    softplus,
    square_root,
)

HALF = sp.Rational(1, 2)


@dataclass(frozen=True)
class JetAssignments:
    """The program of a jet.

    Attributes
    ----------
    inputs : tuple of sympy.Symbol
        ``h_0 ... h_k``.
    assignments : tuple of (sympy.Symbol, sympy.Expr)
        Definitions, each made of inputs, parameters of the expression and earlier definitions.
    outputs : tuple of sympy.Expr
        ``c_0 ... c_k``, each a symbol or a number.
    """

    inputs: tuple[sp.Symbol, ...]
    assignments: tuple[tuple[sp.Symbol, sp.Expr], ...]
    outputs: tuple[sp.Expr, ...]

    @property
    def order(self) -> int:
        """Highest coefficient k."""
        return len(self.outputs) - 1


def jet_assignments(expression: sp.Expr, variable: sp.Symbol, order: int) -> JetAssignments:
    """Return the program of the Taylor coefficients of ``expression`` at ``variable = h(lambda)``.

    Parameters
    ----------
    expression : sympy.Expr
        The function phi; further symbols in it are constants.
    variable : sympy.Symbol
        Its argument.
    order : int
        Highest power k of lambda, ``>= 0``.

    Raises
    ------
    UnsupportedError
        If the order is no whole number from 0, or a function in the expression has no recurrence.

    Examples
    --------
    >>> import sympy as sp
    >>> x = sp.Symbol("x", real=True)
    >>> jet = jet_assignments(x**2, x, 2)
    >>> jet.inputs
    (h_0, h_1, h_2)
    >>> values = [jet.outputs[2]]
    >>> for symbol, value in reversed(jet.assignments):
    ...     values = [v.subs(symbol, value) for v in values]
    >>> values
    [2*h_0*h_2 + h_1**2]
    """
    if not isinstance(order, Integral) or isinstance(order, bool) or order < 0:
        raise UnsupportedError(
            f"a jet of order {order!r}", "the order is no whole number from 0", "give one"
        )
    if not isinstance(expression, sp.Expr):
        raise UnsupportedError(
            f"a jet of {expression!r}", "it is no SymPy expression", "give one in one symbol"
        )
    taken = {s.name for s in expression.free_symbols if s != variable}
    stem = next(stem for stem in ("h", "jet_h", "jet_input") if not _clashes(stem, taken))
    inputs = tuple(sp.Symbol(f"{stem}_{j}", real=True) for j in range(int(order) + 1))
    walker = _Walker(Program(int(order), taken), variable, inputs)
    outputs = walker.series(expression)
    return JetAssignments(inputs, tuple(walker.program.assignments), outputs)


def _clashes(stem: str, taken: set[str]) -> bool:
    return any(name.startswith(f"{stem}_") for name in taken)


class _Walker:
    """Builds the series of every node of an expression, once each."""

    def __init__(self, program: Program, variable: sp.Symbol, inputs: Series) -> None:
        self.program = program
        self.variable = variable
        self._known: dict[sp.Expr, Series] = {variable: inputs}

    def series(self, node: sp.Expr) -> Series:
        """Return the coefficients of a node."""
        if node not in self._known:
            self._known[node] = self._built(node)
        return self._known[node]

    def _built(self, node: sp.Expr) -> Series:
        if not node.has(self.variable):
            return self.program.constant(node)
        for rule in (_logistic, _softplus, _complement):
            if (found := rule(self, node)) is not None:
                return found
        for kinds, build in BUILDERS:
            if isinstance(node, kinds):
                return build(self, node)
        recurrence = RECURRENCES.get(type(node))
        if recurrence is None:
            raise _unsupported(node)
        return recurrence(self.program, self.series(node.args[0]))

    def condition(self, node: Boolean) -> Boolean:
        """Return a condition on the zeroth coefficients."""
        if isinstance(node, BooleanAtom):
            return node
        if isinstance(node, Relational):
            return node.func(*(self.series(side)[0] for side in node.args))
        if isinstance(node, BooleanFunction):
            return node.func(*(self.condition(part) for part in node.args))
        raise _unsupported(node)


def _unsupported(node: sp.Basic) -> UnsupportedError:
    names = ", ".join(sorted(head.__name__ for head in RECURRENCES))
    return UnsupportedError(
        f"the Taylor coefficients of {node}",
        f"no recurrence for {type(node).__name__} is known",
        f"use + - * /, constant powers, {names}, atan2, Abs, sign, Heaviside, Max, Min, Piecewise",
    )


# --- forms that would overflow or cancel if they were taken literally --------------------------


def _one_plus_exp(node: sp.Expr) -> sp.Expr | None:
    """Return v where a node is ``1 + exp(v)``."""
    if isinstance(node, sp.Add) and len(node.args) == 2 and sp.S.One in node.args:
        other = node - 1
        return other.args[0] if isinstance(other, sp.exp) else None
    return None


def _logistic(walker: _Walker, node: sp.Expr) -> Series | None:
    """``(1 + exp(v))^-n`` is a power of the logistic function, bounded at both ends."""
    if not (isinstance(node, sp.Pow) and node.exp.is_Integer and node.exp < 0):
        return None
    inner = _one_plus_exp(node.base)
    if inner is None:
        return None
    p = walker.program
    return p.whole_power(logistic(p, walker.series(-inner)), int(-node.exp))


def _softplus(walker: _Walker, node: sp.Expr) -> Series | None:
    """``log(1 + exp(v))`` without the exponential of a large number."""
    if not isinstance(node, sp.log):
        return None
    inner = _one_plus_exp(node.args[0])
    return None if inner is None else softplus(walker.program, walker.series(inner))


def _complement(walker: _Walker, node: sp.Expr) -> Series | None:
    """``1 + erf(v) = erfc(-v)`` and ``1 + tanh(v) = 2 logistic(2 v)`` keep their small tails."""
    if not isinstance(node, sp.Add) or sp.S.One not in node.args:
        return None
    for term in sorted(node.args, key=sp.default_sort_key):
        sign, head = (-1, -term) if term.could_extract_minus_sign() else (1, term)
        if isinstance(head, sp.erf):
            tail = sp.erfc(-sign * head.args[0], evaluate=False)
        elif isinstance(head, sp.tanh):
            tail = 2 * (1 + sp.exp(-2 * sign * head.args[0])) ** -1
        else:
            continue
        return walker.series(node - 1 - term + tail)
    return None


# --- arithmetic ---------------------------------------------------------------------------------


def _add(walker: _Walker, node: sp.Expr) -> Series:
    return walker.program.sum(walker.series(term) for term in node.args)


def _mul(walker: _Walker, node: sp.Expr) -> Series:
    """Multiply the factors, then divide by those with a negative whole exponent."""
    p = walker.program
    fixed, moving = node.as_independent(walker.variable, as_Add=False)
    factors = sp.Mul.make_args(moving)
    below = [f for f in factors if _is_divisor(f)]
    above = [walker.series(f) for f in factors if f not in below]
    result = above[0] if above else p.constant(sp.S.One)
    for factor in above[1:]:
        result = p.product(result, factor)
    for factor in below:
        result = p.quotient(result, walker.series(1 / factor))
    return p.scaled(fixed, result)


def _is_divisor(factor: sp.Expr) -> bool:
    if not (isinstance(factor, sp.Pow) and factor.exp.is_Integer and factor.exp < 0):
        return False
    return _one_plus_exp(factor.base) is None


def _pow(walker: _Walker, node: sp.Expr) -> Series:
    p, (base, exponent) = walker.program, node.as_base_exp()
    if exponent.has(walker.variable):
        return walker.series(sp.exp(exponent * sp.log(base), evaluate=False))
    u = walker.series(base)
    if exponent.is_Integer and exponent > 0:
        return p.whole_power(u, int(exponent))
    if exponent.is_Integer:
        return p.quotient(p.constant(sp.S.One), p.whole_power(u, int(-exponent)))
    if exponent == HALF:
        return square_root(p, u)
    return power(p, u, exponent)


# --- switches -----------------------------------------------------------------------------------


def _step(walker: _Walker, node: sp.Expr) -> Series:
    """Sign and Heaviside: constant on either side."""
    p = walker.program
    first = walker.series(node.args[0])[0]
    return p.constant(p.let(node.func(first, *node.args[1:])))


def _absolute(walker: _Walker, node: sp.Expr) -> Series:
    p, u = walker.program, walker.series(node.args[0])
    falling = p.scaled(sp.S.NegativeOne, u)
    return _switched(p, u, falling, u[0], sp.S.Zero, sp.Abs(u[0]))


def _extremum(walker: _Walker, node: sp.Expr) -> Series:
    """Max and Min, two arguments at a time."""
    p = walker.program
    first, *others = sorted(node.args, key=sp.default_sort_key)
    result = walker.series(first)
    for other in others:
        v = walker.series(other)
        a, b = (result[0], v[0]) if node.func is sp.Max else (v[0], result[0])
        result = _switched(p, result, v, a, b, node.func(result[0], v[0]))
    return result


def _switched(p: Program, u: Series, v: Series, a: sp.Expr, b: sp.Expr, head: sp.Expr) -> Series:
    """Return the jet of u where ``a > b``, of v where ``a < b``, and of their mean between."""
    return (p.let(head), *(_pick(p, x, y, a, b) for x, y in zip(u[1:], v[1:], strict=True)))


def _pick(p: Program, x: sp.Expr, y: sp.Expr, a: sp.Expr, b: sp.Expr) -> sp.Expr:
    if x == y:
        return x
    mean = p.let((x + y) / 2)
    return p.let(sp.Piecewise((x, sp.Gt(a, b)), (y, sp.Lt(a, b)), (mean, True)))


def _piecewise(walker: _Walker, node: sp.Expr) -> Series:
    p = walker.program
    values = [walker.series(value) for value, _ in node.args]
    conditions = [walker.condition(condition) for _, condition in node.args]

    def pick(column: Sequence[sp.Expr]) -> sp.Expr:
        return p.let(sp.Piecewise(*zip(column, conditions, strict=True)))

    return tuple(pick(column) for column in zip(*values, strict=True))


Builder = Callable[[_Walker, sp.Expr], Series]
BUILDERS: tuple[tuple[type | tuple[type, ...], Builder], ...] = (
    (sp.Add, _add),
    (sp.Mul, _mul),
    (sp.Pow, _pow),
    (sp.atan2, lambda walker, node: angle(walker.program, *map(walker.series, node.args))),
    ((sp.sign, sp.Heaviside), _step),
    (sp.Abs, _absolute),
    ((sp.Max, sp.Min), _extremum),
    (sp.Piecewise, _piecewise),
)
