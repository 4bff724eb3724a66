"""The way back: chain rule to rounding, derivatives by NumPy, exact means, infinite width.

The control draws fresh transposed weights: the columns that the transpose must remember are taken
away from it in the generated text.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from weight_mirror import Mirror, mirror, normals

from resexpand import Activation, Branch, Linear, ResNet, evaluate, kernel, sample
from resexpand.codegen.store import load
from resexpand.errors import UnsupportedError
from resexpand.montecarlo import engine
from resexpand.montecarlo.random.streams import READ_OUT_WEIGHTS, stream_word
from resexpand.montecarlo.source import sampler as sampler_source

W, V = Linear(1.4, 0.3), Linear(0.8, 0.1)
READ_OUT = Linear(0.7, 0.2)
SCALES = [0.9, 0.5, 0.7]
PAIR = [[1.2, 0.5], [0.5, 0.9]]
BRANCHES = {
    "W phi(h)": lambda phi: Branch(phi, W),
    "V phi(W h)": lambda phi: Branch(V, phi, W),
    "phi(W h)": lambda phi: Branch(W, phi),
}


def network(shape: str = "W phi(h)", phi: str = "tanh", read_out: Linear | None = READ_OUT):
    branch = BRANCHES[shape](Activation(phi))
    ending = None if read_out is None else branch.followed_by(read_out)
    return ResNet(branch, scale=SCALES, read_out=ending)


def with_fresh_transposes(sampler: engine.Sampler, net: ResNet) -> engine.Sampler:
    """Return a sampler that forgets on the way back what the weights did on the way forward."""
    method = "function-space"
    text = sampler_source.sampler_source(net.branch, method, sampler.layout)
    assert "transposed(source, g" in text
    wrong = text.replace("transposed(source, g", "transposed(0.0 * source, g")
    return replace(sampler, text=load(wrong))


CASES = [
    ("W phi(h)", "tanh", "function-space"),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in (
            ("W phi(h)", "relu", "dense"),
            ("V phi(W h)", "relu", "function-space"),
            ("phi(W h)", "gelu", "function-space"),
            ("V phi(W h)", "gelu", "dense"),
            ("W phi(h)", "leaky_relu", "function-space"),
        )
    ),
]
NETWORKS = [
    ("W phi(h)", "tanh"),
    pytest.param("V phi(W h)", "tanh", marks=pytest.mark.slow),
    pytest.param("W phi(h)", "relu", marks=pytest.mark.slow),
    pytest.param("V phi(W h)", "relu", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("shape", "phi", "method"), CASES)
@pytest.mark.parametrize("read_out", [READ_OUT, None])
def test_chain_rule(shape: str, phi: str, method: str, read_out, make) -> None:
    """p^l . v^l does not depend on the layer, to rounding, in every single network."""
    net = network(shape, phi, read_out)
    for width in (4, 33):
        rows = make(net, "directional_derivative", width, K0=0.8, method=method).rows(0, 200)
        slopes = rows["directional_derivative"]
        assert slopes.std() > 0.1
        assert np.abs(slopes - slopes[:, :1]).max() < 1e-13 * np.abs(slopes).max()


def test_control_fresh_transposes_break_the_chain_rule(make) -> None:
    net = network()
    sampler = make(net, "directional_derivative", 33, K0=0.8)
    wrong = with_fresh_transposes(sampler, net).rows(0, 200)["directional_derivative"]
    assert np.isfinite(wrong).all()
    assert np.abs(wrong[:, 0] - wrong[:, -1]).max() > 0.1


class Outputs:
    """The output of one mirrored network as a function of everything it has."""

    def __init__(self, net: ResNet, found: Mirror, width: int, draw: int) -> None:
        self.mirror, self.width = found, width
        word = stream_word(len(found.blocks) + 1, READ_OUT_WEIGHTS)
        self.weights = np.sqrt(0.7 / width) * normals(0, word, draw, width, 1)
        self.opens = not isinstance(net.branch.ops[0], Linear)

    def __call__(self, h: np.ndarray, layer: int = 0, nudge=None) -> complex:
        """Return y from h at a layer; nudge = (block, step, dW, db) moves parameters."""
        blocks = list(zip(self.mirror.scales, self.mirror.blocks, strict=True))
        for index, (scale, block) in enumerate(blocks[layer:], start=layer):
            x = h
            for place, step in enumerate(block):
                if callable(step):
                    x = step(x)
                else:
                    x0, x = x, step[0] @ x + step[1]
                    if nudge is not None and nudge[:2] == (index, place):
                        x = x + nudge[2] @ x0 + nudge[3]
            h = h + scale * x
        return self.weights @ (self.mirror.blocks[0][0](h) if self.opens else h)


STEP = 1e-30


def by_complex_steps(output, h: np.ndarray, layer: int) -> np.ndarray:
    """Return dy/dh^l, component by component."""
    steps = 1j * STEP * np.eye(h.size)
    return np.array([output(h + step, layer).imag / STEP for step in steps])


def smooth(phi: str):
    return {"tanh": np.tanh, "relu": lambda x: np.where(x.real > 0, x, 0)}[phi]


@pytest.mark.parametrize(("shape", "phi"), NETWORKS)
def test_gradients_of_dense_networks(shape: str, phi: str, make) -> None:
    net, width = network(shape, phi), 7
    rows = make(net, ["gradient", "log_gradient"], width, K0=0.8, method="dense").rows(0, 3)
    for draw in range(3):
        found = mirror(net, [smooth(phi)], width, 0.8, draw)
        output = Outputs(net, found, width, draw)
        states = [found.run(1.0, depth) for depth in range(4)]
        slopes = [by_complex_steps(output, h, layer) for layer, h in enumerate(states)]
        exact = [slope @ slope for slope in slopes]
        np.testing.assert_allclose(rows["gradient"][draw], exact, rtol=1e-11)
        np.testing.assert_allclose(rows["log_gradient"][draw], np.log(exact), atol=1e-11)


@pytest.mark.parametrize(("shape", "phi"), NETWORKS)
def test_tangent_kernel_of_dense_networks(shape: str, phi: str, make) -> None:
    """The sum over all parameters of squared derivatives, each by a complex step."""
    net, width, variance = network(shape, phi), 4, 0.8
    rows = make(net, ["ntk", "ntk_layers"], width, K0=variance, method="dense").rows(0, 2)
    laws = {j: op for j, op in enumerate(net.branch.ops) if isinstance(op, Linear)}
    for draw in range(2):
        found = mirror(net, [smooth(phi)], width, variance, draw)
        output = Outputs(net, found, width, draw)
        layers = np.zeros(len(SCALES) + 2)
        first = by_complex_steps(output, found.start, 0)
        layers[0] = variance * first @ first
        for block in range(len(SCALES)):
            for place, op in laws.items():
                unit = float(op.weight_variance) / width
                for i, j in np.ndindex(width, width):
                    step = np.zeros((width, width), complex)
                    step[i, j] = 1j * STEP
                    slope = output(found.start, 0, (block, place, step, 0)).imag / STEP
                    layers[block + 1] += unit * slope**2
                for step in 1j * STEP * np.eye(width):
                    slope = output(found.start, 0, (block, place, 0 * np.eye(width), step)).imag
                    layers[block + 1] += float(op.bias_variance) * (slope / STEP) ** 2
        h = found.run(1.0)
        x = found.blocks[0][0](h) if output.opens else h
        layers[-1] = 0.7 / width * x @ x + 0.2
        np.testing.assert_allclose(rows["ntk_layers"][draw], layers, rtol=1e-11)
        np.testing.assert_allclose(rows["ntk"][draw], layers.sum(), rtol=1e-11)


def test_several_inputs(make) -> None:
    """Diagonals are those of each input alone; both samplers have the same means."""
    net = network()
    names = ["gradient", "ntk", "ntk_layers"]
    both = make(net, names, 9, K0=PAIR, method="dense").rows(0, 4000)
    one = make(net, names, 9, K0=1.2, method="dense").rows(0, 5)
    np.testing.assert_allclose(both["ntk"][:5, 0, 0], one["ntk"], rtol=1e-12)
    np.testing.assert_allclose(both["gradient"][:5, :, 0, 0], one["gradient"], rtol=1e-12)
    assert both["ntk_layers"].shape == (4000, 5, 2, 2)
    np.testing.assert_allclose(both["ntk"], both["ntk_layers"].sum(axis=1), rtol=1e-12)
    other = make(net, names, 9, K0=PAIR, seed=2).rows(0, 4000)
    for name in names:
        a, b = both[name], other[name]
        np.testing.assert_array_equal(b, np.swapaxes(b, -1, -2))
        error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / 4000)
        z = np.divide(a.mean(axis=0) - b.mean(axis=0), error, where=error > 1e-12, out=0 * error)
        assert np.abs(z).max() < 4.5


def test_exact_means_of_linear_networks(make, z_score) -> None:
    """Forward states and backward gradients of different layers are independent: exact at N = 6."""
    net = ResNet(Branch(Linear(1.4, 0.3)), scale=SCALES, read_out=READ_OUT)
    rows = make(net, ["gradient", "ntk_layers"], 6, K0=0.8).rows(0, 40_000)
    r = np.square(SCALES)
    slopes = 0.7 * np.cumprod(np.append(1.0, (1 + 1.4 * r)[::-1]))[::-1]
    K = [0.8]
    for square in r:
        K.append(K[-1] + square * (1.4 * K[-1] + 0.3))
    inner = [r[b] * (1.4 * K[b] + 0.3) * slopes[b + 1] for b in range(3)]
    exact = np.array([0.8 * slopes[0], *inner, 0.7 * K[-1] + 0.2])
    assert np.abs(z_score(rows["gradient"], slopes)).max() < 4
    assert np.abs(z_score(rows["ntk_layers"], exact)).max() < 4
    assert np.abs(z_score(rows["ntk_layers"], 1.05 * exact)).max() > 4


def slope(K: float) -> float:
    """Return <phi'^2> of tanh, by the trapezoidal rule."""
    z = np.linspace(-8.6, 8.6, 241)
    density = np.exp(-(z**2) / 2)
    return float(np.sum(density / np.cosh(np.sqrt(K) * z) ** 4) / density.sum())


