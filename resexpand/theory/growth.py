r"""Growth of the stream in closed form, and the residual scale that a normalisation amounts to.

Where the kernel of one input obeys a linear recursion, ``K^l = a K^{l-1} + d``, it is solved:

    a = 1     K^l = K^0 + l d              pre-norm with eps = 0: d = rho^2 C, C the same at all K
    a != 1    K^l = a^l K^0 + d (a^l - 1)/(a - 1)           no norm, relu or identity
    a = 0     K^l = d for l >= 1                            post-norm with eps = 0

The share of block l is the part of ``K^l`` that its branch added. The gradient of an output y has
the second moment ``P^l = |dy/dh^l|^2``, which a block multiplies by the factor ``t`` of the tangent
response (`resexpand.theory.gradients`); with ``t = 1 + g / K^{l-1}`` and ``K^l = K^0 + l d``,

    P^l / P^L = Gamma(k + L + g/d) Gamma(k + l) / (Gamma(k + L) Gamma(k + l + g/d)),   k = K^0 / d.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import sympy as sp

from resexpand.conventions import K0, K
from resexpand.errors import UnsupportedError
from resexpand.expressions.notebook import in_notebook
from resexpand.expressions.shown import Card, Shown
from resexpand.network.requirements import require_independent_layers, require_network
from resexpand.network.resnet import Branch, ResNet
from resexpand.references import REFERENCES, Citation
from resexpand.theory.batch_gradients import SIZE
from resexpand.theory.batch_growth import batch_growth
from resexpand.theory.batch_growth import start as batch_start
from resexpand.theory.closure import close_elementary
from resexpand.theory.coins import VARIANCE
from resexpand.theory.formula import Formula
from resexpand.theory.hyperparameters import Hyperparameters
from resexpand.theory.kernel import Chain, kernel, stream_of
from resexpand.theory.noise import averaged
from resexpand.theory.notation import Written
from resexpand.theory.recursion import Output, Recursion
from resexpand.theory.response import response

LAYER = sp.Symbol("l", integer=True, nonnegative=True)
SCALE = sp.Symbol("rho_eff", positive=True)
LETTERS = {
    "kernel": "K^{l}",
    "share": r"\mathrm{share}^{l}",
    "mean_share": r"\overline{\mathrm{share}}",
    "scale": r"\rho_{\mathrm{eff}}^{l}",
    "gradient": "P^{l} / P^{L}",
    "radius": r"\lambda_{\max}",
    "batch_variance": "v^{l}",
    "large_batch": r"v^{l}_{B \to \infty}",
    "batch_share": r"\mathrm{share}_{v}^{l}",
}


@dataclass(frozen=True, repr=False)
class Growth(Shown):
    """Closed laws over the layers of a network, functions of ``l``; None where there is none.

    Attributes
    ----------
    kernel : Formula
        ``K^l``; of a normalised stream for ``l >= 1``. With stochastic depth its mean over coins.
    share : Formula or None
        ``(K^l - skip^2 K^{l-1}) / K^l`` for ``l >= 1``.
    mean_share : Formula or None
        Its mean over the blocks.
    scale : Formula or None
        Residual scale of block l without its normalisations (`implied_scale`).
    gradient : Formula or None
        ``P^l / P^L``; of a normalised stream for ``l >= 1``. None with stochastic depth.
    radius : Formula or None
        Bound of the radius of convergence of the series in a factor lambda beside the residual
        scale, if branches begin with a normalisation: the variance in front of the last,
        ``K^0 + lambda^2 (K^{L-1} - K^0)``, is zero there, and its inverse root has a branch point.
    batch_variance : Formula or None
        With BatchNorm: biased variance over a batch of B inputs, averaged over the weights. The
        formula `kernel` is that of their second moment.
    large_batch : Formula or None
        The same for ``B -> oo``.
    batch_share : Formula or None
        Part of the batch variance that block l added.
    """

    kernel: Formula
    share: Formula | None = None
    mean_share: Formula | None = None
    scale: Formula | None = None
    gradient: Formula | None = None
    radius: Formula | None = None
    batch_variance: Formula | None = None
    large_batch: Formula | None = None
    batch_share: Formula | None = None

    def __iter__(self) -> Iterator[Formula]:
        """Iterate over the laws that there are, as printers take them."""
        return (f for field in fields(self) if (f := getattr(self, field.name)) is not None)

    def card(self) -> Card:
        """Return what it says about itself."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        laws = tuple((name, str(f.rhs)) for name, f in named.items() if f is not None)
        return Card("Growth: laws over the layers l", laws)

    def _repr_latex_(self) -> str:
        return in_notebook(self)


