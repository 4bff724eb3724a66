"""The target ``numpy``: the text of every function runs on whole arrays, without a compiler.

Generated functions and those of `resexpand.codegen.elementary` compute every case and select one.
So the same text computes on arrays once each choice ``x if condition else y`` is `numpy.where`; the
numbers are those of the compiled code up to the rounding of fused products. Loops over lanes or
nodes of a quadrature, in which the counter stands only as an index, become their bodies on whole
arrays, and what is added up in them becomes a sum. Everything else, such as the search for the
panels of a quadrature, runs as Python, point by point.

This is for places without Numba, such as a page in a browser. It is one to two orders of magnitude
slower than compiled code.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import wraps
from types import CodeType, FunctionType
from typing import Any, cast

import numpy as np

from resexpand.codegen import tiles
from resexpand.codegen.elementary import bits, exponential, inverse, logarithm, trigonometric
from resexpand.codegen.quadrature import RULES
from resexpand.codegen.target import Function, Target

OPERATORS: dict[type[ast.AST], str] = {
    ast.And: "logical_and",
    ast.Or: "logical_or",
    ast.Not: "logical_not",
}
BUILTINS = {"min": "minimum", "max": "maximum"}
ARRAYS = "_np"
"""Name of NumPy in the functions."""


def _of_numpy(name: str, arguments: list[ast.expr]) -> ast.Call:
    function = ast.Attribute(ast.Name(ARRAYS, ast.Load()), name, ast.Load())
    return ast.Call(function, arguments, [])


class _Choices(ast.NodeTransformer):
    """Turn what asks for the truth of one number into what holds for arrays."""

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        return _of_numpy("where", [node.test, node.body, node.orelse])

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        value = node.values[0]
        for other in node.values[1:]:
            value = _of_numpy(OPERATORS[type(node.op)], [value, other])
        return value

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        name = OPERATORS.get(type(node.op))
        return _of_numpy(name, [node.operand]) if name else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        # The names of NumPy are those of math.
        if isinstance(node.value, ast.Name) and node.value.id == "math":
            node.value.id = ARRAYS
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        return _of_numpy(BUILTINS[name], node.args) if name in BUILTINS else node


class _Loops(ast.NodeTransformer):
    """Turn loops whose counter is an index, and nothing else, into their bodies on arrays."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope

    def visit_For(self, node: ast.For) -> Any:
        self.generic_visit(node)
        counter = cast(ast.Name, node.target).id
        whole = _WithoutIndex(counter)
        body = [whole.visit(ast.parse(ast.unparse(line)).body[0]) for line in node.body]
        inner = [part for line in body for part in ast.walk(line)]
        left = any(isinstance(part, ast.Name) and part.id == counter for part in inner)
        called = [
            p.func.id for p in inner if isinstance(p, ast.Call) and isinstance(p.func, ast.Name)
        ]
        on_arrays = all(_takes_arrays(self.scope.get(name)) for name in called)
        if left or not whole.dropped or not on_arrays:
            return node
        for line in body:
            if isinstance(line, ast.AugAssign):
                line.value = _of_numpy("sum", [line.value])
        return body


class _WithoutIndex(ast.NodeTransformer):
    """Drop the last index of a subscript where it is the counter."""

    def __init__(self, counter: str) -> None:
        self.counter = counter
        self.dropped = 0

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        places = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
        if not (isinstance(places[-1], ast.Name) and places[-1].id == self.counter):
            return node
        self.dropped += 1
        rest = places[:-1]
        whole = (
            ast.Slice() if not rest else rest[0] if len(rest) == 1 else ast.Tuple(rest, ast.Load())
        )
        return ast.Subscript(node.value, whole, node.ctx)


def _rewritten(function: Function, rewriter: ast.NodeTransformer) -> Any:
    """Return a function whose text went through a rewriter, with the same global names."""
    plain = cast(Any, function)
    tree = ast.parse(textwrap.dedent(inspect.getsource(plain)))
    head = cast(ast.FunctionDef, tree.body[0])
    head.decorator_list, head.returns = [], None
    for argument in head.args.args:
        argument.annotation = None
    scope = plain.__globals__
    scope[ARRAYS] = np
    tree = ast.increment_lineno(rewriter.visit(tree), plain.__code__.co_firstlineno - 1)
    module = compile(ast.fix_missing_locations(tree), plain.__code__.co_filename, "exec")
    (code,) = (part for part in module.co_consts if isinstance(part, CodeType))
    rewritten: Any = FunctionType(code, scope, plain.__name__, plain.__defaults__)
    rewritten.py_func = function
    return rewritten


def _takes_arrays(function: Any) -> bool:
    return isinstance(function, np.ufunc) or hasattr(function, "on_arrays")


def _is_branch_free(function: Function) -> bool:
    body = cast(
        ast.FunctionDef, ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    ).body
    return not any(isinstance(line, ast.If | ast.While | ast.For) for line in body)


class OnArrays(Target):
    """Functions of arrays, and loops in Python around them."""

    def scalar(self, function: Function) -> Any:
        """Let a function of numbers take arrays; a search among numbers stays as it is."""
        if not _is_branch_free(function):
            return function
        rewritten = _rewritten(function, _Choices())
        rewritten.on_arrays = True
        return rewritten

    chunk = scalar

    def reduction(self, function: Function) -> Any:
        """Let a sum over nodes be one of arrays."""
        return _rewritten(function, _Loops(cast(Any, function).__globals__))

    def average(self, function: Function) -> Any:
        """Compute the quadrature of an average for each point of an array."""
        of_point = self.reduction(function)

        @wraps(function)
        def of_points(*arguments: Any) -> Any:
            numbers, rules = arguments[: -len(RULES)], arguments[-len(RULES) :]
            points = np.broadcast_arrays(*numbers)
            values = [
                of_point(*point, *rules) for point in zip(*map(np.ravel, points), strict=True)
            ]
            return np.reshape(values, points[0].shape)

        return of_points

    def driver(self, function: Function) -> Any:
        """Return a loop over tiles and layers; what leaves the numbers is told by its results."""
        return np.errstate(all="ignore")(self.reduction(function))

    def tile(self, name: str) -> Any:
        """Return a loop of a tile."""
        loop = vars(tiles)[name]
        return getattr(loop, "py_func", loop)


def _as_int(x: Any) -> Any:
    return np.asarray(x, np.float64).view(np.int64)


def _as_float(word: Any) -> Any:
    return np.asarray(word, np.int64).view(np.float64)


OF_NUMPY = {
    exponential: ("exp", "expm1", "sinh", "cosh", "tanh"),
    logarithm: ("log", "log1p"),
    trigonometric: ("sin", "cos", "tan"),
    inverse: ("asin", "acos", "atan"),
}
"""Functions that NumPy has by the same name, which are faster than the text of ours on arrays."""

numpy = OnArrays(
    "numpy",
    {
        bits.as_int: _as_int,
        bits.as_float: _as_float,
        bits.sqrt: np.sqrt,
        **{
            getattr(module, name): getattr(np, name)
            for module, names in OF_NUMPY.items()
            for name in names
        },
    },
)