def infinite_width_ntk(net: ResNet, K0: float) -> float:
    """Return the tangent kernel from kernels alone.

    With c the sum of the kernels of the features, weighted by what comes back through the blocks.
    """
    values = evaluate(kernel(net), K0=K0)
    K, C = np.asarray(values["K"]), np.asarray(values["C"])
    squared, back = 0.25, 0.7 * slope(K[-1])
    total = C[-1]
    for layer in range(len(K) - 1, 0, -1):
        total += squared * C[layer - 1] * back
        back *= 1 + squared * 1.4 * slope(K[layer - 1])
    return total + K0 * back


def test_tangent_kernel_at_infinite_width() -> None:
    """Means at several widths approach the recursion of the kernels like 1/N."""
    branch = Branch(Activation("tanh"), W)
    net = ResNet(branch, scale=0.5, depth=4, read_out=branch.followed_by(READ_OUT))
    exact = infinite_width_ntk(net, 0.8)
    runs = {N: sample(net, "ntk", N, 6000, K0=0.8, seed=N)["ntk"] for N in (32, 64, 128)}
    deviation = {N: (float(e.mean) - exact, float(e.stderr)) for N, e in runs.items()}
    # Richardson: the 1/N term cancels in 2 f(128) - f(64); what is left is 1/N^2.
    left = 2 * deviation[128][0] - deviation[64][0]
    error = np.hypot(2 * deviation[128][1], deviation[64][1])
    assert abs(left) < 3.5 * error
    assert error < 0.01 * exact
    # The control: without the read-in's share the recursion is another one.
    assert abs(left + 0.1 * exact) > 3.5 * error


@pytest.mark.slow
def test_beside_everything_else(make) -> None:
    """With the twin of a controlled sample and with tangents, forward numbers stay the same."""
    net = network(phi="erf")
    names = ["kernel", "gradient", "chi", "directional_derivative"]
    alone = make(net, ["kernel"], 12, K0=0.8, control=True).rows(0, 20)
    beside = make(net, names, 12, K0=0.8, control=True).rows(0, 20)
    np.testing.assert_allclose(alone["kernel"], beside["kernel"], rtol=1e-12)
    slopes = beside["directional_derivative"]
    assert np.abs(slopes - slopes[:, :1]).max() < 1e-13


def test_equal_inputs_have_equal_gradients(make) -> None:
    net = network()
    rows = make(net, ["gradient", "ntk"], 5, K0=np.ones((2, 2))).rows(0, 300)
    for name in ("gradient", "ntk"):
        first = rows[name][..., :1, :1]
        np.testing.assert_allclose(rows[name], np.broadcast_to(first, rows[name].shape), rtol=1e-9)


def test_refusals(make) -> None:
    with pytest.raises(UnsupportedError, match="jumps"):
        make(network(phi="sign"), "gradient", 12)
