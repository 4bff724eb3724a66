"""Tangent kernel and gradients by one more column: their first two moments, against the way back.

Controls: copies of the weights that are left out, and a column that begins at another layer.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from heavier import left_to_slow

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    LayerNorm,
    Linear,
    ResNet,
    compare,
    evaluate,
    finite_response,
    sample,
    tangent_kernel,
)
from resexpand.codegen.store import load
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.montecarlo.runs import execute
from resexpand.montecarlo.source import sampler as sampler_source

METHODS = ("function-space", "dense")
READ_OUT, PAIR = Linear(0.7, 0.2), [[1.2, 0.5], [0.5, 0.9]]
NETWORKS = {
    "W phi(h)": [Branch(Activation("tanh"), Linear(1.4, 0.3))],
    "V phi(W h)": [Branch(Linear(0.8, 0.1), Activation("relu"), Linear(1.4, 0.3))],
    "normalised": [Branch(LayerNorm(0.1), Activation("relu"), Linear(1.4, 0.3))],
    "two kinds": [
        Branch(Linear(0.8, 0.1), Activation("erf"), Linear(1.4, 0.0)),
        Branch(Activation("relu"), Linear(1.1, 0.2)),
    ],
    "phi(W h)": [Branch(Linear(1.4, 0.3), Activation("tanh"))],
}
DRAWS = 40_000
LIMIT = 4.2
"""Largest z-score of some dozens."""


def network(name: str, depth: int = 2) -> ResNet:
    kinds = NETWORKS[name]
    return ResNet(kinds if len(kinds) > 1 else kinds[0], scale=0.7, depth=depth, read_out=READ_OUT)


def scores(forward: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Return z-scores of the first and the second moment, rows of independent networks."""

    def score(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a.mean(0) - b.mean(0)) / np.sqrt(a.var(0) / len(a) + b.var(0) / len(b))

    return np.stack([score(forward, back), score(forward**2, back**2)])


QUICK = [("W phi(h)", "dense"), ("V phi(W h)", "function-space")]


@pytest.mark.parametrize(
    ("name", "method"),
    left_to_slow(product(NETWORKS, METHODS), lambda case: case not in QUICK),
)
def test_moments_are_those_of_the_way_back(name: str, method: str, make) -> None:
    """At width 6, where networks fluctuate by half of the mean."""
    net, width, draws = network(name), 6, DRAWS
    back = make(net, ["ntk", "gradient"], width, K0=0.8, seed=1, method=method).rows(0, draws)
    names = ["ntk_moments", "gradient_moments(1)"]
    found = make(net, names, width, K0=0.8, seed=2, method=method).rows(0, draws)
    pairs = {"ntk_moments": back["ntk"], "gradient_moments": back["gradient"][:, 1]}
    for observable, exact in pairs.items():
        z = scores(found[observable], exact)
        assert np.abs(z).max() < LIMIT, (observable, z)
    # Another layer, and a tangent kernel that is 3 % larger.
    assert np.abs(scores(found["gradient_moments"], back["gradient"][:, 0])).max() > 10
    assert np.abs(scores(1.03 * found["ntk_moments"], back["ntk"])).max() > LIMIT


def test_without_copies_it_is_another_kernel(make) -> None:
    net = network("W phi(h)")
    right = make(net, "ntk_moments", 6, K0=0.8)
    text = sampler_source.sampler_source(net.branch, "function-space", right.layout)
    assert text.count("[:inputs], stream, scale") == 1
    wrong = load(text.replace("[:inputs], stream, scale", "[:inputs], stream, 0.0 * scale"))
    rows = replace(right, text=wrong).rows(0, 4000)["ntk_moments"]
    exact = make(net, "ntk", 6, K0=0.8, seed=3).rows(0, 4000)["ntk"]
    assert scores(rows, exact)[0] < -10


def test_several_inputs_have_the_mean_of_all_pairs(make) -> None:
    net = network("W phi(h)")
    back = make(net, ["ntk", "gradient"], 7, K0=PAIR, seed=1).rows(0, DRAWS)
    names = ["ntk_moments", "gradient_moments(2)"]
    found = make(net, names, 7, K0=PAIR, seed=2).rows(0, DRAWS)
    assert np.abs(scores(found["ntk_moments"], back["ntk"])[0]).max() < LIMIT
    last = back["gradient"][:, 2]
    assert np.abs(scores(found["gradient_moments"], last)[0]).max() < LIMIT


def test_other_observables_are_as_they_were(make) -> None:
    """The same networks beside them, and the chain rule along a direction."""
    net = network("V phi(W h)")
    names = ["kernel", "directional_derivative"]
    alone = make(net, names, 9, K0=0.8).rows(0, 30)
    beside = make(net, [*names, "ntk_moments", "gradient_moments(0)"], 9, K0=0.8).rows(0, 30)
    for name in names:
        np.testing.assert_allclose(alone[name], beside[name], rtol=1e-11)


def test_units_stay_where_a_column_begins_inside() -> None:
    """Logarithms of large kernels change the units of the stream; a column beside them must not."""
    net = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=4)
    run = sample(net, ["log_kernel", "gradient_moments(3)"], 16, 4000, K0=1.0, progress=False)
    back = sample(net, "gradient", 16, 4000, K0=1.0, seed=5, progress=False)["gradient"]
    found = run["gradient_moments"]
    assert abs(found.mean - back.mean[3]) < 4 * np.hypot(found.stderr, back.stderr[3])


def test_theory_is_judged_by_them() -> None:
    net = ResNet(Branch(Activation("erf"), Linear(1.3, 0.1)), scale=0.5, depth=3)
    run = sample(net, "ntk_moments", 96, 6000, K0=0.8, seed=5, progress=False)
    values = evaluate(finite_response(net, "parameters"), K0=0.8, width=96)
    judged = compare(values, run, resolve=0.1)
    assert judged.verdict == "agrees"
    assert len(judged.rows) == 2
    wide = {**values, "ntk_deviation": 1.25 * values["ntk_deviation"]}
    assert compare(wide, run).verdict == "disagrees"
    limit = evaluate(tangent_kernel(net), K0=0.8)["NTK"]
    assert values["ntk"] == pytest.approx(limit)


def test_what_is_refused(make) -> None:
    net, started = network("W phi(h)"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "run_plan", lambda *a, **k: started.append(a))
        for names in ("gradient_moments(3)", ["kernel", "gradient_moments(9)"]):
            with pytest.raises(HyperparameterError, match="no such layer"):
                sample(net, names, 6, 10, K0=0.8, seed=1)
    assert not started
    batch = ResNet(Branch(BatchNorm(), Activation("relu"), Linear(1, 0)), scale=1, depth=2)
    with pytest.raises(UnsupportedError, match="one by one"):
        make(batch, "ntk_moments", 6, K0=np.eye(3) + 1)
