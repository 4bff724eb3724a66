"""The tangent kernel: exact values, another recursion in many digits, samples, and its parts."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import sympy as sp
from heavier import left_to_slow

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    Dropout,
    LayerNorm,
    Linear,
    ResNet,
    compare,
    evaluate,
    kernel,
    response,
    sample,
    tangent_kernel,
)
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.theory.tangent_kernel import TRAINABLE

GENERATOR = np.random.default_rng(15)
DATA = GENERATOR.standard_normal((5, 4))
DATA[3] = DATA[1]
OTHERS = GENERATOR.standard_normal((3, 4))
PAIR = np.array([[0.9, 0.4], [0.4, 1.3]])


def network(name: str = "erf", depth: int = 3, **options: object) -> ResNet:
    settings = {"read_in": Linear(1.1, 0.2), "read_out": Linear(1.3, 0.3)} | options
    return ResNet(Branch(Activation(name), Linear(1.7, 0.1)), scale=0.6, depth=depth, **settings)


def erf_pair(a: mp.mpf, c: mp.mpf, b: mp.mpf) -> tuple[mp.mpf, mp.mpf]:
    """Return ``<erf erf>`` and ``<erf' erf'>``."""
    one = (1 + 2 * a) * (1 + 2 * b)
    return 2 / mp.pi * mp.asin(2 * c / mp.sqrt(one)), 4 / mp.pi / mp.sqrt(one - 4 * c * c)


def by_hand(pair: np.ndarray, depth: int, *, scale_power: int = 2, biases: bool = True) -> mp.mpf:
    """Return Theta_12 of `network`, typed again with the layers' sums written out."""
    w, b, r = mp.mpf("1.7"), mp.mpf("0.1"), mp.mpf("0.6") ** 2
    k = [mp.mpf(pair[i, j]) for i, j in ((0, 0), (0, 1), (1, 1))]
    passed, sources = [], [k[1]]
    for _ in range(depth):
        squares = [erf_pair(x, x, x)[0] for x in (k[0], k[2])]
        both, slope = erf_pair(*k)
        sources.append(mp.mpf("0.6") ** scale_power * (w * both + (b if biases else 0)))
        passed.append(1 + r * w * slope)
        k = [
            k[0] + r * (w * squares[0] + b),
            k[1] + r * (w * both + b),
            k[2] + r * (w * squares[1] + b),
        ]
    stream = sum(s * mp.fprod(passed[layer:]) for layer, s in enumerate(sources))
    return mp.mpf("1.3") * (stream + k[1]) + mp.mpf("0.3")


def test_a_deep_network_to_many_digits():
    depth = 60
    with mp.workdps(40):
        right = by_hand(PAIR, depth)
        wrong = [by_hand(PAIR, depth, biases=False), by_hand(PAIR, depth, scale_power=1)]
    found = evaluate(tangent_kernel(network(depth=depth), 2), K0=PAIR, outputs="NTK")["NTK"]
    assert abs(found[0, 1] / float(right) - 1) < 1e-13
    for value in wrong:
        assert abs(found[0, 1] / float(value) - 1) > 1e-3


def test_closed_values():
    k0, rho = sp.Symbol("K0", positive=True), sp.Symbol("rho", real=True)
    linear = ResNet(Branch(Activation("identity"), Linear(1, 0)), scale=rho, depth=3)
    (found,) = tangent_kernel(linear).unroll(3)["NTK"]
    grown = 1 + rho**2
    # The read-out and the read-in; and each of three blocks in place of one factor.
    assert sp.expand(found - k0 * (2 * grown**3 + 3 * rho**2 * grown**2)) == 0
    relu = tangent_kernel(ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=4))
    # Theta doubles and gains K^l, which doubles, too; the read-out sees half of both.
    assert relu.unroll(4)["NTK"] == [k0 * (2**4 + 4 * 2**3 + 2**4) / 2]


PEER = {"ntk": 1.0986015229786144, "standard": 40.39481422213392}
PEER_COVARIANCE = 0.8184123296762689


