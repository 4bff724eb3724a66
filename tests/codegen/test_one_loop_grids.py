"""Grids of the order 1/N: batches on several threads, and the numbers of every point by itself."""

from __future__ import annotations

import threading

import numba
import numpy as np
import pytest
import sympy as sp

from resexpand import Activation, Branch, Linear, ResNet, evaluate, one_loop
from resexpand.numbers.one_loop import evaluation

RHO = sp.Symbol("rho")
PAIR = np.array([[1.0, 0.3], [0.3, 0.5]])


@pytest.mark.parametrize("inputs", [1, 2])
def test_threads_change_no_bit(inputs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    depth, points = (20, 200) if inputs == 1 else (6, 200)
    net = ResNet(Branch(Activation("erf"), Linear(1, 0.05)), scale=RHO, depth=depth)
    theory, start = one_loop(net, inputs=inputs), 1.0 if inputs == 1 else PAIR
    seen: set[int] = set()
    whole = evaluation._of_points

    def watched(tables, *given):
        seen.add(threading.get_ident())
        return whole(tables, *given)

    monkeypatch.setattr(evaluation, "_of_points", watched)
    grid = np.linspace(0.05, 1, points)
    before = numba.get_num_threads()
    found = {}
    try:
        for threads in (1, before):
            numba.set_num_threads(threads)
            seen.clear()
            found[threads] = evaluate(theory, K0=start, rho=grid)
            # One thread makes the first batch, others the rest.
            assert len(seen) == 1 if threads == 1 else len(seen) > 1
    finally:
        numba.set_num_threads(before)
    for name, values in found[1].items():
        np.testing.assert_array_equal(values, found[before][name], err_msg=name)


def test_every_point_by_itself() -> None:
    net = ResNet(Branch(Activation("relu"), Linear(1, 0.05)), scale=RHO, depth=9)
    theory = one_loop(net)
    scales, starts = np.linspace(0.1, 1, 7), np.array([0.0, 0.4, 1.3])
    found = evaluate(theory, K0=starts[:, None], rho=scales, width=100)
    for row, start in enumerate(starts):
        for column in (0, 3, 6):
            alone = evaluate(theory, K0=start, rho=scales[column], width=100)
            for name, value in alone.items():
                np.testing.assert_allclose(
                    found[name][row, column], value, rtol=1e-12, atol=1e-14, err_msg=name
                )
