"""The first step of training: layer by layer, exact networks, dense networks by automatic steps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from resexpand import Activation, Branch, Linear, ResNet, Scale, evaluate, finite_response, response
from resexpand.numbers.one_loop.columns import Columns

S, B, RHO, K0, DEPTH = 1.3, 0.1, 0.7, 0.8, 3
R = RHO**2
NET = ResNet(Branch(Activation("erf"), Linear(S, B)), scale=RHO, depth=DEPTH)
NODES = np.linspace(-8.5, 8.5, 171)
WEIGHTS = np.exp(-(NODES**2) / 2)
WEIGHTS /= WEIGHTS.sum()


def phi(x):
    return special.erf(x)


def slope(x):
    return 2 / np.sqrt(np.pi) * np.exp(-x * x)


def bend(x):
    return -2 * x * slope(x)


def average(late, early, high: float, low: float) -> float:
    """Return the average of two functions at a later and an earlier layer of one neuron."""
    x = np.sqrt(low) * NODES[:, None]
    y = x + np.sqrt(max(high - low, 0.0)) * NODES[None]
    return float(WEIGHTS @ (early(x) * late(y)) @ WEIGHTS)


def by_layers(reads_in: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return ``E|q^l|^2`` and twice ``E h.x`` of one linear operation, one neuron at a time.

    With F a function of a neuron, ``<<F>>_l = lim N E F(h_i) q_i^2`` obeys a recursion of its own,
    which knows nothing of columns: what comes back to a neuron meets what it read.
    """

    def one(x):
        return np.ones_like(x)

    def g(x):
        return slope(x) ** 2

    def pp(x):
        return phi(x) * bend(x)

    K = [K0]
    for _ in range(DEPTH):
        K.append(K[-1] + R * (S * average(lambda x: phi(x) ** 2, one, K[-1], 0) + B))
    A = [average(g, one, k, 0) for k in K]
    alpha = [K0 if reads_in else 0.0]
    for layer in range(1, DEPTH + 1):
        alpha.append(alpha[-1] * (1 + R * S * A[layer - 1]) + K[layer] - K[layer - 1])
    back = [A[-1]]
    for layer in range(DEPTH - 1, -1, -1):
        back.insert(0, back[0] * (1 + R * S * A[layer]))

    def met(F, layer: int, zetas: list[float]) -> float:
        def pair(k: int) -> float:
            # <F at the layer, g at layer k>, the later one first.
            if k >= layer:
                return average(g, F, K[k], K[layer])
            return average(F, g, K[layer], K[k])

        ahead = pair(DEPTH) + sum(
            R * S * back[k] * pair(k - 1) for k in range(layer + 1, DEPTH + 1)
        )
        behind = sum(alpha[k - 1] ** 2 * R * S * back[k] * pair(k - 1) for k in range(1, layer + 1))
        return alpha[layer] ** 2 * ahead + behind + average(F, one, K[layer], 0) * R * sum(zetas)

    zetas: list[float] = []
    moved, bent = [met(one, 0, [])], [0.0]
    for layer in range(1, DEPTH + 1):
        previous = zetas.copy()
        own = S * met(pp, layer - 1, previous)
        zetas.append(S * met(g, layer - 1, previous))
        slope_of_kernel = A[layer - 1] + average(pp, one, K[layer - 1], 0)
        bent.append(bent[-1] * (1 + R * S * slope_of_kernel) + R * own)
        moved.append(met(one, layer, zetas))
    return np.array(moved), np.array(bent)


@pytest.mark.parametrize("suffix", ["", "_blocks"])
def test_columns_agree_with_a_recursion_of_neurons(suffix: str) -> None:
    values = evaluate(finite_response(NET, "step"), K0=K0)
    moved, bent = by_layers(not suffix)
    np.testing.assert_allclose(values[f"moved{suffix}"], moved, rtol=2e-7, atol=1e-10)
    np.testing.assert_allclose(values[f"bent{suffix}"], bent, rtol=2e-7, atol=1e-10)
    assert np.abs(bent[-1] / moved[-1]) > 0.02


def test_linear_network_of_one_block_by_hand() -> None:
    """h = h0 + r W h0, y = w.h: q = s r^2 |h0|^2/N w and h.q = s r^2 |h0|^2/N y, by hand."""
    net = ResNet(Branch(Activation("identity"), Linear(S, 0)), scale=RHO, depth=1)
    values = evaluate(finite_response(net, "step"), K0=K0)
    change, output = S * R * K0, K0 * (1 + S * R)
    np.testing.assert_allclose(values["moved_blocks"], [0, change**2], atol=1e-12)
    np.testing.assert_allclose(values["bent_blocks"], [0, 0], atol=1e-12)
    np.testing.assert_allclose(values["drift_blocks"], [0, -2 * change * output], atol=1e-12)


