r"""Sums of polynomials times exponentials of a quadratic polynomial: elementary averages.

Sines, cosines, exponentials, Gaussians, their products, and polynomials are sums of terms

    w x^m exp(-q x^2 / 2) c(k x),    c = cosh, sinh, cos or sin,

whose pair averages are derivatives with respect to ``k_1, k_2`` of one Gaussian integral: with
``S = (K^{-1} + diag(q_1, q_2))^{-1}`` and ``D = det(1 + K diag(q_1, q_2))``,

    < e^{-q_1 x_1^2/2 - q_2 x_2^2/2} cosh(k_1 x_1) cosh(k_2 x_2) >
        = D^{-1/2} exp((k_1^2 S11 + k_2^2 S22)/2) cosh(k_1 k_2 S12),

``sinh`` likewise, and for ``cos`` and ``sin`` the square of ``k`` changes sign. For negative ``q``
the average exists for small variances alone; beyond, ``D`` is not positive and the value no number.

Where a sum vanishes at the origin its terms cancel at small variance. Odd sums do not, since the
average of two is a sum of ``sinh``; even ones are written as the product of their means, whose
constants cancel exactly, plus a covariance with ``cosh(t) - 1 = 2 sinh(t/2)^2``. Sums that vanish
to a higher order, such as ``x - sin(x)``, are left to quadrature, which adds squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sympy as sp

from resexpand.activations.activation_law import X
from resexpand.activations.arcsine import Area
from resexpand.activations.hyperbolic import ExpCosh, ExpSinh

ONE, ZERO = sp.Integer(1), sp.Integer(0)
MOST_TERMS = 8
MOST_DEGREE = 6


@dataclass(frozen=True)
class Term:
    """One term ``weight x^power exp(-narrowness x^2/2) c(frequency x)``.

    Attributes
    ----------
    weight : sympy.Expr
        Its factor, real.
    power : int
        Power of ``x``.
    narrowness : sympy.Expr
        ``q`` of the Gaussian, a real number.
    frequency : sympy.Expr
        ``k``, a number that is not negative.
    is_even, is_periodic : bool
        Whether ``c`` is cosh or cos, and whether it is cos or sin.
    height : sympy.Expr
        A number in the exponent, beside which the factor is of order one.
    """

    weight: sp.Expr
    power: int
    narrowness: sp.Expr
    frequency: sp.Expr
    is_even: bool
    is_periodic: bool
    height: sp.Expr = ZERO

    @property
    def generator(self) -> tuple[bool, int]:
        """Parity of the wave whose `power`-th derivative with respect to ``k`` it is, and sign."""
        even = self.is_even == (self.power % 2 == 0)
        if not self.is_periodic:
            return even, 1
        turns = self.power // 2 + (self.power % 2 and not self.is_even)
        return even, -1 if turns % 2 else 1

    @property
    def parity(self) -> int:
        """0 for an even, 1 for an odd function."""
        return (self.power + (not self.is_even)) % 2


def pair_average(terms: Sequence[Term], k11: sp.Expr, k12: sp.Expr, k22: sp.Expr) -> sp.Expr:
    """Return ``<phi(x_1) phi(x_2)>`` for the covariance entries 11, 12 and 22."""
    entries = (k11, k12, k22)
    odd = [t for t in terms if t.parity]
    even = [t for t in terms if not t.parity]
    centred = _vanishes(even)
    total = sp.Add(*(_product(a, b, entries, centred=False) for a in odd for b in odd))
    total += sp.Add(*(_product(a, b, entries, centred=centred) for a in even for b in even))
    means = mean(even, k11) * mean(even, k22) if centred else ZERO
    return means + _one_sided(total)


def _one_sided(total: sp.Expr) -> sp.Expr:
    """Return a sum in which a cosh and a sinh of one weight are one exponential."""
    kept = []
    weights: dict[tuple[sp.Expr, sp.Expr, sp.Expr], dict[type, sp.Expr]] = {}
    for term in sp.Add.make_args(sp.expand_mul(total)):
        waves = [f for f in sp.Mul.make_args(term) if isinstance(f, ExpCosh)]
        if len(waves) != 1:
            kept.append(term)
            continue
        number, rest = (term / waves[0]).as_coeff_Mul()
        by_kind = weights.setdefault((*waves[0].args, rest), {})
        by_kind[type(waves[0])] = by_kind.get(type(waves[0]), ZERO) + number
    for (s, t, rest), by_kind in weights.items():
        even, odd = by_kind.get(ExpCosh, ZERO), by_kind.get(ExpSinh, ZERO)
        if even != 0 and odd in (even, -even):
            kept.append(even * rest * sp.exp(s + (t if odd == even else -t)))
        else:
            kept.append(rest * (even * ExpCosh(s, t) + odd * ExpSinh(s, t)))
    return sp.Add(*kept)


def mean(terms: Sequence[Term], k: sp.Expr) -> sp.Expr:
    """Return ``<phi(x)>``."""
    one = Term(ONE, 0, ZERO, ZERO, is_even=True, is_periodic=False)
    even = [t for t in terms if not t.parity]
    return sp.Add(*(_product(term, one, (k, ZERO, ZERO), centred=False) for term in even))


def variance(terms: Sequence[Term], k: sp.Expr) -> sp.Expr:
    """Return ``<phi(x)^2>``."""
    if _vanishes([t for t in terms if not t.parity]):
        return pair_average(terms, k, k, k)
    square = terms_of(sp.Add(*map(_function, terms)) ** 2, limited=False)
    return pair_average(terms, k, k, k) if square is None else mean(square, k)


def _vanishes(terms: Sequence[Term]) -> bool:
    """Whether several even terms cancel at the origin."""
    return len(terms) > 1 and sp.Add(*map(_function, terms)).subs(X, 0) == 0


def _function(term: Term) -> sp.Expr:
    kinds = {(True, True): sp.cos, (True, False): sp.cosh, (False, True): sp.sin}
    wave = kinds.get((term.is_even, term.is_periodic), sp.sinh)(term.frequency * X)
    return term.weight * X**term.power * sp.exp(term.height - term.narrowness * X**2 / 2) * wave


def _product(
    first: Term, second: Term, entries: tuple[sp.Expr, sp.Expr, sp.Expr], *, centred: bool
) -> sp.Expr:
    """Return the average of the product of two terms; `centred` without that of their means."""
    (even, sign), (other, turn) = first.generator, second.generator
    if even != other:
        return ZERO
    if all(t.frequency == t.narrowness == 0 for t in (first, second)) and not centred:
        return first.weight * second.weight * _monomials(first.power, second.power, entries)
    left, right = sp.symbols("k_1 k_2", cls=sp.Dummy, positive=True)
    value = _generating(first, second, entries, (left, right), even, centred)
    value = value.diff(left, first.power) if first.power else value
    value = value.diff(right, second.power) if second.power else value
    at = {left: first.frequency, right: second.frequency}
    return sp.expand_mul(sign * turn * first.weight * second.weight * value.subs(at))


def _monomials(m: int, n: int, entries: tuple[sp.Expr, sp.Expr, sp.Expr]) -> sp.Expr:
    """Return ``<x_1^m x_2^n>``: all ways of pairing the factors (Isserlis)."""
    k11, k12, k22 = entries
    return sp.Add(
        *(
            sp.binomial(m, j)
            * sp.binomial(n, j)
            * sp.factorial(j)
            * k12**j
            * sp.factorial2(m - j - 1)
            * k11 ** ((m - j) // 2)
            * sp.factorial2(n - j - 1)
            * k22 ** ((n - j) // 2)
            for j in range(m % 2, min(m, n) + 1, 2)
        )
    )


def _generating(
    first: Term,
    second: Term,
    entries: tuple[sp.Expr, sp.Expr, sp.Expr],
    k: tuple[sp.Expr, sp.Expr],
    even: bool,
    centred: bool,
) -> sp.Expr:
    (s11, s12, s22), root = _tilted(entries, first.narrowness, second.narrowness)
    signs = [-1 if term.is_periodic else 1 for term in (first, second)]
    s = (signs[0] * k[0] ** 2 * s11 + signs[1] * k[1] ** 2 * s22) / 2
    s += first.height + second.height
    t = k[0] * k[1] * s12
    if signs[0] == signs[1] or 0 in (first.frequency, second.frequency):
        if even and centred:
            return 2 * ExpSinh(s / 2, t / 2) ** 2
        return (ExpCosh if even else ExpSinh)(s, t) / root
    # Of a wave and an exponential the product of the exponents is imaginary.
    if even and centred:
        return -2 * sp.exp(s) * sp.sin(t / 2) ** 2
    return sp.exp(s) * (sp.cos if even else sp.sin)(t) / root


def _tilted(
    entries: tuple[sp.Expr, sp.Expr, sp.Expr], q1: sp.Expr, q2: sp.Expr
) -> tuple[tuple[sp.Expr, sp.Expr, sp.Expr], sp.Expr]:
    """Return the covariance under the Gaussian factors, and the root of the determinant."""
    k11, k12, k22 = entries
    if q1 == q2 == 0:
        return entries, ONE
    product = q1 * q2
    a, b = 1 + q1 * k11, 1 + q2 * k22
    if product.is_negative:
        root = sp.sqrt(a * b - product * k12**2)
    else:
        root = Area(a, b, sp.sqrt(product) * k12)
    determinant = root**2
    area = Area(k11, k22, k12) ** 2
    tilted = (
        k11 / determinant + q2 * area / determinant,
        k12 / determinant,
        k22 / determinant + q1 * area / determinant,
    )
    return tilted, root


def terms_of(expression: sp.Expr, *, limited: bool = True) -> tuple[Term, ...] | None:
    """Return the terms of an activation, None if it is not of this class.

    Parameters
    ----------
    expression : sympy.Expr
        Function of `X`.
    limited : bool
        Whether to refuse what has too many terms, or cancels where it is small.
    """
    weights = _weights(expression)
    if weights is None:
        return None
    terms: list[Term] = []
    for power, narrowness, exponent in list(weights):
        if (power, narrowness, exponent) not in weights:
            continue
        weight, height = weights.pop((power, narrowness, exponent))
        other = ZERO
        if exponent != 0:
            factor, level = weights.pop((power, narrowness, -exponent), (ZERO, height))
            other = factor * sp.exp(level - height)
        periodic = exponent.is_imaginary is True
        frequency = exponent / sp.I if periodic else exponent
        if frequency.is_negative:
            frequency, weight, other = -frequency, other, weight
        unit = sp.I if periodic else ONE
        for is_even, w in ((True, weight + other), (False, unit * (weight - other))):
            real, imaginary = (sp.simplify(p) for p in w.expand(complex=True).as_real_imag())
            if imaginary != 0:
                return None
            if real != 0 and (is_even or frequency != 0):
                terms.append(Term(real, power, narrowness, frequency, is_even, periodic, height))
    if limited and not _is_sound(terms):
        return None
    return tuple(terms)


def _weights(
    expression: sp.Expr,
) -> dict[tuple[int, sp.Expr, sp.Expr], tuple[sp.Expr, sp.Expr]] | None:
    """Return weights of ``x^m exp(h - q x^2/2 + beta x)``, and h, by m, q and beta.

    Only real and imaginary beta are of this class.
    """
    exact = sp.nsimplify(expression, rational=True)
    if exact.atoms(sp.Abs, sp.sign, sp.Heaviside, sp.Max, sp.Min, sp.Piecewise):
        return None
    waves = exact.rewrite([sp.sin, sp.cos, sp.sinh, sp.cosh], sp.exp)
    exponentials = waves.replace(
        lambda node: node.is_Pow and node.base.is_number and node.exp.has(X),
        lambda node: sp.exp(node.exp * sp.log(node.base)),
    )
    expanded = sp.expand(exponentials, power_exp=False, power_base=False, log=False)
    weights: dict[tuple[int, sp.Expr, sp.Expr], tuple[sp.Expr, sp.Expr]] = {}
    for term in sp.Add.make_args(expanded):
        power, exponent, weight = 0, ZERO, ONE
        for factor in sp.Mul.make_args(term):
            if not factor.has(X):
                weight *= factor
            elif isinstance(factor, sp.exp):
                exponent += factor.args[0]
            elif factor.as_base_exp()[0] == X and factor.as_base_exp()[1].is_Integer:
                power += int(factor.as_base_exp()[1])
            else:
                return None
        if power < 0 or not exponent.is_polynomial(X) or sp.degree(exponent, X) > 2:
            return None
        square, linear, constant = (sp.expand(exponent).coeff(X, n) for n in (2, 1, 0))
        if not square.is_extended_real or not (linear.is_extended_real or linear.is_imaginary):
            return None
        key = (power, -2 * square, linear)
        so_far, height = weights.get(key, (ZERO, sp.re(constant)))
        weights[key] = so_far + weight * sp.exp(constant - height), height
    return weights


def _is_sound(terms: Sequence[Term]) -> bool:
    """Whether a sum is short, and its leading order at the origin does not cancel too far."""
    if len(terms) > MOST_TERMS or any(t.power > MOST_DEGREE for t in terms):
        return False
    for parity in (0, 1):
        part = [t for t in terms if t.parity == parity]
        waves = [t for t in part if t.frequency != 0 or t.narrowness != 0]
        if len(part) < 2 or not waves:
            continue
        function = sp.Add(*map(_function, part))
        if function.diff(X, parity).subs(X, 0) != 0:
            continue
        plain = all(t.narrowness == 0 for t in part)
        if parity or not plain or function.diff(X, 2).subs(X, 0) == 0:
            return False
    return True
