# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Optimal signal propagation in residual networks
#
# Fischer, Dahmen & Helias (2023) ask how strongly the output of a residual network responds to its
# input, and for which residual scale it responds most. The answer is derived here from the network
# itself. Every step carries a check that runs as the step is taken: a symbolic identity, or a
# number computed a second time without the package, by integration at 50 digits.
#
# Run as a script, it narrates to the terminal and writes LaTeX:
# `python derivations/fischer_2023.py [--out FOLDER]`.

# %%
from __future__ import annotations

import mpmath
import sympy as sp

from resexpand import (
    Activation,
    Branch,
    Linear,
    ResNet,
    derive,
    evaluate,
    kernel,
    optimal_scale,
    response,
)
from resexpand.conventions import DEPTH, K0, PAIR, RHO, SIGMA_B2, SIGMA_W2, K
from resexpand.theory.formula import Formula
from resexpand.theory.optimal_scale import K_STAR
from resexpand.theory.verification import DIGITS
from resexpand.workflows.derive.script import output_folder, write_derivation

mpmath.mp.dps = DIGITS + 5
DEPTHS = (10, 100, 400)

folder = output_folder(__doc__)

# %% [markdown]
# ## An independent witness
#
# These functions know the network but none of the formulas: averages are trapezoidal sums (which
# converge geometrically; 160 nodes give 50 digits here), the recursion is a loop, a response is a
# numerical derivative.


# %%
NODES = [(z, mpmath.npdf(z) / 5) for z in (mpmath.mpf(i) / 5 for i in range(-80, 81))]


def phi(x):
    return mpmath.erf(mpmath.sqrt(mpmath.pi) / 2 * x)


def phi_slope(x):
    return mpmath.exp(-mpmath.pi * x**2 / 4)


def phi_curvature(x):
    return -mpmath.pi / 2 * x * phi_slope(x)


def average(function, variance):
    root = mpmath.sqrt(variance)
    return mpmath.fsum(weight * function(root * node) for node, weight in NODES)


def moment(variance):
    return average(lambda x: phi(x) ** 2, variance)


def at(expression, **values):
    """Put numbers into an expression, exactly."""
    named = {symbol: values[symbol.name] for symbol in expression.free_symbols}
    return expression.subs(named)


POINT = {"K0": sp.Rational(3, 10), "rho": sp.Rational(1, 2)} | {
    "sigma_w2": sp.Rational(6, 5),
    "sigma_b2": sp.Rational(1, 20),
}
NUMBERS = {name: mpmath.mpf(value.p) / value.q for name, value in POINT.items()}

# %% [markdown]
# ## The network and its kernel

# %%
net = ResNet(Branch(Activation("erf_unit"), Linear()), scale=RHO, depth=DEPTH)
recursion = kernel(net)
B = recursion.definitions[-1][1]


def closed(expression):
    """Return an expression with its averages in closed form."""
    return Formula("", sp.Symbol("y"), expression, laws=recursion.laws).closed()


# %% [markdown]
# ## Kernel, response and the condition of the optimum
#
# The steps that hold for any network are taken by `derive`, which checks each of them by integrals
# of its own.

# %%
derivation = derive(net, "optimal-scale", at=POINT, announce=print)
derivation.title = "Optimal signal propagation in residual networks"

# %%
V = sp.expand((B - SIGMA_B2) / SIGMA_W2)
price = V.diff(K)
variance = response(net)
covariance, tangent = response(net, kind="covariance"), response(net, kind="tangent")
growth = covariance.output("chi").matrix[0, 0]
slopes = tangent.output("chi").matrix[0, 0]
derivation.step(
    "The covariance of two inputs responds with the averaged product of two slopes. For inputs "
    "that coincide this is the growth of the squared length of a tangent vector.",
    {r"\chi_{12}^{l,l-1}": growth, r"\chi_{\mathrm{tangent}}^{l,l-1}": slopes},
    check={
        "at coinciding inputs": (closed(growth).subs(dict.fromkeys(PAIR, K)), closed(slopes)),
        "against the integral of the squared slope": lambda: (
            at(closed(slopes), **POINT, K=POINT["K0"]),
            1
            + NUMBERS["rho"] ** 2
            * NUMBERS["sigma_w2"]
            * average(lambda x: phi_slope(x) ** 2, NUMBERS["K0"]),
        ),
    },
)

