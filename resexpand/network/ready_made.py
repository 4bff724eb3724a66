r"""Ready-made descriptions: blocks of a multilayer perceptron and of a transformer, as data.

    mlp      h^l = h^{l-1} + rho (V^l phi(W^l h^{l-1} + b_W) + b_V)
    pre_ln   h^l = h^{l-1} + rho (V^l phi(W^l norm(h^{l-1}) + b_W) + b_V)
    post_ln  h^l = norm(alpha h^{l-1} + rho (V^l phi(W^l h^{l-1} + b_W) + b_V))

Each is a `ResNet` like any other; what it leaves open can be changed by describing it in full. With
``attention=Attention(...)`` blocks of attention, ``U^l W_V^l attention(...)``, alternate with those
of `pre_ln` and `post_ln`, as in a transformer.
"""

from __future__ import annotations

from typing import Any

from resexpand.errors import DescriptionError
from resexpand.network.activation import Activation
from resexpand.network.branch import Branch
from resexpand.network.layer_norm import LayerNorm
from resexpand.network.linear import Linear
from resexpand.network.operation import Map, Operation
from resexpand.network.resnet import ResNet


def mlp(
    depth: Any,
    *,
    activation: object = "relu",
    weight_variance: Any = 2,
    bias_variance: Any = 0,
    scale: Any = 1,
    attention: Map | None = None,
    value_variance: Any = 1,
    **further: Any,
) -> ResNet:
    """Describe residual blocks of two linear maps with an activation in between.

    Parameters
    ----------
    depth : int or sympy.Symbol
        Number of blocks.
    activation : str, sympy.Expr or Activation
        Between the two linear maps.
    weight_variance, bias_variance : number, sympy.Expr, or pair of these
        Of both linear maps, or of each: weights times their fan-in, as `Linear`.
    scale : number, sympy.Expr or sequence
        Residual scale.
    attention : Map, optional
        Attention of blocks between the others, the first block among them; needs ``positions=``.
    value_variance : number, sympy.Expr, or pair of these
        Weight variances of the two linear maps behind it, values and output.
    **further
        Other arguments of `ResNet`.

    Returns
    -------
    ResNet
        The description, like any other.

    Raises
    ------
    DescriptionError
        As `ResNet`.

    Examples
    --------
    >>> mlp(6, weight_variance=(1, 2)).branch
    Branch(Linear(weight_variance=1, bias_variance=0), Activation("relu"), \
Linear(weight_variance=2, bias_variance=0))
    """
    kinds = [Branch(*_feed_forward(activation, weight_variance, bias_variance))]
    if attention is not None:
        kinds.insert(0, Branch(*_attention(attention, value_variance)))
    return ResNet(kinds, scale=scale, depth=depth, **further)


def pre_ln(
    depth: Any,
    *,
    activation: object = "relu",
    weight_variance: Any = (1, 2),
    bias_variance: Any = 0,
    scale: Any = 1,
    norm: Map | None = None,
    attention: Map | None = None,
    value_variance: Any = 1,
    **further: Any,
) -> ResNet:
    """Describe feed-forward blocks that normalise their input, as GPT-2's.

    Parameters
    ----------
    norm : Map, optional
        ``LayerNorm()`` by default.
    attention, value_variance, depth, activation, weight_variance, bias_variance, scale
        As `mlp`; `depth` counts blocks of both kinds. Give ``read_out=[LayerNorm(), Linear(1, 0)]``
        for a final norm.

    Returns
    -------
    ResNet
        The description, like any other.

    Raises
    ------
    DescriptionError
        As `ResNet`.

    References
    ----------
    Xiong et al. (2020), figure 1 (b).

    Examples
    --------
    >>> pre_ln(12, scale=0.5).branch.ops[0]
    LayerNorm(eps=0, gain=1, bias=0)
    >>> from resexpand import Attention
    >>> pre_ln(12, attention=Attention(1), positions=16).block(1)
    Branch(LayerNorm(eps=0, gain=1, bias=0), Attention(weight_variance=1), \
Linear(weight_variance=1, bias_variance=0), Linear(weight_variance=1, bias_variance=0))
    """
    first = LayerNorm() if norm is None else norm
    kinds = [Branch(first, *_feed_forward(activation, weight_variance, bias_variance))]
    if attention is not None:
        kinds.insert(0, Branch(first, *_attention(attention, value_variance)))
    return ResNet(kinds, scale=scale, depth=depth, **further)


def post_ln(
    depth: Any,
    *,
    activation: object = "relu",
    weight_variance: Any = (1, 2),
    bias_variance: Any = 0,
    scale: Any = 1,
    norm: Map | None = None,
    **further: Any,
) -> ResNet:
    """Describe feed-forward blocks behind which the stream is normalised, as BERT's.

    Parameters
    ----------
    norm : Map, optional
        ``LayerNorm()`` by default.
    depth, activation, weight_variance, bias_variance, scale, **further
        As `mlp`, with `attention`; ``skip=alpha`` gives DeepNorm (Wang et al. 2022).

    Returns
    -------
    ResNet
        The description, like any other.

    Raises
    ------
    DescriptionError
        As `ResNet`.

    References
    ----------
    Xiong et al. (2020), figure 1 (a).

    Examples
    --------
    >>> post_ln(12).post_norm
    LayerNorm(eps=0, gain=1, bias=0)
    """
    return mlp(
        depth,
        activation=activation,
        weight_variance=weight_variance,
        bias_variance=bias_variance,
        scale=scale,
        **{"post_norm": LayerNorm() if norm is None else norm, **further},
    )


def _attention(attention: Map, values: Any) -> tuple[Operation, ...]:
    """Return attention with the linear maps of values and output behind it."""
    value, output = _of_each(values)
    return (attention, Linear(value, 0), Linear(output, 0))


def _feed_forward(activation: object, weights: Any, biases: Any) -> tuple[Operation, ...]:
    """Return two linear maps with an activation in between."""
    phi = activation if isinstance(activation, Map) else Activation(activation)
    (w, v), (b, c) = map(_of_each, (weights, biases))
    return (Linear(w, b), phi, Linear(v, c))


def _of_each(given: Any) -> tuple[Any, Any]:
    """Return a variance for each of two linear maps."""
    if not isinstance(given, tuple):
        return given, given
    if len(given) != 2:
        raise DescriptionError(
            f"the variances {given}", "a block has two linear maps", "give one, or a pair"
        )
    return given