def test_values_of_neural_tangents():
    """Of 0.6.5 in double precision, Dense layers with biases in both parametrisations."""
    first, second = np.array([[1.0, -0.5, 0.3]]), np.array([[0.2, 0.8, -1.1]])
    net = ResNet(
        Branch(Activation("gelu"), Linear(0.7, 0.1)),
        scale=1,
        depth=3,
        read_in=Linear(1.1, 0.2),
        read_out=[Activation("gelu"), Linear(1.3, 0.3)],
    )
    for parametrisation, expected in PEER.items():
        width = {"width": 64} if parametrisation == "standard" else {}
        recursion = tangent_kernel(net, 2, parametrisation=parametrisation)
        found = evaluate(recursion, inputs=first, others=second, outputs=["NTK", "NNGP"], **width)
        assert abs(found["NTK"][0, 0] / expected - 1) < 1e-13
        assert abs(found["NNGP"][0, 0] / PEER_COVARIANCE - 1) < 1e-13


MIXED = ResNet(
    [
        Branch(LayerNorm(), Linear(1.2, 0.1), Activation("relu"), Linear(1.5, 0)),
        Branch(Activation("erf"), Linear(0.8, 0.3)),
    ],
    scale=[0.7, 0.5, 0.9],
    skip=0.8,
    depth=3,
    read_out=[Activation("relu"), Linear(1.3, 0.2)],
)
SAMPLED = {
    "kinds": MIXED,
    "post": network(read_in=None, post_norm=LayerNorm(eps=0.1)),
    "ends": ResNet(
        Branch(Linear(1.4, 0.2), Activation("relu")), scale=0.8, depth=2, read_out=Linear(1, 0.1)
    ),
}


@pytest.mark.parametrize("name", left_to_slow(list(SAMPLED), ["post", "ends"]))
def test_samples_agree(name):
    net = SAMPLED[name]
    asked = ["ntk", "ntk_layers"]
    runs = [
        sample(net, asked, width, 1500, K0=PAIR, seed=width, progress=False) for width in (48, 96)
    ]
    theory = evaluate(tangent_kernel(net, 2), K0=PAIR)
    right = {name: theory[name] for name in ("NTK", "NTK_layers")}
    assert compare(right, runs, resolve=0.25).verdict == "agrees"
    layers = theory["NTK_layers"].copy()
    layers[2] -= theory["NTK_biases"][2]
    assert compare({"NTK_layers": layers}, runs, resolve=0.25).verdict == "disagrees"


@pytest.mark.parametrize("name", left_to_slow(["erf", "tanh"], ["tanh"]))
def test_many_inputs_are_their_pairs(name):
    recursion = tangent_kernel(network(name), 2)
    many = evaluate(recursion, inputs=DATA)
    for output in ("NTK", "NNGP", "Theta", "NTK_layers", "NTK_weights"):
        assert many[output].shape[-2:] == (5, 5)
        np.testing.assert_allclose(many[output], many[output].swapaxes(-1, -2), rtol=1e-13)
    pair = evaluate(recursion, inputs=DATA[[0, 4]])
    between = evaluate(recursion, inputs=DATA, others=OTHERS)
    whole = evaluate(recursion, inputs=np.concatenate([DATA, OTHERS]))
    for output, own in pair.items():
        np.testing.assert_allclose(many[output][..., [[0], [4]], [0, 4]], own, rtol=1e-11)
        np.testing.assert_allclose(between[output], whole[output][..., :5, 5:], rtol=1e-11)
    # Equal inputs are one input, to the last bit.
    np.testing.assert_allclose(many["NTK"][1, 3], many["NTK"][1, 1], rtol=1e-14)
    one = evaluate(tangent_kernel(network(name)), inputs=DATA[:1])
    for output in ("NTK", "NNGP"):
        assert abs(one[output] / many[output][0, 0] - 1) < 1e-12
    for output in ("Theta", "NTK_layers", "NTK_biases"):
        np.testing.assert_allclose(one[output], many[output][:, 0, 0], rtol=1e-12)
    assert many.status == one.status == "ok"


def test_what_is_trained_adds_up():
    net = SAMPLED["kinds"]
    total = evaluate(tangent_kernel(net, 2), K0=PAIR)
    parts = {
        name: evaluate(tangent_kernel(net, 2, trained=name), K0=PAIR, outputs="NTK")["NTK"]
        for name in TRAINABLE
    }
    np.testing.assert_allclose(sum(parts.values()), total["NTK"], rtol=1e-14)
    layers, biases = total["NTK_layers"], total["NTK_biases"]
    np.testing.assert_allclose(layers[0], parts["read_in"], rtol=1e-14)
    np.testing.assert_allclose(layers[-1], parts["read_out"], rtol=1e-14)
    np.testing.assert_allclose(biases[1:-1].sum(0), parts["biases"], rtol=1e-14)
    np.testing.assert_allclose(biases + total["NTK_weights"], layers, rtol=1e-14)
    assert (parts["biases"] > 0).all()