def growth(net: ResNet) -> Growth:
    """Solve the kernel recursion of one input where it is linear.

    Parameters
    ----------
    net : ResNet
        Blocks of one kind and one scale; depth and any other parameter may be symbolic. Of circular
        convolutions the laws are those of one position, for inputs whose positions have one
        variance. With BatchNorm, which everything in front of an activation of two slopes follows,
        the second moment and the variance over the batch have laws of their own.

    Returns
    -------
    Growth
        Formulas in ``l`` (and the depth) that print, differentiate and evaluate. Exact at infinite
        width; for ``LayerNorm`` or ``RMSNorm`` with eps = 0 in front of identity and a `Linear`
        the kernel is the mean at every width.

    Raises
    ------
    UnsupportedError
        If blocks differ, or the recursion is not linear.

    Examples
    --------
    >>> from resexpand import Activation, Branch, LayerNorm, Linear, ResNet, growth
    >>> net = ResNet(Branch(LayerNorm(), Activation("relu"), Linear(2, 0)), scale=1, depth=9)
    >>> growth(net).kernel.rhs, growth(net).share.rhs
    (K0 + l, 1/(K0 + l))
    """
    require_network(net, "the growth")
    if any(op.over == "batch" for branch in net.kinds for op in branch.maps):
        return _of_batch(net)
    net = net.at_equal_positions() if net.positions else net
    require_independent_layers(net, "the growth in closed form")
    base = kernel(net)
    if base.layer_bindings or not {*base.state} <= {K, VARIANCE}:
        raise _not_linear(net, "its blocks differ" if base.layer_bindings else "it has a mean")
    step = sp.expand(_closed(base, base.flat_update[0]))
    factor = sp.simplify(step.diff(K))
    if factor.has(K):
        raise _not_linear(net, "a block adds what is no linear function of it")
    added = sp.simplify(step - factor * K)
    law = _law(factor, added)
    left, meaning = Written(LETTERS["kernel"]), "covariance kernel of layer $l$"
    formula = Formula("kernel", left, law, meaning, "O(1/N)", base.citations, base.laws)
    before = law.xreplace({LAYER: LAYER - 1})
    skip = _closed(base, Hyperparameters(net, dict(base.bindings)).skip())
    share = None if net.post else sp.simplify((law - skip**2 * before) / law)
    return Growth(
        formula,
        _named(formula, "share", share, "part of the kernel that block $l$ added"),
        _mean_share(formula, factor, added, net),
        _scale(formula, net, before),
        None if VARIANCE in base.state else _gradient(formula, net, (factor, added)),
        _radius(formula, net, factor, added),
    )


