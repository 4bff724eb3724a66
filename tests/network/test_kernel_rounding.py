"""Kernels given with the rounding of their precision, inputs of length zero, and overflow."""

from __future__ import annotations

import numpy as np
import pytest
from uncompiled import evaluate

from resexpand import Activation, Branch, Linear, ResNet, kernel, sample
from resexpand import parse_expression as expression
from resexpand.errors import KernelError
from resexpand.network.inputs import rounding, validated_kernel

DATA = np.random.default_rng(3).standard_normal((50, 5))


def low_rank(dtype):
    rows = DATA.astype(dtype)
    return rows @ rows.T


ROUNDED = {
    "single": low_rank(np.float32),
    "single, kept in double": low_rank(np.float32).astype(float),
    "half": low_rank(np.float16),
    "cosines": np.where(np.eye(4) == 1, 1.0, 1 + 1e-9),
    "one of two": np.array([np.eye(2), [[1, 1 + 1e-9], [1 + 1e-9, 1]]]),
}


@pytest.mark.parametrize("name", ROUNDED)
def test_rounding_is_clipped_and_said(name):
    given = np.asarray(ROUNDED[name], dtype=float)
    found, notes = validated_kernel(ROUNDED[name], matrix=True)
    assert len(notes) == 1
    assert "eigenvalue" in notes[0]
    assert np.linalg.eigvalsh(given).min() < -1e-10
    assert np.linalg.eigvalsh(found).min() > -1e-12
    np.testing.assert_array_equal(
        np.diagonal(found, axis1=-2, axis2=-1), np.diagonal(given, axis1=-2, axis2=-1)
    )
    lengths = np.sqrt(np.diagonal(found, axis1=-2, axis2=-1))
    assert (np.abs(found) <= lengths[..., :, None] * lengths[..., None, :] * (1 + 1e-15)).all()
    unit = 1e-2 if name == "half" else 1e-6
    np.testing.assert_allclose(found, given, atol=unit * given.max())


def test_asymmetry_of_rounding_is_said():
    found, notes = validated_kernel([[1, 0.5 + 1e-10], [0.5, 1]], matrix=True)
    assert found[0, 1] == found[1, 0] == pytest.approx(0.5 + 5e-11, abs=1e-16)
    assert "asymmetric by 1e-10" in notes[0]


@pytest.mark.parametrize(
    "given",
    [
        [[1, 1.001], [1.001, 1]],
        [[1, 1 + 1e-6], [1 + 1e-6, 1 + 1e-12]],
        np.array([[1, 1.001], [1.001, 1]], dtype=np.float32),
        np.array([[1, 1.1], [1.1, 1]], dtype=np.float16),
        [[1, 0.5 + 1e-5], [0.5, 1]],
        [[1, 1e-9], [1e-9, 0]],
        np.eye(3) - 0.51 * (1 - np.eye(3)),
    ],
)
def test_what_is_no_rounding_is_refused(given):
    with pytest.raises(KernelError, match=r"not positive semi-definite|not symmetric"):
        validated_kernel(given, matrix=True)


def test_covariances_are_taken_as_they_are():
    gram = DATA @ DATA.T
    found, notes = validated_kernel(gram, matrix=True)
    assert not notes
    np.testing.assert_array_equal(found, gram)


def test_unit_of_the_precision():
    one = np.ones((2, 2))
    third = one / 3
    assert rounding(one.astype(np.float16), one) == 8 * 2.0**-10
    assert rounding(one.astype(np.float32), one) == 8 * 2.0**-23
    assert rounding(third, third) == 1e-8


def test_results_say_it():
    net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=0.5, depth=2)
    values = evaluate(kernel(net, 2), K0=ROUNDED["cosines"], outputs="K")
    assert values.status == "ok"
    assert values.notes[0] in repr(values)
    # Equal inputs: K grows by 1 + rho^2 per block, for every pair.
    np.testing.assert_allclose(values["K"][-1], 1.25**2, rtol=1e-7)
    found = sample(net, "kernel", width=8, draws=4, K0=ROUNDED["cosines"])
    assert found.settings["notes"] == list(values.notes)


def test_a_kernel_of_inputs_that_overflows_is_refused():
    net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=1, read_in=Linear(1, 0))
    with pytest.raises(KernelError, match="range of double"):
        sample(net, "kernel", width=8, draws=4, inputs=[[1e200, 1.0]])
    for given in ({"inputs": [[1e200, 1.0]]}, {"inputs": [[1.0, 1.0]], "others": [[1e200, 1.0]]}):
        with pytest.raises(KernelError, match="range of double"):
            evaluate(kernel(net, 2), **given)


JUMPS = {
    # (block 1 of an input of length zero): sign(0) = 0, heaviside(0) = 1/2.
    "sign": ([Activation("sign"), Linear(1.5, 0.1)], 0.25 * 0.1),
    "behind a linear": ([Linear(1, 0), Activation("sign"), Linear(1.5, 0)], 0.0),
    "heaviside": ([Activation(expression("heaviside(x)")), Linear(1.5, 0)], 0.25 * 1.5 / 4),
}


@pytest.mark.parametrize("name", JUMPS)
def test_an_input_of_length_zero_meets_the_jump_itself(name):
    ops, expected = JUMPS[name]
    net = ResNet(Branch(*ops), scale=0.5, depth=2, read_in=Linear(1, 0))
    rows = [[0.0, 0.0], [1.0, 2.0], [0.5, -1.0]]
    theory = evaluate(kernel(net, 2), inputs=rows, outputs="K")
    assert theory.status == "ok"
    assert theory["K"][1, 0, 0] == pytest.approx(expected, abs=1e-15)
    drawn = sample(net, "kernel", width=300, draws=400, inputs=rows, seed=5)["kernel"]
    error = np.where(drawn.stderr > 0, drawn.stderr, 1e-12)
    assert np.abs((drawn.mean - theory["K"]) / error).max() < 5
    # The limit of small variances is another number.
    small = evaluate(kernel(net, 2), inputs=[[1e-9, 0.0], *rows[1:]], outputs="K")["K"]
    assert abs(small[1, 0, 0] - expected) > 0.05
