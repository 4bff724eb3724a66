"""Numbers of closed averages, through the forms and functions that generated code uses."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw
from resexpand.activations.collection import normal_form
from resexpand.codegen.functions import HEADS
from resexpand.codegen.sound import sound
from resexpand.conventions import PAIR, K

OWN = {
    head.__name__: entry.implementation
    for head, entry in HEADS.items()
    if head.__module__.partition(".")[0] != "sympy"
}
PLAIN = {"erf": math.erf, "erfc": math.erfc}


def number(expression: sp.Expr, symbols: Sequence[sp.Symbol]) -> Callable[..., float]:
    """Return an expression as a plain Python function of its symbols."""
    complete = sound(expression).replace(
        lambda node: isinstance(node, sp.Piecewise),
        lambda node: sp.Piecewise(*node.args, (sp.nan, True)),
    )
    return sp.lambdify(symbols, complete, modules=[{**OWN, **PLAIN}, "math"])


def pair(law: ActivationLaw) -> Callable[..., float]:
    """Return ``<phi(x_1) phi(x_2)>`` as a function of the entries 11, 12 and 22."""
    return number(law.pair(*PAIR), PAIR)


def pair_slope(law: ActivationLaw, entry: int) -> Callable[..., float]:
    """Return its derivative with respect to one of the entries."""
    return number(normal_form(law.pair(*PAIR).diff(PAIR[entry])), PAIR)


def variance(law: ActivationLaw) -> Callable[[float], float]:
    """Return ``<phi(x)^2>``."""
    return number(law.variance(K), (K,))


def mean(law: ActivationLaw) -> Callable[[float], float]:
    """Return ``<phi(x)>``."""
    return number(law.mean(K), (K,))
