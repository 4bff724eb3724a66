r"""Self-attention over the positions (tokens) of every input: which columns a column reads.

    y_t = sum_s A_ts x_s,        A_t = softmax_s(L_ts),        L_ts = (W_Q x_t) . (W_K x_s) / d,

without values and output: these are the `Linear` behind, as ``Branch(LayerNorm(), Attention(1),
Linear(1, 0), Linear(1, 0))``. Entries of the query and key matrices have the variance ``s/N``.
At infinite width, K the second moments of x,

    logits        tied  weights           second moments behind it
    L = qk/d      yes   L -> s K_ts       A K A^T with this deterministic A: any number of heads
    L = qk/d      no    L -> 0            the same with uniform A = 1/T (softmax alone)
    L = qk/d^1/2  no    Gaussian L        heads -> infinity, without softmax (A = L):
                                          s^2 K_{at,bt'} sum_{uv} K_{au,bv}^2, from Cov(L, L) =
                                          s^2 K_{at,bt'} K_{au,bv}

The first two are limits of one head. In the third a finite number of heads H leaves the kernel
random, with a variance of order 1/H; and with a softmax it has no closed form. Tied weights
let logits ``qk/d^1/2`` diverge with N. What has no such limit is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import sympy as sp

from resexpand.errors import DescriptionError, UnsupportedError
from resexpand.network.operation import Map, Parameter, X
from resexpand.network.positions import Array, OverPositions, read_positions

LOGIT_VARIANCE = sp.Symbol("sigma_k2", nonnegative=True)
MIXED = sp.Symbol("mixed", real=True)
LOGITS = ("1/d", "1/sqrt(d)")
WORDS = ("identity", "causal", "independent", "sqrt")
"""Words of a structure for what is not the default."""


class Attention(OverPositions, Map):
    """Self-attention over the positions of every input; `Linear` behind it are values and output.

    Parameters
    ----------
    weight_variance : number or sympy.Expr, optional
        Variance ``s`` of an entry of the query and key matrices, times N; 1 by default.
    logits : {"1/d", "1/sqrt(d)"}, optional
        Scale of the products of queries and keys.
    tied : bool, optional
        Whether queries and keys have one matrix. By default as ``logits="1/d"`` needs it: tied.
    softmax : bool, optional
        Whether the weights are a softmax of the logits (by default), or the logits themselves.
    causal : bool, optional
        Whether a token reads itself and those before it alone.
    heads : int or sympy.oo, optional
        Number of heads. With ``logits="1/d"`` all heads agree at infinite width, and 1 is sampled.
        ``"1/sqrt(d)"`` is known for infinitely many.

    Raises
    ------
    DescriptionError
        If a parameter has no such value.
    UnsupportedError
        If the combination has no deterministic limit, or none in closed form: a softmax of logits
        ``"1/sqrt(d)"`` or a finite number of their heads, tied ones of them, causal ones of them,
        and independent logits ``"1/d"`` without softmax, which vanish.

    Notes
    -----
    `sample` draws tied logits ``"1/d"`` with one head of N neurons, exactly at every width; the
    theory is the limit of infinite width.

    References
    ----------
    Hron et al. (2020) for infinitely many heads; derived here otherwise.

    Examples
    --------
    Tokens that are orthogonal attend with the weights ``e/(e + 1)`` and ``1/(e + 1)``:

    >>> import numpy as np
    >>> from resexpand import Attention, Branch, Linear, ResNet, evaluate, kernel
    >>> net = ResNet(Branch(Attention(1), Linear(1, 0)), scale=1, depth=1, skip=0, positions=2)
    >>> evaluate(kernel(net, inputs="positions"), K0=np.eye(2))["K"][1].round(4)
    array([[0.6068, 0.3932],
           [0.3932, 0.6068]])
    """

    kind = "Attention"
    parameters = (Parameter(LOGIT_VARIANCE, "weight_variance", minimum=0, default=1),)
    averages = ((MIXED, X),)
    expression = MIXED
    attends: ClassVar[bool] = True
    softmax: bool
    causal: bool
    tied: bool
    logits: str

    def __init__(
        self,
        weight_variance: Any = 1,
        *,
        logits: str = "1/d",
        tied: bool | None = None,
        softmax: bool = True,
        causal: bool = False,
        heads: Any = None,
    ):
        if logits not in LOGITS:
            raise DescriptionError(f"logits = {logits!r}", "there are none", f"use one of {LOGITS}")
        own = logits == "1/d" if tied is None else tied
        for name, value in (("tied", own), ("softmax", softmax), ("causal", causal)):
            if not isinstance(value, bool | np.bool_):
                raise DescriptionError(f"{name} = {value!r}", "it is no truth value", "use True")
        _check_heads(heads, logits)
        _check_limit(logits, bool(own), bool(softmax), bool(causal))
        self.__dict__.update(
            logits=logits, tied=bool(own), softmax=bool(softmax), causal=bool(causal)
        )
        self.__dict__["is_limit"] = not own
        super().__init__(weight_variance)

    @property
    def structure(self) -> str:  # type: ignore[override]
        """The words for what is not the default, and the positions: ``causal on 16``."""
        said = (not self.softmax, self.causal, not self.tied, self.logits != "1/d")
        words = [word for word, applies in zip(WORDS, said, strict=True) if applies]
        return " ".join([*words, *filter(None, [super().structure])])

    @classmethod
    def of_structure(cls, structure: str, values: tuple[Any, ...], **named: Any) -> Self:
        """Return the attention of a structure and its parameter."""
        words, positions = read_positions(structure)
        if unknown := [word for word in words if word not in WORDS]:
            raise DescriptionError(
                f"Attention[{structure}]", f"{unknown[0]} says nothing", f"use {', '.join(WORDS)}"
            )
        said = {word: word in words for word in WORDS}
        op = cls(
            *values[:1],
            logits=LOGITS[said["sqrt"]],
            tied=not said["independent"],
            softmax=not said["identity"],
            causal=said["causal"],
            **named,
        )
        return op.placed(positions) if positions else op

    def gram(self, before: Array, at: Sequence[Array]) -> Array:
        """Return the second moments behind the attention."""
        blocks = _blocks(before, self.count)
        if self.logits != "1/d":
            squares = (blocks**2).sum(axis=(-3, -1), keepdims=True)
            return np.asarray(_spread(at[0]) ** 2 * _whole(blocks * squares))
        weights = self._weights(blocks, at)
        return _whole(_sandwiched(weights, blocks, weights))

    def gram_moved(self, before: Array, moved: Array, at: Sequence[Array]) -> Array:
        """Return the derivative of `gram` along a change of the second moments."""
        blocks, steps = _blocks(before, self.count), _blocks(moved, self.count)
        if self.logits != "1/d":
            squares = (blocks**2).sum(axis=(-3, -1), keepdims=True)
            changes = 2 * (blocks * steps).sum(axis=(-3, -1), keepdims=True)
            total = steps * squares + blocks * changes
            return np.asarray(_spread(at[0]) ** 2 * _whole(total))
        weights, change = self._weights(blocks, at), self._weights_moved(blocks, steps, at)
        return _whole(
            _sandwiched(change, blocks, weights)
            + _sandwiched(weights, steps, weights)
            + _sandwiched(weights, blocks, change)
        )

    def _weights(self, blocks: Array, at: Sequence[Array]) -> Array:
        """Return the weights of every input, shape (..., D, T, T)."""
        logits = _own(blocks) * (_spread(at[0])[..., None] if self.tied else 0.0)
        seen = np.tri(self.count, dtype=bool) if self.causal else True
        if not self.softmax:
            return np.where(seen, logits, 0.0)
        logits = np.where(seen, logits, -np.inf)
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True))

    def _weights_moved(self, blocks: Array, steps: Array, at: Sequence[Array]) -> Array:
        """Return the derivative of the weights."""
        logits = _own(steps) * (_spread(at[0])[..., None] if self.tied else 0.0)
        if not self.softmax:
            return np.where(np.tri(self.count, dtype=bool), logits, 0.0) if self.causal else logits
        weights = self._weights(blocks, at)
        mean = (weights * logits).sum(axis=-1, keepdims=True)
        return np.asarray(weights * (logits - mean))

    @property
    def latex(self) -> str:
        """Return the LaTeX of the weighted sum that a token reads."""
        product = r"(W_{Q} x_{t}) \cdot (W_{K} x_{s})"
        if self.tied:
            product = r"(W_{K} x_{t}) \cdot (W_{K} x_{s})"
        weights = rf"{product} / {'d' if self.logits == '1/d' else 'd^{1/2}'}"
        if self.softmax:
            weights = rf"\operatorname{{softmax}}_{{s}}\left( {weights} \right)"
        seen = r" \le t" if self.causal else ""
        return rf"\sum_{{s{seen}}} {weights} \, x_{{s}}"

    def __repr__(self) -> str:
        text = f"Attention(weight_variance={self.values[0]}"
        text += "" if self.logits == "1/d" else f", logits={self.logits!r}"
        text += "" if self.tied == (self.logits == "1/d") else f", tied={self.tied}"
        text += "" if self.softmax else ", softmax=False"
        text += ", causal=True" if self.causal else ""
        return f"{text})"


def _check_heads(heads: Any, logits: str) -> None:
    infinite = heads in (sp.oo, float("inf"))
    whole = isinstance(heads, int | np.integer) and not isinstance(heads, bool) and heads > 0
    if heads is not None and not (infinite or whole):
        raise DescriptionError(
            f"heads = {heads!r}", "it is no number of heads", "give a whole number, or sympy.oo"
        )
    if logits != "1/d" and whole:
        raise UnsupportedError(
            f"{heads} heads with logits 1/sqrt(d)",
            "a finite number of them leaves the kernel random at infinite width",
            'use heads=sympy.oo, or logits="1/d"',
        )
    if logits == "1/d" and whole and heads > 1:
        raise UnsupportedError(
            f"{heads} heads with logits 1/d",
            "at infinite width all heads agree, and finite networks are known with one",
            "leave heads out",
        )


def _check_limit(logits: str, tied: bool, softmax: bool, causal: bool) -> None:
    asked = f"attention with {'tied' if tied else 'independent'} logits {logits}"
    if logits == "1/d":
        if not tied and not softmax:
            why = "without a softmax: the logits, hence the weights, vanish at infinite width"
            raise UnsupportedError(asked, why, "use tied=True, or a softmax")
        return
    if tied:
        why = "the logits of a token with itself grow as the square root of d"
        raise UnsupportedError(asked, why, 'use logits="1/d", or tied=False')
    if softmax or causal:
        why = "what a softmax makes of Gaussian logits" if softmax else "the causal sum"
        raise UnsupportedError(
            asked,
            f"{why} has no closed form here",
            'use softmax=False, causal=False, or logits="1/d"',
        )


def _spread(value: Array) -> Array:
    """Return numbers over a grid so that they multiply matrices over it."""
    return np.asarray(value)[..., None, None]


def _blocks(gram: Array, count: int) -> Array:
    """Return a Gram matrix by inputs and tokens, shape (..., D, T, D, T)."""
    inputs = gram.shape[-1] // count
    return gram.reshape(*gram.shape[:-2], inputs, count, inputs, count)


def _whole(blocks: Array) -> Array:
    size = blocks.shape[-1] * blocks.shape[-2]
    return np.asarray(blocks.reshape(*blocks.shape[:-4], size, size))


def _own(blocks: Array) -> Array:
    """Return the block of every input with itself, shape (..., D, T, T)."""
    return np.asarray(np.einsum("...atas->...ats", blocks))


def _sandwiched(left: Array, blocks: Array, right: Array) -> Array:
    """Return ``A_a K_ab B_b^T`` for all inputs a and b."""
    found = np.einsum("...atu,...aubv,...bsv->...atbs", left, blocks, right, optimize=True)
    return np.asarray(found)
