# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # The Residual Expansion Theorem at every order
#
# Dherin & Munn (2025) expand a residual network in the scales of its branches, to second order.
# Here the expansion is derived at every order: for two blocks, for three, and then for any number
# by induction over trees. Every step carries checks that run as the step is taken. The witness is
# differentiation of the network itself, which knows nothing of trees; a sum without repeated
# labels, or without the symmetry of the trees, is shown to fail.
#
# Run as a script, it narrates to the terminal and writes LaTeX:
# `python derivations/dherin_2025.py [--out FOLDER]`.

# %%
from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import factorial, prod

import sympy as sp

from resexpand import Activation, residual_expansion
from resexpand.combinatorics import (
    LabelledTree,
    class_count,
    distinct_count,
    labelled_trees,
    order_polynomial,
    trees,
    weighted_count,
)
from resexpand.errors import UnsupportedError
from resexpand.references import REFERENCES, Citation
from resexpand.theory.derivation import Derivation
from resexpand.theory.gated_paths import gated_path_sum
from resexpand.workflows.derive.script import output_folder, write_derivation

x, y, step, lam = sp.symbols("x y t lambda")
LAMBDAS = sp.symbols("lambda_1:6")
DEPTH = residual_expansion(1).depth
ORDER = 4

folder = output_folder(__doc__)
derivation = Derivation(
    "The Residual Expansion Theorem at every order",
    (Citation(REFERENCES["dherin2025"]),),
    announce=print,
)

# %% [markdown]
# ## The witness
#
# A network of formal blocks is differentiated in its scales at zero. In one dimension the composed
# map is differentiated as it stands. In two dimensions the layers are differentiated one after
# another: `branch_derivatives` holds the derivatives of $t\, g(u(t), w(t))$ at $t = 0$, found by
# differentiating this product.


# %%
def block(i, argument):
    return sp.Function(f"f_{i}")(argument)


def composed(depth):
    """The network of one dimension, composed."""
    state = x
    for i in range(1, depth + 1):
        state = state + LAMBDAS[i - 1] * block(i, state)
    return state


def taylor_coefficient(expression, powers):
    """Coefficient of a monomial in the scales, by differentiation at zero."""
    for scale, power in zip(LAMBDAS, powers, strict=False):
        expression = expression.diff(scale, power).subs(scale, 0).doit() / sp.factorial(power)
    return sp.expand(expression)


def branch_derivatives(order):
    path = [sp.Function(name)(step) for name in "uw"]
    known = {p.diff(step, m): sp.Symbol(f"{p.func}_{m}") for p in path for m in range(1, order + 1)}
    moving, found = step * sp.Function("g")(*path), []
    for _ in range(order + 1):
        at_zero = moving.xreplace(known).xreplace(dict(zip(path, (x, y), strict=True)))
        found.append(at_zero.subs(step, 0))
        moving = sp.expand(moving.diff(step))
    return found


BRANCH = branch_derivatives(ORDER)


def differentiated(depth, order):
    """Derivatives of a network of two dimensions with scales t lambda_i, at t = 0."""
    found = [(x, y)] + [(sp.S.Zero, sp.S.Zero)] * order
    for i in range(1, depth + 1):
        values = {
            sp.Symbol(f"{name}_{m}"): found[m][a]
            for a, name in enumerate("uw")
            for m in range(1, order + 1)
        }
        found = [
            tuple(
                sp.expand(
                    before
                    + LAMBDAS[i - 1]
                    * branch.replace(sp.Function("g"), sp.Function(f"f_{i}_{a}")).xreplace(values)
                )
                for a, before in enumerate(entries, 1)
            )
            for entries, branch in zip(found, BRANCH[: order + 1], strict=True)
        ]
    return [sp.Matrix(entries) for entries in found]


def in_entries(vector):
    """Both entries as one expression: an identity of it is an identity of each."""
    return sp.expand(sp.Symbol("e_1") * vector[0] + sp.Symbol("e_2") * vector[1])


