# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Responses, gradients and the first step at finite width
#
# Derivatives of a random network with respect to its input and to its parameters are random, too.
# Here their means and fluctuations are derived from one statement: a tangent is one more column of
# the network. Checks average every weight by itself, as monomials of normals, on networks of width
# 1 and 2; sums over a grid know the network and nothing of the package.
#
# Run as a script, it narrates to the terminal and writes LaTeX:
# `python derivations/finite_response.py [--out FOLDER]`.

# %%
from __future__ import annotations

import math

import numpy as np
import sympy as sp

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    evaluate,
    finite_response,
    one_loop,
    two_loop,
)
from resexpand.conventions import K0, RHO, SIGMA_B2, SIGMA_W2
from resexpand.references import REFERENCES, Citation
from resexpand.theory.derivation import Derivation
from resexpand.theory.notation import Written
from resexpand.workflows.derive.script import output_folder, write_derivation

R, S, B = RHO**2, SIGMA_W2, SIGMA_B2
ONE, ZERO = sp.Integer(1), sp.Integer(0)
E, Cov, Var = sp.Function("E"), sp.Function("Cov"), sp.Function("Var")

folder = output_folder(__doc__)
derivation = Derivation(
    "Responses of residual networks of finite width",
    tuple(Citation(REFERENCES[key]) for key in ("fischer2023", "jacot2018", "price1958")),
    announce=print,
)


def named(text):
    """Return a symbol that is written as it is given."""
    return Written(text)


