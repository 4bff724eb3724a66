r"""Averages over a pair as series in its correlation, with coefficients per input.

For ``x = s_1 z_1``, ``y = s_2 z_2`` and standard normals of correlation ``c``, Mehler's formula is

    < f(x) g(y) > = sum_n a_n b_n c^n,    a_n = < f(s_1 z) he_n(z) >,    b_n = < g(s_2 z) he_n(z) >,

``he_n`` the normalised Hermite polynomials: one-dimensional averages per input, and a sum per pair.
By the inequality of Cauchy and Schwarz what lies beyond ``N`` terms is at most

    |c|^N sqrt(A_N B_N),    A_N = < f^2 > - sum_{n<N} a_n^2,

which is known as soon as the coefficients are. A pair whose bound stays above `TOLERANCE` (inputs
nearly parallel under kinks) is left to quadrature. A run with ``shift = 1`` adds the bound to every
average: its distance from the run with ``shift = 0`` states the error behind all layers.

Coefficients are taken at nodes at fixed distances, the same for all inputs, as long as these give
``<f^2>``. Where it is steep or narrow beside the inputs, panels that resolve it are taken, by two
rules whose distance ``d = sqrt(sum_n (a_n - a'_n)^2)`` adds ``d_1 sqrt(<g^2>) + d_2 sqrt(<f^2>)``
to the bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from resexpand.activations.singularities import branch_points
from resexpand.codegen.products import block_product
from resexpand.codegen.resolution import resolution
from resexpand.codegen.rewrite import Quadrature
from resexpand.codegen.source import scalar_function
from resexpand.gaussian.hermite import hermite_functions, root_density
from resexpand.gaussian.quadrature import Resolution

Array = NDArray[np.float64]

STEP = 32
"""Terms between two places at which a sum may end."""

TERMS_TRIED = (64, 128, 256)
"""Terms that are tried in turn, for all inputs of a layer."""

TERMS = TERMS_TRIED[-1]

TOLERANCE = 1e-10
"""Bound of a tail, relative to ``sqrt(<f^2> <g^2>)``, above which quadrature takes over."""

ENOUGH = 2.0**-47
"""Bound of a tail, likewise, at which a sum ends: a few roundings."""

ROUGH, FIRST = 1e-13, 5
"""Relative distance of two values above which nodes at fixed distances miss a function, and the
coefficients that are looked at."""

REACH = 14.0
"""Half-width in ``z``: with the square root of the density, functions fall below 1e-21 there."""

SHORT = np.arange(-REACH, REACH + 1)
"""Edges of panels that resolve Hermite functions up to degree `TERMS`."""

SCALES = 2.0 ** np.arange(-40, 41, 0.25)
"""Standard deviations at which a rule is tried."""

DIGITS, NEGLIGIBLE = 40, 1e-20
CHECKED = tuple((sp.Rational(x), sp.Rational(y)) for x, y in (("7/10", "-13/10"), ("-1/3", "2/7")))
"""Precision, and points, at which it is checked that an integrand is a product."""

NODES = {"fine": 561, "coarse": 412}
PANELS = {"fine": 18, "coarse": 13}
PANEL_NODES = {"fine": 16, "coarse": 12}
GAUSS = np.polynomial.legendre.leggauss(16)


Key = tuple[str, sp.Symbol, sp.Symbol]


@dataclass(frozen=True)
class Series:
    """A pair average that is a series.

    Attributes
    ----------
    name : str
        Of the generated function.
    key : tuple
        Name of the quadrature, and the symbols of the variances of the two inputs.
    quadrature : Quadrature
        The average; its function serves where the series converges slowly.
    functions : tuple of sympy.Expr
        ``f`` and ``g``, in the first variable of the quadrature; one if they are equal.
    breaks : tuple of float
        Points at which they are not smooth.
    """

    name: str
    key: Key
    quadrature: Quadrature
    functions: tuple[sp.Expr, ...]
    breaks: tuple[float, ...]

    @property
    def edges(self) -> Array:
        """Edges of panels that resolve the functions."""
        return resolution([self.quadrature]).edges

    @property
    def tables(self) -> tuple[tuple[sp.Symbol, ...], tuple[str, ...]]:
        """Symbols of the rows of both inputs, and names of the arrays they are taken from."""
        names = (f"{self.name}_left", f"{self.name}_right")
        return tuple(sp.Symbol(name) for name in names), tuple(f"{name}s" for name in names)


def series_of(quadratures: Sequence[Quadrature], calls: Iterable[sp.Expr]) -> list[Series]:
    """Return the series of those calls of quadratures whose integrand is a product ``f(x) g(y)``.

    Parameters
    ----------
    quadratures : sequence of Quadrature
        Averages that the routine calls.
    calls : iterable of sympy.Expr
        Calls with the variances of two inputs as first and third argument.
    """
    by_name = {q.name: q for q in quadratures if len(q.variables) == 2 and not q.parameters}
    listed: dict[Key, Series] = {}
    for call in sorted(calls, key=sp.default_sort_key):
        quadrature = by_name.get(call.func.__name__)
        functions = None if quadrature is None else _separated(quadrature)
        if quadrature is None or functions is None or key_of(call) in listed:
            continue
        x = quadrature.variables[0]
        breaks = {float(p) for f in functions for p in branch_points(f, x)}
        listed[key_of(call)] = Series(
            f"series_{len(listed)}", key_of(call), quadrature, functions, tuple(sorted(breaks))
        )
    return list(listed.values())


def key_of(call: sp.Expr) -> Key:
    """Return what decides on the coefficients of a call: its function and the two variances."""
    return call.func.__name__, call.args[0], call.args[2]


def _separated(quadrature: Quadrature) -> tuple[sp.Expr, ...] | None:
    """Return ``f`` and ``g`` in the first variable, one if they are equal; None without any."""
    first, second = quadrature.variables
    factors = {first: sp.Integer(1), second: sp.Integer(1)}
    for factor in _factors(quadrature.integrand):
        free = factor.free_symbols
        if not free <= factors.keys():
            return None
        if len(free) > 1:
            return _at_a_point(quadrature.integrand, first, second)
        factors[min(free, default=first, key=str)] *= factor
    return tuple(dict.fromkeys((factors[first], factors[second].xreplace({second: first}))))


def _at_a_point(
    integrand: sp.Expr, first: sp.Symbol, second: sp.Symbol
) -> tuple[sp.Expr, ...] | None:
    """Separate a product that was multiplied out: ``F(x, y) F(c, c) = F(x, c) F(c, y)``."""

    def at(x: sp.Expr, y: sp.Expr) -> sp.Expr:
        return integrand.xreplace({first: x, second: y})

    for point in map(sp.Rational, ("0", "1", "-1/2", "2", "-3/2")):
        size = at(point, point)
        if not (size.is_finite and abs(size.evalf(DIGITS)) > NEGLIGIBLE):
            continue
        for x, y in CHECKED:
            apart = at(x, y) * size - at(x, point) * at(point, y)
            if not abs(apart.evalf(DIGITS)) < NEGLIGIBLE:
                return None
        root = sp.sqrt(abs(size))
        one, other = at(first, point) / root, at(point, first) * sp.sign(size) / root
        return (one,) if (one - other).expand() == 0 else (one, other)
    return None


def _factors(integrand: sp.Expr) -> list[sp.Expr]:
    """Return the factors of a product; SymPy writes ``exp(x) exp(y)`` as one."""
    factors = []
    for factor in sp.Mul.make_args(integrand):
        parts = sp.Add.make_args(factor.exp) if isinstance(factor, sp.exp) else ()
        factors += [sp.exp(part) for part in parts] or [factor]
    return factors


def series_texts(series: Series) -> list[str]:
    """Return the generated functions of a series: its features, and the sum."""
    texts = []
    for k, function in enumerate(series.functions):
        name = f"{series.name}_feature{k}"
        texts.append(scalar_function(name, series.quadrature.variables[:1], [function]))
        texts.append(
            f"@driver\ndef {name}s(first, last, scales, nodes, out):\n"
            "    for p in range(first, last):\n"
            "        row = nodes[p if nodes.shape[0] > 1 else 0]\n"
            "        for i in range(row.size):\n"
            f"            out[p, i] = {name}(scales[p] * row[i])\n"
        )
    return texts


def sum_text(series: Series, rules: str) -> str:
    """Return the function that adds the terms of one pair, or calls the quadrature."""
    lanes = range(8)
    steps = [f"r{k} = r{k} * power + left[n + {k}] * right[n + {k}]" for k in lanes]
    whole = "r7"
    for k in reversed(range(7)):
        whole = f"({whole}) * c + r{k}"
    return f"""@chunk