def _of_batch(net: ResNet) -> Growth:
    """Return the laws of a normalised batch."""
    require_independent_layers(net, "the growth in closed form")
    base, added = batch_growth(net)
    own, apart = batch_start()
    law, spread = own + LAYER * added["moment"], apart + LAYER * added["variance"]
    left = Written(LETTERS["kernel"])
    meaning = "second moment of an input of the batch at layer $l$"
    of = Formula("kernel", left, law, meaning, "O(1/N)", base.citations, base.laws)
    variance = (1 - 1 / SIZE) * spread
    before = variance.xreplace({LAYER: LAYER - 1})
    what = "biased variance over the batch"
    wide = apart + LAYER * added["large variance"]
    return Growth(
        of,
        _named(
            of, "share", added["moment"] / law, "part of the second moment that block $l$ added"
        ),
        scale=_named(of, "scale", added["rho"] / sp.sqrt(before), "residual scale of block $l$"),
        batch_variance=_named(of, "batch_variance", variance, what),
        large_batch=_named(of, "large_batch", wide, f"{what}, large B"),
        batch_share=_named(
            of, "batch_share", added["variance"] / spread, "part of the batch variance of block $l$"
        ),
    )


def _not_linear(net: ResNet, why: str) -> UnsupportedError:
    return UnsupportedError(
        f"the growth of {net!r} in closed form",
        f"the kernel obeys no linear recursion: {why}",
        "evaluate(kernel(net)) and evaluate(implied_scale(net)) give it layer by layer",
    )


def _closed(base: Recursion, expression: sp.Expr) -> sp.Expr:
    """Return an expression of the state with the values of the network."""
    at = {symbol: value for symbol, value in base.bindings if symbol != value}
    return close_elementary(base.flat(expression).xreplace(at), base.laws)


def _law(factor: sp.Expr, added: sp.Expr) -> sp.Expr:
    if factor == 1:
        return K0 + LAYER * added
    if factor == 0:
        return added
    return factor**LAYER * K0 + added * (factor**LAYER - 1) / (factor - 1)


def _named(of: Formula, name: str, rhs: sp.Expr | None, meaning: str) -> Formula | None:
    if rhs is None:
        return None
    return replace(of, name=name, lhs=Written(LETTERS[name]), rhs=rhs, meaning=meaning)


def _mean_share(of: Formula, factor: sp.Expr, added: sp.Expr, net: ResNet) -> Formula | None:
    if factor != 1 or net.post or net.skip != 1:
        return None
    start, depth = K0 / added, net.depth
    mean = (sp.digamma(depth + start + 1) - sp.digamma(start + 1)) / depth
    return _named(of, "mean_share", mean, "mean share of the blocks")


def _scale(of: Formula, net: ResNet, before: sp.Expr) -> Formula | None:
    if not any(step.normalises for step in net.branch.steps):
        return None
    implied = implied_scale(net)
    value = _closed(implied, implied.output("scale").entries[0]).xreplace({K: before})
    return _named(of, "scale", sp.simplify(value), "residual scale without the normalisation")


def _gradient(of: Formula, net: ResNet, linear: tuple[sp.Expr, sp.Expr]) -> Formula | None:
    tangent = response(net, "tangent")
    matrix = tangent.output("chi").matrix
    step = sp.simplify(_closed(tangent, matrix[0, 0])) if matrix is not None else K
    factor, added = linear
    if factor == 0:
        step = step.xreplace({K: added})
    excess = sp.simplify(K * (step - 1))
    if not step.has(K):
        value = step ** (net.depth - LAYER)
    elif factor == 1 and sp.simplify(excess - added) == 0:
        value = (K0 + net.depth * added) / (K0 + LAYER * added)
    elif factor == 1 and not excess.has(K):
        start, power = K0 / added, excess / added
        last, here = start + net.depth, start + LAYER
        value = sp.gamma(last + power) * sp.gamma(here) / (sp.gamma(last) * sp.gamma(here + power))
    else:
        return None
    meaning = "second moment of the gradient at layer $l$ over that at the last layer"
    if net.post or any(step.normalises for step in net.branch.steps):
        of = replace(of, citations=(*of.citations, Citation(REFERENCES["xiong2020"])))
    return _named(of, "gradient", value, meaning)


