"""`gated_path_sum`: a network with piecewise-linear activations as a sum over paths."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import sympy as sp

from resexpand.combinatorics.arguments import check_count, check_memory
from resexpand.errors import DescriptionError, HyperparameterError
from resexpand.network.activation import Activation
from resexpand.network.linear import Linear
from resexpand.network.operation import Map
from resexpand.network.requirements import require_laws, require_plain
from resexpand.network.resnet import Branch, ResNet
from resexpand.references import REFERENCES, Citation
from resexpand.theory.expansion.build import read_depth
from resexpand.theory.expansion.scales import read_scales
from resexpand.theory.expansion.sums import LETTERS
from resexpand.theory.expansion.wording import signed
from resexpand.theory.formula import Formula
from resexpand.theory.gated_paths.path import Path
from resexpand.theory.gated_paths.pieces import PiecewiseLinear, piecewise_linear

WHY_NOT_TAYLOR = (
    "The derivatives of order 2 and more of a piecewise-linear activation vanish wherever they "
    "exist, so that of all trees only the chains are left: the Taylor form in the scales is the "
    "path sum with the gates that the input itself opens. It holds up to the scale at which the "
    "first gate on the way flips, and nothing in its terms shows where that is. With the gates on "
    "the actual trajectory the sum over paths is exact for every scale, but its gates depend on "
    "the scales: it is no power series in them."
)

LONGEST = 3
"""Longest paths listed at symbolic depth, where nothing else is asked for."""

BYTES_PER_PATH = 300
SHOWN_PATHS = 64


class GatedPathSum(Mapping[int, tuple[Path, ...]]):
    """The gated path sum: a mapping from the length to the paths. Made by `gated_path_sum`.

    Attributes
    ----------
    branch : Branch
        Branch of every block.
    depth : int or sympy.Symbol
        Number of blocks ``n``.
    scales : tuple of sympy.Expr, sympy.Expr or sympy.IndexedBase
        One scale per block; at symbolic depth their common one, or the base of indexed ones.
    longest : int
        Longest paths listed: all of them at a concrete depth.
    activations : tuple of PiecewiseLinear
        Pieces of every activation of the branch, in data-flow order.
    why_not_taylor : str
        Why the expansion in powers of the scales does not apply.
    citations : tuple of Citation
        Sources of the formulas.
    """

    why_not_taylor = WHY_NOT_TAYLOR
    citations = (Citation(REFERENCES["dherin2025"]),)

    def __init__(self, branch: Branch, depth: Any, scales: Any, longest: int) -> None:
        self.branch = branch
        self.depth = depth
        self.scales = scales
        self.longest = longest
        self.activations: tuple[PiecewiseLinear, ...] = tuple(
            piecewise_linear(op) for op in branch.maps
        )

    @property
    def has_offsets(self) -> bool:
        """Whether biases or intercepts start paths inside of the network."""
        biased = any(linear.bias_variance != 0 for linear in self.branch.linears)
        return biased or not all(pieces.is_homogeneous for pieces in self.activations)

    @property
    def words(self) -> tuple[str, ...]:
        """Factors of the map ``A_i`` of a block from left to right, ``("W", "D")``."""
        linears, gates = len(self.branch.linears), len(self.branch.maps)
        matrices = iter("WV"[:linears] if linears <= 2 else [f"W^{j + 1}" for j in range(linears)])
        diagonals = iter("D" if gates == 1 else [f"D^{j + 1}" for j in range(gates)])
        flow = [next(matrices if step.contracts else diagonals) for step in self.branch.steps]
        return tuple(reversed(flow))

    def count(self, length: int) -> Any:
        """Return the number of paths of a length: ``binomial(n, k)``, twice that with offsets."""
        k = check_count(length, "length")
        whole = sp.binomial(self.depth, k)
        found = sp.expand_func(whole) if isinstance(self.depth, sp.Expr) else whole
        return found * (2 if self.has_offsets and k else 1)

    def __getitem__(self, length: int) -> tuple[Path, ...]:
        try:
            length = operator.index(length)
        except TypeError:
            raise KeyError(length) from None
        if not 0 <= length <= self.longest:
            raise KeyError(length)
        if not isinstance(self.depth, int):
            choices: Iterator[tuple[Any, ...]] = iter([self.indices(length)])
        else:
            what = f"the paths of length {length} through {self.depth} blocks"
            check_memory(what, int(self.count(length)), BYTES_PER_PATH)
            choices = combinations(range(1, self.depth + 1), length)
        starts = (True, False) if self.has_offsets and length else (True,)
        return tuple(
            Path(blocks, start, self._scale(blocks)) for blocks in choices for start in starts
        )

    def indices(self, length: int) -> tuple[sp.Symbol, ...]:
        """Return the summation indices of the paths of a length at symbolic depth, increasing."""
        symbols = self.scales.free_symbols if isinstance(self.scales, sp.Expr) else ()
        taken = {str(self.depth), *map(str, symbols)}
        letters = [letter for letter in LETTERS if letter not in taken]
        if length > len(letters):
            letters = [f"i_{j + 1}" for j in range(length)]
        return tuple(sp.Symbol(name, integer=True, positive=True) for name in letters[:length])

    def _scale(self, blocks: tuple[Any, ...]) -> sp.Expr:
        if isinstance(self.scales, tuple):
            return sp.Mul(*(self.scales[block - 1] for block in blocks))
        if isinstance(self.scales, sp.IndexedBase):
            return sp.Mul(*(self.scales[index] for index in blocks))
        return self.scales ** len(blocks)

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.longest + 1))

    def __len__(self) -> int:
        return self.longest + 1

    @property
    def formula(self) -> Formula:
        """The sum over all paths, in non-commuting maps ``A(i)`` and offsets ``c(i)``.

        Raises
        ------
        UnsupportedError
            If there are more paths than memory would hold.
        """
        terms = [self._summed(path) for length in self for path in self[length]]
        whole = isinstance(self.depth, int) and self.longest == self.depth
        name = "F" if whole else f"F_{self.longest}"
        what = "the network" if whole else f"paths of the network up to length {self.longest}"
        return Formula(
            "gated path sum",
            sp.Symbol(name, commutative=False),
            sp.Add(*terms),
            f"{what} in the maps A(i) = {' '.join(self.words)} of the blocks",
            citations=self.citations,
        )

    def _summed(self, path: Path) -> sp.Expr:
        if isinstance(self.depth, int) or not path.length:
            return path.expression
        tops = [index - 1 for index in path.blocks[1:]] + [self.depth]
        limits = [(index, 1, top) for index, top in zip(path.blocks, tops, strict=True)]
        return sp.Sum(path.expression, *limits)

    def lines(self, *, latex: bool = False) -> tuple[str, ...]:
        """Return the paths of every length as a reader would write their sum.

        Raises
        ------
        UnsupportedError
            If there are more paths than memory would hold.
        """
        return tuple(self._line(length, latex) for length in self)

    def _line(self, length: int, latex: bool) -> str:
        if isinstance(self.depth, int):
            if self.count(length) > SHOWN_PATHS:
                dots = r"\cdots" if latex else "..."
                words = f"{self.count(length)} paths"
                return rf"{dots} \text{{ ({words})}}" if latex else f"{dots} ({words})"
            paths = (path for path in self[length] if path.scale != 0)
            texts = [path.text(self.words, latex=latex) for path in paths]
            return " ".join([*texts[:1], *map(signed, texts[1:])]) or "0"
        less, most = (" < ", r" \le ") if latex else ("<", "<=")
        chain = less.join(map(str, self.indices(length)))
        sign = r"\sum" if latex else "sum"
        front = f"{sign}_{{1{most}{chain}{most}{self.depth}}} " if length else ""
        return " + ".join(front + path.text(self.words, latex=latex) for path in self[length])

    def __str__(self) -> str:
        start, *lines = self.lines()
        rows = [f"F(x) = {start}", *(f"     {signed(line)}" for line in lines if line != "0")]
        if self.longest != self.depth:
            rows.append("     + ...")
        return "\n".join(rows)

    def __repr__(self) -> str:
        return f"GatedPathSum(depth={self.depth}, lengths=0..{self.longest})"

    def _repr_latex_(self) -> str:
        dots = r" + \cdots" if self.longest != self.depth else ""
        start, *lines = self.lines(latex=True)
        whole = " ".join([start, *(signed(line) for line in lines if line != "0")])
        return rf"$\displaystyle F(x) = {whole}{dots}$"


def gated_path_sum(
    network: ResNet | Activation | str,
    depth: Any = None,
    scales: Any = None,
    *,
    longest: int | None = None,
) -> GatedPathSum:
    """Write a network with piecewise-linear activations as a sum over gated paths.

    Parameters
    ----------
    network : ResNet, Activation or str
        A network; or an activation ``phi`` (by name too), for blocks ``W phi(h)`` without bias.
    depth : int or sympy.Symbol, optional
        Number of blocks, with an activation; the symbol ``n`` by default.
    scales : number, sympy.Expr, sympy.IndexedBase or sequence, optional
        One scale per block or one for all, with an activation; symbols by default.
    longest : int, optional
        Longest paths listed. All at a concrete depth, 3 at symbolic depth by default.

    Returns
    -------
    GatedPathSum
        Mapping from the length to the paths.

    Raises
    ------
    UnsupportedError
        If an activation is not piecewise linear, or jumps.
    DescriptionError, HyperparameterError
        If depth, scales or length make no sense.

    Notes
    -----
    Veit, Wilber & Belongie (2016) read residual networks as ensembles of paths; gates on the actual
    trajectory make the sum exact.

    Examples
    --------
    >>> print(gated_path_sum("relu", 2))
    F(x) = x
         + lambda_1 W_1 D_1 x + lambda_2 W_2 D_2 x
         + lambda_1*lambda_2 W_2 D_2 W_1 D_1 x
    >>> gated_path_sum("relu").count(3)
    n*(n - 2)*(n - 1)/6
    """
    if isinstance(network, ResNet):
        if depth is not None or scales is not None:
            raise DescriptionError(
                "depth or scales beside a network", "the network has its own", "leave them out"
            )
        chosen: Any = int(network.depth) if network.depth.is_number else network.depth
        require_plain(network, "the gated path sum")
        branch, scales = network.branch, network.scale
    elif isinstance(network, Map | str):
        op = Activation(network) if isinstance(network, str) else network
        branch = Branch(op, Linear(1, 0))
        chosen = read_depth(depth, scales)
    else:
        raise DescriptionError(
            f"the gated path sum of {network!r}",
            f"it is of type {type(network).__name__}",
            "give a ResNet, an Activation or the name of one",
        )
    require_laws(branch.steps, "the gated path sum")
    most = chosen if isinstance(chosen, int) else LONGEST
    if longest is not None:
        most = check_count(longest, "longest")
        if isinstance(chosen, int) and most > chosen:
            raise HyperparameterError(
                f"paths of length {most} through {chosen} blocks",
                "a path passes a block at most once",
                f"give longest <= {chosen}",
            )
    return GatedPathSum(branch, chosen, read_scales(scales, chosen), most)
