# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Batch normalisation biases residual blocks towards the identity
#
# De & Smith (2020) observe that a normalised residual branch adds the same variance in every block,
# so that deep blocks contribute little. The statement is derived here for batches of any size B,
# where it is exact. Every step carries a check that runs as the step is taken: a symbolic identity,
# or a number computed a second time without the package.
#
# Run as a script, it narrates to the terminal and writes LaTeX:
# `python derivations/desmith_2020.py [--out FOLDER]`.

# %%
from __future__ import annotations

import mpmath
import numpy as np
import sympy as sp

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    Linear,
    ResNet,
    evaluate,
    gradient_moments,
    kernel,
)
from resexpand.conventions import DEPTH, RHO, SIGMA_B2, SIGMA_W2
from resexpand.references import REFERENCES, Citation
from resexpand.theory.derivation import Derivation
from resexpand.theory.verification import DIGITS
from resexpand.workflows.derive.script import output_folder, write_derivation

mpmath.mp.dps = DIGITS + 5
SIZES = (4, 8, 32)

folder = output_folder(__doc__)
derivation = Derivation(
    "Batch normalisation biases residual blocks towards the identity",
    tuple(Citation(REFERENCES[key]) for key in ("de2020", "yang2019")),
    announce=print,
)

# %% [markdown]
# ## An independent witness
#
# A centred and scaled batch of exchangeable Gaussians is uniform on a sphere of radius sqrt(B) in
# the plane orthogonal to (1, ..., 1). These integrals over one and two of its entries know nothing
# else.


# %%
def relu(x):
    return x if x > 0 else mpmath.mpf(0)


def step_function(x):
    return mpmath.mpf(x > 0)


def of_one(function, size):
    """Average over one entry: the density of t = u / sqrt(B-1) is (1 - t^2)^((B-4)/2)."""
    root = mpmath.sqrt(size - 1)

    def weighted(x):
        return mpmath.cos(x) ** (size - 3) * function(root * mpmath.sin(x))

    norm = mpmath.quad(lambda x: mpmath.cos(x) ** (size - 3), [-mpmath.pi / 2, mpmath.pi / 2])
    return mpmath.quad(weighted, [-mpmath.pi / 2, 0, mpmath.pi / 2]) / norm


