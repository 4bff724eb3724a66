"""Samplers of correlated layers: two-sample tests between all of them, identities, the choice."""

from __future__ import annotations

import numpy as np
import pytest
from heavier import left_to_slow
from scipy import stats

from resexpand import (
    Activation,
    Branch,
    FractionalBrownian,
    LayerMatrix,
    Linear,
    Markov,
    ResNet,
    Smooth,
    evaluate,
    kernel,
    sample,
)
from resexpand.errors import HostMemoryError, UnsupportedError
from resexpand.montecarlo import layer_methods

DEPTH, WIDTH, DRAWS = 9, 6, 6000
"""More blocks than a basis has vectors: it is full at the end."""

RES1 = Branch(Activation("relu"), Linear(1.7, 0.2))
RES3 = Branch(Linear(1.2, 0.1), Activation("erf"), Linear(1.7, 0))
LAWS = {
    "markov": Markov(0.7),
    "anticorrelated": Markov(-0.6),
    "smooth": Smooth("rbf", 0.05),
    "rough": FractionalBrownian(0.1),
    "persistent": FractionalBrownian(0.9),
    "matrix": LayerMatrix(np.diag(1.0 + np.arange(DEPTH) % 3) + 0.4),
    "common": Markov(1),
}
PAIR = [[1.0, 0.4], [0.4, 0.8]]
NAMES = ["kernel", "tangent", "distance_squared"]


def network(law, branch=RES1, **more) -> ResNet:
    return ResNet(branch, scale=0.4, depth=DEPTH, layers=law, read_out=[Linear(1, 0)], **more)


def assert_same_law(first: np.ndarray, second: np.ndarray, bound: float = 4.3) -> None:
    error = np.sqrt(first.var(0) / len(first) + second.var(0) / len(second))
    kept = error > 1e-12
    z = (first.mean(0) - second.mean(0))[kept] / error[kept]
    assert np.abs(z).max() < bound
    last = [rows.reshape(len(rows), -1)[:, -1] for rows in (first, second)]
    assert stats.ks_2samp(*last).pvalue > 1e-4


def drawn(make, law, method: str, names, seed: int, K0=1.0, branch=RES1) -> dict[str, np.ndarray]:
    return make(network(law, branch), names, WIDTH, K0=K0, method=method, seed=seed).rows(0, DRAWS)


@pytest.mark.parametrize(
    "name", left_to_slow(LAWS, {"anticorrelated", "rough", "persistent", "common"})
)
def test_every_method_draws_the_dense_networks(name: str, make) -> None:
    law = LAWS[name]
    c, _ = layer_methods.covariance_and_factor(law, DEPTH)
    fit = [n for n, each in layer_methods.LAYER_METHODS.items() if not each.unfit(c)]
    expected = {"markov": 4, "anticorrelated": 4, "common": 2}.get(name, 3)
    assert len(fit) == expected
    dense = drawn(make, law, "dense", NAMES, 1)
    for method in fit[:-1]:
        found = drawn(make, law, method, NAMES, 2)
        for each in NAMES:
            assert_same_law(found[each], dense[each])
    # Control: independent layers.
    other = drawn(make, Markov(0.0), "cholesky", ["kernel"], 2)["kernel"]
    with pytest.raises(AssertionError):
        assert_same_law(other, dense["kernel"])


@pytest.mark.parametrize("method", ["cholesky", "basis", "markov"])
def test_two_inputs_and_two_linear_operations(method: str, make) -> None:
    for branch in (RES1, RES3):
        first = drawn(make, Markov(0.7), "dense", ["kernel"], 1, PAIR, branch)["kernel"]
        second = drawn(make, Markov(0.7), method, ["kernel"], 2, PAIR, branch)["kernel"]
        assert_same_law(second, first)


@pytest.mark.parametrize("name", left_to_slow(["markov", "smooth", "persistent"], {"persistent"}))
def test_gradients_of_the_basis_are_those_of_the_weights(name: str, make) -> None:
    names = ["gradient", "kernel", "log_gradient"]
    first = drawn(make, LAWS[name], "dense", names, 1, branch=RES3)
    second = drawn(make, LAWS[name], "basis", names, 2, branch=RES3)
    for each in names:
        assert_same_law(second[each], first[each])
    # Jointly with the way forward: the products agree, too.
    product = [rows["gradient"][:, 0] * rows["kernel"][:, -1] for rows in (first, second)]
    assert_same_law(product[1][:, None], product[0][:, None])


@pytest.mark.parametrize("branch", [RES1, RES3], ids=["res-1", "res-3"])
@pytest.mark.parametrize("width", [5, 40])
def test_the_chain_rule_holds_within_a_network(branch: Branch, width: int) -> None:
    run = sample(
        network(Smooth("rbf", 0.05), branch),
        "directional_derivative",
        width,
        20,
        K0=1.0,
        method="basis",
    )["directional_derivative"]
    assert np.ptp(run.mean) < 1e-12 * np.abs(run.mean).max()