def by_trees(terms):
    """Sum of terms of two-dimensional blocks at the point (x, y)."""
    return in_entries(sum((term.value(sp.Matrix([x, y])) for term in terms), sp.zeros(2, 1)))


def by_differentiation(direct, order):
    return in_entries(direct[order] / sp.factorial(order))


# %% [markdown]
# ## The network as a recursion

# %%
first, second, third = (block(i, x) for i in (1, 2, 3))
derivation.step(
    r"A network of $n$ residual blocks is $F = (1 + \lambda_n f_n) \circ \dots \circ "
    r"(1 + \lambda_1 f_1)$. What it adds to its input, $S_i$ after block $i$, grows block by "
    r"block: $S_0 = 0$, $S_i = S_{i-1} + \lambda_i f_i(x + S_{i-1})$ and $F(x) = x + S_n$.",
    {"S_1": LAMBDAS[0] * first, "S_2": composed(2) - x},
    check={
        "one block is its own expansion": (residual_expansion(3, 1).expression(x), composed(1)),
    },
)

# %% [markdown]
# ## Two blocks

# %%
two = composed(2)
expansion = residual_expansion(ORDER, 2)
derivation.step(
    r"Two blocks: Taylor expansion of $f_2(x + \lambda_1 f_1)$ around $x$. The term with the "
    r"$m$-th derivative has $m$ copies of $f_1$ as its arguments and the coefficient $1/m!$, "
    r"because the copies may be permuted. Already here $f_1$ occurs more than once: the network "
    r"is not linear in $\lambda_1$. To order 4, everything taken at $x$:",
    {"F(x) - x": expansion.expression(x) - x},
    check={
        rf"coefficient of $\lambda_1^{{{m}}} \lambda_2$": (
            sp.Poly(expansion.expression(x), *LAMBDAS[:2]).coeff_monomial(
                LAMBDAS[0] ** m * LAMBDAS[1]
            ),
            taylor_coefficient(two, (m, 1)),
        )
        for m in range(ORDER)
    },
)

# %% [markdown]
# ## Three blocks

# %%
three = composed(3)
expansion = residual_expansion(ORDER, 3)
polynomial = sp.Poly(expansion.expression(x), *LAMBDAS[:3])
direct = differentiated(3, ORDER)
derivation.step(
    r"Three blocks: $f_3(x + S_2)$ is expanded in $S_2$, a sum itself. Its $m$-th derivative "
    r"takes $m$ terms of $S_2$ as arguments, each of which is a block with arguments of its own: "
    r"rooted trees, whose vertices are labelled by blocks. A term that is chosen $c$ times comes "
    r"with $1/c!$. All terms of order 3:",
    sp.Add(*(term.value(x) for term in expansion[3])),
    check={
        rf"coefficient of $\lambda_1^{{{a}}} \lambda_2^{{{b}}} \lambda_3^{{{c}}}$": (
            polynomial.coeff_monomial(prod(s**p for s, p in zip(LAMBDAS, (a, b, c), strict=False))),
            taylor_coefficient(three, (a, b, c)),
        )
        for a, b, c in [(1, 1, 1), (2, 0, 1), (0, 2, 1), (2, 1, 1), (1, 2, 1)]
    }
    | {
        f"order {order}, blocks of two entries": (
            by_trees(terms),
            by_differentiation(direct, order),
        )
        for order, terms in expansion.items()
    },
)

# %% [markdown]
# ## Trees and their symmetry


# %%
def coefficient(tree):
    """Coefficient by the recursion: a product over children, divided by c! for c equal ones."""
    copies = Counter(tree.children).values()
    return prod(map(coefficient, tree.children), start=Fraction(1)) / prod(map(factorial, copies))


