# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Residual networks of large depth
#
# Marion, Fermanian, Biau & Vert (2025) scale the blocks of a residual network of depth $L$ by
# $L^{-\beta}$ and ask what is left of them in infinite depth: with independent weights
# $\beta = 1/2$ alone is neither trivial nor explosive, with weights that are smooth in the depth it
# is $\beta = 1$. Both are derived here from the network, with the finite width and the finite depth
# that are left out of such limits, and weights whose roughness lies in between. Every step carries
# checks that run as the step is taken.
#
# Run as a script, it narrates to the terminal and writes LaTeX:
# `python derivations/marion_2025.py [--out FOLDER]`.

# %%
from __future__ import annotations

from math import comb

import mpmath
import numpy as np
import sympy as sp

from resexpand import (
    Activation,
    Branch,
    FractionalBrownian,
    Linear,
    Markov,
    ResNet,
    Smooth,
    depth_limit,
    evaluate,
    kernel,
)
from resexpand.conventions import DEPTH, K0, RHO, WIDTH, K
from resexpand.numbers.depth_limit import solve_depth_limit
from resexpand.numbers.smooth_limit import solve_smooth_limit
from resexpand.references import REFERENCES, Citation
from resexpand.theory.derivation import Derivation
from resexpand.theory.formula import Formula
from resexpand.theory.verification import DIGITS
from resexpand.workflows.derive.script import output_folder, write_derivation

mpmath.mp.dps = DIGITS + 5
T, H = sp.Symbol("T", positive=True), sp.Symbol("H", positive=True)
L = sp.Symbol("L", integer=True, positive=True)
RELU = Activation("relu")
SINGLE, DOUBLE = Branch(RELU, Linear(1, 0)), Branch(Linear(1, 0), RELU, Linear(1, 0))

folder = output_folder(__doc__)
derivation = Derivation(
    "Residual networks of large depth",
    (Citation(REFERENCES["marion2025"]),),
    announce=print,
)


def half_moment():
    """Return the second moment of relu of a unit normal, by integration."""
    return mpmath.quad(lambda x: x**2 * mpmath.npdf(x), [0, 4, 8, 16])


# %% [markdown]
# ## Independent weights: the second moment

# %%
net = ResNet(DOUBLE, scale=RHO, depth=DEPTH)
recursion = kernel(net)
factor = Formula("", K, recursion.flat_update[0], laws=recursion.laws).closed()
scale = next(symbol for symbol, value in recursion.bindings if value == RHO)
factor = factor.subs({**dict(recursion.bindings), scale: RHO})
growth = (1 + RHO**2 / 2) ** L
derivation.step(
    r"A block $h + \rho V \mathrm{relu}(W h)$ multiplies the second moment of the stream by a "
    "number, at every width: the branch has mean zero given the stream, and half of the second "
    "moment passes the rectifier, because the sign of $W h$ is fair.",
    {r"\mathrm{E}|h_L|^2 / |h_0|^2": growth},
    check={
        "factor of a block": (sp.expand(factor / K), 1 + RHO**2 / 2),
        "half of the moment, by integration": lambda: (sp.Rational(1, 2), half_moment()),
        "three blocks": lambda: (
            recursion.unroll(3)["K"][-1].subs({K0: 1, RHO: sp.Rational(1, 2)}),
            growth.subs({L: 3, RHO: sp.Rational(1, 2)}),
        ),
    },
)

beta = sp.Symbol("beta", positive=True)
logarithm = L * sp.log(1 + L ** (-2 * beta) / 2)
derivation.step(
    r"At the scale $\rho = L^{-\beta}$ its logarithm is of order $L^{1 - 2\beta}$, which vanishes, "
    r"stays, or grows: $\beta = 1/2$ is critical.",
    {r"\ln \mathrm{E}|h_L|^2 / |h_0|^2": logarithm},
    check={
        r"$\beta = 1$": (sp.limit(logarithm.subs(beta, 1), L, sp.oo), sp.Integer(0)),
        r"$\beta = 1/2$": (
            sp.limit(logarithm.subs(beta, sp.Rational(1, 2)), L, sp.oo),
            sp.Rational(1, 2),
        ),
        r"$\beta = 1/4$, over $\sqrt{L}$": (
            sp.limit(logarithm.subs(beta, sp.Rational(1, 4)) / sp.sqrt(L), L, sp.oo),
            sp.Rational(1, 2),
        ),
    },
)

