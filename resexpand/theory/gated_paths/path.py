"""One gated path: the blocks it passes, and where it starts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp

from resexpand.theory.notation import in_notation

_BRACED = re.compile(r"\{(\\[a-z]+)\}_\{")


@dataclass(frozen=True)
class Path:
    """A path through some of the blocks; at symbolic depth all paths of one length.

    Attributes
    ----------
    blocks : tuple of int, or of sympy.Symbol at symbolic depth
        The blocks passed, the first one first; a path passes the other blocks by the skip.
    starts_at_input : bool
        Whether it starts at the input; otherwise at the bias and intercept of its first block.
    scale : sympy.Expr
        Product of the scales of its blocks.
    """

    blocks: tuple[Any, ...]
    starts_at_input: bool
    scale: sp.Expr

    @property
    def length(self) -> int:
        """How many blocks it passes."""
        return len(self.blocks)

    def value(self, maps: Sequence[Any], offsets: Sequence[Any], x: Any) -> Any:
        """Return what the path contributes.

        Parameters
        ----------
        maps : sequence of matrices
            ``A_i`` of every block, gates included: NumPy arrays or SymPy matrices.
        offsets : sequence of vectors
            ``c_i`` of every block: bias and intercepts.
        x : vector
            Input of the network.
        """
        passed = list(self.blocks)
        vector = x if self.starts_at_input else offsets[passed.pop(0) - 1]
        for block in passed:
            vector = maps[block - 1] @ vector
        scale = self.scale if isinstance(vector, sp.MatrixBase) else float(self.scale)
        return scale * vector

    @property
    def expression(self) -> sp.Expr:
        """The path as a product of non-commuting ``A(i)``, applied to ``x`` or ``c(i)``."""
        step, offset = (sp.Function(name, commutative=False) for name in "Ac")
        passed = list(self.blocks)
        start = X if self.starts_at_input else offset(passed.pop(0))
        return self.scale * sp.Mul(*(step(block) for block in reversed(passed)), start)

    def text(self, words: Sequence[str], *, latex: bool = False) -> str:
        """Return the path as a reader would write it, later blocks on the left.

        Parameters
        ----------
        words : sequence of str
            Factors of ``A_i`` from left to right, ``("W", "D")``.
        latex : bool, optional
            LaTeX instead of plain text.
        """

        def indexed(letter: str, block: Any) -> str:
            return f"{letter}_{{{block}}}" if latex else f"{letter}_{block}"

        passed = list(self.blocks)
        start = "x" if self.starts_at_input else indexed("c", passed.pop(0))
        factors = [" ".join(indexed(word, i) for word in words) for i in reversed(passed)]
        written = self._scale_text(latex)
        thin = r" \, " if latex else " "
        front = [] if self.scale == 1 else ["-" if self.scale == -1 else written]
        return thin.join([*front, *factors, start])

    def _scale_text(self, latex: bool) -> str:
        if latex:
            # SymPy braces the base of an index, {\lambda}_{i}, which nobody writes by hand.
            return _BRACED.sub(r"\1_{", in_notation(self.scale))
        indexed = sorted(self.scale.atoms(sp.Indexed), key=str)
        return str(self.scale.xreplace({e: sp.Symbol(f"{e.base}_{e.indices[0]}") for e in indexed}))

    def __str__(self) -> str:
        return self.text(("A",))


X = sp.Symbol("x", commutative=False)
"""The input, as what non-commuting products are applied to."""
