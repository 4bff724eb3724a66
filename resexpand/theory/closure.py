r"""Closing formulas: formal Gaussian averages become closed forms or explicit integrals.

A closed average comes from the three that an `ActivationLaw` states: the derivatives of a
`GaussianExpectation` are taken on the closed form, which by Price's theorem equals averaging the
differentiated integrand, also where that integrand holds delta functions.

Where no closed form is known the average stays, with an explicit integrand for quadrature. If the
activation is not smooth, derivatives that do not exist pointwise move onto the Gaussian weight,

    < d^m g > = < g He_m >,   He_m = (-1)^m (d^m w) / w,   w = exp(-x.K^{-1}.x / 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import sympy as sp

from resexpand.activations.activation_law import ActivationLaw
from resexpand.activations.arcsine import elementary
from resexpand.activations.collection import normal_form
from resexpand.conventions import PAIR, K
from resexpand.errors import UnsupportedError
from resexpand.gaussian.expectation import GaussianExpectation, Nonlinearity, integration_variables

Shape = str | tuple[int, int]
"""Pattern of an integrand: a name, or the orders of two derivatives at one argument."""

Laws = tuple[tuple[sp.Symbol, ActivationLaw], ...]
"""Activation behind every label of a formal `Nonlinearity`."""


def close(expression: sp.Expr, laws: Laws) -> sp.Expr:
    """Replace every formal average by its closed form, or by an explicit integral.

    Parameters
    ----------
    expression : sympy.Expr
        May hold `GaussianExpectation` nodes over `Nonlinearity` functions.
    laws : tuple of (sympy.Symbol, ActivationLaw)
        The activation behind every label.

    Returns
    -------
    sympy.Expr
        Free of `Nonlinearity`; remaining `GaussianExpectation` nodes have explicit integrands.

    Raises
    ------
    UnsupportedError
        If an average does not exist (a tangent through a jump).
    """
    by_label = dict(laws)
    closed: dict[sp.Expr, sp.Expr] = {}
    for node in expression.atoms(GaussianExpectation):
        # The covariance of an average may hold averages itself: activations in a chain.
        inner = [close(entry, laws) for entry in node.covariance]
        if node.base.has(Nonlinearity):
            closed[node] = closed_average(node.with_covariance(inner), by_label)
    return expression.xreplace(closed)


def close_elementary(expression: sp.Expr, laws: Laws) -> sp.Expr:
    """Like `close`, written in SymPy's own functions."""
    return elementary(close(expression, laws))


def closed_average(node: GaussianExpectation, laws: Mapping[sp.Symbol, ActivationLaw]) -> sp.Expr:
    """Return the closed form of one average, or the explicit integral where none is known."""
    label = min(node.base.atoms(Nonlinearity), key=sp.default_sort_key).args[0]
    law = laws[label]
    placeholders = (K,) if len(node.variables) == 1 else PAIR
    form = _differentiated_form(law, _shape(node, label), node.orders)
    if form is None:
        return _explicit(node, laws)
    at = dict(zip(placeholders, node.covariance, strict=True))
    value = form.subs(at, simultaneous=True)
    if value.has(sp.zoo, sp.nan, sp.oo):
        raise UnsupportedError(
            f"{node} for the activation {law.name}",
            "this average is infinite",
            "an activation without jumps has it",
        )
    return value


def _shape(node: GaussianExpectation, label: sp.Symbol) -> Shape:
    """Name the pattern of the integrand among those with a closed form."""
    (x,), (x1, x2) = integration_variables(1), integration_variables(2)
    patterns = {
        Nonlinearity(label, 0, x) ** 2: "variance",
        Nonlinearity(label, 0, x): "mean",
        Nonlinearity(label, 0, x1) * Nonlinearity(label, 0, x2): "pair",
    }
    return patterns.get(node.base) or _product_of_derivatives(node.base, label, x) or "other"


def _product_of_derivatives(
    base: sp.Expr, label: sp.Symbol, x: sp.Symbol
) -> tuple[int, int] | None:
    """Return the orders ``s >= t`` of a product of two derivatives at one argument."""
    orders: list[int] = []
    for factor in sp.Mul.make_args(base):
        function, power = factor.as_base_exp()
        if not isinstance(function, Nonlinearity) or not power.is_Integer or power < 0:
            return None
        if (function.args[0], function.args[2]) != (label, x):
            return None
        orders += [int(function.args[1])] * int(power)
    if len(orders) != 2 or sum(orders) % 2:
        return None
    return max(orders), min(orders)


@lru_cache(maxsize=1024)
def _differentiated_form(
    law: ActivationLaw, shape: Shape, orders: tuple[int, ...]
) -> sp.Expr | None:
    form = _base_form(law, shape)
    if form is None:
        return None
    for symbol, order in zip((K,) if len(orders) == 1 else PAIR, orders, strict=True):
        for _ in range(order):
            form = normal_form(form.diff(symbol))
    return form


