"""`residual_expansion`: the expansion of a residual network in the scales of its branches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

import sympy as sp
from sympy.core.function import FunctionClass

from resexpand.combinatorics.arguments import check_count, check_order
from resexpand.conventions import is_symbolic
from resexpand.errors import DescriptionError, HyperparameterError
from resexpand.network.requirements import require_plain
from resexpand.network.resnet import ResNet
from resexpand.theory.expansion.blocks import check_smooth, formal_block, read_blocks
from resexpand.theory.expansion.expansion import Expansion, check_expansion_memory
from resexpand.theory.expansion.scales import is_list, read_scales

DEPTH = sp.Symbol("n", integer=True, positive=True)
"""Number of blocks where none is given."""


def residual_expansion(
    order: int,
    blocks: Any = None,
    scales: Any = None,
    *,
    variables: Any = None,
    parameters: Iterable[sp.Symbol] = (),
) -> Expansion:
    """Expand a composition of residual blocks in their scales.

    The network is ``F = (1 + lambda_n f_n) o ... o (1 + lambda_1 f_1)``.

    Parameters
    ----------
    order : int
        Highest order, from 1: the number of branches a term passes through.
    blocks : None, sympy.Symbol, int, ResNet or sequence, optional
        None or a symbol for symbolic depth: one term per unlabelled tree with its nested sum over
        layers. A number of formal blocks ``f_1, f_2, ...``: one term per class of labelled trees.
        A network gives its depth and its scales; its blocks are formal.
        A sequence of concrete blocks, the first one first: expressions in `variables`, vectors of
        expressions, SymPy functions or activations (applied to every entry), or Python functions of
        SymPy symbols.
    scales : None, number, sympy.Expr or sequence, optional
        One scale per block, or one for all; symbols ``lambda_1, lambda_2, ...`` by default.
    variables : sympy.Symbol or sequence of sympy.Symbol, optional
        The entries of the state, in which the expressions are written.
    parameters : iterable of sympy.Symbol, optional
        Other symbols that the expressions may use.

    Returns
    -------
    Expansion
        Mapping from the order to a tuple of `Term`.

    Raises
    ------
    HyperparameterError
        If the order, the number of blocks or the number of scales makes no sense.
    DescriptionError, ExpressionError
        If something is no block, blocks differ in length, or an expression uses unknown symbols.
    UnsupportedError
        If a block is not smooth, or the terms would not fit into memory.

    Notes
    -----
    Dherin & Munn (2025) state the expansion to second order. At order ``k`` it is a sum over rooted
    trees of ``k`` vertices labelled by blocks, strictly decreasing from parent to child, with
    the coefficient ``1/|Aut(T, l)|``; labels may repeat on vertices that are not comparable.

    Examples
    --------
    >>> import sympy as sp
    >>> expansion = residual_expansion(3, 2)
    >>> print(*expansion[3])
    1/2 lambda_1**2*lambda_2 f_2''(f_1, f_1)
    >>> x = sp.Symbol("x")
    >>> residual_expansion(3, [x**2, x**2], scales=1).expression(x)
    x**4 + 2*x**3 + 2*x**2 + x
    >>> print(*residual_expansion(2)[2])
    sum_{1<=i<j<=n} lambda_i lambda_j f_j'(f_i)
    """
    checked = check_order(order)
    if isinstance(blocks, ResNet):
        blocks, scales = _of_network(blocks, scales)
    if blocks is None or (isinstance(blocks, sp.Symbol) and is_symbolic(blocks, "depth")):
        depth: Any = DEPTH if blocks is None else blocks
        return Expansion(checked, depth, None, read_scales(scales, depth))
    if _is_number(blocks):
        count = check_count(blocks, "number of blocks", least=1)
        # Before the blocks themselves are made, of which there may be too many.
        check_expansion_memory(checked, count)
        found = [formal_block(i) for i in range(1, count + 1)]
    else:
        found = read_blocks(_listed(blocks), variables, parameters)
    return Expansion(checked, len(found), found, read_scales(scales, len(found)))


def read_depth(depth: Any, scales: Any) -> Any:
    """Return a number of blocks, a symbol, or what a list of scales says; `DEPTH` by default."""
    if depth is None:
        return len(scales) if is_list(scales) and hasattr(scales, "__len__") else DEPTH
    return depth if is_symbolic(depth, "depth") else check_count(depth, "depth", least=1)


def _of_network(network: ResNet, scales: Any) -> tuple[Any, Any]:
    """Return depth and scales of a network whose activations are smooth."""
    if scales is not None:
        raise DescriptionError(
            "scales beside a network", "the network has its own", "leave them out"
        )
    require_plain(network, "the residual expansion")
    for activation in network.branch.maps:
        check_smooth(activation.expression, "of the network", activation.name)
    depth = network.depth
    return (int(depth) if depth.is_number else depth), network.scale


def _is_number(blocks: Any) -> bool:
    if isinstance(blocks, bool | str):
        raise HyperparameterError(
            f"blocks = {blocks!r}",
            f"it is of type {type(blocks).__name__}",
            "give a number of blocks, a symbol, or a list of blocks",
        )
    if isinstance(blocks, sp.Expr) and not blocks.is_number:
        return False
    is_list = hasattr(blocks, "__len__") or isinstance(blocks, type)
    return hasattr(blocks, "__float__") and not is_list


def _listed(blocks: Any) -> list[Any]:
    unordered = isinstance(blocks, Mapping | Set) or getattr(blocks, "ndim", 1) == 0
    single = isinstance(blocks, sp.Basic | sp.MatrixBase | FunctionClass)
    if single or unordered or not isinstance(blocks, Iterable):
        raise DescriptionError(
            f"blocks = {blocks!r}",
            "it is one block, not a list of blocks",
            "give a list with one entry per block: [f, f, f]",
        )
    listed = list(blocks)
    if not listed:
        raise DescriptionError("an empty list of blocks", "a network has blocks", "give one")
    return listed
