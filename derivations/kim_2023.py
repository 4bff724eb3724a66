# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Where dropout belongs in a residual block with batch normalisation
#
# A batch normalisation keeps the variance that its input had in training, masks included. In
# evaluation there are no masks, and the variance is smaller: the variance shift. Kim et al. (2023)
# ask at which place of a residual block it does least harm. The shifts are derived here for a block
# of two units [BatchNorm, relu, Linear], wide layers and large batches. Every step carries a check
# that runs as the step is taken.
#
# Run as a script, it narrates to the terminal and writes LaTeX:
# `python derivations/kim_2023.py [--out FOLDER]`.

# %%
from __future__ import annotations

import mpmath
import sympy as sp

from resexpand import (
    Activation,
    BatchNorm,
    Branch,
    Dropout,
    Linear,
    ResNet,
    evaluate,
    kernel,
    rank_positions,
    variance_shift,
)
from resexpand.references import REFERENCES, Citation
from resexpand.theory.derivation import Derivation
from resexpand.theory.verification import DIGITS
from resexpand.workflows.derive.script import output_folder, write_derivation

mpmath.mp.dps = DIGITS + 5
KEPT = ("0.5", "0.7", "0.9")
SPREAD, MEANS, WEIGHT, UNIT_SCALE = sp.Rational(6, 5), sp.Rational(2, 5), 2, 1
"""Variance of the stream over the batch, variance of its channel means, weights, residual scale."""

START = [[float(SPREAD + MEANS), float(MEANS)], [float(MEANS), float(SPREAD + MEANS)]]
P = sp.Symbol("p", positive=True)
W = sp.Symbol("sigma_w2", positive=True)
STREAM, R = sp.Symbol("K_c", positive=True), sp.Symbol("rho", positive=True)

folder = output_folder(__doc__)
derivation = Derivation(
    "Where dropout belongs in a residual block with batch normalisation",
    (Citation(REFERENCES["kim2023"]),),
    announce=print,
)

# %% [markdown]
# ## A mask on a signal

# %%
mask = {sp.Integer(1): P, sp.Integer(0): 1 - P}


def over_masks(function):
    """Average of a function of one kept or dropped entry, divided by p."""
    return sp.simplify(sum(chance * function(kept / P) for kept, chance in mask.items()))


plain = ResNet(Branch(Activation("relu"), Linear(2, 0)), scale=1, depth=1)
masked = ResNet(Branch(Activation("relu"), Dropout(P), Linear(2, 0)), scale=1, depth=1)
alone = {
    net: evaluate(kernel(net), K0=1.0, **v)["K"] for net, v in ((plain, {}), (masked, {"p": 0.5}))
}
pair = [[1.0, 0.5], [0.5, 1.0]]
both = {
    net: evaluate(kernel(net, 2), K0=pair, **v)["K"]
    for net, v in ((plain, {}), (masked, {"p": 0.5}))
}
derivation.step(
    "A mask keeps an entry with probability $p$ and divides it by $p$. It leaves the mean as it is "
    "and multiplies the second moment by $1/p$; masks of two inputs are independent and leave "
    "products as they are.",
    {r"\mathrm{E}\, \xi / p": sp.Integer(1), r"\mathrm{E}\, (\xi / p)^2": 1 / P},
    check={
        "mean": (over_masks(lambda s: s), sp.Integer(1)),
        "second moment": (over_masks(lambda s: s**2), 1 / P),
        "what a block adds, at $p = 1/2$": (
            float(alone[masked][1] - 1),
            float(2 * (alone[plain][1] - 1)),
        ),
        "covariance of two inputs": (float(both[masked][1, 0, 1]), float(both[plain][1, 0, 1])),
    },
)

# %% [markdown]
# ## Features behind a normalisation

# %%
z = sp.Symbol("z", real=True)
density = sp.exp(-(z**2) / 2) / sp.sqrt(2 * sp.pi)
mean = sp.integrate(z * density, (z, 0, sp.oo))
square = sp.integrate(z**2 * density, (z, 0, sp.oo))
spread = square - mean**2


def numeric(power):
    return mpmath.quad(lambda u: u**power * mpmath.npdf(u), [0, 4, mpmath.inf])


derivation.step(
    "In a large batch a normalised entry is a standard Gaussian. A rectifier gives it the second "
    "moment $M$ and the mean $\\mu$; the variance over the batch is $A = M - \\mu^2$.",
    {"M": square, r"\mu": mean, "A": spread},
    check={
        "second moment": (square, numeric(2)),
        "mean": (mean, numeric(1)),
        "variance": (spread, numeric(2) - numeric(1) ** 2),
        "its value": (spread, "0.34085"),
    },
)

# %% [markdown]
# ## The shift of the next normalisation

# %%
trained = W * (square / P - mean**2)
evaluated = W * (square - mean**2)
shift = sp.simplify(evaluated / trained)
UNIT = (BatchNorm(), Activation("relu"), Linear(WEIGHT, 0))


