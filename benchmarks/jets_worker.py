"""jax.experimental.jet, in a process and an environment of its own, timed on request.

    python jets_worker.py ACTIVATION WIDTH DEPTH ORDER SEED

This file imports nothing of `resexpand`. It draws the same network as the benchmark (NumPy's PCG64
gives the same numbers in every version) and differentiates it in the factor of all residual scales.
A line on the standard input asks for one run; the answer is a line of JSON: the seconds it took.
The first answer is the time to compile, with the file of the orders it found.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import time

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
from jax.experimental.jet import jet  # noqa: E402


def network(width, depth, seed):
    """Return the weights and the input, drawn as in the benchmark."""
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((width, width)) / math.sqrt(width) for _ in range(depth)]
    return weights, rng.standard_normal(width)


def main():
    """Compile, then answer every line with the seconds of one run."""
    activation, (width, depth, order, seed) = sys.argv[1], map(int, sys.argv[2:])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    phi = {"tanh": jnp.tanh, "erf": jax.scipy.special.erf, "sin": jnp.sin}[activation]
    scale = 1 / math.sqrt(depth)

    def orders(weights, x):
        def state(factor):
            h = x
            for matrix in weights:
                h = h + factor * scale * (matrix @ phi(h))
            return h

        seeds = [1.0] + [0.0] * (order - 1)
        first, series = jet(state, (0.0,), (seeds,))
        return jnp.stack([first, *(s / math.factorial(k) for k, s in enumerate(series, start=1))])

    weights, x = network(width, depth, seed)
    given = [jax.device_put(w) for w in weights], jax.device_put(x)
    del weights
    begin = time.perf_counter()
    compiled = jax.jit(orders).lower(*given).compile()
    seconds = time.perf_counter() - begin
    path = os.path.join(tempfile.mkdtemp(), "orders.npy")
    np.save(path, np.asarray(compiled(*given)))
    answers.write(json.dumps({"seconds": seconds, "orders": path, "jax": jax.__version__}) + "\n")
    answers.flush()
    for _ in sys.stdin:
        begin = time.perf_counter()
        jax.block_until_ready(compiled(*given))
        answers.write(json.dumps(time.perf_counter() - begin) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
