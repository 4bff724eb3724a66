"""Samplers against laws that are exact at every width; each with a wrong law that is rejected.

Retyped independently, for `G^l = |h^l|^2/N` and rows of h^0 drawn from N(0, K0):

- linear branch `W h + b`, p = 1 + rho^2 sigma_w2, r = rho^2: the two moments of G^l obey
  m1' = p m1 + r t,
  m2' = p^2 m2 + 2 p r t m1 + r^2 t^2 + (1/N)[4r(s m2 + t m1) + 2r^2(s^2 m2 + 2 s t m1 + t^2)];
- `V relu(W h)` without bias, c = rho^2 s_v s_w: G^l = G^0 prod Q, E Q = 1 + c/2,
  E Q^2 = 1 + (N+2) c/N + (N+2)(N+5) c^2/(4 N^2);
- sign: G^L = K^L chi^2_N / N;
- tangents of linear branches grow like p^l, off-diagonal kernels as well.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from resexpand import Activation, Branch, Linear, ResNet
from resexpand.network.resnet import ResNet as _ResNet

DRAWS, DEPTH, RHO, S, T = 20_000, 3, 0.6, 1.3, 0.4
METHODS = ["function-space", "dense"]


def linear_net(bias: float) -> _ResNet:
    return ResNet(Branch(Linear(S, bias)), scale=RHO, depth=DEPTH)


def linear_moments(K0: float, n: int, bias: float, fluctuation: float = 1.0) -> np.ndarray:
    """Return the first two moments of G^l, l = 0 ... L; `fluctuation` = 1 is the true law."""
    r, t = RHO**2, bias
    p = 1 + r * S
    m1, m2 = K0, K0**2 * (1 + 2 / n)
    rows = [(m1, m2)]
    for _ in range(DEPTH):
        spread = 4 * r * (S * m2 + t * m1) + 2 * r**2 * (S**2 * m2 + 2 * S * t * m1 + t**2)
        m2 = p**2 * m2 + 2 * p * r * t * m1 + r**2 * t**2 + fluctuation * spread / n
        m1 = p * m1 + r * t
        rows.append((m1, m2))
    return np.array(rows).T


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("width", [3, 8, 50])
@pytest.mark.parametrize("bias", [0.0, T])
def test_linear_branch(method, width, bias, draw_rows, z_score) -> None:
    rows = draw_rows(linear_net(bias), "kernel", width, DRAWS, K0=0.7, method=method)
    first, second = linear_moments(0.7, width, bias)
    assert np.abs(z_score(rows, first)).max() < 4.5
    assert np.abs(z_score(rows**2, second)).max() < 4.5
    wrong = linear_moments(0.7, width, bias, fluctuation=2.0)[1]
    assert np.abs(z_score(rows**2, wrong)).max() > 5


def test_wrong_mean_is_rejected(draw_rows, z_score) -> None:
    rows = draw_rows(linear_net(T), "kernel", 8, DRAWS, K0=0.7)
    first, _ = linear_moments(0.7, 8, 0.8 * T)
    assert np.abs(z_score(rows, first)).max() > 5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("width", [4, 30])
def test_relu_between_two_weights(method, width, draw_rows, z_score) -> None:
    branch = Branch(Linear(1.5, 0), Activation("relu"), Linear(1.2, 0))
    net = ResNet(branch, scale=0.7, depth=DEPTH)
    rows = draw_rows(net, "kernel", width, DRAWS, K0=2.0, method=method)
    c, n, layers = 0.49 * 1.5 * 1.2, width, np.arange(DEPTH + 1)
    first = 2.0 * (1 + c / 2) ** layers
    growth2 = 1 + (n + 2) * c / n + (n + 2) * (n + 5) * c**2 / (4 * n**2)
    second = 4.0 * (1 + 2 / n) * growth2**layers
    assert np.abs(z_score(rows, first)).max() < 4.5
    assert np.abs(z_score(rows**2, second)).max() < 4.5
    wrong = 2.0 * (1 + c) ** layers
    assert np.abs(z_score(rows, wrong)).max() > 5


@pytest.mark.parametrize("method", METHODS)
def test_sign_network_has_chi_squared_norms(method, draw_rows) -> None:
    net = ResNet(Branch(Activation("sign"), Linear(S, T)), scale=RHO, depth=DEPTH)
    rows = draw_rows(net, "kernel", 10, 5000, K0=0.7, method=method)
    for layer in range(DEPTH + 1):
        kernel = 0.7 + layer * RHO**2 * (S + T)
        assert stats.kstest(10 * rows[:, layer] / kernel, "chi2", args=(10,)).pvalue > 1e-3
    wrong = 0.7 + DEPTH * RHO**2 * S
    assert stats.kstest(10 * rows[:, DEPTH] / wrong, "chi2", args=(10,)).pvalue < 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_pairs_and_tangents_of_linear_branches(method, draw_rows, z_score) -> None:
    p = (1 + RHO**2 * S) ** np.arange(DEPTH + 1)
    K0 = np.array([[1.0, -0.4], [-0.4, 0.5]])
    rows = draw_rows(linear_net(0.0), "kernel", 12, DRAWS, K0=K0, method=method)
    assert np.abs(z_score(rows, p[:, None, None] * K0)).max() < 4.5
    rows = draw_rows(linear_net(T), "covariance_response", 12, DRAWS, K0=K0, method=method)
    assert np.abs(z_score(rows, p)).max() < 4.5
    for name in ("tangent", "chi"):
        rows = draw_rows(linear_net(T), name, 12, DRAWS, K0=0.7, method=method)[:, 1:]
        assert np.abs(z_score(rows, p[1:])).max() < 4.5
        assert np.abs(z_score(rows, 1.05 * p[1:])).max() > 5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("read_out", [None, Linear(0.9, 0.3)])
def test_outputs_given_the_layer_covariance(method, read_out, make, z_score) -> None:
    """`y` is `N(0, C^{L+1})` given the network, so `E y_a y_b = E C^{L+1}_ab` and E y = 0."""
    branch = Branch(Activation("identity"), Linear(1.0, 0.0))
    ending = None if read_out is None else branch.followed_by(read_out)
    net = ResNet(branch, scale=0.5, depth=2, read_out=ending)
    names = ["output", "output_squared", "layer_covariance"]
    K0 = [[1.0, 0.6], [0.6, 2.0]]
    rows = make(net, names, 9, K0=K0, method=method).rows(0, DRAWS)
    assert np.abs(z_score(rows["output"], 0.0)).max() < 4.5
    given = rows["layer_covariance"][:, -1]
    assert np.abs(z_score(rows["output_squared"] - given, 0.0)).max() < 4.5
    assert np.abs(z_score(rows["output_squared"] - 1.1 * given, 0.0)).max() > 5
    weight, bias = (1.0, 0.0) if read_out is None else (0.9, 0.3)
    assert np.abs(z_score(given, weight * 1.25**2 * np.array(K0) + bias)).max() < 4.5


@pytest.mark.parametrize("method", METHODS)
def test_layers_are_counted_alike(method, make) -> None:
    """With phi = id, `C^{l+1} = s G^l + t` and `eta^l = s_out chi^l` hold network by network."""
    branch = Branch(Activation("identity"), Linear(S, T))
    names = ["kernel", "layer_covariance", "chi", "response"]
    for read_out, last in ((None, (S, T)), (Linear(0.9, 0.3), (0.9, 0.3))):
        ending = None if read_out is None else branch.followed_by(read_out)
        net = ResNet(branch, scale=[0.5, 0.9, 0.2], read_out=ending)
        rows = make(net, names, 9, method=method).rows(0, 20)
        weights = np.array([S] * 3 + [last[0]])
        biases = np.array([T] * 3 + [last[1]])
        expected = weights * rows["kernel"] + biases
        np.testing.assert_allclose(rows["layer_covariance"], expected, rtol=1e-12)
        unit = 1.0 if read_out is None else 0.9
        np.testing.assert_allclose(rows["response"], unit * rows["chi"], rtol=1e-12)
        assert not np.allclose(rows["kernel"][:, 0], rows["kernel"][:, 1], rtol=0.01)
