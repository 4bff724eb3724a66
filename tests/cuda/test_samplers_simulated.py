"""Samplers in the simulator draw the networks of the CPU: words bit by bit, results to rounding.

Laws: (1) Philox words through the binding are those of the CPU; (2) every observable of every kind
of sampler agrees network by network; (3) how many blocks draw the networks, and by how many
launches, changes no bit; (4) a run stored by one target goes on with the other.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sampler_cases import REGISTRY, sampler

WIDTH, FIRST, DRAWS = 7, 3, 2
REPRESENTATIVE = (
    "one column, W relu",
    "dense, uniform weights",
    "function-space, W relu, pair",
)
OTHERS = [name for name in REGISTRY if name not in REPRESENTATIVE]
RELATIVE = 1e-11
"""Change that the order of sums may make, relative to the largest entry of a result."""


def rows_of(names: str, width: int = WIDTH) -> dict[str, np.ndarray]:
    """Return rows drawn in the simulator, by case and observable."""
    found = {}
    for name in names.split(";"):
        rows = sampler(name, width, "cuda").rows(FIRST, DRAWS)
        found |= {f"{name}: {observable}": x for observable, x in rows.items()}
    return found


def assert_same_networks(found: dict[str, np.ndarray], names, width: int = WIDTH) -> None:
    compared = 0
    for name in names:
        known = sampler(name, width, "cpu").rows(FIRST, DRAWS)
        other = sampler(name, width, "cpu").rows(FIRST + 1, DRAWS)
        for observable, expected in known.items():
            scale = RELATIVE * np.nanmax(np.abs(expected))
            drawn = np.asarray(found[f"{name}: {observable}"])
            np.testing.assert_allclose(
                drawn, expected, rtol=RELATIVE, atol=scale, err_msg=f"{name}: {observable}"
            )
            assert not np.allclose(drawn, other[observable], rtol=1e-6, atol=0)  # other networks
            compared += 1
    assert compared == len(found) > 0


def test_networks_are_those_of_the_cpu(simulator) -> None:
    assert_same_networks(simulator(rows_of, names=";".join(REPRESENTATIVE)), REPRESENTATIVE)


def test_masks_of_whole_blocks_and_the_rest(simulator) -> None:
    name, width = "one column, norm and masks", 1061  # blocks of 1024 and of 32, and five neurons
    assert_same_networks(simulator(rows_of, names=name, width=width), [name], width)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_all_networks_are_those_of_the_cpu(simulator, name: str) -> None:
    assert_same_networks(simulator(rows_of, names=name), [name])


def words_of(counters: np.ndarray) -> dict[str, np.ndarray]:
    """Return the words of counters, one thread each."""
    global cuda  # noqa: PLW0603, where the simulator looks for it
    from numba import cuda

    import resexpand.montecarlo.cuda.lanes  # noqa: F401
    from resexpand.codegen.targets import cuda as target
    from resexpand.montecarlo.random.philox import philox4x32

    generator = target.bind(philox4x32)

    def write(given, out) -> None:
        i = cuda.threadIdx.x
        words = generator(
            given[i, 0], given[i, 1], given[i, 2], given[i, 3], given[i, 4], given[i, 5]
        )
        for p in range(4):
            out[i, p] = words[p]

    out = np.zeros((len(counters), 4), dtype=np.uint64)
    cuda.jit(write)[1, len(counters)](counters, out)
    return {"words": out}


def test_words_are_those_of_the_cpu(simulator) -> None:
    from resexpand.montecarlo.random.philox import philox4x32

    counters = np.random.default_rng(5).integers(0, 2**32, (8, 6), dtype=np.uint64)
    expected = np.array([philox4x32(*row) for row in counters], dtype=np.uint64)
    found = simulator(words_of, counters=counters)["words"]
    np.testing.assert_array_equal(found, expected)


def batches() -> dict[str, np.ndarray]:
    """Return rows drawn with all, with few and with single networks in flight."""
    from resexpand.errors import DeviceMemoryError
    from resexpand.montecarlo.cuda import launch

    name, found, most = "one column, W relu", {}, 10
    draw_batch = launch.Networks._batch
    sizes = []

    def limited(self, first, draws, keys, blocks, shapes, groups):
        sizes.append((draws, groups))
        if draws > most or groups > most:
            raise MemoryError
        return draw_batch(self, first, draws, keys, blocks, shapes, groups)

    launch.Networks._batch = limited
    for most in (10, 2, 1):
        found[str(most)] = sampler(name, WIDTH, "cuda").rows(FIRST, 5)["kernel"]
    most = 0
    try:
        sampler(name, WIDTH, "cuda").rows(FIRST, 5)
    except DeviceMemoryError as error:
        found["said"] = np.array(str(error))
    return {**found, "sizes": np.array(sizes)}


def test_memory_decides_nothing_but_speed(simulator) -> None:
    found = simulator(batches)
    np.testing.assert_array_equal(found["10"], found["2"])
    np.testing.assert_array_equal(found["10"], found["1"])
    assert found["10"].shape == (5, 3)
    assert "bytes" in str(found["said"])
    assert {tuple(pair) for pair in found["sizes"].tolist()} >= {(5, 2), (2, 1), (1, 1)}


def resumed(store: str) -> dict[str, np.ndarray]:
    """Draw more networks of a stored run, in the simulator."""
    from resexpand import Activation, Branch, Linear, ResNet, sample

    net = ResNet(Branch(Activation("relu"), Linear(1, 0)), scale=0.6, depth=2)
    found = sample(
        net, "kernel", 5, 12, K0=1.0, seed=1, store=store, workers=1, target="auto", progress=False
    )
    settings = found.settings
    return {
        "mean": found["kernel"].mean,
        "target": np.array(settings["target"]),
        "reason": np.array(settings["target_reason"]),
    }


def test_a_stored_run_goes_on_elsewhere(simulator, tmp_path: Path) -> None:
    from resexpand import Activation, Branch, Linear, ResNet, sample

    net = ResNet(Branch(Activation("relu"), Linear(1, 0)), scale=0.6, depth=2)
    how = {"K0": 1.0, "seed": 1, "workers": 1, "progress": False}
    sample(net, "kernel", 5, 4, store=tmp_path / "run.db", **how)
    found = simulator(resumed, store=str(tmp_path / "run.db"))
    expected = sample(net, "kernel", 5, 12, **how)["kernel"].mean
    np.testing.assert_allclose(found["mean"], expected, rtol=1e-12)
    assert found["target"] == "cuda"
    assert "simulator" in str(found["reason"])
