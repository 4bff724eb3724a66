"""All pairs of many inputs at once: the same numbers as pair by pair, and as at high precision."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from heavier import left_to_slow
from oracles import reference_average

from resexpand import Activation, Branch, Linear, ResNet, evaluate, kernel, response
from resexpand import parse_expression as expression
from resexpand.codegen.gram import evaluation as gram_evaluation
from resexpand.codegen.gram.evaluation import _planned
from resexpand.errors import HyperparameterError

GENERATOR = np.random.default_rng(20)
DATA = GENERATOR.standard_normal((7, 5))
DATA[3] = DATA[1]
OTHERS = np.concatenate([DATA[2:4], -DATA[:1]])
FIRST, SECOND = np.triu_indices(len(DATA), 1)


def net(*ops, depth=3, scale=0.5):
    return ResNet(
        Branch(*ops),
        scale=scale,
        depth=depth,
        read_in=Linear(1, 0.2),
        read_out=Linear(1.1, 0.1),
    )


RELU = net(Activation("relu"), Linear(1.5, 0.1))
TANH = net(Linear(1.1, 0.1), Activation("tanh"), Linear(1.5, 0.1), scale=[0.5, 0.4, 0.3])
# The branch ends in an activation: the stream has a mean, which the pair reads of both inputs.
MEAN = net(Linear(1.1, 0.1), Activation("relu"))
NETS = {"closed": RELU, "series": TANH, "mean": MEAN}


def pairs():
    gram = DATA @ DATA.T / DATA.shape[1] + 0.2
    index = np.stack([FIRST, SECOND], axis=1)
    return gram[index[:, :, None], index[:, None, :]]


@pytest.mark.parametrize("name", left_to_slow(NETS, ["mean"]))
def test_many_inputs_are_their_pairs(name):
    many = evaluate(response(NETS[name], "covariance"), inputs=DATA)
    each = evaluate(response(NETS[name], "covariance"), K0=pairs())
    kernels = many["K"]
    assert kernels.shape == (4, 7, 7)
    np.testing.assert_allclose(
        kernels[:, FIRST, SECOND].T, each["K"][..., 0, 1], rtol=3e-14, atol=1e-15
    )
    own = np.diagonal(kernels, axis1=1, axis2=2)
    np.testing.assert_allclose(own[:, FIRST].T, each["K"][..., 0, 0], rtol=3e-14, atol=1e-15)
    np.testing.assert_array_equal(kernels, kernels.swapaxes(1, 2))
    np.testing.assert_allclose(kernels[:, 1, 3], kernels[:, 1, 1], rtol=3e-14, atol=1e-15)
    np.testing.assert_allclose(many["eta"][FIRST, SECOND], each["eta"], rtol=3e-13)
    np.testing.assert_allclose(many["chi_0"][:, FIRST, SECOND].T, each["chi_0"], rtol=3e-13)
    chi = np.moveaxis(many["chi"][:, :, FIRST, SECOND], -1, 0)
    np.testing.assert_allclose(chi, each["chi"], rtol=3e-13)
    assert many.status == each.status == "ok"
    # The comparison can fail: pairs in another order are other numbers.
    assert not np.allclose(kernels[:, SECOND, SECOND].T, each["K"][..., 0, 1], rtol=1e-3)


@pytest.mark.parametrize("name", left_to_slow(["closed", "series"], ["series"]))
def test_between_two_sets(name):
    both = np.concatenate([DATA, OTHERS])
    square = evaluate(kernel(NETS[name], 2), inputs=both)
    between = evaluate(kernel(NETS[name], 2), inputs=DATA, others=OTHERS)
    for output in ("K", "C"):
        assert between[output].shape == (4, 7, 3)
        np.testing.assert_allclose(between[output], square[output][:, :7, 7:], rtol=1e-13)
    turned = evaluate(kernel(NETS[name], 2), inputs=OTHERS, others=DATA)
    np.testing.assert_allclose(turned["K"], between["K"].swapaxes(1, 2), rtol=1e-13)
    assert not np.allclose(between["K"], square["K"][:, :7, :3], rtol=1e-3)


def test_a_grid_of_hyperparameters_and_one_input():
    import sympy as sp

    rho = sp.Symbol("rho")
    recursion = kernel(ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=rho, depth=4), 2)
    gram = DATA @ DATA.T
    grid = evaluate(recursion, K0=gram, rho=[0.3, 0.9])["K"]
    for k, value in enumerate((0.3, 0.9)):
        np.testing.assert_array_equal(grid[k], evaluate(recursion, K0=gram, rho=value)["K"])
    single = evaluate(recursion, K0=gram[:1, :1], rho=0.5)["K"]
    # <relu^2> = K/2: exact growth by 1 + rho^2 per block.
    np.testing.assert_allclose(single[:, 0, 0], gram[0, 0] * 1.25 ** np.arange(5), rtol=1e-14)


def on_a_lattice(function, k11, c, k22):
    """Return <f(x) f(y)> by the trapezoidal rule in the plane, which is exact to rounding here."""
    z = np.linspace(-11, 11, 1401)
    density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * (22 / 1400)
    first, second = (
        np.sqrt(k11) * z[:, None],
        np.sqrt(k22) * (c * z[:, None] + np.sqrt(1 - c * c) * z),
    )
    return float(density @ (function(first) * function(second)) @ density)


def silu(x):
    return x / (1 + np.exp(-x))


SMOOTH = [("tanh", np.tanh, (0.3, 1.7)), ("silu", silu, (4.0, 0.9))]


@pytest.mark.parametrize(("name", "function", "variances"), left_to_slow(SMOOTH, SMOOTH[1:]))
def test_stated_error_of_a_series_bounds(name, function, variances):
    k11, k22 = variances
    recursion = kernel(ResNet(Branch(Activation(name), Linear(1, 0)), scale=1, depth=1), 2)
    _, plan = _planned(recursion, ("C",))
    assert len(plan.series) == 1
    for c in (-0.999, -0.6, 0.0, 0.9, 0.99999):
        k12 = c * np.sqrt(k11 * k22)
        # A third input, so that it is the loop over all pairs that answers.
        values = evaluate(recursion, K0=[[k11, k12, 0], [k12, k22, 0], [0, 0, 1.0]], outputs="C")
        gram = values["C"][0]
        size = np.sqrt(gram[0, 0] * gram[1, 1])
        right = on_a_lattice(function, k11, c, k22)
        assert abs(gram[0, 1] - right) / size <= values.quadrature_error["C"] + 2e-14
        assert values.quadrature_error["C"] < 1e-10
        # The bound would not cover the value at another correlation.
        wrong = on_a_lattice(function, k11, c - 1e-6, k22)
        assert abs(gram[0, 1] - wrong) / size > 1e-8


@pytest.mark.slow
def test_a_series_at_high_precision():
    recursion = kernel(ResNet(Branch(Activation("tanh"), Linear(1, 0)), scale=1, depth=1), 2)
    values = evaluate(recursion, K0=[[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1.0]], outputs="C")
    right = reference_average(
        lambda x, y: mpmath.tanh(x) * mpmath.tanh(y), (1.0, 0.9, 1.0), digits=20
    )
    apart = abs(values["C"][0][0, 1] - float(right)) / values["C"][0][0, 0]
    assert apart <= values.quadrature_error["C"] + 1e-15


@pytest.mark.slow
def test_kinks_without_closed_form_go_from_series_to_quadrature():
    """Of an odd kink the series converges slowly near full correlation."""
    activation = Activation(expression("tanh(abs(x)-1/2)"))
    recursion = kernel(ResNet(Branch(activation, Linear(1, 0)), scale=1, depth=1), 2)
    for c in (0.3, 0.9999):
        values = evaluate(recursion, K0=[[1, c, 0], [c, 1, 0], [0, 0, 1.0]], outputs="C")
        right = float(
            reference_average(
                lambda x, y: mpmath.tanh(abs(x) - 0.5) * mpmath.tanh(abs(y) - 0.5),
                (1.0, c, 1.0),
                (0.0,),
                20,
            )
        )
        apart = abs(values["C"][0][0, 1] - right) / values["C"][0][0, 0]
        assert apart <= values.quadrature_error["C"] + 1e-14


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"inputs": DATA, "others": DATA[:, :3]}, "others of shape"),
        ({"K0": np.eye(3), "others": DATA}, "goes with inputs"),
        ({"others": DATA}, "exactly one"),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises(HyperparameterError, match=message):
        evaluate(kernel(RELU, 2), **given)


def test_one_input_has_no_others():
    with pytest.raises(HyperparameterError, match="of one input"):
        evaluate(kernel(RELU), inputs=DATA[:1], others=DATA)


def test_numbers_out_of_range_are_said_in_words():
    """Warnings are errors here: none of NumPy's may come through."""
    net = ResNet(
        Branch(Activation(expression("x**5")), Linear(1, 0)),
        scale=0.5,
        depth=3,
        read_in=Linear(1, 0),
    )
    values = evaluate(kernel(net, 2), inputs=[[0.0, 0.0], [1e60, 2.0], [3.0, -1.0]], outputs="K")
    assert "K is" in values.status
    # The input of length zero stays there.
    np.testing.assert_array_equal(values["K"][:, 0, 0], 0.0)


def test_tables_are_shared_by_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """One table per layer and rule where all pairs of one set are asked for, two between two."""
    calls = []
    table = gram_evaluation.table
    monkeypatch.setattr(gram_evaluation, "table", lambda *given: calls.append(1) or table(*given))
    net = ResNet(Branch(Activation("tanh"), Linear(1, 0)), scale=1, depth=1)
    data = np.random.default_rng(2).standard_normal((6, 3))
    evaluate(kernel(net, inputs=2), K0=data @ data.T / 3, outputs="C")
    assert len(calls) == 2 * (1 + 1)  # two rules, blocks and the read-out
