r"""Networks of infinite depth and finite width: their stochastic differential equation, drawn.

    dX = dB C(G)^{1/2},     G = X^T X / N,

for branches whose C is a function of G (`resexpand.theory.depth_noise`), by the scheme of Euler and
Maruyama with n steps: the weak error is of order 1/n. A step takes N normals per input, those with
which the sampler in function space makes the images of the last `Linear`. So with as many steps as
blocks, one seed gives the limit and a network the same Brownian motion: they differ by what the
network's features deviate from their average, of relative order 1/N.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resexpand.codegen.memory import require_memory
from resexpand.codegen.store import load
from resexpand.conventions import K0 as START
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.expressions.shown import Fielded
from resexpand.montecarlo.input_kernel import noted_kernel, triangular_root
from resexpand.montecarlo.jit import library_digest
from resexpand.montecarlo.loops.columns import padded
from resexpand.montecarlo.random.philox import split_seed
from resexpand.montecarlo.random.streams import FUNCTION_SPACE_FIRST
from resexpand.montecarlo.source.target import with_bindings
from resexpand.network.numbers import whole_number
from resexpand.network.values import value_of
from resexpand.numbers.depth_limit import require_independent_limit, single_values
from resexpand.numbers.layer_kernel import program
from resexpand.progress import Progress, reporting
from resexpand.theory.depth_limit import DepthLimit

Array = NDArray[np.float64]

LARGEST_COUNT = 2**31
PARTS = 20
"""Parts of the draws, after each of which progress is told."""

HEADER = """\
# Infinite depth at finite width, library {digest}.
from resexpand.montecarlo.lanes import barrier, lane_entry, lane_share
from resexpand.montecarlo.loops.columns import add_piece, dot, start
from resexpand.montecarlo.random.normals import add_normals, fill_normals
from resexpand.montecarlo.random.streams import stream_word
"""

DRIVER = '''
@driver
def draw_limit(
    draws, key0, key1, {rules}numbers, matrix, width, steps, scale, kept, vector,
    first, second, kernel, c, root, stream, normals, out,
):
    """Draw the streams of draws[0] ... draws[1] - 1; out (draws, times, D, D): G every kept steps.

    first, second (D): lengths; kernel (D, D): G; c (D, D): ones; root (D, D): of C, upper.
    """
    inputs, length = stream.shape
    for n in range(draws[1] - draws[0]):
        draw = np.uint64(draws[0] + n)
        start(stream, matrix, (key0, key1, 0, draw), normals)
        for step in range(steps + 1):
            for a in range(inputs):
                for b in range(a, inputs):
                    kernel[a, b] = dot(stream[a], stream[b], width) / width
                    kernel[b, a] = kernel[a, b]
                first[a] = kernel[a, a]
                second[a] = kernel[a, a]
            if step % kept == 0:
                for a in range(inputs):
                    for b in range(inputs):
                        out[n, step // kept, a, b] = kernel[a, b]
            if step == steps:
                break
            word = stream_word(step + 1, vector)
            if inputs == 1:
                l, m = 1, 1
                factor = scale * math.sqrt(covariance({arguments}))
                add_normals(key0, key1, np.uint64(0), word, draw, stream[0], length, factor)
                continue
            for l in range(1, inputs + 1):
                for m in range(l, inputs + 1):
                    root[l - 1, m - 1] = covariance({arguments})
            for j in range(inputs):
                own = root[j, j]
                rest = own
                for i in range(j):
                    rest -= root[i, j] * root[i, j]
                pivot = math.sqrt(rest) if rest > 1e-14 * own else 0.0
                root[j, j] = pivot
                for k in range(j + 1, inputs):
                    entry = root[j, k]
                    for i in range(j):
                        entry -= root[i, j] * root[i, k]
                    root[j, k] = entry / pivot if pivot > 0.0 else 0.0
                if pivot > 0.0:
                    fill_normals(key0, key1, np.uint64(j), word, draw, normals, length)
                    for k in range(j, inputs):
                        add_piece(stream[k], scale * root[j, k], normals)
'''


@dataclass(frozen=True, repr=False)
class DepthEnsemble(Fielded):
    """Gram matrices along networks of infinite depth and finite width.

    Attributes
    ----------
    times : ndarray, shape (n,)
        Shares l/L of the depth.
    rows : ndarray, shape (draws, n) or (draws, n, D, D)
        ``G = X^T X / N`` of every draw.
    kernel, kernel_error : ndarray, shape (n,) or (n, D, D)
        Their mean and its standard error.
    steps : int
        Of the scheme, whose weak error is of order ``1 / steps``.
    draws : int
    """

    times: Array
    rows: Array
    kernel: Array
    kernel_error: Array
    steps: int
    draws: int


def sample_depth_limit(
    limit: DepthLimit,
    *,
    K0: ArrayLike,
    width: int,
    steps: int,
    draws: int,
    times: int = 1,
    seed: int = 0,
    progress: Progress = None,
    **hyperparameters: float,
) -> DepthEnsemble:
    """Draw networks of infinite depth at finite width.

    Parameters
    ----------
    limit : DepthLimit
        From `depth_limit`, of a branch whose noise is a function of G: it begins and ends in a
        `Linear`, with one activation at most, or is one `Linear`.
    K0 : float or array_like, shape (D, D)
        Kernel at layer 0.
    width : int
        Neurons N.
    steps : int
        Steps of the scheme, a multiple of `times`.
    draws : int
        Number of networks, at least 2.
    times : int
        Parts of the depth behind each of which G is kept, beside the start.
    seed : int
        Ensemble, as in `sample`.
    progress : callable or bool, optional
        As in `sample`.
    **hyperparameters : float
        One number per symbol of the network but the depth, by name.

    Returns
    -------
    DepthEnsemble

    Raises
    ------
    HyperparameterError
        If numbers are missing, or do not fit together.
    UnsupportedError
        If the equation does not close; the message says what draws it.

    Examples
    --------
    >>> import sympy as sp
    >>> from resexpand import Activation, Branch, Linear, ResNet, depth_limit, sample_depth_limit
    >>> L = sp.Symbol("L", integer=True, positive=True)
    >>> branch = Branch(Linear(1, 0), Activation("relu"), Linear(2, 0))
    >>> limit = depth_limit(ResNet(branch, scale=1 / sp.sqrt(L), depth=L))
    >>> run = sample_depth_limit(limit, K0=1.0, width=10, steps=50, draws=400, times=2)
    >>> run.kernel.shape, run.rows.shape
    ((3,), (400, 3))
    """
    require_independent_limit(limit, "paths")
    if not limit.noise.closes:
        raise UnsupportedError(
            f"the equation of infinite depth of {limit.net!r}",
            "its noise is no function of the Gram matrix of the streams",
            "sample() it at a large depth, which is a scheme of the equation; depth_paths() takes "
            "one Linear",
        )
    draws = whole_number(draws, "draws", 2, LARGEST_COUNT)
    width = whole_number(width, "width", 1, LARGEST_COUNT)
    steps = whole_number(steps, "steps", 1, LARGEST_COUNT)
    times = whole_number(times, "times", 1, LARGEST_COUNT)
    if steps % times:
        raise HyperparameterError(
            f"{steps} steps for {times} times", "they do not divide", f"give a multiple of {times}"
        )
    key = split_seed(whole_number(seed, "seed", 0, 2**64))
    start = noted_kernel(K0, None, None)[0]
    size = len(start)
    require_memory(
        "networks of infinite depth", 8.0 * draws * (times + 1) * size**2, "take fewer draws"
    )
    rows = np.zeros((draws, times + 1, size, size))
    draw = _sampler(limit, hyperparameters, (width, steps, steps // times), start)
    part = -(-draws // PARTS)
    with reporting(progress) as done:
        for first in range(0, draws, part):
            own = (first, min(first + part, draws))
            draw(own, *key, out=rows[slice(*own)])
            done(own[1], draws)
    kept = rows if np.ndim(K0) else rows[..., 0, 0]
    error = kept.std(axis=0, ddof=1) / math.sqrt(draws)
    share = np.arange(times + 1) / times
    return DepthEnsemble(share, kept, kept.mean(axis=0), error, steps, draws)


def _sampler(
    limit: DepthLimit, given: dict[str, Any], counts: tuple[int, int, int], start: Array
) -> Callable[..., None]:
    """Return the compiled loop with all but draws, key and place: width, steps, steps kept."""
    width, steps, kept = counts
    numbers, scale = _numbers(limit, given, steps)
    size, length = len(start), padded(width + 1)
    header = "\n".join(with_bindings((HEADER.format(digest=library_digest()),), "cpu"))
    found = program(limit.noise.pair, False, DRIVER, header)
    run, rules = load(found.source).draw_limit, found.rules("fine")
    matrix = np.zeros((size + 1, size))
    matrix[:size] = triangular_root(start).T
    last = len(limit.net.branch.ops) - 1
    how = (matrix, width, steps, scale, kept, FUNCTION_SPACE_FIRST + 2 * last)
    grams, c, root = np.zeros((size, size)), np.ones((size, size)), np.zeros((size, size))
    spaces = (*np.zeros((2, size)), grams, c, root, np.zeros((size, length)), np.zeros(length))

    def draw(own: tuple[int, int], key0: Any, key1: Any, out: Array) -> None:
        run(own, key0, key1, *rules, numbers, *how, *spaces, out)

    return draw


def _numbers(limit: DepthLimit, given: dict[str, Any], steps: int) -> tuple[Array, float]:
    """Return the hyperparameters in the order of the routine, and the scale of a step."""
    values = single_values(limit, given)
    # The kernel at layer 0 is bound, too, and does not enter.
    bound = [(s, value) for s, value in limit.noise.pair.bindings if s != START]
    numbers = [float(value_of(value, values)) for _, value in bound]
    return np.array([*numbers, 0.0]), float(value_of(limit.constant, values)) / math.sqrt(steps)
