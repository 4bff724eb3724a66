"""From SymPy expressions to flat assignments of scalar operations.

An expression is walked from its leaves to its root without recursion, so depth and length are
bounded by memory alone. Equal subexpressions are computed once, and every subexpression without
symbols becomes the double nearest to its exact value. `resexpand.codegen.rules` says what becomes
of each kind of node.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import sympy as sp
from sympy.core.function import AppliedUndef

from resexpand.codegen.functions import unsupported
from resexpand.codegen.literals import constant
from resexpand.codegen.rules import Operand, rule_of

# Longer texts get a name of their own, which keeps lines and tracebacks readable.
INLINE_LENGTH = 56
NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class Statement:
    """One assignment: the name, its right side, and the number of operations in it."""

    name: str
    text: str
    operations: int

    @property
    def reads(self) -> frozenset[str]:
        """All names on the right side."""
        return frozenset(NAME.findall(self.text))


@dataclass
class Lowering:
    """Statements in order, and the operand of every expression met so far.

    Attributes
    ----------
    names : mapping
        The name of each input symbol.
    helpers : mapping
        Names of undefined functions and of the generated functions that compute them.
    """

    names: Mapping[sp.Symbol, str]
    helpers: Mapping[str, str]
    statements: list[Statement] = field(default_factory=list)
    known: dict[sp.Basic, Operand] = field(default_factory=dict)
    constants: dict[sp.Basic, bool] = field(default_factory=dict)
    counts: dict[sp.Basic, int] = field(default_factory=dict)

    def add(self, expressions: Sequence[sp.Basic]) -> list[Operand]:
        """Lower expressions and return one operand for each."""
        order = self._ordered(expressions)
        for node in order:
            for part in self._parts(node):
                self.counts[part] = self.counts.get(part, 0) + 1
        for node in expressions:
            self.counts[node] = self.counts.get(node, 0) + 1
        for node in order:
            self.known[node] = self._settled(node, self._operand(node))
        return [self.known[node] for node in expressions]

    def named(self, node: sp.Basic) -> str:
        """Return the name of a lowered value, giving it one if it is spelled out so far."""
        operand = self.known[node]
        if operand.operations:
            operand = self.known[node] = self._assign(operand)
        return operand.text

    def define(self, symbol: sp.Symbol, expression: sp.Expr) -> None:
        """Let a symbol stand for an expression from here on."""
        self.add([expression])
        self.named(expression)
        self.known[symbol] = self.known[expression]

    def _ordered(self, roots: Iterable[sp.Basic]) -> list[sp.Basic]:
        """Return every node not yet known, each after the nodes that it is computed from."""
        order: list[sp.Basic] = []
        done: set[sp.Basic] = set()
        stack = [(root, False) for root in reversed(list(roots))]
        while stack:
            node, entered = stack.pop()
            if entered:
                order.append(node)
            elif node not in done and node not in self.known:
                done.add(node)
                stack.append((node, True))
                stack.extend((part, False) for part in reversed(self._parts(node)))
        return order

    def _settled(self, node: sp.Basic, operand: Operand) -> Operand:
        """Give a name to what is used twice or has grown long."""
        repeated = self.counts.get(node, 0) > 1 and operand.operations > 0
        is_condition = isinstance(node, sp.logic.boolalg.Boolean)
        if not is_condition and (repeated or len(operand.text) > INLINE_LENGTH):
            return self._assign(operand)
        return operand

    def _assign(self, operand: Operand) -> Operand:
        name = f"t{len(self.statements)}"
        self.statements.append(Statement(name, operand.text, operand.operations))
        return Operand(name)

    def is_constant(self, node: sp.Basic) -> bool:
        """Whether no symbol occurs below a node (without recursion)."""
        stack = [node]
        while stack:
            top = stack[-1]
            if top in self.constants:
                stack.pop()
            elif not top.args:
                self.constants[top] = isinstance(top, (sp.Number, sp.NumberSymbol))
            elif isinstance(top, AppliedUndef):
                self.constants[top] = False
            else:
                missing = [part for part in top.args if part not in self.constants]
                stack.extend(missing)
                if not missing:
                    self.constants[top] = all(self.constants[part] for part in top.args)
        return self.constants[node]

    def _parts(self, node: sp.Basic) -> tuple[sp.Basic, ...]:
        """Return the nodes whose operands the operand of this node is made of."""
        if not node.args or (isinstance(node, sp.Expr) and self.is_constant(node)):
            return ()
        return rule_of(node).parts(self, node)

    def _operand(self, node: sp.Basic) -> Operand:
        """Return the operand of a node whose parts are known."""
        if isinstance(node, sp.Expr) and self.is_constant(node):
            return Operand(constant(node))
        if isinstance(node, sp.Symbol):
            return self._symbol(node)
        return rule_of(node).operand(self, node)

    def _symbol(self, node: sp.Symbol) -> Operand:
        if node not in self.names:
            given = ", ".join(sorted(str(s) for s in self.names)) or "none"
            raise unsupported(node, f"the symbol {node} is not among the inputs ({given})")
        return Operand(self.names[node])
