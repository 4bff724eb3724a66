"""From text to SymPy: bounds on the text and its tree first, then the tree from its leaves up."""

from __future__ import annotations

import ast
import operator
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction

import sympy as sp

from resexpand.errors import ExpressionError
from resexpand.expressions.bounds import (
    Refusal,
    check_call,
    check_power,
    check_quotient,
    check_size,
    checked,
)
from resexpand.expressions.functions import CONSTANTS, FUNCTIONS, NAMES

MAX_LENGTH = 1000
"""Characters in the text."""
MAX_NESTING = 40
"""Parentheses inside parentheses."""
MAX_DEPTH = 100
"""Levels of the syntax tree; a sum of n terms has n."""
MAX_PARTS = 400
"""Numbers, names and operations together."""
MAX_DIGITS = 40
"""Digits of one number, and the largest power of ten it may carry."""
MAX_ARGUMENTS = 8
"""Arguments of max and min, which SymPy compares in pairs."""

_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)(?:[eE]([+-]?\d+))?")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")

_OPERATORS: dict[type[ast.operator], Callable[[sp.Expr, sp.Expr], sp.Expr]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_SIGNS: dict[type[ast.unaryop], int] = {ast.UAdd: 1, ast.USub: -1}

# What prints as these would come back as a symbol of that name.
_NO_NUMBERS = {"nan", "inf", "infinity"}

# Names of refused syntax in messages; the rest goes by its class name.
_SYNTAX = {
    ast.Attribute: "attribute access",
    ast.Subscript: "indexing",
    ast.Lambda: "a lambda",
    ast.Compare: "a comparison",
    ast.BoolOp: "and/or",
    ast.IfExp: "a conditional",
    ast.JoinedStr: "a string",
    ast.NamedExpr: "an assignment",
    ast.Starred: "a starred argument",
    ast.ListComp: "a comprehension",
    ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
}


def parse_expression(
    text: str,
    variables: Iterable[str | sp.Symbol] = ("x",),
    *,
    allow_symbols: bool = False,
) -> sp.Expr:
    """Read a SymPy expression from text that need not be trusted.

    Parameters
    ----------
    text : str
        Such as ``"x*(1 + erf(x/sqrt(2)))/2"`` or ``"0.1"``; at most `MAX_LENGTH` characters.
    variables : iterable of str or Symbol, optional
        The names the expression may use. A string becomes a real symbol; a symbol stands for
        itself, with its own assumptions. An empty iterable admits constants only. A variable hides
        a constant of its name.
    allow_symbols : bool, optional
        Whether any other name becomes a real symbol instead of an error.

    Returns
    -------
    sympy.Expr
        Exact: no floating-point number in it.

    Raises
    ------
    ExpressionError
        If the text is not an expression of this language, or is larger than its limits.

    Examples
    --------
    >>> parse_expression("0.1*x**2 + relu(x)")
    x**2/10 + Max(0, x)
    """
    symbols = _symbols(variables)
    try:
        source = _checked_text(text)
        tree = _checked_tree(source)
        return _Builder(source, symbols, allow_symbols).build(tree)
    except Refusal as refusal:
        why = str(refusal)
    except (ArithmeticError, TypeError, ValueError, RecursionError):
        # SymPy's own objections; what they are about is in the text, which the message shows.
        why = "SymPy gives a part of it no real value"
    raise ExpressionError(f"expression {_shown(text)}", why, _remedy(symbols, allow_symbols))


def _shown(text: object) -> str:
    shown = text if isinstance(text, str) else repr(text)
    return ascii(shown if len(shown) <= 60 else shown[:57] + "...")


def _remedy(symbols: Mapping[str, sp.Symbol], allow_symbols: bool) -> str:
    names = " ".join([*symbols, *CONSTANTS]) + (" or other symbols" if allow_symbols else "")
    return (
        f"use decimal numbers, the operators + - * / **, parentheses, the names {names}, "
        f"and the functions {' '.join(NAMES)}"
    )


def _symbols(variables: Iterable[str | sp.Symbol]) -> dict[str, sp.Symbol]:
    found: dict[str, sp.Symbol] = {}
    several = isinstance(variables, Iterable) and not isinstance(variables, str | sp.Basic)
    for variable in variables if several else (variables,):
        if isinstance(variable, sp.Symbol):
            found[variable.name] = variable
        elif isinstance(variable, str) and _NAME.fullmatch(variable):
            found[variable] = sp.Symbol(variable, real=True)
        else:
            raise ExpressionError(
                f"variable {_shown(variable)}",
                "it is neither a SymPy symbol nor a name of ASCII letters, digits and _",
                "write, for example, variables=('x',)",
            )
    return found


def _checked_text(text: object) -> str:
    if not isinstance(text, str):
        raise Refusal(f"it is of type {type(text).__name__}, not text")
    if len(text) > MAX_LENGTH:
        raise Refusal(f"it has {len(text)} characters, more than {MAX_LENGTH}")
    source = text.strip(" \t\r\n")
    if not source:
        raise Refusal("it is empty")
    # Before Python's parser, which reads look-alike letters as the letters they resemble, and whose
    # own limit on nesting shows in several kinds of errors.
    for character in source:
        if not " " <= character <= "~":
            raise Refusal(f"it contains the character U+{ord(character):04X}")
    nesting = deepest = 0
    for character in source:
        nesting += (character in "([{") - (character in ")]}")
        deepest = max(deepest, nesting)
    if deepest > MAX_NESTING:
        raise Refusal(f"its parentheses are {deepest} deep, more than {MAX_NESTING}")
    return source


def _checked_tree(source: str) -> ast.expr:
    # A doubtful literal such as `1if` only warns in Python; here it is an error like any other.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            tree = ast.parse(source, mode="eval").body
        except (SyntaxError, ValueError, Warning) as error:
            words = error.msg if isinstance(error, SyntaxError) else str(error)
            raise Refusal(f"it is not well formed ({words.split(' (<')[0][:80]})") from None
        except (RecursionError, MemoryError):
            raise Refusal("it is nested too deeply") from None
    parts, depth, level = 0, 0, [tree]
    while level:
        parts, depth = parts + len(level), depth + 1
        if depth > MAX_DEPTH or parts > MAX_PARTS:
            raise Refusal(f"it has more than {MAX_PARTS} parts or {MAX_DEPTH} levels")
        children = (child for node in level for child in ast.iter_child_nodes(node))
        level = [child for child in children if isinstance(child, ast.expr)]
    return tree


class _Builder:
    """The walk over one tree; each result has passed the bounds on constants."""

    def __init__(self, source: str, symbols: Mapping[str, sp.Symbol], allow_symbols: bool) -> None:
        self.source, self.symbols, self.allow_symbols = source, symbols, allow_symbols
        self.sizes: dict[sp.Basic, int] = {}

    def build(self, node: ast.expr) -> sp.Expr:
        """Return the SymPy expression of a node, within all bounds."""
        expression = self._freeze(node)
        check_size(expression, self.sizes)
        return checked(expression)

    def _freeze(self, node: ast.expr) -> sp.Expr:
        """Go through the one door from syntax to SymPy: what is not listed here is refused."""
        match node:
            case ast.Constant():
                return self._number(node)
            case ast.Name():
                return self._name(node.id)
            case ast.UnaryOp() if type(node.op) in _SIGNS:
                return _SIGNS[type(node.op)] * self.build(node.operand)
            case ast.BinOp() if type(node.op) in _OPERATORS:
                return self._operation(node)
            case ast.Call(func=ast.Name(id=name)):
                return self._call(name, node)
            case ast.Call():
                raise Refusal("it calls something that is not a named function")
            case ast.BinOp() | ast.UnaryOp():
                raise Refusal(f"it uses the operator {type(node.op).__name__}")
        raise Refusal(f"it uses {_SYNTAX.get(type(node), type(node).__name__)}")

    def _number(self, node: ast.Constant) -> sp.Expr:
        # The tree holds a binary float; the text holds what was meant.
        segment = self.source[node.col_offset : node.end_col_offset]
        if isinstance(node.value, str | bytes):
            raise Refusal("it uses a string")
        number = _NUMBER.fullmatch(segment)
        if number is None:
            raise Refusal(f"{_shown(segment)} in it is not a decimal number")
        digits = sum(character.isdigit() for character in number[1])
        if digits > MAX_DIGITS or len(number[2] or "") > 4 or abs(int(number[2] or 0)) > MAX_DIGITS:
            raise Refusal(f"a number in it has more than {MAX_DIGITS} digits")
        exact = Fraction(segment)
        return sp.Rational(exact.numerator, exact.denominator)

    def _name(self, name: str) -> sp.Expr:
        if name in self.symbols:
            return self.symbols[name]
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in FUNCTIONS:
            raise Refusal(f"the function {name} stands without an argument")
        if name.lower() in _NO_NUMBERS:
            raise Refusal(f"{name} is not a finite real number")
        if self.allow_symbols and _NAME.fullmatch(name):
            return sp.Symbol(name, real=True)
        raise Refusal(f"it uses the unknown name {name[:40]}")

    def _operation(self, node: ast.BinOp) -> sp.Expr:
        left, right = self.build(node.left), self.build(node.right)
        if isinstance(node.op, ast.Pow):
            check_power(left, right)
        if isinstance(node.op, ast.Div):
            check_quotient(right)
        return _OPERATORS[type(node.op)](left, right)

    def _call(self, name: str, node: ast.Call) -> sp.Expr:
        function = FUNCTIONS.get(name)
        if function is None:
            raise Refusal(f"it calls the unknown function {name[:40]}")
        if node.keywords:
            raise Refusal(f"it gives {name} an argument by keyword")
        count, arity = len(node.args), function.arity
        if not (arity or 1) <= count <= (arity or MAX_ARGUMENTS):
            takes = arity or f"1 to {MAX_ARGUMENTS}"
            raise Refusal(f"it gives {name} {count} arguments, {name} takes {takes}")
        arguments = [self.build(argument) for argument in node.args]
        check_call(name, function, arguments)
        return function.build(*arguments)