def shifts_at(place, keep):
    """Shifts of both normalisations and of the stream, with dropout at a place from 1 to 7."""
    ops = [*UNIT, *UNIT]
    ops.insert(place - 1, Dropout(sp.Rational(keep)))
    found = variance_shift(ResNet(Branch(*ops), scale=UNIT_SCALE, depth=1), K0=START)
    return [each.shift for each in found]


measured = {(place, keep): shifts_at(place, keep) for place in range(2, 8) for keep in KEPT}


def rounded(expression, keep):
    """Value at a probability to keep, to seven decimals."""
    return f"{float(expression.subs(P, sp.Rational(keep))):.7f}"


derivation.step(
    "Behind the activation masks raise the second moment and not the mean. A linear layer of "
    "centred weights passes both on, so that the ratio of the next normalisation is",
    {r"\delta": shift},
    check={
        "without masks": (shift.subs(P, 1), sp.Integer(1)),
        "closed form": (shift, (1 - 1 / sp.pi) / (1 / P - 1 / sp.pi)),
        "few neurons kept": (sp.limit(shift / P, P, 0), 1 - 1 / sp.pi),
        **{
            f"of the package, place {place}, $p = {keep}$": (
                sp.Float(measured[place, keep][1], 15),
                rounded(shift, keep),
            )
            for place in (2, 3)
            for keep in KEPT
        },
    },
)

# %% [markdown]
# ## Behind the weight: the same average, another spread

# %%
m = sp.Symbol("m", real=True)
channel = W * spread / P + (1 / P - 1) * m**2
average = sp.expand(channel).subs(m**2, W * mean**2)
fluctuation = sp.simplify((1 / P - 1) ** 2 * 2 * (W * mean**2) ** 2)
derivation.step(
    "A mask behind the weight meets a channel of variance $\\sigma_w^2 A$ and mean $m$, and the "
    "means of channels are Gaussian with variance $\\sigma_w^2 \\mu^2$. The average over channels "
    "is that of a mask in front of the weight; but every channel has its own variance.",
    {r"\mathrm{Var}_m": channel, r"\mathrm{Var}(\mathrm{Var}_m)": fluctuation},
    check={
        "average over channels": (sp.simplify(average), sp.simplify(trained)),
        "fourth moment of a mean": (
            sp.integrate((m**4 - 1) * sp.exp(-(m**2) / 2) / sp.sqrt(2 * sp.pi), (m, -sp.oo, sp.oo)),
            sp.Integer(2),
        ),
        "without masks": (fluctuation.subs(P, 1), sp.Integer(0)),
        **{
            f"of the package, $p = {keep}$": (
                sp.Float(measured[4, keep][1], 15),
                rounded(shift, keep),
            )
            for keep in KEPT
        },
    },
)

# %% [markdown]
# ## The stream behind the block

# %%
added = R**2 * W * spread
last = sp.simplify((STREAM + added) / (STREAM + R**2 * trained))
first = sp.simplify((STREAM + added * shift) / (STREAM + added))
numbers = {STREAM: SPREAD, W: WEIGHT, R: UNIT_SCALE}
derivation.step(
    "Dropout in the second unit meets no normalisation of the block; it shifts the stream, by a "
    "share that falls as the stream grows. Dropout in the first unit shifts the second "
    "normalisation by $\\delta$, and what follows is smaller by that factor.",
    {r"\delta_{\mathrm{second}}": last, r"\delta_{\mathrm{first}}": first},
    check={
        "a large stream hides the second unit": (sp.limit(last, STREAM, sp.oo), sp.Integer(1)),
        "no stream": (sp.simplify(last.subs(STREAM, 0)), shift),
        **{
            f"second unit, place {place}, $p = {keep}$": (
                sp.Float(measured[place, keep][2], 15),
                rounded(last.subs(numbers), keep),
            )
            for place in (5, 6)
            for keep in KEPT
        },
        **{
            f"first unit, place {place}, $p = {keep}$": (
                sp.Float(measured[place, keep][2], 15),
                rounded(first.subs(numbers), keep),
            )
            for place in (2, 3)
            for keep in KEPT
        },
    },
)

# %% [markdown]
# ## The ranking

# %%
total = {
    place: sum(abs(mpmath.log(each)) for each in measured[place, "0.5"]) for place in range(2, 8)
}
ranked = [each.number for each in rank_positions(Branch(*UNIT, *UNIT), Dropout(0.5), K0=START)]
derivation.step(
    "So with a rectifier dropout belongs behind the last normalisation, and in front of the last "
    "weight: there no normalisation of the block is shifted, and channels share one variance.",
    {"\\delta_{P5}": last, "\\delta_{P3}": shift},
    check={
        "order of the places": (ranked == [6, 5, 7, 3, 2, 4, 1], True),
        "last unit before the first": (max(total[5], total[6], total[7]) < total[2], True),
        "normalisations are not shifted": (
            all(abs(measured[place, "0.5"][k] - 1) < 1e-12 for place in (5, 6, 7) for k in (0, 1)),
            True,
        ),
    },
)

# %% [markdown]
# ## The derivation as LaTeX

# %%
write_derivation([masked, derivation], folder / "kim_2023.tex")
