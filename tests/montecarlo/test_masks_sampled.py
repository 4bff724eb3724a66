"""Masks and coins in both samplers, against networks written down in NumPy.

The oracle draws masks with NumPy's generator and propagates columns, tangents and gradients through
weights stored as arrays. Laws are exact at every width, so it is small.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from heavier import left_to_slow
from scipy import special

from resexpand import (
    Activation,
    Branch,
    Dropout,
    DropPath,
    Linear,
    ResNet,
    SharedDropout,
    StochasticDepth,
    evaluate,
    kernel,
    sample,
)
from resexpand.errors import UnsupportedError
from resexpand.montecarlo.engine import make_sampler
from resexpand.montecarlo.random.noise import (
    TURNS,
    write_in_quarters,
    write_uniform,
    write_uniforms,
)
from resexpand.montecarlo.random.philox import philox4x32
from resexpand.montecarlo.runs.settings import spec_of
from resexpand.network.operation import Map, X

DRAWS, WIDTH, DEPTH, RHO, S, T, S_OUT = 6_000, 6, 2, 0.9, 1.4, 0.3, 0.7
BEFORE, AFTER, SURVIVAL = 0.8, 0.6, 0.7
PAIR = np.array([[1.1, 0.5], [0.5, 0.8]])
LIMIT = 4.8
"""Largest deviation in standard errors; there are fewer than a hundred entries."""


def network(
    mask: Any = Dropout, coin: Any = StochasticDepth, name: str = "erf", scale: float = RHO
) -> ResNet:
    ops = (mask(BEFORE), Activation(name), mask(AFTER), Linear(S, T), coin(SURVIVAL))
    branch = Branch(*ops)
    read_out = branch.followed_by(Linear(S_OUT, 0))
    return ResNet(branch, scale=scale, depth=DEPTH, read_out=read_out)


def in_numpy(
    K0: np.ndarray,
    mask_shared: bool = False,
    coin_shared: bool = True,
    amplified: bool = True,
    in_front: bool = True,
) -> dict[str, np.ndarray]:
    """Return the observables of networks with erf, one row each; `chi` is of the first input."""
    random, count = np.random.default_rng(99), len(K0)
    z = random.normal(size=(DRAWS, WIDTH, count))
    root = np.linalg.cholesky(K0)
    h, met = z @ root.T, []
    v = z[..., 0] / (2 * root[0, 0])
    gram = lambda x: np.einsum("nia,nib->nab", x, x)  # noqa: E731
    states, chi = [gram(h) / WIDTH], [2 * np.mean(h[..., 0] * v, axis=1)]

    def drawn(p: float, shape: tuple[int, ...]) -> np.ndarray:
        return (random.random(shape) < p) / (p if amplified else 1)

    columns, coins = (1 if mask_shared else count), (1 if coin_shared else count)

    def masks() -> tuple[np.ndarray, np.ndarray]:
        first, second = (drawn(p, (DRAWS, WIDTH, columns)) for p in (BEFORE, AFTER))
        return (first, second) if in_front else (np.ones_like(first), first * second)

    for _ in range(DEPTH):
        first, second = masks()
        coin = drawn(SURVIVAL, (DRAWS, 1, coins))
        weights = random.normal(size=(DRAWS, WIDTH, WIDTH)) * np.sqrt(S / WIDTH)
        biases = random.normal(size=(DRAWS, WIDTH, 1)) * np.sqrt(T)
        slope = second * 2 / np.sqrt(np.pi) * np.exp(-((first * h) ** 2)) * first
        met.append((slope, weights, coin))
        step = np.einsum("nij,nj->ni", weights, slope[..., 0] * v)
        h = h + RHO * coin * (weights @ (second * special.erf(first * h)) + biases)
        v = v + RHO * coin[..., 0] * step
        states.append(gram(h) / WIDTH)
        chi.append(2 * np.mean(h[..., 0] * v, axis=1))
    row = random.normal(size=(DRAWS, WIDTH, 1)) * np.sqrt(S_OUT / WIDTH)
    first, second = masks()
    y = np.sum(row * second * special.erf(first * h), axis=1)
    p = row * second * 2 / np.sqrt(np.pi) * np.exp(-((first * h) ** 2)) * first
    gradients = [gram(p)]
    for slope, weights, coin in reversed(met):
        p = p + RHO * slope * (np.swapaxes(weights, 1, 2) @ (coin * p))
        gradients.insert(0, gram(p))
    return {
        "kernel": np.stack(states, 1),
        "output_squared": y[:, :, None] * y[:, None, :],
        "gradient": np.stack(gradients, 1),
        "chi": np.stack(chi, 1),
    }


def worst(first: np.ndarray, second: np.ndarray) -> float:
    """Return the largest |z| of the differences of means and of second moments."""
    scores = []
    for power in (1, 2):
        a, b = first**power, second**power
        error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / DRAWS)
        scores.append(np.abs(a.mean(axis=0) - b.mean(axis=0)) / error)
    return float(np.max(scores))


SHARINGS = [(Dropout, StochasticDepth), (SharedDropout, DropPath)]
METHODS = ["function-space", "dense"]
CASES = [(sharing, method) for sharing in SHARINGS for method in METHODS]
PAIRED = ("kernel", "output_squared", "gradient")


@pytest.mark.parametrize(("sharing", "method"), left_to_slow(CASES, CASES[1:3]))
def test_two_inputs(sharing: tuple[Any, Any], method: str, make) -> None:
    shared = {"mask_shared": sharing[0] is SharedDropout, "coin_shared": sharing[1] is not DropPath}
    rows = make(network(*sharing), PAIRED, WIDTH, K0=PAIR, method=method).rows(0, DRAWS)
    expected = in_numpy(PAIR, **shared)
    for name in PAIRED:
        assert worst(rows[name], expected[name]) < LIMIT, name
    for wrong in (
        {**shared, "mask_shared": not shared["mask_shared"]},
        {**shared, "coin_shared": not shared["coin_shared"]},
        {**shared, "amplified": False},
        {**shared, "in_front": False},
    ):
        other = in_numpy(PAIR, **wrong)
        assert max(worst(rows[name], other[name]) for name in PAIRED) > LIMIT, wrong


def test_derivatives_share_the_masks_of_their_column(make) -> None:
    names = ("kernel", "chi", "directional_derivative", "order_remainder(6)")
    rows = make(network(), names, WIDTH, K0=0.8).rows(0, DRAWS)
    expected = in_numpy(np.array([[0.8]]))
    assert worst(rows["chi"], expected["chi"]) < LIMIT
    assert worst(rows["chi"], 1.2 * expected["chi"]) > LIMIT
    product = rows["directional_derivative"]
    np.testing.assert_allclose(product, product[:, :1] + np.zeros(DEPTH + 1), rtol=1e-9, atol=1e-12)
    # At a small scale the Taylor series converges to the network with these masks.
    small = make(network(scale=0.02), names, WIDTH, K0=0.8).rows(0, 50)["order_remainder"]
    assert small[:, -1, -1].max() < 1e-15 < 1e-6 < small[:, -1, 0].mean()


def test_paths_share_the_masks_of_their_column(make) -> None:
    rows = make(network(name="relu"), ("path_remainder(2)", "kernel"), WIDTH, K0=0.8).rows(0, 200)
    assert np.abs(rows["path_remainder"][:, :, -1]).max() < 1e-24
    assert np.abs(rows["path_remainder"][:, -1, 0]).max() > 1e-3


class Same(Map):
    """``x -> x``."""

    kind = "Same"
    expression = X


LINEAR = [0.3, 0.8, 1.0]


@pytest.mark.parametrize("method", METHODS)
def test_linear_networks_are_exact_at_every_width(method: str, make, z_score) -> None:
    for p in LINEAR:
        net = ResNet(Branch(Dropout(p), Linear(S, T)), scale=RHO, depth=3)
        rows = make(net, ["kernel"], WIDTH, K0=np.ones((2, 2)), method=method).rows(0, 4_000)
        theory = evaluate(kernel(net, inputs="masks"), K0=1.0)["K"]
        z = z_score(rows["kernel"][:, :, *np.triu_indices(2)], theory[:, *np.triu_indices(2)])
        assert np.abs(z).max() < LIMIT
        if p < 1:
            assert np.abs(z_score(rows["kernel"][:, 1:, 0, 1], theory[1:, 0, 0])).min() > LIMIT
        else:
            same = ResNet(Branch(Same(), Linear(S, T)), scale=RHO, depth=3)
            plain = make(same, ["kernel"], WIDTH, K0=np.ones((2, 2)), method=method)
            assert plain.rows(0, 50)["kernel"].tobytes() == rows["kernel"][:50].tobytes()


def test_the_kernel_of_wide_networks() -> None:
    """Before and behind the activation, at the width where the limit holds to the error."""
    for before, after in ((0.5, 1.0), (1.0, 0.5)):
        ops = (Dropout(before), Activation("erf"), Dropout(after), Linear(S, T))
        net = ResNet(Branch(*ops, StochasticDepth(1)), scale=RHO, depth=DEPTH)
        found = sample(net, "kernel", 300, 300, K0=PAIR, seed=4)["kernel"]
        theory = evaluate(kernel(net, inputs=2), K0=PAIR)["K"]
        assert np.abs((found.mean - theory) / found.stderr).max() < LIMIT
        swapped = Branch(Dropout(after), ops[1], Dropout(before), ops[3])
        wrong = evaluate(kernel(ResNet(swapped, scale=RHO, depth=DEPTH), inputs=2), K0=PAIR)["K"]
        assert np.abs((found.mean - wrong) / found.stderr).max() > 2 * LIMIT


@pytest.mark.parametrize("method", METHODS)
def test_positions_share_the_coin_of_their_input(method: str, make) -> None:
    """Every input of two is left out with all of its positions, and not always with the other."""
    net = ResNet(Branch(Linear(1, 0), DropPath(0.5)), scale=1, depth=1, skip=0, positions=3)
    start = 0.3 * np.eye(6) + 0.7
    rows = make(net, ("kernel",), WIDTH, K0=start, method=method).rows(0, 40)["kernel"]
    kept = np.diagonal(rows[:, 1], axis1=1, axis2=2).reshape(40, 2, 3) > 0
    assert (kept == kept[..., :1]).all()
    assert 3 < (kept[:, 0, 0] != kept[:, 1, 0]).sum() < 37  # the control


def turned(word: Any, byte: int) -> Any:
    return (word << 8 * byte | word >> (32 - 8 * byte)) & 0xFFFFFFFF if byte else word


def numbers_of(words: Sequence[Any]) -> list[Any]:
    """Return the sixteen numbers of the words of a counter, word by word."""
    found = []
    for word in words:
        for p, turns in enumerate(TURNS):
            shared = 0
            for other, byte in zip(words, turns, strict=True):
                shared ^= turned(other, byte)
            found.append(turned(word, p) ^ (shared & 0xFFFFFF))
    return found


def rank(forms: Sequence[int]) -> int:
    """Return the rank of linear forms modulo two, each an integer."""
    pivots: dict[int, int] = {}
    for form in forms:
        rest = form
        while rest and rest.bit_length() in pivots:
            rest ^= pivots[rest.bit_length()]
        if rest:
            pivots[rest.bit_length()] = rest
    return len(pivots)


def test_pairs_of_numbers_are_independent() -> None:
    """A call that gives bit k of its 128 alone gives the column k of the linear forms."""
    calls = [[(1 << k) >> 32 * w & 0xFFFFFFFF for w in range(4)] for k in range(128)]
    columns = [numbers_of(words) for words in calls]

    def forms(s: int, lowest: int = 0) -> list[int]:
        bits = range(lowest, 32)
        return [sum((column[s] >> b & 1) << k for k, column in enumerate(columns)) for b in bits]

    def dependent(size: int) -> int:
        sets = combinations([forms(s) for s in range(16)], size)
        return sum(rank([f for s in chosen for f in s]) < 32 * size for chosen in sets)

    assert dependent(2) == 0
    assert dependent(3) == 14
    assert rank([f for s in range(16) for f in forms(s, 24)]) == 128  # all upper bytes


def drawn_uniforms(width: int, vector: int = 2**24, column: int = 1) -> np.ndarray:
    """Return the uniform numbers of a column in the order of its neurons."""
    noise = np.zeros((2, -(-width // 32) * 32))
    write_uniforms(PLACE, vector, column, width, noise, 0)
    return noise[0]


PLACE = (np.uint64(7), np.uint64(9), 3, np.uint64(5))


@pytest.mark.parametrize("width", [5, 64, 1024, 1061, 2100])
def test_noise_is_a_function_of_its_place(width: int) -> None:
    found, whole = drawn_uniforms(width), width // 32 * 32
    for i in {0, width // 2, whole - 1, width - 1} - {-1}:
        first = whole if i >= whole else i // 1024 * 1024
        size = 32 if i >= whole else min(1024, whole - first)
        k, p = divmod(i - first, 4)
        byte, j = divmod(k, size // 16)
        counter = (first // 16 + j, 2**24 + 1, 3 * 256 + 5, 5, 7, 9)
        words = [int(word) for word in philox4x32(*map(np.uint64, counter))]
        assert found[i] == (numbers_of(words)[4 * p + byte] + 0.5) / 2**32
    # The order of a column by itself: quarter by quarter within a block.
    quarters = np.zeros(min(whole, 1024))
    write_in_quarters(PLACE, 2**24, 1, 0, quarters)
    in_order = quarters.reshape(4, -1).T.ravel()
    np.testing.assert_array_equal(in_order, found[: quarters.size])
    longer = np.zeros(whole)
    write_in_quarters(PLACE, 2**24, 1, 0, longer)
    np.testing.assert_array_equal(longer.reshape(4, -1).T.ravel(), found[:whole])


def test_one_number_for_all_neurons() -> None:
    noise = np.zeros((2, 64))
    write_uniform(PLACE, 2**24, 1, noise, 0)
    np.testing.assert_array_equal(noise[0], drawn_uniforms(64)[0])


@pytest.mark.parametrize("keep", [0.3, 0.8, 2**-16 * 20000.5])
def test_numbers_are_uniform_and_their_outcomes_independent(keep: float) -> None:
    many = np.array([drawn_uniforms(1024, 0, column) for column in range(600)])
    frequency = np.histogram(many, bins=20, range=(0, 1))[0]
    assert ((frequency - many.size / 20) ** 2 / (many.size / 20)).sum() < 50
    kept = many < keep
    assert abs(kept.mean() - keep) < 4 * np.sqrt(keep * (1 - keep) / kept.size)
    # The sixteen numbers of a counter: all pairs, and the number of them that are kept.
    own = kept.reshape(600, 4, 64, 4).transpose(0, 2, 1, 3).reshape(-1, 16)
    pairs = np.corrcoef(own.T)[*np.triu_indices(16, 1)]
    assert np.abs(pairs).max() < 4.5 / np.sqrt(len(own))
    expected = len(own) * np.array(
        [math.comb(16, n) * keep**n * (1 - keep) ** (16 - n) for n in range(17)]
    )
    found = np.bincount(own.sum(axis=1), minlength=17)
    assert ((found - expected) ** 2 / expected)[expected > 20].sum() < 45
    # The control: numbers of one counter that share their coins.
    shared = np.bincount(8 * own[:, :2].sum(axis=1), minlength=17)
    assert ((shared - expected) ** 2 / expected)[expected > 20].sum() > 1000


def test_stores_resume_masks(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    cycle = [
        Branch(SharedDropout(0.7), Linear(1, 0)),
        Branch(Linear(1, 0), DropPath([1, 0.6, 0.5])),
    ]
    net = ResNet(cycle, scale=0.5, depth=3, read_out=[Dropout(0.8), Linear(1, 0)])
    names = ["kernel", "output_squared"]
    whole = sample(net, names, 16, 60, K0=PAIR, seed=4)
    sample(net, names, 16, 30, K0=PAIR, seed=4, store=path)
    resumed = sample(net, names, 16, 60, K0=PAIR, seed=4, store=path, workers=2)
    for name in names:
        assert resumed[name].mean.tobytes() == whole[name].mean.tobytes()
    spec = spec_of(json.loads(json.dumps(dict(resumed.settings))), "a run")
    rows = make_sampler(spec).rows(0, 60)
    np.testing.assert_allclose(rows["kernel"].mean(axis=0), whole["kernel"].mean, rtol=1e-12)
    assert resumed.settings["branch"] == ["SharedDropout", "Linear"]


def test_no_twin_with_masks() -> None:
    with pytest.raises(UnsupportedError, match="states no law for it"):
        sample(network(), "kernel", 16, 10, K0=1.0, control="infinite-width")