def _radius(of: Formula, net: ResNet, factor: sp.Expr, added: sp.Expr) -> Formula | None:
    opening = net.branch.opening
    sums = factor == 1 and not net.post and net.skip == 1 and not any(s.op.noise for s in opening)
    if not (sums and opening and opening[0].normalises) or net.depth == 1 or added == 0:
        return None
    value = sp.sqrt(K0 / ((net.depth - 1) * added))
    return _named(of, "radius", value, "bound of the radius of convergence in a factor of rho")


def implied_scale(net: ResNet) -> Recursion:
    r"""Derive the residual scale that the normalisations of a branch amount to.

    With g the branch and f the branch without its normalisations, the block ``h + s f(h)`` adds as
    much as ``h + rho g(h)`` at ``s = rho sqrt(E |g|^2 / E |f|^2)``, both at the kernel in front of
    the block. For relu or identity without biases the two blocks are the same, and
    ``s = rho / sqrt(K^{l-1} + eps)`` where the branch begins with the norm.

    Parameters
    ----------
    net : ResNet
        Its branches hold a `LayerNorm` or `RMSNorm`; anything may be symbolic.

    Returns
    -------
    Recursion
        Outputs ``scale`` (blocks ``1 .. L + 1``; the last belongs to the block that would come
        next) and the kernel ``K``. Exact at infinite width.

    Raises
    ------
    UnsupportedError
        If no branch has a normalisation.

    References
    ----------
    De & Smith (2020), section 3, for the idea.

    Examples
    --------
    >>> from resexpand import Activation, Branch, LayerNorm, Linear, ResNet
    >>> from resexpand import evaluate, implied_scale
    >>> net = ResNet(Branch(LayerNorm(), Activation("relu"), Linear(2, 0)), scale=1, depth=3)
    >>> evaluate(implied_scale(net), K0=1.0)["scale"]
    array([1.        , 0.70710678, 0.57735027, 0.5       ])
    """
    require_network(net, "the implied scale")
    net = net.at_equal_positions() if net.positions else net
    if not any(step.normalises for branch in net.kinds for step in branch.steps):
        raise UnsupportedError(
            f"the implied scale of {net!r}",
            "no branch has a normalisation, so its scale is rho",
            "give a branch with LayerNorm() or RMSNorm()",
        )
    base = kernel(net)
    hyper = Hyperparameters(net, dict(base.bindings), dict(base.layer_bindings))
    bare = [Branch(*(s.op for s in branch.steps if not s.normalises)) for branch in net.kinds]
    free = ResNet(bare, scale=net.scale, depth=net.depth)
    squares = [_square(each, hyper, base) for each in (net, free)]
    scale = hyper.scale() * sp.sqrt(squares[0] / squares[1])
    return replace(
        base,
        title="implied residual scale",
        definitions=(*base.definitions, (SCALE, scale)),
        outputs=(_output(net, hyper, scale), base.output("K")),
        bindings=tuple(hyper.bindings.items()),
        layer_bindings=tuple(hyper.layer_bindings.items()),
    )


def _square(net: ResNet, hyper: Hyperparameters, base: Recursion) -> sp.Expr:
    """Return the second moment of what the branch of a block makes of the stream."""
    chain = Chain(net, hyper)
    branch = chain.through_block(stream_of(base))
    moment = averaged(branch.moments[0], branch.coins)
    for symbol, value in reversed(chain.definitions):
        moment = moment.xreplace({symbol: value})
    return moment


def _output(net: ResNet, hyper: Hyperparameters, scale: sp.Expr) -> Output:
    """Return the output; the block that would come next repeats one of the cycle."""
    listed = hyper.layer_bindings.items()
    following = {s: v[len(v) % len(net.kinds) if len(net.kinds) > 1 else -1] for s, v in listed}
    return Output(
        "scale",
        "layer",
        (SCALE,),
        at_end=(scale.xreplace(following) if following else SCALE,),
        meaning="residual scale of block l without its normalisations",
    )
