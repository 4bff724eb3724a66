"""The activation: a map of every neuron by one function, with its closed Gaussian averages."""

from __future__ import annotations

import sympy as sp

from resexpand.activations import activation_law
from resexpand.activations.activation_law import ActivationLaw
from resexpand.conventions import exact
from resexpand.errors import DescriptionError
from resexpand.network.operation import Map


class Activation(Map):
    """An activation function applied to every neuron.

    Parameters
    ----------
    function : str or sympy.Expr
        A registered name (``identity erf erf_unit relu leaky_relu tanh gelu silu sin sign``) or
        an expression in exactly one symbol. Text typed by a user goes through
        `resexpand.expressions.parse_expression` first.

    Raises
    ------
    DescriptionError
        If the name is not registered.
    ExpressionError
        If the expression does not have exactly one symbol.
    """

    kind = "Activation"
    law: ActivationLaw

    def __init__(self, function: str | sp.Expr):
        if not isinstance(function, str | sp.Expr):
            raise DescriptionError(
                f"activation {function!r}",
                "it is neither a name nor a SymPy expression",
                "give a registered name or an expression in one symbol",
            )
        law = activation_law(exact(function) if isinstance(function, sp.Expr) else function)
        self.__dict__.update(law=law, values=())

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
