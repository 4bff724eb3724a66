r"""`exact_moments`: mean and variance of ``G`` and ``C`` at every width as a recursion.

Averages are taken from the inside out: over the new weights at fixed ``(G, C)``, over what ``C``
holds of its own (`resexpand.theory.exact_moments.chain`), over the layer before. Only first and
second moments of ``(G, q)`` enter, ``q`` the second moment of the features the branch starts from.
The average ``E[G^l | h^{l-1}] = p G^{l-1} + const`` is linear, hence for ``m < l``

    Cov(G^l, G^m) = p^l p^{l-1} ... p^{m+1} Var G^m.
"""

from __future__ import annotations

import sympy as sp

from resexpand.conventions import K0, WIDTH
from resexpand.errors import HyperparameterError, UnsupportedError
from resexpand.gaussian.expectation import (
    GaussianExpectation,
    Nonlinearity,
    integration_variables,
    second_moment,
)
from resexpand.network.requirements import require_network, require_plain
from resexpand.network.resnet import ResNet
from resexpand.network.steps import Step
from resexpand.theory.exact_moments.chain import (
    FIRST,
    IDENTITY,
    BranchCovariance,
    PowerLaw,
    power_law,
    step_moments,
)
from resexpand.theory.hyperparameters import Hyperparameters
from resexpand.theory.kernel import activation_labels, laws_of
from resexpand.theory.recursion import Bindings, Output, Recursion

G = sp.Symbol("G", positive=True)
G_MEAN, G_VAR = sp.Symbol("G_mean", positive=True), sp.Symbol("G_var", nonnegative=True)
C = sp.Symbol("C", positive=True)
C_MEAN, C_VAR = sp.Symbol("C_mean", positive=True), sp.Symbol("C_var", nonnegative=True)
GC_COV = sp.Symbol("GC_cov", real=True)

Joint = dict[tuple[int, int], sp.Expr]
"""``E a^i b^j`` of two variables by ``(i, j)``, for ``i + j <= 2``."""

SOLVABLE = (
    "a branch that ends in a Linear, whose activations have squares that are powers on either side "
    "of zero (identity, relu, leaky_relu, sign, abs), the one on the stream itself the same on "
    "both sides; or one block whose first activation is any function"
)