# %% [markdown]
# ## Closed forms

# %%
V_closed, slope_closed = closed(V), closed(price)
pair_closed = closed(sp.expand((growth - 1) / (RHO**2 * SIGMA_W2)))
k11, k12, k22 = PAIR
derivation.step(
    "For the error function of unit slope the averages are elementary: the arcsine of a "
    "correlation, and what differentiating it gives.",
    {"V(K)": V_closed, "V'(K)": slope_closed, r"\langle \phi_1' \phi_2' \rangle": pair_closed},
    check={
        "$V$ against an integral": lambda: (V_closed.subs(K, POINT["K0"]), moment(NUMBERS["K0"])),
        "$V'$": (slope_closed, 2 / ((2 + sp.pi * K) * sp.sqrt(1 + sp.pi * K))),
        "product of slopes": (
            pair_closed**-2,
            (1 + sp.pi * k11 / 2) * (1 + sp.pi * k22 / 2) - (sp.pi * k12 / 2) ** 2,
        ),
    },
)

# %% [markdown]
# ## The continuum limit


# %%
def speed(kernel_value, weight=1.2, bias=0.05):
    return weight * moment(mpmath.mpf(kernel_value)) + bias


def continuum_distance(depth):
    """Relative distance of the response at finite depth from the ratio of the speeds, at t = 1."""
    values = evaluate(variance, depth=depth, rho=depth**-0.5, sigma_w2=1.2, sigma_b2=0.05, K0=0.3)
    first, *_, last = map(float, values["K"])
    return float(values["chi_0"][-1]) / (speed(last) / speed(first)) - 1


t = sp.Symbol("t", nonnegative=True)
flow, growth_rate = sp.Function("K")(t), sp.Function("B")
chi = growth_rate(flow) / growth_rate(flow.subs(t, 0))
steepness = growth_rate(K).diff(K).subs(K, flow)
derivation.step(
    r"In a deep network only the time $t = \rho^2 L$ matters. The kernel flows with the speed "
    "$B(K) = C$, and the logarithm of the response grows with the slope of $B$. The solution is "
    "the ratio of the speeds at the end and at the beginning.",
    {
        r"\frac{dK}{dt}": growth_rate(K),
        r"\chi^{L,0}": growth_rate(sp.Symbol("K_L")) / growth_rate(sp.Symbol("K0")),
    },
    check={
        "logarithmic derivative of the solution": (
            sp.log(chi).diff(t).subs(flow.diff(t), growth_rate(flow)).doit(),
            steepness,
        ),
        "distance from finite depth halves when the depth doubles": lambda: (
            continuum_distance(400) / continuum_distance(800),
            sp.Interval(sp.Rational(199, 100), sp.Rational(201, 100)),
        ),
    },
)

# %% [markdown]
# ## The optimal scale

# %%
optimum = optimal_scale(net)


# %%
def solved(function, guess):
    return mpmath.findroot(function, mpmath.mpf(guess))


def own_condition(kernel_value):
    """V'' V + V'^2 with V, V' as integrals: the condition without biases."""
    steep = average(lambda x: phi_slope(x) ** 2 + phi(x) * phi_curvature(x), kernel_value)
    steeper = mpmath.diff(
        lambda k: average(lambda x: phi_slope(x) ** 2 + phi(x) * phi_curvature(x), k), kernel_value
    )
    return steeper * moment(kernel_value) + steep**2


