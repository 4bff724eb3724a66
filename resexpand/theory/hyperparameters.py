"""Names for the hyperparameters of a network inside its formulas.

Formulas are derived with symbols throughout, so that one compiled routine serves every value. A
hyperparameter the user left symbolic keeps the user's symbol; a number (or an expression) gets a
canonical symbol bound to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import sympy as sp

from resexpand.conventions import RHO
from resexpand.errors import HyperparameterError
from resexpand.network.linear import Linear
from resexpand.network.operation import Operation, Value
from resexpand.network.positions import require_no_coupling
from resexpand.network.requirements import require_independent_layers
from resexpand.network.resnet import ResNet
from resexpand.network.steps import Step

RESERVED = re.compile(
    r"((d?K0?|C\d*|Theta)(_\d\d)?|K_(var|cross|test)|m(_\d)?|chi_.*|d?ln_chi.*|dK_drho|rho_eff"
    r"|B|(V|J|mu|kappa|tau)_B.*"
    r"|([Kc]|C\d*)_(ll|lm|mm)"
    r"|(panel_)?(nodes|weights)"
    r"|(kappa|chaos|paths|cross|shift|part|gate|moment\d*|slope\d*|square\d*|mean\d*)_\d.*)\Z"
)
"""Names of the quantities that formulas and routines are about."""


@dataclass
class Hyperparameters:
    """Allocates symbols while a recursion is derived, and remembers what they stand for."""

    net: ResNet
    bindings: dict[sp.Symbol, sp.Expr] = field(default_factory=dict)
    layer_bindings: dict[sp.Symbol, tuple[sp.Expr, ...]] = field(default_factory=dict)
    coupled: bool = False

    def __post_init__(self) -> None:
        """Refuse names that the formulas need, correlated layers, and unknown couplings.

        `coupled` is set where positions that couple are treated.
        """
        require_independent_layers(self.net, "this theory")
        if not self.coupled:
            require_no_coupling(self.net)
        for symbol in sorted(self.net.free_symbols, key=sp.default_sort_key):
            if RESERVED.match(symbol.name):
                raise HyperparameterError(
                    f"a hyperparameter called {symbol.name}",
                    "the formulas use this name for a quantity of their own",
                    f"rename it, for instance {symbol.name}_value",
                )

    def variances(self, linear: Linear, suffix: str = "") -> tuple[sp.Symbol, sp.Symbol]:
        """Return the symbols of the weight and bias variance of a linear operation."""
        weight, bias, *_ = self._parameters(linear, suffix)
        return weight, bias

    def of_step(self, step: Step) -> dict[sp.Symbol, sp.Expr]:
        """Return the symbols of the parameters of a step, by those of its expression.

        A parameter at its neutral value is that number.
        """
        bound = self._parameters(step.op, step.suffix)
        own = (parameter.symbol for parameter in step.op.parameters)
        return dict(zip(own, bound, strict=True))

    def _parameters(self, op: Operation, suffix: str) -> tuple[sp.Expr, ...]:
        return tuple(
            value
            if p.neutral is not None and value == p.neutral
            else self._bind(value, f"{p.symbol.name}{suffix}", **p.symbol.assumptions0)
            for p, value in zip(op.parameters, op.values, strict=True)
        )

    def scale(self) -> sp.Symbol:
        """Return the symbol of the residual scale, bound to one value or to one per block."""
        if isinstance(self.net.scale, tuple):
            return self.per_block(self.net.scale, RHO.name, real=True)
        return self._bind(self.net.scale, RHO.name, real=True)

    def skip(self) -> sp.Expr:
        """Return the symbol of the factor of the stream; one where it has none."""
        skip = self.net.skip
        return skip if skip == 1 else self._bind(skip, "alpha", real=True)

    def input_kernel(self, symbols: tuple[sp.Symbol, ...]) -> tuple[sp.Symbol, ...]:
        """Register the kernel at layer 0, which is always free."""
        for symbol in symbols:
            self.bindings[symbol] = symbol
        return symbols

    def per_block(self, values: tuple[sp.Expr, ...], name: str, **assumptions: bool) -> sp.Symbol:
        """Return the symbol of a quantity with one value per block."""
        known = (s for s, own in self.layer_bindings.items() if s.name == name and own == values)
        symbol = next(known, None) or self._fresh(name, **assumptions)
        self.layer_bindings[symbol] = values
        return symbol

    def _bind(self, value: Value, name: str, **assumptions: bool) -> sp.Symbol:
        if isinstance(value, tuple):
            return self.per_block(value, name, **assumptions)
        if isinstance(value, sp.Symbol):
            self.bindings[value] = value
            return value
        # The read-out is met twice, by the kernel and by the response: it keeps its symbol.
        known = (s for s, bound in self.bindings.items() if s.name == name and bound == value)
        symbol = next(known, None) or self._fresh(name, **assumptions)
        self.bindings[symbol] = value
        return symbol

    def _fresh(self, name: str, **assumptions: bool) -> sp.Symbol:
        bound = (*self.bindings, *self.layer_bindings)
        taken = {s.name for s in self.net.free_symbols} | {s.name for s in bound}
        return sp.Symbol(name if name not in taken else f"{name}_", **assumptions)