ONE = LabelledTree(1)
TWINS = LabelledTree(3, [ONE, ONE])
classes = [tree for order in range(1, 6) for tree in labelled_trees(order, 4)]
derivation.step(
    r"The labels strictly decrease from parent to child, because $S_{i-1}$ holds only earlier "
    r"blocks. They may repeat on vertices that are not above one another. The recursion for "
    r"coefficients, a factor $1/c!$ for $c$ equal subtrees at a vertex, is that of the number of "
    r"automorphisms: a labelled tree $(T, \ell)$ has the coefficient $1/|\mathrm{Aut}(T, \ell)|$.",
    check={
        f"all {len(classes)} trees of 4 labels to order 5": (
            all(coefficient(t) == Fraction(1, t.symmetry) for t in classes),
            True,
        ),
    }
    | {
        f"${text}$": (sp.Rational(coefficient(tree)), sp.Rational(1, number))
        for text, tree, number in (
            ("f_3''(f_1, f_1)", TWINS, 2),
            ("f_3''(f_2, f_1)", LabelledTree(3, [LabelledTree(2), ONE]), 1),
            ("f_4'''(f_1, f_1, f_1)", LabelledTree(4, [ONE] * 3), 6),
            ("f_4''(f_3''(f_1, f_1), f_3''(f_1, f_1))", LabelledTree(4, [TWINS] * 2), 8),
        )
    },
)

# %% [markdown]
# ## Induction over the blocks


# %%
def grafted(depth, order):
    """The expansion of one more block behind a network, by Taylor expansion of that block."""
    return residual_expansion(order, 1).after(residual_expansion(order, depth)).weights


def without_multiplicity(depth, order):
    """The same with a coefficient of 1 everywhere: what forgetting 1/c! would give."""
    return {tree: weight * tree.symmetry for tree, weight in grafted(depth, order).items()}


derivation.step(
    r"The induction: let $S_{i-1}$ be the sum over all trees with labels below $i$, each with "
    r"$1/|\mathrm{Aut}|$. Then $f_i(x + S_{i-1}) = \sum_m \frac{1}{m!} f_i^{(m)}(S_{i-1}, \dots, "
    r"S_{i-1})$ puts a root of label $i$ on every multiset of these trees, each tree of "
    r"multiplicity $c$ with $1/c!$: all trees with root $i$, once each, with the right "
    r"coefficient. With $S_{i-1}$ they are the trees with labels up to $i$.",
    check={
        f"block {depth + 1} grafted on the trees of {depth}, to order 5": (
            grafted(depth, 5) == residual_expansion(5, depth + 1).weights,
            True,
        )
        for depth in (1, 2, 3)
    }
    | {
        "without the multiplicities these are the trees of 3 blocks": (
            without_multiplicity(2, 3) == residual_expansion(3, 3).weights,
            False,
        )
    },
)

# %% [markdown]
# ## The theorem

# %%
direct = differentiated(4, ORDER)
explicit = residual_expansion(ORDER, 4)
symbolic = residual_expansion(ORDER)
common = residual_expansion(3, scales=lam)
written = symbolic.expression(x).subs(DEPTH, 4).doit()
formal = [lambda argument, i=i: sp.Function("f")(i, argument) for i in range(1, 5)]
derivation.step(
    r"The theorem: $F(x) = x + \sum_{(T, \ell)} |\mathrm{Aut}(T, \ell)|^{-1} \, \prod_v "
    r"\lambda_{\ell(v)} \, F_T^{\ell}(x)$ over all classes of trees with decreasing labels. The "
    r"differential $F_T^{\ell}$ applies at a vertex with label $i$ and $m$ children the $m$-th "
    r"derivative of $f_i$ to the differentials of the children. The labels of one tree sum up to "
    r"nested sums over layers, with $1/|\mathrm{Aut}\, T|$ in front: "
    + "; ".join(f"${term.text(latex=True)}$" for term in residual_expansion(3, scales=1)[3])
    + ".",
    check={
        f"four blocks of two entries, the {len(terms)} terms of order {order}": (
            by_trees(terms),
            by_differentiation(direct, order),
        )
        for order, terms in explicit.items()
    }
    | {
        "nested sums to order 4, written out for four blocks": (
            sp.expand(written),
            sp.expand(residual_expansion(ORDER, formal, sp.IndexedBase("lambda")).expression(x)),
        )
    },
)


