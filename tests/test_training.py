"""The training of `numerics/support/training.py`: gradients, seeds, interruptions, verdicts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

try:
    import torch
except ImportError:
    pytest.skip("PyTorch is not installed", allow_module_level=True)

from support.direction import Direction, direction_claim
from support.training import Networks, Plan, Runs, Setup, digits, trained
from support.training import _step as step_of

PLAN = Plan(steps=24, seeds=2, rates=(0.02, 0.1), batch=50)
SMALL = Setup(3, 8, scale=0.5)


def by_hand(nets: Networks, k: int, x: np.ndarray) -> np.ndarray:
    own = {name: v[k].double().numpy() for name, v in nets.weights.items()}
    h = x @ own["read_in"]
    for block in range(nets.setup.depth):
        gain = own["gain"][block] if "gain" in own else 1.0
        h = h + nets.setup.scale * gain * (np.maximum(h, 0) @ own["weights"][block, 0])
    return h @ own["read_out"]


@pytest.mark.parametrize("gain", [None, 0.3])
def test_a_network_is_its_formula(gain: float | None) -> None:
    nets = Networks.fresh(Setup(3, 8, scale=0.5, gain=gain, vector=True), [4, 5])
    x = digits().test[:7]
    found = nets.logits(x).double().numpy()
    for k in range(2):
        np.testing.assert_allclose(
            found[k], by_hand(nets, k, x.double().numpy()), rtol=2e-5, atol=1e-5
        )


def test_weights_have_their_variances_and_inputs_unit_second_moment() -> None:
    nets = Networks.fresh(Setup(30, 64), [0])
    assert nets.weights["weights"].var().item() == pytest.approx(2 / 64, rel=0.02)
    assert digits().train.square().mean().item() == pytest.approx(1, rel=0.02)
    assert [len(x) for x in (digits().train, digits().held, digits().test)] == [1000, 297, 500]


def test_complexity_is_the_square_of_the_slope() -> None:
    nets, x = Networks.fresh(SMALL, [1]), digits().test[:3]
    start = x.double().numpy()
    slopes = np.empty((3, 10, 64))
    for place in range(64):
        ends = []
        for sign in (1, -1):
            moved = start.copy()
            moved[:, place] += sign * 1e-6
            ends.append(by_hand(nets, 0, moved))
        slopes[:, :, place] = (ends[0] - ends[1]) / 2e-6
    assert nets.complexity(x)[0] == pytest.approx((slopes**2).sum() / 3, rel=1e-4)


def test_networks_side_by_side_are_those_of_their_own() -> None:
    both = trained(SMALL, PLAN)
    alone = trained(SMALL, Plan(24, 2, (0.1,), 50))
    for name, value in alone.weights.items():
        torch.testing.assert_close(both.weights[name][2:], value, rtol=1e-4, atol=1e-5)


def test_a_step_is_one_of_gradient_descent_with_momentum() -> None:
    nets = Networks.fresh(SMALL, [0])
    speed = {k: torch.zeros_like(v) for k, v in nets.weights.items()}
    before = {k: v.clone() for k, v in nets.weights.items()}
    x, labels = digits().train[None, :20], digits().train_labels[None, :20]
    free = {k: v.clone().requires_grad_(True) for k, v in before.items()}
    loss = torch.nn.functional.cross_entropy(Networks(SMALL, free).logits(x)[0], labels[0])
    loss.backward()
    assert step_of(nets, speed, x, labels, torch.tensor([0.1]), 0)
    for name, value in nets.weights.items():
        torch.testing.assert_close(value, before[name] - 0.1 * free[name].grad)


def test_an_interrupted_run_goes_on_to_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = Setup(2, 8, block=("norm", "relu", "dropout", "linear"), keep=0.8)
    wanted = trained(setup, PLAN).arrays()
    import support.training as module

    count = iter(range(100))

    def stopping(*given: object) -> bool:
        if next(count) == 22:
            raise KeyboardInterrupt
        return step_of(*given)

    runs = Runs(tmp_path, 1)
    monkeypatch.setattr(module, "_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        runs.of("one", setup, PLAN)
    assert [path.name.endswith(".part.npz") for path in tmp_path.iterdir()] == [True]
    monkeypatch.setattr(module, "_step", step_of)
    first = runs.of("one", setup, PLAN)
    for name, value in first.everything.arrays().items():
        np.testing.assert_array_equal(value, wanted[name])
    assert len(list(tmp_path.iterdir())) == 1
    # What is done is read, not trained: a step would raise.
    monkeypatch.setattr(module, "_step", lambda *_: pytest.fail("trained again"))
    again = runs.of("one", setup, PLAN)
    np.testing.assert_array_equal(again.test, first.test)


def test_other_settings_have_other_files(tmp_path: Path) -> None:
    runs, short = Runs(tmp_path, 3), Plan(1, 2, (0.1,), 50)
    runs.of("one", SMALL, short)
    runs.of("one", Setup(3, 8, scale=0.25), short)
    runs.of("one", Setup(3, 8, scale=0.5, faster=2.0), short)
    runs.of("one", Setup(3, 8, scale=0.5, factor=np.eye(3)), short)
    assert len(list(tmp_path.iterdir())) == 4


def test_networks_that_explode_guess_and_stop() -> None:
    found = Runs(None, 1).of("one", Setup(200, 8, scale=1.0), Plan(5, 2, (0.1,), 50))
    assert (found.test == found.test[0]).all()
    assert found.test[0] < 0.15


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([0.5, 0.52, 0.48], "agrees"),
        ([-0.5, -0.52, -0.48], "disagrees"),
        ([0.5, -0.4, 0.1], "inconclusive"),
        ([0.3, 0.3, 0.3], "agrees"),
        ([np.nan, 0.3, 0.3], "inconclusive"),
    ],
)
def test_the_verdict_on_a_direction(differences: list[float], verdict: str) -> None:
    assert Direction({"a": differences}, 0.2).verdict == verdict
    claim = direction_claim("a", "it is positive", {"a": differences}, 0.2, "it is negative")
    assert claim.exit_code == {"agrees": 0, "disagrees": 1, "inconclusive": 2}[verdict]


def test_one_case_that_diverged_leaves_all_undecided() -> None:
    clear, lost = [0.5, 0.52, 0.48], [0.5, np.nan, 0.5]
    assert Direction({"a": clear, "b": lost}, 0.2).verdict == "inconclusive"
    assert Direction({"a": lost, "b": clear}, 0.2).verdict == "inconclusive"
    assert Direction({"a": clear, "b": [-d for d in clear]}, 0.2).verdict == "disagrees"


def test_chance_agrees_as_seldom_as_it_should() -> None:
    rng = np.random.default_rng(0)
    verdicts = [Direction({"a": rng.normal(size=3)}, 0.1).verdict for _ in range(4000)]
    assert 0.005 < np.mean([v == "agrees" for v in verdicts]) < 0.015