# %% [markdown]
# ## The differential equation of the kernel

# %%
c = sp.Symbol("c", positive=True)
limit = depth_limit(ResNet(DOUBLE, scale=c / sp.sqrt(L), depth=L))
exact = K0 * (1 + T / (2 * L)) ** L
derivation.step(
    r"At $\rho = c / \sqrt{L}$ the kernel flows in the depth time $T = c^2$. Networks of finite "
    "depth are its Euler scheme.",
    limit.solution,
    check={
        "growth": (limit.kernel.closed(), K / 2),
        "solution": (limit.solution.rhs, K0 * sp.exp(T / 2)),
        "limit of finite depth": (sp.limit(exact, L, sp.oo), limit.solution.rhs),
        "first order in $1/L$": (
            sp.limit(sp.simplify(L * (exact - limit.solution.rhs)), L, sp.oo),
            -(T**2) * K0 * sp.exp(T / 2) / 8,
        ),
        "the same from the general formula": lambda: (
            solve_depth_limit(limit, K0=0.7, c=1.5).correction,
            -(2.25**2) * 0.7 * np.exp(2.25 / 2) / 8,
        ),
    },
)

# %% [markdown]
# ## Finite width: a log-normal law

# %%
G = sp.Symbol("G", positive=True)
drift, spread = limit.drift.closed(), limit.diffusion.closed()
log_drift = sp.simplify(drift / G - spread / (2 * G**2))
derivation.step(
    r"At width $N$ the second moment $G = |h|^2 / N$ obeys a closed stochastic differential "
    "equation. By the formula of Itô its logarithm is a Brownian motion with drift.",
    {
        r"\mathrm{E}[\mathrm{d}G] / \mathrm{d}t": drift,
        r"(\mathrm{d}G)^2 / \mathrm{d}t": spread,
        r"\mathrm{E} \ln (G_T / G_0)": limit.log_mean.rhs,
        r"\mathrm{Var} \ln (G_T / G_0)": limit.log_variance.rhs,
    },
    check={
        "drift of the logarithm": (log_drift * T, limit.log_mean.rhs),
        "its variance": (sp.simplify(spread / G**2) * T, limit.log_variance.rhs),
        "mean of the exponential is that of the kernel": (
            sp.expand(limit.log_mean.rhs + limit.log_variance.rhs / 2),
            T / 2,
        ),
    },
)

q, N = sp.Symbol("q", positive=True), WIDTH
live, live_square = N / 2, N / 4 + N**2 / 4 + N
second = 1 + (2 * N + 4) * q * live / N**2 + (N**2 + 2 * N) * q**2 * live_square / N**4
fourth = 1 + (N + 2) * q / N + (N + 2) * (N + 5) * q**2 / (4 * N**2)
per_block = fourth / (1 + q / 2) ** 2


def squared_length(width, rate, draws=200_000):
    """Return the mean of the squared growth of one block, drawn as a chi-squared number."""
    rng = np.random.default_rng(0)
    live_neurons = rng.binomial(width, 0.5, draws)
    s = np.sqrt(rate * rng.chisquare(np.maximum(live_neurons, 1e-9)) / width**2)
    rows = (1 + s * rng.normal(size=draws)) ** 2 + s**2 * rng.chisquare(width - 1, draws)
    return (rows**2).mean(), (rows**2).std() / np.sqrt(draws)


sampled, error = squared_length(10, 0.5)
derivation.step(
    r"A block multiplies $|h|^2$ by $(1 + s z)^2 + s^2 \chi^2_{N-1}$ with "
    r"$s^2 = \rho^2 \chi^2_B / N^2$ and a binomial number $B$ of live neurons. This gives the "
    r"fourth moment exactly, and the variance of the limit: with $q = \rho^2$,",
    {r"\mathrm{E}|h'|^4 / |h|^4": fourth},
    check={
        "from the moments of chi-squared numbers": (sp.expand(second), sp.expand(fourth)),
        "variance of the limit": (
            sp.limit(sp.simplify(sp.log(per_block.subs(q, T / L)) * L), L, sp.oo),
            limit.log_variance.rhs,
        ),
        "mean of the limit": (
            sp.limit(L * sp.log(1 + T / (2 * L)), L, sp.oo) - limit.log_variance.rhs / 2,
            sp.expand(limit.log_mean.rhs),
        ),
        "200 000 draws at $N = 10$, in standard errors": (
            float((fourth.subs({N: 10, q: 0.5}) - sampled) / error),
            sp.Interval(-3, 3),
        ),
    },
)