condition = closed(optimum.condition.lhs)
unbiased = condition.subs({SIGMA_W2: 1, SIGMA_B2: 0})
star = solved(sp.lambdify(K, unbiased, "mpmath"), 0.4)
values = evaluate(optimum, depth=100, sigma_w2=1, sigma_b2=0, K0=0.05)
derivation.step(
    "Without biases the weight variance drops out and the condition is a number.",
    {"K_star": sp.Float(str(star), 6)},
    check={
        "root of the closed form": (star, "0.3888"),
        "the condition made of integrals, at this root": lambda: (own_condition(star), 0),
        "compiled search": (float(values["K_star"]), star),
    },
)

# %%
crossed = optimal_scale(net, kind="covariance")
u, q = sp.sin(1 - sp.pi / 2 * SIGMA_B2 / SIGMA_W2), sp.pi / 2
at_zero = crossed.kernel_star.rhs.subs(SIGMA_B2, 0)
derivation.step(
    "For the covariance of nearly orthogonal inputs the condition holds the arcsine once and can "
    "be solved, also with biases.",
    crossed.kernel_star,
    check={
        r"against $u / (q (1 - u))$, $u = \sin(1 - q \sigma_b^2 / \sigma_w^2)$, $q = \pi/2$": (
            crossed.kernel_star.rhs,
            u / (q * (1 - u)),
        ),
        "the condition at the solution": lambda: (
            closed(crossed.condition.lhs)
            .subs(K, crossed.kernel_star.rhs)
            .subs({symbol: POINT[symbol.name] for symbol in (SIGMA_W2, SIGMA_B2)}),
            0,
        ),
        "without biases": (at_zero, "3.379"),
    },
)

# %% [markdown]
# ## The constant of the scale, and finite depth

# %%
start = sp.Rational(1, 20)
with mpmath.workdps(25):
    constant = mpmath.sqrt(mpmath.quad(lambda k: 1 / moment(k), [mpmath.mpf(1) / 20, star]))
simpson = closed(optimum.simpson.rhs).subs({SIGMA_W2: 1, SIGMA_B2: 0})
simpson = simpson.subs({K0: start, K_STAR: sp.Float(str(star), DIGITS)})
derivation.step(
    "Simpson's rule in the logarithm of the kernel makes this a closed form.",
    optimum.simpson,
    check={
        "ratio to the integral": (
            simpson.evalf(DIGITS) / constant**2,
            sp.Interval(sp.Rational(99, 100), sp.Rational(101, 100)),
        )
    },
)


# %%
def own_slope(scale, depth):
    """d ln(eta) / d rho with V and V' as integrals, by a numerical derivative."""

    def logarithm(rho):
        value, kernel_value = mpmath.mpf(0), mpmath.mpf(1) / 20
        for _ in range(depth):
            value += mpmath.log(1 + rho**2 * steep(kernel_value))
            kernel_value += rho**2 * moment(kernel_value)
        return value + mpmath.log(steep(kernel_value))

    return mpmath.diff(logarithm, scale)


def steep(variance_value):
    return average(lambda x: phi_slope(x) ** 2 + phi(x) * phi_curvature(x), variance_value)


def excess(depth, kernel_value):
    """How far the optimum at finite depth lies above c / sqrt(L), relatively."""
    found = evaluate(optimum, depth=depth, sigma_w2=1, sigma_b2=0, K0=kernel_value)
    return float(found["rho"]) * depth**0.5 / float(found["c"]) - 1


def own_optimum(guess):
    """Zero of the slope, from the straight line through two points close to a guess."""
    with mpmath.workdps(30):
        low, high = guess * (1 - mpmath.mpf(10) ** -7), guess * (1 + mpmath.mpf(10) ** -7)
        below, above = own_slope(low, 10), own_slope(high, 10)
        return low - below * (high - low) / (above - below)


