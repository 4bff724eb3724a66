r"""Infinite width of networks whose positions couple: the kernel of all columns at once.

With P positions, D inputs are D P columns, and the kernel of all of them obeys a recursion. Two
columns suffice to write it, because each operation is of one of two sorts:

    column by column     the entry of two columns depends on their own entries, as
                         ``<phi(x_1) phi(x_2)>_K``
    over the positions   the whole matrix is transformed, as the convolution
                         ``Conv[F] = sum_o v_o S_o F S_o^T`` with shifts S_o of the positions

In formulas ``Conv(F_12)`` is the entry of two columns of the transformed matrix. The columns stay
Gaussian: a sum of jointly Gaussian columns is Gaussian, and given the columns a convolution draws a
Gaussian whose covariance is the sum of the shifted Gram matrices, at every width.

Source: Novak et al. (2019), Xiao et al. (2018) for convolutions; derived here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import sympy as sp

from resexpand.conventions import PAIR
from resexpand.errors import UnsupportedError
from resexpand.network.operation import Noise
from resexpand.network.requirements import require_independent_layers
from resexpand.network.resnet import ResNet
from resexpand.network.steps import Step
from resexpand.references import REFERENCES, Citation
from resexpand.theory.recursion import Recursion
from resexpand.theory.signal import UNKNOWN, Entries, Signal, Values

SOURCES = ("novak2019", "xiao2018")


@dataclass(frozen=True, repr=False)
class ColumnRecursion(Recursion):
    """The recursion of the kernel of all columns, written for two; `evaluate` takes (D P, D P)."""


@dataclass(frozen=True)
class ColumnSignal:
    """Two of the columns of a network, a `Signal`, and maps of all of them as formal functions.

    `normalised`: a batch was normalised since the last contraction.
    """

    signal: Signal
    normalised: bool = False

    @property
    def moments(self) -> Entries:
        """Second moments 11, 12, 22."""
        return self.signal.moments

    @property
    def means(self) -> Entries:
        """Mean of either column."""
        return self.signal.means

    @property
    def is_gaussian(self) -> bool:
        """Whether the columns are jointly Gaussian and centred."""
        return self.signal.is_gaussian

    @property
    def names(self) -> tuple[str, ...]:
        """Columns that each second moment belongs to."""
        return self.signal.names

    @property
    def coins(self) -> tuple[Noise, ...]:
        """Noises of whole blocks."""
        return self.signal.coins

    def contracted(self, covariance: Entries) -> ColumnSignal:
        """Return the centred Gaussian of a covariance."""
        return ColumnSignal(self.signal.contracted(covariance))

    def mapped(self, step: Step, values: Values) -> ColumnSignal:
        """Return what a map makes of the columns."""
        if self.normalised or step.op.over == "batch":
            return self._formal(step)
        if step.op.over == "neurons":
            return ColumnSignal(self.signal.mapped(step, values))
        moments = tuple(coupled(step, moment) for moment in self.moments)
        means = self.means if self.is_gaussian else (UNKNOWN,) * len(self.means)
        return ColumnSignal(replace(self.signal, moments=moments, means=means))

    def _formal(self, step: Step) -> ColumnSignal:
        """Return a normalisation over the batch, or a map behind one, as a formal function.

        Raises
        ------
        UnsupportedError
            If the normalisation does not act on Gaussian columns, or noise or another coupling
            stands between it and the next contraction.
        """
        first = step.op.over == "batch"
        if first != self.is_gaussian or step.op.over == "positions" or step.op.noise:
            raise UnsupportedError(
                f"the theory of {step.op!r} at this place of the branch",
                "what it acts on is not Gaussian at infinite width, as a batch was normalised",
                "put a Linear() or Conv() between them; sample() takes it",
            )
        function = sp.Function(
            step.op.kind if first else str(step.label or step.op.kind), real=True
        )
        moments = tuple(function(moment) for moment in self.moments)
        means = (UNKNOWN,) * len(self.means)
        signal = replace(self.signal, moments=moments, means=means, is_gaussian=False)
        return ColumnSignal(signal, normalised=True)


def coupled(step: Step, moment: sp.Expr) -> sp.Expr:
    """Return an entry of the Gram matrix that a step makes of one; formal if it couples columns."""
    if step.op.over == "neurons":
        return moment
    step.op.require_limit()
    return sp.Function(step.op.kind, real=True)(moment)


def column_stream(net: ResNet) -> ColumnSignal:
    """Return the stream of two columns in symbols.

    Raises
    ------
    UnsupportedError
        If the network has no positions, or its stream is not Gaussian at infinite width.
    """
    require_independent_layers(net, 'inputs="positions"')
    if not net.positions:
        raise UnsupportedError(
            'inputs="positions" of a network without positions',
            "every input is one column",
            "use inputs=2 for any number of inputs, or give the ResNet positions=",
        )
    if not net.is_gaussian or net.is_mixture:
        raise UnsupportedError(
            'inputs="positions" of this network',
            "its stream is not Gaussian at infinite width",
            "end the branch in a Linear or Conv; sample() takes it",
        )
    return ColumnSignal(Signal.gaussian(PAIR))


def column_recursion(base: Recursion, out: ColumnSignal) -> ColumnRecursion:
    """Return the recursion of all columns.

    Raises
    ------
    UnsupportedError
        If coins decide over whole blocks, so that the kernel is random.
    """
    if out.coins:
        raise UnsupportedError(
            "the kernel over positions with coins of whole blocks",
            "it is random at infinite width",
            "sample() takes it; net.evaluation() has no coins",
        )
    fields = {name: getattr(base, name) for name in Recursion.__dataclass_fields__}
    cited = (*(Citation(REFERENCES[key]) for key in SOURCES), *base.citations)
    return ColumnRecursion(**{**fields, "citations": cited})
