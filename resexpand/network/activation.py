"""The activation: a map of every neuron by one function, with its closed Gaussian averages."""

from __future__ import annotations

import re

import sympy as sp
from sympy.core.function import AppliedUndef, FunctionClass

from resexpand.activations import activation_law
from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.conventions import exact
from resexpand.errors import DescriptionError
from resexpand.expressions import parse_expression
from resexpand.expressions.numeric import check_functions
from resexpand.network.operation import Map


class Activation(Map):
    """An activation function applied to every neuron.

    Parameters
    ----------
    function : str, sympy.Expr, sympy.Lambda or SymPy function
        A registered name (``identity erf erf_unit relu leaky_relu tanh gelu silu sin sign``), the
        text of an expression in ``x`` (`resexpand.expressions.parse_expression` reads it), or an
        expression in exactly one symbol.

    Raises
    ------
    DescriptionError
        If the name is not registered, or the object is no scalar function of one argument.
    ExpressionError
        If the expression does not have exactly one symbol, or its text cannot be read.
    """

    kind = "Activation"
    law: ActivationLaw

    def __init__(self, function: object):
        self.__dict__.update(law=activation_law(_function(function)), values=())

    @property
    def name(self) -> str:
        """Registered name, or the expression as text."""
        return self.law.name

    @property
    def text(self) -> str:
        """The expression: stores do not depend on names of activations."""
        return str(self.expression)

    @property
    def expression(self) -> sp.Expr:
        """The function as an expression in `variable`."""
        return self.law.expression

    @property
    def kinks(self) -> tuple[sp.Expr, ...]:
        """Points where the function is continuous but not smooth."""
        return self.law.kinks

    @property
    def jumps(self) -> tuple[sp.Expr, ...]:
        """Points where the function is discontinuous."""
        return self.law.jumps

    def derivative(self, order: int) -> sp.Expr:
        """Return the derivative of the given order, where it exists."""
        return self.law.derivative(order)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Activation) and self.law == other.law

    def __hash__(self) -> int:
        return hash(self.law)

    def __repr__(self) -> str:
        return f'Activation("{self.name}")'


def _function(function: object) -> str | sp.Expr:
    """Return the registered name or the expression that is meant."""
    if isinstance(function, str):
        is_name = re.fullmatch(r"[A-Za-z_]\w*", function) and function != X.name
        return function if is_name else parse_expression(function)
    try:
        if isinstance(function, sp.Lambda | FunctionClass):
            function = function(X)
        if isinstance(function, sp.Basic | sp.MatrixBase):
            return _with_values(exact(function))
        why = "it is neither a name nor a SymPy expression"
    except TypeError as error:
        why = str(error)
    raise DescriptionError(
        f"activation {function!r}", why, "give a registered name or an expression in one symbol"
    )


def _with_values(expression: sp.Expr) -> sp.Expr:
    """Return an expression whose functions have values; undefined ones are checked later."""
    if not expression.has(AppliedUndef):
        check_functions(expression)
    return expression
