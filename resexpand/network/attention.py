r"""Self-attention over the positions (tokens) of every input: which columns a column reads.

    y_ti = sum_s A^h_ts x_si,   A^h_t = softmax_s(L^h_ts),   L^h_ts = sum_{j in h} q_tj k_sj / d,

with queries and keys ``q = W_Q x``, ``k = W_K x`` (``W_K = W_Q``: tied) and h the head of neuron
i: ``H`` heads take ``d = N/H`` neurons each, in their order. Values and output are the `Linear`
behind, as ``Branch(LayerNorm(), Attention(1), Linear(1, 0), Linear(1, 0))``. Entries of the query
and key matrices have the variance ``s/N``. At infinite width, K the second moments of x,

    logits        tied  weights           second moments behind it
    L = qk/d      yes   L -> s K_ts       A K A^T with this deterministic A: any number of heads
    L = qk/d      no    L -> 0            the same with uniform A = 1/T (softmax alone)
    L = qk/d^1/2  no    Cov(L, L) =       heads -> infinity, without softmax (A = L):
                        s^2 K_{at,bt'}    s^2 K_{at,bt'} sum_{uv} K_{au,bv}^2, over the u <= t and
                        K_{au,bv}         v <= t' that a causal head reads; exact for any d

In the third a finite number of heads H leaves the kernel random, with a variance of order 1/H; and
with a softmax it has no closed form. Tied weights let logits ``qk/d^1/2`` diverge with N. These
are sampled, and their theory is refused.
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

HEADS = "heads="
"""Opens the word for the number of heads."""


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
        Number of heads, a divisor of the width; 1 by default. Infinitely many, the default of
        independent logits ``"1/sqrt(d)"`` without softmax, are sampled as one head per neuron.

    Raises
    ------
    DescriptionError
        If a parameter has no such value, or infinitely many heads are asked of other logits: the
        limits of the width and of the heads differ for them.

    Notes
    -----
    `sample` draws every one of them, with both samplers, exactly at every width. The theory is the
    limit of infinite width; `kernel` refuses what has none, or none in closed form: a finite number
    of heads with logits ``"1/sqrt(d)"``, their softmax, tied ones of them, and independent logits
    ``"1/d"`` without softmax, which vanish.

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
    heads: Any

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
        self.__dict__.update(
            logits=logits, tied=bool(own), softmax=bool(softmax), causal=bool(causal)
        )
        super().__init__(weight_variance)
        self.__dict__["heads"] = self._usual_heads if heads is None else self._checked(heads)

    @property
    def is_linear_process(self) -> bool:
        """Whether weights are the logits of independent queries and keys, over ``d^1/2``."""
        return self.logits != "1/d" and not (self.tied or self.softmax)

    @property
    def _usual_heads(self) -> Any:
        return sp.oo if self.is_linear_process else 1

    def _checked(self, heads: Any) -> Any:
        """Return a number of heads."""
        if heads in (sp.oo, float("inf")):
            if self.is_linear_process:
                return sp.oo
            raise DescriptionError(
                f"infinitely many heads in {self!r}",
                "the limit is taken of logits 1/sqrt(d) of independent queries and keys, without "
                "softmax",
                "give a whole number of heads",
            )
        whole = isinstance(heads, int | np.integer) and not isinstance(heads, bool)
        if not whole or heads < 1:
            raise DescriptionError(
                f"heads = {heads!r}", "it is no number of heads", "give a whole number, or sympy.oo"
            )
        return int(heads)

    def require_width(self, width: int) -> None:
        """Refuse heads that do not share the neurons.

        Raises
        ------
        DescriptionError
            If the number of heads does not divide that of the neurons.
        """
        if self.heads != sp.oo and width % self.heads:
            raise DescriptionError(
                f"{self.heads} heads of {width} neurons",
                "every head takes as many neurons",
                f"give a width that is a multiple of {self.heads}",
            )

    def require_limit(self) -> None:
        """Refuse what has no deterministic limit of infinite width, or none in closed form.

        Raises
        ------
        UnsupportedError
            If it has none.
        """
        asked, advice = f"the theory of {self!r}", "sample() takes it"
        if self.logits == "1/d":
            if not self.tied and not self.softmax:
                why = "the logits, hence the weights, vanish at infinite width"
                raise UnsupportedError(asked, why, f"use tied=True, or a softmax; {advice}")
        elif self.tied:
            why = "the logits of a token with itself grow as the square root of d"
            raise UnsupportedError(asked, why, f'use logits="1/d", or tied=False; {advice}')
        elif self.softmax:
            why = "the mean of a softmax of Gaussian logits has no closed form here"
            raise UnsupportedError(asked, why, f'use softmax=False, or logits="1/d"; {advice}')
        elif self.heads != sp.oo:
            why = "a finite number of heads leaves the kernel random at infinite width"
            raise UnsupportedError(asked, why, f"use heads=sympy.oo; {advice}")

    @property
    def structure(self) -> str:  # type: ignore[override]
        """The words for what is not the default, and the positions: ``causal on 16``."""
        said = (not self.softmax, self.causal, not self.tied, self.logits != "1/d")
        words = [word for word, applies in zip(WORDS, said, strict=True) if applies]
        words += [] if self.heads == self._usual_heads else [f"{HEADS}{self.heads}"]
        return " ".join([*words, *filter(None, [super().structure])])

    @classmethod
    def of_structure(cls, structure: str, values: tuple[Any, ...], **named: Any) -> Self:
        """Return the attention of a structure and its parameter."""
        words, positions = read_positions(structure)
        counts = [word.removeprefix(HEADS) for word in words if word.startswith(HEADS)]
        words = [word for word in words if not word.startswith(HEADS)]
        if len(counts) > 1 or not all(count.isdecimal() for count in counts):
            raise DescriptionError(f"{cls.kind}[{structure}]", "heads is a number", "give it once")
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
            heads=int(counts[0]) if counts else None,
            **named,
        )
        return op.placed(positions) if positions else op

    def gram(self, before: Array, at: Sequence[Array]) -> Array:
        """Return the second moments behind the attention."""
        blocks = _blocks(before, self.count)
        if self.logits != "1/d":
            return np.asarray(_spread(at[0]) ** 2 * _whole(blocks * self._summed(blocks**2)))
        weights = self._weights(blocks, at)
        return _whole(_sandwiched(weights, blocks, weights))

    def gram_moved(self, before: Array, moved: Array, at: Sequence[Array]) -> Array:
        """Return the derivative of `gram` along a change of the second moments."""
        blocks, steps = _blocks(before, self.count), _blocks(moved, self.count)
        if self.logits != "1/d":
            changes = 2 * self._summed(blocks * steps)
            total = steps * self._summed(blocks**2) + blocks * changes
            return np.asarray(_spread(at[0]) ** 2 * _whole(total))
        weights, change = self._weights(blocks, at), self._weights_moved(blocks, steps, at)
        return _whole(
            _sandwiched(change, blocks, weights)
            + _sandwiched(weights, steps, weights)
            + _sandwiched(weights, blocks, change)
        )

    def _summed(self, blocks: Array) -> Array:
        """Return sums over the tokens that two tokens read."""
        if self.causal:
            return np.asarray(blocks.cumsum(axis=-3).cumsum(axis=-1))
        return np.asarray(blocks.sum(axis=(-3, -1), keepdims=True))

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
        heads = self.__dict__.get("heads", self._usual_heads)
        text += "" if heads == self._usual_heads else f", heads={heads}"
        return f"{text})"


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
