# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Residual networks of finite width
#
# A network of finite width fluctuates from draw to draw, and its averages differ from those at
# infinite width. Both are derived here to order $1/N$, from one exact statement about Gaussian
# weights. Every step says what is exact and what is of order $1/N$, and carries checks: polynomial
# identities in which every weight is averaged by itself, integrals computed a second time without
# the package, and networks that are solvable at every width.
#
# Run as a script, it narrates to the terminal and writes LaTeX:
# `python derivations/finite_width.py [--out FOLDER]`.

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
    exact_moments,
    kernel,
    one_loop,
    sample,
)
from resexpand.conventions import DEPTH, K0, RHO, SIGMA_B2, SIGMA_W2, WIDTH
from resexpand.gaussian.expectation import Nonlinearity
from resexpand.references import REFERENCES, Citation
from resexpand.theory.derivation import Derivation
from resexpand.theory.notation import Written
from resexpand.workflows.derive.script import output_folder, write_derivation

R, S, B = RHO**2, SIGMA_W2, SIGMA_B2

folder = output_folder(__doc__)
derivation = Derivation(
    "Residual networks of finite width",
    tuple(Citation(REFERENCES[key]) for key in ("fischer2023", "kawase2026", "price1958")),
    announce=print,
)

# %% [markdown]
# ## A witness for polynomials
#
# Averages of polynomials over independent normals, monomial by monomial: $\langle x^{2k} \rangle =
# (2k-1)!!$ times a power of the variance. Nothing else is used of the theory of Gaussian variables.


# %%
def named(text):
    """Return a symbol that is written as it is given."""
    return Written(text)


i, k, layer, m = sp.symbols("i k l m", integer=True)
neuron, noise = named("h_{i}^{l-1}"), named("z_{i}^{l}")
covariance_of_block = named("C^{l}")
feature = Nonlinearity(sp.Symbol("phi"), 0, neuron)
Cov, Var, E = sp.Function("Cov"), sp.Function("Var"), sp.Function("E")
AVERAGE = S * sp.Sum(feature**2, (i, 1, WIDTH)) / WIDTH + B


