"""The order 1/N^2 of means: an exact network of squares, one order less, samples, refusals."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
import sympy as sp
from sympy.ntheory.multinomial import multinomial_coefficients

from resexpand import (
    Activation,
    Branch,
    Dropout,
    LayerNorm,
    Linear,
    ResNet,
    Scale,
    evaluate,
    one_loop,
    sample,
    two_loop,
)
from resexpand.errors import UnsupportedError
from resexpand.numbers.two_loop import evaluation
from resexpand.numbers.two_loop.jets import BOTH, closure, degree, swapped

N = sp.Symbol("N", positive=True)
K, R = sp.Rational(1, 2), sp.Rational(1, 4)
"""Variance of the input and square of the residual scale, of a network of squares."""


def moment(power: int) -> sp.Rational:
    """Return ``E h^power`` at the input."""
    return sp.factorial2(power - 1) * K ** (power // 2) if power else sp.Integer(1)


def power_sums(most: int, left: sp.Expr) -> list[sp.Expr]:
    """Return the moments of a sum of `left` independent fourth powers, by its cumulants."""
    raw = [moment(4 * k) for k in range(most + 1)]
    cumulants = [sp.Integer(0)] * (most + 1)
    for k in range(1, most + 1):
        known = sum(comb(k - 1, j - 1) * cumulants[j] * raw[k - j] for j in range(1, k))
        cumulants[k] = raw[k] - known
    found: list[sp.Expr] = [sp.Integer(1)]
    for k in range(1, most + 1):
        parts = (comb(k - 1, j - 1) * left * cumulants[j] * found[k - j] for j in range(1, k + 1))
        found.append(sp.expand(sum(parts)))
    return found


def exact_mean_of_squares() -> sp.Expr:
    """Return ``E C^3`` of ``h + rho W h^2``, unit weights: a polynomial in 1/N, term by term."""
    x, y, S = sp.symbols("x y S")
    rests = power_sums(8, N - 2)

    def after(h: sp.Symbol, power: int) -> sp.Expr:
        # E (h + rho sqrt(S) xi)^power at a given S, the average of the fourth powers.
        return sum(
            sp.binomial(power, 2 * m)
            * h ** (power - 2 * m)
            * sp.factorial2(2 * m - 1)
            * (R * S) ** m
            if m
            else h**power
            for m in range(power // 2 + 1)
        )

    given = (
        after(x, 4)
        + 6 * R * (after(x, 6) + (N - 1) * after(x, 2) * after(y, 4)) / N
        + 3 * R**2 * (after(x, 8) + (N - 1) * after(x, 4) * after(y, 4)) / N
    )
    total = sp.Integer(0)
    for (p, q, k), number in sp.Poly(sp.expand(given), x, y, S).terms():
        # S = (x^4 + y^4 + rest)/N.
        for i in range(k + 1):
            for j in range(k - i + 1):
                ways = multinomial_coefficients(3, k)[i, j, k - i - j]
                parts = moment(p + 4 * i) * moment(q + 4 * j) * rests[k - i - j]
                total += number * ways * parts / N**k
    return sp.expand(total)


def test_a_network_of_squares_is_exact() -> None:
    exact = sp.Poly(sp.expand(exact_mean_of_squares().subs(N, 1 / sp.Symbol("w"))), sp.Symbol("w"))
    *_, second, first, limit = exact.all_coeffs()
    net = ResNet(Branch(Activation("x**2"), Linear(1, 0)), scale=sp.Rational(1, 2), depth=2)
    values = evaluate(two_loop(net), K0=0.5)
    for name, right in (("C", limit), ("C_mean", first), ("C_mean_2", second)):
        assert values[name][-1] == pytest.approx(float(right), rel=1e-9)
    np.testing.assert_allclose(values["C_mean_2"][:2], 0, atol=1e-9)
    assert float(second) > 1


NETS = {
    "erf": ResNet(Branch(Activation("erf"), Linear(1.3, 0.1)), scale=0.5, depth=3),
    "tanh": ResNet(
        Branch(Scale(1.5), Activation("tanh"), Linear(2, 0)),
        scale=0.8,
        depth=2,
        read_out=[Scale(1.5), Activation("tanh"), Linear(0.7, 0.2)],
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_the_first_order_is_that_of_one_loop(name: str) -> None:
    values = evaluate(two_loop(NETS[name]), K0=[0.8, 0.3])
    other = evaluate(one_loop(NETS[name]), K0=[0.8, 0.3])
    for key in ("K", "C", "K_mean", "C_mean"):
        np.testing.assert_allclose(values[key], other[key], rtol=2e-6, atol=1e-9)
    assert values.status == "ok"
    assert values["K_mean_2"].shape == (2, len(other["K"][0]))


def test_linear_networks_have_no_shift() -> None:
    net = ResNet(Branch(Activation("identity"), Linear(1.3, 0.1)), scale=1, depth=3)
    values = evaluate(two_loop(net), K0=1.0, width=8)
    np.testing.assert_allclose(values["C_mean_2"], 0, atol=1e-10)
    np.testing.assert_allclose(values["C_width"], values["C"])


def test_samples_see_both_orders() -> None:
    """At widths 8 and 16; without the pairs of paths, and without this order, they do not fit."""
    net = ResNet(Branch(Activation("erf"), Linear(2, 0)), scale=0.8, depth=3)
    theory = evaluate(two_loop(net), K0=0.5)
    alone = (*evaluation.wanted()[:2], {})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(evaluation, "wanted", lambda: alone)
        patched.setattr(evaluation.Means, "average", _average_of_none(evaluation.Means.average))
        half = evaluate(two_loop(net), K0=0.5)["C_mean_2"][-1]
    found = {}
    for width in (8, 16):
        run = sample(
            net, "layer_covariance", width, 200_000, K0=0.5, seed=width,
            control="infinite-width", progress=False,
        )["layer_covariance"]  # fmt: skip
        left = (run.mean[-1] - theory["C"][-1] - theory["C_mean"][-1] / width) * width**2
        found[width] = float(left), float(run.stderr[-1] * width**2)
    # The next order is removed by a straight line in 1/N.
    value = 2 * found[16][0] - found[8][0]
    error = np.hypot(2 * found[16][1], found[8][1])
    second = theory["C_mean_2"][-1]
    assert abs(value - second) < 4 * error
    assert abs(value) > 4 * error
    assert abs(value - half) > 4 * error


def _average_of_none(average):
    return lambda self, polynomial, layer: average(self, polynomial, layer) if polynomial else 0.0


def test_products_close() -> None:
    known = closure()
    assert all(max(degree(p)) <= 3 and degree(p) != (3, 1) for p in known)
    assert {degree(p) for p in known} == {(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), BOTH}
    assert swapped((("K", 1, 0), ("u", 2, 1))) == (("K", 0, 1), ("v", 1, 2))


def test_what_is_refused() -> None:
    for branch in (
        Branch(Activation("relu"), Linear(2, 0)),
        Branch(Linear(1, 0), Activation("erf"), Linear(1, 0)),
        Branch(LayerNorm(), Activation("erf"), Linear(1, 0)),
        Branch(Activation("erf"), Dropout(0.5), Linear(1, 0)),
    ):
        with pytest.raises(UnsupportedError, match="1/N\\^2"):
            two_loop(ResNet(branch, scale=1, depth=2))
    for read_out, words in (
        (Linear(1, 0), "the stream"),
        ([Activation("tanh"), Linear(1, 0)], "tanh"),
    ):
        own = ResNet(NETS["erf"].branches, scale=0.5, depth=3, read_out=read_out)
        with pytest.raises(UnsupportedError, match=f"its read-out reads .*{words}"):
            two_loop(own)
    with pytest.raises(UnsupportedError, match="target"):
        evaluate(two_loop(NETS["erf"]), K0=1.0, target="cuda")
