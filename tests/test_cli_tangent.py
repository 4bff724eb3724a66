"""``tangent-kernel`` and ``predict`` on the command line, against the same calls of the package."""

from __future__ import annotations

import numpy as np
import pytest

from resexpand import Activation, Branch, Linear, ResNet, evaluate, predict, tangent_kernel

GENERATOR = np.random.default_rng(4)
TRAIN, TEST = GENERATOR.standard_normal((6, 3)), GENERATOR.standard_normal((2, 3))
TARGETS = np.sin(TRAIN[:, 0])
NETWORK = ("--activation", "erf", "--rho", "0.5", "--depth", 3, "--read-out-variance", "1")


def net(scale=0.5, depth=3):
    branch = Branch(Activation("erf"), Linear(1, 0))
    read_out = branch.followed_by(Linear(1, 0))
    return ResNet(branch, scale=scale, depth=depth, read_in=Linear(1, 0), read_out=read_out)


@pytest.fixture
def files(tmp_path):
    given = {"inputs": TRAIN, "targets": TARGETS[:, None], "test": TEST}
    for name, array in given.items():
        np.save(tmp_path / f"{name}.npy", array)
    return {name: tmp_path / f"{name}.npy" for name in given}


def test_tangent_kernel_of_one_input(answer, call):
    record = answer("tangent-kernel", *NETWORK, "--K0", "0.7")
    right = evaluate(tangent_kernel(net()), K0=0.7)
    (result,) = record["results"]
    assert abs(result["NTK"] / right["NTK"] - 1) < 1e-13
    np.testing.assert_allclose(result["NTK_layers"], right["NTK_layers"], rtol=1e-13)
    assert any("Jacot" in citation for citation in record["citations"])
    code, out, err = call("tangent-kernel", *NETWORK, "--K0", "0.7")
    assert (code, err) == (0, "")
    assert f"NTK = {float(right['NTK']):.6g}" in out
    assert "next Theta" in out


def test_tangent_kernel_of_data(answer, files):
    asked = ("--trained", "weights,read-out", "--parametrisation", "standard", "--width", 32)
    record = answer("tangent-kernel", *NETWORK, "--inputs", files["inputs"], *asked)
    theory = tangent_kernel(net(), 2, ("weights", "read_out"), "standard")
    right = evaluate(theory, inputs=TRAIN, width=32, outputs="NTK")["NTK"]
    np.testing.assert_allclose(record["results"][0]["NTK"], right, rtol=1e-12)


def test_predict(answer, call, files):
    data = [f"--{name}={path}" for name, path in files.items()]
    record = answer("predict", *NETWORK, *data, "--time", "1/2,inf", "--ridge", "0.1")
    right = predict(net(), TRAIN, TARGETS[:, None], TEST, time=[0.5, np.inf], ridge=0.1)
    (result,) = record["results"]
    assert np.shape(result["mean"])[:2] == (2, 2)
    np.testing.assert_allclose(np.ravel(result["mean"]), right.mean.ravel(), rtol=1e-12)
    np.testing.assert_allclose(result["covariance"], right.covariance, rtol=1e-10)
    code, out, err = call("predict", *NETWORK, *data)
    assert (code, err) == (0, "")
    assert "time inf" in out
    assert "deviation" in out


def test_evidence_over_a_grid(answer, files):
    data = [f"--{name}={files[name]}" for name in ("inputs", "targets")]
    grid = ("--activation", "erf", "--rho", "0.3,0.6", "--depth", "2,3", "--read-out-variance", "1")
    record = answer("predict", *grid, *data, "--kind", "nngp", "--ridge", "0.1")
    (result,) = record["results"]
    right = [
        predict(net(scale, depth), TRAIN, TARGETS, kind="nngp", ridge=0.1).log_marginal_likelihood
        for depth in (2, 3)
        for scale in (0.3, 0.6)
    ]
    np.testing.assert_allclose(result["log_marginal_likelihood"], right, rtol=1e-11)


@pytest.mark.parametrize(
    ("command", "word"),
    [
        (("tangent-kernel", "--trained", "everything"), "everything"),
        (("tangent-kernel", "--width", "3"), "--width"),
        (("tangent-kernel", "--parametrisation", "standard"), "no read_in"),
        (("tangent-kernel", "--parametrisation", "standard", "--trained", "weights"), "--width"),
        (("predict", "--targets", "missing.npy"), "--inputs"),
    ],
)
def test_mistakes_are_one_line(call, command, word):
    code, out, err = call(*command)
    assert (code, out) == (2, "")
    assert word in err
    assert err.count("\n") == 1


def test_kinds_without_evidence_take_no_grid(call, files):
    data = [f"--{name}={files[name]}" for name in ("inputs", "targets")]
    code, _, err = call("predict", "--rho", "0.3,0.6", *data)
    assert code == 2
    assert "nngp" in err
