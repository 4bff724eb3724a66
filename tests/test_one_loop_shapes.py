"""The order 1/N of blocks that differ and of read-outs of their own: exact relations, samples."""

from __future__ import annotations

import numpy as np
import pytest

from resexpand import (
    Activation,
    Branch,
    LayerNorm,
    Linear,
    ResNet,
    Scale,
    evaluate,
    finite_response,
    one_loop,
    sample,
    to_latex,
)
from resexpand.errors import UnsupportedError
from resexpand.numbers.one_loop import sources as engine

PAIR = np.array([[1.3, 0.4], [0.4, 0.9]])
INPUTS = {1: 1.3, 2: PAIR}


def erf(weight=1.3, bias=0.1) -> Branch:
    return Branch(Activation("erf"), Linear(weight, bias))


def order(net: ResNet, inputs: int = 1):
    return evaluate(one_loop(net, inputs), K0=INPUTS[inputs])


@pytest.mark.parametrize("inputs", [1, 2])
def test_a_linear_read_out_reads_the_stream(inputs: int) -> None:
    """Exactly: C = s G^L + b, at every width."""
    net = ResNet(erf(), scale=0.5, depth=3, read_out=Linear(1.7, 0.2))
    values, plain = order(net, inputs), order(ResNet(erf(), scale=0.5, depth=3), inputs)
    last = (-1, *(slice(None),) * (2 * (inputs - 1)), -1)
    np.testing.assert_allclose(values["C_cov"][last], 1.7**2 * values["G_cov"][last], rtol=1e-13)
    np.testing.assert_allclose(values["C_mean"][-1], 1.7 * values["K_mean"][-1], rtol=1e-13)
    for name in ("K_mean", "K_cov", "G_cov"):
        np.testing.assert_allclose(values[name], plain[name], rtol=1e-13)


def test_values_per_block_are_scales_per_block() -> None:
    weights = np.array([1.3, 0.7, 2.0])
    end = [Activation("erf"), Linear(1, 0.1)]
    one = ResNet(erf([*weights], [*(weights / 10)]), scale=0.5, depth=3, read_out=end)
    other = ResNet(erf(1, 0.1), scale=[*(0.5 * np.sqrt(weights))], depth=3, read_out=end)
    for theory in (one_loop, finite_response):
        values, expected = (evaluate(theory(net), K0=1.3) for net in (one, other))
        for name in set(expected) - {"C", "C_mean", "C_cov", "eta_layers"}:
            if name.startswith(("C_", "eta_layers")):
                continue
            np.testing.assert_allclose(values[name], expected[name], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("inputs", [1, 2])
def test_two_shapes_of_one_block(inputs: int) -> None:
    """A factor of one in front of the activation makes another shape of the same block."""
    factor = Branch(Scale(1.0), Activation("erf"), Linear(1.3, 0.1))
    end = [Activation("erf"), Linear(1, 0.1)]
    one = ResNet([erf(), factor], scale=[0.5, 0.3, 0.4], depth=3, read_out=end)
    other = ResNet(erf(), scale=[0.5, 0.3, 0.4], depth=3, read_out=end)
    values, expected = order(one, inputs), order(other, inputs)
    for name in ("K", "K_mean", "G_cov", "kurtosis"):
        np.testing.assert_allclose(values[name], expected[name], rtol=1e-9)
    if inputs == 1:
        for kind in ("variance", "gradient", "parameters", "step"):
            found, known = (evaluate(finite_response(n, kind), K0=1.3) for n in (one, other))
            for name in known:
                np.testing.assert_allclose(found[name], known[name], rtol=1e-8, atol=1e-12)


def test_a_cycle_of_one_kind_is_that_kind() -> None:
    twice = ResNet([erf(), erf()], scale=[0.5, 0.3], depth=2)
    once = ResNet(erf(), scale=[0.5, 0.3], depth=2)
    np.testing.assert_array_equal(order(twice)["G_cov"], order(once)["G_cov"])
    assert len(twice.kinds) == 1


def cycle() -> ResNet:
    deep = Branch(Linear(1.1, 0.2), Activation("tanh"), Linear(1.2, 0.1))
    return ResNet([erf(2.0), deep], scale=[0.9, 0.8, 0.9], depth=3, read_out=Linear(1.5, 0.1))


def scores() -> np.ndarray:
    """Return scores of mean and variance of the kernel behind the blocks, at width 60."""
    net, width, count = cycle(), 60, 20_000
    found = sample(net, ["kernel"], width=width, draws=count, K0=1.3, seed=5, method="dense")
    values = order(net)
    shift = width * (found["kernel"].mean - values["K"]) - values["K_mean"]
    spread = width * found["kernel"].stderr
    wide = width * count * found["kernel"].stderr ** 2 / np.diag(values["G_cov"])
    return np.concatenate([shift[1:] / spread[1:], (wide[1:] - 1) / np.sqrt(2 / count)])


def test_a_cycle_against_samples() -> None:
    assert np.abs(scores()).max() < 6


def test_operations_of_one_stream_are_correlated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: with the sources of different operations apart, C is no multiple of G^L."""
    monkeypatch.setattr(engine, "permutations", lambda *_: ())
    net = ResNet(erf(), scale=0.5, depth=3, read_out=Linear(1.7, 0.2))
    values = order(net)
    assert abs(values["C_cov"][-1, -1] / values["G_cov"][-1, -1] / 1.7**2 - 1) > 0.1


def test_what_is_refused() -> None:
    norm = Branch(LayerNorm(), Activation("erf"), Linear(1.3, 0.1))
    for net in (
        ResNet(norm, scale=0.5, depth=2, read_out=Linear(1, 0)),
        ResNet([norm, erf()], scale=0.5, depth=2),
    ):
        with pytest.raises(UnsupportedError, match="stream is read in different ways"):
            one_loop(net)
    kinked = Branch(Activation("relu"), Linear(1.3, 0.1))
    mixed = ResNet([kinked, erf()], scale=0.5, depth=3)
    with pytest.raises(UnsupportedError, match=r"relu.* that read one stream"):
        order(mixed)
    two = ResNet([erf(), Branch(Activation("tanh"), Linear(1, 0))], scale=0.5, depth=3)
    with pytest.raises(UnsupportedError, match="several inputs of operations with erf"):
        order(two, 2)
    with pytest.raises(UnsupportedError, match="one kind of block"):
        to_latex(one_loop(two))
