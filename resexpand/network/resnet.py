"""The residual network: one frozen description from which everything else is derived.

``ResNet(Branch(Activation("erf"), Linear()), scale=rho, depth=L)`` stands for

    h^l = h^{l-1} + rho * (W^l erf(h^{l-1}) + b^l),   l = 1 .. L:

the operations of a branch are listed in the order in which data flows through them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import sympy as sp

from resexpand.errors import DescriptionError, UnsupportedError
from resexpand.expressions.notebook import in_notebook
from resexpand.network.numbers import listed
from resexpand.network.ops import Activation, Linear, Operation, hyperparameter

ARGUMENTS = frozenset({"inputs", "net", "observables", "theory"})
"""Names of arguments that take no hyperparameter."""


@dataclass(frozen=True, init=False)
class Branch:
    """A residual branch: operations in data-flow order.

    Parameters
    ----------
    *ops : Linear or Activation
        At least one operation. Two activations may not follow each other (write their composition
        as one expression), and a branch that ends in an activation must begin with a `Linear`,
        because its stream ``h`` is not Gaussian.

    Raises
    ------
    DescriptionError
        If the branch is empty or holds something that is not an operation.
    UnsupportedError
        If the order of operations is one this package has no theory for.
    """

    ops: tuple[Operation, ...]

    def __init__(self, *ops: Operation):
        if not ops:
            raise DescriptionError("Branch()", "a branch needs an operation", "add a Linear()")
        for op in ops:
            if not isinstance(op, Linear | Activation):
                raise DescriptionError(
                    f"{op!r} in a branch", "it is not an operation", "use Linear or Activation"
                )
        _check_order(ops)
        object.__setattr__(self, "ops", tuple(ops))

    @property
    def linears(self) -> tuple[Linear, ...]:
        """The linear operations, in data-flow order."""
        return tuple(op for op in self.ops if isinstance(op, Linear))

    @property
    def activations(self) -> tuple[Activation, ...]:
        """The activations, in data-flow order."""
        return tuple(op for op in self.ops if isinstance(op, Activation))

    @property
    def reads_activation(self) -> bool:
        """Whether the branch applies an activation to the stream itself."""
        return isinstance(self.ops[0], Activation)

    def __repr__(self) -> str:
        return f"Branch({', '.join(map(repr, self.ops))})"


def _check_order(ops: tuple[Operation, ...]) -> None:
    adjacent = pairwise(ops)
    if any(isinstance(a, Activation) and isinstance(b, Activation) for a, b in adjacent):
        raise UnsupportedError(
            "two activations in a row",
            "their composition is one activation",
            "write it as one expression in x",
        )
    if not any(isinstance(op, Linear) for op in ops):
        raise UnsupportedError(
            f"a branch of {len(ops)} activation and no Linear",
            "it has no random weights, so there is no law to derive",
            "add a Linear()",
        )
    if isinstance(ops[0], Activation) and isinstance(ops[-1], Activation):
        raise UnsupportedError(
            "a branch that begins and ends with an activation",
            "an activation would act on a stream that is not Gaussian at infinite width",
            "begin or end the branch with a Linear()",
        )


@dataclass(frozen=True, init=False)
class ResNet:
    """A residual network of identical, independently drawn blocks.

    Parameters
    ----------
    branch : Branch
        The residual branch of every block.
    scale : number, sympy.Expr, or sequence of these
        Residual scale: one for all blocks, or one value per block.
    depth : int or sympy.Symbol, optional
        Number of blocks, ``>= 1``. May be left out when `scale` is a sequence.
    read_in, read_out : Linear, optional
        First and last linear map. With a `read_in` the kernel at layer 0 can be computed from
        data; `read_out` acts on ``phi(h^L)`` if the branch begins with the activation ``phi``, on
        ``h^L`` otherwise.

    Raises
    ------
    DescriptionError
        If the depth is not a positive integer, a scale is not finite, or their lengths differ.

    Examples
    --------
    >>> from resexpand import Activation, Branch, Linear, ResNet
    >>> ResNet(Branch(Activation("erf"), Linear(weight_variance=1.2)), scale=0.3, depth=20)
    ResNet(Branch(Activation("erf"), Linear(weight_variance=6/5, bias_variance=sigma_b2)), \
scale=3/10, depth=20)
    """

    branch: Branch
    scale: sp.Expr | tuple[sp.Expr, ...]
    depth: sp.Expr
    read_in: Linear | None
    read_out: Linear | None

    def __init__(
        self,
        branch: Branch,
        *,
        scale: object,
        depth: object = None,
        read_in: Linear | None = None,
        read_out: Linear | None = None,
    ):
        if not isinstance(branch, Branch):
            raise DescriptionError(f"branch {branch!r}", "it is not a Branch", "use Branch(...)")
        for name, op in (("read_in", read_in), ("read_out", read_out)):
            if op is not None and not isinstance(op, Linear):
                raise DescriptionError(f"{name} {op!r}", "it is not linear", "use Linear(...)")
        scales = _scales(scale)
        set_field = object.__setattr__
        set_field(self, "branch", branch)
        set_field(self, "scale", scales)
        set_field(self, "depth", _depth(depth, scales))
        set_field(self, "read_in", read_in)
        set_field(self, "read_out", read_out)
        _check_names(self)

    @property
    def free_symbols(self) -> set[sp.Symbol]:
        """Symbols that need a value before anything can be evaluated."""
        linears = (*self.branch.linears, *filter(None, (self.read_in, self.read_out)))
        values = [v for op in linears for v in (op.weight_variance, op.bias_variance)]
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        return set().union(*(v.free_symbols for v in (*values, *scales, self.depth)))

    def __repr__(self) -> str:
        fields = [repr(self.branch), f"scale={self.scale}", f"depth={self.depth}"]
        fields += [
            f"{k}={v}" for k in ("read_in", "read_out") if (v := getattr(self, k)) is not None
        ]
        return f"ResNet({', '.join(fields)})"

    def _repr_latex_(self) -> str:
        return in_notebook(self)


def _check_names(net: ResNet) -> None:
    """Raise if two symbols share a name, or one has that of an argument: values go by name."""
    names = sorted(symbol.name for symbol in net.free_symbols)
    words = [*ARGUMENTS.intersection(names), *(["depth"] if "depth" in names else [])]
    if words and str(net.depth) != words[0]:
        raise DescriptionError(
            f"a symbol called {words[0]}",
            "a value is given by name, and calls have an argument of this name",
            f"rename it, for instance {words[0]}_value",
        )
    twice = [a for a, b in pairwise(names) if a == b]
    if twice:
        raise DescriptionError(
            f"two different symbols called {twice[0]}",
            "a value is given by name, and they differ in their assumptions",
            "use one SymPy symbol for both (the defaults are in resexpand.conventions)",
        )


def _scales(scale: object) -> sp.Expr | tuple[sp.Expr, ...]:
    values = listed(scale, "scale")
    if values is None:
        return hyperparameter(scale, "scale")
    return tuple(hyperparameter(value, "scale") for value in values)


def _depth(depth: object, scales: sp.Expr | tuple[sp.Expr, ...]) -> sp.Expr:
    if depth is None:
        if not isinstance(scales, tuple):
            raise DescriptionError("a network without depth", "", "give depth=")
        depth = len(scales)
    value = hyperparameter(depth, "depth", minimum=1)
    if value.is_number and not value.is_Integer:
        raise DescriptionError(f"depth = {depth}", "it is not an integer", "give a whole number")
    if isinstance(scales, tuple) and value != len(scales):
        raise DescriptionError(
            f"{len(scales)} scales for depth {value}",
            "there must be one scale per block",
            f"give {value} scales, or one for all",
        )
    return value