# %% [markdown]
# ## Path by path

# %%
single = depth_limit(ResNet(SINGLE, scale=c / sp.sqrt(L), depth=L))
time = sp.Symbol("t", positive=True)
distance = K0 * T * time * sp.exp(time / 2) / 8
derivation.step(
    r"A network of $h + \rho W \mathrm{relu}(h)$ is the Euler scheme of its stochastic "
    "differential equation. A block keeps its features while the stream moves; what is missed adds "
    "up, and spreads as a tangent does. With the weights of both from one Brownian motion, "
    r"$e = \lim L\, \mathrm{E}|h_L - X|^2 / N$ obeys a linear equation.",
    {r"e": distance.subs(time, T)},
    check={
        "the equation": (distance.diff(time), distance / 2 + T * K0 * sp.exp(time / 2) / 8),
        "the start": (distance.subs(time, 0), sp.Integer(0)),
        "integrated, for $c = 3/2$": lambda: (
            solve_depth_limit(single, K0=0.7, c=1.5).path_error,
            float(distance.subs({time: T}).subs({T: sp.Rational(9, 4), K0: sp.Rational(7, 10)})),
        ),
    },
)

# %% [markdown]
# ## Weights that are rough or smooth in the depth


# %%
def lags(count, power=2 * H):
    """Return the covariance of fractional Gaussian noise at lags 0, 1, ..."""
    return [((k + 1) ** power - 2 * sp.Integer(k) ** power + abs(k - 1) ** power) / 2
            for k in range(count)]  # fmt: skip


def total(covariances, n):
    """Return the sum of c(l, m) over n blocks."""
    return sum(covariances[abs(a - b)] for a in range(n) for b in range(n))


def above(covariances, n):
    """Return the sum over pairs of different blocks, each once."""
    return sum((n - k) * covariances[k] for k in range(1, n))


noise = lags(8)
derivation.step(
    r"Fractional Gaussian noise of exponent $H$ is the sequence of increments of a fractional "
    r"Brownian motion: sums over $n$ blocks have the variance $n^{2H}$. Below $H = 1/2$ all "
    "covariances with a block cancel its variance.",
    {
        r"\sum_{l, m \le n} c(l, m)": sp.Symbol("n", positive=True) ** (2 * H),
        r"\sum_{l < m} c(l, m)": (L ** (2 * H) - L) / 2,
    },
    check={
        "the sum, $n = 6$": (sp.expand(total(noise, 6)), sp.Integer(6) ** (2 * H)),
        "pairs, $n = 6$": (sp.expand(above(noise, 6)), (sp.Integer(6) ** (2 * H) - 6) / 2),
        "sum over lags up to 7": (
            sp.expand(noise[0] + 2 * sum(noise[1:8])),
            sp.Integer(8) ** (2 * H) - sp.Integer(7) ** (2 * H),
        ),
        r"$H = 1/2$": ([x.subs(H, sp.Rational(1, 2)) for x in noise] == [1] + [0] * 7, True),
        "the package": lambda: (
            float(FractionalBrownian(0.3).covariance(8)[0, 5]),
            float(noise[5].subs(H, sp.Rational(3, 10))),
        ),
    },
)

d, v, h = sp.symbols("d v h", positive=True)


def process(x):
    return sp.exp(-(x**2) / (2 * v))


increments = (2 * process(d) - process(d + h) - process(d - h)) / (2 * (1 - process(h)))
smooth = depth_limit(ResNet(DOUBLE, scale=1 / L, depth=L, layers=Smooth("rbf", v)))
s_share, t_share = sp.symbols("s t", real=True)
hat = (1 - d**2 / v) * process(d)
derivation.step(
    "Increments of a smooth process have, after normalisation, the covariance of its derivative. "
    "For the Gaussian kernel that is no Gaussian: it changes its sign.",
    smooth.covariance,
    check={
        "limit of small steps": (sp.simplify(sp.limit(increments, h, 0)), hat),
        "as the package has it": (smooth.covariance.rhs.subs({s_share: d, t_share: 0}), hat),
        "zero": (hat.subs(d, sp.sqrt(v)), sp.Integer(0)),
    },
)

