r"""Gate: an activation times an independent copy of its input, as in gated linear units.

    y_i = gamma phi(x_i) x'_i,      x = W a + b,   x' = W' a + b',

with ``W', b'`` drawn like ``W, b`` of the `Linear` in front of it: ``W_gate`` and ``W_up`` of
SwiGLU. Given the second moments of its source, x and x' are independent Gaussians of one covariance
C, so that at infinite width

    K'_pq = gamma^2 <phi(x_p) phi(x_q)>_C C_pq,         <y> = 0.

Maps of different variances are one gate with ``gamma^2 = sigma_up^2 / sigma_gate^2``, exactly
without biases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw
from resexpand.errors import UnsupportedError
from resexpand.network.activation import Activation
from resexpand.network.layer_norm import GAIN
from resexpand.network.operation import Map, Parameter, X

COPY = sp.Symbol("u", real=True)


@dataclass(frozen=True)
class IndependentCopy:
    """A random number that no table of outcomes holds: a theory that reads one is refused.

    Attributes
    ----------
    symbol : sympy.Symbol
        Symbol in the expression of the map.
    over, shared
        As for `Noise`.
    """

    symbol: sp.Symbol = COPY
    over: Literal["neurons"] = "neurons"
    shared: bool = False
    vanishes: ClassVar[bool] = False

    @property
    def outcomes(self) -> Any:
        """Raise: it has a density.

        Raises
        ------
        UnsupportedError
            Always.
        """
        raise UnsupportedError(
            "this theory with a Gate()",
            "it is not derived for the product of an activation and a second linear map",
            'ask for kernel(), response(), or sample() of "kernel" and "outputs"',
        )

    def mean(self) -> Any:
        """Raise, as `outcomes` does."""
        return self.outcomes

    def quantile(self, uniform: sp.Expr) -> Any:
        """Raise, as `outcomes` does."""
        return self.outcomes


class Gate(Map):
    """An activation, times an independent copy of its input: a gated linear unit.

    It stands directly behind a `Linear`, whose second draw makes the copy, and in front of another.

    Parameters
    ----------
    function : str, sympy.Expr, sympy.Lambda or SymPy function, optional
        The activation, as for `Activation`: ``"silu"`` (SwiGLU) by default, ``"gelu"`` (GEGLU),
        ``"relu"`` (ReGLU), ``"1/(1 + exp(-x))"`` (GLU), ``"identity"`` (bilinear).
    gain : number or sympy.Expr, optional
        Factor; where the two maps have different weight variances, the root of that of the copy
        over that of the activation. 1 by default.

    Raises
    ------
    DescriptionError
        If the activation is none, or the gain no finite real number or symbol.

    References
    ----------
    Shazeer (2020), equations (5) and (6).

    Examples
    --------
    >>> from resexpand import Branch, Gate, Linear, ResNet, RMSNorm, evaluate, kernel
    >>> mlp = Branch(RMSNorm(), Linear(2, 0), Gate("relu"), Linear(1, 0))
    >>> evaluate(kernel(ResNet(mlp, scale=1, depth=2)), K0=1.0)["K"]
    array([1., 3., 5.])
    """

    kind = "Gate"
    parameters = (Parameter(GAIN, "gain", default=1, neutral=1),)
    sources = ("shazeer2020",)
    noise: ClassVar[tuple[Any, ...]] = (IndependentCopy(),)
    certain: ClassVar[dict[sp.Symbol, sp.Expr]] = {}
    is_identity = False
    is_linear = False
    latex = r"x' \text{ an independent copy of } x"

    def __init__(self, function: object = "silu", gain: Any = 1):
        self.__dict__["activation"] = Activation(function)
        super().__init__(gain)

    activation: Activation

    @property
    def gates(self) -> ActivationLaw:  # type: ignore[override]
        """The law of the activation."""
        return self.activation.law

    @property
    def structure(self) -> str:  # type: ignore[override]
        """The activation as an expression."""
        return self.activation.text

    @classmethod
    def of_structure(cls, structure: str, values: tuple[Any, ...], **named: Any) -> Self:
        """Return the gate of an activation, silu where none is named."""
        return cls(structure or "silu", *values[:1], **named)

    @property
    def expression(self) -> sp.Expr:
        """The product, with a symbol for the copy."""
        return GAIN * self.activation.expression.xreplace({self.activation.variable: X}) * COPY

    def __repr__(self) -> str:
        gain = "" if self.values[0] == 1 else f", gain={self.values[0]}"
        return f'Gate("{self.activation.name}"{gain})'
