"""Operations of a residual branch: `Linear` and `Activation`, both frozen descriptions.

A linear operation has weights ``W_ij ~ N(0, weight_variance / fan_in)`` and biases
``b_i ~ N(0, bias_variance)``; either variance is a number or a SymPy symbol or expression. Numbers
are kept exact: ``Linear(weight_variance=1.2)`` has the variance 6/5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import sympy as sp
from sympy.core.function import AppliedUndef, FunctionClass

from resexpand.activations import activation_law
from resexpand.activations.activation_law import ActivationLaw, X
from resexpand.conventions import SIGMA_B2, SIGMA_W2, exact
from resexpand.errors import DescriptionError
from resexpand.expressions import parse_expression
from resexpand.expressions.numeric import check_functions


def hyperparameter(value: object, name: str, *, minimum: int | None = None) -> sp.Expr:
    """Return a hyperparameter as an exact SymPy expression, or say why it cannot be one.

    Parameters
    ----------
    value : number or sympy.Expr
        Numbers become exact rationals.
    name : str
        How the error message calls it.
    minimum : int, optional
        Smallest allowed value of a number.

    Raises
    ------
    DescriptionError
        If the value is not a finite real number or symbol, or is below the minimum.
    """
    try:
        expression = exact(value)
    except TypeError as error:
        raise DescriptionError(
            f"{name} = {value!r}", str(error), "give a number or symbol"
        ) from None
    if expression.is_number and not (expression.is_real and expression.is_finite):
        raise DescriptionError(f"{name} = {value}", "it is not a finite real number", "give one")
    if minimum is not None and expression.is_number and expression < minimum:
        raise DescriptionError(
            f"{name} = {value}", f"it must not be below {minimum}", f"give a {name} >= {minimum}"
        )
    return expression


@dataclass(frozen=True, init=False)
class Linear:
    """A dense linear operation with Gaussian weights and biases.

    Parameters
    ----------
    weight_variance : number or sympy.Expr, optional
        Variance of a weight times the fan-in, ``>= 0``. The symbol ``sigma_w2`` by default.
    bias_variance : number or sympy.Expr, optional
        Variance of a bias, ``>= 0``. The symbol ``sigma_b2`` by default.

    Raises
    ------
    DescriptionError
        If a variance is negative or not finite.
    """

    weight_variance: sp.Expr
    bias_variance: sp.Expr

    def __init__(self, weight_variance: object = SIGMA_W2, bias_variance: object = SIGMA_B2):
        for name, value in (("weight_variance", weight_variance), ("bias_variance", bias_variance)):
            object.__setattr__(self, name, hyperparameter(value, name, minimum=0))

    def __repr__(self) -> str:
        return f"Linear(weight_variance={self.weight_variance}, bias_variance={self.bias_variance})"


@dataclass(frozen=True, init=False)
class Activation:
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

    law: ActivationLaw

    def __init__(self, function: object):
        object.__setattr__(self, "law", activation_law(_function(function)))

    @property
    def name(self) -> str:
        """Registered name, or the expression as text."""
        return self.law.name

    @property
    def variable(self) -> sp.Symbol:
        """The symbol in which `expression` is written."""
        symbol: sp.Symbol = next(iter(self.law.expression.free_symbols))
        return symbol

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
    """Return an expression of functions that have values; undefined ones are looked at later."""
    if not expression.has(AppliedUndef):
        check_functions(expression)
    return expression


Operation = Linear | Activation