def of_two(product, degree, size):
    """Average of a homogeneous function of two entries: their direction in a plane is uniform."""
    apart = mpmath.acos(-mpmath.mpf(1) / (size - 1))

    def at(angle):
        return product(mpmath.cos(angle), mpmath.cos(angle - apart))

    turns = [-mpmath.pi, -mpmath.pi / 2, apart - mpmath.pi / 2, mpmath.pi / 2]
    ends = sorted([*turns, apart + mpmath.pi / 2 - 2 * mpmath.pi, mpmath.pi])
    # The mean square of the radius is 2 out of B - 1 dimensions, times (B-1).
    return mpmath.quad(at, ends) / (2 * mpmath.pi) * 2 ** (degree // 2)


# %% [markdown]
# ## The recursion of a batch

# %%
net = ResNet(Branch(BatchNorm(), Activation("relu"), Linear()), scale=RHO, depth=DEPTH)
recursion = kernel(net, inputs="batch")
K11, K12, K13 = recursion.state
V, J, MU = recursion.stages[0].symbols
B = sp.Symbol("B", positive=True, integer=True)
unrolled = recursion.states(2)[-1]
added = {s: sp.expand(unrolled[s] - recursion.initial[k]) for k, s in enumerate(recursion.state)}
derivation.step(
    "A batch of exchangeable inputs has one variance $K_{11}$ and one covariance $K_{12}$; "
    "$K_{13}$ is the covariance with an input of another batch. Normalised, its entries do not "
    "depend on them, so that the branch adds the same in every block.",
    recursion,
    check={
        "variance added by two blocks": (added[K11], 2 * RHO**2 * (SIGMA_W2 * V + SIGMA_B2)),
        "covariance added by two blocks": (added[K12], 2 * RHO**2 * (SIGMA_W2 * J + SIGMA_B2)),
        "another batch": (added[K13], 2 * RHO**2 * (SIGMA_W2 * MU**2 + SIGMA_B2)),
    },
)

# %% [markdown]
# ## Averages over the sphere

# %%
c = -1 / (B - 1)
angle = sp.pi - sp.acos(c)
first = (sp.sqrt(1 - c**2) + angle * c) / (2 * sp.pi)
zeroth, H = angle / (2 * sp.pi), sp.Symbol("H_B", real=True)
closed = {J: first, H: zeroth}


def at_size(expression, size):
    """Return an expression of B, J_B and H_B at a size of the batch."""
    return expression.subs(closed).subs(B, size)


mean = sp.sqrt(B - 1) * sp.gamma((B - 1) / 2) / (2 * sp.sqrt(sp.pi) * sp.gamma(B / 2))
he = {"sigma_w2": 2, "sigma_b2": 0}
found = {size: evaluate(recursion, K0=np.eye(size) + 0.5, rho=1, depth=3, **he) for size in SIZES}
derivation.step(
    "For a rectifier they are elementary: two entries are projections on directions whose cosine "
    "is $-1/(B-1)$, and the average over their plane is an arc cosine.",
    {"V_B": sp.Rational(1, 2), "J_B": first, r"\mu_B": mean},
    check={
        **{
            f"$V_B$ at $B = {size}$": (of_one(lambda u: relu(u) ** 2, size), sp.Rational(1, 2))
            for size in SIZES
        },
        **{
            f"$J_B$ at $B = {size}$": (
                of_two(lambda u, v: relu(u) * relu(v), 2, size),
                first.subs(B, size),
            )
            for size in SIZES
        },
        **{f"mean at $B = {size}$": (of_one(relu, size), mean.subs(B, size)) for size in SIZES},
        **{
            f"covariance of a block, by quadrature, at $B = {size}$": (
                float(values["K"][1, 0, 1] - values["K"][0, 0, 1]) / 2,
                first.subs(B, size),
            )
            for size, values in found.items()
        },
        "large batches": (sp.limit(first, B, sp.oo), 1 / (2 * sp.pi)),
    },
)

# %% [markdown]
# ## Two kinds of variance

# %%
plain = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=3)
variance = (1 - 1 / B) * (K11 - K12)
per_block = (1 - 1 / B) * (1 - 2 * J)


def batch_variance(values):
    size = values["K"].shape[-1]
    return np.trace(values["K"], axis1=1, axis2=2) / size - values["K"].mean(axis=(1, 2))


derivation.step(
    r"With He's weights, $\sigma_w^2 = 2$, the second moment of the stream grows by one per block, "
    "for every B. The variance over the batch at fixed weights grows by less: by $1 - 1/\\pi$ in "
    "large batches. The two must not be mixed.",
    {
        r"K_{11}^{l} - K_{11}^{l-1}": sp.Integer(1),
        r"\mathrm{Var}_B\, h^{l} - \mathrm{Var}_B\, h^{l-1}": per_block,
    },
    check={
        "second moment of a block": (
            (unrolled[K11] - recursion.initial[0]).subs({SIGMA_W2: 2, SIGMA_B2: 0, RHO: 1, V: 0.5}),
            sp.Integer(2),
        ),
        **{
            f"growth of the batch variance at $B = {size}$": (
                float(batch_variance(values)[2] - batch_variance(values)[1]),
                at_size(per_block, size),
            )
            for size, values in found.items()
        },
        "at $B = 8$": (at_size(per_block, 8), "0.65613"),
        "in large batches": (sp.limit(per_block.subs(closed), B, sp.oo), 1 - 1 / sp.pi),
        "without normalisation the second moment doubles": (
            kernel(plain).unroll(3)["K"][-1].subs(sp.Symbol("K0", positive=True), 1),
            sp.Integer(8),
        ),
    },
)

# %% [markdown]
# ## The share of a block, and the scale that a normalisation amounts to

