"""Control variates reduce the error of a sample, and never the bound on what a theory neglects.

The bound is that of the same networks without control: `Estimate.plain` is the witness.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    compare,
    evaluate,
    kernel,
    one_loop,
    sample,
)
from resexpand.montecarlo.statistics.estimate import Estimates

NET = ResNet(Branch(Activation("erf_unit"), Linear(1, 0)), scale=0.6, depth=6)
ONE, PAIR = 0.3, np.array([[0.3, 0.1], [0.1, 0.5]])
CONTROL = {"control": "infinite-width", "progress": False}
RESPONSES = ["kernel", "layer_covariance", "response", "chi", "tangent", "output_squared"]


def plain(run: Estimates) -> dict[str, object]:
    return {name: estimate.plain for name, estimate in run.items()}


def bounds(run: object, neglected: str, names: list[str]) -> dict[str, np.ndarray]:
    """The bounds alone: the theory is the sample itself."""
    theory = {name: np.asarray(run[name].mean) for name in names}  # type: ignore[index]
    found = compare(theory, run, names={n: n for n in names}, neglected=neglected)  # type: ignore[arg-type]
    return {name: found.budget[name].neglected for name in names}


@pytest.fixture(scope="module")
def single() -> Estimates:
    return sample(NET, RESPONSES, 32, 4000, K0=ONE, seed=3, **CONTROL)


def test_an_infinite_width_theory_is_not_rejected_for_its_order() -> None:
    net = ResNet(Branch(Activation("erf_unit"), Linear(1, 0)), scale=0.3, depth=20)
    run = sample(net, "kernel", 1024, 2000, K0=1.0, seed=1, **CONTROL)
    theory = evaluate(kernel(net), K0=1.0)
    found = compare({"K": theory["K"]}, run)
    assert found.verdict == "agrees"
    # The bias is there, far beyond the error of the sample, and of the order that one_loop states.
    assert found.z["K"][-1] < -30
    shift = np.abs(evaluate(one_loop(net), K0=1.0)["K_mean"]) / 1024
    assert np.all(found.budget["K"].neglected >= shift)
    assert found.rows[-1].detectable < 0.01
    assert compare({"K": theory["K"] * 1.01}, run).verdict == "disagrees"


def test_a_theory_of_order_one_over_width_is_not_rejected_for_the_next(single: Estimates) -> None:
    """The remainder of `one_loop` is stated to be of the relative size v/N of its shift."""
    values = evaluate(one_loop(NET), K0=ONE, width=32)
    found = compare({"kernel": values["K_width"]}, single, neglected="1/N^2")
    assert found.verdict == "agrees"
    stated = values["relative_error"] * np.abs(values["K_mean"]) / 32
    assert np.all(found.budget["kernel"].neglected >= stated)
    assert compare({"kernel": 1.1 * values["K_width"]}, single, neglected="1/N^2").verdict == (
        "disagrees"
    )


@pytest.mark.parametrize("neglected", ["auto", "1/N", "1/N^2"])
def test_every_observable_is_bounded_as_without_control(single: Estimates, neglected: str) -> None:
    found, right = (bounds(run, neglected, RESPONSES) for run in (single, plain(single)))
    for name in RESPONSES:
        np.testing.assert_allclose(found[name], right[name], rtol=0.2, err_msg=name)
    # What the reduced variance would have allowed is smaller by orders of magnitude.
    kernel_run = single["kernel"]
    reduced = kernel_run.mean * (kernel_run.variance / kernel_run.mean**2)
    assert np.all(reduced[1:] < 0.1 * right["kernel"][1:] if neglected != "1/N^2" else True)


@pytest.mark.parametrize("start", [ONE, PAIR], ids=["one input", "two inputs"])
def test_several_widths_with_control(start: object) -> None:
    names = ["kernel", "layer_covariance"]
    runs = [sample(NET, names, n, 1000, K0=start, seed=n, **CONTROL) for n in (32, 64, 128)]
    theory = evaluate(kernel(NET, inputs=1 if start is ONE else 2), K0=start)
    controlled = compare(theory, runs)
    assert controlled.verdict == "agrees"
    without = compare(theory, [plain(run) for run in runs])
    # The weights of the line differ with the errors, the coefficient of 1/N^2 does not.
    smaller = controlled.budget["K"].neglected < 0.1 * without.budget["K"].neglected
    assert not np.any(smaller)
    wrong = {"K": theory["K"] * 1.05}
    assert compare(wrong, runs).verdict == "disagrees"


def test_a_stored_run_is_bounded_alike(tmp_path: Path) -> None:
    def drawn() -> Estimates:
        store = tmp_path / "run.sqlite"
        return sample(NET, ["kernel"], 32, 500, K0=ONE, seed=5, store=store, **CONTROL)

    drawn()
    again = bounds(drawn(), "auto", ["kernel"])
    memory = sample(NET, ["kernel"], 32, 500, K0=ONE, seed=5, **CONTROL)
    np.testing.assert_allclose(again["kernel"], bounds(memory, "auto", ["kernel"])["kernel"])
    assert again["kernel"][-1] > 1e-3 * memory["kernel"].mean[-1]