def average(polynomial, variances):
    """Average a polynomial over independent centred normals of these variances."""
    total = ZERO
    for powers, coefficient in sp.Poly(sp.expand(polynomial), *variances).terms():
        if all(k % 2 == 0 for k in powers):
            factors = [
                sp.factorial2(k - 1) * variance ** (k // 2)
                for k, variance in zip(powers, variances.values(), strict=True)
            ]
            total += coefficient * sp.Mul(*factors)
    return sp.expand(total)


# %% [markdown]
# ## A tangent is one more column

# %%
f1, f2, g1, g2 = sp.symbols("f_1 f_2 g_1 g_2", real=True)
w = sp.symbols("w_11 w_12 w_21 w_22", real=True)
b1, b2 = sp.symbols("b_1 b_2", real=True)
drawn = dict.fromkeys(w, S / 2) | {b1: B, b2: B}
image, other = w[0] * f1 + w[1] * f2 + b1, w[2] * f1 + w[3] * f2 + b2
moved, aside = w[0] * g1 + w[1] * g2, w[2] * g1 + w[3] * g2
C_hh, C_hv, C_vv = (
    S * (f1**2 + f2**2) / 2 + B,
    S * (f1 * g1 + f2 * g2) / 2,
    S * (g1**2 + g2**2) / 2,
)
derivation.step(
    r"Exact: a tangent $v$ passes an activation as $\phi'(h) v$ and a linear operation as the "
    r"state does, without its bias. Given the layers before, the rows of $W [\phi(h), \phi'(h) v]$ "
    "are independent normals with the Gram matrix of both features as covariance.",
    {
        "C_{hv}": S * named(r"\phi(h) \cdot \phi'(h) v") / named("N"),
        "C_{vv}": S * named(r"|\phi'(h) v|^{2}") / named("N"),
    },
    check={
        "width 2, every weight a symbol: state": (average(image**2, drawn), sp.expand(C_hh)),
        "width 2: state and tangent": (average(image * moved, drawn), sp.expand(C_hv)),
        "width 2: tangent": (average(moved**2, drawn), sp.expand(C_vv)),
        "width 2: other rows": (average(image * aside, drawn), ZERO),
        "width 2: products of four are those of normals": (
            average(image**2 * moved**2, drawn),
            sp.expand(C_hh * C_vv + 2 * C_hv**2),
        ),
        "width 2: no correlation of squares of rows": (
            average(moved**2 * aside**2, drawn),
            sp.expand(C_vv**2),
        ),
    },
)

# %%
v1, v2, u1, u2 = sp.symbols("v_1 v_2 u_1 u_2", real=True)
jacobian = sp.Matrix(2, 2, [1 + RHO * w[0], RHO * w[1], RHO * w[2], 1 + RHO * w[3]])
output = sp.Matrix([[u1, u2]])
gradient = (output * jacobian).applyfunc(sp.expand)
through = jacobian * sp.Matrix([v1, v2])
weights_only = dict.fromkeys(w, S / 2)
square = (gradient * gradient.T)[0]
gram = (through.T * through)[0] / 2
at_read_out = {u1: ONE / 2, u2: ONE / 2} | weights_only
along_normals = {v1: ONE, v2: ONE} | weights_only
derivation.step(
    r"Exact: along a normal $v$ that begins at layer $l$ the output moves by $p^l \cdot v$, $p^l = "
    r"\partial y / \partial h^l$, a normal of variance $|p^l|^2$ given the weights. Given all but "
    "the read-out it is a normal as well, of the variance that the Gram matrix has there. So two "
    "moments of gradients are those of a column that runs forward.",
    {
        r"\mathrm{E}\, |p^{l}|^{2}": E(named("C_{vv}")),
        r"\mathrm{E}\, |p^{l}|^{4}": E(named("C_{vv}^{2}")),
    },
    check={
        f"width 2, linear, all weights averaged: power {power}": (
            average(sp.expand(square**power), at_read_out),
            average(sp.expand(gram**power), along_normals),
        )
        for power in (1, 2)
    },
)

# %%
h, W, b, u = sp.symbols("h W b u", real=True)
h1 = h + RHO * (W * h**2 + b)  # one neuron, phi = x^2, read by u phi(h^1)
y = u * h1**2
sizes = {h: K0, W: S, b: B}  # of the parameters, and of the read-in
slopes = {symbol: sp.expand(y.diff(symbol)) for symbol in sizes}
network = {u: ONE, h: K0, W: S, b: B}
kernel_sum = sp.expand(sum(sizes[s] * slopes[s] ** 2 for s in sizes) + (y / u) ** 2)


def copy(mark):
    """Return the tangent along copies of the read-in, weight and bias, and their variances."""
    symbols = {symbol: sp.Symbol(f"{symbol}{mark}", real=True) for symbol in sizes}
    tangent = sum(h1.diff(symbol) * own for symbol, own in symbols.items())
    return sp.expand(tangent), symbols, {own: sizes[s] for s, own in symbols.items()}


w1, _, first_copy = copy("'")
C_ww = sp.expand((2 * h1 * w1) ** 2 + h1**4)
derivation.step(
    r"Exact: along independent copies of all parameters the output moves by a normal whose "
    r"variance is the tangent kernel $\Theta$, given the weights. The tangent $w$ begins as a copy "
    "of the read-in, and every linear operation adds a copy of its image, so that $C_{ww}$ holds "
    "$C_{hh}$ as well.",
    {
        "w^{l}": named("w^{l-1}") + RHO * named(r"[W \phi'(h) w + W' \phi(h) + b']"),
        r"\mathrm{E}\, \Theta": E(named("C_{ww}")),
        r"\mathrm{E}\, \Theta^{2}": E(named("C_{ww}^{2}")),
    },
    check={
        f"width 1, $\\phi = x^2$, all weights averaged: power {power}": (
            lambda power=power: (
                average(sp.expand(kernel_sum**power), network),
                average(sp.expand(C_ww**power), network | first_copy),
            )
        )
        for power in (1, 2)
    },
)

# %% [markdown]
# ## The first step of training

# %%
step = {symbol: size * slopes[symbol] for symbol, size in sizes.items()}
q = sp.expand(sum(h1.diff(symbol) * size for symbol, size in step.items()))
bent = sp.expand(sum(h1.diff(a).diff(c) * step[a] * step[c] for a in sizes for c in sizes))
w2, second_symbols, second_copy = copy("''")
_, first_symbols, _ = copy("'")
x = sp.expand(
    sum(h1.diff(a).diff(c) * first_symbols[a] * second_symbols[c] for a in sizes for c in sizes)
)
both = network | first_copy | second_copy
C_hw, C_12 = 2 * h1**3 * w1, 4 * h1**2 * w1 * w2
derivation.step(
    r"Exact: a step $\theta - \eta e \partial y / \partial \theta$ moves features along $q = \sum "
    r"(\partial y / \partial \theta)(\partial h / \partial \theta)$. With tangents $w, w'$ along "
    "two sets of copies, sums over parameters are averages, and $x$, the tangent of $w$ along the "
    "second set, gives second derivatives.",
    {
        r"\mathrm{E}\, y h \cdot q": E(named(r"C_{hw} h \cdot w")),
        r"\mathrm{E}\, |q|^{2}": E(named(r"C_{ww'} w \cdot w'")),
        r"\mathrm{E}\, h \cdot \partial_{q}^{2} h": E(named(r"C_{ww'} h \cdot x")),
    },
    check={
        "width 1, $\\phi = x^2$: first order": (
            average(sp.expand(y * h1 * q), network),
            average(sp.expand(h1 * w1 * C_hw), network | first_copy),
        ),
        "width 1: squared first derivative": lambda: (
            average(sp.expand(q**2), network),
            average(sp.expand(w1 * w2 * C_12), both),
        ),
        "width 1: second derivative": lambda: (
            average(sp.expand(h1 * bent), network),
            average(sp.expand(h1 * x * C_12), both),
        ),
    },
)

# %% [markdown]
# ## Order 1/N
#
# The features of all columns are averages over neurons, so that the order 1/N of inputs holds for
# them as it stands. Sums over a grid for the error function write it out for one tangent.

# %%
GRID = np.linspace(-8.6, 8.6, 101)
NORMAL = np.exp(-(GRID**2) / 2) / math.sqrt(2 * math.pi) * (GRID[1] - GRID[0])
RATE, WEIGHT, BIAS, START, BLOCKS = 0.36, 1.2, 0.05, 0.8, 3
ERF = np.vectorize(math.erf)


def activation(t):
    return ERF(t)


def slope(t):
    return 2 / math.sqrt(math.pi) * np.exp(-t * t)


def f(t):
    return activation(t) ** 2


def f_half_bend(t):
    """Half the second derivative of phi^2."""
    return slope(t) ** 2 - 2 * t * slope(t) * activation(t)


def f_bend_twice(t):
    """A quarter of the fourth derivative of phi^2."""
    first, second, third = -2 * t, 4 * t * t - 2, 12 * t - 8 * t**3
    bent = 2 * activation(t) * third + 8 * slope(t) * second + 6 * slope(t) * first**2
    return slope(t) * bent / 4


def g(t):
    return slope(t) ** 2


def g_half_bend(t):
    """Half the second derivative of phi'^2 = (4/pi) exp(-2 t^2)."""
    return g(t) * (8 * t * t - 2)


def g_bend_twice(t):
    """A quarter of the fourth derivative of phi'^2."""
    return g(t) * (256 * t**4 - 384 * t**2 + 48) / 4


def half_slope(t):
    """phi phi', half the first derivative of phi^2."""
    return activation(t) * slope(t)


def g_slope(t):
    return -4 * t * g(t)


def single(function, variance):
    return float(NORMAL @ function(math.sqrt(variance) * GRID))


def double(late, early, first, second):
    """<late(h^b) early(h^a)>, variances `first` of h^a and `second` of h^b: increments add up."""
    early_points = math.sqrt(first) * GRID
    rest = math.sqrt(max(second - first, 0.0))
    inner = late(early_points[:, None] + rest * GRID[None, :]) @ NORMAL
    return float((NORMAL * early(early_points)) @ inner)


def crossing(late, early, first, second):
    """Covariance of a function of a later state with one of an earlier state."""
    return double(late, early, first, second) - single(late, second) * single(early, first)


class Witness:
    """Means and variances of |J v|^2/N at order 1/N, layer by layer, v normal at layer 0.

    `mixed` switches the entries h.v off.
    """

    def __init__(self, *, mixed=True):
        kernels, norms = [START], [1.0]
        for _ in range(BLOCKS):
            kernels.append(kernels[-1] + RATE * (WEIGHT * single(f, kernels[-1]) + BIAS))
            norms.append(norms[-1] * (1 + RATE * WEIGHT * single(g, kernels[len(norms) - 1])))
        self.kernels, self.norms = np.array(kernels), np.array(norms)
        size = BLOCKS
        K, Q = kernels[:size], norms[:size]
        below = np.tril(np.full((size, size), RATE), -1)
        T_h = np.diag([WEIGHT * single(f_half_bend, k) for k in K])
        T_v = np.diag([WEIGHT * single(g, k) for k in K])
        T_vh = np.diag([WEIGHT * single(g_half_bend, k) * n for k, n in zip(K, Q, strict=True)])
        R_h, R_v = (np.linalg.inv(np.eye(size) - T @ below) for T in (T_h, T_v))
        R_vh = R_v @ T_vh @ below @ R_h
        S_hh, S_vv, S_vh, S_q = (np.zeros((size, size)) for _ in range(4))
        for a in range(size):
            for c in range(size):
                one, two = sorted((a, c))  # the earlier layer first
                shared, same = norms[one], (K[one], K[two])
                gg = double(g, g, *same)
                S_hh[a, c] = WEIGHT**2 * crossing(f, f, *same)
                S_vv[a, c] = WEIGHT**2 * (
                    gg * (Q[a] * Q[c] + 2 * shared**2)
                    - single(g, K[a]) * Q[a] * single(g, K[c]) * Q[c]
                )
                pair = (g, f) if a >= c else (f, g)
                S_vh[a, c] = WEIGHT**2 * Q[a] * crossing(*pair, *same)
                S_q[a, c] = WEIGHT**2 * double(half_slope, half_slope, *same) * shared
        C_vv = (
            R_v @ S_vv @ R_v.T + R_v @ S_vh @ R_vh.T + R_vh @ S_vh.T @ R_v.T + R_vh @ S_hh @ R_vh.T
        )
        C_vh = R_v @ S_vh @ R_h.T + R_vh @ S_hh @ R_h.T
        K_h, K_q = (below @ R_h @ X @ R_h.T @ below.T for X in (S_hh, S_q))
        K_hv = below @ C_vh.T @ below.T
        self.spread, self.crossed = C_vv, R_h @ S_q @ R_h.T
        B_h, B_v, B_vh = below @ R_h, below @ R_v, below @ R_vh
        tadpole_h = [WEIGHT / 2 * single(f_bend_twice, K[a]) * K_h[a, a] for a in range(size)]
        tadpole = [
            WEIGHT
            * (
                single(g_bend_twice, K[a]) * Q[a] * K_h[a, a] / 2
                + single(g_half_bend, K[a]) * K_hv[a, a]
                + mixed * 2 * single(g_half_bend, K[a]) * K_q[a, a]
            )
            for a in range(size)
        ]
        met_h, met = np.zeros(size), np.zeros(size)
        for a in range(size):
            for k in range(a):
                same = (K[k], K[a])
                met_h[a] += WEIGHT**2 * B_h[a, k] * crossing(f_half_bend, f, *same)
                met[a] += WEIGHT**2 * (
                    B_v[a, k] * crossing(g, g, *same) * Q[k]
                    + B_vh[a, k] * crossing(g, f, *same)
                    + B_h[a, k]
                    * (
                        Q[a] * crossing(g_half_bend, f, *same)
                        + mixed * 2 * norms[k] * double(g_slope, half_slope, *same)
                    )
                )
        self.shift = R_v @ (np.array(tadpole) + met) + R_vh @ (np.array(tadpole_h) + met_h)


# %%
witness, unmixed = Witness(), Witness(mixed=False)
net = ResNet(Branch(Activation("erf"), Linear(WEIGHT, BIAS)), scale=0.6, depth=BLOCKS)
tangent = evaluate(finite_response(net, "tangent"), K0=START)
derivation.step(
    r"Leading order: the collective variables are $C_{hh}, C_{hv}, C_{vv}$ of every layer, with "
    r"the features $f = \phi^2$, $\phi \phi' v$ and $g v^2$, $g = \phi'^2$. An entry moves those "
    r"with as many tangents or more. The mean of $C_{hv}$ vanishes, its fluctuations do not.",
    {
        r"N \mathrm{Cov}(C_{hv})": named("R^{h} S^{q} R^{h T}"),
        "S^{q}_{ab}": S**2 * named(r"\langle \phi_{a} \phi'_{a} \phi_{b} \phi'_{b} \rangle Q_{ab}"),
    },
    check={
        "norm of a tangent at infinite width": (
            float(witness.norms[-1]),
            float(tangent["tangent"][-1]),
        ),
        **{
            f"package: variance of what a read-out makes of it behind layer {k}": (
                float(tangent["eta_layers_var"][k]),
                float(witness.spread[k, k] / WEIGHT**2),
            )
            for k in range(BLOCKS)
        },
        "size of what fluctuates about zero": (
            float(witness.crossed[-1, -1]),
            sp.Interval(sp.Rational(1, 10), 3),
        ),
    },
)

# %%
derivation.step(
    r"Order $1/N$: the mean of $C_{vv}$ is moved by the curvature of its average, by the "
    "conditioning, and by the products $h \\cdot v$ in both.",
    {
        "c_{1}(C_{vv})": named("[R^{v} (t + p) + R^{vh} (t^{h} + p^{h})]"),
        "t_{a}": S
        * (
            named(r"\tfrac{1}{2} A'' Q\, N \mathrm{Var} K")
            + named(r"A'\, N \mathrm{Cov}(K, K_{vv})")
            + 2 * named(r"A'\, N \mathrm{Var} K_{hv}")
        ),
    },
    check={
        **{
            f"package: behind layer {k}": (
                float(tangent["eta_layers_shift"][k]),
                float(witness.shift[k] / WEIGHT),
            )
            for k in range(BLOCKS)
        },
        "without the products $h \\cdot v$ it is another number: the difference": (
            float(unmixed.shift[-1] - witness.shift[-1]),
            sp.Interval(sp.Rational(1, 10), 20),
        ),
    },
)

# %%
small = 1e-3
ends = [evaluate(one_loop(net), K0=START + d) for d in (small, -small)]
variance = evaluate(finite_response(net), K0=START)
derivation.step(
    r"Exact: the tangent $h^0 / 2 K^0$ is the derivative by $K^0$, and so the mean of the variance "
    "response is the derivative of the mean of the kernel, at every order in $1/N$.",
    {
        r"\mathrm{E}\, \chi^{l}": sp.Function("d")(named(r"\mathrm{E}\, G^{l}"))
        / sp.Function("d")(K0)
    },
    check={
        "shift of the response behind the last block, to six digits": (
            round(float(variance["chi_0_shift"][-1]), 6),
            round(float((ends[0]["K_mean"][-1] - ends[1]["K_mean"][-1]) / (2 * small)), 6),
        ),
    },
)

# %% [markdown]
# ## Order 1/N^2 of the mean

# %%
t, s = sp.symbols("t s")
m, sd, skew = sp.symbols("m sigma kappa_3", positive=True)
moments = [ONE, ZERO, sd**2, skew]  # of x - m, up to the third; two neurons have one each
p, pp = sp.symbols("x x'", real=True)


def expected(polynomial):
    """Average over the deviations x and x' of two independent neurons."""
    total = ZERO
    for (i, k), number in sp.Poly(sp.expand(polynomial), p, pp).terms():
        total += number * moments[i] * moments[k]
    return sp.expand(total)


def by_jets(power):
    """Return the coefficients of 1/N and 1/N^2 of the mean of a power of an average."""
    jet = sp.expand((m + t * p + s * pp) ** power)
    first = expected(jet.coeff(s, 0).coeff(t, 2))
    alone, pair = expected(jet.coeff(s, 0).coeff(t, 3)), expected(jet.coeff(t, 2).coeff(s, 2))
    return first, sp.expand(alone + pair / 2)


def by_counting(power):
    """Return the same from the partitions of the factors among neurons."""
    first = sp.binomial(power, 2) * sd**2 * m ** (power - 2)
    triple = sp.binomial(power, 3) * skew * m ** (power - 3) if power > 2 else ZERO
    pairs = 3 * sp.binomial(power, 4) * sd**4 * m ** (power - 4) if power > 3 else ZERO
    return first, sp.expand(triple + pairs)


squares = ResNet(Branch(Activation("x**2"), Linear(1, 0)), scale=sp.Rational(1, 2), depth=2)
second = evaluate(two_loop(squares), K0=0.5)
derivation.step(
    r"Order $1/N^2$: $C$ is a functional of the empirical measure of independent neurons. Mixed "
    "with one neuron at the weight $t$ and another one at $s$, its Taylor coefficients give the "
    "mean to this order. Of powers of an average:",
    {
        r"\mathrm{E}\, C": named("C_{0}")
        + named("[t^{2}]") / named("N")
        + (named("[t^{3}]") + named("[t^{2} s^{2}]") / 2) / named("N^{2}"),
    },
    check={
        **{
            f"power {power}, order $1/N^{k + 1}$": (by_jets(power)[k], by_counting(power)[k])
            for power in (2, 3, 4, 5)
            for k in range(2)
        },
        r"package: $\phi = x^2$, the second block has no order $1/N^2$": (
            round(float(second["C_mean_2"][1]), 9),
            0.0,
        ),
    },
)


# %% [markdown]
# ## The derivation as LaTeX

# %%
write_derivation([net, derivation], folder / "finite_response.tex")
