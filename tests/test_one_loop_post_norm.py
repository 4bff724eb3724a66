"""The order 1/N of post-norm networks: brute force, other units, samples, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from general_statement import Program, order_one_over_n
from scipy import special

from resexpand import (
    Activation,
    Branch,
    LayerNorm,
    Linear,
    ResNet,
    RMSNorm,
    Scale,
    compare,
    evaluate,
    finite_response,
    one_loop,
    sample,
    to_latex,
)
from resexpand.cli import main
from resexpand.errors import UnsupportedError
from resexpand.network.operation import Map

PAIR = np.array([[0.7, 0.2], [0.2, 1.1]])
OUT = Linear(1.9, 0.07)
FUNCTIONS = {"gelu": lambda x: x * special.ndtr(x), "erf": special.erf}
NORMS = {"LayerNorm": LayerNorm, "RMSNorm": RMSNorm}
LIMIT = 4.5
"""Largest z-score of a few dozen entries."""


def network(
    norm: Map, *ops: Any, scale: float = 0.65, depth: int = 2, skip: float = 1, read_out: Any = None
) -> ResNet:
    branch = Branch(*ops)
    return ResNet(branch, scale=scale, depth=depth, post_norm=norm, skip=skip, read_out=read_out)


def numbers(net: ResNet, K0: Any, **given: Any) -> Any:
    values = evaluate(one_loop(net, inputs=1 if np.ndim(K0) == 0 else len(K0)), K0=K0, **given)
    assert values.status == "ok"
    return values


CASES = [("RMSNorm", "erf", 1), ("LayerNorm", "gelu", 1), ("LayerNorm", "gelu", 2)]
QUICK = CASES[:1]


@pytest.mark.parametrize(
    ("norm", "phi", "linears"),
    [case if case in QUICK else pytest.param(*case, marks=pytest.mark.slow) for case in CASES],
)
def test_the_general_statement(norm: str, phi: str, linears: int) -> None:
    """Brute force by finite differences, without Price, Stein or the change of units."""
    first = linears == 2
    own = [*([Linear(1.1, 0.2)] if first else []), Activation(phi), OUT]
    ops = [*([("linear", 1.1, 0.2)] if first else []), FUNCTIONS[phi], ("linear", 1.9, 0.07)]
    post = ("norm", 0.0, norm == "LayerNorm")
    brute = order_one_over_n(Program(ops, 0.65, 2, 0.7, post))
    values = numbers(network(NORMS[norm](), *own), 0.7)
    last = np.flatnonzero(brute["kinds"] == "C")[linears - 1 :: linears]
    np.testing.assert_allclose(values["C_cov"], brute["covariance"][np.ix_(last, last)], atol=1e-8)
    np.testing.assert_allclose(values["C_mean"], brute["mean"][last], atol=1e-4)
    # With a normalisation of the branch instead nothing fits.
    pre = numbers(ResNet(Branch(NORMS[norm](), *own), scale=0.65, depth=2), 0.7)
    assert np.abs(pre["C_mean"] - brute["mean"][last]).max() > 0.01


def test_factors_are_scales() -> None:
    """A factor of the stream is one of the branch; a gain is one of what reads the stream."""
    net = network(LayerNorm(), Activation("relu"), OUT, scale=0.9, skip=1.5)
    other = network(LayerNorm(), Activation("relu"), OUT, scale=0.9 / 1.5)
    found, same = numbers(net, 0.7), numbers(other, 0.7)
    assert np.abs(found["C_mean"]).max() > 0.1
    for name in ("C_mean", "C_cov", "kurtosis"):
        np.testing.assert_allclose(found[name], same[name], rtol=1e-12, atol=1e-14)
    # An input of length gain is normalised already: h / gain obeys a network without gain.
    gain, start = 1.3, 0.9
    large = network(RMSNorm(gain=gain), Activation("relu"), Linear(1.9, 0.07 * gain**2))
    found = numbers(large, start * gain**2)
    same = numbers(network(RMSNorm(), Activation("relu"), OUT), start)
    np.testing.assert_allclose(found["C_cov"], gain**4 * same["C_cov"], rtol=1e-12)
    np.testing.assert_allclose(found["C_mean"], gain**2 * same["C_mean"], rtol=1e-11, atol=1e-14)


def test_each_of_two_inputs_is_one_input() -> None:
    net = network(LayerNorm(), Activation("relu"), OUT, depth=3)
    pair = numbers(net, PAIR)
    for i in range(2):
        alone = numbers(net, PAIR[i, i])
        np.testing.assert_allclose(pair["C_mean"][:, i, i], alone["C_mean"], atol=1e-12)
        np.testing.assert_allclose(pair["C_cov"][:, i, i, :, i, i], alone["C_cov"], atol=1e-12)
    equal = numbers(net, np.full((2, 2), 0.7))
    np.testing.assert_allclose(equal["C_mean"][:, 0, 1], numbers(net, 0.7)["C_mean"])


def test_a_length_that_is_given() -> None:
    """A read-out of the normalised stream has one length; products of two inputs fluctuate."""
    net = network(RMSNorm(), Linear(1.3, 0.1), read_out=Linear(1, 0))
    values = numbers(net, PAIR)
    np.testing.assert_allclose(values["C_mean"][-1].diagonal(), 0, atol=1e-12)
    np.testing.assert_allclose(values["C_cov"][-1, 0, 0, -1, 0, 0], 0, atol=1e-12)
    # Linear networks turn vectors: a sum over isotropic angles is what changes <h h'>.
    assert values["C_cov"][-1, 0, 1, -1, 0, 1] > 0.1


@pytest.mark.parametrize(
    ("norm", "phi", "draws"),
    [
        (LayerNorm(), "relu", 30_000),
        *(
            pytest.param(n, f, 200_000, marks=pytest.mark.slow)
            for n, f in ((RMSNorm(gain=1.2), "relu"), (LayerNorm(), "erf"))
        ),
    ],
    ids=str,
)
def test_pairs_against_samples(norm: Map, phi: str, draws: int) -> None:
    net = network(norm, Activation(phi), OUT, scale=0.9, depth=3, skip=1.3)
    values = numbers(net, PAIR)
    small, large = (
        sample(net, "layer_covariance", width, draws, K0=PAIR, seed=width)["layer_covariance"]
        for width in (40, 80)
    )
    error = np.hypot(2 * 80 * large.stderr, 40 * small.stderr)
    shift = 2 * 80 * (large.mean - values["C"]) - 40 * (small.mean - values["C"])
    each = np.arange(4)[:, None, None], *np.indices((2, 2))
    own = values["C_cov"][(*each, *each)]
    spread = 2 * 80 * large.variance - 40 * small.variance
    uncertain = np.hypot(2 * 80 * large.variance, 40 * small.variance) * np.sqrt(4 / draws)
    assert np.abs((shift - values["C_mean"]) / error).max() < LIMIT
    assert np.abs((spread - own) / uncertain).max() < LIMIT
    # Streams that are as long as at infinite width fluctuate otherwise.
    frozen = numbers(ResNet(Branch(Activation(phi), OUT), scale=0.9 / 1.3, depth=3), PAIR)
    assert np.abs((spread - frozen["C_cov"][(*each, *each)]) / uncertain).max() > 3 * LIMIT


def test_a_verdict_at_one_width() -> None:
    net = network(LayerNorm(), Activation("erf"), OUT, scale=0.9, depth=3)
    run = sample(net, ["kernel", "layer_covariance"], 64, 20_000, K0=0.7, seed=1)
    values = evaluate(one_loop(net), K0=0.7)
    assert {"K_mean", "G_cov", "K_cov"}.isdisjoint(values)
    assert compare(values, run, resolve=0.05).verdict == "agrees"
    wrong = {**values, "C_mean": -2 * np.asarray(values["C_mean"])}
    assert compare(wrong, run, resolve=0.05).verdict == "disagrees"


REFUSED = {
    "eps": (LayerNorm(0.1), {}, "neither feel the length"),
    "bias": (LayerNorm(bias=0.1), {"ops": (OUT,)}, "neither feel the length"),
    "sign": (LayerNorm(), {"skip": -1}, "keep their sign"),
    "two scales": (LayerNorm(), {"ops": (Scale(2), Activation("erf"), OUT)}, "two scales"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_derived(name: str) -> None:
    norm, asked, message = REFUSED[name]
    given = {"ops": (Activation("erf"), OUT), **asked}
    ops = given.pop("ops")
    with pytest.raises(UnsupportedError, match=message):
        one_loop(network(norm, *ops, **given))


def test_what_asks_for_more() -> None:
    net = network(LayerNorm(), Activation("erf"), OUT)
    with pytest.raises(UnsupportedError, match="fourth cumulants"):
        evaluate(one_loop(net), K0=1.0, weight_kurtosis=1.8)
    with pytest.raises(UnsupportedError, match="add to the stream"):
        finite_response(net)
    with pytest.raises(UnsupportedError, match="evaluate"):
        to_latex(one_loop(net))


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    command = ["one-loop", "--activation", "erf", "--depth", "2", "--post-norm", "LayerNorm()"]
    for more in ([], ["--width", "64"], ["--rho", "0.5,1"], ["--rho", "0.5,1", "--width", "64"]):
        assert main([*command, *more]) == 0
        shown = capsys.readouterr().out
        assert "C(" in shown
        assert "K_mean" not in shown
    assert main([*command, "--width", "64", "--out", str(tmp_path / "figure.png")]) != 0
    assert "takes out" in capsys.readouterr().err