def average(polynomial, variances):
    """Average a polynomial over independent centred normals of these variances."""
    total = sp.Integer(0)
    for powers, coefficient in sp.Poly(sp.expand(polynomial), *variances).terms():
        if all(k % 2 == 0 for k in powers):
            factors = [
                sp.factorial2(k - 1) * variance ** (k // 2)
                for k, variance in zip(powers, variances.values(), strict=True)
            ]
            total += coefficient * sp.Mul(*factors)
    return sp.expand(total)


def order(expression, power):
    """Return the coefficient of a power of 1/N."""
    inverse = sp.Symbol("e", positive=True)
    return sp.expand(sp.expand(expression).subs(WIDTH, 1 / inverse)).coeff(inverse, power)


# %% [markdown]
# ## What is exact

# %%
net = ResNet(Branch(Activation("erf_unit"), Linear()), scale=RHO, depth=DEPTH)
linear = ResNet(Branch(Linear()), scale=RHO, depth=DEPTH)
f1, f2 = sp.symbols("f_1 f_2", real=True)
w = sp.symbols("w_11 w_12 w_21 w_22", real=True)
b1, b2 = sp.symbols("b_1 b_2", real=True)
drawn = dict.fromkeys(w, S / 2) | {b1: B, b2: B}
row1, row2 = w[0] * f1 + w[1] * f2 + b1, w[2] * f1 + w[3] * f2 + b2
covariance = S * (f1**2 + f2**2) / 2 + B
derivation.step(
    r"Exact: given $h^{l-1}$, the components of $W \phi(h^{l-1}) + b$ are independent normals, "
    "since weights and biases are. All have the variance $C^l$, an average over the neurons.",
    {"C^{l}": AVERAGE},
    check={
        "width 2, every weight a symbol: variance": (
            average(row1**2, drawn),
            sp.expand(covariance),
        ),
        "width 2, every weight a symbol: covariance": (average(row1 * row2, drawn), sp.Integer(0)),
        "width 2: fourth moment of a normal": (
            average(row1**4, drawn),
            sp.expand(3 * covariance**2),
        ),
        "width 2: no correlation of squares": (
            average(row1**2 * row2**2, drawn),
            sp.expand(covariance**2),
        ),
    },
)

# %%
h, z, weight, bias = sp.symbols("h z w b", real=True)
dense = (h + RHO * (weight * h + bias)) ** 2
given = S * h**2 + B


def as_walk(power):
    """Moments of (h + rho sqrt(C) z)^2 with C = S h^2 + B: odd powers of z average to zero."""
    root = sp.Symbol("c", real=True)
    expanded = average(((h + RHO * root * z) ** 2) ** power, {z: sp.Integer(1)})
    return average(sp.expand(expanded.subs(root, sp.sqrt(given))), {h: K0})


derivation.step(
    "Exact: divided by their standard deviation these components are standard normals $z$ that "
    "know nothing of the layers before. So the network is $N$ neurons that walk independently "
    "and meet in the averages $C^l$ alone.",
    {
        "h_{i}^{l}": neuron + RHO * sp.sqrt(covariance_of_block) * noise,
        "C^{l}": AVERAGE,
    },
    check={
        f"width 1, linear: $E (h^2)^{power}$ of the walk, against every weight averaged": (
            as_walk(power),
            average(dense**power, {weight: S, bias: B, h: K0}),
        )
        for power in (1, 2, 3)
    },
)

# %%
solved = exact_moments(linear).unroll(3)
derivation.step(
    "Exact: $z$ is independent of $h^{l-1}$, so the mean square $G^l = |h^l|^2 / N$ grows by "
    "$\\rho^2 C^l$ on average.",
    {r"\mathrm{E}\, G^{l}": K0 + R * sp.Sum(E(named("C^{m}")), (m, 1, layer))},
    check={
        "linear network, three blocks, every width": (
            solved["G_mean"][3],
            sp.expand(K0 + R * sum(solved["C_mean"][:3])),
        ),
        "width 1, one block": (
            average(dense, {weight: S, bias: B, h: K0}),
            sp.expand(K0 + R * (S * K0 + B)),
        ),
    },
)

# %%
y = sp.Symbol("u", real=True)
output = y * h * (1 + RHO * weight)
unbiased = ResNet(
    Branch(Linear(S, 0)), scale=RHO, depth=1, read_out=Linear(sp.Integer(1), sp.Integer(0))
)
readout = exact_moments(unbiased).unroll(1)
laws = {y: sp.Integer(1), h: K0, weight: S}
derivation.step(
    "Exact: an output $y$ is normal once the network before it is given, with the variance $C$. "
    "Its fourth cumulant is therefore the variance of that variance.",
    {r"\kappa_4(y)": 3 * Var(named("C"))},
    check={
        "width 1, linear, all weights averaged": (
            sp.expand(average(output**4, laws) - 3 * average(output**2, laws) ** 2),
            sp.expand(3 * readout["C_var"][-1].subs(WIDTH, 1)),
        ),
    },
)

# %%
angle = sp.Symbol("theta", real=True)
C = sp.Symbol("C", positive=True)
on_circle = {"1": sp.sqrt(2 * C) * sp.cos(angle), "2": sp.sqrt(2 * C) * sp.sin(angle)}


def on_shell(expression):
    return sp.simplify(sp.integrate(expression, (angle, 0, 2 * sp.pi)) / (2 * sp.pi))


spread = on_shell(on_circle["1"] ** 4) - on_shell(on_circle["1"] ** 2) ** 2
crossed = on_shell(on_circle["1"] ** 2 * on_circle["2"] ** 2) - on_shell(on_circle["1"] ** 2) ** 2
derivation.step(
    "Not exact: that neurons are independent once all $C^l$ are given. To know $C$ is to "
    "know the sum of all $\\phi_i^2$: if one is large the others are small. Their covariance "
    "is $-1/(N-1)$ of their variance, of order $1/N$, and there are $N$ of them.",
    {r"\mathrm{Cov}(\phi_i^2, \phi_j^2)": -Var(named(r"\phi_{i}^{2}")) / (WIDTH - 1)},
    check={"two linear neurons, on the circle that $C$ leaves them": (crossed, -spread)},
)

# %% [markdown]
# ## Infinite width

# %%
derivation.step(
    r"For $N \to \infty$ an average over neurons is its expectation. The walks are then Gaussian "
    r"and independent, with the covariance $K^{\min(l,m)}$ between layers: increments add up.",
    kernel(net),
    check={
        "mean of a linear network, three blocks": (
            order(solved["G_mean"][3], 0),
            kernel(linear).unroll(3)["K"][3],
        ),
        "nothing fluctuates": (order(solved["G_var"][3], 0), sp.Integer(0)),
    },
)

# %% [markdown]
# ## The numbers behind the averages
#
# Double sums over a trapezoidal grid in the standard normal variables, for the error function of
# unit slope. They know the network, and nothing of the package.

# %%
GRID = np.linspace(-8.6, 8.6, 81)
NORMAL = np.exp(-(GRID**2) / 2) / math.sqrt(2 * math.pi) * (GRID[1] - GRID[0])
ERF = np.vectorize(math.erf)


def phi(x):
    return ERF(math.sqrt(math.pi) / 2 * x)


def squared(x):
    return phi(x) ** 2


def half_curvature(x):
    """Half the second derivative of phi^2."""
    slope = np.exp(-math.pi / 4 * x**2)
    return slope**2 - math.pi / 2 * x * slope * phi(x)


def fourth(x):
    """Fourth derivative of phi^2."""
    a = math.pi / 2
    slope = np.exp(-a / 2 * x**2)
    first, second, third = -a * x, a * a * x**2 - a, 3 * a * a * x - a**3 * x**3
    return slope * (2 * phi(x) * third + 8 * slope * second + 6 * slope * first**2)


def single(function, variance):
    return float(NORMAL @ function(math.sqrt(variance) * GRID))


def double(left, right, first, shared, second):
    """<left(x) right(y)> with variances `first`, `second` and covariance `shared`."""
    root = math.sqrt(first)
    slope, rest = shared / root, math.sqrt(max(second - shared**2 / first, 0.0))
    inner = right(slope * GRID[:, None] + rest * GRID[None, :]) @ NORMAL
    return float((NORMAL * left(root * GRID)) @ inner)


def crossing(left, right, first, second):
    """Covariance of left(h^a) and right(h^b): neurons share the smaller of the two kernels."""
    return double(left, right, first, min(first, second), second) - single(left, first) * single(
        right, second
    )


class Witness:
    """The theory at order 1/N, layer by layer, as sums over the layers before.

    Arrays run over the blocks 1 ... L; `conditioning` and `shared` switch terms off.
    """

    def __init__(self, depth, rho, weight, bias, start, *, conditioning=True, shared=True):
        r = rho**2
        kernels = [start]
        for _ in range(depth):
            kernels.append(kernels[-1] + r * (weight * single(squared, kernels[-1]) + bias))
        self.kernels = np.array(kernels)
        before = kernels[:depth]
        slopes = [weight * single(half_curvature, k) for k in before]
        bends = [weight * single(fourth, k) / 4 for k in before]
        source = np.zeros((depth, depth))
        for a in range(depth):
            for k in range(a + 1):
                source[a, k] = weight**2 * crossing(squared, squared, before[a], before[k])
                source[k, a] = source[a, k]
        if not shared:
            source = np.diag(np.diagonal(source))
        # delta C^l = noise^l + slope^l r (delta C^1 + ... + delta C^{l-1})
        reply = np.linalg.inv(np.eye(depth) - np.tril(np.outer(slopes, np.full(depth, r)), -1))
        below = np.tril(np.full((depth, depth), r), -1) @ reply  # of the kernel a block acts on
        self.source, self.C_cov = source, reply @ source @ reply.T
        self.K_cov = below @ source @ below.T
        self.reply, self.below = reply, below
        bent = [bends[a] * self.K_cov[a, a] / 2 for a in range(depth)]
        conditioned = [
            sum(
                weight**2 * below[a, k] * crossing(half_curvature, squared, before[a], before[k])
                for k in range(a)
            )
            for a in range(depth)
        ]
        self.C_mean = reply @ (np.array(bent) + conditioning * np.array(conditioned))


# %%
GIVEN = {"rho": 0.6, "weight": 1.2, "bias": 0.05, "start": 0.8}
POINT = {"rho": 0.6, "sigma_w2": 1.2, "sigma_b2": 0.05, "K0": 0.8}
BLOCKS = 4
witness = Witness(BLOCKS, **GIVEN)
theory = evaluate(one_loop(net), depth=BLOCKS, **POINT)
mean_field = evaluate(kernel(net), depth=BLOCKS, **POINT)
one_block = exact_moments(ResNet(net.branch, scale=RHO, depth=1))
single_block = evaluate(one_block, width=1, **POINT)

# %% [markdown]
# ## Fluctuations

# %%
derivation.step(
    r"Leading order: at width $N$ the average that makes $C^l$ is over the walks of this very "
    r"network. Along the independent walks of infinite width it deviates by a noise "
    r"$\epsilon^l$ of order $1/\sqrt{N}$. One walk passes through all layers, because the skip "
    "connection keeps it, so the noises of different blocks are correlated: this is the source "
    r"$S^{lm} = N \mathrm{Cov}(\epsilon^l, \epsilon^m)$, with $f = \phi^2$.",
    {"S^{lm}": S**2 * Cov(named("f(h^{l-1})"), named("f(h^{m-1})"))},
    check={
        "first block, where it is exact at every width": (
            float(witness.source[0, 0]),
            float(single_block["C_var"]),
        ),
        "shared by the blocks: correlation of the noises of blocks 1 and 2": (
            float(witness.source[0, 1] / np.sqrt(witness.source[0, 0] * witness.source[1, 1])),
            sp.Interval(sp.Rational(7, 10), sp.Rational(9, 10)),
        ),
        "kernels behind it": (float(witness.kernels[-1]), float(mean_field["K"][-1])),
    },
)

# %%
u, size = sp.symbols("u C", positive=True)
walk = {h: u, z: sp.Integer(1)}  # h^{l-1} = h + rho sqrt(C) z
root = sp.Symbol("c", real=True)  # sqrt(C)
place = h + RHO * root * z
quartic = K0**2 * 3  # <x^4>
push = 4 * place**3 * RHO * z / (2 * root)  # d f / d C at fixed z, f = x^4


def walked(polynomial):
    return sp.expand(average(polynomial, walk).subs(root, sp.sqrt(size)))


derivation.step(
    r"Leading order: a deviation $\delta C^m$ of an earlier block stretches all walks, and changes "
    r"$\phi^2$ by $V'$ times the change of the kernel, $V(K)$ being its average at infinite width. "
    "Noise and reply together:",
    {
        r"\delta C^{l}": named(r"\epsilon^{l}")
        + S * R * named("V'(K^{l-1})") * sp.Sum(named(r"\delta C^{m}"), (m, 1, layer - 1)),
        r"\delta C": named(r"R \epsilon"),
        r"\delta K": named(r"B \epsilon"),
    },
    check={
        r"$\phi = x^2$: mean reply of $\phi^2$ is $\rho^2 V'(K)$": (
            walked(push),
            sp.expand(R * quartic.diff(K0).subs(K0, u + R * size)),
        ),
        r"$\mathrm{B}$ is the variance response: $\rho^2 \chi^{l,m}$": (
            float(witness.below[3, 0]),
            float(
                0.36
                * np.prod(
                    [1 + 0.36 * 1.2 * single(half_curvature, k) for k in witness.kernels[1:3]]
                )
            ),
        ),
    },
)

# %%
slope = S
chain = sp.Matrix(3, 3, lambda a, k: slope * R if k < a else 0)
reply = (sp.eye(3) - chain).inv()
noise = sp.Matrix(3, 3, lambda a, k: 2 * S**2 * (K0 * (1 + R * S) ** min(a, k)) ** 2)
plain = exact_moments(ResNet(Branch(Linear(S, 0)), scale=RHO, depth=DEPTH)).unroll(2)
derivation.step(
    "Leading order: the covariances follow by linear algebra.",
    {r"N \mathrm{Cov}(C, C)": named("R S R^{T}"), r"N \mathrm{Cov}(K, K)": named("B S B^{T}")},
    check={
        **{
            f"linear network, variance of $C^{block + 1}$, from its exact moments": (
                order(plain["C_var"][block], 1),
                sp.expand((reply * noise * reply.T)[block, block]),
            )
            for block in range(3)
        },
        "package: variance of $C$ at the last block": (
            float(theory["C_cov"][BLOCKS - 1, BLOCKS - 1]),
            float(witness.C_cov[-1, -1]),
        ),
        "package: covariance of blocks 2 and 4": (
            float(theory["C_cov"][1, 3]),
            float(witness.C_cov[1, 3]),
        ),
        "package: variance of the kernel that block 4 acts on": (
            float(theory["K_cov"][3, 3]),
            float(witness.K_cov[3, 3]),
        ),
    },
)

# %%
x1, x2 = sp.symbols("x_1 x_2", real=True)
k1, k2 = sp.symbols("K_a K_b", positive=True)  # h^b = h^a + an increment of variance K_b - K_a
squares = average(x1**4 * (x1 + x2) ** 2, {x1: k1, x2: k2 - k1}) - 3 * k1**2 * k2
twice = 2 * witness.kernels[1] ** 2
mixed = 2 * 1.2 * 0.8**2 * single(half_curvature, 0.8) * 0.36
derivation.step(
    r"Leading order: $G^l$ is an average over neurons as well. It has a noise of its own, which "
    r"correlates with those of the blocks: for normals Price's theorem gives the mixed term.",
    {
        r"N \mathrm{Cov}(G, G)^{lm}": named("[B S B^{T} + B U + (B U)^{T}]^{lm}")
        + 2 * named(r"K^{\min(l,m)}") ** 2,
        "U^{kl}": 2 * S * named(r"K^{\min(k-1,l)}") ** 2 * named("V'(K^{k-1})"),
    },
    check={
        r"$\mathrm{Cov}(f(h^a), (h^b)^2) = 2 (K^a)^2 V'(K^a)$ for $\phi = x^2$, $a \le b$": (
            sp.expand(squares),
            sp.expand(2 * k1**2 * quartic.diff(K0).subs(K0, k1)),
        ),
        "first block, against its exact law at large width": (
            float(0.36**2 * witness.source[0, 0] + 2 * mixed + twice),
            float(evaluate(one_block, width=10**14, **POINT)["G_var"][1] * 10**14),
        ),
        "package: variance of $G^1$": (
            float(theory["G_cov"][1, 1]),
            float(0.36**2 * witness.source[0, 0] + 2 * mixed + twice),
        ),
        "linear network: $G$ after two blocks": (
            order(plain["G_cov"][2][1], 1),
            order(sp.expand((1 + R * S) * plain["G_var"][1]), 1),
        ),
    },
)

# %% [markdown]
# ## The mean

# %%
bend = quartic.diff(K0, 2)
curvature = 12 * place**2 * (RHO * z / (2 * root)) ** 2 - 4 * place**3 * RHO * z / (4 * root**3)
derivation.step(
    r"Order $1/N$: expand $f(h_i^{l-1})$ to second order in all $\delta C^m$ and average. Three "
    r"terms are left: transport of the mean of $\delta C^m$; the tadpole, curvature of the "
    r"single-neuron average times the variance of the kernel; and the conditioning term $P$.",
    {
        "C_{2}^{l}": S * named("V'(K^{l-1})") * named("K_{2}^{l-1}")
        + S * named("V''(K^{l-1})") * named("[B S B^{T}]^{l-1,l-1}") / 2
        + named("P^{l}"),
        "K_{2}^{l}": named("K_{2}^{l-1}") + R * named("C_{2}^{l}"),
    },
    check={
        r"$\phi = x^2$: mean curvature of $f$ is $\rho^4 V''(K)$": (
            walked(curvature),
            sp.expand(R**2 * bend.subs(K0, u + R * size)),
        ),
    },
)

# %%
psi = 6 * place**2  # half the second derivative of f = x^4, at the later layer


def shared_with_past(later):
    """Covariance of a polynomial of the later state with f = h^4 of the earlier one."""
    return sp.expand(walked(later * h**4) - walked(later) * 3 * u**2)


derivation.step(
    r"Order $1/N$: the reply of this network's own neurons, an average over the same walks, "
    r"deviates as well, and not independently of $\delta C$. The product of the two deviations "
    r"is the conditioning term; Stein's lemma turns $z$ into a derivative, $\psi = f''/2$.",
    {
        "P^{l}": S**2
        * sp.Sum(
            named("B^{l-1,k}") * Cov(named(r"\psi(h^{l-1})"), named("f(h^{k-1})")),
            (k, 1, layer - 1),
        )
    },
    check={
        r"$\phi = x^2$: $\mathrm{Cov}(\partial f, f) = \rho^2 \mathrm{Cov}(\psi, f)$": (
            shared_with_past(push),
            sp.expand(R * shared_with_past(psi)),
        ),
    },
)

# %%
at_input = {h: K0}
fourth_power = average(h**4, at_input)
block_mean = S * fourth_power + B
block_spread = S**2 * (average(h**8, at_input) - fourth_power**2)  # N Var C^1
with_block = S * (average(h**6, at_input) + (WIDTH - 1) * K0 * fourth_power) / WIDTH + B * K0
# E f(h^1) for h^1 = h^0 + rho sqrt(C) z: the exact mean of C^2 at every width.
second_mean = sp.expand(
    S * (fourth_power + 6 * R * with_block + 3 * R**2 * (block_spread / WIDTH + block_mean**2)) + B
)
g1, g2 = sp.symbols("h_1 h_2", real=True)
dense_rows = [
    g1 + RHO * (w[0] * g1**2 + w[1] * g2**2 + b1),
    g2 + RHO * (w[2] * g1**2 + w[3] * g2**2 + b2),
]
everything = dict.fromkeys(w, S / 2) | {b1: B, b2: B, g1: K0, g2: K0}
tadpole = S * bend / 2 * R**2 * block_spread
conditioning = S**2 * R * 6 * (average(h**6, at_input) - K0 * fourth_power)
derivation.step(
    r"Exact, as a test: for $\phi = x^2$ all averages are polynomials. After two blocks the "
    r"mean has no order beyond $1/N$, and that order is the tadpole and the conditioning term.",
    {r"\mathrm{E}\, C^{2}": sp.collect(second_mean, 1 / WIDTH)},
    check={
        "width 2, every weight averaged by itself": lambda: (
            second_mean.subs(WIDTH, 2),
            sp.expand(S * average(dense_rows[0] ** 4, everything) + B),
        ),
        "order $1/N$": (order(second_mean, 1), sp.expand(tadpole + conditioning)),
        "order $1/N^2$": (order(second_mean, 2), sp.Integer(0)),
        "infinite width": (
            order(second_mean, 0),
            sp.expand(S * quartic.subs(K0, K0 + R * block_mean) + B),
        ),
    },
)

# %%
derivation.step(
    "For any activation the covariances are averages over two neurons' worth of normals. The "
    "package and the double sums agree:",
    {f"C_{{2}}^{{{k + 1}}}": sp.Float(theory["C_mean"][k], 6) for k in range(1, BLOCKS)},
    check={
        **{
            f"block {k + 1}": (float(theory["C_mean"][k]), float(witness.C_mean[k]))
            for k in range(1, BLOCKS)
        },
        "the first block is not shifted": (float(theory["C_mean"][0]), 0.0),
        "linear network: no mean is shifted": (order(plain["C_mean"][2], 1), sp.Integer(0)),
    },
)

# %% [markdown]
# ## Weights that are not Gaussian

# %%
mu_4 = sp.Symbol("mu_4", positive=True)  # E w^4 / (E w^2)^2, 3 for a normal law


def average_of_weights(polynomial, variances):
    """Average as above, with the fourth moment of the weights; higher ones do not occur."""
    total = sp.Integer(0)
    for powers, coefficient in sp.Poly(sp.expand(polynomial), *variances).terms():
        if any(k % 2 for k in powers):
            continue
        factors = [
            (mu_4 if symbol in w and k == 4 else sp.factorial2(k - 1)) * variance ** (k // 2)
            for k, (symbol, variance) in zip(powers, variances.items(), strict=True)
        ]
        total += coefficient * sp.Mul(*factors)
    return sp.expand(total)


cumulant = (mu_4 - 3) * S**2 * (f1**4 + f2**4) / 2  # times 1/N, at width 2
derivation.step(
    r"Exact for independent weights of every law with this variance: rows are independent and "
    r"have the covariance $C^l$, so that $\mathrm{E}\, G^l$ is what it was. They are normal for "
    r"normal weights alone: their fourth cumulant is $Q^l / N$.",
    {"Q^{l}": (mu_4 - 3) * S**2 * sp.Sum(feature**4, (i, 1, WIDTH)) / WIDTH},
    check={
        "width 2, every weight a symbol: variance": (
            average_of_weights(row1**2, drawn),
            sp.expand(covariance),
        ),
        "width 2: no correlation of squares": (
            average_of_weights(row1**2 * row2**2, drawn),
            sp.expand(covariance**2),
        ),
        "width 2: fourth cumulant": (
            sp.expand(average_of_weights(row1**4, drawn) - 3 * covariance**2),
            sp.expand(cumulant / 2),
        ),
    },
)

# %%
added = sp.expand(
    S
    * (average_of_weights(dense_rows[0] ** 4, everything) - average(dense_rows[0] ** 4, everything))
)
signs = evaluate(one_loop(net), depth=BLOCKS, weight_kurtosis=1.0, **POINT)
eighth = [single(lambda x: phi(x) ** 4, k) for k in witness.kernels[:BLOCKS]]
bends = [0.3 * single(fourth, k) for k in witness.kernels[:BLOCKS]]
moved = [
    bends[a] * sum(0.6**4 * -2 * 1.2**2 * eighth[k] for k in range(a)) / 6 for a in range(BLOCKS)
]
derivation.step(
    r"Leading order: covariances, propagators and the source are averages over independent walks "
    r"that are normal for $N \to \infty$, and so hold for every law; so do the tadpole and the "
    r"conditioning term. Order $1/N$: the mean of $f = \phi^2$ gains $f^{(4)}/24$ times the fourth "
    r"cumulant, the tadpole with a third of it in the place of the variance; an output gains "
    r"$Q$. A law that is not symmetric adds a term of order $N^{-1/2}$ where $\phi$ is neither odd "
    r"nor even.",
    {
        "C_{2}^{l} - C_{2}^{l}(\\mathrm{normal})": S
        * named("V''(K^{l-1})")
        * sp.Sum(R**2 * named("Q^{k}"), (k, 1, layer - 1))
        / 6,
        r"N \kappa_4(y)": 3 * named(r"N \mathrm{Var}\, C") + named("Q"),
    },
    check={
        r"$\phi = x^2$, width 2, every weight averaged by itself": (
            added,
            sp.expand(S * bend / 6 * R**2 * (mu_4 - 3) * S**2 * average(h**8, at_input) / 2),
        ),
        **{
            f"package, weights that are signs: what block {k + 1} gains": (
                float(signs["C_mean"][k] - theory["C_mean"][k]),
                float((witness.reply @ np.array(moved))[k]),
            )
            for k in range(1, BLOCKS)
        },
        "package: covariances are the same": (
            bool((signs["G_cov"] == theory["G_cov"]).all()),
            True,
        ),
    },
)

# %% [markdown]
# ## What a theory of the empirical kernel alone gets wrong
#
# A closure that tracks the empirical kernel $G^l$ and takes neurons for independent once it is
# given, draws fresh noise in every block and has no conditioning term (Kawase & Ota 2026 build such
# a theory, and report where it fails).

# %%
DEEP, N = 12, 128
HERE = {"rho": 0.6, "weight": 1.0, "bias": 0.0, "start": 0.3}
full = Witness(DEEP, **HERE)
unconditioned = Witness(DEEP, **HERE, conditioning=False)
fresh = Witness(DEEP, **HERE, shared=False)
closure = Witness(DEEP, **HERE, conditioning=False, shared=False)
narrow = ResNet(Branch(Activation("erf_unit"), Linear(1, 0)), scale=0.6, depth=DEEP)
packaged = evaluate(one_loop(narrow), K0=0.3)
seen = sample(narrow, "layer_covariance", N, 200_000, K0=0.3, seed=5, progress=False)
seen = seen["layer_covariance"]
last = DEEP - 1
shift = N * (seen.mean[last] - np.diff(full.kernels)[last] / 0.36)
error = N * seen.stderr[last]
spread_seen = N * seen.variance[last]


def off(witness_of_theory):
    """Distance of a theory from the sampled mean of the last block, in standard errors."""
    return abs(witness_of_theory.C_mean[last] - shift) / error


derivation.step(
    r"Twelve blocks of the error function, $\rho = 0.6$, $K^0 = 0.3$, no biases: coefficients of "
    "$1/N$ in the mean of $C^{12}$ with all terms, without the conditioning term, with noise that "
    "blocks do not share, and without both. The closure keeps 4 percent of the shift, and two "
    "thirds of the variance.",
    {
        "C_{2}^{12}": sp.Float(full.C_mean[last], 6),
        r"C_{2}^{12}(P = 0)": sp.Float(unconditioned.C_mean[last], 6),
        r"C_{2}^{12}(S^{l \ne m} = 0)": sp.Float(fresh.C_mean[last], 6),
        r"C_{2}^{12}(\mathrm{closure})": sp.Float(closure.C_mean[last], 6),
        r"N \mathrm{Var}\, C^{12}": sp.Float(full.C_cov[last, last], 6),
        r"N \mathrm{Var}\, C^{12}(\mathrm{closure})": sp.Float(closure.C_cov[last, last], 6),
    },
    check={
        "package: mean": (float(packaged["C_mean"][last]), float(full.C_mean[last])),
        "package: variance": (float(packaged["C_cov"][last, last]), float(full.C_cov[last, last])),
        "share of the mean that the closure keeps": (
            float(closure.C_mean[last] / full.C_mean[last]),
            sp.Interval(sp.Rational(3, 100), sp.Rational(5, 100)),
        ),
        "share of the variance that it keeps": (
            float(closure.C_cov[last, last] / full.C_cov[last, last]),
            sp.Interval(sp.Rational(65, 100), sp.Rational(75, 100)),
        ),
        "200 000 networks of width 128: the mean agrees within 3 standard errors": (
            bool(off(full) < 3),
            True,
        ),
        "without the conditioning term it is more than 10 off": (
            bool(off(unconditioned) > 10),
            True,
        ),
        "without shared noise more than 4": (bool(off(fresh) > 4), True),
        "the closure more than 10": (bool(off(closure) > 10), True),
        "the variance agrees to 4 percent": (
            bool(abs(spread_seen / full.C_cov[last, last] - 1) < 0.04),
            True,
        ),
        "that of the closure does not": (
            bool(abs(spread_seen / closure.C_cov[last, last] - 1) > 0.2),
            True,
        ),
    },
)

# %%
quadratic = {RHO: sp.Rational(3, 5), S: sp.Integer(1), B: sp.Integer(0), K0: sp.Rational(3, 10)}
derivation.step(
    r"In the polynomial network the loss is exact: after two blocks of $\phi = x^2$, at the "
    "same scale and input, this share of the shift is the conditioning term.",
    {"P^{2} / C_{2}^{2}": (conditioning / (conditioning + tadpole)).subs(quadratic)},
    check={
        "share": (
            (conditioning / (conditioning + tadpole)).subs(quadratic),
            (order(second_mean, 1) - tadpole).subs(quadratic)
            / order(second_mean, 1).subs(quadratic),
        )
    },
)

# %% [markdown]
# ## The derivation as LaTeX

# %%
write_derivation([net, derivation], folder / "finite_width.tex")