# %%
layer, start = sp.Symbol("l", positive=True, integer=True), sp.Symbol("a_0", positive=True)
stream = (1 - 1 / B) * (start + layer * (1 - 2 * J))
share = sp.simplify(per_block / stream)
scale = 1 / sp.sqrt(stream.subs(layer, layer - 1))
at_unit = {recursion.initial[0]: 1, SIGMA_W2: 2, SIGMA_B2: 0, RHO: 1, V: sp.Rational(1, 2)}
derivation.step(
    "So block l holds a share of the variance that falls like $1/l$, and its branch is divided by "
    r"the standard deviation of the stream in front of it: normalisation amounts to a residual "
    r"scale that falls like $1/\sqrt{l}$, where SkipInit starts from zero and bounds it by "
    r"$1/\sqrt{d}$.",
    {r"\mathrm{share}^l": share, r"\rho_{\mathrm{eff}}^l": scale},
    check={
        "share of the second moment of block 2, from $K^0_{11} = 1$": (
            (1 / unrolled[K11]).subs(at_unit),
            sp.Rational(1, 3),
        ),
        "share times depth, in the limit": (
            sp.limit(share.subs(closed).subs(B, 8) * layer, layer, sp.oo),
            sp.Integer(1),
        ),
        r"scale times $\sqrt{l}$, large batches": (
            sp.limit((scale * sp.sqrt(layer)).subs({J: 1 / (2 * sp.pi), 1 / B: 0}), layer, sp.oo),
            1 / sp.sqrt(1 - 1 / sp.pi),
        ),
        "scale of block 3 at $B = 8$, from the recursion": (
            1 / float(np.sqrt(batch_variance(found[8])[2])),
            at_size(scale.subs({layer: 3, start: 1}), 8),
        ),
    },
)

# %% [markdown]
# ## Gradients

# %%
A1, A2 = sp.Rational(1, 2) - 1 / B, -(H + J) / B
kappa = sp.simplify(B * (A1 - A2) / (B - 3))
tau = sp.simplify(B * (A1 / (B - 1) + A2) / (B - 3))
growth = 2 * kappa / (1 - 2 * J)
bare = ResNet(net.branch, scale=1, depth=5, skip=0)
back = {
    size: evaluate(gradient_moments(bare), K0=np.eye(size) + 0.5, **he)["gradient"]
    for size in SIZES
}
derivation.step(
    "On the way back the part of gradients that is common to the batch is lost in a normalised "
    r"branch, and the centred part is multiplied by $\sigma_w^2 \kappa_B / (K_{11} - K_{12})$; "
    "$H_B$ is the probability that two entries are both positive. "
    "Without skip connections the denominator is the same everywhere and gradients explode; with "
    "them it grows with l, and the product over blocks is a power of the depth with this factor "
    "as exponent.",
    {"H_B": zeroth, r"\kappa_B": kappa, r"\tau_B": tau, r"\lambda_B": growth},
    check={
        **{
            f"$A_1$ at $B = {size}$": (
                of_one(lambda u, n=size: step_function(u) * (1 - (1 + u**2) / n), size),
                A1.subs(B, size),
            )
            for size in SIZES
        },
        **{
            f"$A_2$ at $B = {size}$": (
                -(
                    of_two(lambda u, v: step_function(u) * step_function(v), 0, size)
                    + of_two(lambda u, v: relu(u) * relu(v), 2, size)
                )
                / size,
                at_size(A2, size),
            )
            for size in SIZES
        },
        **{
            f"growth per block at $B = {size}$": (
                float(values[1, 0, 0] / values[2, 0, 0]),
                at_size(growth, size),
            )
            for size, values in back.items()
        },
        **{
            f"its value at $B = {size}$": (at_size(growth, size), text)
            for size, text in zip(SIZES, ("3.084", "1.788", "1.522"), strict=True)
        },
        "in large batches": (sp.limit(growth.subs(closed), B, sp.oo), sp.pi / (sp.pi - 1)),
    },
)

# %% [markdown]
# ## The derivation as LaTeX

# %%
write_derivation([net, derivation], folder / "desmith_2020.tex")