def {series.name}(k0, k1, k2, left, rights, column, shift{rules}):
    right = rights[column]
    terms = left.size - {TERMS // STEP + 2}
    size = left[terms] * right[terms]
    scale = fn_sqrt(k0) * fn_sqrt(k2)
    c = min(max(k1 / scale, -1.0), 1.0) if scale > 0.0 else 0.0
    square = c * c
    power = square * square * square * square
    fall = power * power * power * power
    rest, bound, count = size, 1.0, 0
    last = left.size - 1
    apart = left[last] * right[terms] + left[terms] * right[last]
    aim = abs(left[0] * right[0]) + abs(c * left[1] * right[1])
    while count < terms and rest > {ENOUGH} * aim:
        count += {STEP}
        bound *= fall
        place = terms + count // {STEP}
        rest = bound * left[place] * right[place]
    rest += apart
    if not rest <= {TOLERANCE} * size:
        return {series.quadrature.name}(k0, k1, k2{rules})
    r0 = r1 = r2 = r3 = r4 = r5 = r6 = r7 = 0.0
    n = count - 8
    while n >= 0:
{chr(10).join("        " + step for step in steps)}
        n -= 8
    return {whole} + shift * rest
"""


def table(features: Callable[..., None], series: Series, scales: Array, rule: Resolution) -> Array:
    """Return what the sum of a pair reads of an input.

    Parameters
    ----------
    features : callable
        Compiled loop that fills an array with values of the function.
    series : Series
        Which one: its points of no derivative, and its panels.
    scales : ndarray, shape (n,)
        Standard deviations.
    rule : {"fine", "coarse"}
        Which of the two rules.

    Returns
    -------
    ndarray, shape (n, terms + TERMS / STEP + 2)
        The coefficients, the root of ``<f^2>``, the roots of the tails, and the distance of the two
        rules. The number of terms is the first of `TERMS_TRIED` that suffices for all inputs.
    """
    if scales.max(initial=0.0) <= _largest_scale(features, series):
        chosen = compared = _Rule(features, series, scales, rule)
    else:
        # Both runs know how far the rules lie apart: they leave the same pairs to quadrature.
        names: tuple[Resolution, ...] = ("fine", "coarse") if rule == "fine" else ("coarse", "fine")
        chosen, compared = (_Rule(features, series, scales, name, False) for name in names)
    squares = chosen.squares()
    for terms in TERMS_TRIED:
        own = chosen.coefficients(terms)
        other = own if compared is chosen else compared.coefficients(terms)
        apart = np.sqrt(np.einsum("pn,pn->p", own - other, own - other))
        ends = np.cumsum(own**2, axis=1)[:, STEP - 1 :: STEP]
        floor = 4 * np.finfo(float).eps * squares[:, None]
        tails = np.sqrt(np.maximum(squares[:, None] - ends, floor))
        if (tails[:, -1] ** 2 <= ENOUGH * squares).all():
            break
    more = np.repeat(tails[:, -1:], TERMS // STEP - tails.shape[1], axis=1)
    return np.concatenate([own, np.sqrt(squares)[:, None], tails, more, apart[:, None]], axis=1)


class _Rule:
    """Values of a function at the nodes of a rule, for every standard deviation."""

    def __init__(
        self,
        features: Callable[..., None],
        series: Series,
        scales: Array,
        rule: Resolution,
        fixed: bool = True,
    ) -> None:
        if fixed:
            self._nodes, self._weights = _nodes(series.breaks, scales, rule)
        else:  # on panels that resolve the function
            self._nodes, self._weights = _on_panels(series.edges, scales, rule)
        self._values = np.empty((scales.size, self._nodes.shape[1]))
        features(0, scales.size, scales, self._nodes, self._values)
        self._weighted = self._values * self._weights
        shared = fixed and len(self._nodes) == 1
        self._shared = (rule, bool(series.breaks)) if shared else None

    def coefficients(self, terms: int) -> Array:
        """Return the first coefficients, shape (n, terms)."""
        if self._shared is not None:
            return block_product(self._weighted, _shared_functions(*self._shared, terms).T)
        coefficients = np.empty((len(self._weighted), terms))
        for n, hermite in enumerate(hermite_functions(self._nodes, terms)):
            coefficients[:, n] = np.einsum("pi,pi->p", self._weighted, hermite)
        return coefficients

    def squares(self) -> Array:
        """Return ``< f^2 >``."""
        # The weights hold one square root of the density.
        values = self._values * root_density(self._nodes)
        return np.asarray(np.einsum("pi,pi->p", self._weighted, values))


@lru_cache(maxsize=256)
def _largest_scale(features: Callable[..., None], series: Series) -> float:
    """Return the deviation up to which nodes at fixed distances give ``<f^2>`` and ``<f he_n>``.

    The larger the deviation, the narrower are the features of a function beside it.
    """
    with np.errstate(all="ignore"):
        fixed = _Rule(features, series, SCALES, "coarse")
        right = _Rule(features, series, SCALES, "fine", False)
        squares = right.squares()
        good = np.abs(fixed.squares() - squares) <= ROUGH * squares
        # The square of a function can be smooth where it is not.
        apart = np.abs(fixed.coefficients(FIRST) - right.coefficients(FIRST)).max(axis=1)
        good &= apart <= ROUGH * np.sqrt(squares)
    bad = np.nonzero(~good)[0]
    return float(SCALES[bad[0] - 1] if bad.size and bad[0] else SCALES[-1] if not bad.size else 0.0)


def _on_panels(edges: Array, scales: Array, rule: Resolution) -> tuple[Array, Array]:
    """Return nodes and weights as `_nodes` does, on panels of every input."""
    points, weights = np.polynomial.legendre.leggauss(PANEL_NODES[rule])
    spread = np.maximum(scales, np.finfo(float).tiny)[:, None]
    seen = edges[np.abs(edges) < REACH * spread.max(initial=0.0)]
    with np.errstate(over="ignore"):
        own = np.clip(seen / spread, -REACH, REACH)
    bounds = np.sort(np.concatenate([own, np.tile(SHORT, (len(own), 1))], axis=1), axis=1)
    lengths = np.diff(bounds, axis=1)[:, :, None]
    nodes = bounds[:, :-1, None] + lengths * ((points + 1) / 2)
    flat = nodes.reshape(len(bounds), -1)
    return flat, (lengths * (weights / 2)).reshape(flat.shape) * root_density(flat)


def _nodes(breaks: tuple[float, ...], scales: Array, rule: Resolution) -> tuple[Array, Array]:
    """Return nodes, and weights that hold the square root of the density."""
    if not breaks:
        count = NODES[rule]
        nodes = np.linspace(-REACH, REACH, count)[None, :]
        return nodes, (2 * REACH / (count - 1)) * root_density(nodes)
    moving = any(breaks)
    spread = scales[:, None] if moving else np.ones((1, 1))
    with np.errstate(divide="ignore"):
        inside = np.clip(np.array(breaks) / spread, -REACH, REACH)
    ends = np.full((len(inside), 1), REACH)
    edges = np.concatenate([-ends, np.nan_to_num(inside), ends], axis=1)
    points, own = GAUSS
    count = PANELS[rule]
    at = ((np.arange(count)[:, None] + (points + 1) / 2) / count).ravel()
    lengths = np.diff(edges, axis=1)[:, :, None]
    nodes = (edges[:, :-1, None] + lengths * at).reshape(len(edges), -1)
    weights = (lengths * np.tile(own / (2 * count), count)).reshape(len(edges), -1)
    return nodes, weights * root_density(nodes)


@lru_cache
def _shared_functions(rule: Resolution, panelled: bool, terms: int) -> Array:
    nodes, _ = _nodes((0.0,) if panelled else (), np.ones(1), rule)
    return np.concatenate(list(hermite_functions(nodes, terms)), axis=0)