def _base_form(law: ActivationLaw, shape: Shape) -> sp.Expr | None:
    if shape == "variance" and law.variance:
        return law.variance(K)
    if shape == "mean" and law.is_odd:
        return sp.Integer(0)
    if shape == "mean" and law.mean:
        return law.mean(K)
    if shape == "pair" and law.pair:
        return law.pair(*PAIR)
    if isinstance(shape, tuple) and law.pair:
        # By Price's theorem 2^a d^a/dK_11^a d^t/dK_12^t <phi phi> = <phi^(2a+t) phi^(t)>.
        higher, lower = shape
        raised = (higher - lower) // 2
        form = _differentiated_form(law, "pair", (raised, lower, 0))
        return None if form is None else 2**raised * form.subs(dict.fromkeys(PAIR, K))
    return None


def _explicit(node: GaussianExpectation, laws: Mapping[sp.Symbol, ActivationLaw]) -> sp.Expr:
    integrand = _pointwise(node, laws)
    values = {
        f: laws[f.args[0]].derivative(int(f.args[1])).subs(_argument(laws[f.args[0]]), f.args[2])
        for f in integrand.atoms(Nonlinearity)
    }
    if len(node.variables) == 2 and node.covariance[1] == 0:
        product = _factorised(integrand, node)
        if product is not None:
            return product.xreplace(values)
    return GaussianExpectation(integrand.xreplace(values), node.variables, node.covariance)


def _factorised(integrand: sp.Expr, node: GaussianExpectation) -> sp.Expr | None:
    """Return an average over independent variables as products of averages, None if mixed."""
    total = sp.Integer(0)
    for term in sp.Add.make_args(sp.expand(integrand)):
        factors = {x: sp.Integer(1) for x in node.variables}
        coefficient = sp.Integer(1)
        for factor in sp.Mul.make_args(term):
            owners = [x for x in node.variables if factor.has(x)]
            if len(owners) > 1:
                return None
            if owners:
                factors[owners[0]] *= factor
            else:
                coefficient *= factor
        variances = zip(node.variables, node.covariance[::2], strict=True)
        averages = (GaussianExpectation(factors[x], (x,), (k,)) for x, k in variances)
        total += coefficient * sp.Mul(*averages)
    return total


def _argument(law: ActivationLaw) -> sp.Symbol:
    symbol: sp.Symbol = next(iter(law.expression.free_symbols))
    return symbol


def _pointwise(node: GaussianExpectation, laws: Mapping[sp.Symbol, ActivationLaw]) -> sp.Expr:
    """Return the integrand with no derivative that does not exist as a function."""
    functions = node.base.atoms(Nonlinearity)
    own = [laws[f.args[0]] for f in functions]
    rough = [law for law in own if not law.is_smooth]
    if not rough and not any(law.by_parts for law in own):
        return node.integrand
    taken = max(int(f.args[1]) for f in functions)
    if not rough:
        return _moved_onto_weight(node, max(1 - taken, 0))
    available = (0 if any(law.jumps for law in rough) else 1) - taken
    if available < 0:
        raise UnsupportedError(
            f"{node} for the activation {rough[0].name}",
            "the derivative does not exist as a function",
            "use an activation without jumps",
        )
    return _moved_onto_weight(node, available)


def _moved_onto_weight(node: GaussianExpectation, available: int) -> sp.Expr:
    xs = node.variables
    matrix, orders = _square(node.covariance), _square(node.orders)
    wanted = [sum(orders[a, :]) + orders[a, a] for a in range(len(xs))]
    kept = [min(int(m), available) for m in wanted]
    result = node.base / sp.Integer(2) ** sp.trace(orders)
    for x, m in zip(xs, kept, strict=True):
        result = sp.diff(result, x, m)
    moved = [int(m) - k for m, k in zip(wanted, kept, strict=True)]
    return result * hermite(xs, matrix, moved)


def hermite(
    variables: Sequence[sp.Symbol], covariance: sp.Matrix, orders: Sequence[int]
) -> sp.Expr:
    """Return the Hermite polynomial ``(-1)^m (d^m w)/w`` of the Gaussian weight ``w``.

    Parameters
    ----------
    variables : sequence of sympy.Symbol
        The ``d`` variables.
    covariance : sympy.Matrix
        ``d x d``, not singular.
    orders : sequence of int
        Derivatives with respect to each variable.
    """
    x = sp.Matrix(variables)
    score = covariance.adjugate() * x / covariance.det()
    polynomial = sp.Integer(1)
    for a, order in enumerate(orders):
        for _ in range(order):
            polynomial = polynomial * score[a] - sp.diff(polynomial, variables[a])
    return sp.factor(polynomial)


def _square(upper: Sequence[sp.Expr]) -> sp.Matrix:
    if len(upper) == 1:
        return sp.Matrix([[upper[0]]])
    a, b, c = upper
    return sp.Matrix([[a, b], [b, c]])