def exact_moments(net: ResNet) -> Recursion:
    r"""Derive mean and variance at finite width, exactly, where the network can be solved.

    Parameters
    ----------
    net : ResNet
        The network; any hyperparameter may be symbolic. Weights and biases are Gaussian, and rows
        of :math:`h^0` are independent `N(0, K0)`, as `sample` draws them.

    Returns
    -------
    Recursion
        Evaluated with ``width=`` (or ``N=``) besides the usual hyperparameters. Outputs, for one
        input: ``G_mean`` and ``G_var`` of :math:`G^l = |h^l|^2/N` at the layers ``0 .. L``;
        ``G_cov``, entries `[l, m]`, the covariance of :math:`G^l` and :math:`G^m`; ``C_mean`` and
        ``C_var`` of the covariance of the last `Linear` of a block, layers ``1 .. L + 1`` (the last
        entry belongs to the read-out if the network has one); ``kurtosis``, the excess kurtosis
        ``3 Var C / (E C)^2`` of one component of that `Linear`. For a network that is solvable for
        one block only, ``C_mean``, ``C_var`` and ``kurtosis`` are numbers and belong to that block.
        Nothing is neglected.

    Raises
    ------
    DescriptionError
        If `net` is no network.
    UnsupportedError
        If the moments of the network are not closed.
    HyperparameterError
        If a symbol of the network is called like a quantity of the formulas.

    Examples
    --------
    >>> from resexpand import Branch, Linear, ResNet, evaluate, exact_moments
    >>> net = ResNet(Branch(Linear(1, 0)), scale=1, depth=1)
    >>> evaluate(exact_moments(net), K0=1.0, width=8)["G_var"]
    array([0.25, 4.75])
    """
    require_network(net, "exact moments")
    _check_symbols(net)
    if net.layers is not None:
        raise _unsolvable(
            net,
            f"with layers={net.layers!r} a block multiplies by weights that the stream has met "
            "before, so that every moment needs one of more factors: sample() it, or take "
            "independent layers",
        )
    require_plain(net, "the exact moments")
    if not net.branch.is_gaussian:
        raise _unsolvable(net, "the branch ends in an activation: its rows are not Gaussian")
    hyper = Hyperparameters(net)
    scale, chain = hyper.scale(), BranchCovariance(net, hyper)
    covariance = chain.last()
    if covariance is None:
        raise _unsolvable(
            net, "an activation inside the branch makes C a function of G that is no polynomial"
        )
    law = _law_of_stream(net.branch.opening)
    if law is None and net.depth != 1:
        raise _unsolvable(net, "C depends on more of the layer before than the length of h")
    joint = _of_first_layer(net) if law is None else _of_stream(law)
    definitions = _covariances(chain, covariance, joint)
    hyper.input_kernel((K0,))
    hyper.bindings[WIDTH] = WIDTH
    outputs = (*_of_kernel(scale, definitions), *_of_covariance(net, hyper, law, joint))
    return Recursion(
        title="exact moments",
        net=net,
        inputs=1,
        state=(G_MEAN, G_VAR),
        initial=(K0, 2 * K0**2 / WIDTH),
        update=_update(scale),
        definitions=definitions,
        outputs=outputs,
        bindings=tuple(hyper.bindings.items()),
        layer_bindings=tuple(hyper.layer_bindings.items()),
        laws=laws_of(net),
        neglects="",
    )


def _check_symbols(net: ResNet) -> None:
    """Refuse symbols of the network whose names the formulas need for themselves."""
    own = {s.name for s in (WIDTH, G, G_MEAN, G_VAR, C_MEAN, C_VAR, GC_COV)} | {"width"}
    for symbol in sorted(net.free_symbols, key=sp.default_sort_key):
        if symbol.name in own:
            raise HyperparameterError(
                f"a hyperparameter called {symbol.name}",
                "the exact moments use this name for a quantity of their own",
                f"rename it, for instance {symbol.name}_value",
            )


def _unsolvable(net: ResNet, why: str) -> UnsupportedError:
    blocks = f"{net.depth} blocks of {net.branch!r}"
    return UnsupportedError(f"exact moments of {blocks}", why, f"solvable are {SOLVABLE}")


def _law_of_stream(maps: tuple[Step, ...]) -> PowerLaw | None:
    """Return the law of what a `Linear` behind these maps acts on, if a function of ``G``."""
    found = power_law(maps[0].op.law) if maps else IDENTITY
    return found if found is not None and found.is_even else None


def _of_stream(law: PowerLaw) -> Joint:
    """Return the moments of ``(G, q)`` for ``q = s G^d``."""
    first = law.right * (G_MEAN if law.degree else sp.Integer(1))
    spread = law.right * (G_VAR if law.degree else sp.Integer(0))
    return _joint((G_MEAN, first), (G_VAR, spread, law.right * spread))


def _of_first_layer(net: ResNet) -> Joint:
    """Return the moments of ``(G, q)`` where the neurons are independent: at layer 0."""
    label = activation_labels(net)[0]
    (x,) = integration_variables(1)
    square = second_moment(label, K0)
    fourth = GaussianExpectation(Nonlinearity(label, 0, x) ** 4, (x,), (K0,))
    # Cov(x^2, phi^2) = 2 K^2 d<phi^2>/dK by Price's theorem, and Var G is 2 K^2 / N.
    crossed = G_VAR * square.diff(K0)
    return _joint((G_MEAN, square), (G_VAR, crossed, (fourth - square**2) / WIDTH))


