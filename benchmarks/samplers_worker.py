"""The dense sampling loop of a peer, in a process and an environment of its own, timed on request.

    python samplers_worker.py torch32|torch64|nt32|nt64 WIDTH DEPTH DRAWS

This file imports nothing of `resexpand`. Each line on the standard input asks for one run: DRAWS
networks ``h + rho W relu(h)`` of one input on one thread, whose mean kernel is averaged. The answer
is a line of JSON with the seconds of processor time; the first one includes compiling where there
is something to compile. PyTorch gets preallocated arrays and fills the weights in place.
neural-tangents 0.6.5 (jax 0.4.30, NumPy 1) runs `monte_carlo_kernel_fn`, jitted; its `experimental`
module is replaced by an empty one, since it needs TensorFlow.
"""

from __future__ import annotations

import json
import os
import sys
import time
import types
import warnings

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
KIND, (WIDTH, DEPTH, DRAWS) = sys.argv[1], map(int, sys.argv[2:])
RHO = 0.3


def with_torch(bits):
    """Return the loop in PyTorch."""
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    kind = {"32": torch.float32, "64": torch.float64}[bits]
    weights = torch.empty(WIDTH, WIDTH, dtype=kind)

    def run():
        total = 0.0
        with torch.no_grad():
            for _ in range(DRAWS):
                h = torch.empty(WIDTH, dtype=kind).normal_()
                for _ in range(DEPTH):
                    weights.normal_()
                    h.add_(weights.mv(torch.relu(h)), alpha=RHO / WIDTH**0.5)
                total += float(h.dot(h)) / WIDTH
        return total / DRAWS

    return run


def with_neural_tangents(bits):
    """Return the Monte Carlo kernel of neural-tangents; a read-in of few inputs makes h^0."""
    sys.modules["neural_tangents.experimental"] = types.ModuleType("neural_tangents.experimental")
    import jax

    jax.config.update("jax_enable_x64", bits == "64")
    import jax.numpy as jnp
    from neural_tangents import monte_carlo_kernel_fn, stax

    def block():
        branch = stax.serial(stax.Relu(), stax.Dense(WIDTH, W_std=RHO))
        return stax.serial(stax.FanOut(2), stax.parallel(stax.Identity(), branch), stax.FanInSum())

    init, apply, _ = stax.serial(stax.Dense(WIDTH), *(block() for _ in range(DEPTH)))
    x = jnp.ones((1, 4))
    estimate = monte_carlo_kernel_fn(init, apply, jax.random.PRNGKey(1), DRAWS)
    jitted = jax.jit(lambda x: estimate(x, None, "nngp"))
    return lambda: float(jitted(x)[0, 0])


run = {"torch": with_torch, "nt": with_neural_tangents}[KIND[:-2]](KIND[-2:])
for _ in sys.stdin:
    begin = time.process_time()
    value = run()
    print(json.dumps({"seconds": time.process_time() - begin, "kernel": value}), flush=True)