def test_the_read_in_alone_is_the_response_of_the_covariance():
    """``Theta = eta K^0_12`` where nothing else is trained."""
    net = network()
    theta = evaluate(tangent_kernel(net, 2, "read_in"), inputs=DATA, outputs="NTK")["NTK"]
    eta = evaluate(response(net, "covariance"), inputs=DATA, outputs="eta")["eta"]
    start = evaluate(kernel(net, 2), inputs=DATA, outputs="K")["K"][0]
    off = ~np.eye(5, dtype=bool)
    np.testing.assert_allclose(theta[off], (eta * start)[off], rtol=1e-13)


def test_standard_parametrisation_counts_fans():
    net = ResNet(
        Branch(Activation("relu"), Linear(2, 0)),
        scale=1,
        depth=2,
        read_in=Linear(1, 0),
        read_out=Linear(1, 0),
    )
    recursion = tangent_kernel(net, parametrisation="standard")
    found = evaluate(recursion, inputs=DATA[:1], width=128)
    k0 = float(DATA[0] @ DATA[0]) / 4
    # K^l = 2^l K0; the weights of a block meet <relu^2> = K/2 once for each of N inputs.
    layers = [4 * 4 * k0, 128 * k0 / 2 * 2, 128 * 2 * k0 / 2, 128 * 4 * k0]
    np.testing.assert_allclose(found["NTK_layers"], layers, rtol=1e-13)
    assert found.width == 128
    assert not found["NTK_biases"].any()
    # A bias that begins at zero is a parameter, a bias that is not there is none.
    beginning = network("relu", read_in=None)
    symbolic = ResNet(
        Branch(Activation("relu"), Linear(2)), scale=1, depth=2, read_out=Linear(1, 0)
    )
    recursion = tangent_kernel(symbolic, trained="biases", parametrisation="standard")
    assert evaluate(recursion, K0=1.0, sigma_b2=0.0, width=9)["NTK"] == 1 * 2 + 1
    with pytest.raises(HyperparameterError, match="no read_in"):
        tangent_kernel(beginning, parametrisation="standard")


def test_grids_and_what_is_left_out():
    net = ResNet(Branch(Activation("erf"), Linear()), scale=0.3, depth=2, read_in=Linear(1, 0))
    recursion = tangent_kernel(net, 2)
    grid = evaluate(recursion, inputs=DATA, sigma_w2=[1.0, 2.0], sigma_b2=0.1)
    one = evaluate(recursion, inputs=DATA, sigma_w2=2.0, sigma_b2=0.1)
    for name, value in one.items():
        np.testing.assert_allclose(grid[name][1], value, rtol=1e-15)
    assert grid["NTK_layers"].shape == (2, 4, 5, 5)
    few = evaluate(recursion, inputs=DATA, sigma_w2=2.0, sigma_b2=0.1, outputs="NTK_layers")
    assert list(few) == ["NTK_layers"]
    np.testing.assert_allclose(few["NTK_layers"].sum(0), one["NTK"], rtol=1e-14)


def test_large_data_leaves_layers_out(monkeypatch):
    monkeypatch.setattr("resexpand.numbers.tangent_kernel.LIMIT", 8 * 5 * 25 - 1)
    values = evaluate(tangent_kernel(network(), 2), inputs=DATA)
    assert set(values) == {"NTK", "NNGP"}
    assert "outputs=" in values.notes[0]


def test_refusals():
    net = network()
    for arguments in (
        {"inputs": 3},
        {"trained": ()},
        {"trained": "all"},
        {"parametrisation": "mup"},
    ):
        with pytest.raises(HyperparameterError):
            tangent_kernel(net, **arguments)
    relu, linear = Activation("relu"), Linear(1, 0)
    for op in (Dropout(0.5), BatchNorm()):
        with pytest.raises(UnsupportedError):
            tangent_kernel(ResNet(Branch(op, relu, linear), scale=1, depth=2))
    jump = ResNet(Branch(Activation("sign"), linear), scale=1, depth=2)
    with pytest.raises(UnsupportedError, match=r"infinite|does not exist"):
        evaluate(tangent_kernel(jump), K0=1.0)
    with pytest.raises(HyperparameterError, match="NTK_total"):
        evaluate(tangent_kernel(net), K0=1.0, outputs="NTK_total")
