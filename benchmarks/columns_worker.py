"""Kernels over positions by neural-tangents, in a process and an environment of its own.

    python columns_worker.py GIVEN ANSWER

`GIVEN` is an ``.npz`` file with inputs of shape (D, P, d), `ANSWER` the one that is written: the
kernel of every network that `columns.py` describes. It imports nothing of `resexpand`.
"""

from __future__ import annotations

import sys
import types

sys.modules["neural_tangents.experimental"] = types.ModuleType("neural_tangents.experimental")

import jax  # noqa: E402
import numpy as np  # noqa: E402

jax.config.update("jax_enable_x64", True)

from neural_tangents import stax  # noqa: E402

SCALE, WEIGHT, BIAS, DEPTH = 0.6, 1.7, 0.1, 3
OUT = (stax.GlobalAvgPool, stax.Flatten)


def residual(*branch):
    """Return blocks around a branch, whose last layer holds the scale."""
    block = stax.serial(
        stax.FanOut(2), stax.parallel(stax.Identity(), stax.serial(*branch)), stax.FanInSum()
    )
    return [block] * DEPTH


def conv(filters, padding):
    """Return a convolution with the scale in its deviations."""
    stds = {"W_std": SCALE * WEIGHT**0.5, "b_std": SCALE * BIAS**0.5}
    return stax.Conv(1, filters, padding=padding, **stds)


def attention(mechanism, linear_scaling):
    """Return self-attention with unit queries and keys, values of WEIGHT and outputs of 1."""
    return stax.GlobalSelfAttention(
        1, 1, 1, 1,
        linear_scaling=linear_scaling,
        W_key_std=1.0, W_query_std=1.0,
        W_value_std=SCALE * WEIGHT**0.5, W_out_std=1.0,
        b_std=SCALE * BIAS**0.5, attention_mechanism=mechanism,
    )  # fmt: skip


def networks():
    """Return every network by name; the head is a pooled or flattened one."""
    yield "circular, pooled", [*residual(stax.Relu(), conv((3,), "CIRCULAR")), OUT[0]()]
    yield "circular, flattened", [*residual(stax.Relu(), conv((3,), "CIRCULAR")), OUT[1]()]
    yield "zeros, pooled", [*residual(stax.Erf(), conv((3,), "SAME")), OUT[0]()]
    yield "tied softmax 1/d", [*residual(attention("SOFTMAX", True)), OUT[0]()]
    yield "tied identity 1/d", [*residual(attention("IDENTITY", True)), OUT[0]()]
    yield "identity 1/sqrt(d)", [*residual(attention("IDENTITY", False)), OUT[0]()]


def main(given, answer):
    """Write the kernels."""
    with np.load(given) as file:
        x = file["x"]
    found = {}
    for name, layers in networks():
        # Its activations want a random affine map in front; this one keeps the covariance.
        _, _, kernel_fn = stax.serial(stax.Dense(1), *layers)
        found[name] = np.asarray(kernel_fn(x, x, "nngp"))
    np.savez(answer, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
