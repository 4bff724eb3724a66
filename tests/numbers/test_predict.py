"""Trained infinite networks: values of neural-tangents, identities, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    class_codes,
    evaluate,
    kernel,
    predict,
    tangent_kernel,
)
from resexpand.errors import HyperparameterError, KernelError

NET = ResNet(
    Branch(Activation("erf"), Linear(0.7, 0.1)),
    scale=1,
    depth=3,
    read_in=Linear(1.1, 0.2),
    read_out=[Activation("erf"), Linear(1.3, 0.3)],
)
TRAIN = np.array([[1.0, -0.5, 0.3], [0.2, 0.8, -1.1], [-0.7, 0.1, 0.4], [0.5, 0.5, 0.9]])
TARGETS = np.array([[1.0, -1.0], [-1.0, 1.0], [0.5, 0.2], [0.0, -0.3]])
TEST = np.array([[0.3, -0.2, 0.6], [-1.0, 0.4, 0.2]])

# Mean and covariance of `gradient_descent_mse_ensemble` of neural-tangents 0.6.5 with the absolute
# `diag_reg=0.05`, at `t=None` and at `t=0.3 * 4 * 2`: its loss is an average over 4 x 2 numbers.
PEER = {
    ("ntk", None): (
        [[0.6419730353760138, -0.5705553718362769], [0.21357979488594467, 0.4279401858078021]],
        [
            [0.08457530495560228, -0.021321292987945495],
            [-0.021321292987945606, 0.07359753175940864],
        ],
    ),
    ("ntk", 0.3): (
        [[0.40522798939397137, -0.3563259089589865], [0.08808766003503504, 0.2274279786797285]],
        [[0.14300870980228908, 0.001645163516748982], [0.0016451635167490375, 0.24700913480251302]],
    ),
    ("nngp", None): (
        [[0.7392836436819117, -0.6250714884616999], [0.10380931286790947, 0.5229392690911794]],
        [
            [0.10248225445578019, -0.010769533957357136],
            [-0.010769533957357025, 0.11190564643233991],
        ],
    ),
    ("nngp", 0.3): (
        [[0.2002977760922763, -0.1546733343179625], [0.039625650604266184, 0.09009139345748172]],
        [[0.33376339104224084, 0.07967210270514935], [0.07967210270514935, 0.5133537430410778]],
    ),
}


@pytest.mark.parametrize(("kind", "time"), PEER)
def test_values_of_neural_tangents(kind, time):
    mean, covariance = PEER[kind, time]
    found = predict(NET, TRAIN, TARGETS, TEST, kind=kind, time=time, ridge=0.05)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-11)
    # Noise on the targets is what parts a posterior from networks regularised alike.
    other = predict(NET, TRAIN, TARGETS, TEST, kind=kind, time=time, ridge=0.06)
    assert not np.allclose(other.mean, mean, rtol=1e-4)


def blocks():
    values = evaluate(tangent_kernel(NET, 2), inputs=np.concatenate([TRAIN, TEST]))
    return values["NTK"], values["NNGP"]


def test_closed_forms_and_limits():
    theta, k = blocks()
    times = [0.0, 1e-3, 1e9, np.inf]
    found = predict(NET, TRAIN, TARGETS, TEST, time=times)
    assert found.mean.shape == (4, 2, 2)
    assert found.covariance.shape == (4, 2, 2)
    # At time zero the ensemble is the prior; the first step is a gradient of the loss.
    np.testing.assert_array_equal(found.mean[0], 0.0)
    np.testing.assert_allclose(found.covariance[0], k[4:, 4:], rtol=1e-14)
    np.testing.assert_allclose(found.mean[1], 1e-3 * theta[4:, :4] @ TARGETS, rtol=3e-2)
    np.testing.assert_allclose(found.mean[2], found.mean[3], rtol=1e-10)
    weights = np.linalg.solve(theta[:4, :4], theta[:4, 4:]).T
    np.testing.assert_allclose(found.mean[3], weights @ TARGETS, rtol=1e-12)
    apart = np.hstack([-weights, np.eye(2)])
    np.testing.assert_allclose(found.covariance[3], apart @ k @ apart.T, rtol=1e-11)
    single = predict(NET, TRAIN, TARGETS, TEST)
    np.testing.assert_array_equal(single.mean, found.mean[3])
    without = predict(NET, TRAIN, TARGETS, TEST, covariance=False)
    np.testing.assert_allclose(without.mean, single.mean, rtol=1e-12)
    assert without.covariance is None
    assert without.deviation is None


def test_posterior_interpolates_and_its_evidence_is_a_density():
    from scipy.stats import multivariate_normal

    _, k = blocks()
    exact = predict(NET, TRAIN, TARGETS, kind="nngp", ridge=1e-12)
    np.testing.assert_allclose(exact.mean, TARGETS, atol=1e-9)
    assert np.abs(exact.covariance).max() < 1e-9
    found = predict(NET, TRAIN, TARGETS[:, 0], TEST, kind="nngp", ridge=0.2)
    assert found.mean.shape == found.deviation.shape == (2,)
    noisy = k[:4, :4] + 0.2 * np.eye(4)
    density = multivariate_normal(np.zeros(4), noisy).logpdf(TARGETS[:, 0])
    assert abs(found.log_marginal_likelihood - density) < 1e-12
    both = predict(NET, TRAIN, TARGETS, TEST, kind="nngp", ridge=0.2).log_marginal_likelihood
    second = multivariate_normal(np.zeros(4), noisy).logpdf(TARGETS[:, 1])
    assert abs(both - density - second) < 1e-11
    right = k[4:, 4:] - k[4:, :4] @ np.linalg.solve(noisy, k[:4, 4:])
    np.testing.assert_allclose(found.covariance, right, rtol=1e-11)
    assert predict(NET, TRAIN, TARGETS, TEST).log_marginal_likelihood is None


def test_training_the_read_out_alone_is_the_covariance_kernel():
    """Up to the noise of the targets, which a network that is trained does not see."""
    net = ResNet(
        NET.branches, scale=1, depth=3, read_in=NET.read_in, read_out=[*NET.head_ops, NET.read_out]
    )
    one = predict(net, TRAIN, TARGETS, TEST, trained="read_out", time=2.0)
    other = predict(net, TRAIN, TARGETS, TEST, kind="nngp", time=2.0)
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-12)
    np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-11)


def test_kernel_at_layer_0_in_place_of_inputs():
    k0 = evaluate(kernel(NET, 2), inputs=np.concatenate([TRAIN, TEST]), outputs="K")["K"][0]
    given = predict(NET, None, TARGETS, K0=k0)
    right = predict(NET, TRAIN, TARGETS, TEST)
    np.testing.assert_allclose(given.mean, right.mean, rtol=1e-12)
    np.testing.assert_allclose(given.covariance, right.covariance, rtol=1e-10)


def test_equal_inputs_are_said_and_not_mended():
    twice, both = np.concatenate([TRAIN, TRAIN[1:2]]), np.concatenate([TARGETS, TARGETS[1:2]])
    with pytest.raises(KernelError, match="training inputs 1 and 4 are equal") as caught:
        predict(NET, twice, both, TEST)
    ridge = float(str(caught.value).partition("ridge=")[2].split()[0])
    mended = predict(NET, twice, both, TEST, ridge=ridge)
    np.testing.assert_allclose(mended.mean, predict(NET, TRAIN, TARGETS, TEST).mean, rtol=1e-6)
    assert "condition" in mended.status
    # The flow exists at every finite time; only the evidence does not.
    finite = predict(NET, twice, both, TEST, kind="nngp", time=5.0)
    assert np.isfinite(finite.mean).all()
    assert finite.log_marginal_likelihood is None
    assert "equal" in finite.notes[0]


def test_codes_of_classes():
    codes = class_codes([3, 1, 3, 2])
    np.testing.assert_array_equal(codes.argmax(axis=1), [2, 0, 2, 1])
    assert set(codes.ravel()) == {1.0, -1.0}
    np.testing.assert_array_equal(class_codes(["b"], ["b", "a"]), [[1.0, -1.0]])
    for labels, classes in (([1, 2], [1, 3]), ([1, 1], None), ([[1, 2]], None)):
        with pytest.raises(HyperparameterError):
            class_codes(labels, classes)


REFUSED = {
    "targets": {"targets": TARGETS[:3]},
    "targets of shape": {"targets": 1.0},
    "test of shape": {"test": TEST[:, :2]},
    "kind": {"kind": "gp"},
    "time": {"time": -1.0},
    "ridge": {"ridge": -0.1},
    "K0": {"K0": np.eye(6)},
    "nothing to train on": {"train": None},
}


@pytest.mark.parametrize("word", REFUSED)
def test_refusals(word):
    given = {"train": TRAIN, "targets": TARGETS, "test": TEST} | REFUSED[word]
    with pytest.raises(HyperparameterError, match=word):
        predict(NET, **given)


def test_shows_itself():
    found = predict(NET, TRAIN, TARGETS, TEST, kind="nngp", ridge=0.1)
    assert "log marginal likelihood" in repr(found)
    assert found._repr_html_().startswith("<div>")
    assert found.status == "ok"
    assert {c.reference.key for c in found.citations} >= {"lee2019", "jacot2018"}