def pairs(first, second) -> np.ndarray:
    """Return the averages of two functions at all pairs of layers."""
    K = evaluate(response(NET), K0=K0)["K"]
    return np.array(
        [[average(*((first, second) if j <= i else (second, first)), max(a, b), min(a, b))
          for j, b in enumerate(K)] for i, a in enumerate(K)]
    )  # fmt: skip


def test_the_drift_of_the_tangent_kernel_by_sums_over_layers() -> None:
    """By propagators of the kernel and of a tangent, all pairs of layers, the read-out the last."""

    def g(x):
        return slope(x) ** 2

    def q(x):
        return phi(x) * slope(x)

    def half_f2(x):
        return g(x) + phi(x) * bend(x)

    K = evaluate(response(NET), K0=K0)["K"]
    s = np.append(np.full(DEPTH, S), 1.0)
    one = np.ones_like
    A, V = (np.array([average(F, one, k, 0) for k in K]) for F in (g, half_f2))
    bent = np.array(
        [average(lambda x, k=k: g(x) * (x * x / k - 1), one, k, 0) / (2 * k) for k in K]
    )
    Q = [K0]
    for layer in range(DEPTH):
        Q.append(Q[-1] + R * S * A[layer] * Q[-1] + K[layer + 1] - K[layer])
    Q = np.minimum.outer(Q, Q)
    M, unit, both = np.tril(np.full(Q.shape, R), -1), np.eye(DEPTH + 1), np.outer(s, s)
    r_h, r_w = (np.linalg.inv(unit - np.diag(s * F) @ M) for F in (V, A))
    mixed, squares = both * pairs(q, q) * Q, both * pairs(g, g) * Q**2
    first = both * pairs(lambda x: 2 * q(x), lambda x: 2 * slope(x) * bend(x)) * np.diag(Q) * Q / 4
    felt = r_w @ np.diag(s * bent * np.diag(Q)) @ M @ r_h
    third = both * pairs(half_f2, g) * Q**2 - squares
    out, back = r_h[-1], r_w[-1]
    drift = 4 * (r_h @ mixed @ r_h.T)[-1] @ back + 4 * (out @ first @ back + out @ mixed @ felt[-1])
    rest = out @ third @ back + out @ np.diag(s * (V - A)) @ M @ r_w @ squares @ back
    found = evaluate(finite_response(NET, "step"), K0=K0)["ntk_drift"]
    np.testing.assert_allclose(found, -drift - 2 * rest, rtol=1e-6)
    assert abs(rest / drift) > 0.02


def test_the_drift_of_a_product_by_hand() -> None:
    """y = a.h/sqrt(N): Theta = (|h|^2 + K0 |a|^2)/N, whose change along the step is -4 K0 y^2/N."""
    net = ResNet(Branch(Activation("identity"), Linear(S, B)), scale=0, depth=1)
    drift = evaluate(finite_response(net, "step"), K0=K0)["ntk_drift"]
    np.testing.assert_allclose(drift, -4 * K0**2, rtol=1e-12)


def test_without_mixed_columns_the_drift_is_lost(monkeypatch) -> None:
    values = evaluate(finite_response(NET, "step"), K0=K0)
    followed = Columns.followed.fget
    unmixed = property(lambda self: [e for e in followed(self) if e[1] != (0, 1)])
    monkeypatch.setattr(Columns, "followed", unmixed)
    wrong = evaluate(finite_response(NET, "step"), K0=K0)["drift"]
    assert abs(wrong[-1] / values["drift"][-1] - 1) > 0.2


def test_a_factor_is_absorbed_and_grids_are_points() -> None:
    scaled = ResNet(Branch(Scale(2.0), Activation("erf"), Linear(S, B)), scale=RHO, depth=2)
    inside = ResNet(Branch(Activation("erf(2*x)"), Linear(S, B)), scale=RHO, depth=2)
    first, second = (evaluate(finite_response(n, "step"), K0=[K0, 0.3]) for n in (scaled, inside))
    alone = evaluate(finite_response(inside, "step"), K0=0.3)
    for name in ("drift", "moved", "bent"):
        np.testing.assert_allclose(first[name], second[name], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(second[name][1], alone[name], rtol=1e-9, atol=1e-12)
    assert second["moved"].shape == (2, 3)