scales = {
    depth: float(evaluate(optimum, depth=depth, sigma_w2=1, sigma_b2=0, K0=0.05)["rho"])
    for depth in DEPTHS
}
derivation.step(
    r"At finite depth the optimum is a zero of the exact derivative of $\ln \eta$, itself a "
    r"recursion. It lies above $c / \sqrt{L}$ by a relative amount of order $1/L$. Here at "
    r"$K^0 = 1/20$, without biases:",
    {f"\\rho^{{*}}_{{L={depth}}}": sp.Float(scale, 6) for depth, scale in scales.items()},
    check={
        "$L = 10$, against the loop over integrals": lambda: (
            scales[10],
            own_optimum(scales[10]),
        ),
        "excess at $L = 10$, $K^0 = 1/100$": (
            excess(10, 0.01),
            sp.Interval(sp.Rational(4, 100), sp.Rational(16, 100)),
        ),
        "excess at $L = 10$, $K^0 = 1/5$": (
            excess(10, 0.2),
            sp.Interval(sp.Rational(4, 100), sp.Rational(16, 100)),
        ),
        "excess at $L = 400$, $K^0 = 1/100$": (
            excess(400, 0.01),
            sp.Interval(0, sp.Rational(4, 1000)),
        ),
        "ten times as deep, a tenth of the excess": (
            excess(10, 0.05) / excess(100, 0.05),
            sp.Interval(sp.Rational(19, 2), 11),
        ),
    },
)

# %% [markdown]
# ## Where there is no interior optimum

# %%
weakest = condition.subs(K, 0)
strong = evaluate(optimum, depth=10, sigma_w2=1, sigma_b2=0.4, K0=0.05)
derivation.step(
    r"Strong biases drive the kernel past the optimum at once. At $K = 0$ the condition, called "
    r"$F$ from here on, is positive only for $\sigma_b^2 < \sigma_w^2 / \pi$; above, the response "
    r"falls from the start and the best scale is $\rho^* = 0$.",
    {"F(0)": weakest},
    check={
        "the condition at $K = 0$": (weakest, SIGMA_W2 - sp.pi * SIGMA_B2),
        r"scale found for $\sigma_b^2 = 0.4$, $\sigma_w^2 = 1$": (float(strong["rho"]), 0.0),
    },
)

rectified = optimal_scale(ResNet(Branch(Activation("relu"), Linear()), scale=RHO, depth=DEPTH))
rectified_condition = Formula(
    "", sp.Symbol("F"), rectified.condition.lhs, laws=rectified.condition.laws
).closed()
derivation.step(
    "A rectifier does not saturate: the condition is a positive constant, and the response grows "
    "with the residual scale without bound.",
    {"F(K)": rectified_condition},
    check={
        "the condition": (rectified_condition, SIGMA_W2 / 4),
        "its trend, as the package finds it": (rectified.trend == "increasing", True),
    },
)

s = sp.Symbol("s", positive=True)  # s = sqrt(1 + pi K), at least 1
inclined = optimal_scale(net, kind="tangent")
tangent_condition = closed(inclined.condition.lhs).subs({SIGMA_W2: 1, SIGMA_B2: 0})
in_terms_of_s = tangent_condition.subs(K, (s**2 - 1) / sp.pi) * s**3
bracket = s - 2 * sp.atan(s) + sp.pi / 2
derivation.step(
    r"The tangent response has no interior optimum either. Without biases its condition, in terms "
    r"of $s = \sqrt{1 + \pi K}$, is positive for every $s \ge 1$: $s^3 F$ is 1 at $s = 1$ and "
    "never falls.",
    {"F": bracket / s**3, r"\frac{d}{ds} s^3 F": (s**2 - 1) / (s**2 + 1)},
    check={
        "slope of $s^3 F$": (in_terms_of_s.diff(s), (s**2 - 1) / (s**2 + 1)),
        "slope of the expression shown": (bracket.diff(s), (s**2 - 1) / (s**2 + 1)),
        "$s^3 F$ at $s = 1$": (in_terms_of_s.subs(s, 1), sp.Integer(1)),
        "expression shown, at $s = 1$": (bracket.subs(s, 1), sp.Integer(1)),
    },
)

# %% [markdown]
# ## The derivation as LaTeX

# %%
write_derivation([net, derivation], folder / "fischer_2023.tex")
