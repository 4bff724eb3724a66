"""Expressions from text: a small language of our own, read without executing anything.

The text is parsed to Python's syntax tree and the tree is walked; a node is either one of those
below or refused. Nothing is evaluated by Python, no attribute or item can be reached, and no name
other than the listed ones has a meaning.

    expression = number | name | -expression | expression (+ - * / **) expression | function(...)

Numbers are exact: ``0.1`` is 1/10 and ``1e-3`` is 1/1000. Since an expression may come from a
stranger, its cost is bounded before SymPy sees it: length, nesting, parts and digits have limits
(`reader`), and every constant part must be a real number between 1e-100 and 1e100 in magnitude
(`bounds`), so that ``9**9**9`` or ``exp(exp(exp(100)))`` never reach an arithmetic that would
try to compute them.
"""

from resexpand.expressions.functions import CONSTANTS, FUNCTIONS, Function
from resexpand.expressions.reader import parse_expression

__all__ = ["CONSTANTS", "FUNCTIONS", "Function", "parse_expression"]
