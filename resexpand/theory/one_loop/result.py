"""`OneLoop`: the order 1/N of a network, as one immutable object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import sympy as sp

from resexpand.errors import UnsupportedError
from resexpand.expressions.notebook import in_notebook
from resexpand.expressions.shown import Card, Shown, listed
from resexpand.network.resnet import ResNet
from resexpand.references import Citation
from resexpand.theory.formula import Formula
from resexpand.theory.kernel import kernel
from resexpand.theory.one_loop.derived import ONE, Derived, several
from resexpand.theory.one_loop.formulas import Chain
from resexpand.theory.one_loop.process import Process
from resexpand.theory.one_loop.weight_laws import STATEMENTS, Statement, weight_formulas
from resexpand.theory.recursion import Recursion


@dataclass(frozen=True, repr=False)
class OneLoop(Shown):
    """The order 1/N of a network.

    Attributes
    ----------
    net : ResNet
        The network, factors between an activation and a `Linear` taken into its weight variance.
    inputs : int
        Number of inputs D.
    process : Process
        The principle: the draws, what they read, and the matrix that mixes them.
    kernel : Recursion
        Infinite width, of one input or of a pair.
    layers : Recursion
        The same, with the response and the curvature of every draw as outputs.
    neglects : str
        Order of what is neglected.
    citations : tuple of Citation
        Where the equations stand.
    """

    net: ResNet
    inputs: int
    process: Process
    kernel: Recursion
    layers: Recursion
    neglects: str = "O(1/N^2)"
    citations: tuple[Citation, ...] = ()

    takes_width: ClassVar[bool] = True

    def card(self) -> Card:
        """Return what it says about itself."""
        draws = len(self.process.draws)
        return Card(
            f"OneLoop: order 1/N, {self.inputs} input{'s' * (self.inputs > 1)}",
            (
                ("network", repr(self.net)),
                ("draws", f"{draws} of every block" + ", a read-out" * bool(self.process.read_out)),
                ("layers", listed(o.name for o in self.layers.outputs)),
                ("neglects", self.neglects),
                ("next", "evaluate(..., K0=...), .formulas, to_latex"),
            ),
        )

    def _repr_latex_(self) -> str:
        return in_notebook(self)

    @property
    def formulas(self) -> tuple[Formula, ...]:
        """All formulas, each after those it needs; with entries for several inputs.

        Raises
        ------
        UnsupportedError
            If the branch holds maps without a law, such as normalisations.
        """
        self._require_plain()
        chain = Chain(self._derived(self.inputs))
        return (*chain.formulas(), *chain.outputs())

    def _derived(self, inputs: int) -> Derived:
        base = self.kernel if self.inputs == 1 else kernel(self.net)
        return Derived(base, self.process, several(inputs) if inputs > 1 else ONE, self.citations)

    @property
    def weight_laws(self) -> tuple[Statement, ...]:
        """Statements by law of independent weights; `formulas` are for Gaussian ones.

        `evaluate` takes ``weight_kurtosis=`` for symmetric laws, `weight_formulas` says what it
        adds, and `sample` draws them with ``weights=``.

        Examples
        --------
        >>> from resexpand import Activation, Branch, Linear, ResNet, one_loop
        >>> net = ResNet(Branch(Activation("erf"), Linear()), scale=0.3, depth=4)
        >>> for statement in one_loop(net).weight_laws[1:3]:
        ...     print(statement)
        independent, exact: E G^l = K^0 + sum of rho^2 E C^m over m <= l
        independent, exact: mean and variance of C in the first block
        """
        return STATEMENTS

    @property
    def weight_formulas(self) -> tuple[Formula, ...]:
        """Terms that independent symmetric weights of another law add, of one input."""
        self._require_plain()
        return tuple(weight_formulas(self._derived(1)))

    def _require_plain(self) -> None:
        if not self.process.is_plain:
            raise UnsupportedError(
                f"the formulas of the order 1/N of {self.net!r}",
                "they are written for the Gram matrices of one kind of block, without averages of "
                "normalisations, masks, and read-outs that read something else",
                "evaluate() gives the numbers",
            )

    def formula(self, name: str) -> Formula:
        """Return the formula of a name.

        Raises
        ------
        KeyError
            If there is no such formula.
        """
        by_name = {formula.name: formula for formula in self.formulas}
        if name not in by_name:
            raise KeyError(f"{name!r} is not among the formulas {list(by_name)}")
        return by_name[name]

    def mixing(self, depth: int) -> sp.Matrix:
        """Return the matrix of the process for a number of blocks, see `Process.mixing`."""
        return self.process.mixing(depth, self.net.scale)
