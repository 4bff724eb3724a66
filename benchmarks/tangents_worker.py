"""neural-tangents, in a process and an environment of its own, timed on request.

    python tangents_worker.py THREADS

neural-tangents 0.6.5 needs jax 0.4.30 and NumPy 1; this file imports nothing of `resexpand`. Its
`experimental` module is replaced by an empty one, since it needs TensorFlow. Lines of JSON come in
on the standard input, one answer each goes out on the standard output:

    {"do": "prepare", "name": N, "arrays": FILE, "activation": A, "depth": L}  seconds to compile
    {"do": "run", "name": N}                                                   seconds of one run
    {"do": "result", "name": N, "arrays": FILE}                                the same; and writes
    {"do": "predict", "name": N, "arrays": FILE, "answer": FILE, "activation": A,
     "depth": L}                                              the same; and writes predictions

`x1` and `x2` with scalar hyperparameters give the kernels between all rows of both (one network,
many inputs). `x` with arrays of hyperparameters gives the kernel of one pair of inputs for each of
many networks (`jax.vmap`).
"""

from __future__ import annotations

import json
import os
import sys
import time
import types

THREADS = int(sys.argv[1])
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
sys.modules["neural_tangents.experimental"] = types.ModuleType("neural_tangents.experimental")

import jax  # noqa: E402
import numpy as np  # noqa: E402

jax.config.update("jax_enable_x64", True)

from neural_tangents import predict, stax  # noqa: E402

NORM = "layer norm, "
"""In front of the name of an activation: the branch is normalised."""

OUTPUTS = ("nngp", "ntk", "cov1", "cov2")


def kernel_function(activation, rho, weight, bias, depth, *read_out):
    """Return the kernel function of the residual network; the scale goes into the deviations."""
    phi = {
        "erf": stax.Erf,
        "relu": stax.Relu,
        "gelu": stax.Gelu,
        "sin": stax.Sin,
        "abs": stax.Abs,
        "cos": lambda: stax.Sin(c=np.pi / 2),
        "leaky_relu": lambda: stax.LeakyRelu(0.1),
        "2*sin(3*x/2)": lambda: stax.Sin(a=2.0, b=1.5),
    }[activation.removeprefix(NORM)]
    norm = [stax.LayerNorm()] if activation.startswith(NORM) else []
    w_std, b_std = rho * weight**0.5, rho * bias**0.5

    def block():
        branch = stax.serial(*norm, phi(), stax.Dense(1, W_std=w_std, b_std=b_std))
        return stax.serial(stax.FanOut(2), stax.parallel(stax.Identity(), branch), stax.FanInSum())

    return stax.serial(stax.Dense(1), *(block() for _ in range(depth)), *read_out)[2]


def compiled(activation, depth, arrays):
    """Return a function without arguments that evaluates all kernels."""
    numbers = [arrays[name] for name in ("rho", "weight", "bias")]
    if "x1" in arrays:
        fixed = [float(number) for number in numbers]
        function = kernel_function(activation, *fixed, depth)
        jitted = jax.jit(lambda x1, x2: tuple(function(x1, x2, OUTPUTS)))
        given = [jax.device_put(arrays[name]) for name in ("x1", "x2")]
    else:

        def one(rho, weight, bias, x):
            kernels = kernel_function(activation, rho, weight, bias, depth)(x[:1], x[1:], OUTPUTS)
            return tuple(values.reshape(()) for values in kernels)

        jitted = jax.jit(jax.vmap(one))
        given = [jax.device_put(values) for values in (*numbers, arrays["x"])]
    return lambda: jax.block_until_ready(jitted(*given))


def ensembles(activation, depth, arrays):
    """Return a function that predicts at ``x2`` after training on ``x1`` and ``y``.

    Its times are those of a loss that is an average over inputs and outputs.
    """
    numbers = [float(arrays[name]) for name in ("rho", "weight", "bias")]
    function = kernel_function(activation, *numbers, depth, stax.Dense(1))
    trained = predict.gradient_descent_mse_ensemble(
        function,
        arrays["x1"],
        arrays["y"],
        diag_reg=float(arrays["ridge"]),
        diag_reg_absolute_scale=True,
    )

    def answers():
        """Mean and covariance by kernel and time, one array each, in the order of the times."""
        times = [None if np.isinf(t) else t * arrays["y"].size for t in arrays["times"]]
        asked = {"x_test": arrays["x2"], "get": ("ntk", "nngp"), "compute_cov": True}
        found = [trained(t=t, **asked) for t in times]
        return {
            f"{kind} {name}": np.stack([np.asarray(getattr(getattr(f, kind), name)) for f in found])
            for kind in ("ntk", "nngp")
            for name in ("mean", "covariance")
        }

    return answers


def answer(request, ready):
    """Do what a request asks for."""
    name = request["name"]
    if request["do"] == "prepare":
        with np.load(request["arrays"]) as arrays:
            ready[name] = compiled(request["activation"], request["depth"], dict(arrays))
    if request["do"] == "predict":
        with np.load(request["arrays"]) as arrays:
            ready[name] = ensembles(request["activation"], request["depth"], dict(arrays))
        np.savez(request["answer"], **ready[name]())
    if request["do"] == "result":
        values = ready[name]()
        np.savez(request["arrays"], **dict(zip(OUTPUTS, map(np.asarray, values), strict=True)))
    begin = time.perf_counter()
    ready[name]()
    return time.perf_counter() - begin


def main():
    """Answer requests until the input ends."""
    # Whatever the libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    ready = {}
    for line in sys.stdin:
        begin = time.perf_counter()
        seconds = answer(json.loads(line), ready)
        if json.loads(line)["do"] == "prepare":
            seconds = time.perf_counter() - begin
        answers.write(json.dumps(seconds) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
