"""Names for the hyperparameters of a network inside its formulas.

Formulas are derived with symbols throughout, so that one compiled routine serves every value. A
hyperparameter the user left symbolic keeps the user's symbol; a number (or an expression) gets a
canonical symbol bound to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import sympy as sp

from resexpand.conventions import RHO
from resexpand.network.ops import Linear
from resexpand.network.resnet import ResNet


@dataclass
class Hyperparameters:
    """Allocates symbols while a recursion is derived, and remembers what they stand for."""

    net: ResNet
    bindings: dict[sp.Symbol, sp.Expr] = field(default_factory=dict)
    layer_bindings: dict[sp.Symbol, tuple[sp.Expr, ...]] = field(default_factory=dict)

    def variances(self, linear: Linear, suffix: str = "") -> tuple[sp.Symbol, sp.Symbol]:
        """Return the symbols of the weight and bias variance of a linear operation."""
        weight = self._bind(linear.weight_variance, f"sigma_w2{suffix}", positive=True)
        bias = self._bind(linear.bias_variance, f"sigma_b2{suffix}", nonnegative=True)
        return weight, bias

    def scale(self) -> sp.Symbol:
        """Return the symbol of the residual scale, bound to one value or to one per block."""
        if isinstance(self.net.scale, tuple):
            self.layer_bindings[RHO] = self.net.scale
            return RHO
        return self._bind(self.net.scale, RHO.name, real=True)

    def input_kernel(self, symbols: tuple[sp.Symbol, ...]) -> tuple[sp.Symbol, ...]:
        """Register the kernel at layer 0, which is always free."""
        for symbol in symbols:
            self.bindings[symbol] = symbol
        return symbols

    def _bind(self, value: sp.Expr, name: str, **assumptions: bool) -> sp.Symbol:
        if isinstance(value, sp.Symbol):
            self.bindings[value] = value
            return value
        taken = {s.name for s in self.net.free_symbols} | {s.name for s in self.bindings}
        symbol = sp.Symbol(name if name not in taken else f"{name}_", **assumptions)
        self.bindings[symbol] = value
        return symbol