# %%
def distinct_alone(terms):
    return [term for term in terms if len(set(term.labels)) == term.order]


derivation.step(
    r"Labels that repeat cannot be left out: $\frac{1}{2} f_3''(f_1, f_1)$ is a term of order 3. "
    "The sum over distinct labels alone is right to order 2 and wrong from order 3 on.",
    check={
        f"distinct labels alone are the whole of order {order}": (
            by_trees(distinct_alone(terms)) == by_differentiation(direct, order),
            order < 3,
        )
        for order, terms in explicit.items()
    },
)

# %% [markdown]
# ## How many terms there are

# %%
PAPER = {
    "classes": (class_count, [4, 6, 14, 32, 75]),
    "weighted": (weighted_count, [4, 6, 11, 21, sp.Rational(161, 4)]),
    "distinct": (distinct_count, [4, 6, 8, 6, 0]),
}
derivation.step(
    r"Counting: with $t_i(z)$ the series of the trees with root $i$, in which $z$ marks a vertex, "
    r"$t_i(z) = z \, \exp \sum_{m, \, j<i} t_j(z^m)/m$ counts classes and $t_i = z \, \exp "
    r"\sum_{j<i} t_j$ weighs them with $1/|\mathrm{Aut}|$; distinct labels give $n (n-1) \cdots "
    r"(n-k+1) / k$. All are polynomials in $n$ of degree $k$. At order 3:",
    {
        r"\#_{\mathrm{classes}}": class_count(3, DEPTH),
        r"\#_{\mathrm{weighted}}": weighted_count(3, DEPTH),
        r"\#_{\mathrm{distinct}}": distinct_count(3, DEPTH),
    },
    check={
        f"{name} of four blocks at orders 1 to 5: {', '.join(map(str, numbers))}": (
            [count(k, 4) for k in range(1, 6)] == numbers,
            True,
        )
        for name, (count, numbers) in PAPER.items()
    }
    | {
        "classes of four blocks enumerated to order 6": (
            [len(labelled_trees(k, 4)) for k in range(1, 7)]
            == [class_count(k, 4) for k in range(1, 7)],
            True,
        ),
        "weighted number from the order polynomials of all trees of order 6": (
            sp.expand(sum(order_polynomial(t, DEPTH) / t.symmetry for t in trees(6))),
            sp.expand(weighted_count(6, DEPTH)),
        ),
    },
)


# %%
def leading(count, order):
    return sp.Poly(count(order, DEPTH), DEPTH).LC()


def sum_of_flow(order):
    return sum(sp.Rational(1, t.factorial * t.symmetry) for t in trees(order))


derivation.step(
    r"Which scales tame them: the nested sum of a tree has $\Omega(T, n)$ addends, about "
    r"$n^k / T!$. At $\lambda = 1/n$ the sum over layers becomes the integral of the flow $dx/ds = "
    r"f(x)$, and the weighted number of terms times $\lambda^k$ tends to $\sum_T 1/(T! \, "
    r"|\mathrm{Aut}\, T|) = 1/k$: every order survives, none explodes. Independent random linear "
    r"blocks add up in squares, so that $\lambda = 1/\sqrt{n}$ is enough: the "
    r"$n (n-1) \cdots (n-k+1) / k!$ chains, divided by $n^k$, tend to $1/k!$.",
    check={
        f"order {order}: $\\lambda^k$ times the weighted number at $n \\to \\infty$": (
            leading(weighted_count, order),
            sp.Rational(1, order),
        )
        for order in (2, 3, 6)
    }
    | {
        "sum over all 719 trees of order 10": (sum_of_flow(10), sp.Rational(1, 10)),
        "square sum of the chains of order 5": (
            sp.limit(sp.expand_func(sp.binomial(DEPTH, 5)) / DEPTH**5, DEPTH, sp.oo),
            1 / sp.factorial(5),
        ),
    },
)

