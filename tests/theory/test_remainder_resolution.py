"""Remainders of the order profile far below the kernel: right, or called rounding with their error.

The true value comes from the leading order: for a block ``W phi(h)`` with ``E W^2 = w``, ``T_2`` at
layer ``l`` has the second moment ``rho^4 w^2 <phi'^2> <phi^2> l (l - 1) / 2``, to relative order
``rho^2``.
"""

from __future__ import annotations

import re

import mpmath as mp
import numpy as np
import pytest
from uncompiled import evaluate

from resexpand import Activation, Branch, Linear, ResNet, order_profile

DEPTH = 24


def second_order(scale: float) -> float:
    """The remainder after the first order at the last layer, to 30 digits of its leading term."""
    with mp.workdps(30):
        gauss = lambda f: mp.quad(lambda x: f(x) * mp.npdf(x), [-12, -3, 0, 3, 12])  # noqa: E731
        value, slope = gauss(lambda x: mp.tanh(x) ** 2), gauss(lambda x: mp.sech(x) ** 4)
        return float(mp.mpf(scale) ** 4 * value * slope * DEPTH * (DEPTH - 1) / 2)


def test_small_remainders_are_right_or_called_rounding() -> None:
    net = ResNet(Branch(Activation("tanh"), Linear(1, 0)), scale=1, depth=DEPTH)
    called = []
    for scale in (1e-2, 1e-5):
        small = ResNet(net.branch, scale=scale, depth=DEPTH)
        found = evaluate(order_profile(small, 3, remainder=True), K0=1.0, target="cpu")
        rest, true = found["remainder"][-1, 1], second_order(scale)
        assert (found["remainder"] >= 0).all()
        stated = re.search(r"only good to ([^; ]+) there", found.status)
        called.append(stated is not None)
        # Before the highest order the sum of the orders beyond is right to all its digits.
        assert abs(rest / true - 1) < 100 * scale**2 + 1e-9
        error = float(stated.group(1)) if stated else 0.0
        assert abs(rest - true) <= 1.2 * error + 1e-2 * true
        # Nothing larger than the error is called rounding.
        entries = re.search(r"rounding at (\d+) of", found.status)
        assert entries is None or int(entries.group(1)) <= (found["remainder"] < error).sum()
    assert called[-1]
    # Control: the value itself is not what the theory says there, and at 1e-2 it is.
    assert second_order(1e-5) < 1e-17 < 1e-3 * second_order(1e-2) < 1e-6


@pytest.mark.parametrize("basis", ["taylor", "chaos", "paths"])
@pytest.mark.parametrize("scale", [1e-3, 1e-5])
def test_remainders_of_a_linear_network_to_relative_accuracy(basis: str, scale: float) -> None:
    """The binomial law: what orders up to k leave out is ``sum_{j > k} C(L, j) rho^(2 j)``."""
    net = ResNet(Branch(Activation("identity"), Linear(1, 0)), scale=scale, depth=DEPTH)
    found = evaluate(order_profile(net, 4, basis, remainder=True), K0=1.0)["remainder"][-1]
    for k in range(4):
        with mp.workdps(40):
            square = mp.mpf(scale) ** 2
            terms = [mp.binomial(DEPTH, j) * square**j for j in range(k + 1, DEPTH + 1)]
            error = abs(mp.mpf(float(found[k])) / mp.fsum(terms) - 1)
            # The orders beyond the fourth are estimated, not summed.
            assert error < (10 * DEPTH * square) ** (4 - k) + mp.mpf("1e-11")
            # Control: one order more or less is far away.
            assert abs(mp.mpf(float(found[k])) / mp.fsum(terms[1:]) - 1) > 1000


@pytest.mark.parametrize("basis", ["taylor", "chaos"])
def test_what_is_zero_exactly_is_not_called_rounding(basis: str) -> None:
    """Linear blocks end at the order of the depth, and one block at the first order."""
    for depth, order in ((3, 4), (1, 2)):
        net = ResNet(Branch(Activation("identity"), Linear(1, 0)), scale=0.5, depth=depth)
        found = evaluate(order_profile(net, order, basis, remainder=True), K0=1.0)
        assert found.status == "ok"
        np.testing.assert_allclose(found["remainder"][-1, -1], 0, atol=1e-15)