depth = 6
common = sum((comb(depth, k) * RHO**k) ** 2 for k in range(depth + 1))
flow = sum((s_share * t_share) ** k / sp.factorial(k) ** 2 for k in range(8))
residue = sp.expand(flow.diff(s_share, t_share) - flow)
derivation.step(
    r"At infinite width the kernel of two layers follows from that of all before. With one set of "
    r"weights for all linear blocks it is a sum over the powers of the weights, and at the scale "
    r"$1/L$ the differential equation of smooth weights has the solution $I_0(2 \sqrt{st})$.",
    smooth.kernel,
    check={
        "powers of common weights": lambda: (
            float(
                evaluate(
                    kernel(ResNet(Branch(Linear(1, 0)), scale=0.4, depth=depth, layers=Markov(1))),
                    K0=1.0,
                )["K"][-1]
            ),
            float(common.subs(RHO, sp.Rational(2, 5))),
        ),
        "the series solves the equation up to its last term": (
            residue,
            -((s_share * t_share) ** 7) / sp.factorial(7) ** 2,
        ),
        "integrated, against the Bessel function": lambda: (
            solve_smooth_limit(
                depth_limit(
                    ResNet(
                        Branch(Linear(1, 0)),
                        scale=1 / L,
                        depth=L,
                        layers=Smooth("rbf", 10**12, "process"),
                    )
                ),
                K0=1.0,
            ).K[-1],
            sp.Interval(*(sp.Float(mpmath.besseli(0, 2) + e, 20) for e in (-1e-8, 1e-8))),
        ),
    },
)

# %% [markdown]
# ## Rough weights at fixed width: the limits do not commute

# %%
j = sp.Symbol("j", integer=True, positive=True)
ahead = sp.summation(sp.Rational(1, 2) ** j, (j, 1, sp.oo))
overlap = sp.exp(RHO**2 * (L ** (2 * H) - L) / (2 * N))
at_rough = overlap.subs({RHO: c / sp.sqrt(L), H: sp.Rational(1, 4)})


def mean_overlap(width, count):
    """Return E h_L . h_0 / |h_0|^2 of linear blocks, to second order in the scale, by Wick."""
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
    return sum(noise[b - a] for a, b in pairs) / width


derivation.step(
    r"At a fixed width $N$ a block remembers the weights before it: "
    r"$\mathrm{E}\,W^m W^l = c(l, m) / N$. For linear blocks of small scale the stream keeps the "
    r"direction of the input with the mean overlap shown. Below $H = 1/2$ it falls at "
    r"$\rho = c / \sqrt{L}$, where the branch adds "
    "no variance: rough weights contract the stream deterministically.",
    {r"\mathrm{E}\, h_L \cdot h_0 / |h_0|^2": overlap},
    check={
        "second order, five blocks": (
            sp.expand(mean_overlap(N, 5)),
            sp.expand(sp.log(overlap).expand(force=True).subs({RHO: 1, L: 5})),
        ),
        "limit of infinite depth at $H = 1/4$": (
            sp.limit(sp.log(at_rough).expand(force=True), L, sp.oo),
            -(c**2) / (2 * N),
        ),
        "Markov weights, $r = 1/2$: sum of the lags": (ahead, sp.Integer(1)),
    },
)

y = sp.Symbol("y", positive=True)
coordinate = y * sp.exp(-(c**2) * time / (2 * N))
distance_squared = sp.Rational(1, 2) * (1 - sp.exp(-(c**2) / (2 * N))) ** 2
derivation.step(
    r"For $W \mathrm{relu}(h)$ the same drift acts on the positive coordinates alone, which hold "
    "half of the second moment of the input. At infinite width it is absent: there the stream does "
    r"not move at $\beta = 1/2$ if $H < 1/2$.",
    {r"\lim \mathrm{E}|h_L - h_0|^2 / |h_0|^2": distance_squared},
    check={
        "equation of a positive coordinate": (
            coordinate.diff(time),
            -(c**2) / (2 * N) * coordinate,
        ),
        "half of the moment": (
            distance_squared,
            sp.expand((coordinate.subs(time, 1) / y - 1) ** 2 / 2),
        ),
        "infinite width": (sp.limit(distance_squared, N, sp.oo), sp.Integer(0)),
        "width 3, $c^2 = 6$": (
            float(distance_squared.subs({N: 3, c: sp.sqrt(6)})),
            float((1 - mpmath.e**-1) ** 2 / 2),
        ),
    },
)

# %% [markdown]
# ## The derivation as LaTeX

# %%
write_derivation([net, derivation], folder / "marion_2025.tex")
