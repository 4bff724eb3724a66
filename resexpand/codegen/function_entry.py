"""`FunctionEntry`: a function of generated code, where it is valid, how exact it is."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import sympy as sp
from mpmath import mp


@dataclass(frozen=True)
class Span:
    """An interval to sample: uniformly, or by magnitude (with both signs where `signed`)."""

    low: float
    high: float
    magnitudes: bool = False
    signed: bool = False

    def draw(self, generator: random.Random) -> float:
        """Return one number of the interval."""
        if not self.magnitudes:
            return generator.uniform(self.low, self.high)
        size = math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
        return -size if self.signed and generator.random() < 0.5 else size


@dataclass(frozen=True)
class FunctionEntry:
    """One function of generated code.

    Attributes
    ----------
    head : type
        The SymPy class it stands for; `sympy.Pow` for the roots and powers.
    name : str
        Name of the function in `resexpand.codegen.elementary`; generated code calls ``fn_<name>``.
    module : str
        The file of that package it lives in.
    domain : str
        Where it is defined, and what it gives elsewhere.
    reference : callable
        The same function in mpmath.
    max_ulp : float
        Largest error measured over `sampled`, rounded up.
    sampled : tuple of tuple of Span
        The boxes that the measurement draws from, one `Span` per argument.
    """

    head: type[sp.Basic]
    name: str
    module: str
    domain: str
    reference: Callable[..., Any]
    max_ulp: float
    sampled: tuple[tuple[Span, ...], ...]

    @property
    def arity(self) -> int:
        """Number of arguments."""
        return len(self.sampled[0])

    @property
    def implementation(self) -> Callable[..., float]:
        """The plain Python function."""
        home = import_module(f"resexpand.codegen.elementary.{self.module}")
        function: Callable[..., float] = getattr(home, self.name)
        return function


def entry(
    module: str,
    name: str,
    domain: str,
    max_ulp: float,
    *sampled: tuple[Span, ...],
    head: type[sp.Basic] | None = None,
    reference: Callable[..., Any] | None = None,
) -> FunctionEntry:
    """Return an entry, by default of the function that SymPy and mpmath have by this name."""
    own, exact = head or getattr(sp, name), reference or getattr(mp, name)
    return FunctionEntry(own, name, module, domain, exact, max_ulp, sampled)