# %% [markdown]
# ## Affine blocks: paths

# %%
slopes, shifts = sp.symbols("a_1:5"), sp.symbols("b_1:5")
affine = residual_expansion(
    5,
    [a * x + b for a, b in zip(slopes, shifts, strict=True)],
    variables=x,
    parameters=[*slopes, *shifts],
)
whole = x
for a, b, scale in zip(slopes, shifts, LAMBDAS, strict=False):
    whole = whole + scale * (a * whole + b)
alive = [term for term in affine.terms if term.value(x) != 0]
linear = residual_expansion(4, [a * x for a in slopes], variables=x, parameters=slopes)
derivation.step(
    r"Affine blocks: derivatives of order 2 vanish, so that only chains survive. A chain is a set "
    r"of layers that a path passes through, and there are $2^n$ of them. For $f_i = a_i x$ the "
    r"expansion is the product written out.",
    {"F(x)": prod(1 + scale * a for a, scale in zip(slopes, LAMBDAS, strict=False)) * x},
    check={
        "terms of four blocks that survive, with the skip path": (len(alive) + 1, 2**4),
        "all of them are chains": (all(len(v.children) <= 1 for t in alive for v in t.tree), True),
        "the product": (
            linear.expression(x),
            prod(1 + scale * a for a, scale in zip(slopes, LAMBDAS, strict=False)) * x,
        ),
        "with shifts, nothing is neglected from order 4 on": (affine.expression(x), whole),
    },
)

# %% [markdown]
# ## Rectifiers: gated paths

# %%
WEIGHTS = [sp.Matrix(2, 2, entries) for entries in ([1, -2, 3, 1], [-1, 2, 1, -3], [2, 1, -1, 1])]
START = sp.Matrix([1, -1]) / 3


def gate(state):
    return sp.diag(*(1 if entry > 0 else 0 for entry in state))


def rectified(scale):
    """The network itself, and the maps of its blocks with the gates that it meets."""
    state, maps = START, []
    for weight in WEIGHTS:
        maps.append(weight * gate(state))
        state = state + scale * maps[-1] * state
    return state, maps


def over_paths(scale, maps):
    paths = gated_path_sum("relu", 3, scales=scale)
    values = [path.value(maps, [], START) for length in paths for path in paths[length]]
    return sum(values, sp.zeros(2, 1))


def taylor_is_refused():
    try:
        residual_expansion(2, [Activation("relu")])
    except UnsupportedError as error:
        return "gated_path_sum" in str(error)
    return False


frozen = [weight * gate(START) for weight in WEIGHTS]
small, large = sp.Rational(1, 20), sp.Integer(2)
derivation.step(
    r"Rectifiers are not smooth. Wherever it exists, the Taylor form is that of the linear network "
    r"with the gates at the input; it ends to hold at the first gate that flips. With the gates "
    r"$D_i$ that the network meets on its way, $F(x) = \sum_S \prod_{i \in S} \lambda_i W_i D_i \, "
    r"x$ over all sets $S$ of layers is exact for every scale.",
    check={
        "the Taylor form is refused, and the error names the sum over gated paths": (
            taylor_is_refused(),
            True,
        ),
    }
    | {
        f"gated paths of three blocks exact at $\\lambda = {scale}$": (
            over_paths(scale, rectified(scale)[1]) == rectified(scale)[0],
            True,
        )
        for scale in (small, large)
    }
    | {
        f"with the gates at the input exact at $\\lambda = {scale}$": (
            over_paths(scale, frozen) == rectified(scale)[0],
            scale == small,
        )
        for scale in (small, large)
    },
)

# %% [markdown]
# ## The derivation as LaTeX

# %%
write_derivation([derivation, symbolic], folder / "dherin_2025.tex")