def _joint(means: tuple[sp.Expr, sp.Expr], covariances: tuple[sp.Expr, sp.Expr, sp.Expr]) -> Joint:
    """Return the moments of two variables from means and covariances (11, 12, 22)."""
    (a, b), (aa, ab, bb) = means, covariances
    one = sp.Integer(1)
    second = {(2, 0): aa + a**2, (1, 1): ab + a * b, (0, 2): bb + b**2}
    return {(0, 0): one, (1, 0): a, (0, 1): b, **second}


def _over(polynomial: sp.Expr, variables: tuple[sp.Symbol, sp.Symbol], joint: Joint) -> sp.Expr:
    """Average a polynomial of two variables over their joint law."""
    terms = sp.Poly(polynomial, *variables).terms()
    return sp.expand(sum((c * joint[powers] for powers, c in terms), sp.Integer(0)))


def _covariances(chain: BranchCovariance, covariance: sp.Expr, joint: Joint) -> Bindings:
    """Return mean and variance of ``C``, and its covariance with ``G``."""
    first, second, crossed = (
        _over(chain.averaged(power), (G, FIRST), joint)
        for power in (covariance, covariance**2, G * covariance)
    )
    spread = sp.expand(second - first**2)
    return (
        (C_MEAN, first),
        (C_VAR, sp.collect(spread, 1 / WIDTH)),
        (GC_COV, sp.expand(crossed - joint[1, 0] * first)),
    )


def _update(scale: sp.Symbol) -> tuple[sp.Expr, sp.Expr]:
    """Return mean and variance of the next ``G`` from those of ``G`` and ``C``."""
    joint = _joint((G_MEAN, C_MEAN), (G_VAR, GC_COV, C_VAR))
    first, second = (_over(m, (G, C), joint) for m in step_moments(G, C, scale))
    return first, sp.collect(sp.expand(second - first**2), 1 / WIDTH)


def _of_kernel(scale: sp.Symbol, definitions: Bindings) -> tuple[Output, ...]:
    """Return what is read off about ``G``."""
    # Cov(G, C) is proportional to Var G: what a deviation of G adds to C on average.
    growth = sp.ImmutableMatrix([[1 + scale**2 * dict(definitions)[GC_COV].diff(G_VAR)]])
    number = (sp.Integer(0), sp.Integer(0))
    return (
        Output("G_mean", "trajectory", (G_MEAN,), meaning="mean of |h|^2 / N"),
        Output("G_var", "trajectory", (G_VAR,), meaning="variance of |h|^2 / N"),
        Output(
            "G_cov",
            "propagator",
            number,
            matrix=growth,
            diagonal=G_VAR,
            meaning="covariance of |h|^2 / N at two layers",
        ),
    )


def _of_covariance(
    net: ResNet, hyper: Hyperparameters, law: PowerLaw | None, joint: Joint
) -> tuple[Output, ...]:
    """Return what is read off about ``C``: of all layers, or of the one block there is."""
    entries = {"C_mean": C_MEAN, "C_var": C_VAR}
    ends = dict(entries)
    if law is not None and net.read_out is not None:
        weight, bias = hyper.variances(net.read_out, "_out")
        read = _law_of_stream(net.head)
        if read is None:
            raise _unsolvable(net, "the read-out reads more of h than its length")
        of_read_out = _of_stream(read)
        mean, square = of_read_out[0, 1], of_read_out[0, 2]
        spread = weight**2 * sp.expand(square - mean**2)
        ends = {"C_mean": weight * mean + bias, "C_var": spread}
    for each in (entries, ends):
        each["kurtosis"] = 3 * each["C_var"] / each["C_mean"] ** 2
    meanings = ("mean of C", "variance of C", "excess kurtosis of a component of the last Linear")
    return tuple(
        Output(name, "final", (entries[name],), meaning=meaning)
        if law is None
        else Output(name, "layer", (entries[name],), at_end=(ends[name],), meaning=meaning)
        for name, meaning in zip(entries, meanings, strict=True)
    )