def test_filter_and_factor_are_the_same_networks(make) -> None:
    """Both draw innovations of the images, the filter without a history: equal to rounding."""
    for law in (Markov(0.7), Markov(-0.6)):
        rows = [
            drawn(make, law, method, ["kernel"], 3, K0, RES3)["kernel"][:200]
            for method in ("cholesky", "markov")
            for K0 in (PAIR,)
        ]
        np.testing.assert_allclose(rows[0], rows[1], rtol=1e-9)


def test_one_layer_is_the_network_of_independent_layers(make) -> None:
    net = ResNet(RES1, scale=0.4, depth=1)
    same = ResNet(RES1, scale=0.4, depth=1, layers=Markov(0.7))
    free = make(net, "kernel", WIDTH, K0=PAIR, seed=4).rows(0, 50)["kernel"]
    for method in ("cholesky", "markov"):
        found = make(same, "kernel", WIDTH, K0=PAIR, method=method, seed=4).rows(0, 50)["kernel"]
        np.testing.assert_allclose(found, free, rtol=1e-12)


def test_inputs_that_are_equal_stay_equal(make) -> None:
    """Dependent columns have no innovations of their own; 1e-12 is where that is decided."""
    for method in ("cholesky", "basis", "markov"):
        rows = make(network(Markov(0.7)), "kernel", WIDTH, K0=np.ones((2, 2)), method=method).rows(
            0, 40
        )["kernel"]
        np.testing.assert_allclose(rows[..., 0, 1], rows[..., 0, 0], rtol=1e-5)
        np.testing.assert_allclose(rows[..., 1, 1], rows[..., 0, 0], rtol=1e-5)


def test_smooth_layers_of_a_deep_network() -> None:
    """The infinite width is reached at depth 150, where a Cholesky factor is refused."""
    net = ResNet(Branch(Linear(1, 0)), scale=1 / 150, depth=150, layers=Smooth("rbf", 0.01))
    run = sample(net, "kernel", 50, 600, K0=1.0, seed=1)
    assert run.settings["method"] == "basis"
    assert "not cholesky: a block adds" in run.settings["method_reason"]
    theory = evaluate(kernel(net), K0=1.0)["K"][-1]
    z = (run["kernel"].mean[-1] / run["kernel"].mean[0] - theory) / run["kernel"].stderr[-1]
    assert abs(z) < 3.3


CHOICES = {
    "rough forward": (FractionalBrownian(0.2), "kernel", 100, "cholesky"),
    "smooth": (Smooth("rbf", 0.01), "kernel", 100, "basis"),
    "smooth gradients": (Smooth("rbf", 0.01), "gradient", 100, "basis"),
    "deep chain": (Markov(0.5), "kernel", 600, "markov"),
    "common weights": (Markov(1), "kernel", 100, "basis"),
}


@pytest.mark.parametrize("case", CHOICES)
def test_the_choice_and_its_reason(case: str) -> None:
    law, name, depth, expected = CHOICES[case]
    net = ResNet(Branch(Linear(1, 0)), scale=0.01, depth=depth, layers=law)
    run = sample(net, name, 8, 2, K0=1.0)
    assert run.settings["method"] == expected
    assert run.settings["method_reason"].startswith(f"{expected} is the cheapest")
    if name == "gradient":
        assert "not markov: it has no transpose" in run.settings["method_reason"]


REFUSED = {
    "cholesky of smooth weights": (Smooth("rbf", 0.01), "kernel", "cholesky", 'method="basis"'),
    "chain that is none": (FractionalBrownian(0.2), "kernel", "markov", "no Markov chain"),
    "gradients": (Markov(0.5), "gradient", "markov", "no transpose"),
    "unknown": (Markov(0.5), "kernel", "sparse", "no such sampler"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_method_cannot_do(case: str) -> None:
    law, name, method, said = REFUSED[case]
    net = ResNet(Branch(Linear(1, 0)), scale=0.01, depth=100, layers=law)
    with pytest.raises(UnsupportedError, match=said):
        sample(net, name, 8, 2, K0=1.0, method=method)


def test_memory_is_asked_for_before_the_start(monkeypatch) -> None:
    net = ResNet(Branch(Linear(1, 0)), scale=0.01, depth=3_000_000, layers=Markov(0.5))
    with pytest.raises(HostMemoryError, match=r"3000001 layers: they need 2.88e\+05 GB"):
        sample(net, "kernel", 8, 2, K0=1.0)
    net = ResNet(Branch(Linear(1, 0)), scale=0.01, depth=100, layers=FractionalBrownian(0.2))
    with pytest.raises(HostMemoryError, match="method='basis' remembers"):
        sample(net, "kernel", 10**9, 2, K0=1.0, method="basis")
